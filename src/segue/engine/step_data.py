"""What went into a step and what came out of it, as people see it: masked, and never with a secret.

Parameters are computed anew from the journal (decision 0006), with stand-ins for the flow's secrets.
"""

from __future__ import annotations

from typing import Any

import msgspec

from segue.engine.attempts import asked_value, params_of
from segue.engine.secrets import ResolvedSecret
from segue.engine.views import StepView, masker_of, step_view
from segue.errors import NotFoundError
from segue.expr import ExprError
from segue.flow.model import JsonValue
from segue.kernel.scope import step_scope
from segue.kernel.state import RunState, StepState
from segue.observe.masking import MASK


class StepData(msgspec.Struct, frozen=True, kw_only=True):
    """One instance of a step with its data. `data` is what came to it from before, `params` what it was called with
    (null, with a `params_error`, where they cannot be computed without the secrets), `output` what it gave.
    """

    step: StepView
    data: JsonValue = None
    params: dict[str, Any] | None = None
    params_error: str | None = None
    output: JsonValue = None


def step_data(state: RunState, address: str, now: int) -> StepData:
    """The data of the step at an address (`charge`, `each[3].enrich`), or by its id where only one instance is.

    Raises NotFoundError.
    """
    step = find_step(state, address)
    masker = masker_of(state)
    view = step_view(state, step, now, masker)
    params, mistake = _params(state, step)
    return StepData(
        step=view,
        data=masker.mask_json(_data(state, step)),  # pyright: ignore[reportArgumentType]
        params=masker.mask_json(params),  # pyright: ignore[reportArgumentType]
        params_error=None if mistake is None else masker.mask_text(mistake),
        output=view.output,
    )


def find_step(state: RunState, address: str) -> StepState:
    """Raises NotFoundError."""
    found = [step for step in state.standing if step.address == address]
    found = found or [step for step in state.standing if step.plan.step.id == address]
    if len(found) != 1:
        told = "no step that was reached" if not found else f"{len(found)} instances of the step"
        raise NotFoundError(f"run {state.run_id} has {told} {address!r}; ask for one by its address")
    return found[0]


def _data(state: RunState, step: StepState) -> object:
    return step_scope(state, step).lookup("data")


def _params(state: RunState, step: StepState) -> tuple[dict[str, object] | None, str | None]:
    value = asked_value(step)
    if value is None:
        return None, None
    stand_ins = dict.fromkeys(state.plan.flow.secrets, ResolvedSecret(MASK))
    try:
        return params_of(value, state, step, stand_ins), None
    except ExprError as error:
        return None, str(error)
