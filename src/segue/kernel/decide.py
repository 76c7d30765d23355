"""The kernel: what follows from an input. `decide(state, input, now) -> Decision`, with no I/O, clock or randomness.

A decision is a list of events, booked into the state as they are made, and the effects that a host carries out *after*
it has committed the events. Decisions build on each other before they are committed; a host whose commit fails drops
the state and folds it again from the journal. What a restarted host must do follows from the state alone
(`pending_attempts`, `RunState.next_due`), so no effect is ever lost.

This module says what each input means; `segue.kernel.decider` drives the steps forward from there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import msgspec

from segue.errors import ConflictError
from segue.expr import ExprError
from segue.flow.model import JsonValue, RawMap
from segue.kernel import approvals, children, compensation, loops, messages, rewind, undecided
from segue.kernel import events as ev
from segue.kernel import inputs as inp
from segue.kernel.decider import Decider
from segue.kernel.decision import Decision, Row
from segue.kernel.evaluate import StopNow, evaluated, expression_failure
from segue.kernel.going_back import go_back
from segue.kernel.retry import retry_at
from segue.kernel.scope import RunScope, SeededImpure
from segue.kernel.state import RUN_STEP, RunState, StepState, TimerKind, total_seconds
from segue.kernel.status import StepStatus

__all__ = ["MAX_LOST_ATTEMPTS", "Decision", "Row", "decide", "pending_attempts"]

MAX_LOST_ATTEMPTS = 10
"""A step in flight at this many crashes of its host is taken for their cause and fails."""


def decide(state: RunState, given: inp.Input, now: int, *, starts: bool = True) -> Decision:
    """What follows from `given` at `now` (ms). Raises ConflictError if the run's state does not allow it, NotFoundError
    if there is no such step.

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


# ---------------------------------------------------------------- inputs


def _begin(decider: Decider, given: inp.Begin) -> None:
    state = decider.state
    if state.seq:
        raise ConflictError(f"run {state.run_id} has begun already")
    decider.emit(RUN_STEP, _accepted(given))
    if given.skipped is not None:
        return decider.emit(RUN_STEP, ev.RunSkipped(reason=given.skipped))
    if given.queued is not None:
        return decider.emit(RUN_STEP, given.queued)
    return _start_flow(decider)


def _begin_queued(decider: Decider, _given: inp.BeginQueued) -> None:
    if decider.state.root is None and not decider.state.ended:
        _start_flow(decider)


def _queue_on(decider: Decider, given: inp.QueueOn) -> None:
    state = decider.state
    if state.root is None and not state.ended and state.queued != given.queued:
        decider.emit(RUN_STEP, given.queued)


def _skip_queued(decider: Decider, given: inp.SkipQueued) -> None:
    if decider.state.root is None and not decider.state.ended:
        decider.emit(RUN_STEP, ev.RunSkipped(reason=given.reason))


def _start_flow(decider: Decider) -> None:
    state, plan = decider.state, decider.state.plan
    try:
        impure = SeededImpure(state.seed, "vars", decider.now)
        vars_ = cast("RawMap", evaluated(plan.vars, RunScope(state), impure))
    except ExprError as error:
        decider.emit(RUN_STEP, ev.empty(ev.RunStarted))
        decider.stop_all("the flow's vars could not be computed")
        return decider.finish(ev.FinallyStarted(outcome="failed", error=expression_failure(error, "vars")))
    decider.emit(RUN_STEP, ev.RunStarted(vars=vars_) if vars_ else ev.empty(ev.RunStarted))
    return None


def _accepted(given: inp.Begin) -> ev.RunAccepted:
    return ev.RunAccepted(
        inputs=given.inputs, trigger=given.trigger, seed=given.seed, origin=given.origin, kept=given.kept
    )


def _attempt_ended(decider: Decider, given: inp.AttemptEnded) -> None:
    step = decider.state.active.get(given.step)
    if step is None or step.attempt != given.attempt or step.generation != given.generation:
        return
    if step.plan.kind == "flow":
        decider.over.add(children.child_of(step))
    if given.failure is not None:
        _attempt_failed(decider, step, given.failure, given.retry_after_seconds, given.transient)
    elif step.fallback or given.cached_from is not None:
        decider.close_callback(step)
        decider.succeed(step, given.output, reason=_given_by(step, given), cached_from=given.cached_from)
    elif step.plan.step.poll is not None:
        _polled(decider, step, given)
    elif step.callback:
        _await_callback(decider, step, given)
    else:
        _job_done(decider, step, given.output, given.cache_key)


