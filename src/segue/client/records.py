"""What a client of a running host gets to see; apart from the client itself, which takes a while to load."""

from __future__ import annotations

from typing import Any

import msgspec

from segue.errors import EngineError, RequestError


class HostLostError(EngineError):
    """The host did not answer, or is being stopped. What it had accepted is kept and goes on with the next host."""


class UnavailableError(EngineError):
    """The host cannot do it at the moment, and did not: the same request may be sent again."""


class AccessDeniedError(RequestError):
    """The token is not known, or may not do this."""


class RunEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event of a run: `log` (a line), `run` (the run with its steps), `end`. `id`: where to go on after it."""

    kind: str
    id: str
    data: Any


class StartedRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run that is kept. `repeated`: its idempotency key had started it before."""

    run_id: str
    status: str
    repeated: bool = False


class FlowSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A flow of the host. `inputs` is a JSON Schema; `published` the number of the version that runs."""

    id: str
    name: str
    description: str | None = None
    inputs: dict[str, Any] = {}
    steps: int = 0
    tags: list[str] = []
    published: str | None = None


class TriggerSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What starts runs of a flow."""

    id: str
    kind: str
    flow: str = ""
    enabled: bool = True


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
    labels: dict[str, str] = {}


class RemoteCallback(msgspec.Struct, frozen=True, kw_only=True):
    """A signal that a step waits for."""

    step: str
    url: str

    @property
    def token(self) -> str:
        """The address' last part."""
        return self.url.rpartition("/")[2]
