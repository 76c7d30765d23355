"""DBOS Transact on SQLite, driven in process: it is a library, so callers, flows and steps share one process.

All its settings are its own: SQLite in rollback-journal mode, synchronous=FULL, a commit for each step and state.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import uvloop
from dbos import DBOS, DBOSConfig, SetWorkflowID

from bench.kit import program
from bench.kit.events import PAYLOAD, EventLog
from bench.kit.workloads import CHAIN_STEPS, FAN_STEPS, INTERRUPTED_SECONDS, Door


class Opened:
    """What the steps need of the open door: DBOS finds them as decorated functions, which take no context of ours."""

    log: EventLog


@DBOS.step()
async def step(flow: str, name: str) -> dict[str, object]:
    """A step that does nothing but say so."""
    Opened.log.mark(flow, name)
    return PAYLOAD


@DBOS.step()
async def last(flow: str, name: str) -> dict[str, object]:
    """The last step of a flow."""
    Opened.log.mark(flow, name)
    Opened.log.mark(flow, "end")
    return PAYLOAD


@DBOS.step()
async def slow(flow: str) -> dict[str, object]:
    """The step in which W4 kills the process."""
    Opened.log.mark(flow, "b")
    await asyncio.sleep(INTERRUPTED_SECONDS)
    return PAYLOAD


@DBOS.workflow()
async def three(flow: str) -> dict[str, object]:
    """W1."""
    await step(flow, "a")
    await step(flow, "b")
    return await last(flow, "c")


@DBOS.workflow()
async def fan(flow: str) -> dict[str, object]:
    """W2."""
    await asyncio.gather(*(step(flow, "f") for _ in range(FAN_STEPS)))
    return await last(flow, "join")


@DBOS.workflow()
async def chain(flow: str) -> dict[str, object]:
    """W3."""
    for _ in range(CHAIN_STEPS - 1):
        await step(flow, "s")
    return await last(flow, "s")


@DBOS.workflow()
async def recover(flow: str) -> dict[str, object]:
    """W4."""
    await step(flow, "a")
    await slow(flow)
    return await last(flow, "c")


WORKFLOWS = {"three": three, "fan": fan, "chain": chain, "recover": recover}


class InProcess:
    """`start_workflow`: DBOS starts the flow in the caller's process as soon as its row is committed."""

    async def call(self, flow: str, key: str) -> None:
        """Start and await the handle's result."""
        with SetWorkflowID(key):
            handle = await DBOS.start_workflow_async(WORKFLOWS[flow], key)
        await handle.get_result()

    async def start(self, flow: str, key: str) -> None:
        """Start only."""
        with SetWorkflowID(key):
            await DBOS.start_workflow_async(WORKFLOWS[flow], key)

    def processes(self) -> dict[str, list[int]]:
        """One process, load generator included."""
        return {"process": [os.getpid()]}


@asynccontextmanager
async def open_door(directory: Path, log: EventLog) -> AsyncIterator[Door]:
    """Launch on the SQLite file in `directory`; DBOS takes up pending flows by itself."""
    Opened.log = log
    # A fixed application version: DBOS recovers only flows of the version that started them.
    url = f"sqlite:///{directory / 'dbos.sqlite'}"
    DBOS(config=DBOSConfig(name="bench", system_database_url=url, log_level="ERROR", application_version="1"))
    DBOS.launch()
    try:
        yield InProcess()
    finally:
        DBOS.destroy()


if __name__ == "__main__":
    program.main(open_door, uvloop.run)
