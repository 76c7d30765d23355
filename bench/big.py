"""Big and long: what does not fit a benchmark of small flows. `make bench-big` prints one line a figure.

Each case runs in a process of its own on a new database, so that its memory is its own. `--only fan,rest` chooses,
`--scale 0.1` makes everything ten times smaller. Times are of the wall clock; "stall" is the longest time for which the
event loop did not turn, "memory" what the process grew by (resident set).
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import apsw
import uvloop

from segue.engine.clock import SystemClock
from segue.engine.host import Engine
from segue.engine.port import Action, ActionRegistry, AttemptContext
from segue.flow.model import Block, Edge, Flow, Limits, Step
from segue.store.port import LimitGroup
from segue.store.sqlite import SqliteStore

PAGE: Final = os.sysconf("SC_PAGE_SIZE")
MONTH_MS: Final = 30 * 86_400_000


def memory() -> float:
    """Megabytes that this process has in memory."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE / 1e6


class Stalls:
    """The longest time for which the loop did not turn."""

    def __init__(self) -> None:
        self.worst = 0.0
        self._last = time.perf_counter()
        self._task = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        while True:
            self._last = time.perf_counter()
            await asyncio.sleep(0.002)
            self.worst = max(self.worst, time.perf_counter() - self._last - 0.002)

    def end(self) -> str:
        self._task.cancel()
        return f"stall {self.worst * 1000:.0f} ms"


class MovedClock(SystemClock):
    """The system's clock, moved on by hand."""

    shift_ms = 0

    def now(self) -> int:
        return super().now() + self.shift_ms


async def _work(_params: dict[str, Any], _context: AttemptContext) -> int:
    return 1


