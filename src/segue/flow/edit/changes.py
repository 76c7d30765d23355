"""Changes to a document's tree, as data: what `spans` turns into patches of the text, and what the text must then read
as.

Paths count in the tree before the changes, so several of them may be made at once; they must not touch each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import deepcopy
from typing import TypeAlias

import msgspec

from segue.errors import RequestError
from segue.flow.document import Node, join_path
from segue.flow.model import JsonValue

Path: TypeAlias = tuple[str | int, ...]


class Put(msgspec.Struct, frozen=True):
    """The value at `path` becomes `value`. A map's new key comes after the key `after`, first if that
    is "", else last.
    """

    path: Path
    value: JsonValue
    after: str | None = None


class Drop(msgspec.Struct, frozen=True):
    """A map's key or a list's item goes."""

    path: Path
    with_lead: bool = False
    """Whether the comment lines right above it go too."""


class Insert(msgspec.Struct, frozen=True):
    """A new item of the list at `path`, before the item that has `index` now."""

    path: Path
    index: int
    value: JsonValue
    source: Path | None = None
    """Where the same value stands already: its text is taken over, comments and all."""


class RenameKey(msgspec.Struct, frozen=True):
    """A key's other name. Its place and its value stay."""

    path: Path
    name: str


class Wrap(msgspec.Struct, frozen=True):
    """The value at `path` becomes a list: itself, with its text, between others."""

    path: Path
    before: tuple[JsonValue, ...] = ()
    after: tuple[JsonValue, ...] = ()


Change: TypeAlias = Put | Drop | Insert | RenameKey | Wrap


def node_at(root: Node, path: Path) -> Node:
    """The node at a path. Raises RequestError if there is none."""
    node = root
    for part in path:
        child: Node | None = None
        if isinstance(part, str):
            child = node.get(part)
        elif node.items is not None and 0 <= part < len(node.items):
            child = node.items[part]
        if child is None:
            raise RequestError(
                f"{join_path('', *path)} is not in this flow; read the flow again and edit what is there"
            )
        node = child
    return node


def path_of(node: Node) -> Path:
    """The keys and indexes from the root to the node."""
    keys: list[str | int] = []
    at: Node | None = node
    while at is not None and at.key is not None:
        keys.append(at.key)
        at = at.parent
    return tuple(reversed(keys))


def changed(root: JsonValue, changes: Iterable[Change]) -> JsonValue:
    """The plain tree after the changes; `root` itself is changed. Raises RequestError if one has no place."""
    holder: dict[str, JsonValue] = {"root": root}
    homes: dict[int, tuple[JsonValue, list[Change]]] = {}
    for change in changes:
        path: Path = ("root", *change.path)
        home = _at(holder, path if isinstance(change, Insert) else path[:-1])
        homes.setdefault(id(home), (home, []))[1].append(change)
    for home, found in homes.values():
        if isinstance(home, dict):
            _change_map(home, found)
        elif isinstance(home, list):
            _change_list(home, found)
        else:
            raise RequestError(f"{join_path('', *found[0].path)} has no place: what should hold it is a single value")
    return holder["root"]


def _at(value: JsonValue, path: Sequence[str | int]) -> JsonValue:
    for part in path:
        found: JsonValue = None
        is_there = False
        if isinstance(value, dict):
            is_there = part in value
            found = value.get(part) if isinstance(part, str) else None
        elif isinstance(value, list) and isinstance(part, int) and 0 <= part < len(value):
            is_there, found = True, value[part]
        if not is_there:
            raise RequestError(f"{join_path('', *path[1:])} is not in this flow; read the flow again")
        value = found
    return value


def _change_map(home: dict[str, JsonValue], changes: list[Change]) -> None:
    for change in changes:
        key = "root" if not change.path else change.path[-1]
        assert isinstance(key, str), "a map's keys are text"
        if isinstance(change, Drop):
            del home[key]
        elif isinstance(change, Wrap):
            home[key] = [*change.before, home[key], *change.after]
        elif isinstance(change, RenameKey):
            if change.name in home and change.name != key:
                raise RequestError(f'the key "{change.name}" is there already, beside "{key}"')
            pairs = [(change.name if name == key else name, child) for name, child in home.items()]
            home.clear()
            home.update(pairs)
        elif isinstance(change, Put):
            is_new = key not in home
            home[key] = deepcopy(change.value)
            if is_new and change.after is not None and (change.after in home or change.after == ""):
                names = [name for name in home if name != key]
                names.insert(names.index(change.after) + 1 if change.after else 0, key)
                pairs = [(name, home[name]) for name in names]
                home.clear()
                home.update(pairs)


