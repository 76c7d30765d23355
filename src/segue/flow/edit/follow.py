"""What `layout` says of steps goes with them: positions by their names, and the ids of steps that have no name.

Who removes, moves or renames a step changes what `layout` calls it. The changes here put that right: with the edit
itself where the edit knows it, behind it where only the new text shows it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from segue.flow.document import Node
from segue.flow.edit.changes import Change, Drop, Insert, Path, Put, RenameKey, Wrap, path_of
from segue.flow.edit.outline import Outline, Site
from segue.flow.model import JsonValue
from segue.flow.numbering import ids_node


def inside(site: Site) -> list[Site]:
    """A step and all that stands in it."""
    found = [site]
    for branch in site.branches:
        for inner in branch.sites:
            found += inside(inner)
    return found


def positions_of(outline: Outline) -> Node | None:
    """What stands under `layout.positions`, if anything does."""
    layout = outline.document.root.get("layout")
    positions = layout.get("positions") if layout is not None else None
    return positions if positions is not None and positions.entries else None


def rename_positions(outline: Outline, names: Mapping[str, str | None]) -> list[Change]:
    """The changes that give boxes other names in `layout`, or (None) take them out of it."""
    positions, text = positions_of(outline), outline.document.text
    entries = (positions.entries or {}) if positions is not None else {}
    found = {name: to for name, to in names.items() if name in entries and to != name}
    gone = [name for name, to in found.items() if to is None]
    if positions is None or not found:
        return []
    if len(gone) == len(entries):
        layout = positions.parent
        alone = layout is not None and len(layout.entries or {}) == 1
        return [Drop(path_of(layout if alone and layout is not None else positions))]
    kept = {found.get(name) or name: child.plain() for name, child in entries.items() if name not in gone}
    if len(kept) < len(entries) - len(gone):
        return []  # a box of that name is there: what is written stays
    if len(gone) > 1 and text is not None and text.startswith("{", positions.start):
        # In brackets, neighbours that go one by one would leave a comma.
        return [Put(path_of(positions), kept)]
    path = path_of(positions)
    renames: list[Change] = [RenameKey((*path, name), to) for name, to in found.items() if to is not None]
    return [*renames, *(Drop((*path, name)) for name in gone)]


def followed(before: Outline, after: Outline, stages: Sequence[list[Change]], *, is_move: bool = False) -> list[Change]:
    """The changes of `layout` that the text still needs after the edit's own changes, made in `stages`."""
    here = {path_of(site.item): site for site in after.sites()}
    places: dict[int, Site] = {}
    for site in before.sites():
        path: Path | None = path_of(site.item)
        for changes in stages:
            path = None if path is None else path_after(path, changes)
        now = None if path is None else here.get(path)
        if now is not None:
            places[id(site)] = now
    if is_move:
        # A branch that is made for a step holds a copy of it: what is in neither place yet is what moved.
        taken = {id(site) for site in places.values()}
        lost = [site for site in before.sites() if id(site) not in places]
        new = [site for site in here.values() if id(site) not in taken]
        if len(lost) == len(new):
            places.update((id(site), now) for site, now in zip(lost, new, strict=True))
    return _ids(before, after, places) or _positions(before, after, places)


def _positions(before: Outline, after: Outline, places: dict[int, Site]) -> list[Change]:
    node = positions_of(after)
    names: dict[str, str | None] = {}
    for name in (node.entries or {}) if node is not None else ():
        site = before.by_id.get(name)
        if site is None or name in after.by_id:
            continue
        now = places.get(id(site))
        if now is None:
            names[name] = None
        elif now.id == site.id:
            names[name] = now.node_id
    return rename_positions(after, names)


