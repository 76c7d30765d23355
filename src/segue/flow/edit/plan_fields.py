"""Plans changes of a step's keys, its verb, and the flow's own keys."""

from __future__ import annotations

from typing import Final

from segue.errors import RequestError
from segue.flow.document import Node
from segue.flow.edit.changes import Change, Drop, Insert, Path, Put, RenameKey, difference, path_of
from segue.flow.edit.operations import ChangeVerb
from segue.flow.edit.outline import CALL_VERBS, Outline, Site
from segue.flow.model import JsonValue
from segue.flow.verbs import FLOW_KEYS, MODIFIERS, VERBS, keys_of

_STEP_KEYS: Final = frozenset(("steps", "nodes", "edges", "tasks", "dag"))


def set_field(site: Site, path: Path, value: JsonValue) -> list[Change]:
    """A key of a step, or a value below it, set: only what differs changes."""
    first = _first_key(site, path)
    if first in VERBS and site.shape != "item" and first not in site.entries:
        is_second = first in ("wait", "poll") and (site.verb in CALL_VERBS or site.verb is None)
        is_modifier = first in MODIFIERS
        if not (is_second or is_modifier):
            raise RequestError(f"{site.node_id} has a verb already; change the verb instead of setting `{first}`")
    node = site.entries.get(first)
    if node is not None:
        return set_below(node, path[1:], value)
    for part in reversed(path[1:]):
        if not isinstance(part, str):
            raise RequestError(f"{site.node_id} has no `{first}`; set it before its items")
        value = {part: value}
    if site.shape == "bare":
        use: dict[str, JsonValue] = {} if site.use == site.id else {"use": site.use}
        return [Put(path_of(site.item), {site.id: {**use, first: value}})]
    assert site.home is not None
    return [Put((*path_of(site.home), first), value)]


def set_below(node: Node, path: Path, value: JsonValue) -> list[Change]:
    """A value at a path below a node, set; what is missing on the way is made."""
    for index, part in enumerate(path):
        child = node.get(part) if isinstance(part, str) else None
        if isinstance(part, int) and node.items is not None and 0 <= part < len(node.items):
            child = node.items[part]
        if child is None:
            return _make_below(node, path[index:], value)
        node = child
    return difference(node.plain(), value, path_of(node))


def _make_below(node: Node, path: Path, value: JsonValue) -> list[Change]:
    part, rest = path[0], path[1:]
    for other in reversed(rest):
        value = [value] if isinstance(other, int) else {other: value}
    if isinstance(part, int):
        if node.items is None or part != len(node.items):
            raise RequestError(f"{node.path()} has no item {part}; items are added at the end of a list")
        return [Insert(path_of(node), part, value)]
    if node.entries is None and not node.is_null:
        raise RequestError(f'{node.path()} is {node.kind_name()}, which has no key "{part}"; set the whole value')
    return [Put((*path_of(node), part), value)] if node.entries else [Put(path_of(node), {part: value})]


def _first_key(site: Site, path: Path) -> str:
    first = path[0] if path else None
    if not isinstance(first, str) or not first:
        raise RequestError(f"{site.node_id}: a field's path begins with a key, such as params")
    if first in ("id", "name") and site.shape != "item":
        raise RequestError(f"{site.node_id}: a step's name is changed by renaming it")
    return first


def unset_field(site: Site, path: Path) -> list[Change]:
    """A key of a step, or one below it, taken away."""
    first = _first_key(site, path)
    node = site.entries.get(first)
    if node is None or (first == site.verb and len(path) == 1):
        why = "it is the step's verb" if node is not None else "it is not set"
        raise RequestError(f"{site.node_id}: `{first}` cannot be taken away: {why}")
    return [Drop(path_of(_below(node, path[1:], site.node_id)))]


def _below(node: Node, path: Path, name: str) -> Node:
    for part in path:
        child = node.get(part) if isinstance(part, str) else None
        if isinstance(part, int) and node.items is not None and 0 <= part < len(node.items):
            child = node.items[part]
        if child is None:
            raise RequestError(f"{name}: there is nothing at {'.'.join(str(key) for key in path)} to take away")
        node = child
    return node


