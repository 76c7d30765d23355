"""Events: kept when they are sent, offered to each step that waits for one of their name, deleted when they are old.

Events of one name are offered one after the other, in the order in which they were kept, so that of two the first one
goes to the step that waits. An event is done when it was offered to all; after a crash those that are not are offered
again, and a step that has taken one takes no second. Waits with a buffer look back when they begin, and again after a
crash.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from itertools import chain, repeat
from typing import Final

from segue.engine.clock import Clock
from segue.engine.committing import Committing, commit_and_wait
from segue.engine.declared import sealed_content
from segue.engine.loading import Loading
from segue.engine.reactions import Listeners
from segue.errors import RequestError, SegueError, StoreUnavailableError
from segue.flow.durations import MAX_BUFFER_SECONDS
from segue.kernel import events as ev
from segue.kernel import inputs as inp
from segue.kernel.messages import MAX_EVENT_BYTES, MAX_NAME_LENGTH
from segue.kernel.status import RUN_ENDED, RunStatus, StepStatus
from segue.store.port import Commit, EventRow, EventWait, Store

KEPT_MS: Final = round(MAX_BUFFER_SECONDS * 1000) + 3_600_000
"""How long an event is kept after it is done: a little longer than the longest buffer."""
KEPT_EVENTS: Final = 1_000_000
DROP_EVERY_MS: Final = 3_600_000
OFFERED_AT_ONCE: Final = 100
DELAYS_SECONDS: Final = (0.05, 0.2, 0.5, 1.0, 2.0, 5.0)
_log = logging.getLogger("segue.engine")


class Bus:
    """The events of one host."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        loading: Loading,
        committing: Committing,
        in_background: Callable[[Awaitable[None]], None],
        listeners: Listeners,
    ) -> None:
        self._store = store
        self._clock = clock
        self._loading = loading
        self._committing = committing
        self._in_background = in_background
        self._listeners = listeners
        self._queues: dict[tuple[str, str], deque[EventRow]] = {}
        self._dropped_at: int | None = None
        self._takers: set[str] | None = None
        self.delivers = True

    async def open(self) -> set[str]:
        """Offer what an earlier host kept and did not offer to all; ids of the runs that took something."""
        self._takers = set()
        number = 0
        while found := await self._store.events_open(after=number):
            for _, event in found:
                await self._offer_until_done(event)
            number = found[-1][0]
        after = (0, -1)
        while waits := await self._store.buffered_waits(after=after):
            await asyncio.gather(*map(self._look_back, waits))
            after = waits[-1][:2]
        takers, self._takers = self._takers, None
        return takers

    async def publish(self, event: EventRow) -> None:
        """Keep an event from outside; when this returns, it is kept. Raises RequestError, StoreUnavailableError."""
        if not event.name.strip() or len(event.name) > MAX_NAME_LENGTH:
            raise RequestError(f"an event's name is a text of 1 to {MAX_NAME_LENGTH} characters")
        if len(event.data) > MAX_EVENT_BYTES:
            raise RequestError(f"the event has {len(event.data):,} bytes as JSON; at most {MAX_EVENT_BYTES:,} are kept")
        # Whoever sent it may be gone by then: what is kept is delivered all the same.
        kept = asyncio.ensure_future(commit_and_wait(self._store, Commit(run_key=0, rows=(), events=(event,))))
        kept.add_done_callback(lambda one: None if one.cancelled() or one.exception() else self.send([event]))
        await asyncio.shield(kept)

    def send(self, events: Sequence[EventRow]) -> None:
        """Offer events that are kept."""
        if not self.delivers:
            return
        for event in events:
            key = (event.workspace, event.name)
            queue = self._queues.get(key)
            if queue is None:
                self._queues[key] = deque((event,))
                self._in_background(self._work(key))
            else:
                queue.append(event)

    def look_back(self, waits: Sequence[EventWait]) -> None:
        """Waits that are kept may take an event that came before them."""
        if self.delivers:
            for wait in waits:
                if wait.since < wait.began:
                    self._in_background(self._look_back(wait))

    # ------------------------------------------------------------ offering

    async def _work(self, key: tuple[str, str]) -> None:
        queue = self._queues[key]
        try:
            while queue:
                await self._offer_until_done(queue[0])
                queue.popleft()
        finally:
            del self._queues[key]

    async def _offer_until_done(self, event: EventRow) -> None:
        await self._until_kept(partial(self._offer_to_all, event))
        try:
            await self._until_kept(partial(self._listeners.event_kept, event))
        except SegueError as error:
            # The host is being closed, say: the next one offers it again.
            _log.warning("event %s: what follows from it could not be begun: %s", event.id, error)
            return
        done = Commit(run_key=0, rows=(), events_done=(event.id,))
        await self._until_kept(partial(commit_and_wait, self._store, done))
        await self._until_kept(self._drop_old)

    async def _offer_to_all(self, event: EventRow) -> None:
        after = (0, -1)
        while True:
            waits = await self._store.event_waits(event.workspace, event.name, after=after, limit=OFFERED_AT_ONCE)
            if not waits:
                return
            await asyncio.gather(*(self._offer(event, wait) for wait in waits))
            after = waits[-1][:2]

    async def _look_back(self, wait: EventWait) -> None:
        async def look() -> None:
            since = wait.since
            while events := await self._store.events_since(wait.workspace, wait.name, since):
                for event in events:
                    if not await self._offer(event, wait):
                        return
                since = events[-1].at + 1

        await self._until_kept(look)

    async def _until_kept(self, act: Callable[[], Awaitable[None]]) -> None:
        """Once more for as long as the store cannot be read or written; what was offered before changes nothing."""
        for delay in chain(DELAYS_SECONDS, repeat(DELAYS_SECONDS[-1])):
            try:
                return await act()
            except StoreUnavailableError as error:
                _log.warning("events: the store is unavailable: %s", error)
            await asyncio.sleep(delay)
        return None

    async def _offer(self, event: EventRow, wait: EventWait) -> bool:
        """Whether the step goes on waiting."""
        record = await self._store.get_run_by_key(wait.run_key)
        if record is None or record.status in RUN_ENDED or record.status == RunStatus.QUARANTINED:
            return False
        try:
            run = await self._loading.loaded(record)
            data = sealed_content(ev.decode_value(event.data, run.state.box), run.state.plan, run.state.box)
            given = inp.EventArrived(wait.step, wait.generation, event.id, event.name, event.at, data, event.source)
            await self._committing.feed_and_wait(run, given)
        except StoreUnavailableError:
            raise
        except SegueError as error:
            _log.error("event %s cannot be offered to run %s: %s", event.id, record.run_id, error)
            return False
        self._committing.rest(run)
        step = run.state.nodes[wait.step] if wait.step < len(run.state.nodes) else None
        goes_on = step is not None and step.status is StepStatus.WAITING and step.generation == wait.generation
        if not goes_on and self._takers is not None:
            self._takers.add(run.run_id)
        return goes_on

    async def _drop_old(self) -> None:
        now = self._clock.now()
        if self._dropped_at is None or now - self._dropped_at >= DROP_EVERY_MS:
            self._dropped_at = now
            await self._store.drop_events(now - KEPT_MS, keep=KEPT_EVENTS)
