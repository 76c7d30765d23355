"""The command line that every measured system has, so that one driver can run them all.

`python -m MODULE ACTION --dir DIR --events FILE …` prints one JSON object as its last line, or (actions `w4-start`,
`w4-resume`, `ready`) marks `app ready` in the event log and stays until it is killed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from bench.kit import workloads
from bench.kit.events import EventLog, SilentLog
from bench.kit.workloads import CHAIN_STEPS, FAN_STEPS, Door, Figure

ACTIONS = ("w1", "start", "w2", "w3", "mem", "w4-start", "w4-resume", "ready")
INTERRUPTED_RUNS = 100

OpenDoor = Callable[[Path, EventLog], AbstractAsyncContextManager[Door]]
"""Opens the system on its data directory: a fresh one, or one that a killed process left behind."""
Run = Callable[[Coroutine[None, None, None]], object]


def arguments() -> argparse.Namespace:
    """The options of one action."""
    parser = argparse.ArgumentParser()
    parser.add_argument("action", choices=ACTIONS)
    parser.add_argument("--dir", type=Path, required=True, help="data directory of the system")
    parser.add_argument("--events", type=Path, required=True, help="event log")
    parser.add_argument("--flows", type=int, default=1000, help="w1: flows")
    parser.add_argument("--in-flight", type=int, default=100, help="w1: callers at a time")
    parser.add_argument("--unmarked", action="store_true", help="w1: the steps write no event log")
    parser.add_argument("--rate", type=float, default=10, help="start: flows a second")
    parser.add_argument("--seconds", type=float, default=10, help="start: how long")
    parser.add_argument("--repeat", type=int, default=3, help="w2, w3: flows measured")
    parser.add_argument("--form", default="fan", help="w2: which form of fan-out")
    return parser.parse_args()


async def _measure(options: argparse.Namespace, door: Door, log: EventLog) -> Figure:
    match options.action:
        case "w1" if options.unmarked:
            return await workloads.unmarked_throughput(door, options.flows, options.in_flight)
        case "w1":
            return await workloads.throughput(door, log, options.flows, options.in_flight)
        case "start":
            return await workloads.latency(door, log, options.rate, options.seconds)
        case "w2":
            return await workloads.single(door, log, options.form, FAN_STEPS, options.repeat)
        case "w3":
            return await workloads.single(door, log, "chain", CHAIN_STEPS, options.repeat)
        case "mem":
            return await workloads.at_rest(door)
        case _:
            raise ValueError(options.action)


async def _main(open_door: OpenDoor, options: argparse.Namespace) -> None:
    log = EventLog(options.events)
    log.mark("app", "opening")
    async with open_door(options.dir, SilentLog(options.events) if options.unmarked else log) as door:
        log.mark("app", "ready")
        if options.action in ("w4-start", "w4-resume", "ready"):
            if options.action == "w4-start":
                await asyncio.gather(*(door.start("recover", f"r{i}") for i in range(INTERRUPTED_RUNS)))
            await asyncio.Event().wait()
        print(json.dumps(await _measure(options, door, log)), flush=True)


def main(open_door: OpenDoor, run: Run) -> None:
    """Run the action given on the command line against this system, in the event loop that `run` makes."""
    run(_main(open_door, arguments()))
