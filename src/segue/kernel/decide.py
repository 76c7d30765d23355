"""The kernel: what follows from an input. `decide(state, input, now) -> Decision`, with no I/O, clock or randomness.

A decision is a list of events, booked into the state as they are made, and the effects that a host carries out *after*
it has committed the events. Decisions build on each other before they are committed; a host whose commit fails drops
the state and folds it again from the journal. What a restarted host must do follows from the state alone
(`pending_attempts`, `RunState.next_due`), so no effect is ever lost.

This module drives the steps of one block forward; `segue.kernel.composites` opens and closes blocks.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from segue.errors import ConflictError
from segue.expr import Condition, ExprError, Program, Query, Value, to_json
from segue.flow.model import JsonValue
from segue.kernel import composites
from segue.kernel import events as ev
from segue.kernel import inputs as inp
from segue.kernel.apply import apply
from segue.kernel.durations import InvalidDuration, milliseconds_of, moment_of
from segue.kernel.evaluate import StopNow, compute, expression_failure, holds, stop
from segue.kernel.plan import COMPOSITE_KINDS
from segue.kernel.retry import matches, retry_at
from segue.kernel.scope import RunScope, SeededImpure
from segue.kernel.state import RUN_STEP, BlockState, RunState, StepState, TimerKind, keeps_callback, total_seconds
from segue.kernel.status import UNSETTLED, StepStatus

MAX_LOST_ATTEMPTS = 10
"""A step in flight at this many crashes of its host is taken for their cause and fails."""


class Row(NamedTuple):
    """An event as decided: its place in the journal, its step, its time (ms), the event."""

    seq: int
    step: int
    at: int
    event: ev.Event


@dataclass(slots=True)
class Decision:
    """Events to commit, then effects to carry out in this order."""

    rows: list[Row] = field(default_factory=list)
    start: list[StepState] = field(default_factory=list)
    """Attempts to make."""
    cancel: list[StepState] = field(default_factory=list)
    """Attempts in flight whose result no longer matters."""
    callbacks_opened: list[StepState] = field(default_factory=list)
    callbacks_closed: list[tuple[StepState, str]] = field(default_factory=list)


def decide(state: RunState, given: inp.Input, now: int, *, starts: bool = True) -> Decision:
    """What follows from `given` at `now` (ms). Raises ConflictError if the run's state does not allow it.

    Without `starts` no step is begun, as in a paused run: what is ready begins with the next decision that may.
    """
    if state.seq == 0 and type(given) is not inp.Begin:
        raise ConflictError(f"run {state.run_id} has not begun")
    decider = Decider(state, now, starts=starts)
    _HANDLERS[type(given)](decider, given)
    if not state.ended:
        decider.drain()
    return decider.decision


def pending_attempts(state: RunState) -> list[StepState]:
    """Attempts that a host must have in flight, from the state alone."""
    return list(state.active.values())


class Decider:
    """One decision in the making."""

    __slots__ = ("decision", "now", "starts", "state")

    def __init__(self, state: RunState, now: int, *, starts: bool = True) -> None:
        self.state = state
        self.now = now
        self.starts = starts
        self.decision = Decision()

    def emit(self, step: int, event: ev.Event) -> None:
        """Add an event to the decision and book it."""
        state = self.state
        self.decision.rows.append(Row(state.seq, step, self.now, event))
        apply(state, step, event, self.now)

    # ------------------------------------------------------------ going on

    def drain(self) -> None:
        """Until nothing more can be decided: failed blocks first, then dead paths, ended blocks, ready steps."""
        state = self.state
        while not state.ended:
            if state.failed_blocks:
                composites.on_block_failed(self, state.failed_blocks.pop(0))
            elif state.dead:
                step = next(iter(state.dead.values()))
                if step.block.closed:
                    del state.dead[step.id]  # its block is over, so it is not reached rather than skipped
                else:
                    self.emit(step.id, ev.StepSkipped(reason=_dead_reason(step), dead=True))
            elif state.ended_blocks:
                composites.on_block_ended(self, state.ended_blocks.pop(0))
            elif state.ready and (step := self.next_ready()) is not None:
                self.start(step)
            else:
                return

    def next_ready(self) -> StepState | None:
        """The ready step whose turn it is under the flow's strategy, or None if all must wait for a slot."""
        state, flow = self.state, self.state.plan.flow
        if state.paused or not self.starts:
            return None
        if flow.strategy == "parallel" and flow.concurrency is None:
            return next(iter(state.ready.values()))
        limit = 1 if flow.strategy == "sequential" else flow.concurrency
        busy = limit is not None and len(state.active) >= limit
        if flow.strategy == "sequential" and not busy:
            # A step keeps its turn until it is settled: what is retried or asked again has not ended.
            busy = any(kind in ("retry", "poll") for _, kind in state.timers)
        if flow.strategy == "priority":
            while state.heap and state.heap[0][1] not in state.ready:
                heapq.heappop(state.heap)
            step = state.ready[state.heap[0][1]] if state.heap else None
        else:
            step = next(iter(state.ready.values()))
        return step if step is None or not busy or not step.plan.is_action else None

    def start(self, step: StepState) -> None:
        """Begin a ready step: its condition, then what its kind asks for."""
        plan = step.plan
        try:
            if plan.step.disabled:
                return self.skip(step, "the step is disabled")
            if plan.when is not None:
                met, why = self.condition(plan.when, step, "when")
                if not met:
                    return self.skip(step, f"its condition was not met: {why or plan.step.when}")
            if plan.is_action:
                self.emit(step.id, ev.empty(ev.StepStarted))
                if step.callback:
                    self.decision.callbacks_opened.append(step)
                self.decision.start.append(step)
            elif plan.kind in COMPOSITE_KINDS:
                self.emit(step.id, ev.empty(ev.StepStarted))
                composites.open_step(self, step)
            else:
                _PURE[plan.kind](self, step)
        except StopNow as stopped:
            self.fail(step, stopped.failure)

    def skip(self, step: StepState, reason: str) -> None:
        """Settle a step that is not run; its path stays alive."""
        self.emit(step.id, ev.StepSkipped(reason=reason))
        self.choose_edges(step)

    def succeed(
        self, step: StepState, output: JsonValue = None, *, derived: bool = False, reason: str | None = None
    ) -> None:
        """End well; the step's `output:` transformation is applied here."""
        if step.plan.output is not None:
            try:
                value = composites.derived_or(self.state, step, output, derived=derived)
                output, derived = self.value(step.plan.output, step, "output", at_hand=value), False
            except StopNow as stopped:
                self.fail(step, stopped.failure)
                return
        if derived or output is not None or reason is not None:
            self.emit(step.id, ev.StepSucceeded(output=None if derived else output, derived=derived, reason=reason))
        else:
            self.emit(step.id, ev.empty(ev.StepSucceeded))
        self.choose_edges(step)

    def choose_edges(self, step: StepState) -> None:
        """Journal which out-edges live, where that is a decision (`branch`, conditions on edges, an error edge)."""
        plan = step.plan
        if not plan.is_chooser:
            return
        live: list[int] = []
        reason = None
        chosen: str | None = None
        failed = step.status is StepStatus.RECOVERED and step.plan.has_error_edge and step.handling is None
        try:
            if plan.kind == "branch" and step.status is StepStatus.SUCCEEDED:
                chosen, reason = self.branch_label(step)
            for number, edge in enumerate(plan.out):
                if failed or (edge.label == "error" and plan.kind != "branch"):
                    lives = failed and edge.label == "error"
                else:
                    lives = plan.kind != "branch" or edge.label in (None, chosen)
                if lives and edge.when is not None:
                    lives, why = self.condition(edge.when, step, f"edge{number}", at_hand=step.output)
                    reason = reason or why
                if lives:
                    live.append(number)
        except StopNow as stopped:
            # The step itself is settled: an edge that cannot be judged is dead, and the reason says why.
            live, reason = [], f"a condition on its edges failed: {stopped.failure.message}"
        self.emit(step.id, ev.EdgesChosen(live=tuple(live), reason=reason))

    def branch_label(self, step: StepState) -> tuple[str, str | None]:
        """The label that a `branch` step chooses, with the sentence that says so."""
        for label, when in step.plan.choices:
            if when is None:
                return label, f"took `{label}`: no condition before it held"
            if self.condition(when, step, label, at_hand=step.output)[0]:
                return label, f"took `{label}`"
        return "", "no branch was taken: no condition held"

    # ------------------------------------------------------------ going wrong

    def fail(self, step: StepState, failure: ev.Failure, *, deadline: bool = False) -> None:
        """The step's last try failed: its handlers, its default, its error edge, or its block is told."""
        handler = self.handler_of(step, failure.category)
        kept = handler is not None and keeps_callback(step, handler, self.now)
        self.close_inside(step, f"`{step.plan.step.id}` failed", keep_callback=kept)
        if failure.step is None:  # else it comes from a step inside this one, which stays its origin
            failure = msgspec.structs.replace(failure, step=step.address, attempt=step.attempt or None)
        if handler is not None:
            self.emit(step.id, ev.HandlerStarted(block=step.plan.handlers[handler].index, error=failure))
            return None
        on_timeout = self.timeout_policy(step) if failure.category == "timeout" else self.failure_policy(step)
        if on_timeout != "fail":
            output = None
            if on_timeout == "default" and step.plan.default is not None:
                try:
                    output = self.value(step.plan.default, step, "default")
                except StopNow as stopped:
                    failure, on_timeout = stopped.failure, "fail"
            if on_timeout != "fail":
                self.emit(step.id, ev.StepRecovered(output=output, error=failure))
                return self.choose_edges(step)
        if step.plan.has_error_edge:
            self.emit(step.id, ev.StepRecovered(output=msgspec.to_builtins(failure), error=failure))
            return self.choose_edges(step)
        return self.give_up(step, failure, deadline=deadline)

    def handler_of(self, step: StepState, category: str) -> int | None:
        """The number of the step's first handler that takes errors of this category; a step is handled once."""
        if step.handling is None:
            for number, handler in enumerate(step.plan.step.on_error):
                if not handler.match or any(matches(category, one) for one in handler.match):
                    return number
        return None

    def give_up(self, step: StepState, failure: ev.Failure, *, deadline: bool = False) -> None:
        """The step has failed for good; under `on_error: continue` the flow goes on without it and its dependants."""
        flow = self.state.plan.flow
        continues = flow.on_error == "continue" and step.block.plan.role == "root"
        if flow.strategy == "priority" and step.plan.step.priority >= flow.fail_fast_priority:
            continues = False
        self.emit(step.id, ev.StepFailed(error=failure, deadline=deadline, continues=continues))

    def timeout_policy(self, step: StepState) -> str:
        """What the step does when its time is over."""
        plan = step.plan.step
        if plan.timeout is not None and plan.timeout.on_timeout != "fail":
            return plan.timeout.on_timeout
        chosen = plan.callback.on_timeout if plan.callback is not None else "fail"
        return "default" if chosen == "fail" and step.plan.default is not None else chosen

    def failure_policy(self, step: StepState) -> str:
        """A `default` stands in for any failure, unless it is said to be for timeouts (`on_timeout: default`)."""
        plan = step.plan.step
        said = [one.on_timeout for one in (plan.timeout, plan.callback) if one is not None]
        only_timeouts = any(policy != "fail" for policy in said)
        return "default" if step.plan.default is not None and not only_timeouts else "fail"

    def close_inside(self, step: StepState, reason: str, *, keep_callback: bool = False) -> None:
        """Cancel what still runs within the step, and its own attempt and callback."""
        if step.id in self.state.active:
            self.decision.cancel.append(step)
        closed = self.decision.callbacks_closed
        if step.callback and not keep_callback and all(one is not step for one, _ in closed):
            closed.append((step, "cancelled"))
        background = self.state.background
        for block in step.children or ():
            if not block.closed and (block.remaining or background):
                self.cancel_block(block, reason)

    def cancel_block(self, block: BlockState, reason: str) -> None:
        """Nothing more happens in the block: whatever runs or waits in it is cancelled."""
        for step in block.nodes:
            if step.status in UNSETTLED:
                self.close_inside(step, reason)
                self.emit(step.id, ev.StepCancelled(reason=reason))
            elif step.children and self.state.background:
                self.close_inside(step, reason)  # branches that went on after their join had what it needed

    # ------------------------------------------------------------ values

    def condition(
        self,
        condition: Condition | Query,
        step: StepState,
        label: str,
        *,
        scope: RunScope | None = None,
        at_hand: object = None,
    ) -> tuple[bool, str | None]:
        """Whether it holds now; `$` is the value at hand. Raises StopNow."""
        return holds(
            condition, scope or RunScope(self.state, step=step, value=at_hand), self.impure(step, label), label
        )

    def value(
        self,
        value: Value | Program,
        step: StepState,
        label: str,
        *,
        scope: RunScope | None = None,
        at_hand: object = None,
    ) -> JsonValue:
        """The value now. Raises StopNow."""
        return compute(value, scope or RunScope(self.state, step=step, value=at_hand), self.impure(step, label), label)

    def params(self, step: StepState) -> dict[str, JsonValue]:
        """A pure step's parameters, computed now."""
        assert step.plan.params is not None
        found = self.value(step.plan.params, step, "params")
        return dict(found) if isinstance(found, dict) else {}

    def impure(self, step: StepState, label: str) -> SeededImpure:
        """The provider of `now() uuid() random()` for one evaluation."""
        return SeededImpure(self.state.seed, f"{step.id}.{step.generation}.{step.attempt}.{label}", self.now)

    # ------------------------------------------------------------ ends of the run

    def finish(self, outcome: ev.FinallyStarted) -> None:
        """The flow's steps are over: handlers, then `finally`, then the run's last event."""
        state, plan = self.state, self.state.plan
        if outcome.outcome == "failed" and plan.flow_handlers is not None and state.phase == "steps":
            assert outcome.error is not None
            self.emit(RUN_STEP, ev.FlowHandlersStarted(error=outcome.error))
            return
        if plan.flow_finally is not None and state.phase != "finally":
            self.emit(RUN_STEP, outcome)
            return
        self.end(outcome)

    def end(self, outcome: ev.FinallyStarted) -> None:
        """The last event of the run."""
        error = outcome.error or ev.Failure(category="internal", message="the run ended without a stated error")
        if outcome.outcome == "succeeded":
            recovered = any(step.status is StepStatus.RECOVERED for step in self.state.nodes)
            last: ev.Event = ev.RunSucceeded(
                outputs=outcome.outputs, recovered=recovered, stopped_by=outcome.stopped_by
            )
        elif outcome.outcome == "failed":
            last = ev.RunFailed(error=error)
        elif outcome.outcome == "timed_out":
            last = ev.RunTimedOut(error=error)
        else:
            last = ev.RunCancelled(reason=self.state.cancelling)
        self.emit(RUN_STEP, last)

    def finish_well(self, *, outputs: JsonValue = None, stopped_by: str | None = None) -> None:
        """The steps are over and none failed: compute the outputs and finish."""
        state = self.state
        if stopped_by is None and state.plan.outputs is not None:
            try:
                impure = SeededImpure(state.seed, "outputs", self.now)
                outputs = to_json(state.plan.outputs.evaluate(RunScope(state), impure))
            except ExprError as error:
                return self.finish(ev.FinallyStarted(outcome="failed", error=expression_failure(error, "outputs")))
        elif stopped_by is None and state.root is not None:
            outputs = composites.default_outputs(state.root)
        self.finish(ev.FinallyStarted(outcome="succeeded", outputs=outputs, stopped_by=stopped_by))
        return None

    def stop_all(self, reason: str) -> None:
        """Cancel everything in flight, in whatever phase the run is and in branches that outlived their join."""
        for step in list(self.state.nodes):
            if step.status in UNSETTLED:
                self.close_inside(step, reason)
                self.emit(step.id, ev.StepCancelled(reason=reason))


