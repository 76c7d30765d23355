"""Puts changes into a text, and makes sure of them: the new text is read again and must be the old tree with exactly
these changes.

Where the first try reads differently, the second writes new values on one line in JSON's notation, and the third
writes out the aliases that share what is changed. If none does, the edit is refused and nothing has changed.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from segue.errors import RequestError
from segue.flow.document import Document, Node, join_path
from segue.flow.edit.changes import Change, Insert, Path, Put, changed, reads_as
from segue.flow.edit.spans import Spans
from segue.flow.edit.write import flow_text
from segue.flow.problems import Patch
from segue.flow.read import ReadResult, read_flow


class Rewritten(msgspec.Struct, frozen=True):
    """A text after changes: how it reads, and the patches that made it, in places of the text before."""

    read: ReadResult
    patches: tuple[Patch, ...]

    @property
    def document(self) -> Document:
        """The tree with its text."""
        assert self.read.document is not None
        return self.read.document


def apply_patches_in_order(text: str, patches: list[Patch] | tuple[Patch, ...]) -> str:
    """The text with patches put in that do not overlap, sorted by place."""
    pieces: list[str] = []
    done = 0
    for patch in patches:
        pieces += [text[done : patch.start], patch.text]
        done = patch.end
    return "".join([*pieces, text[done:]])


def rewrite(read: ReadResult, changes: list[Change]) -> Rewritten:
    """The text after the changes. Raises RequestError if they have no place, or the text cannot take them."""
    document = read.document
    if document is None:
        raise RequestError("the text holds no flow that could be edited")
    if not changes:
        return Rewritten(read, ())
    expected = changed(document.root.plain(), changes)
    reason = ""
    for careful in (False, True):
        try:
            patches = Spans(document, careful=careful).patches(changes)
        except RequestError as error:
            reason = error.message
            continue
        made = _read(document, patches)
        if made.document is not None and reads_as(made.document.root, expected):
            return Rewritten(made, tuple(patches))
    shared = _write_out_aliases(document, changes)
    if shared:
        made = _read(document, shared)
        if made.document is not None and reads_as(made.document.root, document.root.plain()):
            then = rewrite(made, changes)
            return Rewritten(then.read, compose(document.text or "", shared, then.patches))
    where = join_path("", *changes[0].path) or "the flow"
    because = f" ({reason})" if reason else ""
    raise RequestError(f"{where} is written in a way that this edit cannot keep{because}; change it in the text")


def _read(document: Document, patches: list[Patch]) -> ReadResult:
    return read_flow(apply_patches_in_order(document.text or "", patches), file=document.file)


def _write_out_aliases(document: Document, changes: list[Change]) -> list[Patch]:
    """Patches that replace aliases by what they stand for: those that are changed, or share what is changed."""
    spans = Spans(document)
    touched: set[int] = set()
    names: set[str] = set()
    for change in changes:
        for node in _way(document.root, change.path):
            touched.add(id(node))
            names |= _anchors(spans, node)
        inside = list(_way(document.root, change.path))
        if inside and not isinstance(change, Insert) and len(inside) == len(change.path) + 1:
            for node in _below(spans, inside[-1]):
                names |= _anchors(spans, node)
        elif inside and not isinstance(change, (Insert, Put)):
            names |= _anchors(spans, inside[-1])
    found: list[Patch] = []
    for node in _below(spans, document.root):
        if spans.is_alias(node) and (id(node) in touched or spans.text[node.start + 1 : node.end].strip() in names):
            text = flow_text(node.plain(), is_json=spans.is_in_flow(node.parent) and spans.is_json(node.parent))
            found.append(Patch(start=node.start, end=node.end, text=text))
    found.sort(key=lambda patch: patch.start)
    return found


def _way(root: Node, path: Path) -> Iterator[Node]:
    """The nodes from the root to a path, as far as they are there."""
    node = root
    yield root
    for part in path:
        child: Node | None = None
        if isinstance(part, str):
            child = node.get(part)
        elif node.items is not None and part < len(node.items):
            child = node.items[part]
        if child is None:
            return
        node = child
        yield node


def _below(spans: Spans, node: Node) -> Iterator[Node]:
    """A node and all in it, in the text's order; what an alias stands for is not gone into."""
    yield node
    if spans.is_alias(node):
        return
    for child in list((node.entries or {}).values()) or node.items or []:
        yield from _below(spans, child)


def _anchors(spans: Spans, node: Node) -> set[str]:
    """The anchor a node has."""
    properties = spans.text[node.start : spans.begin(node)].split()
    return {word[1:] for word in properties if word.startswith("&")}


def compose(text: str, first: list[Patch] | tuple[Patch, ...], then: tuple[Patch, ...]) -> tuple[Patch, ...]:
    """The patches of `text` that do what `first` does, and `then` to the text that it gives."""
    if not first:
        return then
    middle = apply_patches_in_order(text, first)
    regions: list[tuple[int, int]] = []
    shift = 0
    for patch in first:
        start = patch.start + shift
        regions.append((start, start + len(patch.text)))
        shift += len(patch.text) - (patch.end - patch.start)
    clusters: list[list[int]] = []
    for start, end in sorted([*regions, *((patch.start, patch.end) for patch in then)]):
        if clusters and start <= clusters[-1][1]:
            clusters[-1][1] = max(clusters[-1][1], end)
        else:
            clusters.append([start, end])
    made: list[Patch] = []
    for start, end in clusters:
        inner = [
            Patch(start=patch.start - start, end=patch.end - start, text=patch.text)
            for patch in then
            if start <= patch.start and patch.end <= end
        ]
        new = apply_patches_in_order(middle[start:end], inner)
        before = after = 0
        for patch, (region_start, region_end) in zip(first, regions, strict=True):
            grown = len(patch.text) - (patch.end - patch.start)
            if region_end < start or (region_end == start and region_start < start):
                before += grown
            if region_end <= end:
                after += grown
        old_start, old_end = start - before, end - after
        if text[old_start:old_end] != new:
            made.append(Patch(start=old_start, end=old_end, text=new))
    return tuple(made)
