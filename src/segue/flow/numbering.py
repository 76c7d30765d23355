"""Names of steps that have none: `parallel_1`, `parallel_2`, … in the document's order.

Who counts anew at each reading renumbers what follows a step that goes. So an edit that would do that writes down under
`layout: {ids: {parallel_1: parallel_2}}` that what counts as the first parallel is known as `parallel_2`, and the next
reading takes it from there. People need not write such entries, but they may; what they say is checked.
"""

from __future__ import annotations

import re
from typing import Final

from segue.flow import codes
from segue.flow.document import Document, Node
from segue.flow.nearest import Suggester
from segue.flow.problems import Problem

_NUMBERED: Final = re.compile(r"\w+_\d+\Z")
_VALUES: Final = frozenset(("tests", "layout", "params", "parameters", "inputs", "outputs", "vars", "env"))
"""Keys that hold no steps, at whatever depth."""
_REFERENCES: Final = frozenset(
    (
        "needs", "depends_on", "dependencies", "deps", "if", "when", "until", "while", "where", "on", "items", "key",
        "aggregate", "aggregator", "condition", "success_condition", "successCondition", "failure_condition",
        "failureCondition", "foreach", "switch",
    )
)  # fmt: skip
"""Keys whose own texts speak of steps, and give none a name."""


class Numbering:
    """Gives numbers in one reading of one document, and notes in `document.numbered` which it gave."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._taken: set[str] | None = None
        self._counts: dict[str, int] = {}
        self._given: set[str] = set()
        self._home = ids_node(document.root)
        self._kept: dict[str, str] = {}
        """What is known by another number than it counts as."""
        for counted, node in (self._home.entries or {}).items() if self._home is not None else ():
            if node.text is not None and _is_number_of(node.text, counted):
                self._kept[counted] = node.text

    def id_of(self, word: str, path: str) -> str:
        """The name of the step at `path` that has none of its own; `word` says what it is."""
        taken = self._names()
        while True:
            number = self._counts.get(word, 0) + 1
            self._counts[word] = number
            counted = f"{word}_{number}"
            if counted not in taken:
                break
        id = self._kept.get(counted)
        if id is None or id in self._given:
            id, others = counted, self._kept.values()
            while id in taken or id in self._given or id in others:
                number += 1
                id = f"{word}_{number}"
        self._given.add(id)
        self._document.numbered[path] = (counted, id)
        return id

    def forget(self) -> None:
        """Count from one again: what was read so far only looked for mistakes."""
        self._counts.clear()
        self._given.clear()
        self._document.numbered.clear()

    def problems(self) -> list[Problem]:
        """What is wrong with the entries under `layout`, once everything is read."""
        found: list[Problem] = []
        if self._home is None or self._home.is_null:
            return found
        if self._home.entries is None:
            message = f"layout.ids is a map, not {self._home.kind_name()}"
            return [self._problem(codes.WRONG_TYPE, self._home, message)]
        suggester = Suggester()
        known = {counted for counted, _ in self._document.numbered.values()}
        seen: dict[str, str] = {}
        for counted, node in self._home.entries.items():
            if counted not in known:
                hint = suggester.did_you_mean(counted, sorted(known)) or "remove the entry"
                message = f'no step without a name counts as "{counted[:60]}"'
                found.append(self._problem(codes.UNKNOWN_STEP, node, message, hint, at_key=True))
            elif node.text is None or not _is_number_of(node.text, counted):
                word = counted.rpartition("_")[0]
                message = f"what counts as {counted} is known as {word}_ and a number, not as {node.kind_name()}"
                found.append(self._problem(codes.BAD_NAME, node, message, f"write it like {counted}"))
            elif node.text in seen:
                message = f'"{node.text[:60]}" is what counts as {seen[node.text]} known as already'
                found.append(self._problem(codes.DUPLICATE_STEP, node, message, "choose a number that is free"))
            else:
                seen[node.text] = counted
        return found

    def _names(self) -> set[str]:
        if self._taken is None:
            self._taken = set()
            _collect(self._document.root, self._taken)
        return self._taken

    def _problem(
        self, code: str, node: Node, message: str, suggestion: str | None = None, *, at_key: bool = False
    ) -> Problem:
        document = self._document
        span = document.key_span(node) if at_key else document.span(node)
        return Problem(
            code=code, message=message, severity=codes.CODES[code].severity, path=node.path(), file=document.file,
            span=span, suggestion=suggestion,
        )  # fmt: skip


def ids_node(root: Node) -> Node | None:
    """What stands under `layout.ids`, if anything does."""
    layout = root.get("layout")
    return layout.get("ids") if layout is not None else None


def _is_number_of(id: str, counted: str) -> bool:
    """Whether both are the same word with a number."""
    word = counted.rpartition("_")[0]
    number = id.removeprefix(f"{word}_")
    return number != id and number.isascii() and number.isdecimal() and len(number) <= 9


def _collect(node: Node, found: set[str]) -> None:
    """Every word in the document that looks like a numbered name and may be one."""
    if node.entries is not None:
        for key, child in node.entries.items():
            if _NUMBERED.match(key):
                found.add(key)
            if key in _VALUES or (key in _REFERENCES and _is_flat(child)):
                continue
            _collect(child, found)
    elif node.items is not None:
        for child in node.items:
            _collect(child, found)
    elif isinstance(node.scalar, str) and _NUMBERED.match(node.scalar):
        found.add(node.scalar)


def _is_flat(node: Node) -> bool:
    return node.entries is None and not any(child.entries or child.items for child in node.items or ())
