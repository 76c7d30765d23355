"""Disks that fill, fail, vanish and lose power: what was accepted is kept, what cannot be kept is refused."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from acceptance.cli_support import Commands, Running, wait_until
from crash.test_store_kill import acknowledged, check, start
from segue.bootstrap import build_host
from segue.errors import StoreUnavailableError
from segue.flow import load_flow
from segue.net.egress import EgressPolicy
from segue.store.port import RunFilter
from segue.store.sqlite import SqliteStore
from segue.testing.counting_receiver import CountingReceiver

pytestmark = [pytest.mark.crash, pytest.mark.anyio]

ALL = os.environ.get("SEGUE_CRASH") == "all"
TESTS = str(Path(__file__).resolve().parents[1])

# ---------------------------------------------------------------- every write may fail

AT_EVERY_WRITE = """
import asyncio, json, logging, random, sys, tempfile
from pathlib import Path
from crash.faulty_disk import FaultyDisk
from segue.bootstrap import build_host
from segue.engine.port import Action
from segue.errors import StoreUnavailableError
from segue.flow import load_flow
from segue.net.egress import EgressPolicy

logging.disable(logging.CRITICAL)
FLOW = '''
flow: writes
steps:
  - one: {call: app.note, params: {name: one}}
  - parallel:
      - two: {call: app.note, params: {name: two}}
      - three: {call: app.note, params: {name: three}}
  - pause: {wait: 5ms}
  - four: {call: app.note, params: {name: four}, retry: {attempts: 2, initial_delay: 5ms}}
outputs: {one: $one, four: $four}
'''

async def life(disk, first, count):
    keys = {}
    async def note(params, context):
        keys.setdefault(params["name"], []).append(context.idempotency_key)
        if params["name"] == "four" and context.attempt == 1:
            raise ConnectionError("not yet")
        return params["name"]
    with tempfile.TemporaryDirectory() as folder:
        actions = [Action(name="app.note", run=note)]
        host = build_host(f"sqlite:///{folder}/a.db", egress=EgressPolicy.local(), actions=actions)
        await host.open()
        flow = load_flow(FLOW, host.catalogue)
        before, refused = disk.writes, 0
        disk.failed = 0
        disk.fails = lambda number: first <= number - before < first + count
        while True:
            try:
                started = await host.engine.start(flow, {}, idempotency_key="once")
                break
            except StoreUnavailableError as error:
                refused += 1
                assert "disk" in error.message, error.message
                assert not keys, "a run that was refused did something"
        state = await asyncio.wait_for(host.engine.wait(started.run_id), 30)
        # What closing writes (the log into the file) is not the run's.
        failed, written, disk.fails = disk.failed, disk.writes - before, lambda number: False
        kept = await host.engine.state(await host.engine.record(started.run_id))
        runs = (await host.store.count_runs())
        sound = await host.store.write(lambda db: db.execute("PRAGMA integrity_check").get)
        await host.close()
    assert sound == "ok"
    assert sum(runs.values()) == 1, runs
    assert state.outputs == kept.outputs == {"one": "one", "four": "four"}, state.error
    assert {name: len(set(used)) for name, used in keys.items()} == dict.fromkeys(("one", "two", "three", "four"), 1)
    return written, failed, refused, {name: len(used) for name, used in keys.items()}

async def main(kind, share):
    disk = FaultyDisk(kind)
    writes, _, _, calls = await life(disk, 0, 0)
    assert calls == {"one": 1, "two": 1, "three": 1, "four": 2}, calls
    met = refused = 0
    chosen = [n for n in range(1, writes + 1) if n == 1 or random.Random(n).random() < share]
    for first in chosen:
        for count in (1, 40):
            _, failed, no, calls = await life(disk, first, count)
            met += bool(failed)
            refused += bool(no)
            # Nothing was in flight across a death: a failed commit makes no call again but one that was to be decided.
            assert calls == {"one": 1, "two": 1, "three": 1, "four": 2}, (first, count, calls)
    print(json.dumps({"writes": writes, "lives": 2 * len(chosen), "met": met, "refused": refused}))

