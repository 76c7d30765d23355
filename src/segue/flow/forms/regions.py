"""Finds the nodes that belong to an error boundary or a loop on the canvas, and makes blocks of them.

A node belongs to a container if the canvas says so (`parentId`), or if it is reached from the container's `body`
handle and not from where the container goes on. Inner containers are folded before outer ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from segue.flow import codes
from segue.flow.forms.node_settings import Made
from segue.flow.model import Block, Edge, Step
from segue.flow.reader import Reader

MAX_CONTAINERS: Final = 50
"""Loops and error boundaries of one graph: each costs a walk over all edges, and they may stand within each other."""
_LABELS: Final = {"do": "body", "catch": "error"}


def fold_regions(reader: Reader, made: dict[str, Made], edges: list[Edge]) -> tuple[list[Step], list[Edge]]:
    """The steps and edges of the root block, containers holding their blocks."""
    steps = {id: found.step for id, found in made.items()}
    containers = [id for id, found in made.items() if found.is_container]
    if len(containers) > MAX_CONTAINERS:
        message = f"{len(containers)} nodes hold others; at most {MAX_CONTAINERS} may"
        reader.problem(codes.TOO_LARGE, made[containers[MAX_CONTAINERS]].node, message)
        return list(steps.values()), edges
    for id in containers:
        edges = _without_way_back(edges, id)
    reach = {id: _reach([id], edges) for id in containers}
    for id in sorted(containers, key=lambda container: (_nesting(made, container), len(reach[container]))):
        if id in steps:
            edges = _fold(reader, made, steps, edges, id)
        else:
            reader.problem(codes.BAD_EDGE, made[id].node, f"{id} lies inside a node that lies inside {id}")
    return list(steps.values()), edges


def _without_way_back(edges: list[Edge], id: str) -> list[Edge]:
    """The edges without those that draw the end of a round, from inside a container back to it."""
    body = _reach([edge.target for edge in edges if edge.source == id and edge.label == "body"], edges, stop=id)
    after = _reach([edge.target for edge in edges if edge.source == id and edge.label is None], edges, stop=id)
    return [edge for edge in edges if edge.target != id or edge.source not in body - after]


def _nesting(made: dict[str, Made], id: str) -> int:
    """Minus the number of containers around a node, so that inner ones sort first."""
    depth = 0
    parent = made[id].parent
    seen = {id}
    while parent is not None and parent in made and parent not in seen:
        seen.add(parent)
        depth -= 1
        parent = made[parent].parent
    return depth


def _fold(reader: Reader, made: dict[str, Made], steps: dict[str, Step], edges: list[Edge], id: str) -> list[Edge]:
    children = {child for child, found in made.items() if found.parent == id and child in steps and child != id}
    roles = _LABELS if made[id].step.kind == "try" else {"do": "body"}
    starts = {
        role: [edge.target for edge in edges if edge.source == id and edge.label == label]
        for role, label in roles.items()
    }
    after = _reach([edge.target for edge in edges if edge.source == id and edge.label not in roles.values()], edges) - {
        id
    }
    regions: dict[str, set[str]] = {}
    taken: set[str] = set()
    for role in roles:
        others = [target for other, targets in starts.items() if other != role for target in targets]
        region = _reach(starts[role], edges) - after - {id} - taken
        if role == "do":
            region = (region - _reach(others, edges)) | children
        regions[role] = region & set(steps)
        taken |= regions[role]
    if not regions["do"]:
        hint = "connect its `body` handle to the first node inside"
        reader.problem(codes.EMPTY_BLOCK, made[id].node, f"nothing belongs to {id}", suggestion=hint)
    blocks, rest = _split(reader, made, steps, edges, id, regions)
    steps[id] = msgspec.structs.replace(steps[id], blocks=blocks)
    return rest


def _split(
    reader: Reader,
    made: dict[str, Made],
    steps: dict[str, Step],
    edges: list[Edge],
    id: str,
    regions: dict[str, set[str]],
) -> tuple[tuple[Block, ...], list[Edge]]:
    home = {node: role for role, region in regions.items() for node in region}
    inner: dict[str, list[Edge]] = {role: [] for role in regions}
    rest: dict[tuple[str, str, str | None, str | None], Edge] = {}
    for edge in edges:
        source, target = home.get(edge.source), home.get(edge.target)
        if source is not None and source == target:
            inner[source].append(edge)
            continue
        if source is None and target is None:
            kept = edge
        elif target is not None:
            if edge.source != id:
                message = f"the edge from {edge.source} leads into {id} from outside"
                reader.problem(codes.BAD_EDGE, made[edge.target].node, message)
            continue
        else:
            kept = Edge(id, edge.target)
        if kept.source != kept.target:
            rest.setdefault((kept.source, kept.target, kept.label, kept.when), kept)
    match = {block.label: block.match for block in steps[id].blocks}
    blocks = tuple(
        Block(
            label=role,
            steps=tuple(steps.pop(node) for node in list(steps) if node in region),
            edges=tuple(inner[role]),
            match=match.get(role, ()),
        )
        for role, region in regions.items()
        if region
    )
    return blocks, list(rest.values())


def _reach(starts: Iterable[str], edges: list[Edge], *, stop: str | None = None) -> set[str]:
    """The nodes that can be reached from some, those included; not past `stop`."""
    out: dict[str, list[str]] = {}
    for edge in edges:
        out.setdefault(edge.source, []).append(edge.target)
    found: set[str] = set()
    pending = list(starts)
    while pending:
        node = pending.pop()
        if node not in found and node != stop:
            found.add(node)
            pending += out.get(node, [])
    return found
