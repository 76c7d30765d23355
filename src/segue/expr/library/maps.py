"""Functions of maps. None changes its argument; the order of entries is kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from segue.expr.budget import VALUE_DEPTH_MAX
from segue.expr.errors import ExprEvalError
from segue.expr.frame import Frame
from segue.expr.library.table import Table
from segue.expr.ops import index, is_key, is_list, is_map, keys_of, literal_key, map_key, select, too_deep_value

MAP: Final = Table("map")


@MAP.add("keys(of: map) -> list", "The keys.", "{'a': 1, 'b': 2} | keys", ["a", "b"])
def _keys(frame: Frame, of: Any) -> list[Any]:
    return list(keys_of(of))


@MAP.add("values(of: map) -> list", "The values.", "{'a': 1, 'b': 2} | values", [1, 2])
def _values(frame: Frame, of: Any) -> list[Any]:
    return list(of.values())


@MAP.add(
    "entries(of: map) -> list", "A `{key, value}` for each entry.", "{'a': 1} | entries", [{"key": "a", "value": 1}]
)
def _entries(frame: Frame, of: Any) -> list[dict[str, Any]]:
    return [{"key": key, "value": value} for key, value in zip(keys_of(of), of.values(), strict=True)]


@MAP.add(
    "fromEntries(entries: list) -> map",
    "The map of `{key, value}` maps or `[key, value]` lists; of two with the same key the later stays.",
    "[['a', 1], {'key': 'b', 'value': 2}] | fromEntries",
    {"a": 1, "b": 2},
)
def _from_entries(frame: Frame, entries: Any) -> dict[Any, Any]:
    made: dict[Any, Any] = {}
    for entry in entries:
        if is_list(entry) and len(entry) == 2:
            made[literal_key(entry[0])] = entry[1]
        elif is_map(entry) and "key" in entry:
            made[literal_key(entry["key"])] = entry.get("value")
        else:
            raise ExprEvalError("EXP103", "an entry is a `{key, value}` map or a `[key, value]` list")
    return made


@MAP.add(
    "merge(of: map, others...: map) -> map",
    "One map of all entries; of the same key the last map's stays.",
    "{'a': 1, 'b': 2} | merge({'b': 3})",
    {"a": 1, "b": 3},
)
def _merge(frame: Frame, *maps: Any) -> dict[Any, Any]:
    made: dict[Any, Any] = {}
    for one in maps:
        made.update(one)
    return made


@MAP.add(
    "deepMerge(of: map, other: map) -> map",
    "As `merge`, but where both have a map under the same key, these are merged too.",
    "{'a': {'x': 1}} | deepMerge({'a': {'y': 2}})",
    {"a": {"x": 1, "y": 2}},
)
def _deep_merge(frame: Frame, of: Any, other: Any) -> dict[Any, Any]:
    return _merged(frame, of, other, 0)


def _merged(frame: Frame, of: Mapping[Any, Any], other: Mapping[Any, Any], depth: int) -> dict[Any, Any]:
    if depth > VALUE_DEPTH_MAX:
        raise too_deep_value()
    frame.charge(len(of) + len(other))
    made = dict(of)
    for key, value in other.items():
        mine = made.get(key)
        made[key] = _merged(frame, mine, value, depth + 1) if is_map(mine) and is_map(value) else value
    return made


def _wanted(keys: tuple[Any, ...]) -> set[Any]:
    """The keys named one by one, or in lists."""
    named = [key for one in keys for key in (one if is_list(one) else (one,))]
    return {map_key(key) for key in named if is_key(key)}


@MAP.add(
    "pick(of: map, keys...: string|int|bool|list) -> map",
    "Only the entries with these keys.",
    "{'a': 1, 'b': 2, 'c': 3} | pick('a', 'c')",
    {"a": 1, "c": 3},
)
def _pick(frame: Frame, of: Any, *keys: Any) -> dict[Any, Any]:
    wanted = _wanted(keys)
    return {key: value for key, value in of.items() if key in wanted}


@MAP.add(
    "omit(of: map, keys...: string|int|bool|list) -> map",
    "Without the entries with these keys.",
    "{'a': 1, 'b': 2, 'c': 3} | omit(['a', 'c'])",
    {"b": 2},
)
def _omit(frame: Frame, of: Any, *keys: Any) -> dict[Any, Any]:
    unwanted = _wanted(keys)
    return {key: value for key, value in of.items() if key not in unwanted}


@MAP.add(
    "get(of: map|list, path: string, fallback?: any) -> any",
    "What a path such as `items.0.name` leads to; the fallback (or null) if there is nothing.",
    "{'items': [{'name': 'x'}]} | get('items.0.name')",
    "x",
    constant_time=True,
)
def _get(frame: Frame, of: Any, path: str, fallback: Any = None) -> Any:
    parts = path.split(".")
    frame.charge(len(parts))
    for part in parts:
        if is_list(of):
            of = index(of, int(part)) if part.isascii() and part.isdigit() and len(part) < 19 else None
        else:
            of = select(of, part)
    return fallback if of is None else of


@MAP.add(
    "with(of: map, key: string|int|bool, value: any) -> map",
    "With that entry added or replaced.",
    "{'a': 1}.with('b', 2)",
    {"a": 1, "b": 2},
)
def _with(frame: Frame, of: Any, key: Any, value: Any) -> dict[Any, Any]:
    return {**of, literal_key(key): value}
