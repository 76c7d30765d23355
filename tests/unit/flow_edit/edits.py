"""Random edits of a flow, and what each must do to its graph: the model that real edits are compared with."""

from __future__ import annotations

import difflib
import random
from collections.abc import Callable
from copy import deepcopy
from typing import Any

from segue.flow.edit import (
    AddStep,
    After,
    Before,
    Edit,
    Graph,
    GraphNode,
    Into,
    MoveStep,
    RemoveStep,
    RenameStep,
    SetField,
    SetFlow,
    SetPosition,
    UnsetField,
)
from segue.flow.model import JsonValue

VALUES: tuple[Any, ...] = (
    "plain", "a: b", "# x", "two\nlines\n", "käse 🎉", "it's", "", "null", "12", 3, -1.5, True, None, "{{ 1 + 1 }}",
    {"deep": [1, "x: y"]}, ["a", {"b": "c\nd"}], {}, [], "tab\there", "\u2028", "trailing ", "$$",
)  # fmt: skip


class Expected:
    """Nodes by id as they must be after an edit: type, data, position, parent; and the flow's own keys."""

    def __init__(self, graph: Graph) -> None:
        self.nodes = {node.id: _fields(node) for node in graph.nodes}
        self.flow: dict[str, Any] = deepcopy(graph.flow)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Expected) and repr(_sorted(self.nodes)) == repr(_sorted(other.nodes))
            and repr(_sorted(self.flow)) == repr(_sorted(other.flow))
        )  # fmt: skip

    __hash__ = None  # pyright: ignore[reportAssignmentType]

    def difference(self, other: Expected) -> str:
        """The lines in which two of them differ, for a failing test's message."""
        one, two = (
            [f"{name}: {_sorted(value)!r}" for name, value in [*found.nodes.items(), ("flow", found.flow)]]
            for found in (self, other)
        )
        return "\n".join(difflib.unified_diff(one, two, "expected", "found", n=0, lineterm=""))


def _fields(node: GraphNode) -> dict[str, Any]:
    return {"type": node.type, "data": deepcopy(node.data), "position": node.position, "parent": node.parent}


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(child) for child in value] if isinstance(value, list) else value


def inside(graph: Graph, id: str) -> set[str]:
    """A node and all that stands in it."""
    found = {id}
    for node in graph.nodes:
        if node.parent in found:
            found.add(node.id)
    return found


class Draw:
    """Draws edits that fit a graph, and says what must come of them."""

    def __init__(self, rng: random.Random, graph: Graph) -> None:
        self.rng = rng
        self.graph = graph
        self.nodes = [node for node in graph.nodes if not node.type.startswith("flow.")]

    def node(self) -> GraphNode:
        return self.rng.choice(self.nodes)

    def edit(self, kinds: str = "fupstamr") -> tuple[Edit, Expected | None]:
        """An edit, and the graph's expected nodes (None: the edit's own test says what)."""
        draw: dict[str, Callable[[], tuple[Edit, Expected | None]]] = {
            "f": self.field, "u": self.unset, "p": self.position, "s": self.flow, "t": self.title, "a": self.add,
            "m": self.move, "r": self.remove, "n": self.rename,
        }  # fmt: skip
        return draw[self.rng.choice(kinds)]()

    def field(self) -> tuple[Edit, Expected]:
        """A new parameter, or another value for one that is there."""
        node, value = self.node(), deepcopy(self.rng.choice(VALUES))
        expected = Expected(self.graph)
        data = expected.nodes[node.id]["data"]
        params = data.get("params")
        if isinstance(params, dict) and params and self.rng.random() < 0.6:
            key = self.rng.choice([*params, "new key"])
            params[key] = value
            return SetField(node.id, ("params", key), value), expected
        key = self.rng.choice(("x-note", "x-new"))
        data[key] = value
        return SetField(node.id, (key,), value), expected

    def title(self) -> tuple[Edit, Expected]:
        node, value = self.node(), self.rng.choice(("A title", "With: colon", "mehr\nZeilen", "é # no comment"))
        expected = Expected(self.graph)
        expected.nodes[node.id]["data"]["title"] = value
        return SetField(node.id, ("title",), value), expected

    def unset(self) -> tuple[Edit, Expected]:
        choices = [
            (node, key) for node in self.nodes for key in node.data
            if key in ("title", "notes", "retry", "x-note", "output", "mock", "priority")
        ]  # fmt: skip
        if not choices:
            return self.position()
        node, key = self.rng.choice(choices)
        expected = Expected(self.graph)
        del expected.nodes[node.id]["data"][key]
        return UnsetField(node.id, (key,)), expected

    def position(self) -> tuple[Edit, Expected]:
        node, x, y = self.node(), self.rng.randrange(2000), self.rng.choice((0, 12.5, -40))
        expected = Expected(self.graph)
        expected.nodes[node.id]["position"] = {"x": x, "y": y}
        return SetPosition(node.id, x, y), expected

    def flow(self) -> tuple[Edit, Expected]:
        choices: tuple[tuple[str, JsonValue], ...] = (
            ("title", "T: x"),
            ("owner", "finance"),
            ("vars", {"a": 1}),
            ("x-z", ["a b"]),
        )
        key, value = self.rng.choice(choices)
        expected = Expected(self.graph)
        expected.flow[key] = value
        return SetFlow((key,), value), expected

    def add(self) -> tuple[Edit, Expected]:
        name = f"added_{self.rng.randrange(10**9)}"
        at = self.node()
        place = self.rng.choice((After(at.id), Before(at.id), Into()))
        expected = Expected(self.graph)
        parent = None if isinstance(place, Into) else at.parent
        data: dict[str, JsonValue] = {"params": {"text": "x: y"}, "title": "new"}
        expected.nodes[name] = {"type": "crm.find", "data": data, "position": None, "parent": parent}
        return AddStep({name: {"call": "crm.find", **data}}, place), expected

    def remove(self) -> tuple[Edit, Expected | None]:
        node = self.node()
        siblings = [other for other in self.nodes if other.parent == node.parent]
        if len(siblings) < 2:
            return self.position()
        return RemoveStep(node.id), None

    def move(self) -> tuple[Edit, Expected | None]:
        node = self.node()
        others = [other for other in self.nodes if other.id not in inside(self.graph, node.id)]
        if not others:
            return self.position()
        at = self.rng.choice(others)
        return MoveStep(node.id, self.rng.choice((After(at.id), Before(at.id)))), None

    def rename(self) -> tuple[Edit, Expected | None]:
        return RenameStep(self.node().id, f"renamed_{self.rng.randrange(10**9)}"), None


def hunks(old: str, new: str) -> int:
    """How many hunks `git diff` shows."""
    before, after = old.splitlines(keepends=True), new.splitlines(keepends=True)
    return sum(line.startswith("@@") for line in difflib.unified_diff(before, after, n=3))
