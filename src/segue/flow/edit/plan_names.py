"""Plans the renaming of a step: its id, and every reference to it."""

from __future__ import annotations

from segue.errors import RequestError
from segue.flow.document import Node
from segue.flow.edit.changes import Change, Put, RenameKey, path_of
from segue.flow.edit.follow import inside, rename_positions
from segue.flow.edit.operations import RenameStep
from segue.flow.edit.outline import Outline, Site
from segue.flow.edit.plan_links import name_nodes, needs_node
from segue.flow.edit.references import renamed, uses_of
from segue.flow.verbs import MODIFIERS, SCOPE_NAMES, VERBS


def rename_step(outline: Outline, edit: RenameStep) -> list[Change]:
    """Another id for a step, wherever its name stands. Refused where it would be ambiguous."""
    site, to = outline.site(edit.step), edit.to
    if not to.isidentifier() or to in SCOPE_NAMES or to in VERBS or (outline.form == "yaml" and to in MODIFIERS):
        raise RequestError(
            f'"{to}" is no name for a step; use letters, digits and underscores, and no word of the language'
        )
    if to == site.id:
        return []
    if any(other.id == to for other in outline.sites()):
        raise RequestError(f'the flow has a step "{to}" already; choose another name')
    old = site.id
    changes = _rename_item(site, to)
    shared = [other for other in outline.sites() if other.id == old and other is not site]
    uses = list(uses_of(outline.document.root, old))
    if shared and uses:
        raise RequestError(f'several steps are called "{old}", and expressions refer to them; rename them in the text')
    changes += [Put(path_of(node), renamed(text, place, old, to)) for node, place, text in uses]
    changes += _rename_links(outline, site, to)
    names = {
        inner.node_id: f"{to}{inner.node_id.removeprefix(old)}"
        for inner in inside(site)
        if inner is site or inner.node_id.startswith(f"{old}.")
    }
    changes += rename_positions(outline, {} if shared else dict(names))
    return changes


def _rename_item(site: Site, to: str) -> list[Change]:
    path = path_of(site.item)
    if site.shape == "bare":
        return [Put(path, {to: site.use})]
    if site.shape in ("long", "item") and site.name_node is not None:
        return [Put(path_of(site.name_node), to)]
    if site.shape == "keyed" and site.name_node is not None:
        key = path_of(site.name_node)
        changes: list[Change] = [RenameKey(key, to)]
        if site.verb is None and site.use is None and "action" not in site.entries:
            body = site.name_node
            changes[:0] = [Put((*key, "use"), site.id, "")] if body.entries else [Put(key, site.id)]
        return changes
    return [Put((*path, "id"), to, "")]


def _rename_links(outline: Outline, site: Site, to: str) -> list[Change]:
    """The step's name in `needs`, in edges, as a box around others, and in conditional tasks."""
    nodes: list[Node | None] = []
    for other in site.branch.sites:
        lists = [needs_node(outline, other)]
        if outline.form == "graph":
            nodes += [other.item.get(key) for key in ("parentId", "parentNode")]
        elif outline.form == "tasks":
            lists += [other.item.get(key) for key in ("thenTasks", "elseTasks", "then_tasks", "else_tasks")]
        nodes += [child for names in lists if names is not None for child in name_nodes(names)]
    edges = outline.container().get("edges") if outline.form == "graph" else None
    for item in (edges.items or []) if edges is not None else []:
        nodes += [item.get(key) for key in ("source", "target", "from", "to")]
    return [Put(path_of(node), to) for node in nodes if node is not None and str(node.scalar) == site.id]
