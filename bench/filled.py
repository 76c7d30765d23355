"""Does the file's size matter? Three-step flows on a file that holds 1,000, 100,000 and 1,000,000 ended runs.

    python -m bench.filled [FOLDER]

The ended runs are real ones, multiplied with SQL (ids and keys differ, all else is equal), with their journals. At each
size: the time to open the engine, flows a second with 100 in flight, the time until a start is kept (one at a time),
and the time of the first page of the list of runs.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import apsw
import uvloop

from bench.kit.events import EventLog
from bench.kit.workloads import Door
from bench.segue_peer import open_door
from segue.store.port import RunFilter
from segue.store.sqlite import SqliteStore

SIZES = (1_000, 100_000, 1_000_000)
FLOWS_MEASURED, IN_FLIGHT, STARTS = 3_000, 100, 200


async def flows_per_second(door: Door, count: int, tag: str) -> float:
    numbers = iter(range(count))

    async def caller() -> None:
        for number in numbers:
            await door.call("three", f"{tag}{number}")

    began = time.perf_counter()
    await asyncio.gather(*[caller() for _ in range(IN_FLIGHT)])
    return count / (time.perf_counter() - began)


async def start_milliseconds(door: Door) -> float:
    times: list[float] = []
    for number in range(STARTS):
        began = time.perf_counter()
        await door.start("three", f"s{number}")
        times.append((time.perf_counter() - began) * 1000)
        await asyncio.sleep(0.002)
    return median(times)


async def measure(folder: Path, size: int, log: EventLog) -> str:
    began = time.perf_counter()
    async with open_door(folder, log) as door:
        opened = (time.perf_counter() - began) * 1000
        await flows_per_second(door, 300, "warm")
        rate = max([await flows_per_second(door, FLOWS_MEASURED, f"k{turn}") for turn in range(3)])
        kept = await start_milliseconds(door)
        await asyncio.sleep(0.5)
    store = SqliteStore(folder / "segue.db")
    await store.open()
    began = time.perf_counter()
    await store.list_runs(RunFilter(workspace="default", statuses=("failed",)))
    page = await store.list_runs(RunFilter(workspace="default"), limit=50)
    listed = (time.perf_counter() - began) * 1000
    await store.close()
    size_mb = (folder / "segue.db").stat().st_size / 1e6
    assert len(page.runs) == 50
    return f"| {size:,} | {size_mb:,.0f} | {opened:.0f} | {rate:,.0f} | {kept:.2f} | {listed:.1f} |"


def fill(path: Path, size: int) -> None:
    """Double the ended runs until there are `size`."""
    db = apsw.Connection(str(path))
    db.execute("PRAGMA synchronous = off")
    columns = [row[1] for row in db.execute("PRAGMA table_info(run)")]
    changed = {"key": "key + :by", "run_id": "'run_' || printf('%026d', key + :by)", "idempotency_key": "NULL"}
    picked = ", ".join(changed.get(name, name) for name in columns)
    while (have := db.execute("SELECT count(*) FROM run").get) < size:
        by = db.execute("SELECT max(key) FROM run").get
        upto = db.execute("SELECT key FROM run ORDER BY key LIMIT 1 OFFSET ?", (min(have, size - have) - 1,)).get
        with db:
            db.execute(f"INSERT INTO run SELECT {picked} FROM run WHERE key <= :upto", {"by": by, "upto": upto})
            db.execute(
                "INSERT INTO journal SELECT run_key + :by, seq, kind, step, at, data FROM journal"
                " WHERE run_key <= :upto",
                {"by": by, "upto": upto},
            )
    db.close()


async def main(folder: Path) -> None:
    print("| ended runs in the file | file MB | open ms | flows/s | start kept, ms p50 | list ms |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: |")
    log = EventLog(folder / "marks")
    async with open_door(folder, log) as door:
        await flows_per_second(door, SIZES[0], "first")
    for size in SIZES:
        fill(folder / "segue.db", size)
        print(await measure(folder, size, log), flush=True)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as made:
        uvloop.run(main(Path(made)))
