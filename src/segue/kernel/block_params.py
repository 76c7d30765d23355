"""What a block's own parameters say: numbers as of its step's start, and values in the words of a message."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from segue.expr.sealed import opened, shown
from segue.kernel.evaluate import stop
from segue.kernel.scope import step_scope
from segue.kernel.state import StepState

if TYPE_CHECKING:
    from segue.kernel.decider import Decider


def whole_number(decider: Decider, step: StepState, name: str, default: int) -> int:
    """A number that a step's parameter gives, as of the step's start: the same each time it is asked for.

    Raises StopNow unless it is a whole number above 0.
    """
    program = step.plan.programs.get(name)
    if program is None:
        return default
    count = opened(decider.value(program, step, name, scope=step_scope(decider.state, step)))
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise stop("expression", f"{name}: a whole number above 0 is needed, not {short(count)}")
    return count


def short(value: object) -> str:
    """A value as JSON, as far as a sentence has room for it; sealed values as `***`."""
    text = msgspec.json.encode(shown(value)).decode()
    return text if len(text) <= 60 else text[:57] + "…"
