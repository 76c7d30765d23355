"""What a group of commits changes, gathered as the values of a few large statements.

Why not `executemany`: SQLite is called once per statement, and around each call the driver lets go of Python's global
lock. While the event loop's thread is busy, getting it back takes up to `sys.getswitchinterval()` (5 ms). A row per
call then means 5 ms a row (measured beside a busy thread: 590 rows/s), a group per call 5 ms a group (30,000 rows/s).
So all rows of a table go in one statement, whose number of rows is a power of two (few texts, all in the statement
cache); the places left over are filled with NULL and dropped by the statement itself.
"""

from __future__ import annotations

from typing import TypeAlias

import apsw

from segue.store.port import CachedResult, CallbackRow, Commit, NewRun, RunHead, SlotBegun, SlotWait
from segue.store.rules import FIRST_STATUS

Value: TypeAlias = "int | str | bytes | None"
Statement: TypeAlias = "tuple[str, list[Value]]"


class WideStatement:
    """One statement for up to `rows_max` rows of `width` values. `text` holds `{values}` where the rows stand."""

    def __init__(self, text: str, *, width: int, rows_max: int, one: str | None = None) -> None:
        row = f"({','.join('?' * width)})"
        sizes = [1 << power for power in range(rows_max.bit_length()) if 1 << power <= rows_max]
        self._texts = {size: text.replace("{values}", ",".join([row] * size)) for size in sizes}
        if one is not None:
            self._texts[1] = one.replace("{values}", row)
        self._width = width
        self._rows_max = sizes[-1]

    def of(self, values: list[Value]) -> list[Statement]:
        """The statements that carry these values, row after row. The list is used up."""
        width = self._width
        rows = len(values) // width
        if rows > self._rows_max:
            cut = self._rows_max * width
            return [part for start in range(0, len(values), cut) for part in self.of(values[start : start + cut])]
        if not rows:
            return []
        size = 1 << (rows - 1).bit_length()
        values += [None] * ((size - rows) * width)
        return [(self._texts[size], values)]


def _insert(table: str, width: int, *, rows_max: int) -> WideStatement:
    return WideStatement(
        f"INSERT INTO {table} SELECT * FROM (VALUES {{values}}) WHERE column1 IS NOT NULL",  # noqa: S608 - our own constants
        width=width,
        rows_max=rows_max,
        one=f"INSERT INTO {table} VALUES {{values}}",  # noqa: S608
    )


