"""CEL's macros over lists and maps, as closures. A map is walked by its keys; a macro over null is null.

Source: the CEL language definition, "Macros", and its extension "Two-variable comprehensions". Each iteration pays for
the nodes of its body, so that nested macros end at the budget however they are nested.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, TypeAlias

from segue.expr import ast
from segue.expr.errors import ExprEvalError
from segue.expr.frame import Frame
from segue.expr.ops import is_list, is_map, keys_of, literal_key, sorted_by
from segue.expr.types import OptionalValue, spoken

Run: TypeAlias = Callable[[Frame], Any]
Slots: TypeAlias = tuple[int, ...]
MacroCompiler: TypeAlias = Callable[[ast.Macro, Run, Slots, Run | None, Run | None, int], Run]


def truth(frame: Frame, value: object, start: int, end: int) -> bool:
    """A value where a condition stands: null counts as false and is noted, anything else but a boolean is an error."""
    if value is True or value is False:
        return value
    if value is None:
        frame.null_as_false = True
        return False
    raise ExprEvalError(
        "EXP102",
        f"a condition is true or false, not {spoken(value)}",
        start=start,
        end=end,
        suggestion="compare it, as in `… != null` or `size(…) > 0`",
    )


def _walker(node: ast.Macro, slots: Slots, cost: int) -> Callable[[Frame, Any], Iterator[object]]:
    """Iterate over a collection: sets the variables and charges the body; yields the item (or key)."""
    first = slots[0]
    second = slots[1] if len(slots) > 1 else -1
    start, end = node.source.start, node.source.end

    def walk(frame: Frame, collection: Any) -> Iterator[object]:
        for key, item in _pairs(collection, second >= 0, start, end):
            frame.left -= cost
            if frame.left < 0:
                frame.charge(0)
            frame.slots[first] = key
            if second >= 0:
                frame.slots[second] = item
            yield key

    return walk


def _pairs(collection: Any, two: bool, start: int, end: int) -> Iterable[tuple[Any, Any]]:
    if is_list(collection):
        return enumerate(collection) if two else ((item, None) for item in collection)
    if is_map(collection):
        if two:
            return zip(keys_of(collection), collection.values(), strict=True)
        return ((key, None) for key in keys_of(collection))
    raise ExprEvalError("EXP102", f"macros work on lists and maps, not on {spoken(collection)}", start=start, end=end)


def _quantifier(decisive: bool) -> MacroCompiler:
    """`all` (an item that is false decides) and `exists` (one that is true does); else an error of any item stands."""

    def compile_(node: ast.Macro, source: Run, slots: Slots, predicate: Run | None, body: Run | None, cost: int) -> Run:
        assert predicate is not None
        walk = _walker(node, slots, cost)
        start, end = _place(node.predicate)

        def run(frame: Frame) -> bool | None:
            collection = source(frame)
            if collection is None:
                return None
            failure: ExprEvalError | None = None
            for _ in walk(frame, collection):
                try:
                    found = truth(frame, predicate(frame), start, end)
                except ExprEvalError as error:
                    failure = failure or error
                    continue
                if found is decisive:
                    return decisive
            if failure is not None:
                raise failure
            return not decisive

        return run

    return compile_


def _exists_one(node: ast.Macro, source: Run, slots: Slots, predicate: Run | None, body: Run | None, cost: int) -> Run:
    assert predicate is not None
    walk = _walker(node, slots, cost)
    start, end = _place(node.predicate)

    def run(frame: Frame) -> bool | None:
        collection = source(frame)
        if collection is None:
            return None
        # No early end: an error in a later item is an error of the whole, as CEL has it.
        return sum(truth(frame, predicate(frame), start, end) for _ in walk(frame, collection)) == 1

    return run


def _filter(node: ast.Macro, source: Run, slots: Slots, predicate: Run | None, body: Run | None, cost: int) -> Run:
    assert predicate is not None
    walk = _walker(node, slots, cost)
    start, end = _place(node.predicate)

    def run(frame: Frame) -> list[Any] | None:
        collection = source(frame)
        if collection is None:
            return None
        return [item for item in walk(frame, collection) if truth(frame, predicate(frame), start, end)]

    return run


def _map(node: ast.Macro, source: Run, slots: Slots, predicate: Run | None, body: Run | None, cost: int) -> Run:
    """`map` and `transformList`: the body's value of each item that passes the filter."""
    assert body is not None
    walk = _walker(node, slots, cost)
    start, end = _place(node.predicate)

    def run(frame: Frame) -> list[Any] | None:
        collection = source(frame)
        if collection is None:
            return None
        if predicate is None:
            return [body(frame) for _ in walk(frame, collection)]
        return [body(frame) for _ in walk(frame, collection) if truth(frame, predicate(frame), start, end)]

    return run


