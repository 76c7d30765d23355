"""What happens in a run, told to any number of watchers: read and folded once, however many there are.

A feed keeps the last few thousand messages in a ring, already encoded. A watcher that joins reads what it misses from
the store (the feed's state is past all of it, so nothing is folded again) and then goes on with the ring. One that
falls behind the ring is told to resume: what it knows is its place, and when it comes back it misses nothing.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from collections.abc import AsyncGenerator
from itertools import islice, takewhile
from typing import Final, Literal

import msgspec

from segue.api.errors import InvalidRequestError
from segue.engine.host import Engine
from segue.engine.log_lines import LogLine, comes_before, event_line, written_line
from segue.engine.views import quarantined_view, view_of
from segue.errors import JournalCorruptError
from segue.kernel import events as ev
from segue.kernel.apply import apply
from segue.kernel.state import RunState
from segue.kernel.status import RunStatus
from segue.observe.masking import log_masker_for
from segue.store.port import JournalRow, LogRow, RunRecord

RUN_INTERVAL_SECONDS: Final = 0.1
"""Least time between two views of the run; longer for runs whose view takes long to make."""
VIEW_SHARE: Final = 10
"""A view is made at most one part in so many of the time."""
RECHECK_SECONDS: Final = 1.0
"""Log lines of a step under way are kept a moment after they were announced."""
ROWS_AT_ONCE: Final = 2_000
RING: Final = 4_000
"""Messages kept for watchers that are a little behind."""
BATCH: Final = 500
"""Messages handed to a watcher at once; it takes the next ones when these are on their way."""
LEVELS: Final = {"debug": 0, "info": 1, "warning": 2, "error": 3}

_POSITION: Final = re.compile(r"(-1|[0-9]{1,18})\.([0-9]{1,18})(\.end)?")
_encode = msgspec.json.Encoder().encode
Kind = Literal["log", "run", "end", "resume"]


class Position(msgspec.Struct, frozen=True):
    """Up to where a reader knows a run: the last event's number and the last log line's."""

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

    def covers(self, other: Position) -> bool:
        """Whether whoever knows the run up to here knows what leads there."""
        return other.seq <= self.seq and other.line <= self.line

    def joined(self, other: Position) -> Position:
        """Up to where somebody knows it who knows both."""
        return Position(max(self.seq, other.seq), max(self.line, other.line))


class Told:
    """One message, with its forms on the wire, each made once for all watchers."""

    __slots__ = ("_socket", "_sse", "data", "kind", "level", "position")

    def __init__(self, kind: Kind, position: Position, value: object, level: int = 9) -> None:
        self.kind = kind
        self.position = position
        self.level = level
        self.data = _encode(value)
        self._sse: bytes | None = None
        self._socket: str | None = None

    @property
    def sse(self) -> bytes:
        """As a Server-Sent Event. JSON has no line breaks, so it is one `data` line."""
        if self._sse is None:
            parts = (self.kind.encode(), str(self.position).encode(), self.data)
            self._sse = b"event: %s\nid: %s\ndata: %s\n\n" % parts
        return self._sse

    @property
    def socket(self) -> str:
        """As a WebSocket message: `{event, id, data}`."""
        if self._socket is None:
            self._socket = f'{{"event":"{self.kind}","id":"{self.position}","data":{self.data.decode()}}}'
        return self._socket


class RunFeed:
    """Follows one run through the store. Made, and kept as long as somebody watches, by `Feeds`."""

    def __init__(self, engine: Engine, record: RunRecord) -> None:
        self._engine = engine
        self._record = record
        self._state: RunState | None = None
        self._line = 0
        self._ring: deque[Told] = deque()
        self._changed = asyncio.Event()
        self.watchers: set[asyncio.Event] = set()
        self.first = 0
        """How many messages have left the ring."""
        self.view: Told | None = None
        """The run as it stands; replaces the one before."""
        self.end: Told | None = None
        """Once the run is over."""
        self.gone = False
        """Whether it is followed no more: the run is over, or could not be read."""

    @property
    def next(self) -> int:
        """The number of the message that comes next."""
        return self.first + len(self._ring)

    @property
    def position(self) -> Position:
        """Up to where the run has been followed."""
        return Position(-1 if self._state is None else self._state.seq - 1, self._line)

    def since(self, number: int) -> list[Told]:
        """The messages from a number on that is in the ring, some hundreds at most."""
        begin = number - self.first
        return list(islice(self._ring, begin, begin + BATCH))

    async def follow(self) -> None:
        """Read and tell until the run is over; what goes wrong on the way ends the watchers' streams, too."""
        engine, run_id = self._engine, self._record.run_id
        await engine.changed(run_id, self._changed)
        try:
            await self._pause(await self._begin())
            while self.end is None and not engine.closing:
                self._changed.clear()
                if await self._advance():
                    continue
                try:
                    async with asyncio.timeout(RECHECK_SECONDS):
                        await self._changed.wait()
                except TimeoutError:
                    continue
        except JournalCorruptError as error:
            view = quarantined_view(self._record, error)
            self._tell_view(Told("run", self.position, view), RunStatus.QUARANTINED.value)
        finally:
            engine.forget(run_id, self._changed)
            self.gone = True
            self._wake()

    async def _begin(self) -> float:
        """Fold what is there, and tell none of it: watchers read it themselves, from where they know it."""
        version = await self._engine.versions.get(self._record.flow_version)
        state = RunState(version.plan, self._record.run_id)
        self._state = state
        store, key = self._engine.store, self._record.key
        while rows := await store.load_journal(key, after_seq=state.seq - 1, limit=ROWS_AT_ONCE):
            for row in rows:
                extend(state, row)
            await asyncio.sleep(0)
        while logs := await store.load_logs(key, after=self._line, limit=ROWS_AT_ONCE):
            self._line = logs[-1][0]
        return await self._look()

    async def _pause(self, spent: float) -> None:
        """Between two views."""
        if self.end is None:
            await asyncio.sleep(max(RUN_INTERVAL_SECONDS, VIEW_SHARE * spent))

    async def _advance(self) -> bool:
        """Tell what has come since. True if there may be more already."""
        assert self._state is not None
        store, state, before = self._engine.store, self._state, self.position
        rows = await store.load_journal(self._record.key, after_seq=state.seq - 1, limit=ROWS_AT_ONCE)
        for row in rows:
            extend(state, row)
        logs = await store.load_logs(self._record.key, after=self._line, limit=ROWS_AT_ONCE)
        if logs:
            self._line = logs[-1][0]
        if not rows and not logs:
            return False
        for position, line in merge(before, _lines(state, rows), logs):
            self._ring.append(Told("log", position, line, LEVELS.get(line.level, 1)))
        while len(self._ring) > RING:
            self._ring.popleft()
            self.first += 1
        if max(len(rows), len(logs)) < ROWS_AT_ONCE:
            await self._pause(await self._look())
        else:
            self._wake()
        return True

    async def _look(self) -> float:
        """Make the view of the run as it stands; the seconds that took."""
        assert self._state is not None
        now = await self._engine.record(self._record.run_id)
        is_over = self._state.ended or now.status == RunStatus.QUARANTINED
        begun = time.monotonic()
        view = Told("run", self.position, view_of(self._state, now, self._engine.now()))
        self._tell_view(view, now.status if is_over else None)
        return time.monotonic() - begun

    def _tell_view(self, view: Told, ended: str | None) -> None:
        self.view = view
        if ended is not None:
            position = Position(view.position.seq, view.position.line, is_end=True)
            self.end = Told("end", position, {"status": ended})
        self._wake()

    def _wake(self) -> None:
        for event in self.watchers:
            event.set()

    async def missed(self, known: Position, upto: Position) -> AsyncGenerator[list[Told]]:
        """What stands between two places, out of the store."""
        store, key, state = self._engine.store, self._record.key, self._state
        while state is not None and not known.covers(upto):
            rows: list[JournalRow] = []
            logs: list[tuple[int, LogRow]] = []
            if known.seq < upto.seq:
                rows = await store.load_journal(key, after_seq=known.seq, limit=min(BATCH, upto.seq - known.seq))
            if known.line < upto.line:
                found = await store.load_logs(key, after=known.line, limit=BATCH)
                logs = [one for one in found if one[0] <= upto.line]
            rows, logs = _alongside(rows, logs, upto)
            told = merge(known, _lines(state, rows), logs)
            known = Position(rows[-1].seq if rows else known.seq, logs[-1][0] if logs else known.line)
            yield [Told("log", position, line, LEVELS.get(line.level, 1)) for position, line in told]
            if not rows and not logs:
                return


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


def _lines(state: RunState, rows: list[JournalRow]) -> list[tuple[JournalRow, LogLine]]:
    masker = log_masker_for(state.plan.declared)
    return [(row, line) for row in rows if (line := event_line(state, row, masker)) is not None]


def _alongside(
    rows: list[JournalRow], logs: list[tuple[int, LogRow]], upto: Position
) -> tuple[list[JournalRow], list[tuple[int, LogRow]]]:
    """Of two pages as much as can be put in order before the next ones are there."""
    if rows and rows[-1].seq < upto.seq:
        return rows, list(takewhile(lambda one: one[1].at <= rows[-1].at, logs))
    if logs and logs[-1][0] < upto.line:
        return list(takewhile(lambda row: row.at <= logs[-1][1].at, rows)), logs
    return rows, logs
