"""Evaluating a flow's expressions within a decision: a failure of the expression is a failure of the step."""

from __future__ import annotations

from segue.expr import Condition, ExprError, Program, Query, Value, to_json
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
    return Failure(category="expression", code=error.code, message=f"{label}: {error}")


def holds(condition: Condition | Query, scope: RunScope, impure: SeededImpure, label: str) -> tuple[bool, str | None]:
    """Whether it holds, and why not if a null stood in the way. Raises StopNow."""
    try:
        return condition.evaluate(scope, impure)
    except ExprError as error:
        raise StopNow(expression_failure(error, label)) from error


def compute(value: Value | Program, scope: RunScope, impure: SeededImpure, label: str) -> JsonValue:
    """The value as JSON. Raises StopNow."""
    try:
        return to_json(value.evaluate(scope, impure))
    except ExprError as error:
        raise StopNow(expression_failure(error, label)) from error
