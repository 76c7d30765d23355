"""Booking the events of a step: one small function an event. For `segue.kernel.apply` only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from segue.flow.model import JsonValue, RawMap
from segue.kernel import events as ev
from segue.kernel.booking import (
    close_block,
    count_finishing,
    drop_timers,
    follow,
    keeps_callback,
    open_block,
    reopen,
    settle,
    settle_dead,
)
from segue.kernel.graft import forget_other_items, graft, keep_vars
from segue.kernel.outputs import derived_output
from segue.kernel.plan import WAIT_KINDS
from segue.kernel.state import (
    MAKERS,
    RunState,
    StepState,
    kept_of,
    makes_tries,
    names_in,
    set_by,
    total_seconds,
)
from segue.kernel.status import StepStatus, failed_status


def _started(state: RunState, step: StepState, _event: ev.StepStarted, seq: int, at: int) -> None:
    state.unschedule(step)
    step.waits_on = None
    step.status = StepStatus.RUNNING
    step.started_at = at
    step.started_seq = seq
    step.vars = state.vars
    plan = step.plan
    if plan.is_action:
        step.attempt = step.tries = 1
        state.active[step.id] = step
    elif plan.step.retry is not None:
        step.attempt = step.tries = 1
    timeout = plan.step.timeout
    if timeout is not None:
        total = total_seconds(step)
        if total is not None:
            state.set_timer(step.id, "total", at + round(total * 1000))
        if timeout.attempt_seconds is not None and makes_tries(step):
            state.set_timer(step.id, "attempt", at + round(timeout.attempt_seconds * 1000))
    _open_callback(step, at)


def _open_callback(step: StepState, at: int) -> None:
    callback = step.plan.step.callback
    if callback is not None:
        step.callback = True
        step.expires_at = step.until = at + round(callback.expires_seconds * 1000)


def _began(state: RunState, step: StepState, seq: int, at: int) -> None:
    step.started_at = at
    step.started_seq = seq
    step.vars = state.vars


def _succeeded(state: RunState, step: StepState, event: ev.StepSucceeded, seq: int, at: int) -> None:
    if step.started_at is None:
        _began(state, step, seq, at)
    step.output = derived_output(state, step) if event.derived else event.output
    step.reason = event.reason
    step.cached_from = event.cached_from
    if step.plan.kind in MAKERS:
        step.answer = event.made
        if step.plan.kind == "set":
            _set_vars(state, step, set_by(step))
        elif step.plan.kind == "respond":
            _respond(state, event)
    step.callback = False
    settle(state, step, StepStatus.SUCCEEDED, seq, at)


def _respond(state: RunState, event: ev.StepSucceeded | ev.StepFinallyStarted) -> None:
    """The first answer to the run's caller counts."""
    answer = event.output if event.made is None else event.made
    if state.response is None and isinstance(answer, dict):
        state.response = answer


def _set_vars(state: RunState, step: StepState, values: RawMap) -> None:
    """Kept steps set what they had set in the order of then, whatever their order is now."""
    keeping = state.keeping
    kept = None if keeping is None else kept_of(keeping, step)
    if keeping is None or kept is None:
        if keeping is not None:
            keeping.sets = None
        state.vars = {**state.vars, **values}
    else:
        keep_vars(state, keeping, kept.order, values)


def _blocks_kept(state: RunState, step: StepState, _event: ev.BlocksKept, seq: int, at: int) -> None:
    keeping = state.keeping
    kept = None if keeping is None else kept_of(keeping, step)
    if keeping is not None and kept is not None:
        graft(state, keeping, step, kept, seq, at)


def _close_children(state: RunState, step: StepState) -> None:
    """A block whose open steps are all on dead paths holds nothing that could be cancelled: it ends with its owner."""
    for block in step.children or ():
        if block.remaining and block.plan.role != "finally":
            close_block(state, block)


def _failed(state: RunState, step: StepState, event: ev.StepFailed, seq: int, at: int) -> None:
    if step.open_blocks:
        _close_children(state, step)
    step.error = event.error
    step.callback = False
    step.failing = None
    step.continued = event.continues
    status = failed_status(event.error.category, deadline=event.deadline)
    step.status, step.settled_seq, step.ended_at = status, seq, at
    state.unschedule(step)
    drop_timers(state, step)
    block = step.block
    if event.continues:
        settle_dead(state, step)
    else:
        block.failure = event.error
        close_block(state, block)
        state.failed_blocks.append(block)