def _dead_reason(step: StepState) -> str:
    sources = [node for node in step.block.nodes if any(edge.target == step.plan.local for edge in node.plan.out)]
    names = ", ".join(f"`{node.plan.step.id}`" for node in sources[:3])
    return f"no path to it was taken (after {names})" if names else "no path to it was taken"


# ---------------------------------------------------------------- inputs


def _begin(decider: Decider, given: inp.Begin) -> None:
    state = decider.state
    if state.seq:
        raise ConflictError(f"run {state.run_id} has begun already")
    decider.emit(RUN_STEP, ev.RunAccepted(inputs=given.inputs, trigger=given.trigger, seed=given.seed))
    plan = state.plan
    try:
        vars_ = to_json(plan.vars.evaluate(RunScope(state), SeededImpure(given.seed, "vars", decider.now)))
    except ExprError as error:
        decider.emit(RUN_STEP, ev.empty(ev.RunStarted))
        decider.stop_all("the flow's vars could not be computed")
        return decider.finish(ev.FinallyStarted(outcome="failed", error=expression_failure(error, "vars")))
    decider.emit(RUN_STEP, ev.RunStarted(vars=vars_) if vars_ else ev.empty(ev.RunStarted))
    return None


def _attempt_ended(decider: Decider, given: inp.AttemptEnded) -> None:
    step = decider.state.active.get(given.step)
    if step is None or step.attempt != given.attempt:
        return
    if given.failure is not None:
        _attempt_failed(decider, step, given.failure, given.retry_after_seconds, given.transient)
    elif step.plan.step.poll is not None:
        _polled(decider, step, given.output)
    elif step.callback:
        _await_callback(decider, step, given.output)
    else:
        decider.succeed(step, given.output)


