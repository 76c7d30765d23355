"""What a flow is called: ids in texts, and the ids that a flow may be stored under."""

from __future__ import annotations

import re
from typing import Final

from segue.errors import InvalidInputError, RequestError
from segue.flow import read_flow
from segue.flow.edit import SetFlow, apply_edits

ID: Final = re.compile(r"[^\W_][\w.-]{0,99}\Z")
"""What a stored flow may be called: it stands in addresses."""


def refuse_bad_id(id: str) -> None:
    """Raises InvalidInputError for what cannot stand in an address."""
    if ID.match(id) is None:
        message = f"{id[:100]!r} is no id; use up to 100 letters, digits, `-`, `_`, `.`, a letter or digit first"
        raise InvalidInputError(message, [("id", message)])


def id_of(text: str) -> str:
    """What a text calls its flow. Raises InvalidInputError if it has no name."""
    read = read_flow(text, file="")
    root = None if read.document is None else read.document.root
    named = root is not None and any(root.get(key) is not None for key in ("flow", "id", "name", "title"))
    if read.flow is None or not named:
        message = "the text has no name for its flow; write `flow: NAME`, or send an id"
        raise InvalidInputError(message, [("id", message)])
    return read.flow.id


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
