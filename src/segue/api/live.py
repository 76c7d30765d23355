"""Live: who watches which run, and its messages as Server-Sent Events (WHATWG HTML, section 9.2).

An event's id is the place in the run up to which everything has been sent: the journal's event number and the number
of the last log line, joined by a dot. A reconnect goes on right after it, so it repeats nothing and misses nothing. The
last event of a finished run has the id `….end`; whoever comes back with it gets 204, on which browsers stop asking.
A stream whose reader may read no more ends with `refused`, a problem document: what the next request is answered with.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Final, Protocol

import msgspec
from starlette.requests import Request

from segue.access.principal import Principal
from segue.api.errors import BusyError
from segue.api.routing import refuse_unless
from segue.api.run_feed import LEVELS, Position, RunFeed, Told
from segue.api.standing import Standing, Standings
from segue.engine.host import Engine
from segue.observe.logs import get_logger
from segue.store.port import RunRecord

STREAMS_MAX: Final = 2_000
KEEP_ALIVE_SECONDS: Final = 15.0
RETRY_MS: Final = 1_000
WORKSPACE: Final = "In place of `X-Segue-Workspace`, which browsers' EventSource cannot send."

_log = get_logger("segue.api.live")


class Streams:
    """The watchers of a server, and the feeds of the runs that they watch; `stop` ends them all, so that a server that
    shuts down need not wait for them.
    """

    def __init__(self, engine: Engine, standings: Standings) -> None:
        self.stopped = False
        self.standings = standings
        self._engine = engine
        self._feeds: dict[str, tuple[RunFeed, asyncio.Task[None]]] = {}
        self._open: set[asyncio.Event] = set()
        self._ends: set[asyncio.Event] = set()

    @property
    def is_open(self) -> bool:
        """Whether anybody listens now."""
        return bool(self._open)

    @property
    def following(self) -> int:
        """How many runs are followed: one feed each, however many watch."""
        return len(self._feeds)

    @property
    def over(self) -> bool:
        """Whether no stream goes on."""
        return self.stopped or self._engine.closing

    def refuse_if_full(self) -> None:
        """Raises BusyError."""
        if len(self._open) >= STREAMS_MAX:
            raise BusyError(f"{STREAMS_MAX} streams are open already; close one, or ask for the run now and then")

    def stop(self) -> None:
        """End every stream; their readers come back to the next server."""
        self.stopped = True
        for event in self._open | self._ends:
            event.set()

    @asynccontextmanager
    async def watcher(self, standing: Standing) -> AsyncGenerator[asyncio.Event]:
        """An event that is set when there is something new, when the watcher may watch no more, or when the server
        stops.
        """
        event = asyncio.Event()
        self._open.add(event)
        standing.wakes.add(event)
        try:
            yield event
        finally:
            standing.wakes.discard(event)
            self._open.discard(event)

    @asynccontextmanager
    async def end(self) -> AsyncGenerator[asyncio.Event]:
        """An event that is set when the server stops, for who waits for something else than a stream."""
        event = asyncio.Event()
        self._ends.add(event)
        try:
            yield event
        finally:
            self._ends.discard(event)

    @property
    def is_waited_for(self) -> bool:
        """Whether anybody waits for something and for the server's end."""
        return bool(self._ends)

    def ended(self, standing: Standing) -> bool:
        """Whether a stream is to end, whatever is still to be told."""
        return self.over or standing.refusal is not None

    async def watch(
        self, record: RunRecord, known: Position, level: str, standing: Standing
    ) -> AsyncGenerator[list[Told]]:
        """The messages of a run after a place, in batches; an empty batch now and then shows that all is well.

        Raises what reading the run raises.
        """
        least = LEVELS[level]
        async with self.watcher(standing) as changed, self._feed(record, changed) as feed:
            while feed.view is None and not (self.ended(standing) or feed.gone):
                changed.clear()
                await self.news(changed)
            upto, number = feed.position, feed.next
            if not self.ended(standing):
                async for batch in feed.missed(known, upto):
                    yield [told for told in batch if told.level >= least]
                    if self.ended(standing):
                        return
            async for batch in self._ring(feed, changed, number, known.joined(upto), standing):
                yield [told for told in batch if told.level >= least]

    async def _ring(
        self, feed: RunFeed, changed: asyncio.Event, number: int, known: Position, standing: Standing
    ) -> AsyncGenerator[list[Told]]:
        """The feed's messages from a number on, with its view whenever it has caught up, and its end."""
        view: Told | None = None
        while not self.ended(standing):
            changed.clear()
            if number < feed.first or (feed.gone and feed.end is None):
                reason = "this reader is slower than the run" if number < feed.first else "the run could not be read"
                yield [Told("resume", known, {"reason": reason})]
                return
            batch = feed.since(number)
            number += len(batch)
            told = [one for one in batch if not known.covers(one.position)]
            known = known if not batch else known.joined(batch[-1].position)
            if number == feed.next:
                if feed.view is not None and feed.view is not view:
                    view = feed.view
                    told.append(view)
                if feed.end is not None:
                    yield [*told, feed.end]
                    return
            if batch or told:
                yield told
            elif not await self.news(changed):
                yield []

    @staticmethod
    async def news(changed: asyncio.Event) -> bool:
        """Wait for news; False if none came for a while."""
        try:
            async with asyncio.timeout(KEEP_ALIVE_SECONDS):
                await changed.wait()
        except TimeoutError:
            return False
        return True

    @asynccontextmanager
    async def _feed(self, record: RunRecord, changed: asyncio.Event) -> AsyncGenerator[RunFeed]:
        """The run's feed, begun with its first watcher and ended with its last."""
        run_id = record.run_id
        if run_id not in self._feeds:
            made = RunFeed(self._engine, record)
            self._feeds[run_id] = made, asyncio.create_task(made.follow())
        feed, following = self._feeds[run_id]
        feed.watchers.add(changed)
        try:
            yield feed
        finally:
            feed.watchers.discard(changed)
            if not feed.watchers:
                del self._feeds[run_id]
                following.cancel()
                (ended,) = await asyncio.gather(following, return_exceptions=True)
                if isinstance(ended, Exception):
                    # Its watchers were told to resume; why is for the server's own log.
                    _log.warning("a run could not be followed", run_id=run_id, error=str(ended))


