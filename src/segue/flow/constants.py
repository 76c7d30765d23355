"""Finds expressions that must fail whatever a run brings: what they compute is known already.

Expressions that read nothing are evaluated; and so are calls such as `timestamp('tomorrow')` and `matches('[')` inside
others, whose argument is written out.
"""

from __future__ import annotations

import re
from typing import Final, Literal

from segue.expr import (
    Condition,
    ExprError,
    MappingScope,
    Program,
    compile_condition,
    compile_expression,
    compile_value,
)
from segue.expr.template import Value

Mode = Literal["value", "condition", "expression", "poll"]
"""How a text is read: with `{{ }}` inside, or as an expression of one kind or another."""

_EMPTY: Final = MappingScope({})
_LITERAL_CALL: Final = re.compile(
    r"(?<![\w$])(?P<name>matches|timestamp|duration|getHours|getMinutes|getDayOfWeek|getDate|getMonth|getFullYear)"
    r"\((?P<text>'[^'\\]*'|\"[^\"\\]*\")\)"
)
_PROBES: Final = {
    "matches": "''.matches({})", "timestamp": "timestamp({})", "duration": "duration({})",
}  # fmt: skip
_ZONE_PROBE: Final = "timestamp('2026-01-01T00:00:00Z').getHours({})"


def mistake_of(text: str, mode: Mode, *, reads: bool) -> ExprError | None:
    """Why a text that compiles has no value, whatever a run brings; None if that depends on the run.

    `reads`: whether the text refers to anything. Offsets count in the text. Poll conditions are left to the run.
    """
    if mode == "poll" or (mode == "value" and "{{" not in text):
        return None
    compiled: Value | Condition | Program
    if not reads:
        if mode == "value":
            compiled = compile_value(text)
        else:
            compiled = compile_condition(text) if mode == "condition" else compile_expression(text)
        if not compiled.impure:
            return _failure(compiled)
    for call in _LITERAL_CALL.finditer(text) if "(" in text else ():
        error = _failure(compile_expression(_PROBES.get(call["name"], _ZONE_PROBE).format(call["text"])))
        if error is not None:
            start, end = call.span("text")
            return ExprError(error.code, error.message, start=start, end=end, suggestion=error.suggestion)
    return None


def _failure(compiled: Value | Condition | Program) -> ExprError | None:
    try:
        compiled.evaluate(_EMPTY)
    except ExprError as error:
        return error
    return None