asyncio.run(main(sys.argv[1], float(sys.argv[2])))
"""


@pytest.mark.req("DUR-1.disk-full")
@pytest.mark.parametrize("kind", ["full", "broken"])
def test_a_disk_that_fails_at_any_write_costs_no_run_and_no_second_call(kind: str) -> None:
    share = "1.0" if ALL else "0.1"
    done = subprocess.run(
        [sys.executable, "-c", AT_EVERY_WRITE, kind, share], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([os.environ.get("PYTHONPATH", ""), TESTS])}, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout)
    print(told)
    assert told["met"] > told["lives"] / 2
    assert told["refused"] >= 1


# ---------------------------------------------------------------- a real file system without room

FLOW = """
flow: full
inputs: {url: string, n: integer}
steps:
  - first: {http: {method: POST, url: "{{ inputs.url }}/{{ inputs.n }}/first", json: {text: "{{ 'x'.repeat(2000) }}"}}}
  - pause: {wait: 1s}
  - second: {http: {method: POST, url: "{{ inputs.url }}/{{ inputs.n }}/second", json: {}}}
"""


class Server:
    """A server whose database lies on a file system of its own, which only it (and this test) sees."""

    def __init__(self, commands: Commands, mount: Path, running: Running) -> None:
        told = json.loads(running.wait_for(r'\{"address".*\}').group())
        self.url, self.token = told["address"], told["token"]
        # Its files as seen from here.
        self.inside = Path(f"/proc/{running.process.pid}/root{mount}")
        self.running = running

    def post(self, number: int, receiver: str) -> tuple[int, dict[str, Any]]:
        body = json.dumps({"flow": FLOW, "inputs": {"url": receiver, "n": number}}).encode()
        request = urllib.request.Request(f"{self.url}/api/v1/runs", body, {"Content-Type": "application/json"})
        return self._ask(request)

    def get(self, path: str) -> dict[str, Any]:
        return self._ask(urllib.request.Request(f"{self.url}{path}"))[1]

    def _ask(self, request: urllib.request.Request) -> tuple[int, dict[str, Any]]:
        request.add_header("Authorization", f"Bearer {self.token}")
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def fill(self) -> Path:
        """Take all the room that is left."""
        filler = self.inside / "filler"
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(b"\0" * 4096)
        return filler


def own_mounts() -> list[str]:
    """The command under which a process may mount file systems that only it sees; empty if it may not here."""
    for flags in (["--mount"], ["--map-root-user", "--mount"]):
        command = ["unshare", *flags]
        with suppress(FileNotFoundError):
            tried = subprocess.run(
                [*command, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False
            )  # fmt: skip
            if tried.returncode == 0:
                return command
    return []


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    command = own_mounts()
    if not command:
        pytest.skip("this system lets nobody mount a file system of one's own")
    commands = Commands(tmp_path)
    (mount := tmp_path / "small").mkdir()
    script = f'mount -t tmpfs -o size=12m none "{mount}" && exec "$@"'
    serve = [sys.executable, "-m", "segue", "serve", "--port", "0", "--json", "-d", str(mount / "segue.db")]
    with commands._started([*command, "sh", "-c", script, "sh", *serve], {"SEGUE_EGRESS_ALLOW": "127.0.0.1"}) as one:
        yield Server(commands, mount, one)


@pytest.mark.req("DUR-1.disk-full", "TRIG-4.kept")
def test_a_full_file_system_refuses_runs_and_the_accepted_ones_go_on_once_there_is_room(server: Server) -> None:
    with CountingReceiver() as receiver:
        accepted = [server.post(number, receiver.url) for number in range(12)]
        assert {status for status, _ in accepted} == {201}
        filler = server.fill()
        refused: list[int] = []
        number = 12
        # What room there is inside the log's own file is still used; then nothing is accepted any more.
        while len(refused) < 5:
            status, body = server.post(number, receiver.url)
            if status == 201:
                accepted.append((status, body))
            else:
                refused.append(number)
                assert (status, body["type"]) == (503, "urn:segue:problem:store-unavailable")
                assert "disk is full" in body["detail"]
            number += 1
            assert number < 4_000
        time.sleep(1.5)  # the waits of the accepted runs end while nothing can be written
        filler.unlink()
        ids = [body["run_id"] for _, body in accepted]
        wait_until(lambda: all(server.get(f"/api/v1/runs/{one}")["status"] == "succeeded" for one in ids))
        wait_until(lambda: server.post(number, receiver.url)[0] == 201)
        by_key = receiver.requests_by_key()
    paths = {received[0].path for received in by_key.values()}
    assert not paths & {f"/{number}/first" for number in refused}, "a run that was refused did something"
    effects = {key: sum(one.effect for one in received) for key, received in by_key.items()}
    assert set(effects.values()) == {1}
    assert len([key for key, received in by_key.items() if received[0].path.endswith("/second")]) >= len(ids)


# ---------------------------------------------------------------- files that vanish


@pytest.mark.req("DUR-1.disk-full")
@pytest.mark.parametrize("suffix", ["", "-wal"])
async def test_a_database_that_is_deleted_under_its_host_accepts_nothing_more(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / "segue.db"
    host = build_host(f"sqlite:///{path}", egress=EgressPolicy.local())
    await host.open()
    flow = load_flow("flow: f\nsteps:\n  - a: {set: {x: 1}}\n", host.catalogue)
    await host.engine.wait((await host.engine.start(flow, {})).run_id)
    victim, away = path.with_name(path.name + suffix), tmp_path / "away"
    victim.rename(away)
    for _ in range(2):
        with pytest.raises(StoreUnavailableError, match=r"was deleted or moved .* put it back"):
            await host.engine.start(flow, {})
    away.rename(victim)
    await host.engine.wait((await host.engine.start(flow, {})).run_id)
    await host.close()
    store = SqliteStore(path)
    await store.open()
    assert len((await store.list_runs(RunFilter())).runs) == 2
    await store.close()


# ---------------------------------------------------------------- power cuts

WAL_HEADER, FRAME_HEADER = 32, 24


def frames(log: bytes) -> list[tuple[int, bool]]:
    """End of each frame of the log's present round, and whether it ends a transaction.

    The format: https://sqlite.org/fileformat2.html, section 4.
    """
    page = struct.unpack(">I", log[8:12])[0]
    salts, found, at = log[16:24], [], WAL_HEADER
    while at + FRAME_HEADER + page <= len(log) and log[at + 8 : at + 16] == salts:
        end = at + FRAME_HEADER + page
        found.append((end, struct.unpack(">I", log[at + 4 : at + 8])[0] != 0))
        at = end
    return found


def copy(source: Path, folder: Path, log: bytes) -> Path:
    """The database as a machine finds it that lost power: the file, and a log of which `log` is left."""
    folder.mkdir()
    path = folder / source.name
    shutil.copyfile(source, path)
    path.with_name(path.name + "-wal").write_bytes(log)
    return path


async def holds(source: Path, folder: Path, log: bytes, last: dict[int, int]) -> bool:
    """Whether all that was acknowledged is there. In any case nothing is half there, or the check fails."""
    path = copy(source, folder, log)
    store = SqliteStore(path)
    await store.open()
    runs = (await store.list_runs(RunFilter())).runs
    there = {run.key: len(await store.load_journal(run.key)) - 1 for run in runs}
    await store.close()
    await check(path, {})
    shutil.rmtree(folder)
    return all(there.get(key, -1) >= seq for key, seq in last.items())


@pytest.mark.req("DUR-1.kill")
async def test_a_power_cut_takes_nothing_that_was_acknowledged_and_leaves_nothing_half(tmp_path: Path) -> None:
    seed = int(os.environ.get("SEGUE_SIM_SEED") or time.time())
    print("seed", seed)
    source = random.Random(seed)
    path = tmp_path / "segue.db"
    tries = 25 if ALL else 6
    for moment in range(6 if ALL else 2):
        child = start(path)
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(source.randint(20, 600))]
        child.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, child.pid, os.WSTOPPED)  # noqa: ASYNC222 - nothing else runs on this loop
        # What was acknowledged but not read yet is acknowledged too; what is read is enough to check.
        last = acknowledged(lines)
        (still := tmp_path / f"still-{moment}").mkdir()
        at_cut = still / path.name
        shutil.copyfile(path, at_cut)
        log = path.with_name(path.name + "-wal").read_bytes()
        child.kill()
        child.communicate()
        ends = [end for end, is_commit in frames(log) if is_commit]
        low, high = 0, len(ends)  # how many transactions of the log hold all that was acknowledged
        while low < high:
            middle = (low + high) // 2
            kept = await holds(at_cut, tmp_path / "try", log[: ends[middle - 1]] if middle else log[:0], last)
            low, high = (low, middle) if kept else (middle + 1, high)
        safe = ends[low - 1] if low else 0
        assert await holds(at_cut, tmp_path / "try", log, last)
        for _ in range(tries):
            # The disk had confirmed everything up to `safe`; anything may have become of what lies behind it.
            cut = source.randint(safe, len(log))
            assert await holds(at_cut, tmp_path / "try", log[:cut], last), f"seed {seed}: cut at {cut}, safe {safe}"
            torn = bytearray(log)
            for _ in range(source.randint(1, 20)):
                place = source.randrange(safe, min(len(log), safe + 200_000))
                torn[place] ^= 1 << source.randrange(8)
            assert await holds(at_cut, tmp_path / "try", bytes(torn), last), f"seed {seed}: torn behind {safe}"
            # A disk that lied about what it had kept loses the end, but nothing is half there.
            await holds(at_cut, tmp_path / "try", log[: source.randrange(len(log))], last)
        last = {}
