"""Live: who watches which run, and its messages as Server-Sent Events (WHATWG HTML, section 9.2).

An event's id is the place in the run up to which everything has been sent: the journal's event number and the number
of the last log line, joined by a dot. A reconnect goes on right after it, so it repeats nothing and misses nothing. The
last event of a finished run has the id `….end`; whoever comes back with it gets 204, on which browsers stop asking.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from typing import Final

from segue.api.errors import BusyError
from segue.api.run_feed import LEVELS, Position, RunFeed, Told
from segue.engine.host import Engine
from segue.observe.logs import get_logger
from segue.store.port import RunRecord

STREAMS_MAX: Final = 2_000
KEEP_ALIVE_SECONDS: Final = 15.0
RETRY_MS: Final = 1_000

_log = get_logger("segue.api.live")


class Streams:
    """The watchers of a server, and the feeds of the runs that they watch; `stop` ends them all, so that a server that
    shuts down need not wait for them.
    """

    def __init__(self, engine: Engine) -> None:
        self.stopped = False
        self._engine = engine
        self._feeds: dict[str, tuple[RunFeed, asyncio.Task[None]]] = {}
        self._open: set[asyncio.Event] = set()

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
        for event in self._open:
            event.set()

    @asynccontextmanager
    async def watcher(self) -> AsyncGenerator[asyncio.Event]:
        """An event that is set when there is something new, or when the server stops."""
        event = asyncio.Event()
        self._open.add(event)
        try:
            yield event
        finally:
            self._open.discard(event)

    async def watch(self, record: RunRecord, known: Position, level: str) -> AsyncGenerator[list[Told]]:
        """The messages of a run after a place, in batches; an empty batch now and then shows that all is well.

        Raises what reading the run raises.
        """
        least = LEVELS[level]
        async with self.watcher() as changed, self._feed(record, changed) as feed:
            while feed.view is None and not (self.over or feed.gone):
                changed.clear()
                await self.news(changed)
            upto, number = feed.position, feed.next
            if not self.over:
                async for batch in feed.missed(known, upto):
                    yield [told for told in batch if told.level >= least]
            async for batch in self._ring(feed, changed, number, known.joined(upto)):
                yield [told for told in batch if told.level >= least]

    async def _ring(
        self, feed: RunFeed, changed: asyncio.Event, number: int, known: Position
    ) -> AsyncGenerator[list[Told]]:
        """The feed's messages from a number on, with its view whenever it has caught up, and its end."""
        view: Told | None = None
        while not self.over:
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


async def stream(streams: Streams, record: RunRecord, known: Position, level: str) -> AsyncGenerator[bytes]:
    """The bytes of the stream: `log` and `run` events until the run is over, then one `end`."""
    yield f"retry: {RETRY_MS}\n\n".encode()
    async with aclosing(streams.watch(record, known, level)) as batches:
        async for batch in batches:
            yield b"".join([told.sse for told in batch]) or b": keep-alive\n\n"
