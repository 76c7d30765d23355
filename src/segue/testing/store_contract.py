"""The promises of the store port as a suite that any store can be held to.

Use it from your own tests: derive a class whose name pytest collects and give it the fixture `store_factory`.

    class TestMyStore(StoreContract):
        @pytest.fixture
        def store_factory(self, tmp_path):
            return lambda: MyStore(tmp_path / "store")

Derive from the contracts of `segue.testing.{message,reading,limits}_contract` too: what runs tell each other and
events, lists, limits.
Each call of the factory gives a store, not yet opened, over the same data; the data is new for each test. Needs pytest
and its anyio plugin.
"""

# ruff: noqa: D102 - the tests' names are the sentences that a docstring would repeat

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import msgspec
import pytest

from segue.errors import ConflictError, JournalConflictError, StoreUnavailableError
from segue.store.port import (
    CallbackRow,
    Commit,
    FlowVersion,
    JournalRow,
    LogRow,
    NewRun,
    RunHead,
    Store,
)
from segue.store.rules import IDEMPOTENCY_KEY_MS, INLINE_BYTES_MAX

StoreFactory: TypeAlias = Callable[[], Store]

START = 1_700_000_000_000
"""A time, in ms since the epoch."""


def queue(store: Store, commit: Commit) -> asyncio.Future[BaseException | None]:
    """Queue a commit; the future is what `done` was told."""
    answer: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()
    store.commit(commit, lambda _, error: answer.set_result(error))
    return answer


async def keep(store: Store, commit: Commit) -> None:
    """Commit, or raise what kept it from being kept."""
    error = await queue(store, commit)
    if error is not None:
        raise error


def events(first: int, count: int = 1, data: bytes = b"{}") -> list[JournalRow]:
    """Journal rows with the numbers `first`, `first` + 1, …"""
    return [JournalRow(seq, 3, seq - 1, START + seq, data) for seq in range(first, first + count)]


def new_run(
    run_id: str = "run_1", *, at: int = 0, key: str | None = None, workspace: str = "w", flow: str = "f"
) -> NewRun:
    """A run's first facts; `at` is in ms after `START`, `key` its idempotency key."""
    return NewRun(
        run_id=run_id,
        workspace=workspace,
        flow_id=flow,
        flow_version=1,
        trigger="api",
        created_at=START + at,
        idempotency_key=key,
        request_digest=None if key is None else "digest",
    )


def callback(run_key: int, token_hash: bytes = b"hash") -> CallbackRow:
    """An open callback."""
    return CallbackRow(
        token_hash=token_hash,
        run_key=run_key,
        step=2,
        generation=1,
        step_path="each[1].ask",
        expires_at=START + 1000,
        created_at=START,
    )


async def create(store: Store, run: NewRun | None = None, head: RunHead | None = None) -> int:
    """Keep a run of one event and return its key."""
    run_key = store.next_run_key()
    await keep(store, Commit(run_key=run_key, rows=events(0), new_run=run or new_run(f"run_{run_key}"), head=head))
    return run_key


async def limited(store: Store, status: str, **given: Any) -> int:
    """Keep a run of a flow with limits, in this status; `given` are other fields of its row."""
    run_key = store.next_run_key()
    head = RunHead(status=status, wake_at=given.pop("wake_at", None), started_at=given.pop("started_at", None))
    run = new_run(f"run_{run_key}", workspace=given.pop("workspace", "w"), flow=given.pop("flow", "f"))
    run = msgspec.structs.replace(run, **{"limit_key": '"a"', **given})
    await keep(store, Commit(run_key=run_key, rows=events(0), new_run=run, head=head))
    return run_key


@asynccontextmanager
async def opened(factory: StoreFactory) -> AsyncGenerator[Store]:
    """A store that is open inside the block."""
    store = factory()
    await store.open()
    try:
        yield store
    finally:
        await store.close()


