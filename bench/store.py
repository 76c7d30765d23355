"""The SQLite store against a bare loop: the same journal rows, a flush each, with nothing else done.

    python -m bench.store [FOLDER]

A flow is four commits of two rows, as three steps make them. Through the port, the first commit also creates the run's
row and the last one ends it; the bare loop only appends. `busy` burns some processor time in the event loop after each
commit, as an engine does: it shows what the writer's thread and the loop's take from each other.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import apsw
import uvloop

from segue.store.port import Commit, JournalRow, NewRun, RunHead
from segue.store.sqlite import SqliteStore

FLOWS = 4000
IN_FLIGHT = 100
ROUNDS = 3
COMMITS, ROWS = 4, 8
DATA = b'{"step":"s1","out":{"ok":true,"i":1,"text":"' + b"x" * 60 + b'"},"at":2.0}'
BUSY_SECONDS = 50e-6

Flow = Callable[[int], Awaitable[None]]


def burn(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


class BareLoop:
    """One thread, one transaction for whatever is queued, futures set on the loop: the least that can be done."""

    def __init__(self, path: Path) -> None:
        self._db = apsw.Connection(str(path))
        self._db.execute("pragma journal_mode=wal")
        self._db.execute("pragma synchronous=full")
        self._db.execute(
            "create table journal(run integer, seq integer, kind integer, step integer, data blob,"
            " primary key(run, seq)) without rowid"
        )
        self._loop = asyncio.get_running_loop()
        self._queue: list[tuple[list[tuple], asyncio.Future[None]]] = []
        self._wake = threading.Event()
        self._closing = False
        self.flushes = 0
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def append(self, rows: list[tuple]) -> asyncio.Future[None]:
        future = self._loop.create_future()
        self._queue.append((rows, future))
        self._wake.set()
        return future

    async def close(self) -> None:
        self._closing = True
        self._wake.set()
        await asyncio.to_thread(self._thread.join)
        self._db.close()

    def _work(self) -> None:
        cursor = self._db.cursor()
        while not (self._closing and not self._queue):
            self._wake.wait()
            self._wake.clear()
            queue, self._queue = self._queue, []
            if not queue:
                continue
            cursor.execute("begin immediate")
            cursor.executemany("insert into journal values(?,?,?,?,?)", [row for rows, _ in queue for row in rows])
            cursor.execute("commit")
            self.flushes += 1
            self._loop.call_soon_threadsafe(self._wake_waiters, [future for _, future in queue])

    @staticmethod
    def _wake_waiters(futures: list[asyncio.Future[None]]) -> None:
        for future in futures:
            future.set_result(None)


async def bare_flows(path: Path, busy: float) -> tuple[float, int]:
    loop = BareLoop(path)

    async def flow(run: int) -> None:
        for seq in range(0, ROWS, 2):
            await loop.append([(run, seq, 1, 0, DATA), (run, seq + 1, 2, 0, DATA)])
            burn(busy)

    seconds = await all_flows(flow)
    await loop.close()
    return seconds, loop.flushes


async def port_flows(path: Path, busy: float) -> tuple[float, int]:
    store = SqliteStore(path)
    await store.open()
    new_future = asyncio.get_running_loop().create_future

    def kept(commit: Commit, error: BaseException | None) -> None:
        future = waiting.pop(id(commit))
        future.set_exception(error) if error else future.set_result(None)

    waiting: dict[int, asyncio.Future[None]] = {}
    ended = RunHead(status="succeeded", started_at=1, finished_at=2)

    async def flow(number: int) -> None:
        run = store.next_run_key()
        new = NewRun(
            run_id=f"run_{number:020}",
            workspace="default",
            flow_id="three",
            flow_version=1,
            trigger="api",
            created_at=1_700_000_000_000 + number,
        )
        for seq in range(0, ROWS, 2):
            rows = [JournalRow(seq, 1, 0, 1_700_000_000_000, DATA), JournalRow(seq + 1, 2, 0, 1_700_000_000_000, DATA)]
            if seq == 0:
                commit = Commit(run_key=run, rows=rows, new_run=new, head=RunHead(status="running", started_at=1))
            else:
                commit = Commit(run_key=run, rows=rows, head=ended if seq == ROWS - 2 else None)
            future = waiting[id(commit)] = new_future()
            store.commit(commit, kept)
            await future
            burn(busy)

    seconds = await all_flows(flow)
    flushes = (await store.statistics())["flushes"]
    await store.close()
    return seconds, flushes


async def all_flows(flow: Flow) -> float:
    numbers = iter(range(FLOWS))

    async def one_after_another() -> None:
        for number in numbers:
            await flow(number)

    start = time.perf_counter()
    await asyncio.gather(*(one_after_another() for _ in range(IN_FLIGHT)))
    return time.perf_counter() - start


def measure(
    kind: Callable[[Path, float], Awaitable[tuple[float, int]]], busy: float, folder: str | None
) -> list[float]:
    """Flows/s, commits/s, rows/s, flushes a flow; the best round, since others only take away."""
    results = []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory(dir=folder) as place:
            results.append(uvloop.run(kind(Path(place) / "bench.db", busy)))
    seconds, flushes = min(results)
    return [FLOWS / seconds, FLOWS * COMMITS / seconds, FLOWS * ROWS / seconds, flushes / FLOWS]


def main() -> None:
    folder = sys.argv[1] if len(sys.argv) > 1 else None
    print(f"{FLOWS} flows, {IN_FLIGHT} in flight, best of {ROUNDS}")
    for busy in (0.0, BUSY_SECONDS):
        bare, port = measure(bare_flows, busy, folder), measure(port_flows, busy, folder)
        for name, (flows, commits, rows, flushes) in (("bare loop", bare), ("store port", port)):
            print(
                f"  {name:10} busy {busy * 1e6:2.0f} us: {flows:6.0f} flows/s {commits:7.0f} commits/s"
                f" {rows:7.0f} rows/s {flushes:.3f} flushes a flow"
            )
        print(f"  ratio {port[0] / bare[0]:.2f}")


if __name__ == "__main__":
    main()
