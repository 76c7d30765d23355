"""Reads document B's engine contract: `{runId, dag: {nodes: [{id, type, config, deps}]}, env}`."""

from __future__ import annotations

from typing import Any, Final

from segue.flow import codes
from segue.flow.document import Node, join_path
from segue.flow.forms.header import read_header
from segue.flow.forms.node_settings import view
from segue.flow.forms.nodes import read_node
from segue.flow.forms.steps import read_block
from segue.flow.model import Block, Edge, Flow, Step
from segue.flow.reader import Reader, first_of
from segue.flow.verbs import FLOW_KEYS, MODIFIERS

_TOP_KEYS: Final = frozenset(("runId", "dag", "env", "inputs", "idempotencyKey", "metadata"))
_NODE_KEYS: Final = frozenset(("id", "type", "config", "deps", "nodeId", "name", "data", "position"))


def read_dag(reader: Reader, root: Node) -> Flow:
    """The flow of an engine's DAG: every step after its `deps`."""
    entries = root.entries or {}
    reader.check_keys(entries, {*FLOW_KEYS, *_TOP_KEYS}, "a flow")
    dag = entries["dag"]
    inner = reader.map_of(dag, "dag") or {}
    reader.check_keys(inner, ("nodes", "version", "name"), "dag")
    nodes = inner.get("nodes")
    steps: dict[str, Step] = {}
    deps: list[tuple[str, Node]] = []
    if nodes is None or not nodes.items:
        reader.problem(codes.NO_STEPS, nodes or dag, "the dag has no nodes", at_key=True)
    for index, item in enumerate((nodes.items if nodes is not None else None) or []):
        if not reader.take_step(item):
            break
        found = read_node(reader, _as_graph_node(reader, item), join_path("dag.nodes", index))
        if found is None:
            continue
        if found.step.id in steps:
            message = f'two nodes have the id "{found.step.id[:60]}"'
            reader.problem(codes.DUPLICATE_STEP, item.get("id") or item, message)
            continue
        steps[found.step.id] = found.step
        needed = first_of(item.entries or {}, "deps", "dependencies", "needs")
        if needed is not None:
            deps.append((found.step.id, needed))
    edges = [edge for target, node in deps for edge in dependency_edges(reader, node, target, steps)]
    block = Block(label="root", steps=tuple(steps.values()), edges=tuple(edges), span=reader.document.span(nodes))
    # In this contract `inputs` are a run's values, not their declaration.
    header = {key: child for key, child in entries.items() if key not in ("dag", "inputs")}
    fields: dict[str, Any] = read_header(reader, header, read_block)
    return Flow(root=block, form="dag", **fields)


def dependency_edges(reader: Reader, node: Node, target: str, steps: dict[str, Step]) -> list[Edge]:
    """Edges from each name under `deps` or `dependencies`; unknown names are reported."""
    edges: dict[str, Edge] = {}
    for child in [node] if node.items is None else node.items:
        if child.is_null:
            continue
        name = reader.name(child, str(node.key))
        if name is None:
            continue
        if name not in steps:
            others = (other for other in steps if other != target)
            for meant in reader.unknown_step(child, name, others, "is the id of no step"):
                edges[meant] = Edge(meant, target)
        else:
            edges[name] = Edge(name, target)
    return list(edges.values())


def _as_graph_node(reader: Reader, item: Node) -> Node:
    entries = item.entries
    if entries is None:
        return item
    entries = reader.check_keys(entries, {*_NODE_KEYS, *MODIFIERS, "dependencies"}, "a node")
    config = entries.get("config") or entries.get("data")
    data = {key: child for key, child in entries.items() if key in MODIFIERS and key not in ("needs", "depends_on")}
    if config is not None:
        data["config"] = config
    shown = {key: entries[key] for key in ("id", "type", "name", "position") if key in entries}
    return view(item, {**shown, "data": view(config or item, data)})