def _job_done(decider: Decider, step: StepState, output: JsonValue, cache_key: str | None = None) -> None:
    """The step's own action, or the job that it started, gave its result."""
    key = cache_key or step.cache_key
    if key is not None:
        decider.decision.speak().results.append((step, key, output))
    decider.succeed(step, output)


def _given_by(step: StepState, given: inp.AttemptEnded) -> str | None:
    """What a person should know of a result that the step's own action did not give just now."""
    if given.cached_from is not None:
        return f"taken from the cache: the result of run {given.cached_from}"
    if step.fallback:
        cause = "" if step.error is None else f", after {step.error.category}: {step.error.message}"
        return f"given by its fallback `{step.plan.fallbacks[step.fallback - 1].use}`{cause}"
    return None


def _attempt_failed(
    decider: Decider,
    step: StepState,
    failure: ev.Failure,
    retry_after: float | None = None,
    transient: bool | None = None,
) -> None:
    if _deliver(decider, step):
        return
    due = None
    policy = step.plan.step.retry
    if policy is not None and step.started_at is not None:
        share = decider.impure(step, "jitter").random()
        due = retry_at(
            policy, failure, tries=step.tries, started_at=step.started_at, now=decider.now, share=share,
            retry_after=retry_after, transient=transient,
        )  # fmt: skip
    if due is None:
        _job_failed(decider, step, failure)
    else:
        failure = _of_attempt(step, failure)
        decider.emit(step.id, ev.AttemptFailed(error=failure, retry_at=due))


def _of_attempt(step: StepState, failure: ev.Failure) -> ev.Failure:
    return msgspec.structs.replace(failure, step=step.address, attempt=step.attempt)


def _job_failed(decider: Decider, step: StepState, failure: ev.Failure) -> None:
    """The call, or the job that it started, has failed for good: its fallbacks stand in, if it has any."""
    failure = _of_attempt(step, failure)
    if not decider.fall_back(step, failure):
        decider.fail(step, failure)


def _polled(decider: Decider, step: StepState, given: inp.AttemptEnded) -> None:
    poll, output = step.plan.step.poll, given.output
    assert poll is not None
    starts = poll.use is not None and step.job is None
    use = poll.use if poll.use is not None and not starts else step.plan.step.use or step.plan.kind
    answer = output["body"] if use == "http" and isinstance(output, dict) and "body" in output else output
    if starts:
        due = decider.now + round(poll.interval_seconds * 1000)
        job = {} if answer is None else answer
        return decider.emit(step.id, ev.PollAnswered(next_at=due, answer=job, started=True, cache_key=given.cache_key))
    try:
        failure = step.plan.conditions.get("failure")
        if failure is not None and decider.condition(failure, step, "failure_condition", at_hand=answer)[0]:
            message = f"the poll's failure condition was met: {poll.failure_condition}"
            return _job_failed(decider, step, ev.Failure(category="validation", code="poll_failed", message=message))
        success = step.plan.conditions.get("success")
        if success is None or decider.condition(success, step, "success_condition", at_hand=answer)[0]:
            return _job_done(decider, step, answer, given.cache_key)
    except StopNow as stopped:
        return decider.fail(step, stopped.failure)
    asked = step.polls + 1
    if asked >= poll.max_attempts:
        message = f"asked {asked} times and the condition was never met: {poll.success_condition}"
        return _job_failed(decider, step, ev.Failure(category="timeout", code="poll_exhausted", message=message))
    pause = poll.interval_seconds * poll.multiplier ** min(step.polls, 64)
    if poll.max_interval_seconds is not None:
        pause = min(pause, poll.max_interval_seconds)
    decider.emit(
        step.id,
        ev.PollAnswered(next_at=decider.now + round(pause * 1000), answer=answer, cache_key=given.cache_key),
    )
    return None


def _await_callback(decider: Decider, step: StepState, given: inp.AttemptEnded) -> None:
    """The outside job is started; its signal may have come before the answer to the call that started it."""
    started = ev.WaitStarted(on="callback", until=step.until, answer=given.output, cache_key=given.cache_key)
    decider.emit(step.id, started)
    _deliver(decider, step)


