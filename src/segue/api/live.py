"""A run as it happens: Server-Sent Events (WHATWG HTML, section 9.2), resumable by `Last-Event-ID`.

An event's id is the place in the run up to which everything has been sent: the journal's event number and the number
of the last log line, joined by a dot. A reconnect goes on right after it, so it repeats nothing and misses nothing. The
last event of a finished run has the id `….end`; whoever comes back with it gets 204, on which browsers stop asking.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

import msgspec

from segue.api.errors import BusyError, InvalidRequestError
from segue.engine.host import Engine
from segue.engine.log_lines import LogLine, comes_before, event_line, written_line
from segue.engine.views import masker_of, quarantined_view, view_of
from segue.errors import JournalCorruptError
from segue.kernel import events as ev
from segue.kernel.apply import apply
from segue.kernel.state import RunState
from segue.kernel.status import RunStatus
from segue.store.port import JournalRow, LogRow, RunRecord

RUN_INTERVAL_SECONDS: Final = 0.1
"""Least time between two views of the run; longer for runs whose view takes long to make."""
VIEW_SHARE: Final = 10
"""A view is made at most one part in so many of the time."""
RECHECK_SECONDS: Final = 1.0
"""Log lines of a step under way are kept a moment after they were announced."""
KEEP_ALIVE_SECONDS: Final = 15.0
STREAMS_MAX: Final = 200
ROWS_AT_ONCE: Final = 2_000
RETRY_MS: Final = 1_000

_POSITION: Final = re.compile(r"(-1|[0-9]{1,18})\.([0-9]{1,18})(\.end)?")
_encode = msgspec.json.Encoder().encode
_LEVELS: Final = {"debug": 0, "info": 1, "warning": 2, "error": 3}


class Streams:
    """The open streams of a server; `stop` ends them all, so that a server that shuts down need not wait for them."""

    def __init__(self) -> None:
        self.stopped = False
        self._open: set[asyncio.Event] = set()

    @property
    def is_open(self) -> bool:
        """Whether anybody listens now."""
        return bool(self._open)

    @asynccontextmanager
    async def opened(self, engine: Engine, run_id: str) -> AsyncGenerator[asyncio.Event]:
        """An event that is set when the run changed or the server stops."""
        event = asyncio.Event()
        self._open.add(event)
        await engine.changed(run_id, event)
        try:
            yield event
        finally:
            engine.forget(run_id, event)
            self._open.discard(event)

    def refuse_if_full(self) -> None:
        """Raises BusyError."""
        if len(self._open) >= STREAMS_MAX:
            raise BusyError(f"{STREAMS_MAX} streams are open already; close one, or ask for the run now and then")

    def stop(self) -> None:
        """End every stream; their readers come back to the next server."""
        self.stopped = True
        for event in self._open:
            event.set()


class Position(msgspec.Struct, frozen=True):
    """Up to where a reader knows a run."""

    seq: int = -1
    line: int = 0
    is_end: bool = False

    def __str__(self) -> str:
        return f"{self.seq}.{self.line}{'.end' if self.is_end else ''}"

    @classmethod
    def parse(cls, text: str | None) -> Position:
        """The reverse of `str`; the beginning for None or an empty text. Raises InvalidRequestError."""
        if not text:
            return cls()
        match = _POSITION.fullmatch(text)
        if match is None:
            message = "Last-Event-ID is not one of this stream's; leave it out to begin anew"
            raise InvalidRequestError(message, [("Last-Event-ID", message)])
        return cls(int(match[1]), int(match[2]), match[3] is not None)


class Feed:
    """Follows one run through the store, event by event; never folds an event twice."""

    def __init__(self, engine: Engine, record: RunRecord, state: RunState, known: Position) -> None:
        self._engine = engine
        self._record = record
        self._known = known
        self._line = known.line
        self.state = state
        self.has_more = False

    @property
    def position(self) -> Position:
        """Up to where the run has been followed."""
        return Position(max(self.state.seq - 1, self._known.seq), self._line)

    async def news(self) -> list[tuple[Position, LogLine]]:
        """What has come since, at most some thousand lines at once (`has_more` then). Raises JournalCorruptError."""
        store, state = self._engine.store, self.state
        before = self.position
        rows = await store.load_journal(self._record.key, after_seq=state.seq - 1, limit=ROWS_AT_ONCE)
        for row in rows:
            extend(state, row)
        masker = masker_of(state)
        told = [
            (row, line)
            for row in rows
            if row.seq > self._known.seq and (line := event_line(state, row, masker)) is not None
        ]
        logs = await store.load_logs(self._record.key, after=self._line, limit=ROWS_AT_ONCE)
        if logs:
            self._line = logs[-1][0]
        self.has_more = max(len(rows), len(logs)) >= ROWS_AT_ONCE
        return merge(before, told, logs)


def extend(state: RunState, row: JournalRow) -> None:
    """Book one more journal row, as `fold` does. Raises JournalCorruptError."""
    try:
        event = ev.decode(row.kind, row.data)
    except (KeyError, msgspec.MsgspecError) as error:
        raise JournalCorruptError(f"event {row.seq} cannot be read: {error}", last_valid_seq=row.seq - 1) from error
    apply(state, row.step, event, row.at)
    state.ended_blocks.clear()
    state.failed_blocks.clear()


def merge(
    before: Position, told: list[tuple[JournalRow, LogLine]], logs: list[tuple[int, LogRow]]
) -> list[tuple[Position, LogLine]]:
    """Events and log lines by time, each with the position that is reached with it. Neither kind changes its own order,
    whatever the clocks say, or a position would skip what has not been sent.
    """
    found: list[tuple[Position, LogLine]] = []
    seq, number = before.seq, before.line
    events, lines = deque(told), deque(logs)
    while events or lines:
        if lines and (not events or _log_is_next(lines[0][1], *events[0])):
            number, log = lines.popleft()
            line = written_line(log)
        else:
            row, line = events.popleft()
            seq = row.seq
        found.append((Position(seq, number), line))
    return found


def _log_is_next(log: LogRow, event: JournalRow, line: LogLine) -> bool:
    return log.at < event.at or (log.at == event.at and comes_before(log, event, line))


async def stream(
    engine: Engine, streams: Streams, record: RunRecord, known: Position, level: str
) -> AsyncGenerator[bytes]:
    """The bytes of the stream: `log` and `run` events until the run is over, then one `end`."""
    yield f"retry: {RETRY_MS}\n\n".encode()
    version = await engine.versions.get(record.flow_version)
    feed = Feed(engine, record, RunState(version.plan, record.run_id), known)
    least = _LEVELS[level]
    async with streams.opened(engine, record.run_id) as changed:
        interval, spoke, is_first = RUN_INTERVAL_SECONDS, time.monotonic(), True
        while not (streams.stopped or engine.closing):
            changed.clear()
            seen = feed.state.seq
            try:
                lines = await feed.news()
            except JournalCorruptError as error:
                yield _quarantined(record, str(error), feed.position)
                return
            for position, line in lines:
                if _LEVELS.get(line.level, 1) >= least:
                    yield frame("log", position, line)
            if feed.has_more:
                continue
            if is_first or lines or feed.state.seq != seen:
                now = await engine.record(record.run_id)
                is_over = feed.state.ended or now.status == RunStatus.QUARANTINED
                begun = time.monotonic()
                yield frame("run", feed.position, view_of(feed.state, now, engine.now()))
                spoke, is_first = time.monotonic(), False
                interval = max(RUN_INTERVAL_SECONDS, VIEW_SHARE * (spoke - begun))
                if is_over:
                    yield _end(feed.position, now.status)
                    return
                await asyncio.sleep(interval)
            elif time.monotonic() - spoke > KEEP_ALIVE_SECONDS:
                yield b": keep-alive\n\n"
                spoke = time.monotonic()
            await _wait(changed, RECHECK_SECONDS)


async def _wait(changed: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await changed.wait()
    except TimeoutError:
        return


def _quarantined(record: RunRecord, message: str, position: Position) -> bytes:
    return frame("run", position, quarantined_view(record, message)) + _end(position, RunStatus.QUARANTINED.value)


def _end(position: Position, status: str) -> bytes:
    end = Position(position.seq, position.line, is_end=True)
    return b"event: end\nid: %s\ndata: %s\n\n" % (str(end).encode(), _encode({"status": status}))


def frame(kind: str, position: Position, value: object) -> bytes:
    """One event. JSON has no line breaks, so it is one `data` line."""
    return b"event: %s\nid: %s\ndata: %s\n\n" % (kind.encode(), str(position).encode(), _encode(value))
