"""The triggers of one host as a whole: what its doors and its engine speak to."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Final

from segue.access.vault import Vault
from segue.engine.flow_source import FlowSource
from segue.engine.host import Engine
from segue.engine.ids import WORKSPACE
from segue.engine.library import FlowLibrary, LibraryFlow
from segue.engine.reactions import RunEnd
from segue.engine.secrets import SecretResolver
from segue.errors import NotFoundError, SegueError
from segue.flow.model import Flow, JsonValue, RawMap
from segue.store.port import EventRow
from segue.store.tables import Tables
from segue.triggers.deliveries import drop_old
from segue.triggers.kept_deliveries import KeptDeliveries
from segue.triggers.limits import DEFAULT_LIMITS, TriggerLimits
from segue.triggers.reactions import Chains
from segue.triggers.records import Origin, TriggerRow
from segue.triggers.registry import Registry
from segue.triggers.scheduler import Scheduler
from segue.triggers.starting import Starter

if TYPE_CHECKING:
    from segue.triggers.intake import Intake
    from segue.triggers.lookup import Webhooks
    from segue.triggers.secrets import TriggerSecrets

DROP_EVERY_MS: Final = 3_600_000
"""How often what is older than it is kept is deleted."""
LOOK_SECONDS: Final = 5.0
"""How soon a changed file's triggers are those that it declares."""
_log = logging.getLogger("segue.triggers")


