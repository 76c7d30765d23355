"""A canvas graph as steps of the language: what `graph_of` took apart, put together again."""

from __future__ import annotations

from copy import deepcopy
from typing import Final, cast

from segue.errors import RequestError
from segue.flow.edit.graph import FLOW_BLOCKS, Graph, GraphEdge, GraphNode
from segue.flow.edit.outline import BLOCK_VERBS
from segue.flow.edit.write import PlainKey, write_document
from segue.flow.model import JsonValue, RawMap
from segue.flow.verbs import MODIFIERS, VERBS

_SETTINGS: Final = ("join", "limit", "fail", "branches")
_NO_NAMES: Final = frozenset((*VERBS, *MODIFIERS, "name", "id", "params", "action"))
_BEHIND_STEPS: Final = frozenset(("outputs", "experiment", "tests"))
"""What people write after the steps it speaks of."""
MAX_DEPTH: Final = 64
"""Boxes within boxes; deeper graphs go in circles by `parent`."""


class Blocks:
    """Puts one graph's nodes together. Raises RequestError for graphs whose arrows contradict its boxes."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes = {node.id: node for node in graph.nodes}
        if len(self.nodes) != len(graph.nodes):
            raise RequestError("two nodes of the graph have the same id; give one of them another")
        self.children: dict[str | None, list[GraphNode]] = {}
        for node in graph.nodes:
            if node.parent is not None and node.parent not in self.nodes:
                raise RequestError(f"the node {node.id} stands in {node.parent}, which is not in the graph")
            self.children.setdefault(node.parent, []).append(node)
        self.incoming: dict[str, list[GraphEdge]] = {}
        for edge in graph.edges:
            if edge.source not in self.nodes or edge.target not in self.nodes:
                raise RequestError(f"the edge {edge.id} leads from or to a node that is not in the graph")
            self.incoming.setdefault(edge.target, []).append(edge)

    def document(self) -> RawMap:
        """The whole flow as a document of the language's main form, or of the graph's own."""
        graph = self.graph
        if graph.form == "graph":
            return self._graph_file()
        header = deepcopy(graph.flow)
        if graph.form in ("tasks", "dag", "definition"):
            return self._listed(header)
        roots = [node for node in self.children.get(None, []) if node.type not in FLOW_BLOCKS.values()]
        for edge in graph.edges:
            if (
                self.nodes[edge.source].parent != self.nodes[edge.target].parent
                and self.nodes[edge.target].parent != edge.source
            ):
                raise RequestError(f"the edge {edge.id} leads into a box from outside; lead it to the box itself")
        kept = [key for key in header if key not in ("on_error", "finally", "layout")]
        first = [key for key in kept if key not in _BEHIND_STEPS]
        value: RawMap = {key: header[key] for key in first}
        value["steps"] = self.block(roots, 0)
        value.update({key: header[key] for key in kept if key in _BEHIND_STEPS})
        for handle, kind in FLOW_BLOCKS.items():
            key = "on_error" if handle == "error" else handle
            inner = self.children.get(kind, [])
            if inner:
                value[key] = self.block(inner, 0)
            elif key in header:
                value[key] = header[key]
        positions: dict[str, JsonValue] = {node.id: node.position for node in graph.nodes if node.position is not None}
        layout = header.get("layout")
        rest = dict(layout) if isinstance(layout, dict) else {}
        if positions or rest:
            value["layout"] = {**({"positions": positions} if positions else {}), **rest}
        return value

    def _listed(self, header: RawMap) -> RawMap:
        key = {"tasks": "tasks", "dag": "nodes", "definition": "steps"}[self.graph.form]
        items: list[JsonValue] = [self.item(node) for node in self.graph.nodes]
        home = header
        for name in ("dag",) if self.graph.form == "dag" else ("definition", "graph"):
            inner = header.get(name)
            if isinstance(inner, dict):
                home = inner
        home[key] = items
        return header

    def item(self, node: GraphNode) -> JsonValue:
        """A node as an item of a task list, a DAG or a list of typed steps."""
        is_typed = self.graph.form != "tasks" and node.type and "type" not in node.data
        return {"id": node.name or node.id, **({"type": node.type} if is_typed else {}), **deepcopy(node.data)}

    def _graph_file(self) -> RawMap:
        nodes: list[JsonValue] = [graph_item(node) for node in self.graph.nodes]
        edges: list[JsonValue] = [edge_item(edge) for edge in self.graph.edges]
        return {**deepcopy(self.graph.flow), "nodes": nodes, "edges": edges}

    def block(self, nodes: list[GraphNode], depth: int) -> list[JsonValue]:
        """The steps of one block, in the nodes' order; `needs` where the order does not say it."""
        if depth > MAX_DEPTH:
            raise RequestError(f"the graph's boxes stand in each other more than {MAX_DEPTH} deep, or in a circle")
        inside = {node.id for node in nodes}
        items: list[JsonValue] = []
        before: list[str] = []
        for node in nodes:
            sources = [edge.source for edge in self.incoming.get(node.id, []) if edge.source in inside]
            needs = None if sources == before else [self.name(source) for source in dict.fromkeys(sources)]
            items.append(self.step(node, needs, depth))
            before = [node.id]
        return items

    def name(self, id: str) -> str:
        """A node's name in the flow."""
        return self.nodes[id].name or id

    def step(self, node: GraphNode, needs: list[str] | None, depth: int) -> JsonValue:
        """A node as a step: a name, or a map with the verb first."""
        name = node.name or node.id
        entries = self.entries(node, depth)
        if needs is not None:
            entries["needs"] = [*needs]
        if name in _NO_NAMES or name.startswith("x-") or not name:
            return {"id": name, **entries}
        verb = next(iter(entries))
        if len(entries) == 1 and verb == "call" and entries[verb] == name:
            return name
        return {name: entries}

    def entries(self, node: GraphNode, depth: int) -> RawMap:
        """A node's keys, its blocks put back in."""
        data = deepcopy(node.data)
        kind = node.type
        has_verb = any(key in VERBS and key not in ("wait", "poll") for key in data)
        if kind not in VERBS:
            entries: RawMap = {"call": kind, **data}
        elif kind in data or (has_verb and kind not in BLOCK_VERBS):
            entries = {**({kind: data[kind]} if kind in data else {}), **data}
        else:
            entries = {kind: {} if kind in BLOCK_VERBS else None, **data}
        branches: dict[str, list[JsonValue]] = {}
        for handle, nodes in self.branches(node).items():
            branches[handle] = self.block(nodes, depth + 1)
        _put_branches(kind, entries, branches)
        return entries

    def branches(self, node: GraphNode) -> dict[str, list[GraphNode]]:
        """The nodes in a box by the handle they hang on: their own edge's, or that of a node before them."""
        children = self.children.get(node.id, [])
        inside = {child.id for child in children}
        handles: dict[str, str] = {}
        following: dict[str, list[str]] = {}
        for child in children:
            for edge in self.incoming.get(child.id, []):
                if edge.source in inside:
                    following.setdefault(edge.source, []).append(child.id)
                elif edge.source == node.id:
                    _hang(handles, child.id, edge.source_handle or "body", node)
        order = list(dict.fromkeys(handles.values()))
        pending = list(handles)
        while pending:
            at = pending.pop()
            for other in following.get(at, []):
                if other not in handles:
                    pending.append(other)
                _hang(handles, other, handles[at], node)
        lost = [child.id for child in children if child.id not in handles]
        if lost:
            raise RequestError(f"no edge leads from {node.id} to {lost[0]}, which stands in it; connect them")
        return {handle: [child for child in children if handles[child.id] == handle] for handle in order}


