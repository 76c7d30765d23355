"""What the operators mean: equality, order, arithmetic, membership, fields. The compiler inlines the usual cases and
asks here.

Sources: the CEL language definition ("Equality", "Ordering", "Overflow"), with our deviations: int and double mix in
arithmetic, and a missing field or index is null. Each function takes the frame where its work grows with the values.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from functools import cmp_to_key
from typing import Any, Final, NoReturn, TypeGuard

from segue.expr.budget import VALUE_DEPTH_MAX
from segue.expr.errors import BudgetExceeded, ExprEvalError
from segue.expr.frame import Frame, text_bytes
from segue.expr.timecalc import duration_of, timestamp_of
from segue.expr.types import (
    ABSENT,
    INT_MAX,
    INT_MIN,
    UINT_MAX,
    BoolKey,
    Duration,
    OptionalValue,
    Timestamp,
    Uint,
    kind_of,
    spoken,
)


def is_list(value: object) -> TypeGuard[list[Any] | tuple[Any, ...]]:
    """A list of the language."""
    return isinstance(value, list | tuple)


def is_map(value: object) -> TypeGuard[Mapping[Any, Any]]:
    """A map of the language."""
    return isinstance(value, Mapping)


def too_deep_value() -> BudgetExceeded:
    """The error for a value that nests deeper than it may be walked."""
    return BudgetExceeded("EXP202", f"a value nests more than {VALUE_DEPTH_MAX} levels deep")


def is_number(value: object) -> bool:
    """int, uint or double; a bool is none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


# Equality


