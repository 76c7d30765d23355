"""Collects a check's problems and finds the place of each in the text."""

from __future__ import annotations

import re
from typing import Literal

from segue.flow import codes
from segue.flow.document import Document, Node, join_path
from segue.flow.fix import change
from segue.flow.model import Flow, JsonValue, Span, Step
from segue.flow.nearest import Suggester
from segue.flow.problems import Patch, Problem


class Findings:
    """Problems of one flow. Without a document they have paths and the steps' spans only."""

    def __init__(self, flow: Flow, document: Document | None) -> None:
        self.flow = flow
        self.document = document
        self.problems: list[Problem] = []
        self.did_you_mean = Suggester().did_you_mean
        self._measured: Node | None = None
        self._offsets: list[int] | None = None

    def add(
        self,
        code: str,
        message: str,
        *,
        step: Step | None = None,
        field: str = "",
        span: Span | None = None,
        path: str | None = None,
        severity: Literal["error", "warning", "note"] | None = None,
        suggestion: str | None = None,
        patch: Patch | None = None,
        reason: str | None = None,
    ) -> None:
        """Record a problem of a step (at one of its fields), or of the flow."""
        node = self.node(step, field) if field else None
        if path is None:
            base = step.path if step is not None else ""
            path = node.path() if node is not None else join_path(base, field) if field else base
        if span is None:
            span = self.document.span(node) if self.document is not None and node is not None else None
            if span is None and step is None and self.document is not None and (found := self.document.at(path)):
                span = self.document.key_span(found)
            if span is None and step is not None:
                span = step.span
        self.problems.append(
            Problem(
                code=code, message=message, severity=severity or codes.CODES[code].severity, path=path,
                file=self.document.file if self.document is not None else None, span=span, suggestion=suggestion,
                patch=patch, reason=reason,
            )
        )  # fmt: skip

    def node(self, step: Step | None, field: str) -> Node | None:
        """The node that a field of a step (or, without one, of the flow) was read from."""
        if self.document is None:
            return None
        places = self.document.places
        if step is None:
            return places.get(("", field))
        found = places.get((step.path, field))
        if found is None:
            # Verbs that hold steps register their own keys below the verb.
            found = places.get((join_path(step.path, step.kind), field)) or places.get((f"{step.path}.race", field))
        return found

    def name_span(self, step: Step) -> Span | None:
        """Where a step's name is written, else where the step is."""
        return (self.document.name_span(step.path, step.id) if self.document is not None else None) or step.span

    def key_place(self, step: Step, *keys: str) -> tuple[Span | None, str]:
        """Where the first of the keys that a step has is written, and its path; else the step's."""
        node = self.document.at(step.path) if self.document is not None else None
        if node is not None and self.document is not None:
            holders = [node, *(child for child in (node.entries or {}).values() if child.entries is not None)]
            for holder in holders:
                for key in keys:
                    if (child := holder.get(key)) is not None:
                        return self.document.key_span(child), child.path()
        return step.span, step.path

    def rename(self, step: Step, name: str, *, times: int = 1) -> Patch | None:
        """The edit that gives a step another name, if the text holds its name so many times only: then nothing else
        has to change with it.
        """
        span = self.name_span(step)
        if self.document is None or span is None or span == step.span:
            return None
        text = self.document.text or ""
        written = text[span.start : span.end]
        bare = written.strip("\"'")
        count = len(re.findall(rf"(?<![\w-]){re.escape(bare)}(?![\w-])", text))
        return Patch(start=span.start, end=span.end, text=name) if bare == step.id and count <= times else None

    def replace(self, step: Step | None, field: str, text: str) -> Patch | None:
        """The edit that puts another scalar in place of a field's value."""
        node = self.node(step, field)
        if node is None or node.start < 0 or node.style not in ("", "'", '"'):
            return None
        return Patch(start=node.start, end=node.end, text=text)

    def node_at(self, step: Step | None, field: str, at: tuple[str | int, ...]) -> Node | None:
        """The node of a scalar inside a field's value, as near as it can be told."""
        node = self.node(step, field)
        if node is None and field == "params" and at:
            node = self.node(step, f"params.{at[0]}")
            at = at[1:]
        for key in at:
            if node is None:
                return None
            child: Node | None = None
            if isinstance(key, int):
                child = node.items[key] if node.items is not None and key < len(node.items) else None
            else:
                child = node.get(key)
            if child is None:
                return node
            node = child
        return node

    def patch_inside(self, node: Node | None, before: str, after: str) -> Patch | None:
        """The edit that turns one part of a scalar into another text; None if it is not written as it reads."""
        start, end, text = change(before, after)
        span = self.span_inside(node, before, start, end)
        document = self.document
        if document is None or node is None or span is None or span.end - span.start != end - start:
            return None
        if (document.text or "")[span.start : span.end] != before[start:end]:
            return None
        unsafe = {"'": "'", '"': '"\\', "": ""}.get(node.style or "", "")
        if any(char in text for char in unsafe) or (
            node.style == "" and (re.search(r": |:$| #", text) or (start == 0 and re.match(r"[\[{&*!|>%@`\"']", text)))
        ):
            return None
        return Patch(start=span.start, end=span.end, text=text)

    def whole_patch(self, span: Span | None, before: str, after: str) -> Patch | None:
        """The edit that puts one text in place of another, if that is what the span holds."""
        text = self.document.text if self.document is not None else None
        if span is None or text is None or text[span.start : span.end] != before:
            return None
        return Patch(start=span.start, end=span.end, text=after)

    def span_inside(self, node: Node | None, source: str, start: int, end: int) -> Span | None:
        """Where characters [start, end) of a scalar stand in the text: exact for plain and quoted one-line scalars.

        `source` is the text the offsets count in; it may be a part of the scalar. Otherwise the whole scalar's span.
        """
        document = self.document
        if document is None or node is None or document.text is None or node.start < 0:
            return None
        value = node.text
        raw = document.text[node.start : node.end]
        whole = document.span(node)
        if value is None or start < 0 or "\n" in raw or "\r" in raw or node.style not in ("", "'", '"'):
            return whole
        shift = value.find(source) if source != value else 0
        if shift < 0:
            return whole
        if self._measured is not node:
            # The last scalar's are kept: one that is all references would be measured for each of them.
            self._measured, self._offsets = node, _offsets(raw, value, node.style)
        offsets = self._offsets
        if offsets is None:
            return whole
        first, last = start + shift, max(start, end) + shift
        if last >= len(offsets):
            return whole
        if first == len(value) and first > 0:
            first -= 1  # an expression that ends too early: its last character is where to look
        return document.span_at(node.start + offsets[first], node.start + max(offsets[last], offsets[first] + 1))


def _offsets(raw: str, value: str, style: str) -> list[int] | None:
    """For each character of the value (and its end) the offset in the raw text; None if that cannot be told."""
    if style == "":
        return list(range(len(value) + 1)) if raw == value else None
    offsets: list[int] = []
    position = 1
    for char in value:
        offsets.append(position)
        if style == "'":
            position += 2 if char == "'" else 1
        elif raw[position] == "\\":
            length = {"x": 4, "u": 6, "U": 10}.get(raw[position + 1], 2)
            position += length
        else:
            if raw[position] != char:
                return None
            position += 1
    offsets.append(position)
    return offsets if position == len(raw) - 1 else None


def is_dynamic(value: JsonValue) -> bool:
    """Whether the value holds a reference or a computation, so that it is known only at run time."""
    if isinstance(value, str):
        return "$" in value or "{{" in value
    if isinstance(value, list):
        return any(is_dynamic(child) for child in value)
    if isinstance(value, dict):
        return any(is_dynamic(child) for child in value.values())
    return False
