"""Segue on SQLite, driven through its embedded Python door: callers, engine, flows and steps share one process.

All settings are its own: WAL, synchronous=FULL, group commit. Flows are text, as a user writes them; steps are Python
functions registered as actions.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import uvloop

from bench.kit import program
from bench.kit.events import PAYLOAD, EventLog
from bench.kit.workloads import CHAIN_STEPS, FAN_STEPS, INTERRUPTED_SECONDS, Door
from segue import Segue


def _step(name: str, action: str, mark: str) -> str:
    return f"{name}: {{call: {action}, params: {{flow: $inputs.key, name: {mark}}}}}"


def _flow(name: str, *steps: str) -> str:
    return "\n".join([f"flow: bench-{name}", "inputs: {key: string}", "steps:", *(f"  - {step}" for step in steps), ""])


def _fan() -> str:
    branches = [f"          - {_step(f'f{number}', 'bench.step', 'f')}" for number in range(FAN_STEPS)]
    parallel = "\n".join(["fan:", "      parallel:", "        branches:", *branches])
    return _flow("fan", parallel, _step("joined", "bench.last", "join"))


def _foreach() -> str:
    foreach = f"""fan:
      foreach:
        items: $inputs.items
        limit: {FAN_STEPS}
        do:
          - {_step("f", "bench.step", "f")}"""
    text = _flow("foreach", foreach, _step("joined", "bench.last", "join"))
    return text.replace("{key: string}", "{key: string, items: array}")


def _chain() -> str:
    steps = [_step(f"s{number}", "bench.step", "s") for number in range(1, CHAIN_STEPS)]
    return _flow("chain", *steps, _step(f"s{CHAIN_STEPS}", "bench.last", "s"))


FLOWS = {
    "three": _flow(
        "three", _step("a", "bench.step", "a"), _step("b", "bench.step", "b"), _step("c", "bench.last", "c")
    ),
    "fan": _fan(),
    "foreach": _foreach(),
    "chain": _chain(),
    "recover": _flow(
        "recover", _step("a", "bench.step", "a"), _step("b", "bench.slow", "b"), _step("c", "bench.last", "c")
    ),
}


def _inputs(flow: str, key: str) -> dict[str, object]:
    return {"key": key, "items": list(range(FAN_STEPS))} if flow == "foreach" else {"key": key}


class Embedded:
    """`Segue.start` and `Segue.wait` in the caller's process."""

    def __init__(self, segue: Segue) -> None:
        self._segue = segue

    async def call(self, flow: str, key: str) -> None:
        """Start and wait. Raises RuntimeError unless the run succeeded."""
        result = await self._segue.run(FLOWS[flow], _inputs(flow, key))
        if result.status != "succeeded":
            raise RuntimeError(f"{flow} {key}: {result}")

    async def start(self, flow: str, key: str) -> None:
        """Start only: durably accepted."""
        await self._segue.start(FLOWS[flow], inputs=_inputs(flow, key))

    def processes(self) -> dict[str, list[int]]:
        """One process, load generator included."""
        return {"process": [os.getpid()]}


def _register(segue: Segue, log: EventLog) -> None:
    @segue.action("bench.step")
    async def step(flow: str, name: str) -> dict[str, object]:
        log.mark(flow, name)
        return PAYLOAD

    @segue.action("bench.last")
    async def last(flow: str, name: str) -> dict[str, object]:
        log.mark(flow, name)
        log.mark(flow, "end")
        return PAYLOAD

    @segue.action("bench.slow")
    async def slow(flow: str, name: str) -> dict[str, object]:
        log.mark(flow, name)
        await asyncio.sleep(INTERRUPTED_SECONDS)
        return PAYLOAD


@asynccontextmanager
async def open_door(directory: Path, log: EventLog) -> AsyncIterator[Door]:
    """The engine on the SQLite file in `directory`; opening it takes up interrupted runs."""
    segue = Segue(f"sqlite:///{directory / 'segue.db'}")
    # Before it opens: what an interrupted run calls must be known when the run is taken up.
    _register(segue, log)
    async with segue:
        yield Embedded(segue)


if __name__ == "__main__":
    program.main(open_door, uvloop.run)
