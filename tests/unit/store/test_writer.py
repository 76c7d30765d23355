"""The SQLite writer: group commit, a disk or another program in the way, the length of the log."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import apsw
import pytest

from segue.errors import JournalConflictError, JournalCorruptError, StoreUnavailableError
from segue.store import sqlite, writer
from segue.store.port import Commit, JournalRow, LogRow, RunFilter, RunHead
from segue.store.rules import INLINE_BYTES_MAX
from segue.store.sqlite import SqliteStore
from segue.testing.store_contract import START, create, events, keep, new_run, queue

pytestmark = pytest.mark.anyio
LARGE = bytes(range(256)) * 400


@pytest.fixture
async def store(tmp_path: Path):
    opened = SqliteStore(tmp_path / "segue.db")
    await opened.open()
    yield opened
    await opened.close()


def outsider(store: SqliteStore) -> apsw.Connection:
    """Another program's connection to the same file."""
    return apsw.Connection(str(store.path))


# Group commit


@pytest.mark.req("DUR-1.group-commit")
async def test_what_is_queued_in_one_turn_of_the_loop_is_one_flush(store: SqliteStore) -> None:
    keys = [await create(store) for _ in range(10)]
    before = (await store.statistics())["flushes"]
    assert set(await asyncio.gather(*(queue(store, Commit(run_key=key, rows=events(1))) for key in keys))) == {None}
    assert (await store.statistics())["flushes"] == before + 1


async def test_groups_larger_than_one_statement_are_whole(store: SqliteStore) -> None:
    # More rows, runs, heads and lines than any statement takes, and none of these numbers a power of two.
    keys = [store.next_run_key() for _ in range(531)]
    answers = [
        queue(
            store,
            Commit(
                run_key=key,
                rows=events(0, 3),
                new_run=new_run(f"run_{key}", at=key),
                logs=[LogRow(START, "info", "s", str(key))],
            ),
        )
        for key in keys
    ]
    answers += [
        queue(store, Commit(run_key=key, rows=events(3), head=RunHead(status="running", started_at=key)))
        for key in keys
    ]
    assert set(await asyncio.gather(*answers)) == {None}
    for key in keys:
        assert await store.load_journal(key) == events(0, 4)
        assert [line.message for _, line in await store.load_logs(key)] == [str(key)]
    page = await store.list_runs(RunFilter(), limit=1000)
    assert [(run.key, run.started_at) for run in page.runs] == [(key, key) for key in reversed(keys)]


async def test_a_value_that_cannot_be_stored_fails_its_commit_only(store: SqliteStore) -> None:
    good, bad = await create(store), await create(store)
    answers = [
        queue(store, Commit(run_key=good, rows=events(1))),
        queue(store, Commit(run_key=bad, rows=[JournalRow(1, 1 << 80, 0, START, b"")])),
        queue(store, Commit(run_key=bad, rows=[JournalRow(1, 1, 0, START, "text")])),  # pyright: ignore[reportArgumentType]
        queue(store, Commit(run_key=bad, rows=(), head=RunHead(status="\ud800"))),
        queue(store, Commit(run_key=good, rows=events(2))),
    ]
    errors = [type(error) for error in await asyncio.gather(*answers)]
    assert errors == [type(None), OverflowError, JournalConflictError, UnicodeEncodeError, type(None)]
    assert await store.load_journal(good) == events(0, 3)
    assert await store.load_journal(bad) == events(0)


