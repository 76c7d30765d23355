"""One decision in the making: how a step begins, ends, fails, and what that means for the steps after it.

Which step begins stands in `segue.kernel.strategy`, how blocks are opened and closed in `segue.kernel.composites`, the
steps that need no host in `segue.kernel.pure_steps`, what a failure leads to in `segue.kernel.after_failure`, and which
edges live after an end in `segue.kernel.edges`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from segue.expr import Condition, ExprError, Program, Query, Value
from segue.expr.sealed import spread
from segue.flow.model import JsonValue
from segue.kernel import compensation, composites
from segue.kernel import events as ev
from segue.kernel.after_failure import failure_policy, handler_of, timeout_policy, whole_again_at
from segue.kernel.apply import apply
from segue.kernel.booking import keeps_callback
from segue.kernel.children import abandon
from segue.kernel.decision import Child, Decision, Row
from segue.kernel.edges import choose_edges
from segue.kernel.evaluate import StopNow, compute, evaluated, expression_failure, holds, refuse_sealed
from segue.kernel.keeping import keep
from segue.kernel.plan import COMPOSITE_KINDS, WAIT_KINDS
from segue.kernel.pure_steps import PURE_STEPS, await_anew, end_run
from segue.kernel.scope import RunScope, SeededImpure
from segue.kernel.slots import slot_key
from segue.kernel.state import MAKERS, RUN_STEP, BlockState, RunState, StepState, is_shielded, kept_of
from segue.kernel.status import UNSETTLED, StepStatus
from segue.kernel.strategy import next_ready

new_tuple: Callable[..., Any] = tuple.__new__  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]


class Decider:
    """One decision in the making."""

    __slots__ = ("decision", "now", "over", "starts", "state")

    def __init__(self, state: RunState, now: int, *, starts: bool = True) -> None:
        self.state = state
        self.now = now
        self.starts = starts
        self.decision = Decision()
        self.over: set[Child] = set()
        """Sub-flow runs that need not be cancelled: they are over, or could not be started."""

    def emit(self, step: int, event: ev.Event) -> None:
        """Add an event to the decision and book it."""
        state, now = self.state, self.now
        # Not by `Row(…)`, whose constructor is a Python function: there is one an event.
        self.decision.rows.append(new_tuple(Row, (state.seq, step, now, event)))
        apply(state, step, event, now)

    # ------------------------------------------------------------ going on

    def drain(self) -> None:
        """Until nothing more can be decided: what failed first, then dead paths, ended blocks, ready steps."""
        state = self.state
        while not state.ended:
            if state.failed_blocks:
                composites.on_block_failed(self, state.failed_blocks.popleft())
            elif state.resumed:
                step = state.resumed.popleft()
                if step.failing is not None:
                    self.fail(step, step.failing.error, deadline=step.failing.deadline)
            elif state.won:
                self.cancel_losers(state.won.popleft())
            elif state.dead:
                step = next(iter(state.dead.values()))
                self.emit(step.id, ev.StepSkipped(reason=_dead_reason(step), dead=True))
            elif state.ended_blocks:
                composites.on_block_ended(self, state.ended_blocks.popleft())
            elif state.ready and self.starts and (step := next_ready(state)) is not None:
                self.start(step)
            else:
                return

    def start(self, step: StepState) -> None:
        """Begin a ready step: its condition, then what its kind asks for."""
        plan, keeping = step.plan, self.state.keeping
        kept = None if keeping is None else kept_of(keeping, step)
        if kept is not None and kept.status != "open":
            return keep(self, step, kept)
        try:
            if plan.step.disabled:
                return self.skip(step, "the step is disabled")
            if plan.when is not None:
                met, why = self.condition(plan.when, step, "when")
                if not met:
                    return self.skip(step, f"its condition was not met: {why or plan.step.when}")
            if plan.is_action:
                if plan.step.limits is None:
                    self.first_attempt(step)
                else:
                    self.await_slot(step)
            elif plan.kind in COMPOSITE_KINDS:
                self.emit(step.id, ev.empty(ev.StepStarted))
                composites.open_step(self, step)
            else:
                PURE_STEPS[plan.kind](self, step)
        except StopNow as stopped:
            self.fail(step, stopped.failure)

    def open_callback(self, step: StepState) -> None:
        """The step's callback can be sent from now on. Raises StopNow if what it is called by cannot be computed."""
        if step.plan.correlate is not None:
            called = self.value(step.plan.correlate, step, "correlate")
            refuse_sealed(called, "correlate")
            if called is not None:
                self.decision.speak().correlations[step.id] = called
        self.decision.callbacks_opened.append(step)

    def first_attempt(self, step: StepState) -> None:
        """The step begins with a call."""
        self.emit(step.id, ev.empty(ev.StepStarted))
        if step.callback:
            self.open_callback(step)
        self.decision.start.append(step)

    def next_attempt(self, step: StepState) -> None:
        """A further call, as soon as the step's limits allow it. A step asks for its slot under one key for ever."""
        if step.plan.is_action and step.plan.step.limits is not None:
            return self.await_slot_again(step)
        self.emit(step.id, ev.empty(ev.AttemptStarted))
        if step.plan.is_action:
            return self.decision.start.append(step)
        try:
            if step.plan.kind in WAIT_KINDS:
                await_anew(self, step)
            else:
                composites.open_step(self, step)
        except StopNow as stopped:
            self.fail(step, stopped.failure)
        return None

    def await_slot(self, step: StepState) -> None:
        """Ask for a slot before the first call. May raise `StopNow`."""
        program = step.plan.programs.get("limits.key")
        key = "" if program is None else slot_key(self.value(program, step, "limits.key"))
        self.emit(step.id, ev.SlotAwaited(key=key))
        self.decision.slots.append(step)

    def await_slot_again(self, step: StepState) -> None:
        """Ask for a slot before a further call."""
        self.emit(step.id, ev.SlotAwaited(key=step.slot_key or ""))
        self.decision.slots.append(step)

    def fall_back(self, step: StepState, failure: ev.Failure) -> bool:
        """Call the next fallback instead of failing. Not if the call before may have taken effect, or was stopped."""
        number = step.fallback + 1
        if number > len(step.plan.fallbacks) or failure.category in ("unknown_outcome", "cancelled"):
            return False
        self.close_callback(step)
        self.emit(step.id, ev.FallbackStarted(number=number, error=failure))
        if step.id in self.state.active:
            self.decision.start.append(step)
        else:
            self.await_slot_again(step)
        return True

    def skip(self, step: StepState, reason: str) -> None:
        """Settle a step that is not run; its path stays alive."""
        self.emit(step.id, ev.StepSkipped(reason=reason))
        choose_edges(self, step)

    def succeed(
        self,
        step: StepState,
        output: JsonValue = None,
        *,
        derived: bool = False,
        reason: str | None = None,
        cached_from: str | None = None,
    ) -> None:
        """End well; the step's `output:` transformation is applied here."""
        made: JsonValue = None
        if step.plan.output is not None:
            made = output if step.plan.kind in MAKERS else None
            try:
                value = composites.derived_or(self.state, step, output, derived=derived)
                output, derived = self.value(step.plan.output, step, "output", at_hand=value), False
            except StopNow as stopped:
                self.fail(step, stopped.failure)
                return
        if derived or output is not None or reason is not None or made is not None:
            output = None if derived else output
            last = ev.StepSucceeded(output=output, derived=derived, reason=reason, cached_from=cached_from, made=made)
        else:
            last = ev.empty(ev.StepSucceeded)
        self.conclude(step, last)

    def recover(
        self, step: StepState, output: JsonValue = None, *, derived: bool = False, error: ev.Failure | None = None
    ) -> None:
        """End well although it failed."""
        self.close_callback(step)
        self.conclude(step, ev.StepRecovered(output=output, derived=derived, error=error))

    def conclude(self, step: StepState, last: ev.StepSucceeded | ev.StepRecovered | ev.StepFailed) -> None:
        """Settle the step with its last event; its `finally` steps come before."""
        if step.plan.final is not None and step.concluding is None:
            self.emit(step.id, _held(last))
            return
        self.emit(step.id, last)
        if not isinstance(last, ev.StepFailed):
            choose_edges(self, step)

    def finally_ended(self, step: StepState, failure: ev.Failure | None) -> None:
        """The step's `finally` steps are over: it settles as was decided before them, or fails with them."""
        held = step.concluding
        assert held is not None
        if held.ends == "failed" and held.error is not None:
            self.conclude(step, ev.StepFailed(error=held.error, deadline=held.deadline, continues=held.continues))
        elif failure is not None:
            self.fail(step, failure)
        elif held.ends == "recovered":
            self.recover(step, held.output, derived=held.derived, error=held.error)
        else:
            last = ev.StepSucceeded(
                output=held.output, derived=held.derived, reason=held.reason, cached_from=held.cached_from,
                made=held.made,
            )  # fmt: skip
            self.conclude(step, last)
            end_run(self, step)

    # ------------------------------------------------------------ going wrong

    def fail(self, step: StepState, failure: ev.Failure, *, deadline: bool = False, expired: bool = False) -> None:
        """The step's last try failed: its handlers, its default, its error edge, or its block is told. `deadline`: its
        time is over; `expired`: that of this try.
        """
        handler = handler_of(step, failure.category)
        kept = handler is not None and keeps_callback(step, handler, self.now)
        self.close_inside(step, f"`{step.plan.step.id}` failed", keep_callback=kept)
        if failure.step is None:  # else it comes from a step inside this one, which stays its origin
            failure = msgspec.structs.replace(failure, step=step.address, attempt=step.attempt or None)
        if step.finishing:
            return self.emit(step.id, ev.StepFailing(error=failure, deadline=deadline))
        again_at = None if deadline and not expired else whole_again_at(self, step, failure)
        if again_at is not None:
            return self.emit(step.id, ev.AttemptFailed(error=failure, retry_at=again_at))
        if handler is not None:
            self.emit(step.id, ev.HandlerStarted(block=step.plan.handlers[handler].index, error=failure))
            return None
        return self.stand_in(step, failure, deadline=deadline)

    def stand_in(self, step: StepState, failure: ev.Failure, *, deadline: bool = False) -> None:
        """No handler took the failure, or none could mend it: what the step says of it otherwise, or its block is
        told.
        """
        on_timeout = timeout_policy(step) if failure.category == "timeout" else failure_policy(step)
        if on_timeout != "fail":
            output = None
            if on_timeout == "default" and step.plan.default is not None:
                try:
                    output = self.value(step.plan.default, step, "default")
                except StopNow as stopped:
                    failure, on_timeout = stopped.failure, "fail"
            if on_timeout != "fail":
                return self.recover(step, output, error=failure)
        if step.plan.has_error_edge:
            return self.recover(step, msgspec.to_builtins(failure), error=failure)
        return self.give_up(step, failure, deadline=deadline)

    def give_up(self, step: StepState, failure: ev.Failure, *, deadline: bool = False) -> None:
        """The step has failed for good; under `on_error: continue` the flow goes on without it and its dependants."""
        flow = self.state.plan.flow
        continues = flow.on_error == "continue" and step.block.plan.role == "root"
        if flow.strategy == "priority" and step.plan.step.priority >= flow.fail_fast_priority:
            continues = False
        if failure.step is None:
            failure = msgspec.structs.replace(failure, step=step.address)
        self.close_callback(step)
        self.conclude(step, ev.StepFailed(error=failure, deadline=deadline, continues=continues))

    def close_inside(self, step: StepState, reason: str, *, keep_callback: bool = False, force: bool = False) -> None:
        """Cancel what still runs within the step, and its own attempt and callback. Its `finally` goes on, unless
        that is forced.
        """
        self.let_go(step, keep_callback=keep_callback)
        background = self.state.background
        for block in step.children or ():
            is_final = block.plan.role in ("finally", "compensate") and not force
            if not block.closed and (block.remaining or background) and not is_final:
                self.cancel_block(block, reason, force=force)

    def let_go(self, step: StepState, *, keep_callback: bool = False) -> None:
        """Nobody waits any more for the step's attempt, its sub-flow, its event, its callback."""
        if step.id in self.state.active:
            self.decision.cancel.append(step)
        if step.plan.kind == "flow":
            abandon(self, step)
        elif step.event is not None and step.status is StepStatus.WAITING:
            self.decision.speak().waits_closed.append((step.id, step.generation))
        if not keep_callback:
            self.close_callback(step)

    def close_callback(self, step: StepState) -> None:
        """Nobody waits for the step's callback any more."""
        if step.callback:
            self.decision.close_callback(step, "cancelled")

    def cancel_block(self, block: BlockState, reason: str, *, force: bool = False) -> None:
        """Nothing more happens in the block: whatever runs or waits in it is cancelled."""
        for step in block.nodes:
            if step.status in UNSETTLED:
                self.cancel_step(step, reason, force=force)
            elif step.children and self.state.background:
                # branches that went on after their join had what it needed
                self.close_inside(step, reason, force=force)

    def cancel_step(self, step: StepState, reason: str, *, alone: bool = False, force: bool = False) -> None:
        """Cancel a step that is not settled, and what runs in it; if it had begun, its `finally` steps begin."""
        self.close_inside(step, reason, force=force)
        had_begun = step.started_at is not None
        self.emit(step.id, ev.StepCancelled(reason=reason, alone=alone))
        if had_begun and step.plan.final is not None and step.concluding is None and not force:
            self.emit(step.id, ev.StepFinallyStarted(ends="cancelled"))

    def cancel_losers(self, join: StepState) -> None:
        """The first path to a join has arrived: what leads only to it is of no use any more."""
        reason = f"another path to `{join.plan.step.id}` was first"
        nodes = join.block.nodes
        for local in join.plan.losers:
            loser = nodes[local]
            if loser.status is StepStatus.PENDING:
                self.emit(loser.id, ev.StepSkipped(reason=reason, dead=True))
            elif loser.status in UNSETTLED:
                self.cancel_step(loser, reason, alone=True)
            elif loser.children and self.state.background:
                self.close_inside(loser, reason)

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
        found: JsonValue = spread(self.value(step.plan.params, step, "params"))
        return dict(found) if isinstance(found, dict) else {}

    def impure(self, step: StepState, label: str) -> SeededImpure:
        """The provider of `now() uuid() random()` for one evaluation."""
        return SeededImpure(self.state.seed, f"{step.id}.{step.generation}.{step.attempt}.{label}", self.now)

    # ------------------------------------------------------------ ends of the run

    def finish(self, outcome: ev.FinallyStarted) -> None:
        """The flow's steps are over: handlers, compensations, `finally`, the run's last event.

        Where `finally` steps of what was cancelled are still running, all of that waits for them.
        """
        state, plan = self.state, self.state.plan
        if state.root is None:  # it has not begun, so there is nothing to clean up after
            return self.end(outcome)
        if state.background:
            self.emit(
                RUN_STEP,
                ev.RunEnding(
                    outcome=outcome.outcome, error=outcome.error, outputs=outcome.outputs, stopped_by=outcome.stopped_by
                ),
            )
            return None
        if outcome.outcome == "failed" and plan.flow_handlers is not None and state.phase == "steps":
            assert outcome.error is not None
            self.emit(RUN_STEP, ev.FlowHandlersStarted(error=outcome.error))
            return None
        if state.phase in ("steps", "handlers") and compensation.begin(self, outcome):
            return None
        if plan.flow_finally is not None and state.phase != "finally" and state.undoing is None:
            self.emit(RUN_STEP, outcome)
            return None
        return self.end(outcome)

    def end(self, outcome: ev.FinallyStarted) -> None:
        """The last event of the run."""
        error = outcome.error or ev.Failure(category="internal", message="the run ended without a stated error")
        if outcome.outcome == "succeeded":
            recovered = any(step.status is StepStatus.RECOVERED and not step.block.gone for step in self.state.nodes)
            last: ev.Event = ev.RunSucceeded(
                outputs=outcome.outputs, recovered=recovered, stopped_by=outcome.stopped_by
            )
        elif outcome.outcome == "failed":
            last = ev.RunFailed(error=error)
        elif outcome.outcome == "timed_out":
            last = ev.RunTimedOut(error=error)
        else:
            last = ev.RunCancelled(reason=self.state.cancelling or self.state.undoing)
        self.emit(RUN_STEP, last)

    def finish_well(self, *, outputs: JsonValue = None, stopped_by: str | None = None) -> None:
        """The steps are over and none failed: compute the outputs and finish."""
        state = self.state
        if stopped_by is None and state.plan.outputs is not None:
            try:
                label = f"outputs.{state.generation}" if state.generation else "outputs"
                impure = SeededImpure(state.seed, label, self.now)
                outputs = evaluated(state.plan.outputs, RunScope(state), impure)
            except ExprError as error:
                return self.finish(ev.FinallyStarted(outcome="failed", error=expression_failure(error, "outputs")))
        elif stopped_by is None and state.root is not None:
            outputs = composites.default_outputs(state.root)
        self.finish(ev.FinallyStarted(outcome="succeeded", outputs=outputs, stopped_by=stopped_by))
        return None

    def stop_all(self, reason: str, *, force: bool = False) -> None:
        """Cancel everything in flight, in whatever phase the run is and in branches that outlived their join.

        What is in the `finally` of a step goes on, unless that is forced.
        """
        for step in list(self.state.nodes):
            if step.status in UNSETTLED and (force or not is_shielded(step.block)):
                self.cancel_step(step, reason, force=force)


def _held(last: ev.StepSucceeded | ev.StepRecovered | ev.StepFailed) -> ev.StepFinallyStarted:
    """How a step will end, told before its `finally` steps begin."""
    if isinstance(last, ev.StepFailed):
        return ev.StepFinallyStarted(ends="failed", error=last.error, deadline=last.deadline, continues=last.continues)
    if isinstance(last, ev.StepRecovered):
        return ev.StepFinallyStarted(ends="recovered", output=last.output, derived=last.derived, error=last.error)
    return ev.StepFinallyStarted(
        output=last.output, derived=last.derived, reason=last.reason, cached_from=last.cached_from, made=last.made
    )


def _dead_reason(step: StepState) -> str:
    nodes = step.block.plan.nodes
    names = ", ".join(f"`{nodes[local].step.id}`" for local in step.plan.sources[:3])
    return f"no path to it was taken (after {names})" if names else "no path to it was taken"
