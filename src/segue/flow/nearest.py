"""The nearest known word to a misspelt one, for "did you mean"."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import islice
from typing import Final

_LONGEST = 60
_SHORTEST_BEGINNING = 3


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word with the fewest edits (swaps of neighbours count one), if few enough to be a slip; ties: the
    first.

    Case and `-`/`_` are ignored. Words past 60 characters are compared by their beginning.
    """
    wanted = _plain(word)
    known = known if isinstance(known, Collection) else list(known)
    best: str | None = None
    limit = 1 + max(1, len(wanted) // 3)
    rank = (limit, True, 0)
    for candidate in known:
        plain = _plain(candidate)
        if abs(len(plain) - len(wanted)) >= limit:
            continue
        distance = _distance(wanted, plain, limit)
        if distance > rank[0] or distance >= limit:
            continue
        # Of words equally near, the one that holds all its letters, then the one spelt most like it.
        found = (distance, not set(wanted) <= set(plain), _distance(word[:_LONGEST], candidate[:_LONGEST], _LONGEST))
        if found < rank:
            best, rank = candidate, found
            limit = min(limit, distance + 1)
    return best or _begun(wanted, known)


def _begun(wanted: str, known: Iterable[str]) -> str | None:
    """The one known word that begins so."""
    if len(wanted) < _SHORTEST_BEGINNING:
        return None
    found = [candidate for candidate in known if _plain(candidate).startswith(wanted)]
    return found[0] if len(found) == 1 else None


class Suggester:
    """`did_you_mean` with a bound: a document of nothing but mistakes must not take minutes to be refused."""

    def __init__(self, comparisons: int = 20_000) -> None:
        self._left = comparisons

    def did_you_mean(self, word: str, known: Iterable[str]) -> str | None:
        """See `did_you_mean`; None as well once the comparisons are used up."""
        candidates = list(islice(known, 1_000))
        self._left -= len(candidates)
        return did_you_mean(word, candidates) if self._left >= 0 else None


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """`did you mean "x"?` for the nearest known word, or None."""
    found = nearest(word, known)
    return None if found is None else f'did you mean "{found}"?'


def suggested(hint: str) -> str:
    """The word that a `did you mean` of this module names."""
    return hint.split('"')[1]


SYNONYMS: Final[dict[str, tuple[str, ...]]] = {
    "retries": ("retry",),
    "max_retries": ("retry",),
    "maxRetries": ("retry",),
    "condition": ("when", "if"),
    "if": ("when",),
    "unless": (),
    "times": ("attempts", "max"),
    "max": ("attempts",),
    "every": ("interval",),
    "header": ("headers",),
    "with": ("params",),
    "args": ("params",),
    "arguments": ("params",),
    "parameters": ("params",),
    "inputs": ("params",),
    "input": ("params",),
    "after": ("needs",),
    "requires": ("needs",),
    "dependencies": ("needs",),
    "depends": ("needs",),
    "catch": ("on_error",),
    "onFailure": ("on_error",),
    "on_failure": ("on_error",),
    "on_fail": ("on_error",),
    "rescue": ("catch", "on_error"),
    "except": ("catch",),
    "ensure": ("finally",),
    "comment": ("notes",),
    "description": ("notes",),
    "elsif": ("elif",),
    "elseif": ("elif",),
    "else_if": ("elif",),
    "elseIf": ("elif",),
    "otherwise": ("else", "default"),
    "else": ("default",),
    "in": ("items",),
    "list": ("items",),
    "over": ("items",),
    "var": ("as",),
    "body": ("do",),
    "sleep": ("wait",),
    "pause": ("wait",),
    "delay": ("wait", "initial_delay"),
    "print": ("log",),
    "echo": ("log",),
    "loop": ("foreach",),
    "map": ("foreach",),
    "uses": ("use",),
    "jobs": ("steps",),
    "on": ("trigger",),
    "schedule": ("cron",),
    "uri": ("url",),
    "endpoint": ("url",),
    "verb": ("method",),
    "payload": ("json",),
    "params": ("query",),
    "tz": ("timezone",),
    "time_zone": ("timezone",),
}
"""Words of other languages and tools, and what they are called here, in order of preference."""


def synonym_of(word: str, known: Iterable[str]) -> str | None:
    """What a word of other tools is called here, if that is one of the known words."""
    wanted = SYNONYMS.get(word, ())
    names = set(known) if wanted else ()
    return next((name for name in wanted if name in names), None)


def _plain(word: str) -> str:
    return word[:_LONGEST].lower().replace("-", "").replace("_", "")


def _distance(left: str, right: str, limit: int) -> int:
    """Optimal string alignment distance, given up as `limit` once every cell of a row has reached it."""
    if left == right:
        return 0
    before: list[int] = []
    previous = list(range(len(right) + 1))
    for row, left_char in enumerate(left, 1):
        current = [row]
        for column, right_char in enumerate(right, 1):
            cost = min(
                previous[column] + 1,
                current[column - 1] + 1,
                previous[column - 1] + (left_char != right_char),
            )
            if row > 1 and column > 1 and left_char == right[column - 2] and left[row - 2] == right_char:
                cost = min(cost, before[column - 2] + 1)
            current.append(cost)
        if min(current) >= limit:
            return limit
        before, previous = previous, current
    return previous[-1]
