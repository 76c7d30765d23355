"""How a step that is kept from another run ends: as it had ended, at once, with no call. See `segue.kernel.kept`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segue.kernel import events as ev
from segue.kernel.edges import choose_edges
from segue.kernel.graft import live_edges
from segue.kernel.state import StepState

if TYPE_CHECKING:
    from segue.kernel.decider import Decider


def keep(decider: Decider, step: StepState, kept: ev.Kept) -> None:
    """Settle a ready step as recorded."""
    keeping = decider.state.keeping
    assert keeping is not None
    source = f"kept from run {keeping.origin.run_id}"
    reason = source if kept.reason is None else f"{source}: {kept.reason}"
    if kept.status == "skipped":
        decider.emit(step.id, ev.StepSkipped(reason=reason))
        return _edges(decider, step, kept)
    begun = kept.status in ("failing", "concluding") or kept.blocks or kept.items is not None or kept.sets
    if begun:
        decider.emit(step.id, ev.empty(ev.StepStarted))
        decider.emit(step.id, ev.empty(ev.BlocksKept))
    if kept.held is not None:
        return decider.emit(step.id, kept.held)
    if kept.status in ("failing", "failed"):
        error = kept.error or ev.Failure(category="internal", message="it had failed")
        if kept.status == "failing":
            return decider.fail(step, error)
        return decider.emit(step.id, ev.StepFailed(error=error, deadline=kept.deadline, continues=kept.continued))
    if kept.status == "recovered":
        decider.emit(step.id, ev.StepRecovered(output=kept.output, error=kept.error))
    else:
        decider.emit(step.id, ev.StepSucceeded(output=kept.output, reason=reason, made=kept.made))
    return _edges(decider, step, kept)


def _edges(decider: Decider, step: StepState, kept: ev.Kept) -> None:
    """The edges that it chose then; those of another version are judged anew."""
    live = live_edges(step.plan, kept)
    if live is None:
        choose_edges(decider, step)
    elif step.plan.is_chooser:
        decider.emit(step.id, ev.EdgesChosen(live=live, reason=kept.edges_reason))
