"""What each edit changes in a document's tree.

Most edits are one stage of changes. Those that take a text from one place to another need two, the second planned on
what the first has made.
"""

from __future__ import annotations

import re

from segue.errors import RequestError
from segue.flow.edit.changes import Change, Drop, Insert, Path, Put, Wrap, difference, path_of
from segue.flow.edit.follow import inside, rename_positions
from segue.flow.edit.operations import (
    AddStep,
    After,
    ChangeVerb,
    Connect,
    Disconnect,
    Edit,
    Into,
    MoveStep,
    Place,
    RemoveStep,
    RenameStep,
    SetField,
    SetFlow,
    SetPosition,
    UnsetField,
    UnsetFlow,
)
from segue.flow.edit.outline import BLOCK_VERBS, CALL_VERBS, Outline, Site, inner_keys
from segue.flow.edit.plan_fields import change_verb, set_field, set_flow, unset_field, unset_flow
from segue.flow.edit.plan_links import connect, disconnect, ends_of, names_in, needs_node, set_position
from segue.flow.edit.plan_names import rename_step
from segue.flow.model import JsonValue
from segue.flow.verbs import VERBS


def changes_of(outline: Outline, edit: Edit) -> list[Change]:  # noqa: C901 - one line an operation
    """The changes that an edit is. Raises RequestError for what does not fit the flow."""
    match edit:
        case AddStep():
            return _add(outline, edit)
        case RemoveStep():
            return _remove(outline, edit)
        case MoveStep():
            return _move(outline, edit)
        case RenameStep():
            return rename_step(outline, edit)
        case SetField():
            return set_field(outline.site(edit.step), edit.path, edit.value)
        case UnsetField():
            return unset_field(outline.site(edit.step), edit.path)
        case ChangeVerb():
            return change_verb(outline.site(edit.step), edit)
        case SetFlow():
            return set_flow(outline, edit.path, edit.value)
        case UnsetFlow():
            return unset_flow(outline, edit.path)
        case Connect():
            return connect(outline, edit)
        case Disconnect():
            return disconnect(outline, edit)
        case SetPosition():
            return set_position(outline, edit)


def _add(outline: Outline, edit: AddStep) -> list[Change]:
    if isinstance(edit.step, str):
        is_step = bool(edit.step.strip()) and outline.form == "yaml"
    else:
        is_step = isinstance(edit.step, dict) and bool(edit.step)
    if not is_step:
        raise RequestError("the new step is no step; give a map with one verb, or a name")
    if outline.form in ("graph", "tasks", "dag"):
        id = edit.step.get("id") if isinstance(edit.step, dict) else None
        if not isinstance(id, str) or not id:
            raise RequestError(f'a step of a {outline.form} needs an "id"')
        if id in outline.by_id:
            raise RequestError(f'the flow has a step "{id}" already; choose another id')
    step = _named(outline, edit.step)
    home, changes = _landing(outline, edit.place, step)
    return changes if home is None else [Insert(home[0], home[1], step)]


def _named(outline: Outline, step: JsonValue) -> JsonValue:
    """A new block with an id of its own, if it would otherwise take the number of one that is there."""
    if not isinstance(step, dict) or "id" in step or "name" in step:
        return step
    verb = next((key for key in step if key in VERBS), None)
    if verb is None or verb in CALL_VERBS:
        return step
    word = "conditional" if verb == "if" else verb
    numbers = [
        int(found[1]) for site in outline.sites() if (found := re.match(rf"{word}_(\d+)\Z", site.id)) is not None
    ]
    return {"id": f"{word}_{max(numbers) + 1}", **step} if numbers else step


def _landing(outline: Outline, place: Place, value: JsonValue) -> tuple[tuple[Path, int] | None, list[Change]]:
    """Where in which list a step comes to stand; or, if there is no list yet, the changes that make one with it."""
    if isinstance(place, Into):
        return _into(outline, place, value)
    site = outline.site(place.step)
    node = site.branch.node
    if node.items is not None:
        index = site.item.key
        assert isinstance(index, int)
        return (path_of(node), index + (1 if isinstance(place, After) else 0)), []
    path = path_of(node)
    return None, [Wrap(path, after=(value,)) if isinstance(place, After) else Wrap(path, before=(value,))]


def _into(outline: Outline, place: Into, value: JsonValue) -> tuple[tuple[Path, int] | None, list[Change]]:
    owner = None if place.step is None else outline.site(place.step)
    branches = outline.roots if owner is None else owner.branches
    found = next((branch for branch in branches if branch.handle == place.handle), None)
    if found is not None:
        node = found.node
        if node.items is not None:
            return (path_of(node), len(node.items)), []
        return None, [Wrap(path_of(node), after=(value,))]
    if owner is None:
        key = {"body": "steps", "error": "on_error", "finally": "finally"}.get(place.handle)
        if key is None or (key == "steps" and outline.form != "yaml"):
            raise RequestError(f'a flow has no branch "{place.handle}"; use body, error or finally')
        return None, set_flow(outline, (key,), [value], is_steps=True)
    return None, _new_branch(owner, place.handle, value)


