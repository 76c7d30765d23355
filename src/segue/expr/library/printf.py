"""`'%s'.format([…])`: CEL's strings extension (github.com/google/cel-go, ext/formatting.go)."""

from __future__ import annotations

import math
import re
from typing import Any, Final

from segue.expr.errors import ExprEvalError
from segue.expr.frame import Frame, text_bytes
from segue.expr.ops import is_list, is_map, is_number, keys_of
from segue.expr.text import int_text, measure, number_text, to_text
from segue.expr.types import BoolKey, spoken

_CLAUSE: Final = re.compile(r"%(?:\.([0-9]{1,3}))?(.?)", re.DOTALL)
_PRECISION_MAX: Final = 100


def printf(frame: Frame, pattern: str, values: Any) -> str:
    """The pattern with its clauses filled in, in order. Raises ExprEvalError, BudgetExceeded."""
    made: list[str] = []
    position = used = size = 0
    for found in _CLAUSE.finditer(pattern):
        made.append(pattern[position : found.start()])
        position = found.end()
        if found.group(2) == "%":
            made.append("%")
            continue
        if used >= len(values):
            raise ExprEvalError("EXP106", f"the pattern has more clauses than the list has values ({len(values)})")
        frame.charge(1)
        made.append(_clause(frame, found.group(2), found.group(1), values[used]))
        used += 1
        size += text_bytes(made[-1])
        if size > frame.budget.output_bytes:
            frame.reserve_text(size)
    made.append(pattern[position:])
    frame.reserve_text(size + text_bytes(pattern))
    return "".join(made)


def _clause(frame: Frame, letter: str, digits: str | None, value: object) -> str:
    if letter == "s":
        if is_list(value) or is_map(value):
            measure(frame, value)
        return _shown(frame, value)
    if letter in "dfeboxX" and letter:
        if letter in "xX" and isinstance(value, str | bytes):
            encoded = value if isinstance(value, bytes) else value.encode("utf-8", "surrogatepass")
            frame.reserve_text(2 * len(encoded))
            return encoded.hex() if letter == "x" else encoded.hex().upper()
        if letter == "b" and isinstance(value, bool):
            return "1" if value else "0"
        if not is_number(value):
            raise ExprEvalError("EXP103", f"`%{letter}` takes a number, not {spoken(value)}")
        return _number(letter, digits, value)
    raise ExprEvalError("EXP106", "unknown clause in the pattern", suggestion="use `%s %d %f %.2f %e %x %X %o %b %%`")


def _shown(frame: Frame, value: Any) -> str:
    """A value as `%s` shows it: lists and maps without quotes, maps in the order of their keys' texts."""
    if value is None:
        return "null"
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if is_list(value):
        frame.charge(len(value))
        return f"[{', '.join(_shown(frame, item) for item in value)}]"
    if is_map(value):
        frame.charge(len(value))
        keys = [(_shown(frame, key), BoolKey(key) if isinstance(key, bool) else key) for key in keys_of(value)]
        return f"{{{', '.join(f'{text}: {_shown(frame, value[key])}' for text, key in sorted(keys, key=_text_of))}}}"
    return to_text(frame, value)


def _text_of(entry: tuple[str, object]) -> str:
    return entry[0]


def _number(letter: str, digits: str | None, value: Any) -> str:
    if letter in "fe":
        precision = min(int(digits or "6"), _PRECISION_MAX)
        try:
            number = float(value)
        except OverflowError:
            raise ExprEvalError("EXP104", "integer outside of the range of doubles") from None
        text = number_text(number)
        return text if text[-1] in "Nny" else f"{number:.{precision}{letter}}"
    if isinstance(value, float):
        if letter == "d" and (value.is_integer() or not math.isfinite(value)):
            return number_text(value)
        raise ExprEvalError("EXP103", f"`%{letter}` takes an int, not double")
    return int_text(value) if letter == "d" else format(int(value), letter)
