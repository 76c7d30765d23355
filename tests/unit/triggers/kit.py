"""A host over a store in memory with a clock that the test sets, and what its triggers did."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from segue.access.keyring import Key, KeyRing
from segue.bootstrap import Host, build_host
from segue.engine.port import Action
from segue.flow import load_flow
from segue.net.egress import EgressPolicy
from segue.store.port import RunFilter, RunRecord, Store
from segue.triggers.records import TriggerRow

RING = KeyRing([Key.of(b"k" * 32)])
START = 1_800_000_000_000
"""2027-01-15T08:00:00Z."""


@dataclass(eq=False)
class SetClock:
    """Stands still until it is moved."""

    at: int = START
    calls: list[tuple[int, Callable[[], None]]] = field(default_factory=list)

    def now(self) -> int:
        return self.at

    def call_at(self, due: int, call: Callable[[], None]) -> Any:
        entry = (due, call)
        self.calls.append(entry)
        if due <= self.at:
            asyncio.get_running_loop().call_soon(self._call, entry)

        calls = self.calls

        class Kept:
            def cancel(self) -> None:
                if entry in calls:
                    calls.remove(entry)

        return Kept()

    def move_to(self, at: int) -> None:
        self.at = at
        for entry in [entry for entry in self.calls if entry[0] <= at]:
            self._call(entry)

    def _call(self, entry: tuple[int, Callable[[], None]]) -> None:
        if entry in self.calls:
            self.calls.remove(entry)
            entry[1]()


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Until it holds, at most 10 s."""
    async with asyncio.timeout(10):
        while not await condition():  # noqa: ASYNC110 - the store tells nobody
            await asyncio.sleep(0.002)


@dataclass
class World:
    host: Host
    clock: SetClock
    begun: bool

    async def follow(self, text: str) -> None:
        flow = load_flow(text, self.host.catalogue)
        self.host.registered.add(flow, text)
        await self.host.engine.versions.keep(flow, text, self.clock.now())
        await self.host.triggers.follow("default", flow)
        if self.begun and any(trigger.kind == "cron" for trigger in flow.triggers):
            await until(lambda: self.is_planned(flow.id))

    async def is_planned(self, flow_id: str) -> bool:
        return self.host.triggers.scheduler.next_at(self.trigger(flow_id).id) is not None

    def trigger(self, flow_id: str) -> TriggerRow:
        return self.host.triggers.registry.of_flow("default", flow_id)[0]

    async def runs(self, flow_id: str | None = None) -> list[RunRecord]:
        """Oldest first."""
        page = await self.host.store.list_runs(RunFilter(flow_id=flow_id), limit=1000)
        return list(reversed(page.runs))

    async def fires(self, flow_id: str) -> list[tuple[int, str]]:
        """(minutes since the start, outcome), oldest first."""
        found = await self.host.triggers.scheduler.fires(self.trigger(flow_id), 1000)
        return [((one.due - START) // 60_000, one.outcome) for one in reversed(found)]

    async def until_fires(self, flow_id: str, *wanted: tuple[int, str]) -> None:
        try:
            await until(lambda: self._has(flow_id, wanted))
        except TimeoutError:
            assert await self.fires(flow_id) == list(wanted)

    async def _has(self, flow_id: str, wanted: tuple[tuple[int, str], ...]) -> bool:
        return await self.fires(flow_id) == list(wanted)

    async def until_ended(self, count: int, flow_id: str | None = None) -> list[RunRecord]:
        async def ended() -> bool:
            return len([run for run in await self.runs(flow_id) if run.finished_at is not None]) >= count

        await until(ended)
        return await self.runs(flow_id)


@asynccontextmanager
async def world(
    *, store: Store | None = None, clock: SetClock | None = None, begin: bool = True, actions: tuple[Action, ...] = ()
) -> AsyncGenerator[World]:
    clock = clock or SetClock()
    host = build_host("memory:", egress=EgressPolicy.local(), clock=clock, store=store, ring=RING, actions=actions)
    await host.open()
    if begin:
        await host.triggers.begin()
    try:
        yield World(host, clock, begin)
    finally:
        await host.close(grace_seconds=0)
