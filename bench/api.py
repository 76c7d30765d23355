"""The HTTP door: starts and webhooks a second, lists among many runs, how soon a start becomes a step, and 500 watchers
of one run.

    python -m bench.api                              all of it
    python -m bench.api --only starts,rates --seconds 5 --runs 100000,1000000 --watchers 500
    python -m bench.api --into bench/RESULTS.md      the tables between the marks of a Markdown file

The server is a process of its own on a new SQLite file; the load comes from this one. Latencies are in milliseconds and
hold the load generator's own share. Nothing is quoted from a machine that others use at the same time.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import hmac
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec
import uvloop

from bench.filled import fill as multiply
from segue.store.port import Commit, NewRun, RunHead
from segue.store.sqlite import SqliteStore

ACTIONS: Final = """\
import time

from segue import action


@action("bench.now")
async def now() -> float:
    return time.time()
"""
TIMED: Final = "flow: timed\nsteps:\n  - first: {call: bench.now}\n"
"""Its first step says when it was begun; it is only called once its start is on disk."""
FLOW: Final = "flow: small\nsteps:\n  - first: {set: {n: 1}}\n  - second: {set: {n: $first.n}}\n"
HOOKED: Final = (
    "flow: hooked\ntrigger: {webhook: {auth: standard}, inputs: {n: $data.n}}\ninputs: {n: integer}\n"
    "steps:\n  - first: {set: {n: $inputs.n}}\n  - second: {set: {n: $first.n}}\n"
)
WATCHED: Final = (
    "flow: watched\nsteps:\n  - each: {foreach: {items: 'range(0, 40)', limit: 1, do: [{w: {wait: 100ms}}]}}\n"
)
MS: Final = ("p50 ms", "p95 ms", "p99 ms")
TICKS: Final = os.sysconf("SC_CLK_TCK")


@dataclass
class Server:
    address: str
    token: str
    pid: int

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS


@asynccontextmanager
async def server(folder: Path) -> AsyncGenerator[tuple[Server, aiohttp.ClientSession]]:
    (flows := folder / "flows").mkdir()
    (flows / "hooked.yaml").write_text(HOOKED, "utf-8")
    command = [sys.executable, "-m", "segue", "serve", "--port", "0", "--json", "--log-level", "warning"]
    (actions := folder / "actions.py").write_text(ACTIONS, "utf-8")
    command += ["--flows", str(flows), "--actions", str(actions)]
    process = subprocess.Popen(  # noqa: ASYNC220 - once, before anything is measured
        [*command, "--database", f"sqlite:///{folder / 'bench.db'}"], stdout=subprocess.PIPE, cwd=folder
    )
    assert process.stdout is not None
    told = json.loads(await asyncio.to_thread(process.stdout.readline))
    found = Server(told["address"], told["token"], told["pid"])
    headers = {"Authorization": f"Bearer {found.token}"}
    connector = aiohttp.TCPConnector(limit=0)
    try:
        async with aiohttp.ClientSession(found.address, headers=headers, connector=connector) as session:
            yield found, session
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait)


PARTS: Final = (0.5, 0.95, 0.99)
BEGIN, END = "<!-- http: begin -->", "<!-- http: end -->"


class Table:
    """One table of figures, told as it grows."""

    def __init__(self, title: str, *columns: str) -> None:
        self.lines = [f"**{title}**", "", line(columns), "| --- |" + " ---: |" * (len(columns) - 1)]
        print("\n".join(self.lines), flush=True)

    def add(self, *cells: str) -> None:
        self.lines.append(line(cells))
        print(self.lines[-1], flush=True)


def line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def spread(values: list[float]) -> tuple[str, str, str]:
    """p50, p95 and p99 in milliseconds."""
    ordered = sorted(values)
    at = [ordered[min(len(ordered) - 1, int(len(ordered) * part))] for part in PARTS]
    return f"{at[0] * 1000:.1f}", f"{at[1] * 1000:.1f}", f"{at[2] * 1000:.1f}"


async def start(session: aiohttp.ClientSession, flow: str = FLOW) -> str:
    async with session.post("/api/v1/runs", json={"flow": flow}) as answer:
        told = await answer.json()
        assert answer.status == 201, told
        return str(told["run_id"])


async def starts(folder: Path, options: argparse.Namespace) -> Table:
    """Closed loop: so many callers, each starts the next run when the last one is accepted."""
    table = Table("`POST /api/v1/runs`, each caller one at a time", "callers", "a second", *MS, "server CPU ms each")
    async with server(folder) as (served, session):
        await start(session)
        for callers in (1, 16, 64):
            times: list[float] = []
            ends = time.perf_counter() + options.seconds
            before = served.cpu_seconds()

            async def call(times: list[float] = times, ends: float = ends) -> None:
                while time.perf_counter() < ends:
                    begun = time.perf_counter()
                    await start(session)
                    times.append(time.perf_counter() - begun)

            await asyncio.gather(*(call() for _ in range(callers)))
            cpu = (served.cpu_seconds() - before) / len(times) * 1000
            rate = len(times) / options.seconds
            table.add(f"{callers}", f"{rate:,.0f}", *spread(times), f"{cpu:.2f}")
    return table


async def rates(folder: Path, options: argparse.Namespace) -> Table:
    """Open loop: so many starts a second, whatever comes back; from sending the request to the first step's begin. Then
    the highest rate at which p99 stays under the bound: doubled until it does not, and halved in between.
    """
    table = Table(
        f"From sending a start to its first step; highest rate with p99 under {options.bound:g} ms",
        "starts a second", "reached", *MS, "under the bound",
    )  # fmt: skip
    async with server(folder) as (_, session):
        await start(session, TIMED)

        async def holds(rate: float) -> bool:
            reached, waits = await _at_rate(session, rate, options.seconds)
            told = spread(waits)
            fits = float(told[2]) <= options.bound and reached > 0.9 * rate
            table.add(f"{rate:,.0f}", f"{reached:,.0f}", *told, "yes" if fits else "no")
            return fits

        best, rate = 0.0, 17.0
        for rate in (17.0, 100.0, 200.0, 400.0, 800.0, 1_600.0, 3_200.0):
            if not await holds(rate):
                break
            best = rate
        low, high = best, rate
        for _ in range(options.search if best < rate else 0):
            middle = (low + high) / 2
            low, high = (middle, high) if await holds(middle) else (low, middle)
        table.add(f"highest: {low:,.0f}", "", "", "", "", "")
    return table


async def _at_rate(session: aiohttp.ClientSession, rate: float, seconds: float) -> tuple[float, list[float]]:
    """Starts a second that were reached, and for some hundreds of them the time to their first step."""
    begun, ids, sent = time.perf_counter(), list[asyncio.Task[str]](), list[float]()
    count = max(20, int(rate * seconds))
    for number in range(count):
        await asyncio.sleep(max(0.0, begun + number / rate - time.perf_counter()))
        sent.append(time.time())
        ids.append(asyncio.create_task(start(session, TIMED)))
    found = await asyncio.gather(*ids)
    reached = count / (time.perf_counter() - begun)
    waits: list[float] = []
    for number in range(0, count, max(1, count // SAMPLED)):
        waits.append(await _first_step(session, found[number]) - sent[number])
    return reached, waits


async def _first_step(session: aiohttp.ClientSession, run_id: str) -> float:
    """When the first step was begun, as it says itself, in seconds since the epoch."""
    while True:
        async with session.get(f"/api/v1/runs/{run_id}") as answer:
            steps = (await answer.json())["steps"]
        if steps and steps[0]["output"] is not None:
            return float(steps[0]["output"])
        await asyncio.sleep(0.05)


SAMPLED: Final = 500


def _seconds(text: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(text).timestamp()


async def lists(folder: Path, options: argparse.Namespace) -> Table:
    """Pages of the list of runs among very many."""
    table = Table("`GET /api/v1/runs`", "among", "asked for", *MS, "rows")
    for size in sorted(int(one) for one in options.runs.split(",")):
        (place := folder / str(size)).mkdir()
        await _fill(place / "bench.db", min(size, SEED))
        await asyncio.to_thread(multiply, place / "bench.db", size)
        async with server(place) as (_, session):
            for name, query in (
                ("the first page", ""), ("a status", "status=failed"), ("a flow", "flow=flow_7"),
                ("a flow and a status", "flow=flow_7&status=failed"), ("a trigger", "trigger=schedule"),
                ("a text in the error", "q=quota"), ("the oldest first", "sort=created_at"),
            ):  # fmt: skip
                times: list[float] = []
                for _ in range(30):
                    begun = time.perf_counter()
                    async with session.get(f"/api/v1/runs?{query}") as answer:
                        page = await answer.json()
                    times.append(time.perf_counter() - begun)
                table.add(f"{size:,}", name, *spread(times), f"{len(page['runs'])}")
    return table


SEED: Final = 50_000
"""Rows that are written as the store writes them; the rest are copies of them."""


async def _fill(path: Path, runs: int) -> None:
    """Rows as runs leave them, without carrying any out."""
    store = SqliteStore(path)
    await store.open()
    now, done = round(time.time() * 1000), asyncio.get_running_loop().create_future()
    left = [runs]

    def kept(_commit: Commit, error: BaseException | None) -> None:
        if error is not None and not done.done():
            done.set_exception(error)
        left[0] -= 1
        if not left[0] and not done.done():
            done.set_result(None)

    for number in range(runs):
        failed = number % 11 == 0
        store.commit(
            Commit(
                run_key=store.next_run_key(), rows=(),
                new_run=NewRun(
                    run_id=f"run_{number:026d}", workspace="default", flow_id=f"flow_{number % 50}", flow_version=1,
                    trigger="schedule" if number % 5 == 0 else "api", created_at=now - runs + number,
                ),
                head=RunHead(
                    status="failed" if failed else "succeeded", started_at=now, finished_at=now,
                    error="over the quota" if failed and number % 13 == 0 else "timeout" if failed else None,
                ),
            ),
            kept,
        )  # fmt: skip
        if number % 5_000 == 0:
            await asyncio.sleep(0)
    await done
    await store.close()


async def watchers(folder: Path, options: argparse.Namespace) -> Table:
    """Many watchers of one run: how long after its time stamp a line arrives, and what that costs the server."""
    table = Table(
        "Watchers of one run by SSE: from a line's time to its arrival",
        "watchers", "lines each", *MS, "server CPU µs a line and watcher",
    )  # fmt: skip
    async with server(folder) as (served, session):
        async with session.post("/api/v1/runs", json={"flow": WATCHED}) as answer:
            run_id = (await answer.json())["run_id"]
        delays: list[float] = []
        ready, opened = asyncio.Event(), [0]

        async def watch() -> int:
            lines = 0
            async with session.get(f"/api/v1/runs/{run_id}/events", timeout=aiohttp.ClientTimeout(total=120)) as stream:
                opened[0] += 1
                if opened[0] == options.watchers:
                    ready.set()
                kind = b""
                async for raw in stream.content:
                    if raw.startswith(b"event: "):
                        kind = raw[7:].strip()
                    elif raw.startswith(b"data: ") and kind == b"log":
                        lines += 1
                        if ready.is_set():
                            delays.append(time.time() - _seconds(msgspec.json.decode(raw[6:])["ts"]))
            return lines

        before, begun = served.cpu_seconds(), time.perf_counter()
        told = await asyncio.gather(*(watch() for _ in range(options.watchers)))
        took, cpu = time.perf_counter() - begun, served.cpu_seconds() - before
        assert len(set(told)) == 1, "a watcher missed something"
        each = cpu / (options.watchers * told[0]) * 1e6
        table.add(f"{options.watchers}", f"{told[0]} in {took:.1f} s", *spread(delays), f"{each:.0f}")
    return table


async def webhooks(folder: Path, options: argparse.Namespace) -> Table:
    """Closed loop: signed deliveries (Standard Webhooks), each kept with its run before it is answered."""
    table = Table(
        "Signed webhooks (Standard Webhooks), kept with their run", "senders", "a second", *MS, "server CPU ms each"
    )
    async with server(folder) as (served, session):
        async with session.get("/api/v1/triggers?flow=hooked") as answer:
            trigger = (await answer.json())["triggers"][0]
        async with session.post(f"/api/v1/triggers/{trigger['id']}/secrets") as answer:
            key = base64.b64decode((await answer.json())["secret"].removeprefix("whsec_"))
        count = [0]

        async def deliver() -> None:
            count[0] += 1
            body, at = b'{"type": "order.paid", "n": %d}' % count[0], int(time.time())
            id = f"msg_{count[0]}"
            proof = hmac.new(key, f"{id}.{at}.".encode() + body, hashlib.sha256).digest()
            headers = {
                "webhook-id": id, "webhook-timestamp": str(at), "content-type": "application/json",
                "webhook-signature": f"v1,{base64.b64encode(proof).decode()}",
            }  # fmt: skip
            async with session.post("/hooks/default/hooked", data=body, headers=headers) as answer:
                assert answer.status == 202, await answer.text()
                await answer.read()

        for callers in (1, 16, 64):
            times: list[float] = []
            ends, before = time.perf_counter() + options.seconds, served.cpu_seconds()

            async def call(times: list[float] = times, ends: float = ends) -> None:
                while time.perf_counter() < ends:
                    begun = time.perf_counter()
                    await deliver()
                    times.append(time.perf_counter() - begun)

            await asyncio.gather(*(call() for _ in range(callers)))
            cpu = (served.cpu_seconds() - before) / len(times) * 1000
            rate = len(times) / options.seconds
            table.add(f"{callers}", f"{rate:,.0f}", *spread(times), f"{cpu:.2f}")
    return table


CASES: Final[dict[str, Any]] = {
    "starts": starts,
    "webhooks": webhooks,
    "rates": rates,
    "lists": lists,
    "watchers": watchers,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(CASES))
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--runs", default="100000,1000000", help="sizes of the file for `lists`, by comma")
    parser.add_argument("--watchers", type=int, default=500)
    parser.add_argument("--bound", type=float, default=200, help="what p99 is to stay under in `rates`, ms (OPS-3)")
    parser.add_argument("--search", type=int, default=4, help="how often the interval of the highest rate is halved")
    parser.add_argument("--into", type=Path, help="write the tables into this file, between its marks")
    options = parser.parse_args()
    tables: list[str] = []
    for name in options.only.split(","):
        with tempfile.TemporaryDirectory() as folder:
            tables.append("\n".join(uvloop.run(CASES[name](Path(folder), options)).lines))
    if options.into is not None:
        before, found, rest = options.into.read_text("utf-8").partition(BEGIN)
        if not found or END not in rest:
            raise SystemExit(f"{options.into} has no lines {BEGIN} and {END}")
        made = "\n\n".join(tables)
        options.into.write_text(f"{before}{BEGIN}\n{made}\n{END}{rest.partition(END)[2]}", "utf-8")


if __name__ == "__main__":
    main()
