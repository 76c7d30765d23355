"""One expression over plain bindings, JSON in and JSON out: what a batch of cases is made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from segue.expr.errors import ExprError
from segue.expr.frame import MappingScope
from segue.expr.program import compile_expression
from segue.expr.text import to_json


def evaluate_case(expr: str, bindings: Mapping[str, object]) -> dict[str, object]:
    """`{"value": …}`, or `{"error": {code, message, start, end, suggestion}}`.

    As in the CEL conformance suite, a function that does not exist is an error of the evaluation: `f(1) || true` is
    true; and a binding may have a qualified name: `{"a.b": 1}` is what `a.b` means.
    """
    try:
        program = compile_expression(expr, late_functions=True)
        return {"value": to_json(program.evaluate(MappingScope(_nested(bindings))))}
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


def _nested(bindings: Mapping[str, object]) -> Mapping[str, object]:
    """The bindings with those of qualified names as fields; the longest name wins (CEL, "Name Resolution")."""
    qualified = sorted((name for name in bindings if "." in name), key=lambda name: name.count("."))
    if not qualified:
        return bindings
    nested = {name: value for name, value in bindings.items() if "." not in name}
    for name in qualified:
        *path, field = name.split(".")
        inner: dict[str, object] = nested
        for part in path:
            found = inner.get(part)
            made: dict[str, object] = dict(cast("dict[str, object]", found)) if isinstance(found, dict) else {}
            inner[part] = made
            inner = made
        inner[field] = bindings[name]
    return nested
