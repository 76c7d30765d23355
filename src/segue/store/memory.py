"""The store's memory twin: the same promises without a disk, for `memory:`, tests and simulations.

It keeps what was committed across `close` and `open` of the same object, as a file would, so that a test can end a host
and start another one. What is kept and how a commit changes it stands in `segue.store.memory_rows`;
`segue.testing.memory_store` adds faults.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Sequence
from string import ascii_uppercase
from typing import Final, TypeVar

import msgspec

from segue.errors import StoreUnavailableError
from segue.store import rules
from segue.store.memory_rows import MemoryRows
from segue.store.port import (
    CachedResult,
    CallbackRow,
    Commit,
    CommitDone,
    EventRow,
    EventWait,
    FlowVersion,
    JournalRow,
    LimitGroup,
    LogRow,
    Message,
    RunFilter,
    RunPage,
    RunRecord,
    SlotWait,
)
from segue.store.run_notes import keys_with

T = TypeVar("T")
_LOWER: Final = {ord(letter): ord(letter.lower()) for letter in ascii_uppercase}


class MemoryStore(MemoryRows):
    """A `Store` that keeps everything in dictionaries. What is read is never what the store itself holds on to."""

    def __init__(self) -> None:
        super().__init__()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._queue: deque[tuple[Commit, CommitDone]] = deque()
        self._flush_scheduled = False

    # Store

    async def open(self) -> None:
        """See `Store.open`."""
        self._loop = asyncio.get_running_loop()

    async def close(self) -> None:
        """See `Store.close`."""
        if self._loop is not None:
            self._flush()
            self._loop = None

    def next_run_key(self) -> int:
        """See `Store.next_run_key`."""
        return next(self._run_keys)

    def commit(self, commit: Commit, done: CommitDone) -> None:
        """See `Store.commit`."""
        if self._loop is None:
            asyncio.get_running_loop().call_soon(done, commit, self._closed())
            return
        self._queue.append((commit, done))
        self._schedule_flush()

    def log(self, run_key: int, rows: Sequence[LogRow]) -> None:
        """See `Store.log`. On a closed store the lines are lost."""
        if self._loop is not None:
            self.commit(Commit(run_key=run_key, rows=(), logs=tuple(rows)), _ignore)

    async def put_flow_version(self, version: FlowVersion) -> FlowVersion:
        """See `Store.put_flow_version`."""
        await self._settled()
        for kept in self._flow_versions.values():
            if (kept.workspace, kept.flow_id, kept.digest) == (version.workspace, version.flow_id, version.digest):
                return kept
        kept = msgspec.structs.replace(version, key=next(self._flow_keys))
        self._flow_versions[kept.key] = kept
        return kept

    async def get_flow_version(self, key: int) -> FlowVersion | None:
        """See `Store.get_flow_version`."""
        return await self._read(lambda: self._flow_versions.get(key))

    async def get_run(self, run_id: str) -> RunRecord | None:
        """See `Store.get_run`."""
        return await self._read(lambda: self._runs.get(self._run_keys_by_id.get(run_id, 0)))

    async def get_run_by_key(self, key: int) -> RunRecord | None:
        """See `Store.get_run_by_key`."""
        return await self._read(lambda: self._runs.get(key))

    async def find_run_by_idempotency_key(self, workspace: str, key: str) -> RunRecord | None:
        """See `Store.find_run_by_idempotency_key`."""
        return await self._read(lambda: self._runs.get(self._idempotency.get((workspace, key), 0)))

    async def list_runs(self, where: RunFilter, *, limit: int = 50, cursor: str | None = None) -> RunPage:
        """See `Store.list_runs`."""
        limit = rules.page_limit(limit)
        before = None if cursor is None else rules.decode_cursor(cursor)
        await self._settled()
        labelled = self.tables.change_now(lambda sql: keys_with(sql, where.labels)) if where.labels else None
        found = [
            run
            for run in self._runs.values()
            if _matches(run, where)
            and self._is_of_version(run, where)
            and _is_behind(run, before, where)
            and (labelled is None or run.key in labelled)
        ]
        found.sort(key=lambda run: (run.created_at, run.key), reverse=not where.oldest_first)
        page = tuple(found[:limit])
        more = len(found) > limit
        return RunPage(page, rules.encode_cursor(page[-1].created_at, page[-1].key) if more else None)

    def _is_of_version(self, run: RunRecord, where: RunFilter) -> bool:
        if where.version is None:
            return True
        kept = self._flow_versions.get(run.flow_version)
        return kept is not None and (kept.flow_id, kept.version) == (where.flow_id, where.version)

    async def count_runs(self, workspace: str | None = None) -> dict[str, int]:
        """See `Store.count_runs`."""
        await self._settled()
        counts: dict[str, int] = {}
        for run in self._runs.values():
            if workspace in {None, run.workspace}:
                counts[run.status] = counts.get(run.status, 0) + 1
        return counts

    async def unfinished_runs(self, *, after_key: int = 0, limit: int = 1000) -> list[RunRecord]:
        """See `Store.unfinished_runs`."""
        return await self._read(
            lambda: [self._runs[key] for key in sorted(self._unfinished) if key > after_key][:limit]
        )

    async def due_runs(self, now: int, *, limit: int = 1000) -> list[RunRecord]:
        """See `Store.due_runs`."""
        await self._settled()
        end = bisect_left(self._wakes, (now + 1, 0))
        return [self._runs[key] for _, key in self._wakes[: min(end, limit)]]

    async def next_wake_at(self) -> int | None:
        """See `Store.next_wake_at`."""
        return await self._read(lambda: self._wakes[0][0] if self._wakes else None)

    async def runs_under_way(self, group: LimitGroup) -> list[int]:
        """See `Store.runs_under_way`."""
        return await self._read(lambda: sorted(self._under_way.get(group, ())))

    async def queued_runs(self, group: LimitGroup, *, limit: int = 100) -> list[RunRecord]:
        """See `Store.queued_runs`."""
        return await self._read(lambda: [self._runs[key] for _, key in self._queues.get(group, ())[:limit]])

    async def runs_begun(self, group: LimitGroup, since: int, *, limit: int) -> tuple[int, int | None]:
        """See `Store.runs_begun`."""
        await self._settled()
        begun = self._begun.get(group, [])
        found = begun[bisect_left(begun, (since + 1, 0)) :][-limit:]
        return len(found), found[0][0] if found else None

    async def queue_groups(self, *, after: LimitGroup | None = None, limit: int = 1000) -> list[LimitGroup]:
        """See `Store.queue_groups`."""
        return await self._read(lambda: sorted(one for one in self._queues if after is None or one > after)[:limit])

    async def slot_waits(self, slots: str, *, limit: int = 100) -> list[SlotWait]:
        """See `Store.slot_waits`."""
        return await self._read(lambda: self._slot_waits.get(slots, [])[:limit])

    async def slots_begun(self, slots: str, since: int, *, limit: int) -> tuple[int, int | None]:
        """See `Store.slots_begun`."""
        await self._settled()
        begun = self._slots_begun.get(slots, [])
        found = begun[bisect_left(begun, since + 1) :][-limit:]
        return len(found), found[0] if found else None

    async def awaited_slots(self, *, after: str = "", limit: int = 1000) -> list[str]:
        """See `Store.awaited_slots`."""
        return await self._read(lambda: sorted(one for one in self._slot_waits if one > after)[:limit])

    async def cached_result(self, key: bytes, now: int) -> CachedResult | None:
        """See `Store.cached_result`."""
        await self._settled()
        found = self._cache.get(key)
        return found if found is not None and found.expires_at > now else None

    async def load_journal(self, run_key: int, *, after_seq: int = -1, limit: int | None = None) -> list[JournalRow]:
        """See `Store.load_journal`."""
        end = None if limit is None else after_seq + 1 + limit
        return await self._read(lambda: self._journals.get(run_key, [])[after_seq + 1 : end])

    async def put_journal_aside(self, run_key: int, *, after_seq: int, at: int) -> int:
        """See `Store.put_journal_aside`."""
        await self._settled()
        self._flush()
        if run_key not in self._runs:
            raise rules.unknown_run(run_key)
        rows = self._journals.get(run_key, [])
        kept = [row for row in rows if row.seq <= after_seq]
        left = [row for row in rows if row.seq > after_seq]
        self._journals[run_key] = kept
        self._aside.setdefault(run_key, []).extend((at, row) for row in left)
        return len(left)

    async def journal_aside(self, run_key: int) -> list[tuple[int, JournalRow]]:
        """See `Store.journal_aside`."""
        return await self._read(lambda: list(self._aside.get(run_key, ())))

    async def load_logs(self, run_key: int, *, after: int = 0, limit: int = 10_000) -> list[tuple[int, LogRow]]:
        """See `Store.load_logs`."""
        return await self._read(lambda: [line for line in self._logs.get(run_key, []) if line[0] > after][:limit])

    async def find_callback(self, token_hash: bytes) -> CallbackRow | None:
        """See `Store.find_callback`."""
        return await self._read(lambda: self._callbacks.get(token_hash))

    async def callbacks_of_run(self, run_key: int) -> list[CallbackRow]:
        """See `Store.callbacks_of_run`."""
        await self._settled()
        found = [callback for callback in self._callbacks.values() if callback.run_key == run_key]
        return sorted(found, key=lambda callback: (callback.created_at, callback.token_hash))

    async def callbacks_by_correlation(self, correlation: str) -> list[CallbackRow]:
        """See `Store.callbacks_by_correlation`."""
        await self._settled()
        found = [one for one in self._callbacks.values() if one.correlation == correlation and one.state == "open"]
        return sorted(found, key=lambda callback: (callback.created_at, callback.token_hash))

    async def find_flow_version(self, workspace: str, flow_id: str, version: str | None = None) -> FlowVersion | None:
        """See `Store.find_flow_version`."""
        await self._settled()
        found = [
            kept
            for kept in self._flow_versions.values()
            if (kept.workspace, kept.flow_id) == (workspace, flow_id) and version in {None, kept.version}
        ]
        return max(found, key=lambda kept: kept.key, default=None)

    async def messages(self, *, after: int = 0, limit: int = 1000) -> list[tuple[int, Message]]:
        """See `Store.messages`."""
        return await self._read(lambda: sorted(one for one in self._messages.values() if one[0] > after)[:limit])

    async def events_open(self, *, after: int = 0, limit: int = 1000) -> list[tuple[int, EventRow]]:
        """See `Store.events_open`."""
        await self._settled()
        found = (self._events[id] for id in self._events_open)
        return sorted((one for one in found if one[0] > after), key=lambda one: one[0])[:limit]

    async def events_since(self, workspace: str, name: str, since: int, *, limit: int = 1000) -> list[EventRow]:
        """See `Store.events_since`."""
        await self._settled()
        found = [
            (event.at, number, event)
            for number, event in self._events.values()
            if (event.workspace, event.name) == (workspace, name) and event.at >= since
        ]
        return [event for _, _, event in sorted(found, key=lambda one: one[:2])[:limit]]

    async def event_waits(
        self, workspace: str, name: str, *, after: tuple[int, int] = (0, -1), limit: int = 1000
    ) -> list[EventWait]:
        """See `Store.event_waits`."""
        await self._settled()
        found = [one for one in self._waits.values() if (one.workspace, one.name) == (workspace, name)]
        return sorted(one for one in found if one[:2] > after)[:limit]

    async def buffered_waits(self, *, after: tuple[int, int] = (0, -1), limit: int = 1000) -> list[EventWait]:
        """See `Store.buffered_waits`."""
        await self._settled()
        return sorted(one for one in self._waits.values() if one.since < one.began and one[:2] > after)[:limit]

    async def drop_events(self, before: int, *, keep: int) -> int:
        """See `Store.drop_events`."""
        await self._settled()
        done = sorted((number, event) for number, event in self._events.values() if event.id not in self._events_open)
        last = done[-keep - 1][0] if len(done) > keep else 0
        dropped = [event.id for number, event in done if event.at < before or number <= last]
        for id in dropped:
            del self._events[id]
        return len(dropped)

    async def get_setting(self, name: str) -> bytes | None:
        """See `Store.get_setting`."""
        return await self._read(lambda: self._settings.get(name))

    async def put_setting(self, name: str, value: bytes, *, only_if_absent: bool = False) -> bytes:
        """See `Store.put_setting`."""
        await self._settled()
        if not (only_if_absent and name in self._settings):
            self._settings[name] = value
        return self._settings[name]

    async def statistics(self) -> dict[str, int]:
        """See `Store.statistics`."""
        return await self._read(lambda: dict(self._counters))

    # Inside

    async def _settled(self) -> None:
        """Give way once, as every real store does between question and answer."""
        if self._loop is None:
            raise self._closed()
        await asyncio.sleep(0)

    async def _read(self, question: Callable[[], T]) -> T:
        await self._settled()
        return question()

    def _schedule_flush(self) -> None:
        if self._loop is not None and self._queue and not self._flush_scheduled:
            self._flush_scheduled = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_scheduled = False
        if not self._queue:
            return
        group = list(self._queue)
        self._queue.clear()
        self._counters["flushes"] += 1
        # All of them are kept before the first one hears of it: a caller sees whole groups, as with one flush to disk.
        answers = [(commit, done, self._apply(commit)) for commit, done in group]
        for commit, done, error in answers:
            self._counters["commits" if error is None else "commits_failed"] += 1
            try:
                done(commit, error)
            except Exception as mistake:  # noqa: BLE001 - one caller's mistake must not keep the others waiting
                asyncio.get_running_loop().call_exception_handler(
                    {"message": "a commit's `done` failed", "exception": mistake}
                )

    @staticmethod
    def _closed() -> StoreUnavailableError:
        return StoreUnavailableError("The memory store is not open. Nothing was kept.")


def _matches(run: RunRecord, where: RunFilter) -> bool:
    return (
        where.workspace in {None, run.workspace}
        and where.flow_id in {None, run.flow_id}
        and (where.among is None or run.flow_id in where.among)
        and (not where.statuses or run.status in where.statuses)
        and (where.created_from is None or run.created_at >= where.created_from)
        and (where.created_before is None or run.created_at < where.created_before)
        and where.trigger in {None, run.trigger}
        and where.parent_run_id in {None, run.parent_run_id}
        and (where.id_prefix is None or run.run_id.startswith(where.id_prefix))
        and (where.error_text is None or _lower(where.error_text) in _lower(run.error or ""))
    )


def _lower(text: str) -> str:
    """As SQLite's `lower`: the letters A to Z."""
    return text.translate(_LOWER)


def _is_behind(run: RunRecord, cursor: tuple[int, int] | None, where: RunFilter) -> bool:
    if cursor is None:
        return True
    return (run.created_at, run.key) > cursor if where.oldest_first else (run.created_at, run.key) < cursor


def _ignore(commit: Commit, error: BaseException | None) -> None:
    """Log lines come without a promise."""
