"""Values as text and as JSON, and how large they are. Every walk is bounded in depth and in size.

Sources: CEL's JSON mapping (that of protobuf: RFC 3339 times, seconds with `s`, base64, "NaN" and "Infinity" as texts).
"""

from __future__ import annotations

import json
import math
from base64 import b64encode
from collections.abc import ItemsView, Mapping
from types import NoneType
from typing import Any, Final

from segue.expr.budget import VALUE_DEPTH_MAX
from segue.expr.errors import BudgetExceeded, ExprEvalError
from segue.expr.frame import Frame, text_bytes
from segue.expr.ops import is_list, is_map, too_deep_value
from segue.expr.timecalc import format_duration, format_timestamp
from segue.expr.types import (
    BoolKey,
    Cidr,
    Duration,
    IpAddress,
    OptionalValue,
    Timestamp,
    TypeValue,
    Uint,
    kind_of,
    spoken,
)

_PLAIN: Final = frozenset({NoneType, bool, int, str})
SCALARS: Final = frozenset({NoneType, bool, int, Uint, float, Timestamp, Duration, TypeValue, IpAddress, Cidr})
"""Types whose values have a small, fixed size."""


def number_text(value: float) -> str:
    """A double as people write it: the shortest digits that give the same number, no `.0` behind an integral one."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    text = repr(value)
    return text[:-2] if text.endswith(".0") else text


def to_text(frame: Frame, value: Any) -> str:
    """A value inside of text: null is the empty text, lists and maps are compact JSON. Raises ExprEvalError,
    BudgetExceeded.
    """
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if is_list(value) or is_map(value):
        return json_text(frame, value)
    if isinstance(value, OptionalValue):
        return to_text(frame, value.value)
    return _scalar_text(value)


def _scalar_text(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return int_text(value)
        case float():
            return number_text(value)
        case bytes():
            return b64encode(value).decode("ascii")
        case Timestamp():
            return format_timestamp(value)
        case Duration():
            return format_duration(value)
        case TypeValue():
            return value.name
        case IpAddress():
            return str(value.address)
        case Cidr():
            return str(value.interface)
        case _:
            raise ExprEvalError("EXP106", f"a value of type {spoken(value)} has no text form")


def int_text(value: int) -> str:
    """The decimal digits. Python refuses ints of more than 4300 digits, which JSON inputs may hold."""
    try:
        return str(int(value))
    except ValueError:
        raise ExprEvalError("EXP104", "integer too long to be written") from None


def json_text(frame: Frame, value: object, indent: int | None = None) -> str:
    """Compact JSON (or indented by `indent` spaces), checked against the budget before it is written."""
    measure(frame, value)
    separators = (",", ":") if indent is None else (",", ": ")
    try:
        text = json.dumps(to_json(value), ensure_ascii=False, separators=separators, indent=indent)
    except ValueError:
        raise ExprEvalError("EXP104", "integer too long to be written") from None
    frame.reserve_text(text_bytes(text))
    return text


def measure(frame: Frame, value: object) -> None:
    """Check that the value, written as JSON, stays within the output budget.

    Shared parts count each time they occur, since each would be written: a value of few objects can be exponentially
    large. The walk ends as soon as the budget is passed, so it costs no more than the budget.
    """
    limit = frame.budget.output_bytes
    size = 0
    pending: list[tuple[Any, int]] = [(value, 0)]
    while pending:
        item, depth = pending.pop()
        if depth > VALUE_DEPTH_MAX:
            raise too_deep_value()
        kind = kind_of(item)
        if kind is str:
            size += text_bytes(item) + 3
        elif kind in SCALARS:
            size += 8
        elif is_list(item):
            size += len(item) + 2
            if size <= limit:
                pending.extend((part, depth + 1) for part in item)
        elif is_map(item):
            size += len(item) + 2
            if size <= limit:
                for key, part in item.items():
                    size += len(key) + 4 if isinstance(key, str) else 8
                    pending.append((part, depth + 1))
        elif kind is OptionalValue:
            pending.append((item.value, depth + 1))
        else:
            size += len(item) + 3 if isinstance(item, str | bytes) else 8
        if size > limit:
            raise BudgetExceeded(
                "EXP203",
                f"the result is larger than {limit} bytes",
                suggestion="pass large values on by plain reference (`$step.body`), or take the parts that are needed",
            )


JSON_ITEMS_MAX: Final = 1_000_000
"""Items of lists and maps in one value. A value that holds another twice, and that one another twice, is small in
memory and without bound as JSON."""


def to_json(value: Any, _depth: int = 0, _left: list[int] | None = None) -> Any:
    """The value with nothing in it that JSON does not have; the same object if nothing had to change.

    Timestamps become RFC 3339 texts, durations `3.5s`, bytes base64, uints numbers, types their names, non-finite
    doubles "NaN", "Infinity", "-Infinity", optionals what is in them or null; map keys become texts. Raises
    ExprEvalError for a foreign Python object, BudgetExceeded for a value nested too deep, or with more than
    `JSON_ITEMS_MAX` items.
    """
    kind = kind_of(value)
    if kind in _PLAIN:
        return value
    if kind is list or kind is dict:
        _left = [JSON_ITEMS_MAX] if _left is None else _left
        _left[0] -= len(value)
        if _left[0] < 0:
            raise BudgetExceeded("EXP203", f"a value has more than {JSON_ITEMS_MAX:,} items in all")
    if _depth > VALUE_DEPTH_MAX:
        raise too_deep_value()
    if kind is float:
        return value if math.isfinite(value) else number_text(value)
    if kind is dict and _is_flat(value):
        return value
    if kind is list:
        made = [to_json(item, _depth + 1, _left) for item in value]
        return value if all(one is other for one, other in zip(made, value, strict=True)) else made
    if kind is dict or is_map(value):
        return _json_map(value, _depth, _left)
    if is_list(value):
        return [to_json(item, _depth + 1, _left) for item in value]
    return _unusual(value, _depth, _left)


def _is_flat(value: dict[Any, Any]) -> bool:
    """Whether it is JSON as it stands, as most parameters are."""
    for key, item in value.items():  # noqa: SIM110 - a generator costs as much again
        if type(key) is not str or type(item) not in _PLAIN:
            return False
    return True


def _unusual(value: Any, depth: int, left: list[int] | None) -> Any:
    if isinstance(value, int):
        return int(value)
    if isinstance(value, str):
        return value
    if isinstance(value, OptionalValue):
        return to_json(value.value, depth + 1, [JSON_ITEMS_MAX] if left is None else left)
    return _scalar_text(value)


def _json_map(value: Mapping[Any, Any], depth: int, left: list[int] | None) -> Any:
    made: dict[str, Any] = {}
    same = type(value) is dict
    for key, item in _items(value):
        name = key if isinstance(key, str) else _key_text(key)
        part = to_json(item, depth + 1, left)
        same = same and name is key and part is item
        made[name] = part
    return value if same else made


def _items(value: Mapping[Any, Any]) -> ItemsView[Any, Any]:
    return value.items()


def _key_text(key: object) -> str:
    return _scalar_text(key.value if isinstance(key, BoolKey) else key)
