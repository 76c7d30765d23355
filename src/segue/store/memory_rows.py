"""What the memory store keeps, and what a commit makes of it: the twin of `segue.store.writer`.

All is in dictionaries and ordered lists. A commit changes them at once or, if it is refused, not at all.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left, insort
from functools import cached_property
from typing import TYPE_CHECKING

import msgspec

from segue.store import rules
from segue.store.port import (
    CachedResult,
    CallbackRow,
    Commit,
    EventRow,
    EventWait,
    FlowVersion,
    JournalRow,
    LimitGroup,
    LogRow,
    Message,
    NewRun,
    RunHead,
    RunRecord,
    SlotWait,
)

if TYPE_CHECKING:
    from segue.store.sqlite_tables import MemoryTables


class MemoryRows:
    """The rows of a `MemoryStore`, which asks and changes them."""

    def __init__(self) -> None:
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
