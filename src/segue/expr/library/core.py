"""CEL's own functions: size, text tests, conversions, and the accessors of times and spans.

Source: the CEL language definition, "List of Standard Definitions". A conversion never quotes the value that it
refuses.
"""

from __future__ import annotations

import re
from typing import Any, Final

from segue.expr import regex
from segue.expr.errors import ExprEvalError
from segue.expr.frame import Frame, text_bytes
from segue.expr.library.table import Table
from segue.expr.ops import checked_uint, contains, is_list, is_map
from segue.expr.text import to_text
from segue.expr.timecalc import SECOND, duration_of, parse_duration, parse_timestamp, timestamp_of
from segue.expr.types import INT_MAX, INT_MIN, Duration, Timestamp, TypeValue, Uint, spoken, type_name

CORE: Final = Table("core")
_INT: Final = re.compile(r"[+-]?[0-9]{1,20}")
_UINT: Final = re.compile(r"[0-9]{1,20}")
_DOUBLE: Final = re.compile(
    r"[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[iI]nf(?:inity)?|[nN]a[nN])", re.ASCII
)
_TRUE: Final = frozenset({"1", "t", "true", "TRUE", "True"})
_FALSE: Final = frozenset({"0", "f", "false", "FALSE", "False"})


@CORE.add(
    "size(of: string|bytes|list|map) -> int",
    "Number of characters (Unicode code points), bytes, elements or entries.",
    "size(['a', 'b'])",
    2,
    constant_time=True,
)
def _size(frame: Frame, of: Any) -> int:
    return len(of)


@CORE.add(
    "contains(in: string|list|map, what: any) -> bool",
    "Whether the text has that part, the list that element, or the map that key.",
    "'hello'.contains('ell')",
    True,
)
def _contains(frame: Frame, container: Any, what: Any) -> bool:
    if not isinstance(container, str):
        return contains(frame, what, container)
    if not isinstance(what, str):
        raise ExprEvalError("EXP103", f"`contains` takes a string as the part of a string, not {spoken(what)}")
    return what in container


@CORE.add(
    "startsWith(text: string, prefix: string) -> bool", "Whether the text begins so.", "'hello'.startsWith('he')", True
)
def _starts_with(frame: Frame, text: str, prefix: str) -> bool:
    return text.startswith(prefix)


@CORE.add("endsWith(text: string, suffix: string) -> bool", "Whether the text ends so.", "'hello'.endsWith('lo')", True)
def _ends_with(frame: Frame, text: str, suffix: str) -> bool:
    return text.endswith(suffix)


@CORE.add(
    "matches(text: string, pattern: string) -> bool",
    "Whether the RE2 pattern occurs anywhere in the text; `^` and `$` tie it to the ends.",
    "'A-42'.matches('^[A-Z]-[0-9]+$')",
    True,
)
def _matches(frame: Frame, text: str, pattern: str) -> bool:
    encoded = utf8(text)
    return regex.searchable(frame, pattern, len(encoded)).search(encoded) is not None


def utf8(text: str) -> bytes:
    """UTF-8 of a text. Raises ExprEvalError for a lone surrogate, which JSON's escapes can smuggle in."""
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        raise ExprEvalError("EXP106", "the text holds half of a surrogate pair, which has no UTF-8 form") from None


def _not_convertible(target: str, value: object) -> ExprEvalError:
    return ExprEvalError("EXP106", f"this {spoken(value)} cannot be converted to {target}")


@CORE.add(
    "int(value: int|uint|double|string|timestamp) -> int",
    "As a 64-bit integer; doubles are cut towards zero, a timestamp gives its Unix seconds.",
    "int('42')",
    42,
)
def _int(frame: Frame, value: Any) -> int:
    if isinstance(value, Timestamp):
        return value.nanos // SECOND
    if isinstance(value, float):
        # 2**63 itself is not an int, and -2**63 is refused with it: CEL leaves no room for rounding at the ends.
        if not INT_MIN < value < -INT_MIN:
            raise ExprEvalError("EXP104", "double outside of the 64-bit range")
        return int(value)
    if isinstance(value, str) and not _INT.fullmatch(value):
        raise _not_convertible("int", value)
    number = int(value)
    if not INT_MIN <= number <= INT_MAX:
        raise ExprEvalError("EXP104", "number outside of the 64-bit range")
    return number


