"""What comes to a webhook's address, before anybody has judged it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from segue.flow.model import JsonValue


class Content(NamedTuple):
    """A body that was read: `is_base64` if it is neither JSON, a form nor text."""

    value: JsonValue
    is_base64: bool = False


Read: TypeAlias = Callable[[str, bytes], Content]
"""Reads a body by its content type. Raises RequestError for one that is not what it says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """A request to a webhook's address, its body as it came."""

    workspace: str
    flow_id: str
    random: str | None
    method: str
    headers: Sequence[tuple[str, str]]
    query: Sequence[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str:
        """The header's value, or nothing."""
        return next((value for key, value in self.headers if key.lower() == name), "")

    @property
    def content_type(self) -> str:
        """Without parameters, in lower case."""
        return self.header("content-type").partition(";")[0].strip().lower()[:200]

    @property
    def media_type(self) -> str:
        """The content type with what is needed to read the body: the boundary of a multipart one."""
        return (
            self.header("content-type").strip()[:200]
            if self.content_type.startswith("multipart/")
            else self.content_type
        )
