"""Rebuilt flows: steps that move between branches, boxes that are put around steps or taken away, all at once."""

from __future__ import annotations

import random
from typing import Any

from segue.flow import ReadResult, read_document
from segue.flow.edit import graph_of
from segue.flow.edit.outline import is_text_case

_LISTS = ("steps", "then", "else", "do", "catch", "finally", "default", "branches", "parallel", "race", "try", "cases")
_VALUES = frozenset(("params", "vars", "x-extra", "definitions", "layout", "mock", "default", "x-note", "set", "map"))


def rebuilt(read: ReadResult, rng: random.Random, changes: int) -> ReadResult | None:
    """The flow after some changes to its tree; None if it does not read without errors then."""
    assert read.document is not None
    cases = {handle for edge in graph_of(read).edges if (handle := edge.source_handle or "").startswith("case:")}
    if any(not is_text_case(handle.removeprefix("case:")) for handle in cases):
        return None  # a parsed body does not say whether `2` was written in quotes
    root: Any = read.document.root.plain()
    for _ in range(changes):
        lists: list[list[Any]] = []
        _collect(root, lists)
        if not lists:
            return None
        rng.choice((_swap, _move, _wrap, _unwrap, _add, _remove, _turn))(rng, lists)
    made = read_document(root)
    return None if made.flow is None or made.has_errors else made


def _collect(value: Any, lists: list[list[Any]]) -> None:
    """Every list of steps below a value."""
    if isinstance(value, dict):
        for key, child in value.items():
            if key in _LISTS and isinstance(child, list):
                lists.append(child)
            if key == "cases" and isinstance(child, dict):
                lists.extend(inner for inner in child.values() if isinstance(inner, list))
            if key not in (
                "params",
                "vars",
                "x-extra",
                "definitions",
                "layout",
                "mock",
                "default",
                "x-note",
                "set",
                "map",
            ):
                _collect(child, lists)
    elif isinstance(value, list):
        for child in value:
            _collect(child, lists)


def _swap(rng: random.Random, lists: list[list[Any]]) -> None:
    home = rng.choice(lists)
    rng.shuffle(home)


def _move(rng: random.Random, lists: list[list[Any]]) -> None:
    home = rng.choice([found for found in lists if len(found) > 1] or lists)
    if len(home) < 2:
        return
    item = home.pop(rng.randrange(len(home)))
    inside: list[list[Any]] = []
    _collect({"steps": [item]}, inside)
    others = [found for found in lists if not any(found is other for other in inside[1:])]
    other = rng.choice(others)
    other.insert(rng.randrange(len(other) + 1), item)


def _wrap(rng: random.Random, lists: list[list[Any]]) -> None:
    home = rng.choice(lists)
    start = rng.randrange(len(home)) if home else 0
    end = rng.randrange(start, len(home)) + 1 if home else 0
    if start < end:
        inner = home[start:end]
        box = {"if": "1 < 2", "then": inner} if rng.random() < 0.6 else {"parallel": [inner, ["other"]]}
        home[start:end] = [{f"box{rng.randrange(10**6)}": box}]


def _unwrap(rng: random.Random, lists: list[list[Any]]) -> None:
    home = rng.choice(lists)
    for index, item in enumerate(home):
        inner: list[list[Any]] = []
        _collect({"steps": [item]}, inner)
        if len(inner) > 1:
            home[index : index + 1] = inner[1]
            return


def _add(rng: random.Random, lists: list[list[Any]]) -> None:
    home = rng.choice(lists)
    home.insert(rng.randrange(len(home) + 1), {f"new{rng.randrange(10**6)}": {"call": "crm.find", "params": {"a": 1}}})


def _remove(rng: random.Random, lists: list[list[Any]]) -> None:
    home = rng.choice(lists)
    if len(home) > 1:
        home.pop(rng.randrange(len(home)))


def _turn(rng: random.Random, lists: list[list[Any]]) -> None:
    """Lets a step wait for the first of its block instead of the one before it."""
    home = rng.choice(lists)
    if len(home) > 2 and isinstance(home[0], dict) and isinstance(home[-1], dict) and len(home[0]) == 1:
        name = next(iter(home[0]))
        if name not in ("parallel", "race", "if", "switch", "foreach", "repeat", "try", "log", "http", "wait"):
            home[-1] = {**home[-1], "needs": [name]}
