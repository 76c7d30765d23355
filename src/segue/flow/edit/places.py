"""Where things stand in a text: the values, keys, dashes and lines that patches are made of."""

from __future__ import annotations

import re
from typing import Final

from segue.errors import RequestError
from segue.flow.document import Document, Node

_PROPERTIES: Final = re.compile(r"(?:[&!][^\s,\[\]{}]*[ \t]*(?:\r\n|\r|\n)?[ \t]*)+")
_SPACE_AND_COMMENTS: Final = re.compile(r"(?:[ \t\r\n]+|#[^\r\n]*)*")
BREAK: Final = re.compile(r"\r\n|\r|\n")


class Places:
    """The places of one document. Raises RequestError for a document without text."""

    def __init__(self, document: Document, *, careful: bool = False) -> None:
        if document.text is None or document.root.start < 0:
            raise RequestError("the flow has no text to edit; write it as text first")
        self.root = document.root
        self.text = document.text
        self.careful = careful
        """One line, in JSON's notation, and nothing else: the second try where the first was read differently."""
        found = BREAK.search(self.text)
        self.newline = found.group() if found else "\n"

    def begin(self, node: Node) -> int:
        """Where the value itself begins, behind its anchor and tag."""
        if node.end <= node.start or self.text[node.start] not in "&!":
            return node.start
        found = _PROPERTIES.match(self.text, node.start, node.end)
        return found.end() if found else node.start

    def is_alias(self, node: Node) -> bool:
        """Whether the value is written as `*name`."""
        return node.end > node.start and self.text[node.start] == "*"

    def is_flow(self, node: Node) -> bool:
        """Whether a map or list is written in brackets."""
        begin = self.begin(node)
        return begin < node.end and self.text[begin] in "{["

    def is_in_flow(self, node: Node | None) -> bool:
        """Whether a node is, or stands in, a collection in brackets."""
        while node is not None:
            if (node.entries is not None or node.items is not None) and self.is_flow(node):
                return True
            node = node.parent
        return False

    def is_json(self, node: Node | None) -> bool:
        """Whether the brackets a node is in have their keys in double quotes."""
        while node is not None and self.is_in_flow(node):
            first = next(iter((node.entries or {}).values()), None)
            if first is not None and self.is_flow(node):
                return self.text[first.key_start] == '"'
            node = node.parent
        return self.careful

    def line_start(self, place: int) -> int:
        """Where the line of a place begins."""
        return max(self.text.rfind("\n", 0, place), self.text.rfind("\r", 0, place)) + 1

    def column(self, place: int) -> int:
        """How far a place is from its line's start."""
        return place - self.line_start(place)

    def line_end(self, place: int) -> int:
        """Where the line of a place ends, before its break."""
        found = BREAK.search(self.text, place)
        return found.start() if found else len(self.text)

    def next_line(self, place: int) -> int:
        """Where the line after a place begins; the text's end if there is none."""
        found = BREAK.search(self.text, place)
        return found.end() if found else len(self.text)

    def ends_line(self, place: int) -> bool:
        """Whether a value that ends here has taken its line break with it, as block scalars do."""
        return place > 0 and self.text[place - 1] in "\r\n"

    def is_blank(self, start: int, end: int) -> bool:
        """Whether nothing but space stands there."""
        return not self.text[start:end].strip(" \t")

    def own_end(self, node: Node) -> int:
        """Where an entry ends, also one without a value."""
        return max(node.end, node.key_end)

    def dash(self, node: Node, index: int) -> int:
        """Where the `-` of a block list's item stands."""
        items = node.items or []
        place = self.begin(node) if index == 0 else items[index - 1].end
        found = _SPACE_AND_COMMENTS.match(self.text, place)
        place = found.end() if found else place
        if self.text[place : place + 1] != "-":
            raise RequestError("the list is written in a way that cannot be edited here; edit the text")
        return place

    def indent(self, node: Node) -> int:
        """The column of a block collection's keys or dashes."""
        if node.items is not None:
            return self.column(self.dash(node, 0))
        first = next(iter((node.entries or {}).values()))
        return self.column(first.key_start)