def equal(frame: Frame, left: Any, right: Any, depth: int = 0) -> bool:
    """CEL's equality: never an error, numbers by value whatever their type, other types never equal to each other."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if is_list(left):
        return is_list(right) and len(left) == len(right) and _equal_lists(frame, left, right, depth)
    if is_map(left):
        return is_map(right) and len(left) == len(right) and _equal_maps(frame, left, right, depth)
    if isinstance(left, OptionalValue):
        return isinstance(right, OptionalValue) and _equal_optionals(frame, left, right, depth)
    if isinstance(left, str | bytes) and len(left) > 256:
        frame.charge_text(len(left))
    if isinstance(left, float) != isinstance(right, float) and is_number(left) and is_number(right):
        left, right = _as_doubles(left, right)
    return bool(left == right)


def _as_doubles(left: Any, right: Any) -> tuple[Any, Any]:
    """An int and a double, both as doubles: CEL compares them so, though ints above 2**53 lose digits by it."""
    try:
        return float(left), float(right)
    except OverflowError:
        # An int of a scope that is too large for a double; Python compares the two exactly.
        return left, right


def _equal_lists(frame: Frame, left: Any, right: Any, depth: int) -> bool:
    if depth > VALUE_DEPTH_MAX:
        raise too_deep_value()
    for one, other in zip(left, right, strict=True):
        frame.charge(1)
        if not equal(frame, one, other, depth + 1):
            return False
    return True


def _equal_optionals(frame: Frame, left: OptionalValue, right: OptionalValue, depth: int) -> bool:
    if depth > VALUE_DEPTH_MAX:
        raise too_deep_value()
    frame.charge(1)
    return left.present is right.present and equal(frame, left.value, right.value, depth + 1)


def _equal_maps(frame: Frame, left: Any, right: Any, depth: int) -> bool:
    if depth > VALUE_DEPTH_MAX:
        raise too_deep_value()
    for key in left:
        frame.charge(1)
        if key not in right or not equal(frame, left[key], right[key], depth + 1):
            return False
    return True


def contains(frame: Frame, item: Any, container: Any) -> bool:
    """`item in container`: an element of a list or a key of a map."""
    if is_map(container):
        return is_key(item) and map_key(item) in container
    if is_list(container):
        if type(item) is str:
            frame.charge(len(container))
            return item in container
        for one in container:
            frame.charge(1)
            if equal(frame, item, one):
                return True
        return False
    hint = "write `text.contains(part)`" if isinstance(container, str) else None
    if container is None:
        hint = "write `in ($list ?? [])`"
    raise ExprEvalError("EXP102", f"`in` needs a list or a map on its right, not {spoken(container)}", suggestion=hint)


# Map keys


def is_key(value: object) -> bool:
    """Whether a map can hold the value as a key (or, for a double, a key equal to it)."""
    return isinstance(value, str | int | float) and value == value


def map_key(value: Any) -> Any:
    """The value as Python keeps it in a dict."""
    return BoolKey(value) if isinstance(value, bool) else value


def literal_key(value: object) -> Any:
    """A key written in a map literal or made by a function. Raises ExprEvalError for a type that is no key."""
    if isinstance(value, str | int):
        return map_key(value)
    raise ExprEvalError("EXP111", f"a map key is a string, int, uint or bool, not {spoken(value)}")


def keys_of(value: Mapping[Any, Any]) -> Iterator[object]:
    """The keys as the language sees them."""
    return (key.value if isinstance(key, BoolKey) else key for key in value)


# Fields


def select(value: Any, field: str) -> Any:
    """`value.field`: null if value is null or has no such field."""
    if value is None:
        return None
    if is_map(value):
        return value.get(field)
    if isinstance(value, OptionalValue):
        return optional_index(value, field)
    hint = "write `[0]` for the first element, or `.map(item, item.…)` for all" if is_list(value) else None
    raise ExprEvalError("EXP108", f"{spoken(value)} has no field `{field[:60]}`", suggestion=hint)


def index(value: Any, key: Any) -> Any:
    """`value[key]`: null if value or key is null, or if there is no such element."""
    if value is None or key is None:
        return None
    if is_map(value):
        if is_key(key):
            return value.get(map_key(key))
        if isinstance(key, float):
            return None
        raise ExprEvalError("EXP108", f"a map has no keys of type {spoken(key)}")
    if is_list(value):
        position = _position(key)
        return value[position] if 0 <= position < len(value) else None
    if isinstance(value, OptionalValue):
        return optional_index(value, key)
    raise ExprEvalError("EXP108", f"{spoken(value)} cannot be indexed")


def _position(key: object) -> int:
    if isinstance(key, int) and not isinstance(key, bool):
        return key
    if isinstance(key, float) and key.is_integer():
        return int(key)
    raise ExprEvalError("EXP108", f"a list is indexed by an int, not by {spoken(key)}")


def optional_index(value: Any, key: Any) -> OptionalValue:
    """`value.?key` and `value[?key]`: what is there, as an optional; through an optional the same without the `?`."""
    if isinstance(value, OptionalValue):
        if not value.present:
            return ABSENT
        value = value.value
    return OptionalValue(True, index(value, key)) if has_field(value, key) else ABSENT


def entry_of(value: object) -> OptionalValue:
    """What stands behind the `?` of an element or entry. Raises ExprEvalError if it is no optional."""
    if isinstance(value, OptionalValue):
        return value
    raise ExprEvalError(
        "EXP102", f"`?` takes an optional, not {spoken(value)}", suggestion="write `.?field` or `optional.of(…)`"
    )


def has_field(value: Any, key: Any) -> bool:
    """`has(value.key)`: whether the field is there, even if it holds null."""
    if isinstance(value, OptionalValue):
        return value.present and has_field(value.value, key)
    if value is None or key is None:
        return False
    if is_map(value):
        return is_key(key) and map_key(key) in value
    if is_list(value):
        return 0 <= _position(key) < len(value)
    raise ExprEvalError("EXP108", f"{spoken(value)} has no fields")


# Order


def order(left: Any, right: Any) -> int:
    """Negative, zero or positive as left is less than, equal to or greater than right. Raises ExprEvalError."""
    if comparable(left, right):
        if isinstance(left, float) != isinstance(right, float):
            left, right = _as_doubles(left, right)
        return (left > right) - (left < right)
    raise ExprEvalError("EXP102", f"{spoken(left)} and {spoken(right)} have no order")


def comparable(left: Any, right: Any) -> bool:
    """Whether two values have an order: numbers among each other, else the same type of bool, text, bytes, time or
    span.
    """
    if is_number(left):
        return is_number(right)
    for kind in (str, bool, Timestamp, Duration, bytes):
        if isinstance(left, kind):
            return isinstance(right, kind)
    return False


def sorted_by(frame: Frame, items: list[Any], keys: list[Any]) -> list[Any]:
    """The items in ascending order of their keys; equal ones keep their order. Raises ExprEvalError."""
    kinds = {kind_of(one) for one in keys}
    if kinds <= {int, float} or kinds == {str}:
        # Python's own order of these is the language's.
        return [items[position] for position in sorted(range(len(items)), key=keys.__getitem__)]
    # Some n log n comparisons, each of which calls back into Python.
    frame.charge(len(items) * len(items).bit_length() // 2)
    return [items[position] for position in sorted(range(len(items)), key=lambda one: _by_order(keys[one]))]


_by_order: Final[Callable[[Any], Any]] = cmp_to_key(order)

_COMPARISONS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "<": lambda left, right: left < right,
    "<=": lambda left, right: left <= right,
    ">": lambda left, right: left > right,
    ">=": lambda left, right: left >= right,
}


def compare(frame: Frame, operator: str, left: Any, right: Any) -> bool:
    """One of the four comparisons. Raises ExprEvalError for types without an order."""
    if not comparable(left, right):
        refuse(operator, left, right)
    if isinstance(left, str | bytes):
        frame.charge_text(len(left))
    elif isinstance(left, float) != isinstance(right, float):
        left, right = _as_doubles(left, right)
    return _COMPARISONS[operator](left, right)


# Arithmetic


def refuse(operator: str, left: object, right: object) -> NoReturn:
    """Raise the error for operand types that the operator does not take."""
    hint = None
    if left is None or right is None:
        hint = "give the missing value a default with `??`"
    elif operator == "+" and isinstance(left, str) != isinstance(right, str):
        hint = "turn the other value into text with `string(…)`"
    elif isinstance(left, str) != isinstance(right, str) and (is_number(left) or is_number(right)):
        hint = "turn the text into a number with `int(…)` or `double(…)`"
    raise ExprEvalError("EXP102", f"`{operator}` does not take {spoken(left)} and {spoken(right)}", suggestion=hint)


def checked_int(value: int) -> int:
    """The int, if it fits into 64 bits. Raises ExprEvalError."""
    if INT_MIN <= value <= INT_MAX:
        return value
    raise ExprEvalError("EXP104", "integer overflow", suggestion="compute with doubles: `double(…)`")


def checked_uint(value: int) -> Uint:
    """The uint, if it fits into 64 bits. Raises ExprEvalError."""
    if 0 <= value <= UINT_MAX:
        return Uint(value)
    raise ExprEvalError("EXP104", "unsigned integer overflow")


def _divide_ints(left: int, right: int) -> int:
    """Towards zero, as CEL (and C) has it; Python rounds down."""
    if right == 0:
        raise ExprEvalError("EXP105", "division by zero")
    quotient = abs(left) // abs(right)
    return quotient if (left < 0) == (right < 0) else -quotient


def _remainder(left: int, right: int) -> int:
    """With the sign of the dividend."""
    if right == 0:
        raise ExprEvalError("EXP105", "remainder of a division by zero")
    return abs(left) % abs(right) * (-1 if left < 0 else 1)


def _divide_floats(left: float, right: float) -> float:
    """IEEE 754: a division by zero is an infinity or NaN, not an error."""
    if right != 0.0:
        return left / right
    if left == 0.0 or math.isnan(left):
        return math.nan
    return math.copysign(math.inf, left) * math.copysign(1.0, right)


_INTS: Final[dict[str, Callable[[int, int], int]]] = {
    "+": lambda left, right: left + right,
    "-": lambda left, right: left - right,
    "*": lambda left, right: left * right,
    "/": _divide_ints,
    "%": _remainder,
}
_FLOATS: Final[dict[str, Callable[[float, float], float]]] = {
    "+": lambda left, right: left + right,
    "-": lambda left, right: left - right,
    "*": lambda left, right: left * right,
    "/": _divide_floats,
}


def arithmetic(frame: Frame, operator: str, left: Any, right: Any) -> Any:
    """`left operator right` for every pair of types that has a meaning. Raises ExprEvalError, BudgetExceeded."""
    if is_number(left) and is_number(right):
        return _numbers(operator, left, right)
    if operator == "+":
        return _add(frame, left, right)
    if operator == "-":
        if isinstance(left, Timestamp) and isinstance(right, Timestamp):
            return duration_of(left.nanos - right.nanos)
        if isinstance(left, Timestamp) and isinstance(right, Duration):
            return timestamp_of(left.nanos - right.nanos)
        if isinstance(left, Duration) and isinstance(right, Duration):
            return duration_of(left.nanos - right.nanos)
    refuse(operator, left, right)


def _numbers(operator: str, left: Any, right: Any) -> Any:
    if isinstance(left, float) or isinstance(right, float):
        if operator not in _FLOATS:
            refuse(operator, left, right)
        try:
            return _FLOATS[operator](float(left), float(right))
        except OverflowError:
            # Only an int of a scope can be too large for a double: JSON has no bound on its numbers.
            raise ExprEvalError("EXP104", "integer outside of the range of doubles") from None
    if isinstance(left, Uint) != isinstance(right, Uint):
        refuse(operator, left, right)
    result = _INTS[operator](left, right)
    return checked_uint(result) if isinstance(left, Uint) else checked_int(result)


def _add(frame: Frame, left: Any, right: Any) -> Any:
    if isinstance(left, str) and isinstance(right, str):
        frame.reserve_text(text_bytes(left) + text_bytes(right))
        return left + right
    if is_list(left) and is_list(right):
        frame.charge(len(left) + len(right))
        return [*left, *right]
    if isinstance(left, bytes) and isinstance(right, bytes):
        frame.reserve_text(len(left) + len(right))
        return left + right
    if isinstance(left, Timestamp | Duration) and isinstance(right, Timestamp | Duration):
        total = left.nanos + right.nanos
        if isinstance(left, Duration) and isinstance(right, Duration):
            return duration_of(total)
        if isinstance(left, Duration) or isinstance(right, Duration):
            return timestamp_of(total)
    refuse("+", left, right)


def negate(value: Any) -> Any:
    """`-value`. Raises ExprEvalError."""
    if isinstance(value, float):
        return -value
    if isinstance(value, int) and not isinstance(value, bool | Uint):
        return checked_int(-value)
    if isinstance(value, Duration):
        return duration_of(-value.nanos)
    hint = "give the missing value a default with `??`" if value is None else None
    raise ExprEvalError("EXP102", f"`-` does not take {spoken(value)}", suggestion=hint)
