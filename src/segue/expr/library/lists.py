"""Functions of lists. None changes its argument; an order that the items do not have is an error, as for `<`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from segue.expr.errors import ExprEvalError
from segue.expr.frame import Frame
from segue.expr.library.table import Table
from segue.expr.ops import arithmetic, contains, equal, is_list, is_map, is_number, order, select, sorted_by
from segue.expr.text import to_text
from segue.expr.types import INT_MAX, OptionalValue

LIST: Final = Table("list")


@LIST.add(
    "first(items: list) -> any", "The first item; null if there is none.", "[3, 1, 2] | first", 3, constant_time=True
)
def _first(frame: Frame, items: Any) -> Any:
    return items[0] if items else None


@LIST.add(
    "last(items: list) -> any", "The last item; null if there is none.", "[3, 1, 2] | last", 2, constant_time=True
)
def _last(frame: Frame, items: Any) -> Any:
    return items[-1] if items else None


@LIST.add("sort(items: list) -> list", "In ascending order.", "[3, 1, 2] | sort", [1, 2, 3])
def _sort(frame: Frame, items: Any) -> list[Any]:
    return sorted_by(frame, list(items), list(items))


@LIST.add(
    "sortBy(items: list, field: string) -> list",
    "In ascending order of a field, which may be a path such as `address.city`; equal items keep their order.",
    "[{'n': 2}, {'n': 1}] | sortBy('n')",
    [{"n": 1}, {"n": 2}],
)
def _sort_by(frame: Frame, items: Any, field: str) -> list[Any]:
    get = _getter(frame, field)
    return sorted_by(frame, list(items), [get(item) for item in items])


def _getter(frame: Frame, field: str) -> Callable[[Any], Any]:
    """Reads a dotted path of fields; what is missing is null."""
    parts = field.split(".")

    def get(item: Any) -> Any:
        frame.charge(len(parts))
        for part in parts:
            item = select(item, part)
        return item

    return get


@LIST.add(
    "pluck(items: list, field: string) -> list",
    "That field (or path) of each item; null where it is missing.",
    "[{'n': 2}, {}] | pluck('n')",
    [2, None],
)
def _pluck(frame: Frame, items: Any, field: str) -> list[Any]:
    get = _getter(frame, field)
    return [get(item) for item in items]


@LIST.add(
    "groupBy(items: list, field: string) -> map",
    "The items by the text of that field (or path), in the order in which the texts first occur.",
    "[{'k': 'a', 'n': 1}, {'k': 'a', 'n': 2}] | groupBy('k')",
    {"a": [{"k": "a", "n": 1}, {"k": "a", "n": 2}]},
)
def _group_by(frame: Frame, items: Any, field: str) -> dict[str, list[Any]]:
    get = _getter(frame, field)
    groups: dict[str, list[Any]] = {}
    for item in items:
        groups.setdefault(to_text(frame, get(item)), []).append(item)
    return groups


@LIST.add(
    "keyBy(items: list, field: string) -> map",
    "Each item under the text of that field (or path); of two with the same text the later stays.",
    "[{'id': 7, 'n': 1}] | keyBy('id')",
    {"7": {"id": 7, "n": 1}},
)
def _key_by(frame: Frame, items: Any, field: str) -> dict[str, Any]:
    get = _getter(frame, field)
    return {to_text(frame, get(item)): item for item in items}


@LIST.add(
    "unique(items: list) -> list",
    "Without items equal to an earlier one.",
    "[1, 2, 1, 1.0] | unique",
    [1, 2],
    aliases=("distinct",),
)
def _unique(frame: Frame, items: Any) -> list[Any]:
    return _without_repeats(frame, list(items))


def _without_repeats(frame: Frame, items: list[Any]) -> list[Any]:
    seen: set[tuple[bool, object]] = set()
    others: list[Any] = []
    kept: list[Any] = []
    for item in items:
        if is_list(item) or is_map(item) or isinstance(item, OptionalValue):
            frame.charge(len(others))
            if any(equal(frame, item, other) for other in others):
                continue
            others.append(item)
        else:
            key = (isinstance(item, bool), item)
            if key in seen:
                continue
            seen.add(key)
        kept.append(item)
    return kept


@LIST.add(
    "flatten(items: list, depth?: int) -> list",
    "With the items of inner lists in their place, one level deep or as many as said.",
    "[1, [2, [3]]] | flatten(2)",
    [1, 2, 3],
)
def _flatten(frame: Frame, items: Any, depth: int = 1) -> list[Any]:
    if depth < 0:
        raise ExprEvalError("EXP106", "a depth is not negative")
    made = list(items)
    for _ in range(min(depth, frame.budget.nodes)):
        if not any(is_list(item) for item in made):
            break
        frame.charge(sum(len(item) if is_list(item) else 1 for item in made))
        made = [part for item in made for part in (item if is_list(item) else (item,))]
    return made


@LIST.add(
    "sum(numbers: list) -> number", "The sum of numbers (or durations); 0 of an empty list.", "[1, 2, 3] | sum", 6
)
def _sum(frame: Frame, numbers: Any) -> Any:
    total = numbers[0] if numbers else 0
    if numbers and not is_number(total):
        arithmetic(frame, "-", total, total)  # refuses what cannot be summed, texts and lists among it
    for number in numbers[1:]:
        total = arithmetic(frame, "+", total, number)
    return total


@LIST.add("avg(numbers: list) -> double|null", "The mean; null of an empty list.", "[1, 2] | avg", 1.5)
def _avg(frame: Frame, numbers: Any) -> Any:
    if not numbers:
        return None
    # Summed as doubles: the mean of large ints exists even where their sum is no 64-bit int.
    total = 0.0
    for number in numbers:
        total = arithmetic(frame, "+", total, number)
    return total / len(numbers)


def _extreme(frame: Frame, items: Any, sign: int) -> Any:
    best = items[0] if items else None
    if len(items) == 1:
        order(best, best)
    for item in items[1:]:
        if order(item, best) * sign > 0:
            best = item
    return best


@LIST.add("min(items: list) -> any", "The smallest item; null of an empty list.", "[3, 1, 2] | min", 1)
def _min(frame: Frame, items: Any) -> Any:
    return _extreme(frame, items, -1)


@LIST.add("max(items: list) -> any", "The largest item; null of an empty list.", "[3, 1, 2] | max", 3)
def _max(frame: Frame, items: Any) -> Any:
    return _extreme(frame, items, 1)


@LIST.add(
    "reverse(items: list|string) -> any",
    "From the last item (or character) to the first.",
    "[3, 1, 2] | reverse",
    [2, 1, 3],
)
def _reverse(frame: Frame, items: Any) -> Any:
    if isinstance(items, str):
        frame.reserve_text(len(items))
    return items[::-1] if isinstance(items, str) else list(reversed(items))


@LIST.add(
    "slice(of: list|string, start: int, end?: int) -> any",
    "From `start` up to, not with, `end`; negative positions count from the end, those outside are clipped.",
    "[1, 2, 3, 4] | slice(1, -1)",
    [2, 3],
)
def _slice(frame: Frame, of: Any, start: int, end: int = INT_MAX) -> Any:
    part = of[start:end]
    return part if isinstance(part, str) else list(part)


@LIST.add(
    "range(start: int, end?: int, step?: int) -> list",
    "The ints from `start` up to, not with, `end`; with one argument, from 0 up to it.",
    "range(2, 8, 3)",
    [2, 5],
    aliases=("lists.range",),
)
def _range(frame: Frame, start: int, end: int | None = None, step: int = 1) -> list[int]:
    if step == 0:
        raise ExprEvalError("EXP106", "the step of a range is not 0")
    numbers = range(start) if end is None else range(start, end, step)
    # `len` of a range refuses what does not fit into a machine word.
    count = max(0, (numbers.stop - numbers.start + step - (1 if step > 0 else -1)) // step)
    frame.charge(count)
    return list(numbers)


@LIST.add(
    "zip(items: list, others...: list) -> list",
    "Lists of the first items, the second items, and so on, as far as the shortest list goes.",
    "zip([1, 2], ['a', 'b'])",
    [[1, "a"], [2, "b"]],
)
def _zip(frame: Frame, *lists: Any) -> list[list[Any]]:
    return [list(group) for group in zip(*lists, strict=False)]


@LIST.add(
    "chunk(items: list, size: int) -> list",
    "In lists of so many items; the last may be shorter.",
    "[1, 2, 3] | chunk(2)",
    [[1, 2], [3]],
)
def _chunk(frame: Frame, items: Any, size: int) -> list[list[Any]]:
    if size < 1:
        raise ExprEvalError("EXP106", "a chunk has at least 1 item")
    return [list(items[start : start + size]) for start in range(0, len(items), size)]


@LIST.add("compact(items: list) -> list", "Without nulls.", "[1, null, 2] | compact", [1, 2])
def _compact(frame: Frame, items: Any) -> list[Any]:
    return [item for item in items if item is not None]


@LIST.add("count(items: list, value: any) -> int", "How many items equal the value.", "['a', 'b', 'a'] | count('a')", 2)
def _count(frame: Frame, items: Any, value: Any) -> int:
    return sum(equal(frame, item, value) for item in items)


@LIST.add(
    "union(items: list, others: list) -> list", "The items of both, none twice.", "[1, 2] | union([2, 3])", [1, 2, 3]
)
def _union(frame: Frame, items: Any, others: Any) -> list[Any]:
    return _without_repeats(frame, [*items, *others])


@LIST.add(
    "intersect(items: list, others: list) -> list",
    "The items that are in both, none twice.",
    "[1, 2] | intersect([2, 3])",
    [2],
)
def _intersect(frame: Frame, items: Any, others: Any) -> list[Any]:
    return [item for item in _without_repeats(frame, list(items)) if contains(frame, item, others)]


@LIST.add(
    "difference(items: list, others: list) -> list",
    "The items that are not in the other list.",
    "[1, 2] | difference([2, 3])",
    [1],
)
def _difference(frame: Frame, items: Any, others: Any) -> list[Any]:
    return [item for item in items if not contains(frame, item, others)]