def _attempt_failed(
    decider: Decider,
    step: StepState,
    failure: ev.Failure,
    retry_after: float | None = None,
    transient: bool | None = None,
) -> None:
    failure = msgspec.structs.replace(failure, step=step.address, attempt=step.attempt)
    due = None
    policy = step.plan.step.retry
    if policy is not None and step.started_at is not None:
        share = decider.impure(step, "jitter").random()
        due = retry_at(
            policy, failure, tries=step.tries, started_at=step.started_at, now=decider.now, share=share,
            retry_after=retry_after, transient=transient,
        )  # fmt: skip
    if due is None:
        decider.fail(step, failure)
    else:
        decider.emit(step.id, ev.AttemptFailed(error=failure, retry_at=due))


def _polled(decider: Decider, step: StepState, output: JsonValue) -> None:
    poll = step.plan.step.poll
    assert poll is not None
    starts = poll.use is not None and step.job is None
    use = poll.use if poll.use is not None and not starts else step.plan.step.use or step.plan.kind
    answer = output["body"] if use == "http" and isinstance(output, dict) and "body" in output else output
    if starts:
        due = decider.now + round(poll.interval_seconds * 1000)
        job = {} if answer is None else answer
        return decider.emit(step.id, ev.PollAnswered(next_at=due, answer=job, started=True))
    try:
        failure = step.plan.conditions.get("failure")
        if failure is not None and decider.condition(failure, step, "failure_condition", at_hand=answer)[0]:
            message = f"the poll's failure condition was met: {poll.failure_condition}"
            return decider.fail(step, ev.Failure(category="validation", code="poll_failed", message=message))
        success = step.plan.conditions.get("success")
        if success is None or decider.condition(success, step, "success_condition", at_hand=answer)[0]:
            return decider.succeed(step, answer)
    except StopNow as stopped:
        return decider.fail(step, stopped.failure)
    asked = step.polls + 1
    if asked >= poll.max_attempts:
        message = f"asked {asked} times and the condition was never met: {poll.success_condition}"
        return decider.fail(step, ev.Failure(category="timeout", code="poll_exhausted", message=message))
    pause = poll.interval_seconds * poll.multiplier ** min(step.polls, 64)
    if poll.max_interval_seconds is not None:
        pause = min(pause, poll.max_interval_seconds)
    decider.emit(step.id, ev.PollAnswered(next_at=decider.now + round(pause * 1000), answer=answer))
    return None