def _deliver(decider: Decider, step: StepState) -> bool:
    """Whether all signals that the step waits for are there, so that it is done: it may be that the call that started
    the job fails when its job has answered already.
    """
    callback = step.plan.step.callback if step.callback else None
    signals = step.signals or []
    if callback is None or len(signals) < callback.uses:
        return False
    decider.decision.close_callback(step, "used")
    _job_done(decider, step, signals[-1] if callback.uses == 1 else list(signals))
    return True


def _callback_arrived(decider: Decider, given: inp.CallbackArrived) -> None:
    state = decider.state
    step = state.nodes[given.step] if 0 <= given.step < len(state.nodes) else None
    callback = None if step is None or not step.callback else step.plan.step.callback
    if step is None or callback is None or step.generation != given.generation or state.ended:
        raise ConflictError(f"run {state.run_id} is not waiting for this callback any more")
    if step.plan.kind == "approve":
        return approvals.on_decision(decider, step, given.payload)
    earlier = step.signals or []
    if len(earlier) >= callback.uses:
        raise ConflictError(f"`{step.address}` of run {state.run_id} has had its callback already")
    if step.status is StepStatus.WAITING and step.waits_on == "callback" and len(earlier) + 1 >= callback.uses:
        decider.decision.close_callback(step, "used")
        return _job_done(decider, step, given.payload if callback.uses == 1 else [*earlier, given.payload])
    return decider.emit(step.id, ev.CallbackReceived(payload=given.payload))


def _child_ended(decider: Decider, given: inp.ChildEnded) -> None:
    step = children.take_end(decider, given)
    if step is None:
        return
    if given.failure is not None:
        _attempt_failed(decider, step, given.failure)
    else:
        decider.succeed(step, given.output)


def _timers_due(decider: Decider, _given: inp.TimersDue) -> None:
    state = decider.state
    if state.paused or not decider.starts:
        return
    while not state.ended and (due := state.next_due()) is not None and due <= decider.now:
        _, number, kind = state.timer_heap[0]
        state.drop_timer(number, kind)
        if number == RUN_STEP:
            _run_deadline(decider)
        else:
            _TIMERS[kind](decider, state.nodes[number])
        decider.drain()


def _wait_over(decider: Decider, step: StepState) -> None:
    decider.succeed(step)


def _retry_due(decider: Decider, step: StepState) -> None:
    decider.next_attempt(step)


def _slot_given(decider: Decider, given: inp.SlotGiven) -> None:
    state = decider.state
    step = state.awaiting.get(given.step)
    if step is None or state.paused:
        return
    if step.started_at is None:
        try:
            decider.first_attempt(step)
        except StopNow as stopped:
            decider.fail(step, stopped.failure)
    else:
        decider.emit(step.id, ev.empty(ev.AttemptStarted))
        decider.decision.start.append(step)


def _slot_refused(decider: Decider, given: inp.SlotRefused) -> None:
    step = decider.state.awaiting.get(given.step)
    if step is None or step.started_at is not None:
        return
    if given.how == "skip":
        decider.skip(step, given.reason)
    else:
        decider.fail(step, ev.Failure(category="rate_limit", code="limit_reached", message=given.reason))


def _attempt_timeout(decider: Decider, step: StepState) -> None:
    assert step.plan.step.timeout is not None
    if step.plan.kind == "flow":
        children.abandon(decider, step)
        decider.over.add(children.child_of(step))
    seconds = step.plan.step.timeout.attempt_seconds
    failure = ev.Failure(category="timeout", code="attempt_timeout", message=f"no result within {seconds:g} s")
    if not step.plan.is_action:
        return decider.fail(step, failure)
    if step.id in decider.state.active:
        decider.decision.cancel.append(step)
    _attempt_failed(decider, step, failure)
    return None


def _total_timeout(decider: Decider, step: StepState) -> None:
    # Between two tries nobody is asked: there is no decision to take the place of.
    if step.status is StepStatus.WAITING and approvals.on_expiry(decider, step):
        return
    seconds = total_seconds(step)
    tries = f" ({step.tries} attempt{'' if step.tries == 1 else 's'})" if step.tries else ""
    message = f"not done within {seconds:g} s in all{tries}"
    decider.fail(step, ev.Failure(category="timeout", code="total_timeout", message=message), deadline=True)


def _expired(decider: Decider, step: StepState) -> None:
    callback = step.plan.step.callback
    assert callback is not None
    if approvals.on_expiry(decider, step):
        return
    decider.decision.close_callback(step, "expired")
    what = "decision" if step.plan.kind == "approve" else "callback"
    message = f"no {what} came within {callback.expires_seconds:g} s"
    failure = ev.Failure(category="timeout", code="callback_expired", message=message)
    if not decider.fall_back(step, _of_attempt(step, failure)):
        decider.fail(step, failure, deadline=True, expired=True)


