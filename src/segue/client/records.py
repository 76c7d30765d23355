"""What a client of a running host gets to see; apart from the client itself, which takes a while to load."""

from __future__ import annotations

import msgspec

from segue.errors import EngineError


class HostLostError(EngineError):
    """The host did not answer, or is being stopped. What it had accepted is kept and goes on with the next host."""


class RunSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A run in a list. Times are RFC 3339 (UTC)."""

    id: str
    flow: str
    status: str
    trigger: str = "api"
    recovered: bool = False
    error: str | None = None
    created_at: str | None = None
    started_at: str | None = None
    finished_at: str | None = None


class RemoteCallback(msgspec.Struct, frozen=True, kw_only=True):
    """A signal that a step waits for."""

    step: str
    url: str

    @property
    def token(self) -> str:
        """The address' last part."""
        return self.url.rpartition("/")[2]
