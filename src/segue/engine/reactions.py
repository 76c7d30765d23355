"""What outside of the runs themselves follows from what happens in them: a port for what starts further runs.

The engine keeps the end of a run and the word of it in one commit, and an event before anybody hears of it; both are
told again after a crash until they were heard. Whoever listens starts a run under an id that follows from what it
heard, so that hearing it twice starts one run.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from segue.store.port import EventRow


class RunEnd(msgspec.Struct, frozen=True, kw_only=True):
    """A run is over; how, is in the event `seq` of its journal. A run that is brought back may end more than once."""

    run: str
    workspace: str
    flow: str
    version: str | None
    status: str
    seq: int
    depth: int
    """How many runs, one started by another, led to this one."""


class Reactions(Protocol):
    """Listens to one host."""

    async def open(self) -> None:
        """Called when the store is open, before anything is told. Raises StoreUnavailableError."""
        ...

    def watches_end(self, workspace: str, flow_id: str) -> bool:
        """Whether the ends of a flow's runs are to be told. Asked at each end, so it must be quick."""
        ...

    async def run_ended(self, end: RunEnd) -> None:
        """Returns when all that follows is kept. Raises StoreUnavailableError: it is told again."""
        ...

    async def event_kept(self, event: EventRow) -> None:
        """As `run_ended`, for an event."""
        ...


class Listeners:
    """All who listen to one host; each is told everything that it watches for."""

    def __init__(self) -> None:
        self._all: list[Reactions] = []

    def add(self, one: Reactions) -> None:
        """Before the host is opened."""
        self._all.append(one)

    async def open(self) -> None:
        """See `Reactions.open`."""
        for one in self._all:
            await one.open()

    def watches_end(self, workspace: str, flow_id: str) -> bool:
        """See `Reactions.watches_end`."""
        for one in self._all:  # noqa: SIM110 - asked at each end of a run: a generator costs as much again
            if one.watches_end(workspace, flow_id):
                return True
        return False

    async def run_ended(self, end: RunEnd) -> None:
        """See `Reactions.run_ended`."""
        for one in self._all:
            await one.run_ended(end)

    async def event_kept(self, event: EventRow) -> None:
        """See `Reactions.event_kept`."""
        for one in self._all:
            await one.event_kept(event)
