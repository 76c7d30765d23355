"""A flow as a canvas draws it: boxes, arrows, and boxes within boxes.

Every written step is a node. `type` is what it calls (`iam.verify_token`), or its verb; `data` holds its other keys as
the author wrote them, without what the graph itself says: the steps of its blocks, and `needs`. A step of a block has
the block's node as `parent`; an edge leads from that node to the block's first steps, by the branch's handle:

    then  elif:1  else        conditional, if          body               foreach, repeat, try
    case:x  default           switch                   catch  finally     try
    branch:1  branch:name     parallel, race           error  finally  compensate    handlers of any step

An edge that leaves a node with blocks for the next step has the handle `done`. A flow's own `on_error` and `finally`
are nodes of the types `flow.on_error` and `flow.finally`. Files that are graphs, task lists or DAGs keep their items.
"""

from __future__ import annotations

from typing import Any, Final, cast

import msgspec

from segue.errors import RequestError
from segue.flow.document import Node
from segue.flow.edit.outline import BLOCK_VERBS, Branch, Outline, Site
from segue.flow.model import JsonValue, RawMap
from segue.flow.read import ReadResult
from segue.flow.verbs import VERBS

GRAPH_VERSION: Final = 1
FLOW_BLOCKS: Final = {"error": "flow.on_error", "finally": "flow.finally"}
_FORM_KEYS: Final = frozenset(("steps", "nodes", "edges", "tasks", "dag", "definition", "graph"))
_NODE_KEYS: Final = frozenset(("id", "type", "position", "data", "parentId", "parentNode"))
_EDGE_KEYS: Final = frozenset(("id", "source", "target", "from", "to", "sourceHandle", "label"))


