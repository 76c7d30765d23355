"""What changes of all runs that a filter finds, for lists that are open: by WebSocket and by Server-Sent Events.

The host numbers the changes of its runs; of each run the last one is remembered. A watcher's place is such a number, so
one that comes back is told each run that has changed since, as it is now, in the order of its last change. When the
place is not known any more (another server process, or too many changes ago), the list comes anew.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import AsyncGenerator
from itertools import takewhile
from typing import Final, Literal

import msgspec

from segue.api.answers import RunItem, run_item
from segue.api.errors import InvalidRequestError
from segue.api.live import Streams
from segue.api.standing import Standing
from segue.engine.host import Engine
from segue.store.port import RunFilter, RunRecord
from segue.store.run_notes import NO_NOTES, read_notes
from segue.store.tables import Tables

SHOWN_MAX: Final = 10_000
"""Rows that a watcher is taken to show, of a filter by status: the ones changed longest ago are forgotten."""
SNAPSHOT: Final = 50
"""Runs that a watcher of many is told at its start."""
TICK_SECONDS: Final = 0.1
"""Changes of runs are told together, so often at most."""
REMEMBERED: Final = 10_000
"""Runs whose last change is remembered for watchers that come back."""
BATCH: Final = 500
"""Rows told at once."""

_PLACE: Final = re.compile(r"([0-9a-f]{12})\.([0-9]{1,18})")
_encode = msgspec.json.Encoder().encode


class RunTold:
    """One message: `runs` (the newest) or `run` (one that has changed), and the place that is reached with it."""

    __slots__ = ("data", "kind", "place")

    def __init__(self, kind: Literal["runs", "run"], place: str, value: object) -> None:
        self.kind = kind
        self.place = place
        self.data = _encode(value)

    @property
    def sse(self) -> bytes:
        """As a Server-Sent Event."""
        return b"event: %s\nid: %s\ndata: %s\n\n" % (self.kind.encode(), self.place.encode(), self.data)

    @property
    def socket(self) -> str:
        """As a message of a WebSocket."""
        return f'{{"event":"{self.kind}","id":"{self.place}","data":{self.data.decode()}}}'


class Changes:
    """The runs that have changed, by the number of the last change of each."""

    def __init__(self) -> None:
        self.number = 0
        self.watchers: set[asyncio.Event] = set()
        self._process = secrets.token_hex(6)
        self._last: dict[str, int] = {}
        self._forgotten = 0

    def note(self, run_id: str) -> None:
        """Something of the run was committed."""
        self.number += 1
        self._last.pop(run_id, None)
        self._last[run_id] = self.number
        if len(self._last) > REMEMBERED:
            self._forgotten = self._last.pop(next(iter(self._last)))
        for event in self.watchers:
            event.set()

    def since(self, number: int) -> list[tuple[int, str]] | None:
        """What has changed after a number, the latest change last; None if that is not known any more."""
        if number < self._forgotten:
            return None
        later = takewhile(lambda one: one[1] > number, reversed(self._last.items()))
        return [(changed, run_id) for run_id, changed in later][::-1]

    def place(self, number: int) -> str:
        """A number as watchers keep it."""
        return f"{self._process}.{number}"

    def number_at(self, place: str | None) -> int | None:
        """The reverse of `place`; None for no place, and for one of another process. Raises InvalidRequestError."""
        if not place:
            return None
        match = _PLACE.fullmatch(place)
        if match is None:
            message = "this is no id of this stream; leave it out to begin anew"
            raise InvalidRequestError(message, [("Last-Event-ID", message)])
        return int(match[2]) if match[1] == self._process and int(match[2]) <= self.number else None


class LiveRuns:
    """The open lists of a server."""

    def __init__(self, engine: Engine, streams: Streams, tables: Tables) -> None:
        self.changes = Changes()
        self._engine = engine
        self._streams = streams
        self._tables = tables
        self._listens = False

    async def told(self, where: RunFilter, after: int | None, standing: Standing) -> AsyncGenerator[list[RunTold]]:
        """The list and then what changes of it; with `after`, what has changed since. An empty batch now and then shows
        that all is well. Who watches is shown the flows that `standing` may see.
        """
        changes, streams, known = self.changes, self._streams, after
        shown: dict[str, None] = {}
        if not self._listens:
            # From the first watcher on for good: it may come back.
            self._listens = True
            self._engine.residents.tell_all(changes.note)
        back_until = changes.number if after is not None else 0
        async with streams.watcher(standing) as changed:
            changes.watchers.add(changed)
            try:
                while not streams.ended(standing):
                    where = msgspec.structs.replace(where, among=standing.principal.flows_for("run:read"))
                    changed.clear()
                    found = None if known is None else changes.since(known)
                    if found is None:
                        known = back_until = changes.number
                        rows = await self._list(where)
                        shown = dict.fromkeys(row.id for row in reversed(rows))
                        yield [RunTold("runs", changes.place(known), rows)]
                    elif not found:
                        yield []
                    else:
                        yield await self._rows(where, found[:BATCH], shown, back_until)
                        known = found[:BATCH][-1][0]
                        if len(found) > BATCH:
                            continue
                    await asyncio.sleep(TICK_SECONDS)
                    await streams.news(changed)
            finally:
                changes.watchers.discard(changed)

    async def _list(self, where: RunFilter) -> list[RunItem]:
        page = await self._engine.store.list_runs(where, limit=SNAPSHOT)
        return [item for _, item in await self._items([(0, record) for record in page.runs])]

    async def _rows(
        self, where: RunFilter, found: list[tuple[int, str]], shown: dict[str, None], back_until: int
    ) -> list[RunTold]:
        """The runs that are meant. What somebody shows who came back is not known: up to `back_until` it is told of
        every run that might have left the filter's statuses meanwhile.
        """
        told: list[tuple[int, RunRecord]] = []
        for number, run_id in found:
            record = await self._engine.store.get_run(run_id)
            if record is None or not _is_meant(record, where):
                continue
            fits = not where.statuses or record.status in where.statuses
            if fits or run_id in shown or number <= back_until:
                told.append((number, record))
            shown.pop(run_id, None)
            if fits and where.statuses:
                shown[run_id] = None
                if len(shown) > SHOWN_MAX:
                    del shown[next(iter(shown))]
        return [RunTold("run", self.changes.place(number), item) for number, item in await self._items(told)]

    async def _items(self, records: list[tuple[int, RunRecord]]) -> list[tuple[int, RunItem]]:
        ids = [record.run_id for _, record in records]
        notes = await self._tables.ask(lambda sql: read_notes(sql, ids))
        now = self._engine.now()
        return [(number, run_item(record, now, notes.get(record.run_id, NO_NOTES))) for number, record in records]


def _is_meant(run: RunRecord, where: RunFilter) -> bool:
    return (
        run.workspace == where.workspace
        and where.flow_id in (None, run.flow_id)
        and (where.among is None or run.flow_id in where.among)
        and where.trigger in (None, run.trigger)
        and where.parent_run_id in (None, run.parent_run_id)
    )
