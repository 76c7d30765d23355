"""Evaluating a flow's expressions within a decision: a failure of the expression is a failure of the step."""

from __future__ import annotations

from segue.expr import Condition, ExprError, MarkedScope, Program, Query, Value, to_json
from segue.expr.sealed import OpenReading, blurred, holds_sealed
from segue.flow.model import JsonValue
from segue.kernel.events import Failure
from segue.kernel.scope import RunScope, SeededImpure


class StopNow(Exception):
    """Within a decision: the step at hand cannot go on, because of this failure."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


def stop(category: str, message: str, code: str | None = None) -> StopNow:
    """The exception for a failure of this category."""
    return StopNow(Failure(category=category, message=message, code=code))


def expression_failure(error: ExprError, label: str) -> Failure:
    """`label` names the place: when, params, outputs, …"""
    return Failure(category="expression", code=error.code, message=error.at(label))


def evaluated(value: Value | Program, scope: RunScope, impure: SeededImpure | None) -> JsonValue:
    """The value as JSON; what was computed from sealed values is sealed. Raises ExprError."""
    box = scope.state.box
    marks = box is not None and box.used
    return to_json(value.evaluate(MarkedScope(scope, box) if marks else scope, impure))  # pyright: ignore[reportArgumentType]


def refuse_sealed(value: JsonValue, label: str) -> None:
    """Raises StopNow for a sealed value where names and keys stand, which everyone may see."""
    if holds_sealed(value):
        raise stop("validation", f"{label}: it is or was computed from a secret, and it would be seen", "secret_key")


def holds(condition: Condition | Query, scope: RunScope, impure: SeededImpure, label: str) -> tuple[bool, str | None]:
    """Whether it holds, and why not if a null stood in the way. Raises StopNow."""
    reading = OpenReading(scope) if (box := scope.state.box) is not None and box.used else None
    try:
        return condition.evaluate(reading or scope, impure)
    except ExprError as error:
        told = blurred(error) if reading is not None and reading.tainted else error
        raise StopNow(expression_failure(told, label)) from None


def compute(value: Value | Program, scope: RunScope, impure: SeededImpure, label: str) -> JsonValue:
    """The value as JSON. Raises StopNow."""
    try:
        return evaluated(value, scope, impure)
    except ExprError as error:
        raise StopNow(expression_failure(error, label)) from error