def _ids(before: Outline, after: Outline, places: dict[int, Site]) -> list[Change]:
    """The entries under `layout.ids` that keep every step without a name by the id that it had."""
    numbered = after.document.numbered
    node = ids_node(after.document.root)
    had = _known_ids(before, places)
    used = set(had.values())
    wanted: dict[str, JsonValue] = {}
    for path, (counted, id) in numbered.items():
        kept = had.get(path)
        if kept is None:
            word, _, number = id.rpartition("_")
            count = int(number)
            while id in used:
                count += 1
                id = f"{word}_{count}"
            kept = id
            used.add(kept)
        written = node.get(counted) if node is not None else None
        if kept != counted or (written is not None and written.scalar == kept):
            wanted[counted] = kept
    if all(wanted.get(counted, id) == id for counted, id in numbered.values()) and not _stale(node, wanted):
        return []
    return _ids_changes(after, node, wanted)


def _known_ids(before: Outline, places: dict[int, Site]) -> dict[str, str]:
    """By their path now, the ids that steps without a name had before, also those that definitions bring in."""
    sites = {site.step.path: site for site in before.sites()}
    known: dict[str, str] = {}
    for path, (_, id) in before.document.numbered.items():
        head = path
        while head and head not in sites:
            head = head[: max(head.rfind("."), head.rfind("["), 0)]
        now = places.get(_identity(sites.get(head)))
        if now is not None:
            known[now.step.path + path[len(head) :]] = id
    return known


def _identity(site: Site | None) -> int:
    return -1 if site is None else id(site)


def _stale(node: Node | None, wanted: Mapping[str, JsonValue]) -> bool:
    entries = (node.entries or {}) if node is not None else {}
    return any(counted not in wanted for counted in entries)


def _ids_changes(after: Outline, node: Node | None, wanted: dict[str, JsonValue]) -> list[Change]:
    layout = after.document.root.get("layout")
    if layout is None or not layout.entries:
        return [Put(("layout",), {"ids": wanted})] if wanted else []
    if node is None:
        return [Put(("layout", "ids"), wanted)]
    if not wanted:
        return [Drop(("layout",) if len(layout.entries) == 1 else ("layout", "ids"))]
    entries = node.entries or {}
    gone = [counted for counted in entries if counted not in wanted]
    if not entries or len(gone) > 1:
        return [Put(("layout", "ids"), wanted)]
    changes: list[Change] = [Drop(("layout", "ids", counted)) for counted in gone]
    for counted, id in wanted.items():
        if counted not in entries or entries[counted].scalar != id:
            if gone and counted not in entries:
                return [Put(("layout", "ids"), wanted)]
            changes.append(Put(("layout", "ids", counted), id))
    return changes


def path_after(path: Path, changes: list[Change]) -> Path | None:
    """Where what stood at a path stands after one stage of changes; None if it is gone."""
    moved = path
    for change in changes:
        if isinstance(change, Insert):
            if change.source is not None and path[: len(change.source)] == change.source:
                # The copy is what stays; the second stage takes the original away.
                return (*change.path, change.index, *path[len(change.source) :])
            moved = _shifted(path, moved, change.path, change.index, 1)
        elif isinstance(change, Wrap):
            if path[: len(change.path)] == change.path:
                moved = (*change.path, len(change.before), *path[len(change.path) :])
        elif isinstance(change, RenameKey):
            if path[: len(change.path)] == change.path:
                place = len(change.path) - 1
                moved = (*moved[:place], change.name, *moved[place + 1 :])
        elif isinstance(change, Drop):
            if path[: len(change.path)] == change.path:
                return None
            last = change.path[-1]
            if isinstance(last, int):
                moved = _shifted(path, moved, change.path[:-1], last, -1)
    return moved


def _shifted(path: Path, moved: Path, home: Path, index: int, by: int) -> Path:
    """`moved`, one further or back in a list if `path` comes from behind `index` there."""
    depth = len(home)
    if len(path) <= depth or path[:depth] != home:
        return moved
    old, new = path[depth], moved[depth]
    if isinstance(old, int) and isinstance(new, int) and (old >= index if by > 0 else old > index):
        return (*moved[:depth], new + by, *moved[depth + 1 :])
    return moved
