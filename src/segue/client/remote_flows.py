"""The stored flows of a running host, over its HTTP API, as the command line asks for them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final, Literal, cast
from urllib.parse import quote

import msgspec

from segue.client.remote import FlowProblem, RemoteHost, problem_of
from segue.flows.exchange import ApplyReport, FileOutcome, FlowFile, Missing, Outcome, archive_of
from segue.flows.exporting import Exported
from segue.flows.redaction import Replaced

AS_JSON_MAX: Final = 1024 * 1024
"""Characters of files that are sent as they are; more go as an archive, since a request's body is limited."""


class FlowSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A flow in a list, as far as a terminal shows it."""

    id: str
    name: str
    origin: str
    state: str = "live"
    version: str | None = None
    is_changed: bool = False
    tags: list[str] = []
    updated_at: str | None = None
    updated_by: str | None = None


class FlowText(FlowSummary, frozen=True, kw_only=True):
    """A flow with its text."""

    source: str = ""
    description: str | None = None


class _List(msgspec.Struct):
    flows: list[FlowSummary]
    next_cursor: str | None = None


class _File(msgspec.Struct):
    file: str
    flow: str | None
    outcome: str
    version: str | None
    message: str | None
    diff: str
    problems: list[FlowProblem]
    masked: list[str] = []


class _Report(msgspec.Struct):
    ok: bool
    applied: bool
    files: list[_File]
    missing: list[Missing] = []


class _Export(msgspec.Struct):
    text: str
    replaced: list[Replaced]


class RemoteFlows:
    """Flows of the workspace that the host's token works in."""

    def __init__(self, remote: RemoteHost) -> None:
        self._remote = remote

    async def list(
        self, *, query: str | None = None, tags: Sequence[str] = (), state: str = "live", limit: int = 50
    ) -> list[FlowSummary]:
        """The first ones by name, or the best hits."""
        asked = [("state", state), ("limit", str(limit)), *(("tag", tag) for tag in tags)]
        asked += [] if query is None else [("q", query)]
        return (await self._remote.ask("GET", "/api/v1/flows", _List, query=asked)).flows

    async def show(self, id: str) -> FlowText:
        """One flow. Raises NotFoundError."""
        return await self._remote.ask("GET", f"/api/v1/flows/{quote(id, safe='')}", FlowText)

    async def export(self, id: str, *, version: str | None, form: Literal["yaml", "json"]) -> Exported:
        """A flow's text, without secrets, and what was replaced in it. Raises NotFoundError."""
        asked = [("report", "true"), ("format", form), *([] if version is None else [("version", version)])]
        told = await self._remote.ask("GET", f"/api/v1/flows/{quote(id, safe='')}/export", _Export, query=asked)
        return Exported(told.text, tuple(told.replaced))

    async def apply(self, files: Sequence[FlowFile], *, dry_run: bool, prune: bool, message: str | None) -> ApplyReport:
        """See `segue.flows.exchange.Exchange.apply`, with `publish`."""
        asked = [("publish", "true"), ("dry_run", str(dry_run).lower()), ("prune", str(prune).lower())]
        asked += [] if message is None else [("message", message)]
        if sum(len(one.text) for one in files) > AS_JSON_MAX:
            packed = await asyncio.to_thread(archive_of, files)
            told = await self._remote.ask("POST", "/api/v1/flow-import", _Report, archive=packed, query=asked)
        else:
            body: Mapping[str, object] = {"files": [{"name": one.name, "text": one.text} for one in files]}
            told = await self._remote.ask("POST", "/api/v1/flow-import", _Report, json=body, query=asked)
        outcomes = [
            FileOutcome(
                file=one.file, flow=one.flow, outcome=cast("Outcome", one.outcome), version=one.version,
                message=one.message, diff=one.diff, problems=[problem_of(problem) for problem in one.problems],
                masked=one.masked,
            )
            for one in told.files
        ]  # fmt: skip
        return ApplyReport(ok=told.ok, applied=told.applied, files=outcomes, missing=told.missing)