def _await_callback(decider: Decider, step: StepState, answer: JsonValue) -> None:
    """The outside job is started; its signal may have come before the answer to the call that started it."""
    decider.emit(step.id, ev.WaitStarted(on="callback", until=step.until, answer=answer))
    _deliver(decider, step)


def _deliver(decider: Decider, step: StepState) -> None:
    callback = step.plan.step.callback
    signals = step.signals or []
    if callback is not None and len(signals) >= callback.uses:
        decider.decision.callbacks_closed.append((step, "used"))
        output: JsonValue = signals[-1] if callback.uses == 1 else list(signals)
        decider.succeed(step, output)


def _callback_arrived(decider: Decider, given: inp.CallbackArrived) -> None:
    state = decider.state
    step = state.nodes[given.step] if 0 <= given.step < len(state.nodes) else None
    callback = None if step is None or not step.callback else step.plan.step.callback
    if step is None or callback is None or step.generation != given.generation or state.ended:
        raise ConflictError(f"run {state.run_id} is not waiting for this callback any more")
    earlier = step.signals or []
    if len(earlier) >= callback.uses:
        raise ConflictError(f"`{step.address}` of run {state.run_id} has had its callback already")
    if step.status is StepStatus.WAITING and step.waits_on == "callback" and len(earlier) + 1 >= callback.uses:
        decider.decision.callbacks_closed.append((step, "used"))
        decider.succeed(step, given.payload if callback.uses == 1 else [*earlier, given.payload])
        return
    decider.emit(step.id, ev.CallbackReceived(payload=given.payload))