def _remind(decider: Decider, step: StepState) -> None:
    try:
        approvals.remind(decider, step)
    except StopNow as stopped:
        decider.fail(step, stopped.failure)


_TIMERS: dict[TimerKind, Callable[[Decider, StepState], None]] = {
    "wait": _wait_over,
    "retry": _retry_due,
    "poll": _retry_due,
    "attempt": _attempt_timeout,
    "total": _total_timeout,
    "expiry": _expired,
    "every": loops.next_turn,
    "remind": _remind,
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
    reason = given.reason or "the run was cancelled"
    is_first = state.cancelling is None
    if not is_first and not given.force:
        return
    decider.emit(RUN_STEP, ev.CancelRequested(reason=given.reason))
    if state.phase == "compensation":
        if given.force:
            compensation.stop(decider, reason)
        return
    decider.stop_all(reason, force=given.force)
    decider.finish(ev.FinallyStarted(outcome="cancelled"))


def _undo(decider: Decider, given: inp.UndoRun) -> None:
    state = decider.state
    if not state.ended:
        raise ConflictError(f"run {state.run_id} is not over ({state.status}): cancel it, and it is undone as it ends")
    if not compensation.due_compensations(state):
        raise ConflictError(f"run {state.run_id} has nothing to undo: no step that ended well has a `compensate` left")
    outcome = compensation.outcome_of(state)
    decider.emit(RUN_STEP, ev.UndoRequested(reason=given.reason))
    compensation.begin(decider, outcome)


def _pause(decider: Decider, given: inp.PauseRun) -> None:
    state = decider.state
    if state.ended:
        raise ConflictError(f"run {state.run_id} is over already ({state.status})")
    if state.root is None:
        raise ConflictError(f"run {state.run_id} has not begun; it can be cancelled, or paused once it has")
    if not state.paused:
        decider.emit(RUN_STEP, ev.RunPaused(reason=given.reason))


def _resume(decider: Decider, _given: inp.ResumeRun) -> None:
    if not decider.state.paused:
        raise ConflictError(f"run {decider.state.run_id} is not paused ({decider.state.status})")
    decider.emit(RUN_STEP, ev.empty(ev.RunResumed))
    decider.decision.slots += decider.state.awaiting.values()
    _timers_due(decider, inp.TimersDue())


def _rewind(decider: Decider, given: inp.RewindRun) -> None:
    to = rewind.steps_at(decider.state, given.to)
    if not (given.compensate and compensation.begin_going_back(decider, to, given)):
        go_back(decider, to, "rewind", by=given.by, reason=given.reason)


def _retry(decider: Decider, given: inp.RetryRun) -> None:
    go_back(decider, rewind.steps_to_retry(decider.state), "retry", by=given.by, reason=given.reason)


def _adopt(decider: Decider, given: inp.AdoptRun) -> None:
    state = decider.state
    if state.ended:
        return
    interrupted = [step for step in pending_attempts(state) if step.id in given.interrupted]
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
            decider.next_attempt(step)


def _go_on(decider: Decider, given: inp.GoOn) -> None:
    undecided.go_on(decider, given)
    _timers_due(decider, inp.TimersDue())  # one of them may have been what the last decision was on


_HANDLERS: dict[type, Callable[[Decider, inp.Input], None]] = {  # pyright: ignore[reportAssignmentType]
    inp.Begin: _begin,
    inp.BeginQueued: _begin_queued,
    inp.QueueOn: _queue_on,
    inp.SkipQueued: _skip_queued,
    inp.SlotGiven: _slot_given,
    inp.SlotRefused: _slot_refused,
    inp.AttemptEnded: _attempt_ended,
    inp.TimersDue: _timers_due,
    inp.CallbackArrived: _callback_arrived,
    inp.ChildBegan: children.on_began,
    inp.ChildEnded: _child_ended,
    inp.EventArrived: messages.on_event,
    inp.CancelRun: _cancel,
    inp.UndoRun: _undo,
    inp.PauseRun: _pause,
    inp.ResumeRun: _resume,
    inp.RewindRun: _rewind,
    inp.RetryRun: _retry,
    inp.GoOn: _go_on,
    inp.AdoptRun: _adopt,
}
