"""Going back to steps of a run: what is taken back is let go, and all that depended on it begins anew."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from segue.errors import ConflictError
from segue.expr import ExprError
from segue.kernel import events as ev
from segue.kernel import rewind
from segue.kernel.evaluate import SeededImpure, evaluated
from segue.kernel.scope import RunScope
from segue.kernel.state import RUN_STEP, StepState
from segue.kernel.status import StepStatus

if TYPE_CHECKING:
    from segue.kernel.decider import Decider


def check(decider: Decider) -> None:
    """Raises ConflictError if the run can go back to nothing."""
    state = decider.state
    if state.root is None:
        raise ConflictError(f"run {state.run_id} has not begun")
    if state.first_vars:
        return
    try:
        evaluated(state.plan.vars, RunScope(state), SeededImpure(state.seed, "vars", decider.now))
    except ExprError as error:
        raise ConflictError(
            f"the vars of run {state.run_id} could not be computed ({error}); start it anew with other inputs"
        ) from error


def go_back(
    decider: Decider, to: Sequence[StepState], how: Literal["rewind", "retry"], *, by: str | None, reason: str | None
) -> None:
    """Run these steps and all that depends on them again. Raises ConflictError if that cannot be."""
    check(decider)
    plan = rewind.plan_rewind(decider.state, list(to))
    begun = 0
    for step in rewind.taken_back(plan):
        begun += step.status is not StepStatus.PENDING
        decider.let_go(step)
    numbers = tuple(step.id for step in to)
    decider.emit(RUN_STEP, ev.Rewound(to=numbers, how=how, taken_back=begun, by=by, reason=reason))
    decider.decision.callbacks_opened += rewind.waiting_again(decider.state, plan)
