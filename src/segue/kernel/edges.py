"""Which edges out of a step that is settled live: what stands behind the others is not reached that way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segue.kernel import events as ev
from segue.kernel.evaluate import StopNow
from segue.kernel.recovery import leaves_by_error_edge
from segue.kernel.state import StepState
from segue.kernel.status import StepStatus

if TYPE_CHECKING:
    from segue.kernel.decider import Decider


def choose_edges(decider: Decider, step: StepState) -> None:
    """Journal which out-edges live, where that is a decision (`branch`, conditions on edges, an error edge)."""
    plan = step.plan
    if not plan.is_chooser:
        return
    live: list[int] = []
    reason = None
    chosen: str | None = None
    failed = leaves_by_error_edge(step)
    try:
        if plan.kind == "branch" and step.status is StepStatus.SUCCEEDED:
            chosen, reason = _branch_label(decider, step)
        for number, edge in enumerate(plan.out):
            if failed or (edge.label == "error" and plan.kind != "branch"):
                lives = failed and edge.label == "error"
            else:
                lives = plan.kind != "branch" or edge.label in (None, chosen)
            if lives and edge.when is not None:
                lives, why = decider.condition(edge.when, step, f"edge{number}", at_hand=step.output)
                reason = reason or why
            if lives:
                live.append(number)
    except StopNow as stopped:
        # The step itself is settled: an edge that cannot be judged is dead, and the reason says why.
        live, reason = [], f"a condition on its edges failed: {stopped.failure.message}"
    decider.emit(step.id, ev.EdgesChosen(live=tuple(live), reason=reason))


def _branch_label(decider: Decider, step: StepState) -> tuple[str, str | None]:
    """The label that a `branch` step chooses, with the sentence that says so."""
    for label, when in step.plan.choices:
        if when is None:
            return label, f"took `{label}`: no condition before it held"
        if decider.condition(when, step, label, at_hand=step.output)[0]:
            return label, f"took `{label}`"
    return "", "no branch was taken: no condition held"