def _transform_map(
    node: ast.Macro, source: Run, slots: Slots, predicate: Run | None, body: Run | None, cost: int
) -> Run:
    assert body is not None
    walk = _walker(node, slots, cost)
    start, end = _place(node.predicate)

    def run(frame: Frame) -> dict[Any, Any] | None:
        collection = source(frame)
        if collection is None:
            return None
        return {
            literal_key(key): body(frame)
            for key in walk(frame, collection)
            if predicate is None or truth(frame, predicate(frame), start, end)
        }

    return run


def _transform_map_entry(
    node: ast.Macro, source: Run, slots: Slots, predicate: Run | None, body: Run | None, cost: int
) -> Run:
    """One map of the entries that the body gives, as maps; a key that two of them have is an error."""
    assert body is not None
    walk = _walker(node, slots, cost)
    start, end = _place(node.predicate)
    body_start, body_end = _place(node.body)

    def run(frame: Frame) -> dict[Any, Any] | None:
        collection = source(frame)
        if collection is None:
            return None
        made: dict[Any, Any] = {}
        for _ in walk(frame, collection):
            if predicate is not None and not truth(frame, predicate(frame), start, end):
                continue
            entries = body(frame)
            if not is_map(entries):
                message = f"`transformMapEntry` makes maps, not {spoken(entries)}"
                raise ExprEvalError("EXP102", message, start=body_start, end=body_end)
            frame.charge(len(entries))
            if not made.keys().isdisjoint(entries):
                raise ExprEvalError("EXP111", "a map key is repeated", start=body_start, end=body_end)
            made.update(entries)
        return made

    return run


def _sort_by(node: ast.Macro, source: Run, slots: Slots, predicate: Run | None, body: Run | None, cost: int) -> Run:
    """`sortBy(item, key)`: in ascending order of what the body gives."""
    assert body is not None
    walk = _walker(node, slots, cost)
    start, end = _place(node.body)

    def run(frame: Frame) -> list[Any] | None:
        collection = source(frame)
        if collection is None:
            return None
        items: list[Any] = []
        keys: list[Any] = []
        for item in walk(frame, collection):
            items.append(item)
            keys.append(body(frame))
        try:
            return sorted_by(frame, items, keys)
        except ExprEvalError as error:
            error.locate(start, end)
            raise

    return run


def _bind(node: ast.Macro, source: Run, slots: Slots, predicate: Run | None, body: Run | None, cost: int) -> Run:
    """`cel.bind`: the value is computed once, and its name stands for it in the body."""
    assert body is not None
    (slot,) = slots

    def run(frame: Frame) -> Any:
        frame.slots[slot] = source(frame)
        frame.charge(cost)
        return body(frame)

    return run


def _optional_map(flat: bool) -> MacroCompiler:
    """`optMap` (the body gives the new value) and `optFlatMap` (it gives an optional): of nothing, nothing is made."""

    def compile_(node: ast.Macro, source: Run, slots: Slots, predicate: Run | None, body: Run | None, cost: int) -> Run:
        assert body is not None
        (slot,) = slots
        start, end = node.start, node.end

        def run(frame: Frame) -> OptionalValue | None:
            optional = source(frame)
            if optional is None:
                return None
            if not isinstance(optional, OptionalValue):
                message = f"`{node.kind}` works on an optional, not on {spoken(optional)}"
                raise ExprEvalError("EXP102", message, start=start, end=end)
            if not optional.present:
                return optional
            frame.charge(cost)
            frame.slots[slot] = optional.value
            made = body(frame)
            if not flat:
                return OptionalValue(True, made)
            if not isinstance(made, OptionalValue):
                message = f"`optFlatMap` makes an optional, not {spoken(made)}"
                raise ExprEvalError("EXP102", message, start=start, end=end, suggestion="write `optMap`")
            return made

        return run

    return compile_


def _place(node: ast.Expr | None) -> tuple[int, int]:
    return (node.start, node.end) if node is not None else (-1, -1)


MACRO_COMPILERS: Final[dict[str, MacroCompiler]] = {
    "all": _quantifier(decisive=False),
    "exists": _quantifier(decisive=True),
    "exists_one": _exists_one,
    "filter": _filter,
    "map": _map,
    "transformList": _map,
    "transformMap": _transform_map,
    "transformMapEntry": _transform_map_entry,
    "sortBy": _sort_by,
    "bind": _bind,
    "optMap": _optional_map(flat=False),
    "optFlatMap": _optional_map(flat=True),
}
