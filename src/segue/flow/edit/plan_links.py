"""Plans connections between steps, and positions on the canvas."""

from __future__ import annotations

from itertools import pairwise
from typing import Final

from segue.errors import RequestError
from segue.flow.document import Node
from segue.flow.edit.changes import Change, Drop, Insert, Put, difference, path_of
from segue.flow.edit.operations import Connect, Disconnect, SetPosition
from segue.flow.edit.outline import Outline, Site
from segue.flow.edit.plan_fields import set_below, set_field
from segue.flow.model import JsonValue

_NEEDS: Final = ("needs", "depends_on")
_DEPENDENCIES: Final = {"tasks": ("dependencies", "needs", "depends_on"), "dag": ("deps", "dependencies", "needs")}


def ends_of(item: Node) -> tuple[str, str]:
    """An edge's source and target."""
    source, target = item.get("source") or item.get("from"), item.get("target") or item.get("to")
    return (
        str(source.scalar) if source is not None else "",
        str(target.scalar) if target is not None else "",
    )


def needs_node(outline: Outline, site: Site) -> Node | None:
    """What a step says it waits for, if it does."""
    keys = _DEPENDENCIES.get(outline.form, _NEEDS)
    home = site.item.entries or {} if site.shape == "item" else site.entries
    return next((home[key] for key in keys if key in home), None)


def name_nodes(node: Node) -> list[Node]:
    """A name, or each name of a list."""
    return [node] if node.items is None else node.items


def names_in(node: Node) -> list[str]:
    """A name, or the names of a list."""
    return [str(child.scalar) for child in name_nodes(node) if not child.is_null]


def connect(outline: Outline, edit: Connect) -> list[Change]:
    """An edge, or a name among what a step waits for."""
    source, target = outline.site(edit.source), outline.site(edit.target)
    if outline.form == "graph":
        return _add_edge(outline, edit)
    if edit.handle not in (None, "done"):
        raise RequestError(f"{edit.target} is put into a branch by moving it there, not by connecting it")
    if source.branch is not target.branch or source is target:
        raise RequestError(f"{edit.source} and {edit.target} are not two steps of one block; move one of them")
    sources = _sources(target)
    if source.id in sources:
        return []
    if _leads_to(target, source):
        raise RequestError(f"{edit.source} waits for {edit.target} already; the other way round it would be a circle")
    return _set_needs(outline, target, [*sources, source.id])


def _leads_to(one: Site, other: Site) -> bool:
    edges = one.branch.block.edges
    reached, pending = set[str](), [one.id]
    while pending:
        at = pending.pop()
        if at not in reached:
            reached.add(at)
            pending += [edge.target for edge in edges if edge.source == at]
    return other.id in reached


def _sources(site: Site) -> list[str]:
    return [edge.source for edge in site.branch.block.edges if edge.target == site.id]


def disconnect(outline: Outline, edit: Disconnect) -> list[Change]:
    """An edge, or a name among what a step waits for, taken away."""
    source, target = outline.site(edit.source), outline.site(edit.target)
    if outline.form == "graph":
        return _drop_edge(outline, edit)
    sources = _sources(target) if source.branch is target.branch else []
    if source.id not in sources:
        raise RequestError(f"{edit.target} does not wait for {edit.source}")
    return _set_needs(outline, target, [name for name in sources if name != source.id])


def _set_needs(outline: Outline, site: Site, names: list[str]) -> list[Change]:
    node = needs_node(outline, site)
    sites = site.branch.sites
    before = [other.id for other, here in pairwise(sites) if here is site]
    if outline.form in ("yaml", "definition") and names == before and node is not None:
        return [Drop(path_of(node))]
    wanted: list[JsonValue] = [*names]
    if node is not None:
        if node.items is None and len(names) == 1:
            return [Put(path_of(node), names[0])]
        return difference(node.plain(), wanted, path_of(node))
    if site.shape == "item":
        key = _DEPENDENCIES.get(outline.form, _NEEDS)[0]
        return [Put((*path_of(site.item), key), wanted)]
    return set_field(site, ("needs",), wanted)


def _add_edge(outline: Outline, edit: Connect) -> list[Change]:
    edges = outline.container().get("edges")
    items = (edges.items or []) if edges is not None else []
    handles = [(*ends_of(item), _handle(item)) for item in items]
    if (edit.source, edit.target, edit.handle) in handles:
        return []
    ids = {str(node.scalar) for item in items if (node := item.get("id")) is not None}
    edge: dict[str, JsonValue] = {"source": edit.source, "target": edit.target}
    if ids or not items:
        name = "-".join(part for part in ("e", edit.source, edit.handle, edit.target) if part)
        count = 2
        while name in ids:
            name, count = f"{name.rpartition('#')[0] or name}#{count}", count + 1
        edge = {"id": name, **edge}
    if edit.handle is not None:
        edge["sourceHandle"] = edit.handle
    if edges is None:
        return [Put((*path_of(outline.container()), "edges"), [edge], "nodes")]
    return [Insert(path_of(edges), len(items), edge)]


def _handle(item: Node) -> str | None:
    node = item.get("sourceHandle")
    return node.text if node is not None else None


def _drop_edge(outline: Outline, edit: Disconnect) -> list[Change]:
    edges = outline.container().get("edges")
    items = (edges.items or []) if edges is not None else []
    found = [item for item in items if ends_of(item) == (edit.source, edit.target) and _handle(item) == edit.handle]
    if not found:
        raise RequestError(f"no edge leads from {edit.source} to {edit.target} by {edit.handle or 'no handle'}")
    return [Drop(path_of(item)) for item in found] if len(found) < len(items) else [Put(path_of(edges), [])]  # pyright: ignore[reportArgumentType]


def _number(value: float) -> JsonValue:
    return int(value) if value == int(value) else value


def set_position(outline: Outline, edit: SetPosition) -> list[Change]:
    """A box's place: in a graph's node, else in the flow's `layout`."""
    site = outline.site(edit.step)
    position: dict[str, JsonValue] = {"x": _number(edit.x), "y": _number(edit.y)}
    if site.shape == "item" and outline.form == "graph":
        node = site.item.get("position")
        if node is None or not node.entries:
            return [Put((*path_of(site.item), "position"), position)]
        return difference(node.plain(), {**_plain_map(node), **position}, path_of(node))
    layout = outline.document.root.get("layout")
    if layout is None or not layout.entries:
        value: dict[str, JsonValue] = {"positions": {site.node_id: position}}
        return [Put(("layout",), value)]
    return set_below(layout, ("positions", site.node_id), position)


def _plain_map(node: Node) -> dict[str, JsonValue]:
    return {key: child.plain() for key, child in (node.entries or {}).items()}
