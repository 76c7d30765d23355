"""Finds expressions that must fail whatever a run brings: what they compute is known already.

Expressions that read nothing are evaluated; and so are calls such as `timestamp('tomorrow')` and `matches('[')` inside
others, whose argument is written out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

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
from segue.flow.expressions import KEPT_CHARACTERS_MAX, Mode, scalars
from segue.flow.model import JsonValue

_EMPTY: Final = MappingScope({})
_LITERAL_CALL: Final = re.compile(
    r"(?<![\w$])(?P<name>matches|timestamp|duration|getHours|getMinutes|getDayOfWeek|getDate|getMonth|getFullYear)"
    r"\((?P<text>'[^'\\]*'|\"[^\"\\]*\")\)"
)
_PROBES: Final = {
    "matches": "''.matches({})", "timestamp": "timestamp({})", "duration": "duration({})",
}  # fmt: skip
_ZONE_PROBE: Final = "timestamp('2026-01-01T00:00:00Z').getHours({})"


def mistakes_of(raw: JsonValue, mode: Mode) -> Iterator[tuple[tuple[str | int, ...], ExprError]]:
    """Each mistake with the path of its scalar; offsets count in that scalar. What does not compile is left out."""
    if mode == "poll":
        return
    if mode != "value":
        text = str(raw)
        error = _mistake(text, mode)
        if error is not None:
            yield (), error
        return
    for at, text in scalars(raw):
        if "{{" in text and (error := _mistake(text, mode)) is not None:
            yield at, error


def _mistake(text: str, mode: Mode) -> ExprError | None:
    if len(text) > KEPT_CHARACTERS_MAX:
        return None
    found = _kept(text, mode)
    if found is None:
        return None
    # Errors are given the path of their scalar by whoever reports them, so each asker gets its own.
    code, message, start, end, suggestion = found
    return ExprError(code, message, start=start, end=end, suggestion=suggestion)


@lru_cache(maxsize=8_192)
def _kept(text: str, mode: Mode) -> tuple[str, str, int, int, str | None] | None:
    try:
        compiled: Value | Condition | Program
        if mode == "value":
            compiled = compile_value(text)
        else:
            compiled = compile_condition(text) if mode == "condition" else compile_expression(text)
    except ExprError:
        return None
    if not compiled.references and not compiled.impure:
        try:
            compiled.evaluate(_EMPTY)
        except ExprError as error:
            return error.code, error.message, error.start, error.end, error.suggestion
        return None
    for call in _LITERAL_CALL.finditer(text):
        probe = _PROBES.get(call["name"], _ZONE_PROBE).format(call["text"])
        try:
            compile_expression(probe).evaluate(_EMPTY)
        except ExprError as error:
            return error.code, error.message, call.start("text"), call.end("text"), error.suggestion
    return None