async def _large(params: dict[str, Any], _context: AttemptContext) -> str:
    return os.urandom(int(params["bytes"]) // 2).hex()


@asynccontextmanager
async def opened(folder: Path, clock: SystemClock | None = None) -> AsyncGenerator[Engine]:
    actions = ActionRegistry((Action(name="work", run=_work), Action(name="large", run=_large)))
    engine = Engine(SqliteStore(folder / "big.db", synchronous="NORMAL"), actions, server_key=b"k" * 32, clock=clock)
    await engine.open()
    try:
        yield engine
    finally:
        await engine.close(grace_seconds=0)


def step(id: str, kind: str = "call", **more: Any) -> Step:
    more.setdefault("use", "work" if kind == "call" else None)
    return Step(id=id, kind=kind, path=id, **more)  # pyright: ignore[reportArgumentType]


def flow(*steps: Step, edges: tuple[Edge, ...] = (), **more: Any) -> Flow:
    return Flow(id="big", root=Block(label="root", steps=steps, edges=edges), **more)


async def fan(folder: Path, scale: float) -> None:
    """A foreach over many items: by number of items, limit and strategy."""
    for items in (10_000, 100_000):
        number = int(items * scale)
        for strategy, limit in (("parallel", 10), ("parallel", number), ("sequential", number), ("priority", number)):
            body = Block(label="do", steps=(step("s"),))
            each = step("each", "foreach", params={"items": "$inputs.items", "limit": limit}, blocks=(body,))
            async with opened(folder) as engine:
                stalls, begun = Stalls(), time.perf_counter()
                concurrency = 50 if strategy == "priority" else None
                what = flow(each, strategy=strategy, concurrency=concurrency)
                started = await engine.start(what, {"items": list(range(number))})
                state = await engine.wait(started.run_id)
                seconds = time.perf_counter() - begun
            assert state.status == "succeeded"
            each_us = seconds / number * 1e6
            tell(f"fan-out of {number:,}, {strategy}, limit {limit:,}", f"{seconds:.1f} s, {each_us:.0f} µs an item",
                 stalls.end())  # fmt: skip


async def graph(folder: Path, scale: float) -> None:
    """A flow of many nodes, each with two edges to nodes shortly before it."""
    number = int(2_000 * scale)
    steps = tuple(step(f"s{n}") for n in range(number))
    edges = tuple(Edge(f"s{source}", f"s{n}") for n in range(1, number) for source in {n - 1, max(0, n - 7)})
    async with opened(folder) as engine:
        begun = time.perf_counter()
        started = await engine.start(flow(*steps, edges=edges), {})
        await engine.wait(started.run_id)
    tell(f"a graph of {number:,} steps", f"{time.perf_counter() - begun:.1f} s")


async def rest(folder: Path, scale: float) -> None:
    """Many runs that wait for months; then all of some are due in one second."""
    number, due = int(100_000 * scale), int(10_000 * scale)
    clock = MovedClock()
    months, soon = (flow(step("w", "wait", params={"duration": length})) for length in ("90d", "30d"))
    async with opened(folder, clock) as engine:
        await _start(engine, months, 100)
        before, begun = memory(), time.perf_counter()
        await _start(engine, months, number)
        seconds = time.perf_counter() - begun
        tell(
            f"{number:,} runs come to rest", f"{number / seconds:,.0f} a second", f"memory {memory() - before:+.0f} MB"
        )
        await _start(engine, soon, due)
        before, stalls = memory(), Stalls()
        clock.shift_ms = MONTH_MS + 60_000
        begun = time.perf_counter()
        await engine.loading.wake_rested()
        while (await engine.store.count_runs()).get("succeeded", 0) < due:  # noqa: ASYNC110 - what is measured is rows
            await asyncio.sleep(0.02)
        seconds = time.perf_counter() - begun
        tell(f"{due:,} of them are due in one second", f"all ended after {seconds:.1f} s", stalls.end(),
             f"memory {memory() - before:+.0f} MB")  # fmt: skip


async def queued(folder: Path, scale: float) -> None:
    """Many runs of a flow that lets ten be under way."""
    number = int(100_000 * scale)
    body = (step("w", "wait", params={"duration": "1h"}),)
    what = flow(*body, run_limits=Limits(concurrency=10))
    async with opened(folder) as engine:
        await _start(engine, what, 100)
        before, begun, stalls = memory(), time.perf_counter(), Stalls()
        await _start(engine, what, number)
        seconds = time.perf_counter() - begun
        tell(f"{number:,} runs are queued for 10 slots", f"{number / seconds:,.0f} a second",
             f"memory {memory() - before:+.0f} MB", stalls.end())  # fmt: skip
    begun = time.perf_counter()
    async with opened(folder) as engine:
        tell("… and their store is opened", f"{(time.perf_counter() - begun) * 1000:.0f} ms")
        begun, ended = time.perf_counter(), 0
        while time.perf_counter() - begun < 3:
            for key in await engine.store.runs_under_way(LimitGroup("default", "big", "")):
                record = await engine.store.get_run_by_key(key)
                assert record is not None
                await engine.cancel(record.run_id)
                ended += 1
        tell("… and begun one after the other", f"{ended / (time.perf_counter() - begun):,.0f} a second")


async def _start(engine: Engine, what: Flow, number: int) -> None:
    version = await engine.versions.keep(what, "", engine.now())
    for first in range(0, number, 500):
        await asyncio.gather(*(engine.start(version, {}) for _ in range(min(500, number - first))))


async def history(folder: Path, scale: float) -> None:
    """Opening a store with a long past."""
    ended, waiting = int(1_000_000 * scale), int(100_000 * scale)
    async with opened(folder) as engine:
        await _start(engine, flow(step("w", "wait", params={"duration": "90d"})), 1)
    db = apsw.Connection(str(folder / "big.db"))
    for status, count, wake in (("succeeded", ended, "NULL"), ("waiting", waiting, "wake_at + n")):
        numbers = f"WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {count}) SELECT n FROM c"
        db.execute(
            f"""INSERT INTO run SELECT (SELECT max(key) FROM run) + n, hex(randomblob(16)), workspace, flow_id,
            flow_version, "trigger", created_at + n, NULL, NULL, NULL, '{status}', started_at, created_at + n, {wake},
            0, NULL, NULL, 0 FROM run, ({numbers}) WHERE key = 1"""
        )
    db.execute("INSERT INTO journal SELECT key, 0, 1, -1, created_at, x'' FROM run WHERE key > 1")
    db.close()
    before, begun = memory(), time.perf_counter()
    async with opened(folder) as engine:
        seconds = time.perf_counter() - begun
        tell(f"a store with {ended:,} ended and {waiting:,} waiting runs is opened", f"{seconds * 1000:.0f} ms",
             f"memory {memory() - before:+.0f} MB")  # fmt: skip
        begun = time.perf_counter()
        counts = await engine.store.count_runs()
        assert counts["succeeded"] == ended
        tell("… and its runs are counted", f"{(time.perf_counter() - begun) * 1000:.0f} ms")


async def payload(folder: Path, scale: float) -> None:
    """A result of 50 MB while small runs go on."""
    size = int(50_000_000 * scale)
    async with opened(folder) as engine:
        small = await engine.versions.keep(flow(step("a")), "", engine.now())
        before, stalls, begun = memory(), Stalls(), time.perf_counter()
        large = asyncio.create_task(_run(engine, flow(step("a", use="large", params={"bytes": size}))))
        worst = count = 0
        while not large.done():
            at = time.perf_counter()
            started = await engine.start(small, {})
            await engine.wait(started.run_id)
            worst, count = max(worst, time.perf_counter() - at), count + 1
        run_id = await large
        seconds = time.perf_counter() - begun
        tell(
            f"a result of {size / 1e6:.0f} MB is kept",
            f"{seconds:.1f} s",
            stalls.end(),
            f"{count} small runs meanwhile, the slowest {worst * 1000:.0f} ms",
            f"memory {memory() - before:+.0f} MB",
        )
        begun = time.perf_counter()
        state = await engine.state(await engine.record(run_id))
        assert len(str(state.nodes[0].output)) == size // 2 * 2
        tell("… and read again", f"{time.perf_counter() - begun:.1f} s")


async def _run(engine: Engine, what: Flow) -> str:
    started = await engine.start(what, {})
    await engine.wait(started.run_id)
    return started.run_id


async def journal(folder: Path, scale: float) -> None:
    """A run with a long journal is folded."""
    number = int(333_333 * scale)
    body = Block(label="do", steps=(step("s"),))
    what = flow(step("each", "foreach", params={"items": "$inputs.items", "limit": 100}, blocks=(body,)))
    async with opened(folder) as engine:
        started = await engine.start(what, {"items": list(range(number))})
        await engine.wait(started.run_id)
        record = await engine.record(started.run_id)
    async with opened(folder) as engine:
        before, stalls, begun = memory(), Stalls(), time.perf_counter()
        state = await engine.state(record)
        tell(f"a journal of {state.seq:,} events is folded", f"{time.perf_counter() - begun:.1f} s", stalls.end(),
             f"memory {memory() - before:+.0f} MB")  # fmt: skip


def tell(what: str, *figures: str) -> None:
    """One line of the table."""
    sys.stdout.write(f"| {what} | {'; '.join(figures)} |\n")
    sys.stdout.flush()


CASES: Final[dict[str, Callable[[Path, float], Awaitable[None]]]] = {
    "fan": fan, "graph": graph, "rest": rest, "queued": queued, "history": history, "payload": payload,
    "journal": journal,
}  # fmt: skip


@dataclass(frozen=True)
class _Asked:
    only: str
    scale: float
    case: str | None


def main() -> None:
    """Each case in a process of its own; with `--case` that one, here."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default=",".join(CASES))
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--case", choices=CASES)
    asked = _Asked(**vars(parser.parse_args()))
    if asked.case is not None:
        with tempfile.TemporaryDirectory(prefix="segue-big-") as folder:
            uvloop.run(CASES[asked.case](Path(folder), asked.scale))  # pyright: ignore[reportArgumentType]
        return
    for name in asked.only.split(","):
        command = [sys.executable, "-m", "bench.big", "--case", name, "--scale", str(asked.scale)]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