def _skipped(state: RunState, step: StepState, event: ev.StepSkipped, seq: int, at: int) -> None:
    step.reason = event.reason
    state.unschedule(step)
    if not event.dead:
        settle(state, step, StepStatus.SKIPPED, seq, at)
        return
    step.status, step.settled_seq, step.ended_at = StepStatus.SKIPPED, seq, at
    settle_dead(state, step)


def _cancelled(state: RunState, step: StepState, event: ev.StepCancelled, seq: int, at: int) -> None:
    if step.open_blocks:
        _close_children(state, step)
    state.background += step.open_blocks  # only its `finally` is open now, and it goes on
    if step.open_blocks:
        count_finishing(state, step, 1)
    step.status, step.settled_seq, step.ended_at = StepStatus.CANCELLED, seq, at
    step.reason = event.reason
    step.callback = False
    step.failing = None
    state.unschedule(step)
    drop_timers(state, step)
    if event.alone:
        settle_dead(state, step)
    else:
        close_block(state, step.block)


def _recovered(state: RunState, step: StepState, event: ev.StepRecovered, seq: int, at: int) -> None:
    if step.started_at is None:
        _began(state, step, seq, at)
    step.output = derived_output(state, step) if event.derived else event.output
    step.error = event.error or step.error
    step.callback = False
    step.failing = None
    settle(state, step, StepStatus.RECOVERED, seq, at)


def _attempt_started(state: RunState, step: StepState, _event: ev.AttemptStarted, _seq: int, at: int) -> None:
    if step.waits_on == "lost":
        step.waits_on = None
    elif step.waits_on != "poll":
        step.tries += 1
    step.attempt += 1
    step.status = StepStatus.RUNNING
    step.until = step.expires_at
    state.unschedule(step)
    if step.plan.is_action:
        state.active[step.id] = step
    else:
        reopen(state, step)
    if step.plan.kind in WAIT_KINDS:
        # What was sent to the try before does not count for this one.
        step.generation = step.inner_generation
        step.signals, step.reminded = None, 0
        _open_callback(step, at)
        if (step.id, "total") not in state.timers and (total := total_seconds(step)) is not None:
            # Its time was over, and a handler has it tried again all the same: it has that time once more.
            state.set_timer(step.id, "total", at + round(total * 1000))
    for kind in ("retry", "poll"):
        state.drop_timer(step.id, kind)
    _limit_attempt(state, step, at)


def _limit_attempt(state: RunState, step: StepState, at: int) -> None:
    timeout = step.plan.step.timeout
    if timeout is not None and timeout.attempt_seconds is not None:
        state.set_timer(step.id, "attempt", at + round(timeout.attempt_seconds * 1000))


def _slot_awaited(state: RunState, step: StepState, event: ev.SlotAwaited, _seq: int, _at: int) -> None:
    state.unschedule(step)
    step.status = StepStatus.WAITING
    step.slot_key = event.key
    step.until = None
    if step.waits_on not in ("lost", "poll"):  # how the next attempt counts
        step.waits_on = "slot"
    state.awaiting[step.id] = step
    for kind in ("retry", "poll"):
        state.drop_timer(step.id, kind)


def _fallback(state: RunState, step: StepState, event: ev.FallbackStarted, _seq: int, at: int) -> None:
    """The fallback stands in for the whole job: nobody is asked about that any more, or waited for."""
    begins = step.id in state.active or step.plan.step.limits is None  # else it has to get a slot first
    step.fallback = event.number
    step.error = event.error
    step.status = StepStatus.RUNNING
    step.callback = False
    step.waits_on = step.until = step.expires_at = None
    step.tries = 0
    for kind in ("poll", "expiry"):
        state.drop_timer(step.id, kind)
    if begins:
        step.attempt += 1
        step.tries = 1
        state.active[step.id] = step
        _limit_attempt(state, step, at)


