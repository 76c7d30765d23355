"""The nearest known word to a misspelt one, for "did you mean"."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

_LONGEST = 60


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word with the fewest edits (swaps of neighbours count one), if few enough to be a slip; ties: the
    first.

    Case and `-`/`_` are ignored. Words past 60 characters are compared by their beginning.
    """
    wanted = _plain(word)
    best: str | None = None
    best_distance = 1 + max(1, len(wanted) // 3)
    for candidate in known:
        plain = _plain(candidate)
        if abs(len(plain) - len(wanted)) >= best_distance:
            continue
        distance = _distance(wanted, plain, best_distance)
        if distance < best_distance:
            best, best_distance = candidate, distance
    return best


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