class GraphNode(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A box."""

    id: str
    type: str
    position: RawMap | None = None
    """`{x, y}` in the canvas' units; None: nobody has placed it yet."""
    data: RawMap = {}
    parent: str | None = None
    name: str | None = None
    """The step's id in the flow, if another step of that id made a longer `id` necessary."""
    extra: RawMap = {}
    """Further keys of a graph file's node, kept as they are."""


class GraphEdge(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """An arrow."""

    id: str
    source: str
    target: str
    source_handle: str | None = None
    label: str | None = None
    extra: RawMap = {}


class Graph(msgspec.Struct, frozen=True, kw_only=True):
    """A flow on the canvas. `flow` holds the flow's own keys as written, without steps and positions."""

    version: int = GRAPH_VERSION
    form: str = "yaml"
    flow: RawMap = {}
    nodes: tuple[GraphNode, ...] = ()
    edges: tuple[GraphEdge, ...] = ()


def graph_of(read: ReadResult) -> Graph:
    """The canvas graph of a flow that was read. Raises RequestError if nothing could be read."""
    if read.flow is None or read.document is None:
        raise RequestError("the text holds no flow that could be drawn; mend it in the text first")
    outline = Outline(read.document, read.flow)
    if outline.form == "graph":
        return _graph_file(outline)
    nodes: list[GraphNode] = []
    edges: list[GraphEdge] = []
    positions = _positions(outline)
    gone = {id(branch.node) for branch in outline.roots}
    for branch in outline.roots:
        owner = None
        if branch.owner is None and branch.handle in FLOW_BLOCKS:
            owner = FLOW_BLOCKS[branch.handle]
            nodes.append(GraphNode(id=owner, type=owner, position=positions.get(owner)))
        _take_branch(outline, branch, owner, nodes, edges, positions)
    if outline.form in ("tasks", "dag"):
        edges = [edge for edge in _dependency_edges(outline)]
    header = _without(outline.document.root, gone)
    return Graph(form=outline.form, flow=_header(outline, header), nodes=tuple(nodes), edges=tuple(edges))


def edge_id(source: str, handle: str | None, target: str) -> str:
    """An edge's id: the same for the same edge."""
    return f"{source}:{handle}->{target}" if handle else f"{source}->{target}"


def make_edge(source: str, target: str, handle: str | None = None) -> GraphEdge:
    """An edge with its usual id."""
    return GraphEdge(id=edge_id(source, handle, target), source=source, target=target, source_handle=handle)


def _header(outline: Outline, value: JsonValue) -> RawMap:
    header = dict(value) if isinstance(value, dict) else {}
    if outline.form == "yaml":
        header.pop("steps", None)
    layout = header.get("layout")
    if isinstance(layout, dict):
        # The nodes say where they stand, and by which ids they are known.
        rest = {key: child for key, child in layout.items() if key not in ("positions", "ids")}
        header.pop("layout")
        if rest:
            header["layout"] = rest
    return header


def _positions(outline: Outline) -> dict[str, RawMap]:
    layout = outline.document.root.get("layout")
    node = layout.get("positions") if layout is not None else None
    found: dict[str, RawMap] = {}
    for name, child in ((node.entries or {}) if node is not None else {}).items():
        value = child.plain()
        if isinstance(value, dict):
            found[name] = value
    return found


def _take_branch(
    outline: Outline,
    branch: Branch,
    owner: str | None,
    nodes: list[GraphNode],
    edges: list[GraphEdge],
    positions: dict[str, RawMap],
) -> None:
    names = {site.id: site.node_id for site in branch.sites}
    composite = {site.id for site in branch.sites if site.verb in BLOCK_VERBS and site.branches}
    targets = {edge.target for edge in branch.block.edges if edge.source in names}
    for site in branch.sites:
        if owner is not None and site.id not in targets:
            handle = "body" if branch.owner is None else branch.handle
            edges.append(make_edge(owner, site.node_id, handle))
        nodes.append(_node(outline, site, owner, positions))
        for inner in site.branches:
            _take_branch(outline, inner, site.node_id, nodes, edges, positions)
    for edge in branch.block.edges:
        if edge.source in names and edge.target in names:
            handle = "done" if edge.source in composite else None
            edges.append(make_edge(names[edge.source], names[edge.target], handle))


def _node(outline: Outline, site: Site, owner: str | None, positions: dict[str, RawMap]) -> GraphNode:
    name = None if site.id == site.node_id else site.id
    position = positions.get(site.node_id)
    if site.shape == "item":
        data = cast("RawMap", site.item.plain())
        written = next((key for key in ("id", "name") if key in data), "")
        data.pop(written, None)
        kind = data.pop("type", None)
        return GraphNode(
            id=site.node_id,
            type=kind if isinstance(kind, str) else site.step.use or site.step.kind,
            data=data,
            position=position,
            parent=owner,
            name=name,
        )
    kind, hidden = type_of(site)
    gone = {id(branch.node) for branch in site.branches if branch.sites}
    data = {
        key: _without(child, gone)
        for key, child in site.entries.items()
        if key not in hidden and key not in ("needs", "depends_on") and id(child) not in gone
    }
    if site.branches and site.verb in BLOCK_VERBS:
        _drop_empty(site.verb or "", data)
    if site.step.title is not None and "title" not in data and _has_name_for_people(site):
        data["title"] = site.step.title
    return GraphNode(id=site.node_id, type=kind, data=data, position=position, parent=owner, name=name)


def _drop_empty(verb: str, data: RawMap) -> None:
    """What is left of a block's keys once its steps are nodes; where they stood is the text's affair."""
    own = data.get(verb)
    for home in (own, data) if isinstance(own, dict) else (data,):
        for key in ("branches", "cases"):
            if key in home and not home[key]:
                del home[key]
    if verb in data and data[verb] in ({}, [], None):
        del data[verb]


def _has_name_for_people(site: Site) -> bool:
    if site.shape == "keyed":
        return site.home is not site.item and site.home is not None and site.home.get("name") is not None
    return site.shape == "long" and site.item.get("id") is not None and site.item.get("name") is not None


def type_of(site: Site) -> tuple[str, frozenset[str]]:
    """A node's type, and the keys of the step that it stands for."""
    entries = site.entries
    word: str | None = site.use
    hidden: frozenset[str] = frozenset()
    if word is None and site.verb in ("call", "use"):
        word, hidden = entries[site.verb].text, frozenset((site.verb,))
    elif word is None and site.verb is None:
        action = entries.get("action")
        word, hidden = (site.id, hidden) if action is None else (action.text, frozenset(("action",)))
    elif word is None and site.verb == "adapter":
        adapter, action = entries["adapter"].text, entries.get("action")
        if adapter and "." not in adapter and action is not None and action.text and "." not in action.text:
            word, hidden = f"{adapter}.{action.text}", frozenset(("adapter", "action"))
    if word and word == word.strip() and word not in VERBS and word not in FLOW_BLOCKS.values():
        return word, hidden
    return site.verb or "use", frozenset()


def _without(node: Node, gone: set[int]) -> JsonValue:
    """A node's value without some nodes below it."""
    if node.entries is not None:
        return {key: _without(child, gone) for key, child in node.entries.items() if id(child) not in gone}
    if node.items is not None:
        return [_without(child, gone) for child in node.items if id(child) not in gone]
    return node.scalar


def _dependency_edges(outline: Outline) -> list[GraphEdge]:
    found: dict[str, GraphEdge] = {}
    known = {site.id: site.node_id for site in outline.sites()}
    for site in outline.sites():
        for key in ("dependencies", "deps", "needs", "depends_on"):
            for name in _names(site.item.get(key)):
                if name in known:
                    edge = make_edge(known[name], site.node_id)
                    found[edge.id] = edge
        for key, handle in (
            ("thenTasks", "then"),
            ("then_tasks", "then"),
            ("elseTasks", "else"),
            ("else_tasks", "else"),
        ):
            for name in _names(site.item.get(key)):
                if name in known:
                    edge = make_edge(site.node_id, known[name], handle)
                    found[edge.id] = edge
    return list(found.values())


def _names(node: Node | None) -> list[str]:
    if node is None:
        return []
    return [str(child.scalar) for child in ([node] if node.items is None else node.items) if child.scalar is not None]


def _graph_file(outline: Outline) -> Graph:
    nodes: list[GraphNode] = []
    for site in outline.sites():
        if site.shape != "item":
            continue
        value = cast("dict[str, Any]", site.item.plain())
        parent = value.get("parentId") or value.get("parentNode")
        nodes.append(
            GraphNode(
                id=site.node_id,
                type=str(value.get("type", "")),
                position=value.get("position"),
                data=value.get("data") or {},
                parent=parent,
                extra={key: child for key, child in value.items() if key not in _NODE_KEYS},
            )
        )
    top = outline.container()
    edges: list[GraphEdge] = []
    listed = top.get("edges")
    for item in (listed.items or []) if listed is not None else []:
        value = cast("dict[str, Any]", item.plain()) if item.entries is not None else {}
        source, target = str(value.get("source") or value.get("from")), str(value.get("target") or value.get("to"))
        handle = value.get("sourceHandle")
        edges.append(
            GraphEdge(
                id=str(value.get("id") or edge_id(source, handle, target)),
                source=source,
                target=target,
                source_handle=handle,
                label=value.get("label"),
                extra={key: child for key, child in value.items() if key not in _EDGE_KEYS},
            )
        )
    root = cast("dict[str, Any]", outline.document.root.plain())
    inner = cast("dict[str, Any]", top.plain()) if top is not outline.document.root else {}
    header = {key: child for key, child in {**inner, **root}.items() if key not in _FORM_KEYS}
    return Graph(form="graph", flow=header, nodes=tuple(nodes), edges=tuple(edges))
