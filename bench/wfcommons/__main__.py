"""Runs the workflows of instances/ on SQLite: `python -m bench.wfcommons [--only blast,bwa] [--copies 1,2]`.

Each is a task list of document D's form whose tasks do nothing. Beside the engine stands the bare loop: the same graph
walked by hand, with the rows that an engine would append committed in groups by one writer (bench/limit_loop.py). The
critical path (in tasks) is how many times one commit must follow the other; `copies` puts a graph several times into
one flow, so that whatever is worse than linear shows in the time a task. The median of the rounds is printed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop

from bench.kit.events import PAYLOAD
from bench.limit_loop import ENCODE, ENDED, FINISHED, REQUESTED, SCHEDULED, Event, Writer
from segue import Segue

INSTANCES = Path(__file__).with_name("instances")


@dataclass(frozen=True, kw_only=True)
class Graph:
    """One workflow: programs, and each task's parents by place."""

    name: str
    programs: list[str]
    parents: list[list[int]]

    @property
    def edges(self) -> int:
        """Dependencies."""
        return sum(map(len, self.parents))

    @property
    def critical_path(self) -> int:
        """Tasks on the longest path."""
        depth: list[int] = []
        for found in self.parents:
            depth.append(1 + max((depth[one] for one in found), default=0))
        return max(depth)

    def times(self, copies: int) -> Graph:
        """The graph so many times, side by side."""
        size = len(self.programs)
        parents = [[one + number * size for one in found] for number in range(copies) for found in self.parents]
        return Graph(name=self.name, programs=self.programs * copies, parents=parents)

    def document(self) -> dict[str, Any]:
        """As a task list (document D's form)."""
        tasks = [
            {
                "id": f"t{number}", "agent_type": "bench", "action": "noop", "parameters": {"program": program},
                "dependencies": [f"t{one}" for one in found],
            }
            for number, (program, found) in enumerate(zip(self.programs, self.parents, strict=True))
        ]  # fmt: skip
        return {"flow": f"wf-{self.name}", "definition": {"tasks": tasks}}


def read(path: Path) -> Graph:
    """An instance."""
    tasks = json.loads(path.read_text("utf-8"))["tasks"]
    return Graph(name=path.stem, programs=[one for one, _ in tasks], parents=[found for _, found in tasks])


async def segue_seconds(graph: Graph) -> tuple[float, float, float]:
    """Seconds to read and check the flow, from its start to its end, and of CPU meanwhile."""
    text = json.dumps(graph.document())
    with tempfile.TemporaryDirectory(dir=".") as folder:
        segue = Segue(f"sqlite:///{folder}/segue.db")

        @segue.action("bench.noop")
        async def noop(program: str) -> dict[str, object]:
            return PAYLOAD

        async with segue:
            began = time.perf_counter()
            flow = segue.load(text)
            read_seconds = time.perf_counter() - began
            await segue.run("flow: warm\nsteps:\n  - a: {call: bench.noop, params: {program: x}}\n")
            began, cpu = time.perf_counter(), time.process_time()
            result = await segue.run(flow)
            seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        if not result.succeeded or len(result.steps) < len(graph.programs):
            raise RuntimeError(f"{graph.name}: {result.status}, {result.error}")
    return read_seconds, seconds, cpu


async def bare_seconds(graph: Graph) -> float:
    """The same rows, with nothing that decides."""
    children: list[list[int]] = [[] for _ in graph.programs]
    waiting = [len(found) for found in graph.parents]
    for number, found in enumerate(graph.parents):
        for one in found:
            children[one].append(number)
    left, over = len(graph.programs), asyncio.Event()
    with tempfile.TemporaryDirectory(dir=".") as folder:
        writer = Writer(Path(folder) / "journal.db")
        began, seq = time.perf_counter(), len(graph.programs)
        first = [number for number, count in enumerate(waiting) if not count]
        await writer.append(
            [(1, 0, REQUESTED, 0, ENCODE(Event(at=1.0))), *((1, 1 + n, SCHEDULED, n, b"") for n in first)]
        )

        async def noop() -> dict[str, object]:
            return PAYLOAD

        async def one(number: int) -> None:
            nonlocal seq, left
            out = await noop()
            ready = [child for child in children[number] if waiting[child] == 1]
            for child in children[number]:
                waiting[child] -= 1
            left -= 1
            rows = [(FINISHED, number, ENCODE(Event(step="t", out=out, at=2.0)))]
            rows += [(SCHEDULED, child, b"") for child in ready]
            rows += [(ENDED, number, b"")] * (not left)
            numbered = [(1, seq + offset, *row) for offset, row in enumerate(rows, 1)]
            seq += len(rows)
            is_last = not left
            await writer.append(numbered)
            tasks.extend(asyncio.ensure_future(one(child)) for child in ready)
            if is_last:
                over.set()

        tasks = [asyncio.ensure_future(one(number)) for number in first]
        await over.wait()
        seconds = time.perf_counter() - began
        writer.close()
    return seconds


def measure(graph: Graph, rounds: int) -> dict[str, float]:
    """Medians of the rounds, in which both take turns."""
    figures: dict[str, list[float]] = {"read": [], "segue": [], "cpu": [], "bare": []}
    for _ in range(rounds):
        for name, value in zip(("read", "segue", "cpu"), uvloop.run(segue_seconds(graph)), strict=True):
            figures[name].append(value)
        figures["bare"].append(uvloop.run(bare_seconds(graph)))
    return {name: statistics.median(values) for name, values in figures.items()}


def main() -> None:
    """Measure and print a table."""
    options = argparse.ArgumentParser(prog="python -m bench.wfcommons")
    options.add_argument("--only", default="")
    options.add_argument("--copies", default="1")
    options.add_argument("--rounds", type=int, default=3)
    given = options.parse_args()
    wanted = given.only.split(",") if given.only else None
    columns = ("workflow", "tasks", "edges", "critical path", "read, s", "makespan, s", "ms a task", "CPU ms a task")
    print(f"| {' | '.join((*columns, 'bare loop, s', 'times'))} |")
    print("| --- " * 10 + "|")
    for path in sorted(INSTANCES.glob("*.json")):
        if wanted is not None and path.stem not in wanted:
            continue
        for copies in map(int, given.copies.split(",")):
            graph = read(path).times(copies)
            found, tasks = measure(graph, given.rounds), len(graph.programs)
            print(
                f"| {graph.name} | {tasks:,} | {graph.edges:,} | {graph.critical_path} | {found['read']:.2f}"
                f" | {found['segue']:.2f} | {1000 * found['segue'] / tasks:.2f}"
                f" | {1000 * found['cpu'] / tasks:.2f} | {found['bare']:.3f}"
                f" | {found['segue'] / found['bare']:.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
