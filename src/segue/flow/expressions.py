"""What the texts of a flow read, each text compiled once.

An editor has a flow checked at every key stroke, and all but one of its texts are those of the stroke before. So the
references of the last texts are kept: some thousand, which is a few megabytes at most. Compiling is pure; whoever asks
for the same text gets the same answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Final

from segue.expr import (
    ExprError,
    Reference,
    compile_condition,
    compile_expression,
    compile_poll_condition,
    compile_value,
)
from segue.flow.constants import Mode, mistake_of
from segue.flow.model import JsonValue

KEPT_TEXTS: Final = 8_192
KEPT_CHARACTERS_MAX: Final = 400
"""Longer texts are compiled each time: few flows have many of them, and a cache of them would be large."""

_COMPILERS: Final[dict[str, Callable[[str], tuple[Reference, ...]]]] = {
    "value": lambda text: compile_value(text).references,
    "condition": lambda text: compile_condition(text).references,
    "expression": lambda text: compile_expression(text).references,
    "poll": lambda text: compile_poll_condition(text).references,
}


def references_of(raw: JsonValue, mode: Mode, *, is_checked: bool = False) -> tuple[Reference, ...]:
    """Everything that a value, condition or expression reads. Raises ExprError, with the path of the scalar.

    `is_checked`: also raise for what compiles but must fail whatever a run brings (`constants`).
    """
    compiled = _checked if is_checked else _compiled
    if mode != "value":
        return compiled(str(raw), mode)
    found: list[Reference] = []
    for at, text in scalars(raw):
        if "$" not in text and "{{" not in text:
            continue
        try:
            references = compiled(text, mode)
        except ExprError as error:
            error.path = at
            raise
        found += references if not at else [reference.inside(at) for reference in references]
    return tuple(found)


def scalars(value: JsonValue, at: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """The texts inside a value, with their places."""
    if isinstance(value, str):
        yield at, value
    elif isinstance(value, dict):
        for key, child in value.items():
            yield from scalars(child, (*at, key))
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield from scalars(child, (*at, index))


def _compiled(text: str, mode: Mode) -> tuple[Reference, ...]:
    return _COMPILERS[mode](text) if len(text) > KEPT_CHARACTERS_MAX else _kept(text, mode)


@lru_cache(maxsize=KEPT_TEXTS)
def _kept(text: str, mode: Mode) -> tuple[Reference, ...]:
    return _COMPILERS[mode](text)


def _checked(text: str, mode: Mode) -> tuple[Reference, ...]:
    return _compiled(text, mode) if len(text) > KEPT_CHARACTERS_MAX else _kept_checked(text, mode)


@lru_cache(maxsize=KEPT_TEXTS)
def _kept_checked(text: str, mode: Mode) -> tuple[Reference, ...]:
    references = _kept(text, mode)
    mistake = mistake_of(text, mode, reads=bool(references))
    if mistake is not None:
        raise mistake
    return references