def change_verb(site: Site, edit: ChangeVerb) -> list[Change]:
    """Another verb and its value; keys that only the old verb knows go."""
    if site.shape == "item":
        kind = site.item.get("type") or site.item.get("agent_type")
        changes: list[Change] = [Put((*path_of(site.item), str(kind.key) if kind is not None else "type"), edit.verb)]
        return changes if edit.value is None or site.home is None else [*changes, *_over(site.home, edit.value)]
    if edit.verb not in VERBS:
        raise RequestError(f'"{edit.verb}" is no verb; to call an action, use the verb `call` with its name')
    if site.shape == "bare":
        return [Put(path_of(site.item), {site.id: {edit.verb: edit.value}})]
    if site.use is not None and site.name_node is not None:
        return [Put(path_of(site.name_node), {edit.verb: edit.value}), *_foreign(site, edit.verb)]
    if site.verb is None:
        assert site.home is not None
        return [Put((*path_of(site.home), edit.verb), edit.value, ""), *_foreign(site, edit.verb)]
    node = site.entries[site.verb]
    if site.verb == edit.verb:
        return difference(node.plain(), edit.value, path_of(node))
    return [Put(path_of(node), edit.value), RenameKey(path_of(node), edit.verb), *_foreign(site, edit.verb)]


def _over(home: Node, value: JsonValue) -> list[Change]:
    return difference(home.plain(), value, path_of(home))


def _foreign(site: Site, verb: str) -> list[Change]:
    """Drops the keys that only the old verb knows."""
    old = keys_of(VERBS[site.verb].beside) if site.verb else keys_of(VERBS["use"].beside)
    new = keys_of(VERBS[verb].beside)
    return [
        Drop(path_of(child))
        for key, child in site.entries.items()
        if key in old and key not in new and key not in MODIFIERS and key != site.verb
    ]


def set_flow(outline: Outline, path: Path, value: JsonValue, *, is_steps: bool = False) -> list[Change]:
    """A key of the flow, or a value below it, set; a new one stands where the language's table has it."""
    root = outline.document.root
    first = path[0] if path else None
    if not isinstance(first, str) or (first not in FLOW_KEYS and not first.startswith("x-")):
        raise RequestError(f'"{first}" is no key of a flow')
    if first in _STEP_KEYS and not is_steps:
        raise RequestError(f"`{first}` is changed step by step, not as a whole")
    spellings = (FLOW_KEYS[first].name, *FLOW_KEYS[first].also) if first in FLOW_KEYS else (first,)
    homes = [root, outline.container()]
    for node in (home.get(name) for home in homes for name in (first, *spellings)):
        if node is not None:
            return set_below(node, path[1:], value)
    for part in reversed(path[1:]):
        if not isinstance(part, str):
            raise RequestError(f"the flow has no `{first}`; set it before its items")
        value = {part: value}
    return [Put((first,), value, _neighbour(root, first))]


def _neighbour(root: Node, key: str) -> str | None:
    """The key after which a new one stands, in the order of the language's table; `layout` is always last."""
    order = [row.name for row in dict.fromkeys(FLOW_KEYS.values())]
    rank = {spelling: order.index(row.name) for spelling, row in FLOW_KEYS.items()}
    if key not in rank or key == "layout":
        names = list(root.entries or {})
        return names[-2] if key != "layout" and len(names) > 1 and names[-1] == "layout" else None
    before = [name for name in root.entries or {} if rank.get(name, -1) < rank[key] and name in rank]
    return before[-1] if before else ""


def unset_flow(outline: Outline, path: Path) -> list[Change]:
    """A key of the flow, or one below it, taken away."""
    first = path[0] if path else None
    if not isinstance(first, str) or first in _STEP_KEYS:
        raise RequestError(f"`{first}` is changed step by step, not as a whole")
    for home in (outline.document.root, outline.container()):
        if (node := home.get(first)) is not None:
            return [Drop(path_of(_below(node, path[1:], "the flow")))]
    raise RequestError(f"the flow has no `{first}`")
