"""Compares what a test expects with what a run gave: in part, with every difference at its place.

Expected values are in value notation: `$inputs.order` is that value, and `{{ $ > 3 }}` a condition on the value itself,
which is `$`. Maps may have further fields (unless `exact`), lists have the same length, numbers are equal by value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

import msgspec

from segue.expr import ExprError, Scope, compile_value, to_json
from segue.expr.types import spoken
from segue.flow.model import JsonValue

ScopeOf: TypeAlias = Callable[[JsonValue], Scope]
"""The names that an expectation may use, for the actual value that `$` stands for."""


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was not as expected. `what` is the place below `expect`, such as `steps.charge.status`."""

    what: str
    expected: JsonValue
    actual: JsonValue
    why: str | None = None
    """What the run says about it."""


def compare(
    what: str, expected: JsonValue, actual: JsonValue, *, exact: bool = False, scope_of: ScopeOf | None = None
) -> Iterator[Difference]:
    """Every place at which a value is not as expected. Without `scope_of` texts are what they say."""
    if isinstance(expected, str) and scope_of is not None and ("$" in expected or "{{" in expected):
        yield from _computed(what, expected, actual, exact, scope_of)
    elif isinstance(expected, dict) and isinstance(actual, dict):
        for key, value in expected.items():
            place = f"{what}.{key}" if what else key
            if key in actual:
                yield from compare(place, value, actual[key], exact=exact, scope_of=scope_of)
            else:
                yield from _missing(place, value, scope_of)
        for key in actual if exact else ():
            if key not in expected:
                yield Difference(what=f"{what}.{key}", expected=None, actual=actual[key], why="not expected")
    elif isinstance(expected, list) and isinstance(actual, list):
        if len(expected) != len(actual):
            why = f"{len(expected)} items are expected, there are {len(actual)}"
            yield Difference(what=what, expected=expected, actual=actual, why=why)
            return
        for index, (one, other) in enumerate(zip(expected, actual, strict=True)):
            yield from compare(f"{what}[{index}]", one, other, exact=exact, scope_of=scope_of)
    elif isinstance(expected, bool) != isinstance(actual, bool) or expected != actual:
        yield Difference(what=what, expected=expected, actual=actual)


def _missing(what: str, expected: JsonValue, scope_of: ScopeOf | None) -> Iterator[Difference]:
    """A field that is not there; a condition may allow that (`{{ $ == null }}`)."""
    is_allowed = (
        isinstance(expected, str)
        and expected.lstrip().startswith(("{{", "${{"))
        and scope_of is not None
        and not list(compare(what, expected, None, scope_of=scope_of))
    )
    if not is_allowed:
        yield Difference(what=what, expected=expected, actual=None, why="there is no such field")


def _computed(what: str, source: str, actual: JsonValue, exact: bool, scope_of: ScopeOf) -> Iterator[Difference]:
    try:
        value = compile_value(source)
        found = to_json(value.evaluate(scope_of(actual)))
    except ExprError as error:
        yield Difference(what=what, expected=source, actual=actual, why=str(error))
        return
    if any(reference.root == "$" for reference in value.references):
        if found is not True:
            why = None if found is False or found is None else f"a condition is true or false, not {spoken(found)}"
            yield Difference(what=what, expected=source, actual=actual, why=why)
        return
    told = f"expected is {source}" if not value.is_constant else None
    for one in compare(what, found, actual, exact=exact):
        yield msgspec.structs.replace(one, why=one.why or told)