def _new_branch(owner: Site, handle: str, value: JsonValue) -> list[Change]:
    """A branch that was not there, with its first step."""
    if handle in ("error", "finally", "compensate") and not (owner.verb == "try" and handle == "finally"):
        return set_field(owner, ({"error": "on_error"}.get(handle, handle),), [value])
    verb = owner.verb
    if verb is None or verb not in BLOCK_VERBS:
        raise RequestError(f'{owner.node_id} has no branch "{handle}"; steps after it are placed after it')
    node = owner.entries[verb]
    is_nested = verb != "if" and node.entries is not None and verb not in ("parallel", "race")
    home = node if is_nested else owner.home
    assert home is not None
    word, _, name = handle.partition(":")
    if verb in ("parallel", "race") and word == "branch":
        return _new_parallel_branch(owner, name.strip('"'), value)
    if verb == "switch" and word == "case":
        cases = inner_keys(owner).get("cases")
        case = name.strip('"')
        if cases is None or cases.entries is None:
            return [Put((*path_of(home), "cases"), {case: [value]})]
        return [Put((*path_of(cases), case), [value])]
    allowed = {
        "conditional": ("then", "else"), "if": ("then", "else"), "switch": ("default",),
        "try": ("catch", "finally", "body"), "foreach": ("body",), "repeat": ("body",),
    }.get(verb, ())  # fmt: skip
    if handle not in allowed:
        raise RequestError(
            f'{owner.node_id} ({verb}) has no branch "{handle}"; it can have {", ".join(allowed) or "none"}'
        )
    key = "do" if handle == "body" else handle
    return [Put((*path_of(home), key), [value])]


def _new_parallel_branch(owner: Site, name: str, value: JsonValue) -> list[Change]:
    branches = inner_keys(owner).get("branches")
    if branches is None or branches.is_null:
        return [Put((*path_of(owner.entries[owner.verb or ""]),), [value])]
    if branches.entries is not None:
        if not name or name in branches.entries:
            raise RequestError(
                f'{owner.node_id} names its branches; give the new one a name that is free, not "{name}"'
            )
        return [Put((*path_of(branches), name), [value])]
    return [Insert(path_of(branches), len(branches.items or []), value)]


def _remove(outline: Outline, edit: RemoveStep) -> list[Change]:
    site = outline.site(edit.step)
    changes: list[Change] = []
    if outline.form == "graph":
        changes += _edges_of(outline, site.id)
    else:
        heirs = [edge.source for edge in site.branch.block.edges if edge.target == site.id]
        for other in site.branch.sites:
            needs = needs_node(outline, other)
            if other is not site and needs is not None and site.id in names_in(needs):
                kept = [heir for name in names_in(needs) for heir in (heirs if name == site.id else [name])]
                kept = list(dict.fromkeys(kept))
                changes += difference(needs.plain(), list[JsonValue](kept), path_of(needs))
    names = {inner.node_id: None for inner in inside(site)}
    return [*_without_item(site), *changes, *rename_positions(outline, names)]


def _without_item(site: Site) -> list[Change]:
    """The changes that take a step out of its block; a block that a flow can do without goes with its last step."""
    branch = site.branch
    node = branch.node
    if node.items is not None and len(node.items) > 1:
        return [Drop(path_of(site.item))]
    optional = ("else", "default", "catch", "finally", "compensate", "error")
    if branch.handle in optional or branch.handle.startswith(("case:", "branch:")):
        gone = node
        others = gone.parent
        if others is not None and (len(others.entries or {}) > 1 or len(others.items or []) > 1):
            return [Drop(path_of(gone))]
    return [Put(path_of(node), [])]


def _edges_of(outline: Outline, id: str) -> list[Change]:
    edges = outline.container().get("edges")
    items = (edges.items or []) if edges is not None else []
    gone = [item for item in items if id in ends_of(item)]
    if items and len(gone) == len(items):
        return [Put(path_of(edges), [])] if edges is not None else []
    return [Drop(path_of(item)) for item in gone]


def _move(outline: Outline, edit: MoveStep) -> list[Change]:
    """The first half: the step stands in both places. `second_half` takes the old one away."""
    site = outline.site(edit.step)
    if isinstance(edit.place, Into):
        inside = edit.place.step is not None and _is_inside(outline.site(edit.place.step), site)
    else:
        inside = _is_inside(outline.site(edit.place.step), site)
    if inside:
        raise RequestError(f"{edit.step} cannot be moved into itself")
    value = site.item.plain()
    home, changes = _landing(outline, edit.place, value)
    if home is None:
        return changes
    is_item = isinstance(site.item.key, int)
    return [Insert(home[0], home[1], value, path_of(site.item) if is_item else None)]


def after_insert(path: Path, first: list[Change]) -> Path:
    """Where what stood at `path` stands after the first half of a move."""
    for change in first:
        if isinstance(change, Insert) and path[: len(change.path)] == change.path and len(path) > len(change.path):
            index = path[len(change.path)]
            if isinstance(index, int) and index >= change.index:
                path = (*change.path, index + 1, *path[len(change.path) + 1 :])
        elif isinstance(change, Wrap) and path[: len(change.path)] == change.path:
            path = (*change.path, len(change.before), *path[len(change.path) :])
    return path


def second_half(outline: Outline, edit: MoveStep, first: list[Change]) -> list[Change]:
    """Takes a moved step from its old place; paths count after the first half."""
    moved: list[Change] = []
    for change in _without_item(outline.site(edit.step)):
        path = after_insert(change.path, first)
        moved.append(Drop(path, with_lead=True) if isinstance(change, Drop) else Put(path, []))
    return moved


def _is_inside(site: Site, other: Site) -> bool:
    at: Site | None = site
    while at is not None:
        if at is other:
            return True
        at = at.branch.owner
    return False
