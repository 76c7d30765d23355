"""A document as read: a tree of values that know their place in the text.

All forms are read from this tree, whether it came from YAML, JSON text or an already parsed JSON body (then without
places). Offsets are those of the author's text, also where the reader repaired it first.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import TypeAlias

import msgspec

from segue.flow.model import JsonValue, Span

Scalar: TypeAlias = None | bool | int | float | str

_PATH_PART = re.compile(r"([\w-]+)|\[(\d+)\]|\[\"(.*?)\"\]", re.DOTALL)
_PLAIN_KEY = re.compile(r"[\w-]+\Z")


class Node(msgspec.Struct, eq=False):
    """One value: a map (`entries`), a list (`items`) or a `scalar`. Not changed once its document is read.

    `start` and `end` are -1 without text. `style` is how a scalar was written: "" plain, a quote sign, `|`, `>`; None
    without text. `key` is its name or index in `parent`. A record of msgspec, since a text has thousands of them.
    """

    scalar: Scalar = None
    items: list[Node] | None = None
    entries: dict[str, Node] | None = None
    start: int = -1
    end: int = -1
    style: str | None = None
    parent: Node | None = None
    key: str | int | None = None
    key_start: int = -1
    key_end: int = -1

    def __repr__(self) -> str:
        return f"Node({self.path()}: {self.kind_name()})"

    @property
    def is_null(self) -> bool:
        """Whether there is no value (`null`, or nothing written)."""
        return self.scalar is None and self.items is None and self.entries is None

    @property
    def text(self) -> str | None:
        """The value if it is a string."""
        return self.scalar if isinstance(self.scalar, str) else None

    def get(self, key: str) -> Node | None:
        """The entry of that name, if this is a map that has it."""
        return None if self.entries is None else self.entries.get(key)

    def plain(self) -> JsonValue:
        """The value as JSON."""
        if self.entries is not None:
            return {key: node.plain() for key, node in self.entries.items()}
        if self.items is not None:
            return [node.plain() for node in self.items]
        return self.scalar

    def path(self) -> str:
        """The place in the document, such as `steps[2].charge.params`."""
        keys: list[str | int] = []
        node: Node | None = self
        while node is not None and node.key is not None:
            keys.append(node.key)
            node = node.parent
        return join_path("", *reversed(keys))

    def kind_name(self) -> str:
        """What this is, in a sentence: "a list", "the number 3"."""
        if self.entries is not None:
            return "a map"
        if self.items is not None:
            return "a list"
        if self.scalar is None:
            return "nothing"
        if isinstance(self.scalar, bool):
            return "true" if self.scalar else "false"
        if isinstance(self.scalar, str):
            return f'the text "{self.scalar[:40]}"'
        return f"the number {self.scalar}"


class Document:
    """A tree with its text. `places` maps an address in the model (step path, field) to the node it was read from."""

    def __init__(self, root: Node, *, text: str | None = None, file: str | None = None) -> None:
        self.root = root
        self.text = text
        self.file = file
        self.places: dict[tuple[str, str], Node] = {}
        self.numbered: dict[str, tuple[str, str]] = {}
        """By step path, for steps without a name: what the step counts as, and the id that it got."""
        self.loose_ends = False
        """Whether an edge or a dependency names a step that does not exist: what comes before what is then unsure."""
        self._line_starts: list[int] | None = None

    def span(self, node: Node | None) -> Span | None:
        """Where the node's value stands; None without text."""
        if node is None or node.start < 0:
            return None
        return self.span_at(node.start, node.end)

    def at(self, path: str) -> Node | None:
        """The node at a path; None if the document has none there."""
        node: Node | None = self.root
        for part in _parts_of(path):
            if node is None:
                return None
            if node.items is not None:
                node = node.items[int(part)] if part.isdecimal() and int(part) < len(node.items) else None
            else:
                node = node.get(part)
        return node

    def name_span(self, path: str, name: str) -> Span | None:
        """Where the name of the step at a path is written: as its key, its `name` or `id`, or the bare word."""
        node = self.root
        parts = _parts_of(path)
        for count, part in enumerate(parts):
            child = node.get(part)
            if child is None and node.items is not None and part.isdecimal() and int(part) < len(node.items):
                child = node.items[int(part)]
            if child is None and count < len(parts) - 1:
                return None
            if child is None:
                break
            if count == len(parts) - 1 and part == name and child.key_start >= 0:
                return self.key_span(child)
            node = child
        if node.text is not None:
            return self.span(node) if node.text.strip().endswith(name) else None
        for key in ("id", "name"):
            written = node.get(key)
            if written is not None and str(written.scalar) == name:
                return self.span(written)
        return None

    def key_span(self, node: Node) -> Span | None:
        """Where the node's key stands, or the value if it has none."""
        if node.key_start < 0:
            return self.span(node)
        return self.span_at(node.key_start, node.key_end)

    def span_at(self, start: int, end: int) -> Span | None:
        """A span from offsets; None without text."""
        if self.text is None:
            return None
        if self._line_starts is None:
            self._line_starts = [0, *(match.end() for match in re.finditer(r"\r\n|\r|\n", self.text))]
        line = bisect_right(self._line_starts, start)
        return Span(start, max(start, end), line, start - self._line_starts[line - 1] + 1)


def _parts_of(path: str) -> list[str]:
    """The keys and indexes of a path, in order; a key may be an empty text."""
    return [found[found.lastindex or 0] for found in _PATH_PART.finditer(path)]


def join_path(base: str, *keys: str | int) -> str:
    """A path with further keys: indexes and odd names in brackets, others after a dot."""
    for key in keys:
        if isinstance(key, int):
            base += f"[{key}]"
        elif _PLAIN_KEY.match(key) is None:
            base += f'["{key}"]'
        else:
            base = f"{base}.{key}" if base else key
    return base
