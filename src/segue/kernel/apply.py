"""Booking one event into a run's state; see `segue.kernel.state` for the theory.

One small function an event (`apply_run`, `apply_step`). They check nothing; the transition tables are checked here. A
journal that was written by the decisions of `segue.kernel.decide` always fits, one that does not is corrupt.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from segue.errors import EngineError
from segue.kernel import events as ev
from segue.kernel.apply_run import RUN_EVENTS, accepted
from segue.kernel.apply_step import STEP_EVENTS
from segue.kernel.booking import corrupt
from segue.kernel.plan import Plan
from segue.kernel.state import (
    RunState,
)
from segue.kernel.status import RUN_TRANSITIONS, STEP_TRANSITIONS


def apply(state: RunState, number: int, event: ev.Event, at: int) -> None:
    """Book `event` of step `number` (-1: the run), which happened at `at` (ms). Raises JournalCorruptError."""
    kind = type(event)
    seq = state.seq
    state.seq = seq + 1
    if number >= 0:
        try:
            step = state.nodes[number]
        except IndexError:
            raise corrupt(
                state, seq, f"{kind.__name__} speaks of step instance {number}, which does not exist"
            ) from None
        if step.block.gone:
            raise corrupt(state, seq, f"{kind.__name__} speaks of {step.address}, which a rewind left behind")
        if kind not in STEP_TRANSITIONS[step.status]:
            raise corrupt(state, seq, f"{kind.__name__} cannot follow on {step.address} being {step.status}")
        STEP_EVENTS[kind](state, step, event, seq, at)
    elif kind is ev.RunAccepted:
        if seq != 0:
            raise corrupt(state, seq, "RunAccepted stands in the middle of the journal")
        accepted(state, event, at)  # pyright: ignore[reportArgumentType]
    else:
        target = RUN_TRANSITIONS[state.kept_status].get(kind)
        if target is None or seq == 0:
            raise corrupt(state, seq, f"{kind.__name__} cannot follow on a run that is {state.status}")
        state.set_status(target)
        RUN_EVENTS[kind](state, event, at)


def fold(plan: Plan, run_id: str, rows: Iterable[tuple[int, int, int, int, bytes]]) -> RunState:
    """The state of a run from its journal rows (seq, kind, step, at, data), or from the first of them.

    Raises JournalCorruptError, with the last event that folds, if a row is missing, unreadable or impossible.
    """
    state = RunState(plan, run_id)
    fold_onto(state, rows)
    return state


def fold_onto(state: RunState, rows: Iterable[tuple[int, int, int, int, bytes]]) -> None:
    """Go on with a fold: `rows` follow on what `state` has booked. Raises JournalCorruptError as `fold` does."""
    for seq, kind, number, at, data in rows:
        if seq != state.seq:
            raise corrupt(state, state.seq, f"event {state.seq} is missing: the next one is {seq}")
        try:
            event = ev.decode(kind, data, state.box)
        except (KeyError, msgspec.MsgspecError) as error:
            raise corrupt(state, seq, f"event {seq} (kind {kind}) cannot be read: {error}") from error
        except EngineError as error:
            raise corrupt(state, seq, f"event {seq}: {error}") from error
        apply(state, number, event, at)
    for decided in (state.ended_blocks, state.failed_blocks, state.resumed, state.won):
        decided.clear()