def _attempt_failed(state: RunState, step: StepState, event: ev.AttemptFailed, _seq: int, _at: int) -> None:
    step.status = StepStatus.RETRYING
    step.error = event.error
    step.until = event.retry_at
    step.waits_on = "retry"
    step.failing = step.concluding = None
    if step.open_blocks:
        _close_children(state, step)
    state.unschedule(step)
    for kind in ("attempt", "every"):
        state.drop_timer(step.id, kind)
    if step.plan.kind in WAIT_KINDS:
        step.callback = False
        for kind in ("wait", "expiry", "remind"):
            state.drop_timer(step.id, kind)
    state.set_timer(step.id, "retry", event.retry_at)


def _attempt_lost(state: RunState, step: StepState, _event: ev.AttemptLost, _seq: int, _at: int) -> None:
    step.status = StepStatus.RETRYING
    step.lost += 1
    step.waits_on = "lost"
    state.unschedule(step)
    state.drop_timer(step.id, "attempt")


def _wait_started(state: RunState, step: StepState, event: ev.WaitStarted, _seq: int, _at: int) -> None:
    step.status = StepStatus.WAITING
    step.waits_on = event.on
    step.until = event.until
    step.answer = event.answer
    step.cache_key = event.cache_key
    state.unschedule(step)
    if step.plan.kind not in WAIT_KINDS:  # their attempt is the wait itself
        state.drop_timer(step.id, "attempt")
    if event.on == "event":
        step.event, step.since = event.event, event.since
        ends = [state.timers.get((step.id, "total")), state.timers.get((step.id, "attempt"))]
        step.until = min((end for end in ends if end is not None), default=None)
    if event.until is not None:
        state.set_timer(step.id, "wait" if event.on == "time" else "expiry", event.until)
    if event.remind_at is not None:
        state.set_timer(step.id, "remind", event.remind_at)


def _callback(_state: RunState, step: StepState, event: ev.CallbackReceived, _seq: int, _at: int) -> None:
    if step.signals is None:
        step.signals = []
    step.signals.append(event.payload)


def _poll(state: RunState, step: StepState, event: ev.PollAnswered, _seq: int, _at: int) -> None:
    step.status = StepStatus.WAITING
    step.waits_on = "poll"
    if event.started:
        step.job = event.answer
    else:
        step.polls += 1
    step.cache_key = event.cache_key or step.cache_key
    step.answer = event.answer
    step.until = event.next_at
    state.unschedule(step)
    state.drop_timer(step.id, "attempt")
    state.set_timer(step.id, "poll", event.next_at)


def _blocks_opened(state: RunState, step: StepState, event: ev.BlocksOpened, _seq: int, _at: int) -> None:
    step.reason = event.reason or step.reason
    step.status = StepStatus.RUNNING
    plan = step.plan
    for number in event.blocks:
        block = state.plan.blocks[number]
        if plan.kind == "repeat":
            state.drop_timer(step.id, "every")
        open_block(state, block, step, event.first, names_in(step, block, event.first)).chosen = event.reason
    if event.items is not None:
        step.items, step.keys = event.items, event.keys
        forget_other_items(state, step)
    if plan.kind == "foreach":
        for index in range(event.first, event.first + event.count):
            open_block(state, plan.blocks[0], step, index, names_in(step, plan.blocks[0], index))
        step.next_item = event.first + event.count
    elif plan.kind == "parallel":
        step.next_item += len(event.blocks)


def _iteration(state: RunState, step: StepState, event: ev.IterationEnded, _seq: int, _at: int) -> None:
    if step.plan.kind == "foreach":
        if step.tolerated is None:
            step.tolerated = []
        step.tolerated.append(event.index)
        if event.output is not None:
            step.results = step.results or {}
            step.results[event.index] = event.output
        return
    step.next_item = event.index + 1
    if event.next_at is not None:
        step.status = StepStatus.WAITING
        step.waits_on = "every"
        step.until = event.next_at
        state.set_timer(step.id, "every", event.next_at)


def _handler(state: RunState, step: StepState, event: ev.HandlerStarted, seq: int, at: int) -> None:
    if step.started_at is None:
        _began(state, step, seq, at)
    block = state.plan.blocks[event.block]
    step.callback = keeps_callback(step, step.plan.handlers.index(block), at)
    step.handling = event.block
    step.error = event.error
    step.failing = None
    step.status = StepStatus.RUNNING
    state.unschedule(step)
    drop_timers(state, step)
    open_block(state, block, step, bindings={"error": msgspec.to_builtins(event.error)})