async def test_heads_of_ended_runs_are_forgotten_and_asked_for_when_needed(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert store._writer is not None
    ended = await create(store, head=RunHead(status="succeeded"))
    active = await create(store, head=RunHead(status="waiting"))
    assert set(store._writer._next_seq) == {active}
    monkeypatch.setattr(writer, "ACTIVE_RUNS_MAX", 3)
    keys = [await create(store) for _ in range(5)]
    assert len(store._writer._next_seq) <= 3
    for key in [ended, active, *keys]:
        assert isinstance(await queue(store, Commit(run_key=key, rows=events(2))), JournalConflictError)
        await keep(store, Commit(run_key=key, rows=events(1)))


# Payloads


@pytest.mark.req("DUR-8.stored-once", "DUR-8.compressed")
async def test_a_large_payload_is_kept_once_and_compressed(store: SqliteStore) -> None:
    keys = [await create(store) for _ in range(3)]
    rows = [JournalRow(1, 1, 0, START, LARGE), JournalRow(2, 1, 0, START, LARGE)]
    await asyncio.gather(*(keep(store, Commit(run_key=key, rows=rows)) for key in keys))
    await keep(store, Commit(run_key=keys[0], rows=[JournalRow(3, 1, 0, START, LARGE)]))
    db = outsider(store)
    assert db.execute("SELECT count(*), sum(size) FROM blob").fetchone() == (1, len(LARGE))
    assert db.execute("SELECT sum(length(data)) < 10000 FROM blob").get == 1
    assert db.execute("SELECT max(length(data)) FROM journal").get == 64
    db.close()
    assert [await store.load_journal(key, after_seq=0, limit=2) for key in keys] == [rows] * 3


async def test_a_payload_of_64_kib_stays_in_the_journal(store: SqliteStore) -> None:
    run_key = await create(store)
    await keep(store, Commit(run_key=run_key, rows=events(1, 1, b"x" * INLINE_BYTES_MAX)))
    assert (await store.statistics())["blobs"] == 0
    await keep(store, Commit(run_key=run_key, rows=events(2, 1, b"x" * (INLINE_BYTES_MAX + 1))))
    assert (await store.statistics())["blobs"] == 1


async def test_a_payload_that_is_missing_is_a_corrupt_journal(store: SqliteStore) -> None:
    run_key = await create(store)
    await keep(store, Commit(run_key=run_key, rows=[JournalRow(1, 1, 0, START, LARGE)]))
    await store.write(lambda db: db.execute("DELETE FROM blob").fetchall())
    with pytest.raises(JournalCorruptError, match="event 1") as caught:
        await store.load_journal(run_key)
    assert caught.value.last_valid_seq == 0


# Faults


@pytest.mark.req("DUR-1.disk-full")
async def test_a_full_disk_fails_the_group_and_the_next_one_goes_on(store: SqliteStore) -> None:
    run_key, other = await create(store), await create(store)
    await store.write(lambda db: db.pragma("max_page_count", db.pragma("page_count") + 5))
    answers = [
        queue(store, Commit(run_key=other, rows=events(1))),
        queue(store, Commit(run_key=run_key, rows=events(1, 60, b"x" * 60_000), head=RunHead(status="running"))),
    ]
    errors = await asyncio.gather(*answers)
    assert [type(error) for error in errors] == [StoreUnavailableError] * 2
    assert "disk is full" in str(errors[0])
    assert errors[0] is not None
    assert isinstance(errors[0].__cause__, apsw.FullError)
    assert await store.load_journal(run_key) == await store.load_journal(other) == events(0)
    with pytest.raises(StoreUnavailableError, match="full"):
        await store.put_setting("a", b"x" * 60_000)
    await keep(store, Commit(run_key=other, rows=events(1)))
    await store.write(lambda db: db.pragma("max_page_count", 1_000_000))
    await keep(store, Commit(run_key=run_key, rows=events(1, 60, b"x" * 60_000)))
    assert await store.load_journal(run_key, after_seq=59) == events(60, 1, b"x" * 60_000)


async def test_another_program_that_holds_the_write_lock_fails_the_group_and_the_next_one_goes_on(
    store: SqliteStore,
) -> None:
    run_key = await create(store)
    await store.write(lambda db: db.set_busy_timeout(20))
    db = outsider(store)
    db.execute("BEGIN IMMEDIATE")
    error = await queue(store, Commit(run_key=run_key, rows=events(1), head=RunHead(status="running")))
    assert isinstance(error, StoreUnavailableError)
    assert "Another program" in error.message
    assert isinstance(await queue(store, Commit(run_key=run_key, rows=events(1))), StoreUnavailableError)
    db.execute("ROLLBACK")
    db.close()
    await keep(store, Commit(run_key=run_key, rows=events(1)))


async def test_a_mistake_of_the_writer_itself_reaches_the_callers_and_does_not_end_it(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_key = await create(store)
    with monkeypatch.context() as patched:
        patched.setattr(writer, "Batch", lambda: (_ for _ in ()).throw(RuntimeError("a mistake")))
        error = await queue(store, Commit(run_key=run_key, rows=events(1)))
    assert isinstance(error, StoreUnavailableError)
    assert "a mistake" in error.message
    await keep(store, Commit(run_key=run_key, rows=events(1)))


async def test_log_lines_beyond_the_bound_are_dropped_and_counted(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "QUEUED_LOG_LINES_MAX", 10)
    run_key = await create(store)
    for _ in range(7):
        store.log(run_key, [LogRow(START, "info", "s", "x"), LogRow(START, "info", "s", "y")])
    await keep(store, Commit(run_key=run_key, rows=events(1)))
    assert len(await store.load_logs(run_key)) == 10
    assert (await store.statistics())["log_lines_dropped"] == 4
    store.log(run_key, [LogRow(START, "info", "s", "z")])
    await keep(store, Commit(run_key=run_key, rows=events(2)))
    assert len(await store.load_logs(run_key)) == 11


async def test_a_loop_that_ends_without_closing_does_not_end_the_writer_badly(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "other.db")

    async def leave() -> None:
        await store.open()
        store.commit(Commit(run_key=1, rows=events(0), new_run=new_run()), lambda _, error: None)
        await asyncio.sleep(0)

    await asyncio.to_thread(lambda: asyncio.run(leave()))
    await store.close()
    again = SqliteStore(tmp_path / "other.db")
    await again.open()
    assert await again.load_journal(1) == events(0)
    await again.close()


# Reading beside writing


@pytest.mark.req("BAR-14.never-locked")
async def test_readers_are_never_in_the_way_and_the_log_stays_short(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "CHECKPOINT_PAGES", 20)
    monkeypatch.setattr(writer, "RESTART_PAGES", 60)
    keys = [await create(store) for _ in range(50)]
    writing = True
    longest = 0

    async def read() -> int:
        count = 0
        while writing:
            rows = await store.load_journal(keys[count % 50])
            assert [row.seq for row in rows] == list(range(len(rows)))
            await store.list_runs(RunFilter(), limit=50)
            assert sum((await store.count_runs()).values()) == 50
            count += 1
        return count

    readers = [asyncio.create_task(read()) for _ in range(6)]
    for seq in range(1, 41):
        commits = [Commit(run_key=key, rows=events(seq, 1, b"x" * 500), head=RunHead(status="running")) for key in keys]
        assert set(await asyncio.gather(*(queue(store, commit) for commit in commits))) == {None}
        longest = max(longest, (await store.statistics())["wal_pages"])
    writing = False
    assert min(await asyncio.gather(*readers)) > 0
    statistics = await store.statistics()
    assert statistics["checkpoints"] > 5
    assert longest < 60 + 20 + 250, "a group of these 50 commits changes at most some 250 pages"


@pytest.mark.req("BAR-14.never-locked")
async def test_another_program_that_reads_without_end_is_told_of_and_holds_nobody_up(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name, value in {"CHECKPOINT_PAGES": 10, "RESTART_PAGES": 30, "RESTART_WAIT_MS": 1}.items():
        monkeypatch.setattr(writer, name, value)
    assert store._writer is not None
    store._writer._checkpoint_at = 10
    run_key = await create(store)
    db = outsider(store)
    db.execute("BEGIN")
    assert db.execute("SELECT count(*) FROM journal").get == 1
    with caplog.at_level(logging.WARNING, logger=writer.__name__):
        for seq in range(1, 80):
            await keep(store, Commit(run_key=run_key, rows=events(seq, 1, b"x" * 4000)))
    assert "another program reads it without end" in caplog.text
    assert db.execute("SELECT count(*) FROM journal").get == 1
    grown = (await store.statistics())["wal_pages"]
    assert grown > 60
    db.execute("COMMIT")
    db.close()
    for seq in range(80, 110):
        await keep(store, Commit(run_key=run_key, rows=events(seq, 1, b"x" * 4000)))
    assert (await store.statistics())["wal_pages"] < grown


async def test_a_reader_cannot_write(store: SqliteStore) -> None:
    with pytest.raises(StoreUnavailableError, match="read-only"):
        await store.read(lambda db: db.execute("DELETE FROM run").fetchall())
