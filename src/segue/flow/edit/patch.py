"""Edits of a flow's text: each one the smallest patch that makes it, proved by reading the text again.

An edit either gives a text that reads as the old flow with exactly that change, every other byte as it was, or it
raises RequestError and nothing has changed. Blocks without a name keep the ids they had: if an edit would renumber
one, its id is written down beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from segue.errors import RequestError
from segue.flow.edit.changes import Change, Drop, Insert, Path, Put, Wrap, path_of
from segue.flow.edit.operations import Edit, MoveStep
from segue.flow.edit.outline import Outline
from segue.flow.edit.plan import changes_of, second_half
from segue.flow.edit.rewrite import Rewritten, compose, rewrite
from segue.flow.problems import Patch, Problem
from segue.flow.read import ReadResult, read_flow

_PIN_ROUNDS: Final = 4
"""Writing one id down can renumber another block, but never more often than there are kinds of odd numbering."""


class EditResult(msgspec.Struct, frozen=True):
    """A text after edits. `patches` turn the old text into it (places do not count a byte order mark)."""

    text: str
    patches: tuple[Patch, ...]
    problems: tuple[Problem, ...]
    """What reading the new text finds; edits may leave a flow unfinished."""
    read: ReadResult
    """The new text as read: model and document, so that nobody needs to read it again."""


def apply_edits(source: str | ReadResult, edits: Sequence[Edit], *, file: str | None = None) -> EditResult:
    """Make the edits, one after the other, in a text (or one that was read already).

    Raises RequestError, with what, where and what to do, if one of them is not possible; then none is made.
    """
    if isinstance(source, str):
        mark = "\ufeff" if source.startswith("\ufeff") else ""
        read = read_flow(source, file=file)
    else:
        mark, read = "", source
    document = read.document
    if read.flow is None or document is None or document.text is None:
        raise RequestError("the text holds no flow that could be edited; mend it in the text first")
    original = document.text
    patches: tuple[Patch, ...] = ()
    for edit in edits:
        made = _apply(read, edit)
        patches = compose(original, patches, made.patches)
        read = made.read
    assert read.document is not None
    return EditResult(mark + (read.document.text or ""), patches, read.problems, read)


def _apply(read: ReadResult, edit: Edit) -> Rewritten:
    assert read.flow is not None
    assert read.document is not None
    before = Outline(read.document, read.flow)
    first = changes_of(before, edit)
    made = rewrite(read, first)
    stages = [first]
    if isinstance(edit, MoveStep):
        then = second_half(before, edit, first)
        stages.append(then)
        made = _then(read, made, then)
    for _ in range(_PIN_ROUNDS):
        pins = _pins(before, made.read, stages)
        if not pins:
            break
        stages.append(pins)
        made = _then(read, made, pins)
    return made


def _then(read: ReadResult, made: Rewritten, changes: list[Change]) -> Rewritten:
    """One more stage."""
    after = rewrite(made.read, changes)
    text = read.document.text if read.document is not None else None
    return Rewritten(after.read, compose(text or "", made.patches, after.patches))


def _pins(before: Outline, after: ReadResult, stages: list[list[Change]]) -> list[Change]:
    """Changes that write down the ids of blocks which would have another number now."""
    anonymous = [site for site in before.sites() if site.is_anonymous]
    if not anonymous or after.flow is None or after.document is None:
        return []
    here = {path_of(site.item): site for site in Outline(after.document, after.flow).sites()}
    pins: list[Change] = []
    for site in anonymous:
        path: Path | None = path_of(site.item)
        for changes in stages:
            path = None if path is None else _path_after(path, changes)
        now = None if path is None else here.get(path)
        if path is not None and now is not None and now.shape == "verb" and now.id != site.id:
            pins.append(Put((*path, "id"), site.id, ""))
    return pins


def _path_after(path: Path, changes: list[Change]) -> Path | None:
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