def _timers_due(decider: Decider, _given: inp.TimersDue) -> None:
    state = decider.state
    if state.paused or not decider.starts:
        return
    while not state.ended and (due := state.next_due()) is not None and due <= decider.now:
        _, number, kind = state.timer_heap[0]
        del state.timers[number, kind]
        if number == RUN_STEP:
            _run_deadline(decider)
        else:
            _TIMERS[kind](decider, state.nodes[number])
        decider.drain()


def _wait_over(decider: Decider, step: StepState) -> None:
    decider.succeed(step)


def _retry_due(decider: Decider, step: StepState) -> None:
    decider.emit(step.id, ev.empty(ev.AttemptStarted))
    decider.decision.start.append(step)


def _attempt_timeout(decider: Decider, step: StepState) -> None:
    assert step.plan.step.timeout is not None
    decider.decision.cancel.append(step)
    seconds = step.plan.step.timeout.attempt_seconds
    failure = ev.Failure(category="timeout", code="attempt_timeout", message=f"no result within {seconds:g} s")
    _attempt_failed(decider, step, failure)


def _total_timeout(decider: Decider, step: StepState) -> None:
    seconds = total_seconds(step)
    tries = f" ({step.tries} attempts)" if step.tries else ""
    message = f"not done within {seconds:g} s in all{tries}"
    decider.fail(step, ev.Failure(category="timeout", code="total_timeout", message=message), deadline=True)


