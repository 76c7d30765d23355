"""Reads a canvas graph: `{nodes: [{id, type, position, data}], edges: [{source, target, sourceHandle, label}]}`.

Document B's nodes keep their settings under `data.config`, document A's in `data`; bare numbers are milliseconds here.
Nodes become steps of one block and edges stay edges. Only `ErrorBoundary`, `foreach` and `repeat` nodes own others:
those behind their `body` handle (`forms/regions.py`).
"""

from __future__ import annotations

from typing import Any, Final

from segue.flow import codes
from segue.flow.document import Node, join_path
from segue.flow.forms.header import read_header
from segue.flow.forms.node_settings import Made
from segue.flow.forms.nodes import read_node
from segue.flow.forms.regions import fold_regions
from segue.flow.forms.sequence import take_definitions
from segue.flow.forms.steps import read_block
from segue.flow.model import Block, Edge, Flow, JsonValue, RawMap
from segue.flow.nearest import suggested
from segue.flow.reader import Reader, first_of
from segue.flow.verbs import FLOW_KEYS

_GRAPH_KEYS: Final = frozenset(("definition", "graph", "viewport", "metadata", "inputs", "settings", "idempotencyKey"))
_ERROR_HANDLES: Final = frozenset(("error", "onError", "on_error", "failure", "catch"))
_BODY_HANDLES: Final = frozenset(("body", "do", "loop", "try"))
_DONE_HANDLES: Final = frozenset(("done", "next", "after"))
_SAME_LABEL: Final = {
    "true": "then", "yes": "then", "if": "then", "false": "else", "no": "else", "otherwise": "else",
}  # fmt: skip


def read_graph(reader: Reader, root: Node) -> Flow:
    """The flow of a document with `nodes` and `edges`, at its top, under `definition` or under `graph`."""
    entries = dict(root.entries or {})
    wrapper = root if "nodes" in entries else first_of(entries, "definition", "graph") or root
    inner = wrapper.entries or {}
    header = {
        key: child
        for key, child in {**inner, **entries}.items()
        if key not in ("nodes", "edges", "definition", "graph")
    }
    reader.check_keys(entries, {*FLOW_KEYS, *_GRAPH_KEYS}, "a flow")
    if isinstance((version := header.get("version")) and version.scalar, (int, float)):
        del header["version"]  # the format's version, as document A's editor writes it
    take_definitions(reader, header)
    made = _read_nodes(reader, inner.get("nodes"), wrapper)
    edges = _read_edges(reader, inner.get("edges"), made)
    steps, edges = fold_regions(reader, made, edges)
    if not made and not (inner.get("nodes") or Node()).items:
        reader.problem(codes.NO_STEPS, inner.get("nodes") or root, "the graph has no nodes", at_key=True)
    block = Block(label="root", steps=tuple(steps), edges=tuple(edges), span=reader.document.span(inner.get("nodes")))
    fields: dict[str, Any] = read_header(reader, header, read_block)
    fields["layout"] = {**fields.get("layout", {}), **_layout(inner, made)}
    return Flow(root=block, form="graph", **fields)


def _read_nodes(reader: Reader, node: Node | None, root: Node) -> dict[str, Made]:
    if node is None or node.items is None:
        reader.wrong_type(node or root, "nodes", "a list")
        return {}
    made: dict[str, Made] = {}
    for index, item in enumerate(node.items):
        if not reader.take_step(item):
            break
        found = read_node(reader, item, join_path(root.path(), "nodes", index))
        if found is None:
            continue
        if found.step.id in made:
            message = f'two nodes have the id "{found.step.id[:60]}"'
            reader.problem(codes.DUPLICATE_STEP, item.get("id") or item, message)
            continue
        made[found.step.id] = found
    return made


def _read_edges(reader: Reader, node: Node | None, made: dict[str, Made]) -> list[Edge]:
    if node is None or node.is_null:
        return []
    if node.items is None:
        reader.wrong_type(node, "edges", "a list")
        return []
    edges: dict[tuple[str, str, str | None, str | None], Edge] = {}
    for item in node.items:
        edge = _read_edge(reader, item, made)
        if edge is not None:
            edges.setdefault((edge.source, edge.target, edge.label, edge.when), edge)
    return list(edges.values())


def _read_edge(reader: Reader, item: Node, made: dict[str, Made]) -> Edge | None:
    entries = reader.map_of(item, "an edge")
    if entries is None:
        return None
    ends: list[str] = []
    for key, other in (("source", "from"), ("target", "to")):
        end = first_of(entries, key, other)
        if end is None or end.is_null:
            reader.missing(item, "an edge", key)
            return None
        name = reader.name(end, key)
        if name is None:
            return None
        if name not in made:
            meant = reader.unknown_step(end, name, made, "is the id of no node")
            if len(meant) != 1:
                return None
            name = meant[0]
        ends.append(name)
    source, target = ends
    when = _edge_condition(reader, entries, made[source].step.path, target)
    label = _edge_label(reader, item, entries, made[source])
    return Edge(source, target, label, when)


def _edge_condition(reader: Reader, entries: dict[str, Node], path: str, target: str) -> str | None:
    data = entries.get("data") or Node(entries={})
    node = first_of(entries, "when", "condition") or first_of(data.entries or {}, "when", "condition")
    if node is None or node.is_null or node.text == "":
        return None
    reader.place(path, f"edge to {target}", node)
    return reader.expression(node, "when")


def _edge_label(reader: Reader, item: Node, entries: dict[str, Node], source: Made) -> str | None:
    """The label in the model's words. On nodes that do not choose, handles other than `error` are only drawing."""
    data = entries.get("data") or Node(entries={})
    written = [
        node.text
        for node in (entries.get("sourceHandle"), entries.get("label"), (data.entries or {}).get("label"))
        if node is not None and node.text
    ]
    labels = source.labels
    for word in written:
        if source.is_container and word in _BODY_HANDLES:
            return "body"
        if word in _ERROR_HANDLES and "error" not in labels:
            return "error"
        if source.is_container and word in _DONE_HANDLES:
            return None
        for candidate in (word, f"case:{word}", _SAME_LABEL.get(word.lower(), "")):
            if candidate in labels:
                return candidate
    if not labels:
        return None
    if not written and "then" in labels:
        return "then"
    said = f'"{written[0][:40]}"' if written else "nothing"
    place = next((node for key in ("sourceHandle", "label") if (node := entries.get(key)) and node.text), item)
    hint = reader.did_you_mean(written[0], labels) if written else None
    reader.problem(
        codes.BAD_EDGE, place, f"the edge leaves {source.step.id} by {said}",
        suggestion=hint or f"use one of {', '.join(labels)}",
        patch=None if hint is None or place is item else reader.word_patch(place, suggested(hint)),
    )  # fmt: skip
    return None if hint is None else suggested(hint)


def _layout(inner: dict[str, Node], made: dict[str, Made]) -> RawMap:
    positions: dict[str, JsonValue] = {
        id: found.position.plain() for id, found in made.items() if found.position is not None
    }
    layout: RawMap = {"positions": positions} if positions else {}
    viewport = inner.get("viewport")
    if viewport is not None and not viewport.is_null:
        layout["viewport"] = viewport.plain()
    return layout