class StoreContract:
    """Derive from it and give the fixture `store_factory` (see the module)."""

    pytestmark = pytest.mark.anyio

    @pytest.fixture
    def anyio_backend(self) -> str:
        """Stores belong to an asyncio loop."""
        return "asyncio"

    @pytest.fixture
    def store_factory(self) -> StoreFactory:
        """Your stores."""
        raise NotImplementedError("give the fixture store_factory, see segue.testing.store_contract")

    @pytest.fixture
    async def store(self, store_factory: StoreFactory, anyio_backend: str) -> AsyncIterator[Store]:
        """One open store."""
        async with opened(store_factory) as store:
            yield store

    # Committing

    async def test_all_of_a_commit_is_read_back(self, store: Store) -> None:
        run_key = store.next_run_key()
        rows = [JournalRow(0, 1, -1, START, b"\x00\xff"), JournalRow(1, 250, 7, START + 1, b"")]
        line = LogRow(START, "warning", "s", 'a "line"\n\u00fc', b'{"a":1}')
        await keep(
            store,
            Commit(
                run_key=run_key,
                rows=rows,
                new_run=new_run(key="k"),
                head=RunHead(status="waiting", started_at=1, wake_at=9, recovered=True, error="é"),
                callbacks_opened=[callback(run_key)],
                logs=[line],
            ),
        )
        run = await store.get_run("run_1")
        assert run is not None
        assert (run.key, run.workspace, run.flow_id, run.flow_version, run.trigger) == (run_key, "w", "f", 1, "api")
        assert (run.created_at, run.idempotency_key, run.request_digest) == (START, "k", "digest")
        assert (run.status, run.started_at, run.finished_at, run.wake_at) == ("waiting", 1, None, 9)
        assert run.recovered is True
        assert run.error == "é"
        assert await store.get_run_by_key(run_key) == run
        assert await store.load_journal(run_key) == rows
        assert [found for _, found in await store.load_logs(run_key)] == [line]
        assert await store.find_callback(b"hash") == callback(run_key)
        assert await store.callbacks_of_run(run_key) == [callback(run_key)]

    async def test_done_is_never_called_before_commit_returns(self, store: Store) -> None:
        called: list[BaseException | None] = []
        run_key = store.next_run_key()
        commit = Commit(run_key=run_key, rows=events(0), new_run=new_run())
        store.commit(commit, lambda _, error: called.append(error))
        assert called == []
        await keep(store, Commit(run_key=run_key, rows=events(1)))
        assert called == [None]

    async def test_commits_queued_at_once_are_kept_and_answered_in_order(self, store: Store) -> None:
        run_key = store.next_run_key()
        answered: list[int] = []
        last = asyncio.get_running_loop().create_future()

        def done(commit: Commit, error: BaseException | None) -> None:
            assert error is None
            answered.append(commit.rows[0].seq)
            if len(answered) == 300:
                last.set_result(None)

        for seq in range(300):
            store.commit(Commit(run_key=run_key, rows=events(seq), new_run=None if seq else new_run()), done)
        await last
        assert answered == list(range(300))
        assert [row.seq for row in await store.load_journal(run_key)] == answered

    async def test_many_runs_share_a_flush(self, store: Store) -> None:
        keys = [store.next_run_key() for _ in range(200)]
        before = await store.statistics()
        answers = [queue(store, Commit(run_key=key, rows=events(0, 3), new_run=new_run(f"run_{key}"))) for key in keys]
        assert set(await asyncio.gather(*answers)) == {None}
        after = await store.statistics()
        assert after["commits"] - before["commits"] == 200
        assert after["rows"] - before["rows"] == 600
        assert after["flushes"] - before["flushes"] <= 3

    @pytest.mark.parametrize("seqs", [(2,), (0,), (1, 3), (1, 1), (1, 0), (-1,)])
    async def test_rows_that_do_not_continue_the_journal_fail_and_leave_nothing(
        self, store: Store, seqs: Sequence[int]
    ) -> None:
        run_key = await create(store, new_run())
        wrong = Commit(
            run_key=run_key,
            rows=[JournalRow(seq, 1, 0, START, b"wrong") for seq in seqs],
            head=RunHead(status="failed"),
            callbacks_opened=[callback(run_key)],
            logs=[LogRow(START, "info", "s", "lost")],
        )
        assert isinstance(await queue(store, wrong), JournalConflictError)
        assert await store.load_journal(run_key) == events(0)
        run = await store.get_run("run_1")
        assert run is not None
        assert run.status == "queued"
        assert await store.load_logs(run_key) == []
        assert await store.callbacks_of_run(run_key) == []

    async def test_all_that_builds_on_a_lost_commit_fails_too(self, store: Store) -> None:
        run_key = await create(store)
        answers = [queue(store, Commit(run_key=run_key, rows=events(seq))) for seq in (1, 3, 4, 5, 2)]
        errors = await asyncio.gather(*answers)
        assert [type(error) for error in errors] == [type(None), *[JournalConflictError] * 3, type(None)]
        assert [row.seq for row in await store.load_journal(run_key)] == [0, 1, 2]

    async def test_a_commit_that_fails_does_not_touch_its_neighbours(self, store: Store) -> None:
        taken = await create(store, new_run("run_taken"))
        keys = [store.next_run_key() for _ in range(5)]
        names = ["run_a", "run_taken", "run_b", "run_b", "run_c"]
        answers = [
            queue(store, Commit(run_key=key, rows=events(0), new_run=new_run(name)))
            for key, name in zip(keys, names, strict=True)
        ]
        # What builds on the lost one is in the same group.
        answers.append(queue(store, Commit(run_key=keys[1], rows=events(1))))
        answers.append(queue(store, Commit(run_key=keys[0], rows=events(1))))
        answers.append(queue(store, Commit(run_key=taken, rows=events(1))))
        errors = [type(error) for error in await asyncio.gather(*answers)]
        none = type(None)
        assert errors == [none, ConflictError, none, ConflictError, none, JournalConflictError, none, none]
        assert await store.load_journal(keys[0]) == events(0, 2)
        assert await store.load_journal(keys[1]) == []
        assert (await store.count_runs("w")) == {"queued": 4}

    async def test_an_error_in_done_does_not_keep_the_others_waiting(self, store: Store) -> None:
        reported: list[object] = []
        loop = asyncio.get_running_loop()
        before = loop.get_exception_handler()
        loop.set_exception_handler(lambda _, context: reported.append(context.get("exception")))
        mistake = ZeroDivisionError("in done")

        def done(commit: Commit, error: BaseException | None) -> None:
            raise mistake

        try:
            run_key = store.next_run_key()
            store.commit(Commit(run_key=run_key, rows=events(0), new_run=new_run()), done)
            await keep(store, Commit(run_key=run_key, rows=events(1)))
        finally:
            loop.set_exception_handler(before)
        assert reported == [mistake]

    async def test_nothing_is_kept_for_a_run_that_was_never_created(self, store: Store) -> None:
        run_key = store.next_run_key()
        early = [
            Commit(run_key=run_key, rows=events(0)),
            Commit(run_key=run_key, rows=(), head=RunHead(status="failed")),
            Commit(run_key=run_key, rows=(), callbacks_opened=[callback(run_key)]),
        ]
        # In one group with the commit that creates the run, which comes too late for them.
        answers = [queue(store, commit) for commit in [*early, Commit(run_key=run_key, rows=(), new_run=new_run())]]
        errors = [type(error) for error in await asyncio.gather(*answers)]
        assert errors == [*[JournalConflictError] * 3, type(None)]
        assert await store.load_journal(run_key) == []
        assert await store.callbacks_of_run(run_key) == []
        assert (await store.count_runs()) == {"queued": 1}

    async def test_a_run_is_created_once(self, store: Store) -> None:
        run_key = await create(store, new_run("run_1"))
        again = Commit(run_key=run_key, rows=events(0), new_run=new_run("run_2"))
        assert isinstance(await queue(store, again), JournalConflictError)
        assert await store.get_run("run_2") is None

    async def test_a_run_can_be_created_without_events(self, store: Store) -> None:
        run_key = store.next_run_key()
        await keep(store, Commit(run_key=run_key, rows=(), new_run=new_run()))
        await keep(store, Commit(run_key=run_key, rows=events(0)))
        assert await store.load_journal(run_key) == events(0)

    async def test_a_head_replaces_the_whole_one_before_and_the_last_of_a_group_counts(self, store: Store) -> None:
        run_key = await create(store, new_run(), RunHead(status="waiting", started_at=1, wake_at=5, error="x"))
        heads = [RunHead(status="running", started_at=2), RunHead(status="succeeded", finished_at=3, recovered=True)]
        answers = [
            queue(store, Commit(run_key=run_key, rows=events(seq), head=head)) for seq, head in enumerate(heads, 1)
        ]
        assert await asyncio.gather(*answers) == [None, None]
        run = await store.get_run("run_1")
        assert run is not None
        assert (run.status, run.started_at, run.finished_at, run.wake_at, run.error) == (
            "succeeded",
            None,
            3,
            None,
            None,
        )
        assert run.recovered

    async def test_the_journal_of_an_ended_run_can_go_on(self, store: Store) -> None:
        run_key = await create(store, head=RunHead(status="failed"))
        assert isinstance(await queue(store, Commit(run_key=run_key, rows=events(0))), JournalConflictError)
        await keep(store, Commit(run_key=run_key, rows=events(1), head=RunHead(status="running")))
        assert await store.load_journal(run_key) == events(0, 2)

    # Idempotency keys

    async def test_an_idempotency_key_creates_one_run(self, store: Store) -> None:
        first = await create(store, new_run("run_1", key="k"))
        second = Commit(run_key=store.next_run_key(), rows=events(0), new_run=new_run("run_2", key="k"))
        other = Commit(run_key=store.next_run_key(), rows=events(0), new_run=new_run("run_3", key="k", workspace="v"))
        errors = await asyncio.gather(queue(store, second), queue(store, other))
        assert isinstance(errors[0], ConflictError)
        assert errors[1] is None
        found = await store.find_run_by_idempotency_key("w", "k")
        assert found is not None
        assert found.key == first
        assert await store.get_run("run_2") is None
        assert await store.find_run_by_idempotency_key("w", "other") is None

    async def test_of_two_commits_with_one_key_in_one_group_the_first_is_kept(self, store: Store) -> None:
        commits = [
            Commit(run_key=store.next_run_key(), rows=events(0), new_run=new_run(name, key="k"))
            for name in ("run_1", "run_2")
        ]
        errors = await asyncio.gather(*(queue(store, commit) for commit in commits))
        assert [type(error) for error in errors] == [type(None), ConflictError]
        assert await store.load_journal(commits[1].run_key) == []

    async def test_an_idempotency_key_is_free_again_after_24_hours(self, store: Store) -> None:
        await create(store, new_run("run_1", key="k"))
        early = new_run("run_2", key="k", at=IDEMPOTENCY_KEY_MS - 1)
        assert isinstance(
            await queue(store, Commit(run_key=store.next_run_key(), rows=events(0), new_run=early)), ConflictError
        )
        late = await create(store, new_run("run_3", key="k", at=IDEMPOTENCY_KEY_MS))
        found = await store.find_run_by_idempotency_key("w", "k")
        assert found is not None
        assert found.key == late
        first = await store.get_run("run_1")
        assert first is not None
        assert first.idempotency_key == "k"

    @pytest.mark.parametrize("fault", ["journal", "run id"])
    async def test_a_commit_that_fails_does_not_take_the_key(self, store: Store, fault: str) -> None:
        await create(store, new_run("run_taken"))
        run_id = "run_taken" if fault == "run id" else "run_2"
        rows = events(1 if fault == "journal" else 0)
        wrong = Commit(run_key=store.next_run_key(), rows=rows, new_run=new_run(run_id, key="k"))
        assert isinstance(await queue(store, wrong), ConflictError | JournalConflictError)
        assert await store.find_run_by_idempotency_key("w", "k") is None
        await create(store, new_run("run_3", key="k"))

    # Callbacks

    async def test_a_callback_is_closed_once(self, store: Store) -> None:
        run_key = await create(store)
        await keep(
            store, Commit(run_key=run_key, rows=(), callbacks_opened=[callback(run_key, b"a"), callback(run_key, b"b")])
        )
        await keep(store, Commit(run_key=run_key, rows=events(1), callbacks_closed=[(b"a", "used"), (b"?", "used")]))
        await keep(store, Commit(run_key=run_key, rows=events(2), callbacks_closed=[(b"a", "cancelled")]))
        states = {row.token_hash: row.state for row in await store.callbacks_of_run(run_key)}
        assert states == {b"a": "used", b"b": "open"}

    async def test_closing_a_callback_before_it_is_opened_does_nothing_even_in_one_group(self, store: Store) -> None:
        run_key = await create(store)
        answers = [
            queue(store, Commit(run_key=run_key, rows=(), callbacks_closed=[(b"hash", "used")])),
            queue(store, Commit(run_key=run_key, rows=(), callbacks_opened=[callback(run_key)])),
        ]
        assert await asyncio.gather(*answers) == [None, None]
        assert await store.find_callback(b"hash") == callback(run_key)
        answers = [
            queue(store, Commit(run_key=run_key, rows=(), callbacks_closed=[(b"hash", state)]))
            for state in ("used", "expired")
        ]
        assert await asyncio.gather(*answers) == [None, None]
        found = await store.find_callback(b"hash")
        assert found is not None
        assert found.state == "used"

    async def test_a_callback_can_be_opened_and_closed_by_one_commit(self, store: Store) -> None:
        run_key = await create(store)
        await keep(
            store,
            Commit(
                run_key=run_key, rows=(), callbacks_opened=[callback(run_key)], callbacks_closed=[(b"hash", "expired")]
            ),
        )
        found = await store.find_callback(b"hash")
        assert found is not None
        assert found.state == "expired"

    async def test_a_token_is_opened_once(self, store: Store) -> None:
        run_key = await create(store)
        await keep(store, Commit(run_key=run_key, rows=events(1), callbacks_opened=[callback(run_key)]))
        again = Commit(run_key=run_key, rows=events(2), callbacks_opened=[callback(run_key, b"new"), callback(run_key)])
        assert isinstance(await queue(store, again), ConflictError)
        assert await store.load_journal(run_key) == events(0, 2)
        assert await store.find_callback(b"new") is None

    # Payloads

    @pytest.mark.parametrize("size", [0, 1, INLINE_BYTES_MAX, INLINE_BYTES_MAX + 1, 3_000_000])
    async def test_payloads_of_any_size_come_back_as_they_were(self, store: Store, size: int) -> None:
        data = bytes(index * 7 % 251 for index in range(1000)) * (size // 1000 + 1)
        run_key = await create(store)
        rows = [*events(1, 2, data[:size]), JournalRow(3, 1, 0, START, b"after")]
        await keep(store, Commit(run_key=run_key, rows=rows))
        assert await store.load_journal(run_key, after_seq=0) == rows

    # Flow versions and settings

    async def test_a_flow_version_is_kept_once(self, store: Store) -> None:
        version = FlowVersion(
            key=0,
            workspace="w",
            flow_id="f",
            digest="d",
            version="1.2",
            model=b"{}",
            source="flow: f\n",
            created_at=START,
        )
        first = await store.put_flow_version(version)
        other = await store.put_flow_version(
            FlowVersion(
                key=0, workspace="w", flow_id="f", digest="e", version=None, model=b"[]", source="", created_at=START
            )
        )
        again = await store.put_flow_version(
            msgspec.structs.replace(version, key=9, version="1.3", source="", created_at=START + 5)
        )
        elsewhere = await store.put_flow_version(msgspec.structs.replace(version, workspace="x"))
        assert (elsewhere.key not in {first.key, other.key}, elsewhere.workspace) == (True, "x")
        assert first.key != other.key
        assert again == first
        assert (first.version, first.model, first.source, first.created_at) == ("1.2", b"{}", "flow: f\n", START)
        assert await store.get_flow_version(first.key) == first
        assert await store.get_flow_version(other.key) == other

    async def test_settings_are_replaced_unless_asked_otherwise(self, store: Store) -> None:
        assert await store.put_setting("a", b"1", only_if_absent=True) == b"1"
        assert await store.put_setting("a", b"2", only_if_absent=True) == b"1"
        assert await store.get_setting("a") == b"1"
        assert await store.put_setting("a", b"\x00\xff") == b"\x00\xff"
        assert await store.get_setting("a") == b"\x00\xff"

    # Opening and closing

    async def test_close_keeps_what_is_queued_and_the_next_store_reads_it(self, store_factory: StoreFactory) -> None:
        answers: list[BaseException | None] = []
        async with opened(store_factory) as store:
            run_key = store.next_run_key()
            for seq in range(50):
                commit = Commit(run_key=run_key, rows=events(seq), new_run=None if seq else new_run())
                store.commit(commit, lambda _, error: answers.append(error))
            store.log(run_key, [LogRow(START, "info", "s", "last words")])
            await store.put_setting("a", b"1")
            store.commit(Commit(run_key=run_key, rows=events(50)), lambda _, error: answers.append(error))
        assert answers == [None] * 51
        async with opened(store_factory) as store:
            assert await store.load_journal(run_key) == events(0, 51)
            assert [line.message for _, line in await store.load_logs(run_key)] == ["last words"]
            assert await store.get_setting("a") == b"1"
            assert isinstance(await queue(store, Commit(run_key=run_key, rows=events(50))), JournalConflictError)
            await keep(store, Commit(run_key=run_key, rows=events(51)))

    async def test_run_keys_are_never_given_twice(self, store_factory: StoreFactory) -> None:
        async with opened(store_factory) as store:
            given = [store.next_run_key() for _ in range(10)]
            await keep(store, Commit(run_key=given[-1], rows=events(0), new_run=new_run()))
        async with opened(store_factory) as store:
            given += [store.next_run_key() for _ in range(10)]
        assert len(set(given)) == 20
        assert min(given) >= 1

    async def test_a_closed_store_says_so(self, store_factory: StoreFactory) -> None:
        store = store_factory()
        await store.open()
        await store.close()
        await store.close()
        answer = queue(store, Commit(run_key=1, rows=events(0), new_run=new_run()))
        assert not answer.done()
        assert isinstance(await answer, StoreUnavailableError)
        store.log(1, [LogRow(START, "info", "s", "lost")])
        with pytest.raises(StoreUnavailableError):
            await store.get_run("run_1")
        with pytest.raises(StoreUnavailableError):
            await store.put_setting("a", b"1")
        with pytest.raises(StoreUnavailableError):
            await store.statistics()

    async def test_a_store_can_be_opened_again(self, store_factory: StoreFactory) -> None:
        store = store_factory()
        await store.open()
        run_key = await create(store, new_run())
        await store.close()
        await store.open()
        await keep(store, Commit(run_key=run_key, rows=events(1)))
        assert await store.load_journal(run_key) == events(0, 2)
        await store.close()