_JOURNAL = _insert("journal", 6, rows_max=512)
_RUNS = _insert("run", 18, rows_max=64)
_LOGS = _insert("log_line(run_key, at, level, step, message, data)", 6, rows_max=128)
_CALLBACKS = _insert("callback", 9, rows_max=64)
_BLOBS = WideStatement("INSERT INTO blob VALUES {values} ON CONFLICT (hash) DO NOTHING", width=3, rows_max=1)
# UPDATE … FROM joins by row id; a NULL key meets no run.
_HEADS = WideStatement(
    "UPDATE run SET status = v.column2, started_at = v.column3, finished_at = v.column4, wake_at = v.column5,"
    " recovered = v.column6, error = v.column7 FROM (VALUES {values}) AS v WHERE run.key = v.column1",
    width=7,
    rows_max=128,
)
# A callback's state changes once: what is used, expired or cancelled stays so.
_CLOSED = WideStatement(
    "UPDATE callback SET state = v.column2 FROM (VALUES {values}) AS v"
    " WHERE callback.token_hash = v.column1 AND callback.state = 'open'",
    width=2,
    rows_max=64,
)
_WAITS = _insert("event_wait", 7, rows_max=64)
_MESSAGES = WideStatement(
    "INSERT INTO message(id, run_id, kind, at, data) SELECT * FROM (VALUES {values}) WHERE column1 IS NOT NULL"
    " ON CONFLICT (id) DO NOTHING",
    width=5,
    rows_max=128,
)
_TAKEN = WideStatement("DELETE FROM message WHERE id IN (SELECT column1 FROM (VALUES {values}))", width=1, rows_max=128)
_EVENTS = WideStatement(
    "INSERT INTO event(id, workspace, name, at, source, data) SELECT * FROM (VALUES {values})"
    " WHERE column1 IS NOT NULL ON CONFLICT (id) DO NOTHING",
    width=6,
    rows_max=128,
)
_DONE = WideStatement(
    "UPDATE event SET done = 1 WHERE id IN (SELECT column1 FROM (VALUES {values}))", width=1, rows_max=128
)
_UNWAITED = WideStatement(
    "DELETE FROM event_wait WHERE (run_key, step, generation) IN (SELECT * FROM (VALUES {values}))",
    width=3,
    rows_max=64,
)
_SLOT_WAITS = WideStatement(
    "INSERT INTO slot_wait SELECT * FROM (VALUES {values}) WHERE column1 IS NOT NULL"
    " ON CONFLICT (run_key, step) DO UPDATE SET slots = excluded.slots, since = excluded.since",
    width=4,
    rows_max=128,
)
_SLOTS_LEFT = WideStatement("DELETE FROM slot_wait WHERE (run_key, step) IN (VALUES {values})", width=2, rows_max=128)
_SLOTS_BEGUN = _insert("slot_begun", 2, rows_max=128)
_SLOTS_FORGOTTEN = WideStatement(
    "DELETE FROM slot_begun WHERE rowid IN (SELECT b.rowid FROM (VALUES {values}) AS v"
    " JOIN slot_begun AS b ON b.slots = v.column1 AND b.at < v.column2)",
    width=2,
    rows_max=64,
)
_CACHED = WideStatement("INSERT OR REPLACE INTO result_cache VALUES {values}", width=5, rows_max=1)
CACHE_CLEARED_MAX = 100
"""Expired results that go with each new one."""
_CACHE_EXPIRED = "DELETE FROM result_cache WHERE key IN (SELECT key FROM result_cache WHERE expires_at <= ? LIMIT ?)"


