"""The bare loop: what this disk and asyncio allow with no engine at all, as the measure for all others.

The rows that an engine would append are appended (a run's request and first schedule; for each step its result and
the next schedule; ends), group-committed by one writer thread into SQLite (WAL, synchronous=FULL), and nothing else is
done: no flow language, no decisions, no state, no checks.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path

import apsw
import msgspec
import uvloop

from bench.kit import program
from bench.kit.events import PAYLOAD, EventLog
from bench.kit.workloads import CHAIN_STEPS, FAN_STEPS, INTERRUPTED_SECONDS, Door

REQUESTED, SCHEDULED, FINISHED, ENDED = range(1, 5)
INSERT = "insert into journal values(?, ?, ?, ?, ?)"
UNFINISHED = f"select run, max(seq), max(step) from journal group by run having max(kind) < {ENDED}"
SYNC_PROBE_SECONDS = 0.5
SEQUENCES = {"three": ["a", "b", "c"], "chain": ["s"] * CHAIN_STEPS, "recover": ["a", "slow", "c"]}

Row = tuple[int, int, int, int, bytes]


class Event(msgspec.Struct, tag_field="k", omit_defaults=True):
    """A journal entry's payload, about as large as an engine's."""

    step: str = ""
    out: dict[str, object] | None = None
    at: float = 0.0


ENCODE = msgspec.json.Encoder().encode


class Writer:
    """One thread that commits whatever is queued as one transaction, then wakes those who wait."""

    def __init__(self, path: Path) -> None:
        self.db = apsw.Connection(str(path))
        self.db.execute("pragma journal_mode=wal")
        self.db.execute("pragma synchronous=full")
        self.db.execute(
            "create table if not exists journal(run integer, seq integer, kind integer, step integer, data blob,"
            " primary key(run, seq)) without rowid"
        )
        self._loop = asyncio.get_running_loop()
        self._queue: list[tuple[list[Row], asyncio.Future[None]]] = []
        self._wake = threading.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def append(self, rows: list[Row]) -> asyncio.Future[None]:
        """Queue rows; the future is done when they are on the disk."""
        committed = self._loop.create_future()
        self._queue.append((rows, committed))
        self._wake.set()
        return committed

    def close(self) -> None:
        """Stop the thread after what is queued."""
        self._closing = True
        self._wake.set()
        self._thread.join()
        self.db.close()

    def _run(self) -> None:
        cursor = self.db.cursor()
        while True:
            self._wake.wait()
            self._wake.clear()
            batch, self._queue = self._queue, []
            if not batch:
                if self._closing:
                    return
                continue
            cursor.execute("begin immediate")
            cursor.executemany(INSERT, [row for rows, _ in batch for row in rows])
            cursor.execute("commit")
            self._loop.call_soon_threadsafe(self._settle, [committed for _, committed in batch])

    @staticmethod
    def _settle(committed: list[asyncio.Future[None]]) -> None:
        for future in committed:
            if not future.cancelled():
                future.set_result(None)


class Bare:
    """The door: flows are hand-written sequences of appends and step calls."""

    def __init__(self, writer: Writer, log: EventLog) -> None:
        self._writer, self._log = writer, log
        self._runs = writer.db.execute("select coalesce(max(run), 0) from journal").get
        self._tasks: set[asyncio.Task[None]] = set()

    async def call(self, flow: str, key: str) -> None:
        """Run one flow to its end."""
        await self._spawn(flow, key)

    async def start(self, flow: str, key: str) -> None:
        """Begin a flow in the background."""
        self._spawn(flow, key)

    def resume(self) -> None:
        """Take up what a killed process left."""
        for run, seq, step in self._writer.db.execute(UNFINISHED).fetchall():
            self._keep(self._sequence(run, f"r{run - 1}", seq + 1, SEQUENCES["recover"][step:], first=step))

    def _spawn(self, flow: str, key: str) -> asyncio.Task[None]:
        self._runs += 1
        steps = SEQUENCES.get(flow)
        return self._keep(self._fan(self._runs, key) if steps is None else self._sequence(self._runs, key, 0, steps))

    def _keep(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """A run is a task of its own: it does not end with the caller that asked for it."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def processes(self) -> dict[str, list[int]]:
        """One process, load generator included."""
        return {"process": [os.getpid()]}

    async def _step(self, key: str, name: str, *, last: bool) -> dict[str, object]:
        self._log.mark(key, "b" if name == "slow" else name)
        if last:
            self._log.mark(key, "end")
        if name == "slow":
            await asyncio.sleep(INTERRUPTED_SECONDS)
        return PAYLOAD

    async def _sequence(self, run: int, key: str, seq: int, steps: list[str], first: int = 0) -> None:
        if seq == 0:
            await self._writer.append([(run, 0, REQUESTED, 0, ENCODE(Event(at=1.0))), (run, 1, SCHEDULED, 0, b"")])
            seq = 2
        for number, name in enumerate(steps, first):
            last = number == first + len(steps) - 1
            out = await self._step(key, name, last=last)
            result = (run, seq, FINISHED, number, ENCODE(Event(step=name, out=out, at=2.0)))
            then = (run, seq + 1, ENDED if last else SCHEDULED, number + 1, ENCODE(Event(step="s", at=1.0)))
            await self._writer.append([result, then])
            seq += 2

    async def _fan(self, run: int, key: str) -> None:
        scheduled = [(run, 1 + i, SCHEDULED, i, b"") for i in range(FAN_STEPS)]
        await self._writer.append([(run, 0, REQUESTED, 0, ENCODE(Event(at=1.0))), *scheduled])

        async def one(number: int) -> None:
            out = await self._step(key, "f", last=False)
            data = ENCODE(Event(step="f", out=out, at=2.0))
            await self._writer.append([(run, 1 + FAN_STEPS + number, FINISHED, number, data)])

        await asyncio.gather(*(one(i) for i in range(FAN_STEPS)))
        out = await self._step(key, "join", last=True)
        end = 1 + 2 * FAN_STEPS
        data = ENCODE(Event(step="join", out=out, at=2.0))
        await self._writer.append([(run, end, FINISHED, FAN_STEPS, data), (run, end + 1, ENDED, FAN_STEPS, b"")])


@asynccontextmanager
async def open_door(directory: Path, log: EventLog) -> AsyncIterator[Door]:
    """The loop on a journal file in `directory`."""
    writer = Writer(directory / "journal.db")
    door = Bare(writer, log)
    door.resume()
    try:
        yield door
    finally:
        writer.close()


def sync_probe(directory: Path) -> None:
    """How long one fdatasync after a 4 KiB append takes; prints ms."""
    fd = os.open(directory / "probe", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    count, began = 0, time.perf_counter()
    while (took := time.perf_counter() - began) < SYNC_PROBE_SECONDS:
        os.write(fd, b"x" * 4096)
        os.fdatasync(fd)
        count += 1
    os.close(fd)
    print(f'{{"fdatasync_ms": {1000 * took / count}}}', flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "sync":
        sync_probe(Path(sys.argv[2]))
    else:
        program.main(open_door, uvloop.run)
