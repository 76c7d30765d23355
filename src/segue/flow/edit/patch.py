"""Edits of a flow's text: each one the smallest patch that makes it, proved by reading the text again.

An edit either gives a text that reads as the old flow with exactly that change, every other byte as it was, or it
raises RequestError and nothing has changed. Steps without a name keep the ids they had: if an edit would renumber
one, its id is written down under `layout`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from segue.errors import RequestError
from segue.flow.edit.changes import Change
from segue.flow.edit.follow import followed
from segue.flow.edit.operations import Edit, MoveStep
from segue.flow.edit.outline import Outline
from segue.flow.edit.plan import changes_of, second_half
from segue.flow.edit.rewrite import Rewritten, compose, rewrite
from segue.flow.model import walk
from segue.flow.numbering import ids_node
from segue.flow.problems import Patch, Problem
from segue.flow.read import ReadResult, read_flow

_FOLLOW_ROUNDS: Final = 2
"""Ids first, then positions."""


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
    for _ in range(_FOLLOW_ROUNDS):
        is_move = isinstance(edit, MoveStep)
        after = _may_follow(read, made.read, is_move=is_move)
        changes = followed(before, after, stages, is_move=is_move) if after is not None else []
        if not changes:
            break
        stages.append(changes)
        made = _then(read, made, changes)
    return made


def _may_follow(before: ReadResult, after: ReadResult, *, is_move: bool) -> Outline | None:
    """The new text's outline, if `layout` may have to say something else now: most edits leave the steps alone."""
    one, two = before.document, after.document
    if one is None or two is None or after.flow is None or before.flow is None:
        return None
    layout = two.root.get("layout")
    may_follow = one.numbered != two.numbered or ids_node(two.root) is not None or (is_move and bool(two.numbered))
    if not may_follow and layout is not None and layout.get("positions") is not None:
        may_follow = [step.id for step in walk(before.flow.root)] != [step.id for step in walk(after.flow.root)]
    return Outline(two, after.flow) if may_follow else None


def _then(read: ReadResult, made: Rewritten, changes: list[Change]) -> Rewritten:
    """One more stage."""
    after = rewrite(made.read, changes)
    text = read.document.text if read.document is not None else None
    return Rewritten(after.read, compose(text or "", made.patches, after.patches))
