"""One expression over plain bindings, JSON in and JSON out: what a batch of cases is made of."""

from __future__ import annotations

from collections.abc import Mapping

from segue.expr.errors import ExprError
from segue.expr.frame import MappingScope
from segue.expr.program import compile_expression
from segue.expr.text import to_json


def evaluate_case(expr: str, bindings: Mapping[str, object]) -> dict[str, object]:
    """`{"value": …}`, or `{"error": {code, message, start, end, suggestion}}`.

    As in the CEL conformance suite, a function that does not exist is an error of the evaluation: `f(1) || true` is
    true.
    """
    try:
        program = compile_expression(expr, late_functions=True)
        return {"value": to_json(program.evaluate(MappingScope(bindings)))}
    except ExprError as error:
        return {
            "error": {
                "code": error.code,
                "message": error.message,
                "start": error.start,
                "end": error.end,
                "suggestion": error.suggestion,
            }
        }