def _hang(handles: dict[str, str], id: str, handle: str, owner: GraphNode) -> None:
    if handles.setdefault(id, handle) != handle:
        raise RequestError(f"{id} stands in two branches of {owner.id}; copy it, or put it behind {owner.id}")


def graph_item(node: GraphNode) -> RawMap:
    """A node of a graph file."""
    value: RawMap = {"id": node.id, "type": node.type}
    if node.position is not None:
        value["position"] = node.position
    if node.data:
        value["data"] = node.data
    if node.parent is not None:
        value["parentId"] = node.parent
    return {**value, **node.extra}


def edge_item(edge: GraphEdge) -> RawMap:
    """An edge of a graph file."""
    value: RawMap = {"id": edge.id, "source": edge.source, "target": edge.target}
    if edge.source_handle is not None:
        value["sourceHandle"] = edge.source_handle
    if edge.label is not None:
        value["label"] = edge.label
    return {**value, **edge.extra}


def _put_branches(verb: str, entries: RawMap, branches: dict[str, list[JsonValue]]) -> None:
    own = entries.get(verb)
    inner = cast("RawMap", own) if isinstance(own, dict) and verb != "if" else entries
    parallel = {handle: steps for handle, steps in branches.items() if handle.startswith("branch:")}
    if parallel:
        _put_parallel(verb, entries, parallel)
    for handle, steps in branches.items():
        word, _, name = handle.partition(":")
        value: JsonValue = [*steps]
        if word == "branch":
            continue
        if word == "error":
            _put_handler(entries, name, value)
        elif word == "compensate" or (word == "finally" and verb != "try"):
            entries[word] = value
        elif word == "elif":
            _put_elif(inner, int(name), value)
        elif word == "case":
            cases = inner.setdefault("cases", {})
            key = name[1:-1] if name.startswith('"') else PlainKey(name)
            cast("RawMap", cases)[key] = value
        else:
            inner["do" if word == "body" else word] = value


def _put_parallel(verb: str, entries: RawMap, branches: dict[str, list[JsonValue]]) -> None:
    names = {handle: handle.partition(":")[2] for handle in branches}
    value: JsonValue
    if all(name.isdecimal() for name in names.values()):
        ordered = sorted(branches, key=lambda handle: int(names[handle]))
        value = [branches[handle][0] if len(branches[handle]) == 1 else [*branches[handle]] for handle in ordered]
    else:
        value = {names[handle].strip('"'): [*steps] for handle, steps in branches.items()}
    own = entries.get(verb)
    if "branches" in entries:
        entries["branches"] = value
    elif isinstance(own, dict) and any(key in own for key in _SETTINGS):
        own["branches"] = value
    elif isinstance(value, dict) and all(key in _SETTINGS for key in value):
        entries[verb] = {"branches": value}
    else:
        entries[verb] = value


def _put_handler(entries: RawMap, number: str, value: JsonValue) -> None:
    key = "onError" if "onError" in entries else "on_error"
    written = entries.get(key)
    if not number:
        entries[key] = value
    elif isinstance(written, list):
        cast("RawMap", written[int(number) - 1])["do"] = value
    elif isinstance(written, dict):
        written["do"] = value
    else:
        entries[key] = {"do": value}


def _put_elif(inner: RawMap, number: int, value: JsonValue) -> None:
    written = inner.get("elif")
    if isinstance(written, dict):
        written["then"] = value
    elif isinstance(written, list) and number <= len(written):
        cast("RawMap", written[number - 1])["then"] = value
    else:
        raise RequestError(f"the branch elif:{number} has no condition; add it under `elif` first")


def write_graph(graph: Graph) -> str:
    """A graph as new text: YAML blocks, `needs` where the graph is not a tree, positions last."""
    return write_document(Blocks(graph).document())
