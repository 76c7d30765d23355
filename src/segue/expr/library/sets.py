"""Lists taken as sets: CEL's sets extension (github.com/google/cel-go, ext/sets.go)."""

from __future__ import annotations

from typing import Any, Final

from segue.expr.frame import Frame
from segue.expr.library.table import Table
from segue.expr.ops import contains

SETS: Final = Table("list")


@SETS.add(
    "sets.contains(items: list, part: list) -> bool",
    "Whether every item of the second list is in the first.",
    "sets.contains([1, 2, 3], [3, 1.0])",
    True,
)
def _contains(frame: Frame, items: Any, part: Any) -> bool:
    return all(contains(frame, item, items) for item in part)


@SETS.add(
    "sets.equivalent(items: list, others: list) -> bool",
    "Whether each list has every item of the other.",
    "sets.equivalent([1, 2, 2], [2, 1])",
    True,
)
def _equivalent(frame: Frame, items: Any, others: Any) -> bool:
    return _contains(frame, items, others) and _contains(frame, others, items)


@SETS.add(
    "sets.intersects(items: list, others: list) -> bool",
    "Whether the lists have an item in common.",
    "sets.intersects([1, 2], [2, 3])",
    True,
)
def _intersects(frame: Frame, items: Any, others: Any) -> bool:
    return any(contains(frame, item, others) for item in items)