class Batch:
    """The values gathered for one transaction. Lists are flat: row after row."""

    __slots__ = (
        "begun", "blobs", "cached", "callbacks", "closed", "counts_from", "done", "events", "heads", "journal", "logs",
        "messages", "runs", "slot_waits", "taken", "unwaited", "waits",
    )  # fmt: skip

    def __init__(self) -> None:
        self.journal: list[Value] = []
        self.runs: list[Value] = []
        self.heads: dict[int, RunHead] = {}
        """By run key; the last head of a group is the one that counts."""
        self.logs: list[Value] = []
        self.callbacks: list[Value] = []
        self.closed: dict[bytes, str] = {}
        """New state by token hash; the first one of a group counts, as a callback is closed once."""
        self.messages: list[Value] = []
        self.taken: list[Value] = []
        self.events: list[Value] = []
        self.done: list[Value] = []
        self.waits: list[Value] = []
        self.unwaited: list[Value] = []
        self.blobs: dict[str, tuple[bytes, int]] = {}
        """By hash: compressed bytes and plain length."""
        self.slot_waits: dict[tuple[int, int], SlotWait | None] = {}
        """By run key and step; None: it waits no more. The last word of a group counts."""
        self.begun: list[Value] = []
        self.counts_from: dict[str, int] = {}
        self.cached: dict[bytes, tuple[CachedResult, Value]] = {}
        """By key: the result, and what stands for its data."""

    @property
    def journal_rows(self) -> int:
        """Journal rows gathered so far."""
        return len(self.journal) // 6

    def add_run(self, key: int, run: NewRun, head: RunHead | None) -> None:
        """A run's row, in the order of the table's columns."""
        self.runs += (
            *(key, run.run_id, run.workspace, run.flow_id, run.flow_version, run.trigger, run.created_at),
            *(run.idempotency_key, run.request_digest, run.parent_run_id),
            *((FIRST_STATUS, None, None, None, 0, None) if head is None else _head_values(head)),
            *(run.limit_key, run.priority),
        )

    def add_callback(self, row: CallbackRow) -> None:
        """An opened callback, in the order of the table's columns."""
        self.closed.pop(row.token_hash, None)  # what was closed before it was opened closed nothing
        self.callbacks += (row.token_hash, row.run_key, row.step, row.generation)
        self.callbacks += (row.step_path, row.expires_at, row.created_at, row.state, row.correlation)

    def add_messages(self, commit: Commit) -> None:
        """What a commit sends to other runs and takes from them, events, and who waits for one."""
        for message in commit.messages:
            self.messages += message
        self.taken += commit.messages_taken
        for event in commit.events:
            self.events += event
        self.done += commit.events_done
        for wait in commit.waits_opened:
            self.waits += wait
        for step, generation in commit.waits_closed:
            self.unwaited += (commit.run_key, step, generation)

    def add_slots(self, commit: Commit) -> None:
        """What the commit says of steps that wait for slots."""
        for step in commit.slots_left:
            self.slot_waits[commit.run_key, step] = None
        for wait in commit.slots_awaited:
            self.slot_waits[wait.run_key, wait.step] = wait
        for one in commit.slots_begun:
            self.add_begun(one)

    def add_begun(self, one: SlotBegun) -> None:
        """An attempt that counts against a rate."""
        self.begun += (one.slots, one.at)
        self.counts_from[one.slots] = max(one.counts_from, self.counts_from.get(one.slots, 0))

    def statements(self) -> list[Statement]:
        """All that is to be done, in an order in which things are opened before they are closed. Empty: nothing."""
        done = _JOURNAL.of(self.journal)
        if self.runs:
            done += _RUNS.of(self.runs)
        if self.heads:
            heads: list[Value] = []
            for key, head in self.heads.items():
                heads.append(key)
                heads += _head_values(head)
            done += _HEADS.of(heads)
        if self.logs:
            done += _LOGS.of(self.logs)
        if self.callbacks:
            done += _CALLBACKS.of(self.callbacks)
        if self.closed:
            done += _CLOSED.of([value for pair in self.closed.items() for value in pair])
        for rows, statement in (
            (self.messages, _MESSAGES), (self.taken, _TAKEN), (self.events, _EVENTS), (self.done, _DONE),
            (self.waits, _WAITS), (self.unwaited, _UNWAITED),
        ):  # fmt: skip
            if rows:
                done += statement.of(rows)
        done += self._slot_statements()
        for digest, (data, size) in self.blobs.items():
            done += _BLOBS.of([digest, data, size])
        return done

    def _slot_statements(self) -> list[Statement]:
        left: list[Value] = []
        waits: list[Value] = []
        for (run_key, step), wait in self.slot_waits.items():
            if wait is None:
                left += (run_key, step)
            else:
                waits += (run_key, step, wait.slots, wait.since)
        done = [*_SLOTS_LEFT.of(left), *_SLOT_WAITS.of(waits)] if self.slot_waits else []
        if self.begun:
            done += _SLOTS_BEGUN.of(self.begun)
            done += _SLOTS_FORGOTTEN.of([value for pair in self.counts_from.items() for value in pair])
        for result, data in self.cached.values():
            done.append((_CACHE_EXPIRED, [result.at, CACHE_CLEARED_MAX]))
            done += _CACHED.of([result.key, result.run_id, result.at, result.expires_at, data])
        return done


def _head_values(head: RunHead) -> tuple[Value, ...]:
    return (head.status, head.started_at, head.finished_at, head.wake_at, int(head.recovered), head.error)


def is_stored_blob(db: apsw.Connection, digest: str) -> bool:
    """Whether a payload is in the database already."""
    return db.execute("SELECT 1 FROM blob WHERE hash = ?", (digest,)).get is not None
