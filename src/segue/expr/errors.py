"""Errors of the expression language: a stable code, one sentence, the place in the source, and a way out where there is
one.

Messages name types, functions and places, never values: an expression may work on secrets, and errors are shown and
kept.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Final

CODES: Final[dict[str, str]] = {
    "EXP001": "a character that the language does not use",
    "EXP002": "a string that is not closed",
    "EXP003": "an escape that does not exist",
    "EXP004": "a number that is malformed or out of range",
    "EXP005": "a word or sign that does not fit here",
    "EXP006": "the expression ends too early",
    "EXP007": "a function that does not exist",
    "EXP008": "a wrong number of arguments",
    "EXP009": "a macro used in a way that it does not have",
    "EXP010": "a value of a kind that cannot hold an expression",
    "EXP011": "an opening {{ without its }}",
    "EXP101": "a name that is not in scope",
    "EXP102": "an operator applied to types that it does not take",
    "EXP103": "a function applied to types that it does not take",
    "EXP104": "a result outside of the 64-bit range",
    "EXP105": "a division by zero",
    "EXP106": "a value that cannot be converted, or an argument out of its range",
    "EXP107": "now(), uuid() or random() where no provider was given",
    "EXP108": "a field or index of something that has none",
    "EXP109": "a condition that is neither true, false nor null",
    "EXP110": "a regular expression that is not valid RE2",
    "EXP111": "a map key that is repeated, or of a type that no key may have",
    "EXP112": "a time outside of the years 1 to 9999, or an unknown time zone",
    "EXP201": "more steps than the budget allows",
    "EXP202": "deeper nesting than the budget allows",
    "EXP203": "a larger result than the budget allows",
    "EXP204": "a longer source than the budget allows",
}


class ExprError(Exception):
    """Base of what this package raises.

    `code` is one of `CODES` and never changes its meaning. `start` and `end` are offsets into the source (in
    characters, end exclusive), -1 if unknown. `path` leads to the scalar inside a raw value (`compile_value`), empty
    for a plain expression.
    `suggestion` is what could be written instead.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        start: int = -1,
        end: int = -1,
        suggestion: str | None = None,
        path: tuple[str | int, ...] = (),
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.start = start
        self.end = end
        self.suggestion = suggestion
        self.path = path

    def at(self, label: str) -> str:
        """The error with its place: what `label` names, and where in that."""
        steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in self.path)
        return f"{label}{''.join(steps)}: {self}"

    def __str__(self) -> str:
        place = f" (at {self.start})" if self.start >= 0 else ""
        hint = f"; {self.suggestion}" if self.suggestion else ""
        return f"{self.code} {self.message}{hint}{place}"

    def locate(self, start: int, end: int) -> None:
        """Give the error its place, unless something nearer to the cause did so already."""
        if self.start < 0:
            self.start, self.end = start, end


class ExprSyntaxError(ExprError):
    """The source is not an expression; found by compiling, before anything runs."""


class ExprEvalError(ExprError):
    """The expression is well formed, but has no value in this scope."""


class BudgetExceeded(ExprError):
    """The expression was stopped because it is too long, too deep, or does or makes too much."""


class UnknownName(KeyError):
    """A scope has no such name; `known` are the names that it has (for a suggestion), if it can say."""

    def __init__(self, name: str, known: Iterable[str] = ()) -> None:
        super().__init__(name)
        self.name = name
        self.known = tuple(known)


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word most like `word`, or None if none is near."""
    found = get_close_matches(word[:200], list(known), n=1, cutoff=0.6)
    return found[0] if found else None
