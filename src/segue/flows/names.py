"""What a flow is called: the id in a text, and the ids that a flow may be stored under."""

from __future__ import annotations

import re
from typing import Final

from segue.errors import InvalidInputError
from segue.flow import read_flow

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