def _change_list(home: list[JsonValue], changes: list[Change]) -> None:
    before: dict[int, list[JsonValue]] = {}
    dropped: set[int] = set()
    for change in changes:
        if isinstance(change, Insert):
            before.setdefault(min(change.index, len(home)), []).append(deepcopy(change.value))
            continue
        index = change.path[-1]
        if not isinstance(index, int) or not 0 <= index < len(home):
            raise RequestError(f"{join_path('', *change.path)} is not in this flow; read the flow again")
        if isinstance(change, Drop):
            dropped.add(index)
        elif isinstance(change, Put):
            home[index] = deepcopy(change.value)
        elif isinstance(change, Wrap):
            home[index] = [*change.before, home[index], *change.after]
    made: list[JsonValue] = []
    for index, item in enumerate(home):
        made += before.get(index, [])
        if index not in dropped:
            made.append(item)
    home[:] = [*made, *before.get(len(home), [])]


def same(one: JsonValue, other: JsonValue) -> bool:
    """Whether two trees are the same: types of scalars and the order of keys included."""
    if isinstance(one, dict):
        return (
            isinstance(other, dict)
            and len(one) == len(other)
            and all(
                key == twin and same(child, other[twin]) for (key, child), twin in zip(one.items(), other, strict=True)
            )
        )
    if isinstance(one, list):
        return (
            isinstance(other, list)
            and len(one) == len(other)
            and all(same(child, twin) for child, twin in zip(one, other, strict=True))
        )
    return type(one) is type(other) and one == other


def difference(old: JsonValue, new: JsonValue, path: Path = ()) -> list[Change]:
    """The smallest set of changes, by value, that makes one tree of the other."""
    if same(old, new):
        return []
    if isinstance(old, dict) and isinstance(new, dict) and old and new:
        return _map_difference(old, new, path)
    if isinstance(old, list) and isinstance(new, list) and old and new:
        return _list_difference(old, new, path)
    return [Put(path, new)]


def _map_difference(old: dict[str, JsonValue], new: dict[str, JsonValue], path: Path) -> list[Change]:
    kept = [key for key in old if key in new]
    if not kept or [key for key in new if key in old] != kept:
        return [Put(path, new)]
    found: list[Change] = []
    before: str | None = None
    last = kept[-1]
    is_tail = False
    for key, child in new.items():
        if key in old:
            found += difference(old[key], child, (*path, key))
            before, is_tail = key, key == last
        elif is_tail and last == next(reversed(old)):
            found.append(Put((*path, key), child))
        else:
            # Between the old keys a new one needs its neighbour named; two such in a row do not fit in one go.
            before = "" if before is None else before
            if any(isinstance(other, Put) and other.after == before for other in found):
                return [Put(path, new)]
            found.append(Put((*path, key), child, before))
    return found + [Drop((*path, key)) for key in old if key not in new]


def _list_difference(old: list[JsonValue], new: list[JsonValue], path: Path) -> list[Change]:
    start = 0
    while start < min(len(old), len(new)) and same(old[start], new[start]):
        start += 1
    end = 0
    while end < min(len(old), len(new)) - start and same(old[-1 - end], new[-1 - end]):
        end += 1
    middle, wanted = old[start : len(old) - end], new[start : len(new) - end]
    if len(middle) == len(wanted):
        pairs = enumerate(zip(middle, wanted, strict=True), start)
        return [change for index, (one, other) in pairs for change in difference(one, other, (*path, index))]
    if not middle:
        return [Insert(path, start, value) for value in wanted]
    if not wanted and len(middle) < len(old):
        return [Drop((*path, start + index)) for index in range(len(middle))]
    return [Put(path, new)]


def reads_as(node: Node, value: JsonValue) -> bool:
    """`same`, for a tree that was just read."""
    if node.entries is not None:
        return (
            isinstance(value, dict)
            and len(node.entries) == len(value)
            and all(
                key == twin and reads_as(child, value[twin])
                for (key, child), twin in zip(node.entries.items(), value, strict=True)
            )
        )
    if node.items is not None:
        return (
            isinstance(value, list)
            and len(node.items) == len(value)
            and all(reads_as(child, twin) for child, twin in zip(node.items, value, strict=True))
        )
    return type(node.scalar) is type(value) and node.scalar == value