class Triggers:
    """Everything that starts runs by itself. Listens to its engine (`segue.engine.reactions.Reactions`)."""

    def __init__(
        self,
        engine: Engine,
        tables: Tables,
        flows: FlowSource,
        library: FlowLibrary,
        vault: Vault,
        resolver: SecretResolver,
        running: Callable[[], Awaitable[frozenset[str]]],
        fetch: Callable[[str], Awaitable[object]],
        limits: TriggerLimits = DEFAULT_LIMITS,
    ) -> None:
        """`running` gives the ids of the stored flows that go before files of the same id, `fetch` a JSON document at
        an address outside. `limits` hold for all triggers of the host.
        """
        self.engine = engine
        self.registry = Registry(tables, engine.now, lambda: engine.server_key)
        self._vault, self._resolver = vault, resolver
        self.starter = Starter(engine, flows)
        self._fetch = fetch
        self._limits = limits
        self._library = library
        self._tables = tables
        self._running = running
        self._turn = asyncio.Lock()
        self._followed: dict[str, bytes] = {}
        self._looking: asyncio.Task[None] | None = None
        self.deliveries = KeptDeliveries(tables, self.registry)
        self.scheduler = Scheduler(engine, tables, self.registry, self.starter)
        self.registry.changed = self._changed
        self._chains = Chains(engine, tables, self.registry, self.starter)

    def _changed(self, id: str) -> None:
        self.scheduler.changed(id)
        if "intake" in self.__dict__ and self.registry.find(id) is None:
            self.intake.forget(id)

    async def open(self) -> None:
        """See `Reactions.open`."""
        await self.registry.load()

    @cached_property
    def secrets(self) -> TriggerSecrets:
        """What webhooks are checked with. Loaded when it is needed, like `intake`: most programs take no requests."""
        from segue.triggers.secrets import TriggerSecrets  # noqa: PLC0415

        return TriggerSecrets(self._tables, self._vault, self._resolver, self.engine.now)

    @cached_property
    def intake(self) -> Intake:
        """What requests to webhooks become."""
        from segue.triggers.intake import Intake  # noqa: PLC0415
        from segue.triggers.key_sets import KeySets  # noqa: PLC0415
        from segue.triggers.proof import Proofs  # noqa: PLC0415

        proofs = Proofs(self.secrets, KeySets(self._fetch, self.engine.now), self.engine.now)
        return Intake(self._tables, self.registry, self.webhooks, proofs, self.starter, self.engine.now)

    @cached_property
    def webhooks(self) -> Webhooks:
        """Which webhook an address means."""
        from segue.triggers.lookup import Webhooks  # noqa: PLC0415

        return Webhooks(self.registry, self._limits.body_bytes)

    async def fire(self, row: TriggerRow, data: JsonValue, headers: RawMap) -> str:
        """See `segue.triggers.by_hand.fire`."""
        from segue.triggers.by_hand import fire  # noqa: PLC0415

        return await fire(row, data, headers, starter=self.starter, scheduler=self.scheduler)

    def address_of(self, row: TriggerRow, base_url: str) -> str:
        """Where a webhook's senders send to; below `base_url` if the host does not know where it is reached."""
        base = (self.engine.address or base_url).rstrip("/")
        return f"{base}/hooks/{row.workspace}/{row.flow_id}/{self.registry.random_part(row)}"

    def watches_end(self, workspace: str, flow_id: str) -> bool:
        """See `Reactions.watches_end`."""
        return self._chains.watches_end(workspace, flow_id)

    async def run_ended(self, end: RunEnd) -> None:
        """See `Reactions.run_ended`."""
        await self._chains.run_ended(end)

    async def event_kept(self, event: EventRow) -> None:
        """See `Reactions.event_kept`."""
        await self._chains.event_kept(event)

    async def follow(self, workspace: str, flow: Flow, *, origin: Origin = "stored", source: str = "") -> None:
        """A flow was published, or its file changed: its triggers are those that it declares now. Safe to repeat.
        A file's flow is kept with its text (`source`), so that it is known before the folders are looked at.
        """
        async with self._turn:
            await self._follow(workspace, flow, origin, source)

    async def _follow(self, workspace: str, flow: Flow, origin: Origin, source: str = "") -> None:
        if flow.triggers and origin == "folder":
            await self.engine.versions.keep(flow, source, self.engine.now(), workspace=workspace)
        self.starter.forget(workspace, flow.id)
        await self.registry.follow(workspace, flow, origin)

    async def begin(self) -> None:
        """Follow the flows of the folders, and start what is due, until `stop`. For a server: a command that runs one
        flow on the side starts no others by the clock.
        """
        await self.scheduler.begin()
        await self.follow_folders()
        self._looking = asyncio.create_task(self._look_again())

    async def stop(self) -> None:
        """Begin nothing more by itself. Safe to repeat."""
        await self.scheduler.stop()
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
            self._looking = None

    def workspaces_changed(self) -> None:
        """A workspace was closed or opened, or a switch was set: what rested may go on."""
        self.scheduler.look()

    async def follow_folders(self) -> None:
        """The flows of the folders as they stand. One with an error keeps the triggers that it had; one whose id a
        stored flow has that runs has none.
        """
        async with self._turn:
            stored = await self._running()
            present: list[tuple[str, str]] = []
            for found in await asyncio.to_thread(self._library.all):
                present.append((WORKSPACE, found.id))
                if found.id in stored:
                    self._followed.pop(found.id, None)
                else:
                    await self._follow_file(found)
            await self.registry.retire_others("folder", present)
            there = {flow_id for _, flow_id in present}
            self._followed = {flow_id: digest for flow_id, digest in self._followed.items() if flow_id in there}

    async def _follow_file(self, found: LibraryFlow) -> None:
        flow = found.flow
        # Of two files with the same flow the first one counts.
        if flow is None or not found.runnable or found.id != flow.id or self._followed.get(flow.id) == found.digest:
            return
        await self._follow(WORKSPACE, flow, "folder", found.source)
        self._followed[flow.id] = found.digest

    async def drop_old(self) -> None:
        """Forget deliveries, their ids and what became of due times once they are older than they are kept."""
        now, more = self.engine.now(), True
        while more:
            more = await self._tables.change(lambda sql: drop_old(sql, now, self._limits.kept_ms))

    async def _look_again(self) -> None:
        dropped_at = 0
        while True:
            try:
                await self.follow_folders()
                now = self.engine.now()
                if now - dropped_at >= DROP_EVERY_MS:
                    await self.drop_old()
                    dropped_at = now
            except SegueError as error:
                _log.warning("the folders' triggers could not be looked at: %s", error.message)
            await asyncio.sleep(LOOK_SECONDS)

    async def retire(self, workspace: str, flow_id: str) -> None:
        """A flow was archived or deleted: its triggers rest, and those of a file of its id are in force."""
        async with self._turn:
            self.starter.forget(workspace, flow_id)
            await self.registry.retire(workspace, flow_id)
            self._followed.pop(flow_id, None)
            if workspace != WORKSPACE or self._looking is None:
                return
            with suppress(NotFoundError):
                await self._follow_file(await asyncio.to_thread(self._library.get, flow_id))