def _expired(decider: Decider, step: StepState) -> None:
    callback = step.plan.step.callback
    assert callback is not None
    decider.decision.callbacks_closed.append((step, "expired"))
    message = f"no callback came within {callback.expires_seconds:g} s"
    decider.fail(step, ev.Failure(category="timeout", code="callback_expired", message=message), deadline=True)


def _next_turn(decider: Decider, step: StepState) -> None:
    try:
        composites.open_turn(decider, step)
    except StopNow as stopped:
        decider.fail(step, stopped.failure)


_TIMERS: dict[TimerKind, Callable[[Decider, StepState], None]] = {
    "wait": _wait_over,
    "retry": _retry_due,
    "poll": _retry_due,
    "attempt": _attempt_timeout,
    "total": _total_timeout,
    "expiry": _expired,
    "every": _next_turn,
}


def _run_deadline(decider: Decider) -> None:
    state = decider.state
    decider.emit(RUN_STEP, ev.empty(ev.RunDeadlineReached))
    seconds = state.plan.flow.timeout_seconds
    failure = ev.Failure(category="timeout", code="run_timeout", message=f"the run was not done within {seconds:g} s")
    decider.stop_all("the run's time is over")
    decider.finish(ev.FinallyStarted(outcome="timed_out", error=failure))


def _cancel(decider: Decider, given: inp.CancelRun) -> None:
    state = decider.state
    if state.ended:
        raise ConflictError(f"run {state.run_id} is over already ({state.status})")
    if state.cancelling is not None:
        return
    decider.emit(RUN_STEP, ev.CancelRequested(reason=given.reason))
    decider.stop_all(given.reason or "the run was cancelled")
    decider.finish(ev.FinallyStarted(outcome="cancelled"))


def _pause(decider: Decider, given: inp.PauseRun) -> None:
    state = decider.state
    if state.ended:
        raise ConflictError(f"run {state.run_id} is over already ({state.status})")
    if not state.paused:
        decider.emit(RUN_STEP, ev.RunPaused(reason=given.reason))


def _resume(decider: Decider, _given: inp.ResumeRun) -> None:
    if not decider.state.paused:
        raise ConflictError(f"run {decider.state.run_id} is not paused ({decider.state.status})")
    decider.emit(RUN_STEP, ev.empty(ev.RunResumed))
    _timers_due(decider, inp.TimersDue())


