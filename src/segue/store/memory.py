"""The store's memory twin: the same promises without a disk, for `memory:`, tests and simulations.

It keeps what was committed across `close` and `open` of the same object, as a file would, so that a test can end a host
and start another one. `segue.testing.memory_store` adds faults to it.
"""

from __future__ import annotations

import asyncio
import itertools
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Sequence
from functools import cached_property
from string import ascii_uppercase
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from segue.errors import StoreUnavailableError
from segue.store import rules
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
    NewRun,
    RunFilter,
    RunHead,
    RunPage,
    RunRecord,
    SlotWait,
)
from segue.store.run_notes import keys_with

if TYPE_CHECKING:
    from segue.store.sqlite_tables import MemoryTables

T = TypeVar("T")
_LOWER: Final = {ord(letter): ord(letter.lower()) for letter in ascii_uppercase}


class MemoryStore:
    """A `Store` that keeps everything in dictionaries. What is read is never what the store itself holds on to."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._queue: deque[tuple[Commit, CommitDone]] = deque()
        self._flush_scheduled = False
        self._run_keys = itertools.count(1)
        self._line_numbers = itertools.count(1)
        self._flow_keys = itertools.count(1)
        self._runs: dict[int, RunRecord] = {}
        self._run_keys_by_id: dict[str, int] = {}
        self._idempotency: dict[tuple[str, str], int] = {}
        self._journals: dict[int, list[JournalRow]] = {}
        self._aside: dict[int, list[tuple[int, JournalRow]]] = {}
        self._logs: dict[int, list[tuple[int, LogRow]]] = {}
        self._callbacks: dict[bytes, CallbackRow] = {}
        self._flow_versions: dict[int, FlowVersion] = {}
        self._settings: dict[str, bytes] = {}
        self._message_numbers = itertools.count(1)
        self._messages: dict[str, tuple[int, Message]] = {}
        self._event_numbers = itertools.count(1)
        self._events: dict[str, tuple[int, EventRow]] = {}
        self._events_open: set[str] = set()
        self._waits: dict[tuple[int, int, int], EventWait] = {}
        self._unfinished: set[int] = set()
        self._wakes: list[tuple[int, int]] = []
        """(wake_at, run key), in order; so are the other lists that are bisected."""
        self._under_way: dict[LimitGroup, set[int]] = {}
        self._queues: dict[LimitGroup, list[tuple[int, int]]] = {}
        """(minus the priority, run key)."""
        self._begun: dict[LimitGroup, list[tuple[int, int]]] = {}
        """(started_at, run key)."""
        self._slot_waits: dict[str, list[SlotWait]] = {}
        self._slot_wait_of: dict[tuple[int, int], SlotWait] = {}
        self._slots_begun: dict[str, list[int]] = {}
        self._cache: dict[bytes, CachedResult] = {}
        self._counters: dict[str, int] = dict.fromkeys(("commits", "commits_failed", "flushes", "rows"), 0)

    @cached_property
    def tables(self) -> MemoryTables:
        """The service's tables that end with this store."""
        from segue.store.sqlite_tables import MemoryTables  # noqa: PLC0415 - most runs in memory have no service

        return MemoryTables()

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

    def _apply(self, commit: Commit) -> BaseException | None:
        error = self._refusal(commit) or self._beside(commit)
        if error is not None:
            return error
        key, head = commit.run_key, commit.head
        if commit.new_run is not None:
            self._create(key, commit.new_run)
        if commit.rows:
            self._journals.setdefault(key, []).extend(JournalRow(*row) for row in commit.rows)
            self._counters["rows"] += len(commit.rows)
        if head is not None:
            self._project(key, head)
        self._apply_slots(commit)
        for result in commit.cached:
            self._cache[result.key] = result
        for line in commit.logs:
            self._logs.setdefault(key, []).append((next(self._line_numbers), LogRow(*line)))
        for callback in commit.callbacks_opened:
            self._callbacks[callback.token_hash] = callback
        for token_hash, state in commit.callbacks_closed:
            callback = self._callbacks.get(token_hash)
            if callback is not None and callback.state == "open":
                self._callbacks[token_hash] = msgspec.structs.replace(callback, state=state)
        self._apply_messages(commit)
        return None

    def _beside(self, commit: Commit) -> BaseException | None:
        if commit.also is not None:
            try:
                self.tables.change_now(commit.also)
            except Exception as error:  # noqa: BLE001 - whatever it was, this commit alone is not kept
                return error
        return None

    def _apply_messages(self, commit: Commit) -> None:
        for message in commit.messages:
            if message.id not in self._messages:
                self._messages[message.id] = (next(self._message_numbers), Message(*message))
        for id in commit.messages_taken:
            self._messages.pop(id, None)
        for event in commit.events:
            if event.id not in self._events:
                self._events[event.id] = (next(self._event_numbers), EventRow(*event))
                self._events_open.add(event.id)
        self._events_open.difference_update(commit.events_done)
        for wait in commit.waits_opened:
            self._waits[wait[:3]] = EventWait(*wait)
        for step, generation in commit.waits_closed:
            self._waits.pop((commit.run_key, step, generation), None)

    def _refusal(self, commit: Commit) -> BaseException | None:
        """Why this commit cannot be kept, in the order in which the SQLite store finds out."""
        new = commit.new_run
        if new is not None and commit.run_key in self._runs:
            return rules.run_exists(commit.run_key)
        needs_run = bool(commit.rows or commit.head is not None or commit.callbacks_opened or commit.waits_opened)
        if new is None and needs_run and commit.run_key not in self._runs:
            return rules.unknown_run(commit.run_key)
        expected = len(self._journals.get(commit.run_key, ()))
        if any(row[0] != seq for seq, row in enumerate(commit.rows, expected)):
            return rules.journal_conflict(commit, expected)
        if new is not None and new.idempotency_key is not None:
            holder = self._runs.get(self._idempotency.get((new.workspace, new.idempotency_key), 0))
            if holder is not None and new.created_at - holder.created_at < rules.IDEMPOTENCY_KEY_MS:
                return rules.idempotency_key_taken(new.workspace, new.idempotency_key)
        if new is not None and new.run_id in self._run_keys_by_id:
            return rules.run_id_taken(new.run_id)
        opened = [callback.token_hash for callback in commit.callbacks_opened]
        if len(set(opened)) < len(opened) or any(token in self._callbacks for token in opened):
            return rules.callback_exists()
        return None

    def _create(self, key: int, new: NewRun) -> None:
        fields = {name: getattr(new, name) for name in NewRun.__struct_fields__}
        self._runs[key] = RunRecord(key=key, status=rules.FIRST_STATUS, **fields)
        self._run_keys_by_id[new.run_id] = key
        if new.idempotency_key is not None:
            self._idempotency[new.workspace, new.idempotency_key] = key
        self._index(self._runs[key], there=True)

    def _apply_slots(self, commit: Commit) -> None:
        asked = {wait.step: wait for wait in commit.slots_awaited}
        for step in (*commit.slots_left, *asked):
            wait = self._slot_wait_of.pop((commit.run_key, step), None)
            if wait is not None:
                _take(self._slot_waits, wait.slots, wait)
        for wait in asked.values():
            self._slot_wait_of[wait.run_key, wait.step] = wait
            insort(self._slot_waits.setdefault(wait.slots, []), wait)
        for one in commit.slots_begun:
            begun = self._slots_begun.setdefault(one.slots, [])
            insort(begun, one.at)
            del begun[: bisect_left(begun, one.counts_from)]

    def _project(self, key: int, head: RunHead) -> None:
        self._index(self._runs[key], there=False)
        self._runs[key] = msgspec.structs.replace(
            self._runs[key], **{name: getattr(head, name) for name in RunHead.__struct_fields__}
        )
        self._index(self._runs[key], there=True)

    def _index(self, run: RunRecord, *, there: bool) -> None:
        """Enter the run in the lists by which work is found, or take it out of them."""
        (self._unfinished.add if there and rules.is_unfinished(run) else self._unfinished.discard)(run.key)
        if run.wake_at is not None:
            _put(self._wakes, (run.wake_at, run.key), there=there)
        if run.limit_key is None:
            return
        group = LimitGroup(run.workspace, run.flow_id, run.limit_key)
        if run.status in rules.UNDER_WAY_STATUSES:
            under_way = self._under_way.setdefault(group, set())
            (under_way.add if there else under_way.discard)(run.key)
        if rules.is_in_queue(run):
            queue = self._queues.setdefault(group, [])
            _put(queue, (-run.priority, run.key), there=there)
            if not queue:
                del self._queues[group]
        if run.started_at is not None:
            _put(self._begun.setdefault(group, []), (run.started_at, run.key), there=there)

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


def _put(ordered: list[tuple[int, int]], entry: tuple[int, int], *, there: bool) -> None:
    """Enter something in an ordered list, or take it out."""
    place = bisect_left(ordered, entry)
    is_there = place < len(ordered) and ordered[place] == entry
    if there and not is_there:
        ordered.insert(place, entry)
    elif is_there and not there:
        del ordered[place]


def _take(by_slots: dict[str, list[SlotWait]], slots: str, wait: SlotWait) -> None:
    waits = by_slots[slots]
    del waits[bisect_left(waits, wait)]
    if not waits:
        del by_slots[slots]


def _ignore(commit: Commit, error: BaseException | None) -> None:
    """Log lines come without a promise."""
