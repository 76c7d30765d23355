"""Undoing what a run has done: the steps with `compensate` that ended well, backwards, one after the other.

When a run is going to end badly, after the flow's own `on_error` steps and before its `finally`, the compensations of
its steps are run in the reverse order in which the steps settled (H. Garcia-Molina and K. Salem, "Sagas", SIGMOD 1987).
One that fails is recorded on its step, and the others still run. What has been undone is in the journal, so a crash at
any point goes on with the next. A run that is over is undone the same way when it is asked for; or only what a rewind
takes back, before the run goes back.

A block with a `compensate` of its own is undone by that alone; the compensations of the steps inside it are then not
run. A step that was recovered has failed, so there is nothing of it to undo.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from segue.errors import ConflictError
from segue.kernel import events as ev
from segue.kernel.going_back import check, go_back
from segue.kernel.inputs import RewindRun
from segue.kernel.rewind import plan_rewind, taken_back
from segue.kernel.state import RUN_STEP, BlockState, RunState, StepState, kept_of
from segue.kernel.status import StepStatus

if TYPE_CHECKING:
    from segue.kernel.decider import Decider


class UndoPreview(msgspec.Struct, frozen=True, kw_only=True):
    """What undoing a run now would do. Lists are in the order in which it would be done."""

    undone_by: tuple[StepState, ...] = ()
    """Steps whose `compensate` steps would run."""
    done: tuple[StepState, ...] = ()
    """Steps that are undone already."""
    kept: tuple[StepState, ...] = ()
    """Calls that ended well and that nothing undoes."""
    unknown: tuple[StepState, ...] = ()
    """Calls of which nobody knows whether they took effect."""


def due_compensations(state: RunState) -> list[StepState]:
    """Steps that ended well, say how to undo them and are not undone, the last one first."""
    found = [
        step
        for step in state.standing
        if step.plan.compensation is not None
        and step.status is StepStatus.SUCCEEDED
        and step.undone != "done"
        and not _is_covered(step)
    ]
    return sorted(found, key=lambda step: _when(state, step), reverse=True)


def _when(state: RunState, step: StepState) -> tuple[bool, int, int]:
    """When it ended: what is kept from another run before all that this one did, in the order of then."""
    kept = None if state.keeping is None else kept_of(state.keeping, step)
    order = step.kept_order if kept is None else kept.order
    return (order < 0, step.settled_seq if order < 0 else order, step.id)


def _is_covered(step: StepState) -> bool:
    """Whether a block around the step answers for it, or the step is itself part of an undoing."""
    block: BlockState = step.block
    while block.owner is not None:
        owner = block.owner
        if block.plan.role == "compensate":
            return True
        if owner.plan.compensation is not None and owner.status is StepStatus.SUCCEEDED:
            return True
        block = owner.block
    return False


def undo_preview(state: RunState) -> UndoPreview:
    """What can and what cannot be undone of the run as it is now; changes nothing."""
    calls = [step for step in reversed([*state.standing]) if step.plan.is_action and step.plan.compensation is None]
    calls = [step for step in calls if not _is_covered(step)]
    return UndoPreview(
        undone_by=tuple(due_compensations(state)),
        done=tuple(step for step in state.standing if step.undone == "done"),
        kept=tuple(step for step in calls if step.status is StepStatus.SUCCEEDED),
        unknown=tuple(step for step in reversed([*state.standing]) if step.status is StepStatus.UNKNOWN_OUTCOME),
    )


def begin(decider: Decider, outcome: ev.FinallyStarted) -> bool:
    """Start to undo, if there is anything to undo before the run ends with `outcome`."""
    state = decider.state
    due = due_compensations(state)
    if not due or outcome.outcome == "succeeded":
        return False
    steps = tuple(step.id for step in due)
    decider.emit(RUN_STEP, ev.CompensationStarted(steps=steps, outcome=outcome.outcome, error=outcome.error))
    go_on(decider)
    return True


def begin_going_back(decider: Decider, to: Sequence[StepState], given: RewindRun) -> bool:
    """Undo what a rewind to these steps takes back, and then go back. False if there is nothing of it to undo.

    Raises ConflictError for a run that is not over, or that cannot go back.
    """
    state = decider.state
    if not state.ended:
        raise ConflictError(
            f"run {state.run_id} is not over ({state.status}): cancel it first, or go back without undoing"
        )
    check(decider)
    back = {step.id for step in taken_back(plan_rewind(state, list(to)))}
    steps = tuple(step.id for step in due_compensations(state) if step.id in back)
    if not steps:
        return False
    outcome = outcome_of(state)
    decider.emit(RUN_STEP, ev.UndoRequested(reason=given.reason))
    started = ev.CompensationStarted(
        steps=steps, outcome=outcome.outcome, error=outcome.error, back=tuple(step.id for step in to), by=given.by,  # pyright: ignore[reportArgumentType]
        reason=given.reason,
    )  # fmt: skip
    decider.emit(RUN_STEP, started)
    go_on(decider)
    return True


def go_on(decider: Decider) -> None:
    """Undo the next step; after the last one the run goes on to its end, or back."""
    state = decider.state
    started = state.compensating
    assert started is not None
    for number in started.steps:
        if state.nodes[number].undone is None:
            decider.emit(number, ev.empty(ev.StepCompensationStarted))
            return
    if started.back and all(state.nodes[number].undone == "done" for number in started.steps):
        to = [state.nodes[number] for number in started.back]
        go_back(decider, to, "rewind", by=started.by, reason=started.reason)
    else:
        decider.finish(ev.FinallyStarted(outcome=started.outcome, error=started.error))


def on_ended(decider: Decider, step: StepState, failure: ev.Failure | None) -> None:
    """The compensation of one step is over."""
    if step.undone != "running":
        return
    decider.emit(step.id, ev.StepCompensated(error=failure))
    go_on(decider)


def stop(decider: Decider, reason: str) -> None:
    """Undo no more: what is under way is cancelled, and what was not reached stays as it is. `undo` can be asked for
    again later.
    """
    state = decider.state
    started = state.compensating
    assert started is not None
    decider.stop_all(reason, force=True)
    for number in started.steps:
        step = state.nodes[number]
        if step.undone == "running":
            decider.emit(number, ev.StepCompensated(error=ev.Failure(category="cancelled", message=reason)))
    decider.finish(ev.FinallyStarted(outcome=started.outcome, error=started.error))


def outcome_of(state: RunState) -> ev.FinallyStarted:
    """How a run ends that is undone after its end: a good run becomes a cancelled one, another stays what it was."""
    words = {"failed": "failed", "timed_out": "timed_out"}
    return ev.FinallyStarted(outcome=words.get(state.status.value, "cancelled"), error=state.error)  # pyright: ignore[reportArgumentType]