@CORE.add("uint(value: int|uint|double|string) -> uint", "As an unsigned 64-bit integer.", "uint(7) == 7u", True)
def _uint(frame: Frame, value: Any) -> Uint:
    if isinstance(value, float):
        if not 0 <= value < 2**64:  # -0.5 is refused, too, as Go's and Google's engines do
            raise ExprEvalError("EXP104", "double outside of the unsigned 64-bit range")
    elif isinstance(value, str) and not _UINT.fullmatch(value):
        raise _not_convertible("uint", value)
    return checked_uint(int(value))


@CORE.add("double(value: int|uint|double|string) -> double", "As a floating-point number.", "double('1.5')", 1.5)
def _double(frame: Frame, value: Any) -> float:
    if isinstance(value, str) and not _DOUBLE.fullmatch(value):
        raise _not_convertible("double", value)
    try:
        return float(value)
    except OverflowError:
        raise ExprEvalError("EXP104", "integer outside of the range of doubles") from None


@CORE.add(
    "string(value: value) -> string",
    "As text: integral doubles without `.0`, times in RFC 3339, bytes as UTF-8, lists and maps as compact JSON.",
    "string(2.0) + '/' + string([1, 2])",
    "2/[1,2]",
)
def _string(frame: Frame, value: Any) -> str:
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            raise ExprEvalError("EXP106", "the bytes are not UTF-8") from None
    return to_text(frame, value)


@CORE.add("bool(value: bool|string) -> bool", "As a boolean: `true t 1 false f 0`.", "bool('true')", True)
def _bool(frame: Frame, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if value in _TRUE or value in _FALSE:
        return value in _TRUE
    raise _not_convertible("bool", value)


@CORE.add("bytes(value: bytes|string) -> bytes", "As bytes: the UTF-8 of a text.", "size(bytes('é'))", 2)
def _bytes(frame: Frame, value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    frame.reserve_text(text_bytes(value))
    return utf8(value)


@CORE.add(
    "type(value: any) -> type",
    "The type of the value, to be compared with `int`, `string`, `list` and so on.",
    "type(1) == int",
    True,
    constant_time=True,
)
def _type(frame: Frame, value: Any) -> TypeValue:
    return TypeValue(type_name(value))


@CORE.add(
    "dyn(value: any) -> any",
    "The value itself; for expressions taken over from elsewhere.",
    "dyn(1)",
    1,
    constant_time=True,
)
def _dyn(frame: Frame, value: Any) -> Any:
    return value


@CORE.add(
    "default(value: any, fallback: any) -> any",
    "The value, or the fallback if it is null; as a pipe it reads `$x | default('none')`.",
    "null | default('none')",
    "none",
    constant_time=True,
)
def _default(frame: Frame, value: Any, fallback: Any) -> Any:
    return fallback if value is None else value


@CORE.add(
    "isEmpty(value: any) -> bool",
    "Whether the value is null, or a text, list or map with nothing in it.",
    "isEmpty('')",
    True,
    constant_time=True,
)
def _is_empty(frame: Frame, value: Any) -> bool:
    return value is None or ((isinstance(value, str | bytes) or is_map(value) or is_list(value)) and len(value) == 0)


@CORE.add(
    "timestamp(value: string|int|timestamp) -> timestamp",
    "An instant, from an RFC 3339 text or from Unix seconds.",
    "timestamp('2025-01-31T09:30:00+01:00')",
    "2025-01-31T08:30:00Z",
)
def _timestamp(frame: Frame, value: Any) -> Timestamp:
    if isinstance(value, Timestamp):
        return value
    return parse_timestamp(value) if isinstance(value, str) else timestamp_of(value * SECOND)


@CORE.add(
    "duration(value: string|int|duration) -> duration",
    "A span of time, from `1h30m`, `500ms`, `7d`, `PT1H`, or from seconds.",
    "duration('1h30m')",
    "5400s",
)
def _duration(frame: Frame, value: Any) -> Duration:
    if isinstance(value, Duration):
        return value
    return parse_duration(value) if isinstance(value, str) else duration_of(value * SECOND)
