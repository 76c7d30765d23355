"""Functions of optionals: values that may be absent, where null would be a value of its own.

Source: CEL's optional types (github.com/google/cel-go, cel/library.go, "OptionalTypes"). `.?field`, `[?index]`, `[?a]`
and `{?key: a}` belong to the syntax, `optMap` and `optFlatMap` to the macros.
"""

from __future__ import annotations

from typing import Any, Final

from segue.expr.errors import ExprEvalError
from segue.expr.frame import Frame
from segue.expr.library.table import Table
from segue.expr.ops import is_list, is_map
from segue.expr.types import ABSENT, Duration, OptionalValue, spoken

OPTIONAL: Final = Table("optional")


@OPTIONAL.add(
    "optional.of(value: any) -> optional", "An optional with that value.", "optional.of(1)", 1, constant_time=True
)
def _of(frame: Frame, value: object) -> OptionalValue:
    return OptionalValue(True, value)


@OPTIONAL.add(
    "optional.none() -> optional", "An optional without a value.", "optional.none()", None, constant_time=True
)
def _none(frame: Frame) -> OptionalValue:
    return ABSENT


@OPTIONAL.add(
    "optional.ofNonZeroValue(value: any) -> optional",
    "An optional with that value, unless it is null, `false`, zero or empty.",
    "optional.ofNonZeroValue('').hasValue()",
    False,
    constant_time=True,
)
def _of_non_zero(frame: Frame, value: Any) -> OptionalValue:
    if isinstance(value, Duration):
        return OptionalValue(True, value) if value.nanos else ABSENT
    zero = value is None or value is False or (isinstance(value, int | float) and value == 0)
    empty = (isinstance(value, str | bytes) or is_list(value) or is_map(value)) and len(value) == 0
    return ABSENT if zero or empty else OptionalValue(True, value)


@OPTIONAL.add(
    "hasValue(of: optional) -> bool", "Whether there is a value.", "{'a': 1}.?b.hasValue()", False, constant_time=True
)
def _has_value(frame: Frame, optional: OptionalValue) -> bool:
    return optional.present


@OPTIONAL.add(
    "value(of: optional) -> any", "The value; without one, an error.", "{'a': 1}.?a.value()", 1, constant_time=True
)
def _value(frame: Frame, optional: OptionalValue) -> object:
    if not optional.present:
        raise ExprEvalError("EXP106", "the optional has no value", suggestion="write `.orValue(…)`")
    return optional.value


@OPTIONAL.add(
    "or(of: optional, other: optional) -> optional",
    "The first of the two that has a value.",
    "{'a': 1}.?b.or(optional.of(2))",
    2,
    constant_time=True,
)
def _or(frame: Frame, optional: OptionalValue, other: OptionalValue) -> OptionalValue:
    return optional if optional.present else other


@OPTIONAL.add(
    "orValue(of: optional, fallback: any) -> any",
    "The value, or the fallback without one.",
    "{'a': 1}.?b.orValue('none')",
    "none",
    constant_time=True,
)
def _or_value(frame: Frame, optional: OptionalValue, fallback: object) -> object:
    return optional.value if optional.present else fallback


@OPTIONAL.add(
    "optional.unwrap(items: list) -> list",
    "The values of those optionals of a list that have one.",
    "optional.unwrap([optional.of(1), optional.none()])",
    [1],
    aliases=("unwrapOpt",),
)
def _unwrap(frame: Frame, items: Any) -> list[object]:
    for item in items:
        if not isinstance(item, OptionalValue):
            raise ExprEvalError("EXP103", f"a list of optionals is needed, not one with {spoken(item)}")
    return [item.value for item in items if item.present]
