"""A host that kills itself at a chosen commit, started by forking, so that a test can afford hundreds of deaths.

Run as a program it reads one JSON order a line, forks, and prints how the child ended.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from segue.access.rotation import rotate
from segue.bootstrap import Host, build_host
from segue.expr.sealed import shown
from segue.flow import Flow, load_flow
from segue.kernel.state import RunState
from segue.net.egress import EgressPolicy
from segue.observe.logs import configure_logging
from segue.store.port import RunFilter
from segue.store.sqlite import SqliteStore
from segue.testing.crash.store import KillingStore, Moment

FLOW = Path(__file__).with_name("killed_flow.yaml")
SERVER_KEY = b"the key of the killed hosts' callbacks"


@dataclass(frozen=True, kw_only=True)
class Order:
    """One life of a host. `kill_at` counts commits of events from 1; 0: it lives until all runs are over."""

    database: str
    url: str
    result: str
    kill_at: int = 0
    moment: Moment = "before"
    runs: int = 1
    flow: str = str(FLOW)
    """Its file; the flows that it runs lie beside it."""
    inputs: dict[str, Any] = field(default_factory=dict)
    """Besides the url."""
    answer: dict[str, Any] = field(default_factory=lambda: {"yes": True})
    """What its callbacks get."""
    secrets: dict[str, str] = field(default_factory=dict)
    """Put into the workspace before anything else."""
    rotate_after: int = 0
    """The commit of events after which the key that everything is encrypted with is changed; 0: it is not."""
    log: str = ""
    """A file for all log lines, if it is named."""


async def live(order: Order) -> dict[str, Any]:
    """Open the database, start the runs if they are not there, answer their callbacks, wait for their ends."""
    born = time.monotonic()
    store = KillingStore(Path(order.database), kill_at=order.kill_at, moment=order.moment)
    if order.log:
        configure_logging(json=True, level="debug", stream=_appending(order.log))
    host = build_host("", egress=EgressPolicy.local(), store=store, server_key=SERVER_KEY)
    await host.open()
    opened = time.monotonic()
    for name, value in order.secrets.items():
        await host.credentials.secrets.put("default", name, value, by="test")
    rotating = asyncio.create_task(_rotate(host, store, order.rotate_after)) if order.rotate_after else None
    flow = _load(host, Path(order.flow))
    started = [
        await host.engine.start(flow, {"url": f"{order.url}/run-{n}", **order.inputs}, idempotency_key=f"run {n}")
        for n in range(order.runs)
    ]
    states = await asyncio.gather(*(_finish(host, one.run_id, order.answer) for one in started))
    if rotating is not None:
        await rotating
    ended = time.monotonic()
    await host.close()
    return {
        "commits": store.commits, "opened_seconds": opened - born, "seconds": ended - born,
        "repeated": [one.repeated for one in started], "ids": [one.run_id for one in started],
        "outputs": [shown(one.outputs) for one in states], "statuses": [one.status.value for one in states],
    }  # fmt: skip


def _load(host: Host, file: Path) -> Flow:
    host.library.add_folder(file.parent)
    return load_flow(file.read_text("utf-8"), host.catalogue, file=file.name)


def _appending(file: str) -> TextIO:
    return Path(file).open("a", encoding="utf-8", buffering=1)  # open until the process is killed


async def _rotate(host: Host, store: KillingStore, after: int) -> None:
    """Change the key in the middle of what the runs do."""
    reached = asyncio.Event()
    store.kept = lambda _: reached.set() if store.commits >= after else None
    await reached.wait()
    assert host.credentials.key_file is not None
    await rotate(host.tables, host.vault, host.credentials.key_file)


async def _finish(host: Host, run_id: str, answer: dict[str, Any]) -> RunState:
    engine, event = host.engine, asyncio.Event()
    await engine.changed(run_id, event)
    calling = asyncio.create_task(_call_back(host, run_id, event, answer))
    state = await engine.wait(run_id)
    calling.cancel()
    await asyncio.gather(calling, return_exceptions=True)
    engine.forget(run_id, event)
    return state


async def _call_back(host: Host, run_id: str, event: asyncio.Event, answer: dict[str, Any]) -> None:
    engine = host.engine
    while True:
        state = await engine.state(await engine.record(run_id))
        waiting = [one for one in state.nodes if one.callback and one.waits_on == "callback"]
        if waiting:
            await engine.callback(engine.callback_token(run_id, waiting[0]), answer)
            return
        await event.wait()
        event.clear()


@asynccontextmanager
async def opened(database: Path) -> AsyncGenerator[Host]:
    """What a dead host left, to look at; nothing is carried out."""
    host = build_host("", egress=EgressPolicy.local(), store=SqliteStore(database), server_key=SERVER_KEY)
    try:
        await host.engine.open(adopt=False)
        yield host
    finally:
        await host.close()


async def states_in(database: Path) -> list[tuple[str, RunState]]:
    """All runs (id, state) as a host would find them."""
    async with opened(database) as host:
        records = (await host.store.list_runs(RunFilter(), limit=1000)).runs
        return [(one.run_id, await host.engine.state(one)) for one in records]


class Forker:
    """Starts lives; a context manager around the forking process."""

    def __enter__(self) -> Forker:
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()

    def live(self, order: Order, *, kill_after: Callable[[], None] | None = None) -> int:
        """One life; gives the number of the signal that ended it, 0 if none did. `kill_after`: returns when it is to
        be killed from outside.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asdict(order)) + "\n")
        self._process.stdin.flush()
        child = int(self._process.stdout.readline())
        if kill_after is not None:
            kill_after()
            with suppress(ProcessLookupError):  # it was done sooner
                os.kill(child, signal.SIGKILL)
        ended: dict[str, Any] = json.loads(self._process.stdout.readline())
        if ended["code"]:
            raise AssertionError(f"a life of {order} ended with code {ended['code']}; see its messages above")
        return ended["signal"]


def main() -> None:
    importlib.import_module("segue.net.client")  # once here rather than at the first request of every child
    for line in sys.stdin:
        order = Order(**json.loads(line))
        child = os.fork()
        if child == 0:
            Path(order.result).write_text(json.dumps(asyncio.run(live(order))), "utf-8")
            os._exit(0)
        print(child, flush=True)
        _, status = os.waitpid(child, 0)
        print(json.dumps({"signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0,
                          "code": os.WEXITSTATUS(status) if os.WIFEXITED(status) else 0}), flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
