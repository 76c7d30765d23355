"""Finds where a step's name is used in a flow's texts, and puts another name there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from segue.expr import ExprError, Reference
from segue.flow.document import Node
from segue.flow.expressions import references_of

_CONDITIONS: Final = frozenset(
    (
        "if", "when", "until", "while", "items", "on", "key", "aggregate", "aggregator", "where", "condition",
        "expression", "success_condition", "successCondition", "failure_condition", "failureCondition", "inputData",
        "foreach",
    )
)  # fmt: skip
"""Keys whose texts are bare expressions (section 5 of the language)."""


def uses_of(root: Node, name: str) -> Iterator[tuple[Node, str, str]]:
    """Every text that refers to a step: its node, the kind of place ("value" or "condition"), and the text."""
    pending = [root]
    while pending:
        node = pending.pop()
        if node.entries is not None:
            pending += [child for key, child in node.entries.items() if key != "layout" or node.parent is not None]
        elif node.items is not None:
            pending += node.items
        elif isinstance(node.scalar, str) and name in node.scalar:
            place = "condition" if node.key in _CONDITIONS else "value"
            if _found(node.scalar, place, name):
                yield node, place, node.scalar


def renamed(text: str, place: str, name: str, to: str) -> str:
    """The text with every reference to one step made to another."""
    for start, end in sorted(_found(text, place, name), reverse=True):
        text = text[:start] + to + text[end:]
    return text


def _found(text: str, place: str, name: str) -> list[tuple[int, int]]:
    """Where in a text the name itself stands, as a reference."""
    places: set[tuple[int, int]] = set()
    for reference in _references(text, place):
        whole = text[reference.start : reference.end]
        if reference.root == name:
            found = re.match(r"\$?" + re.escape(name), whole)
        elif reference.root == "steps" and reference.path[:1] == (name,):
            found = re.match(r"""\$?steps\s*(?:\.\s*|\[\s*["'])""" + re.escape(name), whole)
        else:
            continue
        if found is not None:
            end = reference.start + found.end()
            places.add((end - len(name), end))
    return sorted(places)


def _references(text: str, place: str) -> tuple[Reference, ...]:
    try:
        if place == "value" or "{{" in text:
            return references_of(text, "value")
        if text.lstrip().startswith("$.") or text.lstrip().startswith("$["):
            return references_of(text, "poll")
        return references_of(text, "expression")
    except ExprError:
        # A text that is no expression refers to nothing; what is wrong with it the check of the flow says.
        return ()
