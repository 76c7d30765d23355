"""Booking the events of a run as a whole: one small function an event. For `segue.kernel.apply` only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from segue.kernel import events as ev
from segue.kernel.booking import corrupt, open_block
from segue.kernel.rewind import plan_rewind
from segue.kernel.rewind_booking import book_rewind
from segue.kernel.state import (
    RUN_STEP,
    Keeping,
    Rewinding,
    RunState,
)


def accepted(state: RunState, event: ev.RunAccepted, at: int) -> None:
    """The first event of every journal."""
    state.inputs = event.inputs
    state.trigger = event.trigger
    state.seed = event.seed
    if event.origin is not None:
        state.keeping = Keeping(event.origin, dict(event.kept))
    state.accepted_at = at


def _run_started(state: RunState, event: ev.RunStarted, at: int) -> None:
    state.started_at = at
    flow = state.plan.flow
    state.vars = state.first_vars = event.vars
    if flow.timeout_seconds is not None:
        state.set_timer(RUN_STEP, "run", at + round(flow.timeout_seconds * 1000))
    state.root = state.phase_block = open_block(state, state.plan.root, None)


def _run_queued(state: RunState, event: ev.RunQueued, _at: int) -> None:
    state.queued = event


def _run_skipped(state: RunState, event: ev.RunSkipped, at: int) -> None:
    state.finished_at = at
    state.skipped = event.reason


def _run_ended(state: RunState, event: Any, at: int) -> None:
    state.finished_at = at
    state.timers.clear()
    state.turns = 0
    state.active.clear()
    state.awaiting.clear()
    state.ready.clear()
    if isinstance(event, ev.RunSucceeded):
        state.outputs = event.outputs
        state.recovered = event.recovered
        state.stopped_by = event.stopped_by
    elif isinstance(event, ev.RunFailed | ev.RunTimedOut):
        state.error = event.error


def _cancel_requested(state: RunState, event: ev.CancelRequested, _at: int) -> None:
    state.cancelling = event.reason or "cancelled"


def _deadline(state: RunState, _event: ev.RunDeadlineReached, _at: int) -> None:
    state.timed_out = True
    state.drop_timer(RUN_STEP, "run")


def _flow_handlers(state: RunState, event: ev.FlowHandlersStarted, _at: int) -> None:
    state.phase = "handlers"
    state.ending = None
    state.flow_error = event.error
    if state.plan.flow_handlers is not None:
        state.phase_block = open_block(
            state, state.plan.flow_handlers, None, bindings={"error": msgspec.to_builtins(event.error)}
        )


def _ending(state: RunState, event: ev.RunEnding, _at: int) -> None:
    state.ending = event


def _compensation(state: RunState, event: ev.CompensationStarted, _at: int) -> None:
    state.phase = "compensation"
    state.phase_block = state.ending = None
    state.compensating = event
    state.drop_timer(RUN_STEP, "run")  # what was done is undone, however long that takes
    for number in event.steps:
        state.nodes[number].undone = state.nodes[number].undo_error = None


def _undo(state: RunState, event: ev.UndoRequested, _at: int) -> None:
    state.finished_at = None
    state.undoing = event.reason or "undone"


def _finally(state: RunState, event: ev.FinallyStarted, _at: int) -> None:
    state.phase = "finally"
    state.ending = None
    state.outcome = event
    if state.plan.flow_finally is not None:
        bindings = None if event.error is None else {"error": msgspec.to_builtins(event.error)}
        state.phase_block = open_block(state, state.plan.flow_finally, None, bindings=bindings)


def _host_restarted(state: RunState, _event: ev.HostRestarted, _at: int) -> None:
    state.takeovers += 1


def _rewound(state: RunState, event: ev.Rewound, at: int) -> None:
    try:
        to = [state.nodes[number] for number in event.to]
    except IndexError:
        raise corrupt(state, state.seq - 1, f"Rewound speaks of steps {event.to}, not all of which exist") from None
    book_rewind(state, plan_rewind(state, to), at, retries=event.how == "retry")
    names = tuple(step.address for step in to)
    state.rewound = Rewinding(event.how, names, event.taken_back, event.by, event.reason, at)


def _nothing(_state: RunState, _event: ev.Event, _at: int) -> None:
    return


RUN_EVENTS: Final[dict[type[ev.Event], Callable[[RunState, Any, int], None]]] = {
    ev.RunStarted: _run_started,
    ev.RunQueued: _run_queued,
    ev.RunSkipped: _run_skipped,
    ev.RunSucceeded: _run_ended,
    ev.RunFailed: _run_ended,
    ev.RunCancelled: _run_ended,
    ev.RunTimedOut: _run_ended,
    ev.RunPaused: _nothing,
    ev.RunResumed: _nothing,
    ev.CancelRequested: _cancel_requested,
    ev.RunDeadlineReached: _deadline,
    ev.HostRestarted: _host_restarted,
    ev.FlowHandlersStarted: _flow_handlers,
    ev.FinallyStarted: _finally,
    ev.CompensationStarted: _compensation,
    ev.RunEnding: _ending,
    ev.UndoRequested: _undo,
    ev.Rewound: _rewound,
    ev.RolledBack: _nothing,
}
