"""The ways to a database's stored flows: through this process, or through the host that runs it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Literal, Protocol, cast

from segue.bootstrap import Host, build_host
from segue.cli.database import file_of
from segue.cli.hosting import Hosting, host_or_remote, open_workspace, remote_of
from segue.client.remote_flows import FlowSummary, FlowText, RemoteFlows
from segue.engine.views import rfc3339
from segue.flows.exchange import ApplyReport, Exchange, FlowFile
from segue.flows.exporting import Exported, Exports
from segue.flows.records import Author, FlowFilter, FlowInfo, State
from segue.net.egress import EgressPolicy
from segue.store import store_for_reading

AUTHOR = Author("command-line", "the command line")


class FlowDesk(Protocol):
    """What commands ask of stored flows. All raise NotFoundError, RequestError, … of `segue.errors`."""

    async def list(
        self, *, query: str | None = None, tags: Sequence[str] = (), state: str = "live", limit: int = 50
    ) -> list[FlowSummary]:
        """The first ones by name, or the best hits."""
        ...

    async def show(self, id: str) -> FlowText:
        """One flow with its text."""
        ...

    async def export(self, id: str, *, version: str | None, form: Literal["yaml", "json"]) -> Exported:
        """A flow's text, without secrets, and what was replaced in it."""
        ...

    async def apply(self, files: Sequence[FlowFile], *, dry_run: bool, prune: bool, message: str | None) -> ApplyReport:
        """Have the published flows be these files."""
        ...


class LocalFlows:
    """Through a host of this process."""

    def __init__(self, host: Host, workspace: str) -> None:
        self._workspace = workspace
        self._flows = host.flows
        self._exchange = Exchange(host.flows, host.credentials)
        self._exports = Exports(host.flows, host.credentials)

    async def list(
        self, *, query: str | None = None, tags: Sequence[str] = (), state: str = "live", limit: int = 50
    ) -> list[FlowSummary]:
        """See `FlowDesk.list`."""
        where = FlowFilter(query=query, tags=tuple(tags), state=cast("State", state))
        return [_summary(info) for info in (await self._flows.list(self._workspace, where, limit=limit)).flows]

    async def show(self, id: str) -> FlowText:
        """See `FlowDesk.show`."""
        info = await self._flows.get(self._workspace, id)
        summary, source = _summary(info), await self._flows.draft_text(self._workspace, id)
        fields = {name: getattr(summary, name) for name in FlowSummary.__struct_fields__}
        return FlowText(source=source, description=info.description, **fields)

    async def export(self, id: str, *, version: str | None, form: Literal["yaml", "json"]) -> Exported:
        """See `FlowDesk.export`."""
        return await self._exports.stored(self._workspace, id, version=version, form=form)

    async def apply(self, files: Sequence[FlowFile], *, dry_run: bool, prune: bool, message: str | None) -> ApplyReport:
        """See `FlowDesk.apply`."""
        return await self._exchange.apply(
            self._workspace, files, AUTHOR, dry_run=dry_run, publish=True, prune=prune, message=message
        )


@asynccontextmanager
async def flows_for_reading(url: str, workspace: str) -> AsyncGenerator[FlowDesk]:
    """A desk that only looks: through the host if it can be reached, else at the file itself."""
    remote = remote_of(url)
    if remote is not None:
        await remote.close()
        async with remote.within(workspace) as there:
            yield RemoteFlows(there)
        return
    store = store_for_reading(url)
    await store.open()
    host = build_host(url, egress=EgressPolicy.local(), store=store)
    try:
        yield await _of_workspace(host, workspace)
    finally:
        await store.close()
        await host.http.close()


@asynccontextmanager
async def flows_for_changing(url: str, sources: Sequence[str], workspace: str) -> AsyncGenerator[FlowDesk]:
    """A desk for changes: through the host, else by hosting the file without carrying anything out. `sources` are the
    actions that the flows may use; a host has its own.
    """
    found = await host_or_remote(url, sources=sources)
    if not isinstance(found, Hosting):
        await found.close()
        async with found.within(workspace) as there:
            yield RemoteFlows(there)
        return
    try:
        await found.host.engine.open(adopt=False)
        yield await _of_workspace(found.host, workspace)
    finally:
        await found.close(grace_seconds=0)


async def _of_workspace(host: Host, workspace: str) -> LocalFlows:
    """Raises NotFoundError for a workspace that is not there."""
    await open_workspace(host, workspace)
    return LocalFlows(host, workspace)


def database_or_nothing(url: str) -> str:
    """The database's address; if its file is not there, that of an empty one which ends with the command."""
    path = file_of(url)
    return "memory:" if path is not None and not path.exists() else url


def _summary(info: FlowInfo) -> FlowSummary:
    return FlowSummary(
        id=info.id, name=info.name, origin="stored", state=info.state, version=info.published,
        is_changed=info.is_changed, tags=list(info.tags), updated_at=rfc3339(info.updated_at),
        updated_by=info.updated_by,
    )  # fmt: skip
