"""How fast this Python is: builds of one version differ by a third (with or without profile-guided optimisation), and
an engine, which decides in Python, lives on it more than a loop that only appends.
"""

from __future__ import annotations

import timeit

ROUNDS = 100_000


class _Point:
    __slots__ = ("name", "x")

    def __init__(self, x: int, name: str) -> None:
        self.x = x
        self.name = name


def _work() -> dict[str, tuple[int, _Point]]:
    found: dict[str, tuple[int, _Point]] = {}
    for number in range(ROUNDS):
        one = _Point(number, f"p{number & 1023}")
        found[one.name] = (number, one)
        other = found.get(one.name)
        if other is not None and isinstance(other[1], _Point):
            found[one.name] = (other[0] + one.x, one)
    return found


def mixed_work_ms() -> float:
    """Milliseconds for a hundred thousand turns of objects, texts, dictionaries and tuples; the best of five."""
    return 1000 * min(timeit.repeat(_work, number=1, repeat=5))
