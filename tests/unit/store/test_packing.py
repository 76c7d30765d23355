"""Large payloads do not hold up anybody but their own run."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from segue.store import packing
from segue.store.packing import pack
from segue.store.port import Commit, JournalRow
from segue.store.rules import INLINE_BYTES_MAX
from segue.store.sqlite import SqliteStore
from segue.testing.store_contract import START, create, events, keep, opened, queue

pytestmark = pytest.mark.anyio
LARGE = b"x" * (INLINE_BYTES_MAX + 1)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def large(seq: int, data: bytes = LARGE) -> list[JournalRow]:
    return [JournalRow(seq, 3, 0, START, data)]


@pytest.mark.req("DUR-8.stalls")
async def test_other_runs_are_written_while_a_payload_is_packed_and_its_own_run_keeps_its_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_end = threading.Event()

    def slow(data: bytes) -> packing.Packed:
        may_end.wait(30)
        return pack(data)

    monkeypatch.setattr(packing, "pack", slow)
    async with opened(lambda: SqliteStore(tmp_path / "segue.db")) as store:
        run, other = await create(store), await create(store)
        first = queue(store, Commit(run_key=run, rows=large(1)))
        second = queue(store, Commit(run_key=run, rows=events(2)))
        third = queue(store, Commit(run_key=run, rows=large(3, LARGE + b"y")))
        fourth = queue(store, Commit(run_key=run, rows=events(4)))
        await keep(store, Commit(run_key=other, rows=events(1)))
        assert not any(one.done() for one in (first, second, third, fourth))
        may_end.set()
        assert await asyncio.gather(first, second, third, fourth) == [None] * 4
        assert [row.data for row in await store.load_journal(run)][1:4] == [LARGE, b"{}", LARGE + b"y"]


@pytest.mark.req("DUR-8.payloads")
async def test_a_store_that_is_closed_writes_what_is_being_packed(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "segue.db")
    await store.open()
    run = await create(store)
    answers = [queue(store, Commit(run_key=run, rows=large(seq, b"%d" % seq + LARGE))) for seq in range(1, 5)]
    await store.close()
    assert await asyncio.gather(*answers) == [None] * 4
    async with opened(lambda: SqliteStore(tmp_path / "segue.db")) as again:
        assert len(await again.load_journal(run)) == 5


@pytest.mark.req("DUR-8.payloads")
async def test_what_cannot_be_packed_is_tried_by_the_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_data: bytes) -> packing.Packed:
        raise MemoryError

    monkeypatch.setattr(packing, "pack", broken)
    async with opened(lambda: SqliteStore(tmp_path / "segue.db")) as store:
        run = await create(store)
        await keep(store, Commit(run_key=run, rows=large(1)))
        assert (await store.load_journal(run))[1].data == LARGE
