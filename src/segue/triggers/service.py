"""The triggers of one host as a whole: what its doors and its engine speak to."""

from __future__ import annotations

from collections.abc import Iterable

from segue.access.vault import Vault
from segue.engine.flow_source import FlowSource
from segue.engine.host import Engine
from segue.engine.reactions import RunEnd
from segue.engine.secrets import SecretResolver
from segue.flow.model import Flow
from segue.store.port import EventRow
from segue.store.tables import Tables
from segue.triggers.intake import Intake
from segue.triggers.reactions import Chains
from segue.triggers.records import Origin
from segue.triggers.registry import Registry
from segue.triggers.secrets import TriggerSecrets
from segue.triggers.starting import Starter


class Triggers:
    """Everything that starts runs by itself. Listens to its engine (`segue.engine.reactions.Reactions`)."""

    def __init__(
        self,
        engine: Engine,
        tables: Tables,
        flows: FlowSource,
        vault: Vault,
        resolver: SecretResolver,
        server_key: bytes,
    ) -> None:
        self.engine = engine
        self.registry = Registry(tables, engine.now, server_key)
        self.secrets = TriggerSecrets(tables, vault, resolver, engine.now)
        self.starter = Starter(engine, flows)
        self.intake = Intake(tables, self.registry, self.secrets, self.starter, engine.now)
        self._chains = Chains(engine, tables, self.registry, self.starter)

    async def open(self) -> None:
        """See `Reactions.open`."""
        await self.registry.load()

    def watches_end(self, workspace: str, flow_id: str) -> bool:
        """See `Reactions.watches_end`."""
        return self._chains.watches_end(workspace, flow_id)

    async def run_ended(self, end: RunEnd) -> None:
        """See `Reactions.run_ended`."""
        await self._chains.run_ended(end)

    async def event_kept(self, event: EventRow) -> None:
        """See `Reactions.event_kept`."""
        await self._chains.event_kept(event)

    async def follow(self, workspace: str, flow: Flow, origin: Origin = "stored") -> None:
        """A flow was published, or its file changed: its triggers are those that it declares now. Safe to repeat."""
        await self.registry.follow(workspace, flow, origin)

    async def follow_all(self, flows: Iterable[tuple[str, Flow]], *, present: Iterable[tuple[str, str]]) -> None:
        """The flows of the folders as they stand: (workspace, flow) pairs of those without errors, and (workspace, id)
        of all that are there, so that one with an error keeps the triggers that it had.
        """
        for workspace, flow in flows:
            await self.registry.follow(workspace, flow, "folder")
        await self.registry.retire_others("folder", present)

    async def retire(self, workspace: str, flow_id: str) -> None:
        """A flow was archived or deleted: the triggers that it declared rest."""
        await self.registry.retire(workspace, flow_id)
