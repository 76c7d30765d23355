"""Stored flows as the engine finds them: the published version of a name, or the version of a number."""

from __future__ import annotations

from collections.abc import Callable

from segue.engine.flow_source import FoundFlow
from segue.engine.ids import WORKSPACE
from segue.errors import NotFoundError
from segue.flow import Flow
from segue.flow.catalogue import FlowSpec
from segue.flows.cache import Cache
from segue.flows.records import StoredVersion
from segue.flows.service import StoredFlows


class StoredFlowSource:
    """Satisfies `FlowSource` of the engine. Knows a version for five minutes; a change here counts at once."""

    def __init__(self, flows: StoredFlows, seconds: Callable[[], float]) -> None:
        self._flows = flows
        self._known: Cache[tuple[str, str, str | None], StoredVersion | None] = Cache(seconds)
        self._specs: dict[str, FlowSpec] | None = None
        flows.on_change(self._forget)

    async def find(self, flow_id: str, version: str | None = None, *, workspace: str) -> FoundFlow | None:
        """See `FlowSource.find`. Raises NotFoundError for a flow that was deleted, ConflictError for one that is
        archived or not published.
        """
        found = await self.version(workspace, flow_id, version)
        return None if found is None else FoundFlow(found.flow, found.source)

    async def version(self, workspace: str, flow_id: str, number: str | None = None) -> StoredVersion | None:
        """The version that runs. None: no such flow was ever stored here. Raises as `find`."""

        async def load() -> StoredVersion | None:
            found = await self._flows.runnable(workspace, flow_id, number)
            if found is None and await self._flows.was_deleted(workspace, flow_id):
                raise NotFoundError(f"the flow {flow_id!r} was deleted; restore it")
            return found

        return await self._known.get((workspace, flow_id, number), load)

    async def running(self) -> frozenset[str]:
        """The ids of the flows of the workspace that is there from the start, as far as they can run. From then on
        files of folders may name them (`spec`): they belong to that workspace, and are read where nobody can wait for
        the database.
        """
        if self._specs is None:
            self._specs = dict(await self._flows.running(WORKSPACE))
        return frozenset(self._specs)

    def runs(self, workspace: str, id: str, flow: Flow | None) -> None:
        """Note which version of a flow runs now; None: none does any more."""
        if self._specs is None or workspace != WORKSPACE:
            return
        if flow is None:
            self._specs.pop(id, None)
        else:
            self._specs[id] = FlowSpec(name=id, inputs=flow.inputs)

    def spec(self, flow_id: str) -> FlowSpec | None:
        """See `FlowSource.spec`: for files of folders. What a stored text may know depends on its workspace
        (`segue.flows.reading`).
        """
        return None if self._specs is None else self._specs.get(flow_id)

    def _forget(self, workspace: str, id: str) -> None:
        self._known.drop_if(lambda key: key[0] == workspace and key[1] == id)
