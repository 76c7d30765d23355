"""The promises of the store port on lists and what is found in them; beside `StoreContract`.

class TestMyStore(ReadingContract, StoreContract):
    ...
"""

# ruff: noqa: D102 - the tests' names are the sentences that a docstring would repeat

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
import pytest

from segue.errors import JournalConflictError, RequestError
from segue.store.port import (
    Commit,
    FlowVersion,
    LogRow,
    RunFilter,
    RunHead,
    Store,
)
from segue.testing.store_contract import (
    START,
    create,
    events,
    keep,
    new_run,
)


class ReadingContract:
    """Derive from it and from `StoreContract`, whose fixtures it uses."""

    pytestmark = pytest.mark.anyio

    async def test_what_is_not_there_is_none_or_empty(self, store: Store) -> None:
        assert await store.get_run("run_none") is None
        assert await store.get_run_by_key(1) is None
        assert await store.get_flow_version(1) is None
        assert await store.find_callback(b"none") is None
        assert await store.get_setting("none") is None
        assert await store.next_wake_at() is None
        assert await store.load_journal(1) == []
        assert await store.load_logs(1) == []
        assert await store.callbacks_of_run(1) == []
        assert await store.unfinished_runs() == []
        assert await store.due_runs(START) == []
        assert await store.count_runs() == {}
        assert await store.list_runs(RunFilter()) == await store.list_runs(RunFilter(workspace="w"))

    async def test_a_journal_is_read_in_parts(self, store: Store) -> None:
        run_key = await create(store)
        await keep(store, Commit(run_key=run_key, rows=events(1, 1999)))
        assert await store.load_journal(run_key) == events(0, 2000)
        assert await store.load_journal(run_key, after_seq=9, limit=3) == events(10, 3)
        assert await store.load_journal(run_key, after_seq=1, limit=1024) == events(2, 1024)
        assert await store.load_journal(run_key, after_seq=1998) == events(1999)
        assert await store.load_journal(run_key, after_seq=1999) == []

    async def test_what_is_put_aside_leaves_the_journal_which_goes_on_before_it(self, store: Store) -> None:
        key = await create(store)
        await keep(store, Commit(run_key=key, rows=events(1, 4)))
        before = await store.load_journal(key)
        assert await store.put_journal_aside(key, after_seq=1, at=START) == 3
        assert await store.load_journal(key) == before[:2]
        assert await store.journal_aside(key) == [(START, row) for row in before[2:]]
        with pytest.raises(JournalConflictError):
            await keep(store, Commit(run_key=key, rows=events(5)))
        await keep(store, Commit(run_key=key, rows=events(2)))
        assert await store.put_journal_aside(key, after_seq=2, at=START + 1) == 0
        assert [row.seq for row in await store.load_journal(key)] == [0, 1, 2]
        with pytest.raises(JournalConflictError):
            await store.put_journal_aside(store.next_run_key(), after_seq=0, at=START)

    async def test_log_lines_are_numbered_in_their_order(self, store: Store) -> None:
        first, second = await create(store), await create(store)
        lines = [LogRow(START + n, "info", "s", f"line {n}", b"{}") for n in range(4)]
        await keep(store, Commit(run_key=first, rows=(), logs=lines[:2]))
        store.log(second, lines[:1])
        store.log(first, lines[2:])
        await keep(store, Commit(run_key=first, rows=events(1)))
        found = await store.load_logs(first)
        numbers = [number for number, _ in found]
        assert [line for _, line in found] == lines
        assert numbers == sorted(set(numbers))
        assert await store.load_logs(first, after=numbers[1]) == found[2:]
        assert await store.load_logs(first, after=numbers[0], limit=2) == found[1:3]
        assert [line for _, line in await store.load_logs(second)] == lines[:1]

    async def test_runs_are_listed_newest_first_in_pages_that_leave_nothing_out(self, store: Store) -> None:
        times = [5, 3, 3, 9, 1, 3, 7]
        keys = [await create(store, new_run(f"run_{n}", at=at)) for n, at in enumerate(times)]
        wanted = [key for _, key in sorted(zip(times, keys, strict=True), reverse=True)]
        for limit in (1, 2, 3, 7, 1000, 5000):
            seen: list[int] = []
            cursor = None
            while True:
                page = await store.list_runs(RunFilter(), limit=limit, cursor=cursor)
                seen += [run.key for run in page.runs]
                cursor = page.cursor
                if cursor is None:
                    break
                assert len(page.runs) == limit
            assert seen == wanted

    async def test_lists_are_filtered_by_each_field_and_by_all_together(self, store: Store) -> None:
        shape = [
            (w, f, s, at)
            for at, (w, f, s) in enumerate(_combinations(("v", "w"), ("f", "g"), ("running", "failed", "paused")))
        ]
        for workspace, flow, status, at in shape:
            run = new_run(f"run_{at}", at=at, workspace=workspace, flow=flow)
            await create(store, run, RunHead(status=status))
        for filters in (
            RunFilter(workspace="v"),
            RunFilter(flow_id="g"),
            RunFilter(statuses=("paused", "running")),
            RunFilter(workspace="w", flow_id="f", statuses=("failed", "paused")),
            RunFilter(workspace="w", statuses=("failed",), created_from=START + 3, created_before=START + 10),
            RunFilter(created_from=START + 4, created_before=START + 8),
            RunFilter(workspace="none"),
            RunFilter(workspace="w", among=frozenset({"f", "g", "none"})),
            RunFilter(among=frozenset({"g"}), statuses=("failed", "paused")),
            RunFilter(flow_id="f", among=frozenset({"f", "g"})),
            RunFilter(flow_id="f", among=frozenset({"g"})),
            RunFilter(among=frozenset()),
            RunFilter(workspace="w", among=frozenset({"f", *map(str, range(200))})),
        ):
            wanted = [
                f"run_{at}"
                for workspace, flow, status, at in reversed(shape)
                if filters.workspace in {None, workspace}
                and filters.flow_id in {None, flow}
                and (filters.among is None or flow in filters.among)
                and (not filters.statuses or status in filters.statuses)
                and (filters.created_from is None or START + at >= filters.created_from)
                and (filters.created_before is None or START + at < filters.created_before)
            ]
            first = await store.list_runs(filters, limit=2)
            rest = await store.list_runs(filters, cursor=first.cursor) if first.cursor else None
            found = [*first.runs, *(rest.runs if rest else ())]
            assert [run.run_id for run in found] == wanted

    async def test_lists_are_filtered_by_what_started_the_runs_and_by_what_they_say(self, store: Store) -> None:
        kept = FlowVersion(
            key=0, workspace="w", flow_id="f", digest="d", version="1.0.0", model=b"{}", source="", created_at=START
        )
        first = await store.put_flow_version(kept)
        second = await store.put_flow_version(msgspec.structs.replace(kept, digest="e", version="2.0.0"))
        shape = [
            ("run_aa", first.key, "api", None, None), ("run_ab", second.key, "schedule", "run_aa", "Read timeout"),
            ("run_bb", second.key, "schedule", None, "refused"), ("eng_aa", first.key, "api", "run_aa", None),
        ]  # fmt: skip
        for at, (run_id, version, trigger, parent, error) in enumerate(shape):
            run = msgspec.structs.replace(
                new_run(run_id, at=at), flow_version=version, trigger=trigger, parent_run_id=parent
            )
            await create(store, run, RunHead(status="failed", error=error))

        async def found(**where: Any) -> list[str]:
            return [run.run_id for run in (await store.list_runs(RunFilter(workspace="w", **where))).runs]

        assert await found(flow_id="f", version="2.0.0") == ["run_bb", "run_ab"]
        assert await found(flow_id="f", version="3.0.0") == []
        assert await found(trigger="schedule", statuses=("failed",)) == ["run_bb", "run_ab"]
        assert await found(parent_run_id="run_aa") == ["eng_aa", "run_ab"]
        assert await found(parent_run_id="run_aa", statuses=("paused",)) == []
        assert await found(parent_run_id="run_aa", among=frozenset({"f", "g"})) == ["eng_aa", "run_ab"]
        for narrow in ({"parent_run_id": "run_aa"}, {"id_prefix": "run_a"}, {"error_text": "re"}):
            assert await found(**narrow, among=frozenset({"g"})) == []
        assert await found(id_prefix="run_a") == ["run_ab", "run_aa"]
        assert await found(error_text="TIMEOUT") == ["run_ab"]
        assert await found(oldest_first=True, error_text="re") == ["run_ab", "run_bb"]
        page = await store.list_runs(RunFilter(oldest_first=True), limit=3)
        rest = await store.list_runs(RunFilter(oldest_first=True), cursor=page.cursor)
        assert [run.run_id for run in (*page.runs, *rest.runs)] == [run_id for run_id, *_ in shape]

    @pytest.mark.parametrize("cursor", ["", "x", "1", "1-", "-", "a-1"])
    async def test_a_cursor_that_no_page_gave_is_refused(self, store: Store, cursor: str) -> None:
        with pytest.raises(RequestError, match="cursor"):
            await store.list_runs(RunFilter(), cursor=cursor)

    async def test_a_page_has_at_least_one_run(self, store: Store) -> None:
        with pytest.raises(RequestError, match="page"):
            await store.list_runs(RunFilter(), limit=0)

    async def test_runs_are_counted_by_status(self, store: Store) -> None:
        for at, (workspace, status) in enumerate([("v", "failed"), ("w", "failed"), ("w", "failed"), ("w", "waiting")]):
            await create(store, new_run(f"run_{at}", workspace=workspace), RunHead(status=status))
        assert await store.count_runs() == {"failed": 3, "waiting": 1}
        assert await store.count_runs("w") == {"failed": 2, "waiting": 1}
        assert await store.count_runs("none") == {}

    async def test_a_host_finds_the_runs_that_it_must_adopt(self, store: Store) -> None:
        statuses = [
            "queued",
            "running",
            "waiting",
            "paused",
            "succeeded",
            "failed",
            "cancelled",
            "timed_out",
            "running",
        ]
        keys = [await create(store, head=RunHead(status=status)) for status in statuses]
        wanted = [keys[0], keys[1], keys[8]]
        assert [run.key for run in await store.unfinished_runs()] == wanted
        assert [run.key for run in await store.unfinished_runs(limit=2)] == wanted[:2]
        assert [run.key for run in await store.unfinished_runs(after_key=wanted[1])] == wanted[2:]
        await keep(store, Commit(run_key=keys[0], rows=events(1), head=RunHead(status="waiting")))
        assert [run.key for run in await store.unfinished_runs()] == wanted[1:]

    async def test_runs_whose_time_has_come_are_found_earliest_first(self, store: Store) -> None:
        keys = [await create(store, head=RunHead(status="waiting", wake_at=at)) for at in (30, 10, 20)]
        await create(store, head=RunHead(status="waiting"))
        assert await store.next_wake_at() == 10
        assert [run.key for run in await store.due_runs(9)] == []
        assert [run.key for run in await store.due_runs(20)] == [keys[1], keys[2]]
        assert [run.key for run in await store.due_runs(99, limit=1)] == [keys[1]]
        await keep(store, Commit(run_key=keys[1], rows=events(1), head=RunHead(status="running")))
        assert await store.next_wake_at() == 20


def _combinations(*lists: Iterable[str]) -> list[tuple[str, ...]]:
    combined: list[tuple[str, ...]] = [()]
    for choices in lists:
        combined = [(*before, choice) for before in combined for choice in choices]
    return combined
