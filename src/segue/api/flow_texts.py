"""Flows as requests bring them: text, document or graph."""

from __future__ import annotations

from typing import cast

import msgspec

from segue.api.bodies import JsonObject
from segue.api.errors import InvalidRequestError
from segue.api.flow_bodies import CreateFlow, PutDraft
from segue.errors import InvalidInputError
from segue.flow.edit import Edit, Graph, write_document, write_graph
from segue.flow.forms.header import slug
from segue.flow.model import RawMap
from segue.flows.names import id_of


def text_of_new(body: CreateFlow) -> tuple[str, str]:
    """Id and text of a new flow. Raises InvalidRequestError, InvalidInputError."""
    given = _given(body)
    if len(given) > 1:
        message = f"send only one of {' and '.join(given)}"
        raise InvalidRequestError(message, [(given[1], message)])
    named = body.id or (slug(body.name) if body.name is not None else "") or None
    if body.text is not None:
        text = body.text
    elif body.document is not None:
        text = write_document(cast("RawMap", body.document))
    elif body.graph is not None:
        text = write_graph(graph_of_body(body.graph))
    elif named is None:
        message = "send a flow (text, document or graph), or an id or a name to begin with"
        raise InvalidRequestError(message, [("text", message)])
    else:
        title = {} if body.name is None else {"title": body.name}
        return named, write_document({"flow": named, **title, "steps": []})
    return body.id or _id_in(text) or named or id_of(text), text


def _id_in(text: str) -> str | None:
    """What a text calls its flow, if it does."""
    try:
        return id_of(text)
    except InvalidInputError:
        return None


def _given(body: CreateFlow | PutDraft) -> list[str]:
    return [name for name in ("text", "document", "graph") if getattr(body, name) is not None]


def exactly_one(body: PutDraft) -> None:
    """Raises InvalidRequestError unless the draft comes in one way."""
    given = _given(body)
    if len(given) != 1:
        message = "send exactly one of text, document and graph"
        raise InvalidRequestError(message, [(given[1] if given else "text", message)])


def graph_of_body(value: JsonObject) -> Graph:
    """A canvas graph. Raises InvalidRequestError for what is none."""
    try:
        return msgspec.convert(value, Graph)
    except msgspec.ValidationError as error:
        message = f"this is no graph of a flow: {error}"
        raise InvalidRequestError(message, [("graph", message)]) from None


def edits_of_body(values: list[JsonObject]) -> list[Edit]:
    """Edits of a draft. Raises InvalidRequestError for the first that is none."""
    found: list[Edit] = []
    for number, value in enumerate(values):
        try:
            found.append(msgspec.convert(value, Edit))
        except msgspec.ValidationError as error:
            message = f"edit {number} is none: {error}"
            raise InvalidRequestError(message, [(f"edits.{number}", message)]) from None
    return found
