"""`kill -9` of a host at each of its journal writes, and at any moment: nothing is lost, nothing is done twice.

What took effect is counted by a receiver in a process of its own. Hosts are killed at random moments for
`SEGUE_CRASH_SECONDS` (15 by default), and until there were `SEGUE_CRASH_KILLS` of them (`make crash KILLS=5000`).
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from crash.killable import FLOW, Forker, Order, states_in
from segue.engine.ids import call_id, idempotency_key
from segue.kernel.state import RunState
from segue.kernel.status import StepStatus
from segue.testing.counting_receiver import CountingReceiver, Received
from segue.testing.crash.store import Moment

pytestmark = [pytest.mark.crash, pytest.mark.anyio]

SECONDS = float(os.environ.get("SEGUE_CRASH_SECONDS", "15"))
KILLS = int(os.environ.get("SEGUE_CRASH_KILLS", "0"))
SHARES = 2 if KILLS else 1
"""Tests run side by side; each kills its part."""
EFFECTS = ["first", "retried", "left", "right", "item-1", "item-2", "item-3", "mended", "last"]
FAILED_FIRST = {"retried": 2, "right": 1}
OUTPUTS = {"items": ["item-1", "item-2", "item-3"], "answer": True, "seen": 200, "mended": "mended", "first": "first"}
RECOVERY_SECONDS_MAX = 5.0


@pytest.fixture(scope="module")
def receiver() -> Iterator[CountingReceiver]:
    with CountingReceiver() as made:
        yield made


@pytest.fixture(scope="module")
def forker() -> Iterator[Forker]:
    with Forker() as made:
        yield made


def order(folder: Path, receiver: CountingReceiver, **settings: object) -> Order:
    result = folder / "result.json"
    result.unlink(missing_ok=True)
    return Order(database=str(folder / "segue.db"), url=receiver.url, result=str(result), **settings)  # type: ignore[arg-type]


def result_of(given: Order) -> dict:
    return json.loads(Path(given.result).read_text("utf-8"))


def strip(value: object, run: int) -> object:
    """Outputs without the part of the path that names the run."""
    return json.loads(json.dumps(value).replace(f"/run-{run}/", ""))


def check_whole(result: dict, received: list[Received], runs: int, deaths: int) -> None:
    """All runs ended well, each effect was made once and under one key, and no more was sent than deaths explain."""
    assert result["statuses"] == ["succeeded"] * runs
    by_path: dict[str, list[Received]] = {}
    for one in received:
        by_path.setdefault(one.path, []).append(one)
    for run in range(runs):
        assert strip(result["outputs"][run], run) == OUTPUTS
        for name in [*EFFECTS, "failing"]:
            found = by_path.pop(f"/run-{run}/{name}")
            assert len({one.key for one in found}) == 1, f"{name} was sent under {len({one.key for one in found})} keys"
            assert sum(one.effect for one in found) == (name != "failing")
            assert len({one.body for one in found}) == 1, f"{name} was sent with different parameters"
            assert len(found) <= 1 + FAILED_FIRST.get(name, 0) + deaths
    assert by_path == {}


def steps_by_key(states: list[tuple[str, RunState]]) -> dict[str, tuple[str, StepStatus, int]]:
    return {
        idempotency_key(call_id("default", run_id, one.address, one.generation)): (one.address, one.status, one.attempt)
        for run_id, state in states
        for one in state.nodes
    }


def count(received: list[Received]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for one in received:
        assert one.key is not None
        counts[one.key] = counts.get(one.key, 0) + 1
    return counts


@pytest.mark.req("DUR-1.kill", "DUR-5.same-key", "CALL-2.kill", "TIME-1.restart")
@pytest.mark.parametrize("moment", ["before", "kept", "begun"])
async def test_a_host_killed_at_any_journal_write_loses_nothing_and_does_nothing_twice(
    moment: Moment, tmp_path: Path, receiver: CountingReceiver, forker: Forker
) -> None:
    (whole := tmp_path / "whole").mkdir()
    receiver.reset()
    given = order(whole, receiver)
    assert forker.live(given) == 0
    check_whole(result_of(given), receiver.ledger(), 1, deaths=0)
    commits = result_of(given)["commits"]
    assert commits > 15

    slowest = 0.0
    for number in range(1, commits + 1):
        (folder := tmp_path / f"{number}").mkdir()
        receiver.reset()
        assert forker.live(order(folder, receiver, kill_at=number, moment=moment)) == signal.SIGKILL
        before = count(receiver.ledger())
        steps = steps_by_key(await states_in(folder / "segue.db"))
        for key, times in before.items():
            assert key in steps, f"commit {number}: something was sent whose step is not in the journal"
            address, _, attempts = steps[key]
            assert times <= attempts, f"commit {number}: {address} was sent {times} times, {attempts} starts are kept"

        # The second life is killed too, while it takes up the first one's run.
        deaths = 1
        if number % 3 == 0:
            deaths += forker.live(order(folder, receiver, kill_at=1, moment=moment)) == signal.SIGKILL
        given = order(folder, receiver)
        assert forker.live(given) == 0, f"commit {number}: the host did not come back"
        result, received = result_of(given), receiver.ledger()
        check_whole(result, received, 1, deaths)
        after = count(received)
        for key, (address, status, _) in steps.items():
            if status in (StepStatus.SUCCEEDED, StepStatus.RECOVERED):
                assert after.get(key, 0) == before.get(key, 0), f"commit {number}: {address} was done and ran again"
        slowest = max(slowest, result["seconds"])
        # The first commit accepts the run: whoever died before it had accepted nothing.
        assert result["repeated"] == [not (number == 1 and moment == "before")]
    assert slowest < RECOVERY_SECONDS_MAX


@pytest.mark.req("DUR-1.kill", "DUR-5.same-key")
@pytest.mark.parametrize("share", range(SHARES))
async def test_hosts_killed_at_random_moments_lose_nothing_and_do_nothing_twice(
    tmp_path: Path, receiver: CountingReceiver, forker: Forker, share: int
) -> None:
    seed = int(os.environ.get("SEGUE_SIM_SEED") or time.time()) + share
    print("seed", seed)
    source, until, rounds, runs, killed = random.Random(seed), time.monotonic() + SECONDS, 0, 8, 0
    slowest = 0.0
    while time.monotonic() < until or killed * SHARES < KILLS:
        (folder := tmp_path / f"round-{rounds}").mkdir()
        receiver.reset()
        deaths = 0
        for _ in range(source.randint(1, 8)):
            seconds = source.uniform(0.005, 0.5)
            given = order(folder, receiver, runs=runs)
            deaths += forker.live(given, kill_after=lambda pause=seconds: time.sleep(pause)) == signal.SIGKILL
        given = order(folder, receiver, runs=runs)
        assert forker.live(given) == 0
        check_whole(result_of(given), receiver.ledger(), runs, deaths)
        slowest = max(slowest, result_of(given)["seconds"])
        rounds += 1
        killed += deaths
        shutil.rmtree(folder)
    print(f"{killed} kills of hosts with {runs} runs each; the slowest was whole again after {slowest:.1f} s")
    assert rounds >= min(2, SECONDS / 10)


RESTART = """
import asyncio, sys, time
from segue.bootstrap import build_host
from segue.engine.port import Action
from segue.net.egress import EgressPolicy
from segue.flow import load_flow

