"""The SQLite store against real death: `kill -9` amid commits, and a disk that takes no more."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from segue.store.host_lock import read_host
from segue.store.port import RunFilter
from segue.store.sqlite import SqliteStore

pytestmark = [pytest.mark.crash, pytest.mark.anyio]

# Eight runs commit without end: events (some of them large), head and a log line together. What was acknowledged is
# printed at once; the error column of the head says up to which event the run has come.
WRITER = """
import asyncio, os, sys
from pathlib import Path
from segue.store.port import Commit, JournalRow, LogRow, NewRun, RunHead
from segue.store.sqlite import SqliteStore

def event(run, seq):
    return JournalRow(seq, 1, 0, seq, b"%d/%d" % (run, seq) + b"." * (70_000 if seq % 11 == 0 else 50))

async def drive(store, run, seq, new):
    while True:
        rows = [event(run, n) for n in range(seq, seq + 1 + seq % 3)]
        seq = rows[-1].seq + 1
        done = asyncio.get_running_loop().create_future()
        commit = Commit(run_key=run, rows=rows, new_run=new, head=RunHead(status="running", error=str(seq - 1)),
                        logs=[LogRow(seq, "info", "s", str(seq - 1))])
        store.commit(commit, lambda _, error: done.set_result(error))
        error = await done
        if error is not None:
            print("failed", type(error).__name__, error, flush=True)
            return
        os.write(1, b"kept %d %d\\n" % (run, seq - 1))
        new = None

async def main():
    store = SqliteStore(Path(sys.argv[1]))
    await store.open()
    runs = [(run.key, len(await store.load_journal(run.key)), None) for run in await store.unfinished_runs()]
    for n in range(8 - len(runs)):
        key = store.next_run_key()
        runs.append((key, 0, NewRun(run_id=f"run_{key}", workspace="w", flow_id="f", flow_version=1, trigger="api",
                                    created_at=key)))
    exec(sys.argv[2])
    await asyncio.gather(*(drive(store, *run) for run in runs))
    await store.close()

asyncio.run(main())
"""


def start(path: Path, before: str = "pass", program: str = WRITER) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", program, str(path), before], stdout=subprocess.PIPE, text=True)


def acknowledged(lines: list[str]) -> dict[int, int]:
    """The last event that was reported as kept, by run. A killed process may leave half a line at the end."""
    last: dict[int, int] = {}
    for line in lines:
        if line.startswith("kept ") and line.endswith("\n"):
            _, run, seq = line.split()
            last[int(run)] = int(seq)
    return last


async def check(path: Path, last: dict[int, int]) -> None:
    """Every acknowledged event is there, no journal has a gap, and head and log lines agree with the journal.

    That the journals can go on is shown by the next process, which continues them.
    """
    store = SqliteStore(path)
    await store.open()
    runs = {run.key: run for run in (await store.list_runs(RunFilter())).runs}
    assert set(last) <= set(runs)
    for key, run in runs.items():
        journal = await store.load_journal(key)
        assert [row.seq for row in journal] == list(range(len(journal)))
        assert all(row.data.startswith(b"%d/%d." % (key, row.seq)) for row in journal)
        assert all(len(row.data) > 70_000 for row in journal if row.seq % 11 == 0)
        assert len(journal) - 1 >= last.get(key, 0)
        assert run.error == str(len(journal) - 1)
        lines = await store.load_logs(key)
        assert lines[-1][1].message == run.error
    assert await store.write(lambda db: db.execute("PRAGMA integrity_check").get) == "ok"
    await store.close()


@pytest.mark.req("DUR-1.kill", "OPS-1.one-host")
async def test_every_acknowledged_commit_survives_kill_and_no_journal_has_a_gap(tmp_path: Path) -> None:
    path = tmp_path / "segue.db"
    last: dict[int, int] = {}
    for enough in (1, 40, 400, 1500):
        child = start(path)
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(enough)]
        host = read_host(path)
        assert host is not None
        assert host.pid == child.pid
        child.kill()
        lines += child.stdout.readlines()
        child.wait()
        child.stdout.close()
        assert all(line.startswith("kept ") for line in lines[:enough]), lines[:3]
        assert read_host(path) is None
        last |= acknowledged(lines)
        await check(path, last)
    assert len(last) == 8


@pytest.mark.req("DUR-1.disk-full")
async def test_a_file_that_may_not_grow_fails_commits_and_keeps_what_was_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "segue.db"
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (6_000_000, 6_000_000))"
    child = start(path, limit)
    output, _ = child.communicate(timeout=60)
    lines = output.splitlines(keepends=True)
    failures = [line for line in lines if line.startswith("failed")]
    assert len(failures) == 8
    assert all("StoreUnavailableError" in line for line in failures)
    assert child.returncode == 0
    last = acknowledged(lines)
    assert last
    await check(path, last)


@pytest.mark.req("DUR-1.disk-full")
async def test_the_disk_fills_and_is_freed_under_a_living_store(tmp_path: Path) -> None:
    path = tmp_path / "segue.db"
    script = """
import json, resource
async def one(rows):
    done = asyncio.get_running_loop().create_future()
    store.commit(Commit(run_key=1, rows=rows, new_run=runs[0][2] if rows[0].seq == 0 else None),
                 lambda _, error: done.set_result(error))
    return type(await done).__name__
answers = [await one([event(1, 0)])]
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
answers += [await one([event(1, 1)]), await one([event(1, 1)])]
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
answers += [await one([event(1, 1)]), await one([event(1, 2)])]
print(json.dumps(answers))
"""
    program = WRITER.replace("    exec(sys.argv[2])\n", "".join(f"    {line}\n" for line in script.splitlines()))
    program = program.replace("    await asyncio.gather(*(drive(store, *run) for run in runs))\n", "")
    child = start(path, program=program)
    output, _ = child.communicate(timeout=60)
    assert child.returncode == 0
    assert json.loads(output) == [
        "NoneType",
        "StoreUnavailableError",
        "StoreUnavailableError",
        "NoneType",
        "NoneType",
    ]
    store = SqliteStore(path)
    await store.open()
    assert [row.seq for row in await store.load_journal(1)] == [0, 1, 2]
    await store.close()
