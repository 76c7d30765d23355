"""Already parsed JSON to a tree of values, and the bounds that every tree keeps."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Final, cast

from segue.flow import codes
from segue.flow.document import Document, Node
from segue.flow.problems import Problem

MAX_DEPTH: Final = 100
MAX_NODES: Final = 200_000
INT64: Final = 2**63


def tree_of(value: object, *, file: str | None = None) -> tuple[Document | None, list[Problem]]:
    """The document of an already parsed JSON value (an API body): the same tree without places."""
    try:
        root = _node_of(value, 0, Budget())
    except RefusedError as refused:
        return None, [Problem(code=refused.code, message=str(refused), file=file)]
    return Document(root, file=file), []


class RefusedError(Exception):
    """A value that no tree can hold; caught where reading begins."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Budget:
    """Counts values, so that neither aliases nor bodies grow without bound."""

    def __init__(self) -> None:
        self.left = MAX_NODES

    def take(self) -> None:
        """Count one value. Raises RefusedError when there are too many."""
        self.left -= 1
        if self.left < 0:
            raise RefusedError(codes.TOO_LARGE, f"more than {MAX_NODES:,} values (aliases count each time)")


def attach(parent: Node, node: Node, key: str | int, key_start: int, key_end: int) -> None:
    """Put a node into its parent, under a key or at the end of a list."""
    node.parent, node.key = parent, key
    node.key_start, node.key_end = key_start, key_end
    if isinstance(key, int):
        assert parent.items is not None
        parent.items.append(node)
    else:
        assert parent.entries is not None
        parent.entries[key] = node


def _node_of(value: object, depth: int, budget: Budget) -> Node:
    budget.take()
    if depth > MAX_DEPTH:
        raise RefusedError(codes.TOO_LARGE, f"the value nests deeper than {MAX_DEPTH} levels")
    if value is None or isinstance(value, (bool, str)):
        return Node(value)
    if isinstance(value, int):
        if not -INT64 <= value < INT64:
            raise RefusedError(codes.NUMBER, "an integer does not fit 64 bits; send long ids as text")
        return Node(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise RefusedError(codes.NUMBER, "a number is not finite")
        return Node(value)
    if isinstance(value, (list, tuple)):
        node = Node(items=[])
        for index, child in enumerate(cast("list[object]", value)):
            attach(node, _node_of(child, depth + 1, budget), index, -1, -1)
        return node
    if isinstance(value, Mapping):
        node = Node(entries={})
        for key, child in cast("Mapping[object, object]", value).items():
            if not isinstance(key, str):
                raise RefusedError(codes.WRONG_TYPE, f"a key is text, not {type(key).__name__}")
            attach(node, _node_of(child, depth + 1, budget), key, -1, -1)
        return node
    raise RefusedError(codes.WRONG_TYPE, f"a {type(value).__name__} is not a JSON value")


def read_json(text: str, file: str | None, yaml_problems: list[Problem]) -> tuple[Document | None, list[Problem]]:
    """JSON that libyaml does not take (surrogate escapes, very long keys): the same tree, without places."""
    duplicates: list[str] = []

    def pairs(found: list[tuple[str, object]]) -> dict[str, object]:
        entries: dict[str, object] = {}
        for key, value in found:
            if key in entries:
                duplicates.append(key)
            entries.setdefault(key, value)
        return entries

    try:
        value: object = json.loads(text, object_pairs_hook=pairs)
    except json.JSONDecodeError as error:
        if re.match(r"\s*[\[{]\s*[\"\[{]", text) is None:
            return None, yaml_problems
        if any(problem.patch is not None for problem in yaml_problems):
            return None, yaml_problems
        size = len(text.rstrip())
        place = min(error.pos, max(0, size - 1))
        message = f"JSON: {error.msg}" if error.pos < size else "JSON: the text ends before its last bracket is closed"
        span = Document(Node(), text=text).span_at(place, place + 1)
        return None, [Problem(code=codes.SYNTAX, message=message, file=file, span=span)]
    except (RecursionError, ValueError):
        return None, yaml_problems
    document, problems = tree_of(value, file=file)
    for key in duplicates:
        problems.append(Problem(code=codes.DUPLICATE_KEY, message=f'the key "{key[:60]}" stands twice', file=file))
    return document, problems
