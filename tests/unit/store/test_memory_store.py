"""The memory twin's faults, with which simulations try the engine."""

from __future__ import annotations

import asyncio

import pytest

from segue.errors import JournalConflictError, StoreUnavailableError
from segue.store.port import Commit, LogRow
from segue.testing.memory_store import MemoryStore
from segue.testing.store_contract import START, create, events, keep, new_run, queue

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store():
    memory = MemoryStore()
    await memory.open()
    yield memory
    await memory.close()


async def test_commits_fail_as_often_as_told(store: MemoryStore) -> None:
    run_key = await create(store)
    lost = OSError("no space")
    store.fail_next(2, lost)
    errors = await asyncio.gather(*(queue(store, Commit(run_key=run_key, rows=events(1))) for _ in range(3)))
    assert errors == [lost, lost, None]
    assert await store.load_journal(run_key) == events(0, 2)
    store.fail_next(1)
    with pytest.raises(StoreUnavailableError):
        await keep(store, Commit(run_key=run_key, rows=events(2)))


async def test_what_builds_on_a_failed_commit_fails_too(store: MemoryStore) -> None:
    run_key = await create(store)
    store.fail_next(1)
    first, second = (
        queue(store, Commit(run_key=run_key, rows=events(1))),
        queue(store, Commit(run_key=run_key, rows=events(2))),
    )
    assert isinstance(await first, StoreUnavailableError)
    assert isinstance(await second, JournalConflictError)


async def test_a_held_store_answers_after_its_release(store: MemoryStore) -> None:
    run_key = await create(store)
    store.hold()
    answers = [queue(store, Commit(run_key=run_key, rows=events(seq))) for seq in (1, 2)]
    for _ in range(20):
        await asyncio.sleep(0)
    assert not any(answer.done() for answer in answers)
    assert await store.load_journal(run_key) == events(0)
    flushes = (await store.statistics())["flushes"]
    store.release()
    assert await asyncio.gather(*answers) == [None, None]
    assert (await store.statistics())["flushes"] == flushes + 1


async def test_holding_also_stops_what_was_queued_just_before(store: MemoryStore) -> None:
    answer = queue(store, Commit(run_key=store.next_run_key(), rows=events(0), new_run=new_run()))
    store.hold()
    for _ in range(20):
        await asyncio.sleep(0)
    assert not answer.done()
    store.release()
    assert await answer is None


async def test_a_crash_loses_what_was_queued_and_nothing_else(store: MemoryStore) -> None:
    run_key = await create(store)
    given = store.next_run_key()
    lost = queue(store, Commit(run_key=run_key, rows=events(1)))
    store.log(run_key, [LogRow(START, "info", "s", "lost")])
    store.crash()
    with pytest.raises(StoreUnavailableError):
        await store.get_run("run_1")
    await store.open()
    assert await store.load_journal(run_key) == events(0)
    assert await store.load_logs(run_key) == []
    assert not lost.done()
    assert store.next_run_key() > given
    await keep(store, Commit(run_key=run_key, rows=events(1)))
    assert not lost.done()