class Message(Protocol):
    """What a stream sends."""

    @property
    def sse(self) -> bytes:
        """As a Server-Sent Event."""
        ...


async def events_of(
    streams: Streams,
    request: Request,
    right: Callable[[Principal], object],
    batches: Callable[[Standing], AsyncGenerator[Sequence[Message]]],
) -> AsyncGenerator[bytes]:
    """The bytes of a stream: its messages, and `refused` at the end if who reads may read no more."""
    yield f"retry: {RETRY_MS}\n\n".encode()
    async with streams.standings.hold(request.scope, right) as standing:
        async with aclosing(batches(standing)) as told:
            async for batch in told:
                yield b"".join([one.sse for one in batch]) or b": keep-alive\n\n"
        if standing.refusal is not None and not streams.over:
            # Without an id: whoever is let in again goes on where it was.
            yield b"event: refused\ndata: %s\n\n" % msgspec.json.encode(standing.problem(request.scope))


def stream(streams: Streams, record: RunRecord, known: Position, level: str, request: Request) -> AsyncGenerator[bytes]:
    """The bytes of a run's stream: `log` and `run` events until the run is over, then one `end`; or `refused`."""
    right = may_read(record.flow_id)
    return events_of(streams, request, right, lambda standing: streams.watch(record, known, level, standing))


def may_read(flow_id: str) -> Callable[[Principal], object]:
    """The right to watch a run of a flow."""
    return lambda principal: refuse_unless(principal, "run:read", flow_id)
