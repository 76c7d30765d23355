"""Reads a document of any form into the canonical model: tells the form, calls its reader, gathers all problems."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from types import MappingProxyType
from typing import Literal, TypeAlias

import msgspec

from segue.flow import codes
from segue.flow.document import Document, Node
from segue.flow.model import Flow
from segue.flow.problems import Problem
from segue.flow.reader import MAX_PROBLEMS, Reader
from segue.flow.tree import tree_of
from segue.flow.yaml_source import read_source

Form: TypeAlias = Literal["yaml", "graph", "definition", "tasks", "dag"]


class ReadResult(msgspec.Struct, frozen=True, kw_only=True):
    """What reading gave. `flow` is there as far as it could be read, even with problems; `document` holds the
    places.
    """

    flow: Flow | None
    problems: tuple[Problem, ...]
    document: Document | None

    @property
    def has_errors(self) -> bool:
        """Whether one of the problems is an error."""
        return any(problem.severity == "error" for problem in self.problems)


def read_flow(
    text: str | bytes, *, file: str | None = None, saved: Mapping[str, Node] = MappingProxyType({})
) -> ReadResult:
    """Read YAML or JSON text. Never raises for what the text holds: the answer has a flow, or problems, or both.

    `saved`: steps that are known by name beside the text's own `definitions`, which go first.
    """
    document, problems = read_source(text, file=file)
    if document is None:
        if not problems:
            message = "the text holds no flow"
            problems = [
                Problem(code=codes.NO_STEPS, message=message, file=file, suggestion="begin with `flow:` and `steps:`")
            ]
        return ReadResult(flow=None, problems=tuple(problems), document=None)
    return _read(document, problems, None, saved)


def read_document(
    value: object,
    *,
    file: str | None = None,
    form: Form | None = None,
    saved: Mapping[str, Node] = MappingProxyType({}),
) -> ReadResult:
    """Read an already parsed JSON value (an API body, a stored definition). Problems have paths, but no lines."""
    document, problems = tree_of(value, file=file)
    if document is None:
        return ReadResult(flow=None, problems=tuple(problems), document=None)
    return _read(document, problems, form, saved)


def form_of(node: Node) -> Form | None:
    """The form of a document, by its keys; None if it has steps in no form that is known."""
    entries = node.entries
    if entries is None:
        return None
    if "dag" in entries:
        return "dag"
    for wrapper in (node, entries.get("definition"), entries.get("graph")):
        if wrapper is None or wrapper.entries is None:
            continue
        if "nodes" in wrapper.entries:
            return "graph"
        if "tasks" in wrapper.entries:
            return "tasks"
        steps = wrapper.entries.get("steps")
        if steps is not None:
            is_typed = any(item.get("type") is not None for item in steps.items or [])
            return "definition" if is_typed or wrapper is not node else "yaml"
    return None


def _read(
    document: Document, problems: list[Problem], form: Form | None, saved: Mapping[str, Node] = MappingProxyType({})
) -> ReadResult:
    chosen = form or form_of(document.root)
    reader = Reader(document, milliseconds=chosen in ("graph", "dag", "definition"))
    reader.definitions = dict(saved)
    flow: Flow | None = None
    if document.root.entries is None:
        reader.problem(codes.NO_STEPS, document.root, f"a flow is a map, not {document.root.kind_name()}")
    else:
        flow = _read_form(reader, document.root, chosen or "yaml")
    found = {(problem.code, problem.span, problem.path, problem.message): problem for problem in problems}
    for problem in (*reader.problems, *reader.numbering.problems()):
        found.setdefault((problem.code, problem.span, problem.path, problem.message), problem)
    return ReadResult(flow=flow, problems=tuple(islice(found.values(), MAX_PROBLEMS)), document=document)


def _read_form(reader: Reader, root: Node, form: Form) -> Flow:
    # A form's reader is imported when a document has that form: few programs need more than one of them.
    if form == "yaml":
        from segue.flow.forms.sequence import read_sequence as read  # noqa: PLC0415
    elif form == "graph":
        from segue.flow.forms.graph import read_graph as read  # noqa: PLC0415
    elif form == "definition":
        from segue.flow.forms.definition import read_definition as read  # noqa: PLC0415
    elif form == "tasks":
        from segue.flow.forms.tasks import read_tasks as read  # noqa: PLC0415
    else:
        from segue.flow.forms.dag import read_dag as read  # noqa: PLC0415
    return read(reader, root)
