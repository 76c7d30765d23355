"""Brings a text up to a canvas graph: only what differs is changed, by the same patches that single edits make."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Final

import msgspec

from segue.errors import RequestError
from segue.flow.edit.blocks import Blocks, edge_item, graph_item
from segue.flow.edit.changes import Change, Drop, Insert, Path, Put, difference, path_of, same
from segue.flow.edit.graph import FLOW_BLOCKS, Graph, GraphEdge, GraphNode, graph_of, make_edge
from segue.flow.edit.operations import (
    AddStep,
    After,
    Before,
    ChangeVerb,
    Connect,
    Disconnect,
    Edit,
    Into,
    MoveStep,
    Place,
    RemoveStep,
    SetField,
    SetFlow,
    SetPosition,
    UnsetField,
    UnsetFlow,
)
from segue.flow.edit.outline import Outline
from segue.flow.edit.patch import EditResult, apply_edits
from segue.flow.edit.rewrite import compose, rewrite
from segue.flow.model import JsonValue, RawMap
from segue.flow.read import ReadResult, read_flow
from segue.flow.verbs import VERBS

_ROOT_HANDLE: Final = "body"
STAND_IN: Final = "stand_in_"
"""How the names of steps begin that hold a new branch open until what belongs there has moved in."""


def update_text(source: str | ReadResult, graph: Graph, *, file: str | None = None) -> EditResult:
    """The text, changed so that it draws as `graph`. The same graph gives the same text.

    Raises RequestError if the graph cannot be written as the text's form, or the difference is not one that single
    edits can make; then nothing has changed.
    """
    read = read_flow(source, file=file) if isinstance(source, str) else source
    mark = "\ufeff" if isinstance(source, str) and source.startswith("\ufeff") else ""
    old = graph_of(read)
    if msgspec.json.encode(old) == msgspec.json.encode(graph):
        # Struct equality would take `1` for `true`; their JSON tells them apart, and is quick to make.
        return apply_edits(source, [], file=file) if isinstance(source, ReadResult) else _unchanged(source, read)
    if old.form != graph.form:
        raise RequestError(f"the text is of the form {old.form}, the graph of the form {graph.form}; write it anew")
    if graph.form == "yaml":
        graph = _settled(old, graph)
    made = _Merge(read, old, graph).run()
    if not equal(graph_of(made.read), graph):
        raise RequestError("the graph differs from the text by more than edits can follow; make them one by one")
    return EditResult(mark + made.text, made.patches, made.problems, made.read)


def _unchanged(text: str, read: ReadResult) -> EditResult:
    return EditResult(text, (), read.problems, read)


def _settled(old: Graph, graph: Graph) -> Graph:
    """The graph with each new node right behind the nodes it comes after: canvases add new ones at the end."""
    there = {node.id for node in old.nodes}
    nodes = list(graph.nodes)
    for node in graph.nodes:
        if node.id in there:
            continue
        places = {other.id: index for index, other in enumerate(nodes)}
        parents = {other.id: other.parent for other in nodes}
        ends = [
            (edge.source, edge.target)
            for edge in graph.edges
            if parents.get(edge.source, "") == node.parent == parents.get(edge.target, "")
        ]
        sources = [places[source] for source, target in ends if target == node.id and source != node.id]
        targets = [places[target] for source, target in ends if source == node.id and target != node.id]
        here = places[node.id]
        if sources and targets and max(sources) < min(targets):
            wanted = max(sources) + 1
        elif targets and not sources:
            wanted = min(targets)
        else:
            continue
        nodes.insert(wanted - (1 if here < wanted else 0), nodes.pop(here))
    return msgspec.structs.replace(graph, nodes=tuple(nodes))


def equal(one: Graph, other: Graph) -> bool:
    """Whether two graphs draw the same flow: nodes with their order in each box, edges without their ids."""
    if one.form != other.form or not _equal(one.flow, other.flow) or len(one.nodes) != len(other.nodes):
        return False
    if {_edge(edge) for edge in one.edges} != {_edge(edge) for edge in other.edges}:
        return False
    twins = {node.id: node for node in other.nodes}
    if any(node.id not in twins or not _same_node(node, twins[node.id]) for node in one.nodes):
        return False
    return _orders(one) == _orders(other)


def _equal(one: RawMap, other: RawMap) -> bool:
    return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)


def _edge(edge: object) -> tuple[object, ...]:
    return tuple(getattr(edge, name) for name in ("source", "target", "source_handle", "label"))


def _same_node(one: GraphNode, other: GraphNode) -> bool:
    return (
        (one.type, one.parent, one.name, one.position) == (other.type, other.parent, other.name, other.position)
        and _equal(one.data, other.data)
        and _equal(one.extra, other.extra)
    )


def _orders(graph: Graph) -> dict[tuple[str | None, str], list[str]]:
    return {block: [node.id for node in nodes] for block, nodes in blocks_of(graph)}


def blocks_of(graph: Graph) -> Iterator[tuple[tuple[str | None, str], list[GraphNode]]]:
    """Every block of a graph by its owner and handle, outer ones first, with its nodes in order."""
    whole = Blocks(graph)
    roots = [node for node in whole.children.get(None, []) if node.type not in FLOW_BLOCKS.values()]
    yield (None, _ROOT_HANDLE), roots
    pending = [*roots]
    for handle, kind in FLOW_BLOCKS.items():
        inner = whole.children.get(kind, [])
        if inner:
            yield (None, handle), inner
            pending += inner
    if graph.form != "yaml":
        return
    while pending:
        node = pending.pop(0)
        for handle, nodes in whole.branches(node).items():
            yield (node.id, handle), nodes
            pending += nodes


class _Merge:
    """One run of changes. `read` is the text so far, `patches` what made it of the first one."""

    def __init__(self, read: ReadResult, old: Graph, new: Graph) -> None:
        self.first = read
        self.read = read
        self.old = old
        self.new = new
        self.result = apply_edits(read, [])

    def run(self) -> EditResult:
        if self.new.form == "yaml":
            # What stays leaves a box that goes before the box does.
            self._place()
            self._remove()
            self._fields()
            self._connections()
            self._positions()
        else:
            self._items()
        self._edit(_header_edits((), self.old.flow, self.new.flow))
        return self.result

    def _edit(self, edits: list[Edit]) -> None:
        if edits:
            made = apply_edits(self.read, edits)
            self._take(made)

    def _take(self, made: EditResult) -> None:
        text = self.first.document.text if self.first.document is not None else None
        patches = compose(text or "", self.result.patches, made.patches)
        self.result = EditResult(made.text, patches, made.problems, made.read)
        self.read = made.read

    def _remove(self) -> None:
        kept = {node.id for node in self.new.nodes}
        flows = set(FLOW_BLOCKS.values())
        now = graph_of(self.read)
        gone = {node.id for node in now.nodes} - kept
        tops = [
            node.id
            for node in now.nodes
            if node.id in gone - flows and (node.parent not in gone or node.parent in flows)
        ]
        self._edit([RemoveStep(id) for id in tops])

    def _place(self) -> None:
        """Every block gets the nodes it should have, in their order; boxes before what is in them."""
        there = {node.id for node in self.old.nodes}
        for (owner, handle), nodes in blocks_of(self.new):
            names = [node.id for node in nodes]
            current = self._current(owner, handle, names)
            if current == names:
                continue
            before: str | None = None
            for position, node in enumerate(nodes):
                at = current.index(node.id) if node.id in current else -1
                if at >= 0 and current[:at] == names[:position]:
                    before = node.id
                    continue
                place = self._landing(before, current, owner, handle)
                if node.id in there:
                    self._edit([MoveStep(node.id, place)])
                else:
                    made, value = _new_step(self.new, node, there)
                    self._edit([AddStep(value, place)])
                    there |= made
                current = self._current(owner, handle, names)
                before = node.id

    def _current(self, owner: str | None, handle: str, names: list[str]) -> list[str]:
        """The nodes of a block that are to be in it, in their order now; the others are on their way out."""
        now = _orders(graph_of(self.read)).get((owner, handle), [])
        return [id for id in now if id in names]

    def _landing(self, before: str | None, current: list[str], owner: str | None, handle: str) -> Place:
        if before is not None and before in current:
            return After(before)
        if current:
            return Before(current[0])
        return Into(owner, handle)

    def _fields(self) -> None:
        old = {node.id: node for node in self.old.nodes}
        edits: list[Edit] = []
        for node in self.new.nodes:
            before = old.get(node.id)
            if before is None or node.type in FLOW_BLOCKS.values():
                continue
            if before.type != node.type:
                verb = node.type if node.type in VERBS else "call"
                value: JsonValue = node.data.get(verb) if node.type in VERBS else node.type
                edits.append(ChangeVerb(node.id, verb, value))
            skipped = {before.type, node.type} if before.type != node.type else set[str]()
            old_data = {key: child for key, child in before.data.items() if key not in skipped}
            new_data = {key: child for key, child in node.data.items() if key not in skipped}
            edits += _field_edits(node.id, (), old_data, new_data)
        self._edit(edits)

    def _connections(self) -> None:
        now = graph_of(self.read)
        inner = _inner_edges(now)
        wanted = _inner_edges(self.new)
        # Taking away comes first: what is turned round would be a circle for a moment.
        edits: list[Edit] = [Disconnect(source, target) for source, target in inner if (source, target) not in wanted]
        edits += [Connect(source, target) for source, target in wanted if (source, target) not in inner]
        self._edit(edits)

    def _positions(self) -> None:
        old = {node.id: node.position for node in graph_of(self.read).nodes}
        edits: list[Edit] = []
        for node in self.new.nodes:
            position = node.position
            if position == old.get(node.id):
                continue
            x, y = (position or {}).get("x"), (position or {}).get("y")
            if isinstance(x, (int, float)) and isinstance(y, (int, float)) and node.type not in FLOW_BLOCKS.values():
                edits.append(SetPosition(node.id, x, y))
            elif position is None:
                edits.append(UnsetFlow(("layout", "positions", node.id)))
            else:
                edits.append(SetFlow(("layout", "positions", node.id), position))
        self._edit(edits)

    def _items(self) -> None:
        """Graph files, task lists and DAGs: their items, one by one."""
        assert self.read.flow is not None
        assert self.read.document is not None
        outline = Outline(self.read.document, self.read.flow)
        whole, before = Blocks(self.new), Blocks(self.old)
        is_graph = self.new.form == "graph"
        changes: list[Change] = []
        new = {node.id: graph_item(node) if is_graph else whole.item(node) for node in self.new.nodes}
        old = {node.id: graph_item(node) if is_graph else before.item(node) for node in self.old.nodes}
        paths = {site.node_id: path_of(site.item) for site in outline.sites()}
        changes += _list_changes(old, new, paths, path_of(outline.roots[0].node))
        edges = outline.container().get("edges")
        if is_graph:
            now = {edge.id: edge_item(edge) for edge in self.old.edges}
            then = {edge.id: edge_item(edge) for edge in self.new.edges}
            if edges is not None and edges.items is not None:
                edge_paths = {id: path_of(item) for id, item in zip(now, edges.items, strict=False)}
                changes += _list_changes(now, then, edge_paths, path_of(edges))
            elif then:
                changes.append(Put((*path_of(outline.container()), "edges"), [*then.values()], "nodes"))
        if changes:
            made = rewrite(self.read, changes)
            self._take(EditResult(made.document.text or "", made.patches, made.read.problems, made.read))


def _new_step(graph: Graph, node: GraphNode, there: set[str]) -> tuple[set[str], JsonValue]:
    """A new node as a step, with the ids that come with it.

    What is in the text already moves into a new box later, with its own text; a branch of nothing else begins with a
    step that goes again then.
    """
    whole = Blocks(graph)
    inner = _inside(whole, node)
    if not inner & there:
        return {node.id, *inner}, whole.step(node, None, 0)
    nodes: list[GraphNode] = [msgspec.structs.replace(node, parent=None)]
    edges: list[GraphEdge] = []
    pending = [node]
    while pending:
        box = pending.pop()
        for handle, children in whole.branches(box).items():
            own = [child for child in children if child.id not in there]
            if not own:
                own = [GraphNode(id=f"{STAND_IN}{len(nodes)}_{box.id}", type="log", data={"log": ""}, parent=box.id)]
            nodes += own
            pending += [child for child in own if child.id in inner]
            edges.append(make_edge(box.id, own[0].id, handle))
            edges += [make_edge(one.id, other.id) for one, other in pairwise(own)]
    made = Graph(nodes=tuple(nodes), edges=tuple(edges))
    return {child.id for child in nodes}, Blocks(made).step(nodes[0], None, 0)


def _inside(whole: Blocks, node: GraphNode) -> set[str]:
    found: set[str] = set()
    pending = [node]
    while pending:
        for child in whole.children.get(pending.pop().id, []):
            if child.id not in found:
                found.add(child.id)
                pending.append(child)
    return found


def _inner_edges(graph: Graph) -> dict[tuple[str, str], None]:
    parents = {node.id: node.parent for node in graph.nodes}
    return {
        (edge.source, edge.target): None
        for edge in graph.edges
        if parents[edge.source] == parents[edge.target] and edge.source != parents[edge.target]
    }


def _field_edits(step: str, path: Path, old: RawMap, new: RawMap) -> list[Edit]:
    edits: list[Edit] = [UnsetField(step, (*path, key)) for key in old if key not in new]
    for key, value in new.items():
        before = old.get(key)
        if key in old and same(before, value):
            continue
        if isinstance(before, dict) and isinstance(value, dict):
            edits += _field_edits(step, (*path, key), before, value)
        else:
            edits.append(SetField(step, (*path, key), value))
    return edits


def _header_edits(path: Path, old: RawMap, new: RawMap) -> list[Edit]:
    edits: list[Edit] = [UnsetFlow((*path, key)) for key in old if key not in new]
    for key, value in new.items():
        before = old.get(key)
        if key in old and same(before, value):
            continue
        if isinstance(before, dict) and isinstance(value, dict):
            edits += _header_edits((*path, key), before, value)
        else:
            edits.append(SetFlow((*path, key), value))
    return edits


def _list_changes(
    old: Mapping[str, JsonValue],
    new: Mapping[str, JsonValue],
    paths: dict[str, Path],
    home: Path,
) -> list[Change]:
    if not any(id in new for id in old):
        return [] if not old and not new else [Put(home, [*new.values()])]
    changes: list[Change] = []
    for id, value in old.items():
        changes += difference(value, new[id], paths[id]) if id in new else [Drop(paths[id])]
    changes += [Insert(home, len(old), value) for id, value in new.items() if id not in old]
    return changes