def _failing(state: RunState, step: StepState, event: ev.StepFailing, _seq: int, _at: int) -> None:
    step.failing = event
    step.error = event.error
    step.status = StepStatus.RUNNING
    drop_timers(state, step)


def _step_finally(state: RunState, step: StepState, event: ev.StepFinallyStarted, seq: int, at: int) -> None:
    if step.started_at is None:
        _began(state, step, seq, at)
    step.failing = None
    if step.status is not StepStatus.CANCELLED:
        step.status = StepStatus.RUNNING
        step.concluding = event
        step.callback = False
        state.unschedule(step)
        drop_timers(state, step)
    if step.plan.kind == "respond" and event.ends == "succeeded":
        _respond(state, event)
    final = step.plan.final
    if final is None:
        return
    error = event.error or step.error or next((one.failure for one in step.children or () if one.failure), None)
    output = derived_output(state, step) if event.derived else event.output
    open_block(state, final, step, bindings=_told(output, error))


def _compensate(state: RunState, step: StepState, _event: ev.StepCompensationStarted, _seq: int, _at: int) -> None:
    step.undone = "running"
    plan = step.plan.compensation
    if plan is None or state.compensating is None:
        return
    frame = open_block(state, plan, step, bindings=_told(step.output, state.compensating.error)).frame
    frame.as_of, frame.vars = step.settled_seq + 1, step.vars_after


def _compensated(_state: RunState, step: StepState, event: ev.StepCompensated, _seq: int, _at: int) -> None:
    step.undone = "done" if event.error is None else "failed"
    step.undo_error = event.error


def _told(output: JsonValue, error: ev.Failure | None) -> dict[str, object]:
    return {"output": output, "error": None if error is None else msgspec.to_builtins(error)}


def _child_started(state: RunState, step: StepState, event: ev.ChildStarted, _seq: int, _at: int) -> None:
    step.status = StepStatus.WAITING
    step.waits_on = "child"
    step.child = event.run_id
    state.unschedule(step)
    state.with_child[step.id] = step
    limits = [due for kind in ("attempt", "total") if (due := state.timers.get((step.id, kind))) is not None]
    step.until = min(limits, default=None)


def _reminded(state: RunState, step: StepState, event: ev.Reminded, _seq: int, _at: int) -> None:
    step.reminded = event.number
    state.drop_timer(step.id, "remind")
    if event.next_at is not None:
        state.set_timer(step.id, "remind", event.next_at)


def _event_received(state: RunState, step: StepState, event: ev.EventReceived, _seq: int, _at: int) -> None:
    state.taken.add((step.plan.index, event.id))


def _edges(state: RunState, step: StepState, event: ev.EdgesChosen, _seq: int, _at: int) -> None:
    step.edges_reason = event.reason
    step.edges_live = event.live
    for number, edge in enumerate(step.plan.out):
        follow(state, step, edge, live=number in event.live)


STEP_EVENTS: Final[dict[type[ev.Event], Callable[[RunState, StepState, Any, int, int], None]]] = {
    ev.StepStarted: _started,
    ev.StepSucceeded: _succeeded,
    ev.StepFailed: _failed,
    ev.StepSkipped: _skipped,
    ev.StepCancelled: _cancelled,
    ev.StepRecovered: _recovered,
    ev.AttemptStarted: _attempt_started,
    ev.AttemptFailed: _attempt_failed,
    ev.AttemptLost: _attempt_lost,
    ev.WaitStarted: _wait_started,
    ev.CallbackReceived: _callback,
    ev.PollAnswered: _poll,
    ev.BlocksOpened: _blocks_opened,
    ev.IterationEnded: _iteration,
    ev.HandlerStarted: _handler,
    ev.EdgesChosen: _edges,
    ev.BlocksKept: _blocks_kept,
    ev.StepFailing: _failing,
    ev.StepFinallyStarted: _step_finally,
    ev.StepCompensationStarted: _compensate,
    ev.StepCompensated: _compensated,
    ev.ChildStarted: _child_started,
    ev.Reminded: _reminded,
    ev.EventReceived: _event_received,
    ev.SlotAwaited: _slot_awaited,
    ev.FallbackStarted: _fallback,
}