async def main(database, first):
    begun = []
    async def hold(params, context):
        begun.append(context.attempt)
        if first or len(begun) < 100:
            await asyncio.Event().wait()
    host = build_host("sqlite:///" + database, egress=EgressPolicy.local(), actions=[Action(name="app.hold", run=hold)])
    await host.open()
    flow = load_flow("flow: held\\nsteps:\\n  - held: {call: app.hold}\\n", host.catalogue)
    if first:
        await asyncio.gather(*(host.engine.start(flow, {}) for _ in range(100)))
    while len(begun) < 100:
        await asyncio.sleep(0.005)
    print("begun", set(begun), flush=True)
    await asyncio.Event().wait()

asyncio.run(main(sys.argv[1], sys.argv[2] == "first"))
"""


@pytest.mark.req("DUR-1.recovery")
def test_a_hundred_interrupted_runs_go_on_within_seconds_of_a_cold_start(tmp_path: Path) -> None:
    def life(which: str) -> tuple[subprocess.Popen[str], float]:
        began = time.monotonic()
        child = subprocess.Popen(
            [sys.executable, "-c", RESTART, str(tmp_path / "segue.db"), which], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        line = child.stdout.readline()
        seconds = time.monotonic() - began
        assert line == f"begun {{{1 if which == 'first' else 2}}}\n"
        return child, seconds

    for which in ("first", "second"):
        child, seconds = life(which)
        child.kill()
        child.communicate()
    print(f"100 runs went on {seconds:.2f} s after the process was started")
    assert seconds < RECOVERY_SECONDS_MAX


def test_the_killed_flow_uses_all_that_can_be_in_flight() -> None:
    text = FLOW.read_text("utf-8")
    for word in ("parallel", "retry", "foreach", "wait: 30ms", "callback", "on_error", "conditional", "set"):
        assert word in text
