"""Drafts as a canvas sees and changes them. A module of its own: few processes edit flows, and the editor takes long to
load.
"""

from __future__ import annotations

from collections.abc import Sequence

from segue.errors import InvalidFlowError, RequestError
from segue.flow import read_flow
from segue.flow.edit import Edit, Graph, SetFlow, apply_edits, graph_of, update_text, write_document, write_graph
from segue.flow.model import RawMap


def drawn(text: str, id: str) -> Graph:
    """A text as a canvas draws it. Raises InvalidFlowError if it cannot be read."""
    read = read_flow(text, file=f"{id}.yaml")
    if read.flow is None:
        raise InvalidFlowError(f"the text of {id} cannot be drawn before it can be read; mend it", read.problems)
    return graph_of(read)


def with_graph(text: str, graph: Graph, id: str) -> str:
    """A text brought up to a graph, or a new one if it cannot be read. Raises RequestError if none says this graph."""
    read = read_flow(text, file=f"{id}.yaml")
    return write_graph(graph) if read.flow is None else update_text(text, graph).text


def written(document: RawMap) -> str:
    """A parsed document as text."""
    return write_document(document)


def edited(text: str, edits: Sequence[Edit], id: str) -> str:
    """A text after edits. Raises InvalidFlowError if it cannot be read, RequestError if an edit is not possible."""
    read = read_flow(text, file=f"{id}.yaml")
    if read.flow is None:
        raise InvalidFlowError(f"the text of {id} cannot be edited before it can be read; mend it", read.problems)
    return apply_edits(text, edits, file=f"{id}.yaml").text


def renamed(text: str, id: str) -> str:
    """The text, calling its flow by another id if it calls it by one at all. One that cannot be read stays as it is."""
    read = read_flow(text)
    root = None if read.document is None else read.document.root
    key = None if root is None else next((key for key in ("flow", "id") if root.get(key) is not None), None)
    if key is None or read.flow is None:
        return text
    try:
        return apply_edits(text, [SetFlow(path=(key,), value=id)]).text
    except RequestError:
        return text