def _adopt(decider: Decider, given: inp.AdoptRun) -> None:
    state = decider.state
    if state.ended:
        return
    interrupted = pending_attempts(state)
    if interrupted:
        decider.emit(RUN_STEP, ev.empty(ev.HostRestarted))
    for step in interrupted:
        if step.id not in state.active:
            continue
        if step.id in given.unsafe or step.plan.step.at_most_once:
            message = "the host stopped while the attempt was in flight; whether it took effect is not known"
            decider.fail(step, ev.Failure(category="unknown_outcome", code="host_stopped", message=message))
            decider.drain()
        elif step.lost + 1 >= MAX_LOST_ATTEMPTS:
            message = f"its host stopped {step.lost + 1} times while it was in flight; it may be the cause"
            decider.fail(step, ev.Failure(category="internal", code="host_stopped", message=message))
            decider.drain()
        else:
            decider.emit(step.id, ev.empty(ev.AttemptLost))
            decider.emit(step.id, ev.empty(ev.AttemptStarted))
            decider.decision.start.append(step)


_HANDLERS: dict[type, Callable[[Decider, inp.Input], None]] = {  # pyright: ignore[reportAssignmentType]
    inp.Begin: _begin,
    inp.AttemptEnded: _attempt_ended,
    inp.TimersDue: _timers_due,
    inp.CallbackArrived: _callback_arrived,
    inp.CancelRun: _cancel,
    inp.PauseRun: _pause,
    inp.ResumeRun: _resume,
    inp.AdoptRun: _adopt,
}


# ---------------------------------------------------------------- pure steps


def _start_step(decider: Decider, step: StepState) -> None:
    decider.succeed(step, derived=True)


def _value_step(decider: Decider, step: StepState) -> None:
    decider.succeed(step, decider.params(step))


def _map_step(decider: Decider, step: StepState) -> None:
    params = decider.params(step)
    value = params.get("value", params)
    decider.succeed(step, value)


def _log_step(decider: Decider, step: StepState) -> None:
    params = decider.params(step)
    params.setdefault("level", "info")
    decider.succeed(step, params)


def _branch_step(decider: Decider, step: StepState) -> None:
    decider.succeed(step, derived=True)


def _return_step(decider: Decider, step: StepState) -> None:
    value = decider.params(step).get("value")
    decider.succeed(step, value)
    if step.status is not StepStatus.SUCCEEDED:
        return
    decider.stop_all(f"`{step.address}` ended the run")
    decider.finish_well(outputs=value, stopped_by=step.address)


def _stop_step(decider: Decider, step: StepState) -> None:
    decider.succeed(step, reason="ended the run quietly")
    if step.status is not StepStatus.SUCCEEDED:
        return
    decider.stop_all(f"`{step.address}` ended the run")
    decider.finish_well(stopped_by=step.address)


def _fail_step(decider: Decider, step: StepState) -> None:
    params = decider.params(step)
    decider.emit(step.id, ev.empty(ev.StepStarted))
    code, message = params.get("code"), params.get("message")
    category = str(params.get("category") or "validation")
    text = str(message or code or "the flow's `fail` step was reached")
    raise stop(category, text, None if code is None else str(code))


def _wait_step(decider: Decider, step: StepState) -> None:
    decider.emit(step.id, ev.empty(ev.StepStarted))
    if step.plan.step.callback is not None:
        decider.decision.callbacks_opened.append(step)
        decider.emit(step.id, ev.WaitStarted(on="callback", until=step.until))
        return
    params = decider.params(step)
    try:
        if "until" in params:
            until = moment_of(params["until"])
        else:
            until = decider.now + milliseconds_of(params.get("duration"))
    except InvalidDuration as error:
        raise stop("expression", str(error), "invalid_duration") from error
    if until <= decider.now:
        decider.succeed(step, reason="the time had passed already")
    else:
        decider.emit(step.id, ev.WaitStarted(on="time", until=until))


_PURE: dict[str, Callable[[Decider, StepState], None]] = {
    "start": _start_step,
    "set": _value_step,
    "map": _map_step,
    "log": _log_step,
    "branch": _branch_step,
    "return": _return_step,
    "stop": _stop_step,
    "fail": _fail_step,
    "wait": _wait_step,
}
