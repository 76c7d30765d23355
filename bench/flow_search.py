"""How quick lists and searches of stored flows are with 10,000 of them in a workspace: `python -m bench.flow_search`.

Times are those of the service, database file and decoding included, without HTTP; the median and the slowest of 50.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from segue.bootstrap import Host, build_host
from segue.flows import rows
from segue.flows.records import Author, FlowFilter
from segue.net.egress import EgressPolicy
from segue.store.tables import Sql

WORDS = (
    "order", "invoice", "refund", "payment", "customer", "report", "approval", "shipment", "stock", "mail", "alert",
    "backup", "import", "export", "sync", "lead", "ticket", "contract", "audit", "meeting",
)  # fmt: skip
AUTHOR = Author("bench", "bench")
WORKSPACE = "default"
ROUNDS = 50


def text(number: int, chance: random.Random) -> str:
    """A flow of six steps."""
    words = chance.sample(WORDS, 6)
    steps = "".join(f"  - {word}_{place}: {{log: '{word} {number}'}}\n" for place, word in enumerate(words))
    return (
        f"flow: {words[0]}-{number}\ntitle: {words[0]} {words[1]} {number}\ndescription: About the {words[2]}.\n"
        f"category: {words[3]}\ntags: [{words[4]}, {words[5]}]\nsteps:\n{steps}"
    )


async def fill(host: Host, count: int) -> float:
    """Store the flows, a hundred in one transaction; seconds."""
    chance, began = random.Random(7), time.perf_counter()
    for start in range(0, count, 100):
        texts = [text(number, chance) for number in range(start, min(start + 100, count))]
        read = [await host.flows.check(WORKSPACE, one.split("\n", 1)[0].removeprefix("flow: "), one) for one in texts]

        def insert(sql: Sql, read: list[rows.ReadText] = read) -> None:
            for found in read:
                rows.insert(sql, WORKSPACE, found, AUTHOR, 1)

        await host.tables.change(insert)
    return time.perf_counter() - began


async def measure(name: str, work: Callable[[], Awaitable[object]]) -> None:
    """Print the median and the slowest of 50."""
    taken: list[float] = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        await work()
        taken.append((time.perf_counter() - began) * 1000)
    print(f"{name:<44} p50 {statistics.median(taken):7.2f} ms   max {max(taken):7.2f} ms")


async def main(count: int) -> None:
    """Fill a database, then ask it."""
    with tempfile.TemporaryDirectory() as folder:
        host = build_host(f"sqlite:///{Path(folder) / 'bench.db'}", egress=EgressPolicy.local())
        await host.open()
        try:
            seconds = await fill(host, count)
            print(f"{count:,} flows stored in {seconds:.1f} s, {seconds / count * 1000:.2f} ms each\n")
            flows = host.flows
            wheres = {
                "first page by name": FlowFilter(),
                "first page by change": FlowFilter(sort="updated"),
                "by tag": FlowFilter(tags=("refund",)),
                "by category": FlowFilter(category="audit"),
                "search: one common word": FlowFilter(query="order"),
                "search: two words": FlowFilter(query="order refund"),
                "search: a prefix": FlowFilter(query="inv"),
                "search: a number (one flow)": FlowFilter(query=str(count // 2)),
                "search: nothing": FlowFilter(query="zebra"),
            }
            for name, where in wheres.items():
                await measure(name, lambda where=where: flows.list(WORKSPACE, where, limit=50))
            cursor = None
            for _ in range(count // 200):
                cursor = (await flows.list(WORKSPACE, limit=200, cursor=cursor)).cursor or cursor
            await measure("last page by name", lambda: flows.list(WORKSPACE, limit=50, cursor=cursor))
            first = (await flows.list(WORKSPACE, limit=1)).flows[0].id
            await measure("one flow's draft, checked", lambda: flows.draft(WORKSPACE, first))
        finally:
            await host.close()


if __name__ == "__main__":
    asyncio.run(main(1_000 if "--quick" in sys.argv else 10_000))
