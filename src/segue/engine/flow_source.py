"""Where a host finds a flow by its name, for steps that run another flow: a small port, and one in memory."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from segue.errors import ConflictError, NotFoundError
from segue.flow.catalogue import FlowSpec
from segue.flow.model import Flow


class FoundFlow(NamedTuple):
    """A flow that was found, checked and bound, with its text."""

    flow: Flow
    source: str = ""


class FlowSource(Protocol):
    """Flows by id. A host that knows none by an id looks among the versions in its database, the newest first."""

    async def find(self, flow_id: str, version: str | None = None, *, workspace: str) -> FoundFlow | None:
        """The workspace's flow as it stands now; with a `version`, only if it bears that number. None: not known here.

        Raises InvalidFlowError for one that has errors; NotFoundError or ConflictError for one that is known and starts
        no run, so that it is not looked for in the database.
        """
        ...

    def spec(self, flow_id: str) -> FlowSpec | None:
        """What a checker may know of the flow, so that a name in another one can mean it. Not checked itself."""
        ...


class RegisteredFlows:
    """Flows that a program has registered."""

    def __init__(self) -> None:
        self._flows: dict[str, list[FoundFlow]] = {}

    def add(self, flow: Flow, source: str = "") -> None:
        """Register a flow; of several with the same id the last one counts, or the last of the version asked for."""
        self._flows.setdefault(flow.id, []).append(FoundFlow(flow, source))

    async def find(self, flow_id: str, version: str | None = None, *, workspace: str) -> FoundFlow | None:
        """See `FlowSource.find`."""
        del workspace  # the program that registers flows is one workspace
        known = self._flows.get(flow_id, ())
        return next((one for one in reversed(known) if version in (None, one.flow.version)), None)

    def spec(self, flow_id: str) -> FlowSpec | None:
        """See `FlowSource.spec`."""
        known = self._flows.get(flow_id)
        return None if known is None else FlowSpec(name=flow_id, inputs=known[-1].flow.inputs)


class FlowSources:
    """Several sources as one; the first that knows a flow counts."""

    def __init__(self, *sources: FlowSource) -> None:
        self._sources = list(sources)

    def add(self, source: FlowSource) -> None:
        """Ask this one too, after the others."""
        self._sources.append(source)

    async def find(self, flow_id: str, version: str | None = None, *, workspace: str) -> FoundFlow | None:
        """See `FlowSource.find`. What one source does not give, another one may."""
        refused: NotFoundError | ConflictError | None = None
        for source in self._sources:
            try:
                found = await source.find(flow_id, version, workspace=workspace)
            except (NotFoundError, ConflictError) as error:
                refused = refused or error
                continue
            if found is not None:
                return found
        if refused is not None:
            raise refused
        return None

    def spec(self, flow_id: str) -> FlowSpec | None:
        """See `FlowSource.spec`."""
        return next((spec for source in self._sources if (spec := source.spec(flow_id)) is not None), None)
