"""Reading from SQLite: a few read-only connections in a small thread pool, beside the writer and never in its way.

Every question is one statement that answers with one JSON text, which msgspec turns into records. One answer in one
row rather than a row at a time, because each row is a call of SQLite that gives up Python's global lock and, beside a
busy event loop, waits up to 5 ms to have it back (see `segue.store.batch`).
"""

from __future__ import annotations

import asyncio
import zlib
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import apsw
import msgspec

from segue.errors import JournalCorruptError
from segue.store.port import (
    CachedResult,
    CallbackRow,
    EventRow,
    EventWait,
    FlowVersion,
    JournalRow,
    LimitGroup,
    LogRow,
    Message,
    RunRecord,
    SlotWait,
)
from segue.store.sqlite_file import open_for_reading
from segue.store.writer import unavailable

READERS = 2
JOURNAL_ROWS_A_STATEMENT = 512
"""Bounds one answer: rows of at most 64 KiB, doubled by hexadecimal, make 64 MiB at worst."""

T = TypeVar("T")
_BIND = tuple["int | str | bytes | None", ...]

_RUN_FIELDS = ",".join(
    "'recovered', json(iif(recovered, 'true', 'false'))" if field == "recovered" else f"'{field}', \"{field}\""
    for field in RunRecord.__struct_fields__
)
RUNS = f"SELECT json_group_array(json_object({_RUN_FIELDS})) FROM (SELECT * FROM run {{chosen}})"  # noqa: S608
RUNS_FOUND = f"SELECT json_group_array(json_object({_RUN_FIELDS})) FROM (SELECT run.* {{chosen}})"  # noqa: S608

RUN_BY_ID = RUNS.format(chosen="WHERE run_id = ?")
RUN_BY_KEY = RUNS.format(chosen="WHERE key = ?")
RUN_BY_IDEMPOTENCY_KEY = RUNS.format(
    chosen="WHERE key = (SELECT run_key FROM idempotency WHERE idempotency.workspace = ? AND idempotency.key = ?)"
)
UNFINISHED = RUNS.format(
    chosen="INDEXED BY run_unfinished WHERE key > ? AND"
    " (status = 'running' OR (status = 'queued' AND limit_key IS NULL AND wake_at IS NULL)) ORDER BY key LIMIT ?"
)
DUE = RUNS.format(chosen="INDEXED BY run_by_wake_at WHERE wake_at <= ? ORDER BY wake_at LIMIT ?")
NEXT_WAKE_AT = "SELECT min(wake_at) FROM run WHERE wake_at IS NOT NULL"
# The index leads from one workspace to the next without looking at the runs between.
WORKSPACES = """WITH RECURSIVE w(name) AS (
    SELECT min(workspace) FROM run
    UNION ALL
    SELECT (SELECT min(workspace) FROM run WHERE workspace > w.name) FROM w WHERE w.name IS NOT NULL
) SELECT json_group_array(name) FROM w WHERE name IS NOT NULL"""
COUNT_RUNS = """SELECT json_group_object(status, number) FROM (
    SELECT status, count(*) AS number FROM run WHERE workspace = ? GROUP BY status)"""
_OF_GROUP = "workspace = ? AND flow_id = ? AND limit_key = ? AND limit_key IS NOT NULL"
_UNDER_WAY = "status IN ('running', 'waiting', 'paused')"
_IN_QUEUE = "limit_key IS NOT NULL AND status = 'queued' AND wake_at IS NULL"
UNDER_WAY = f"""SELECT json_group_array(key) FROM (
    SELECT key FROM run INDEXED BY run_under_way WHERE {_OF_GROUP} AND {_UNDER_WAY} ORDER BY key)"""  # noqa: S608
QUEUED = RUNS.format(
    chosen=f"INDEXED BY run_queue WHERE workspace = ? AND flow_id = ? AND limit_key = ? AND {_IN_QUEUE}"
    " ORDER BY priority DESC, key LIMIT ?"
)
BEGUN = f"""SELECT count(*), min(started_at) FROM (
    SELECT started_at FROM run INDEXED BY run_begun WHERE {_OF_GROUP} AND started_at > ?
    ORDER BY started_at DESC LIMIT ?)"""  # noqa: S608
# One statement a group: the index leads from one to the next without looking at the runs between.
NEXT_QUEUE_GROUP = f"""SELECT json_array(workspace, flow_id, limit_key) FROM run INDEXED BY run_queue
    WHERE {_IN_QUEUE} AND (workspace, flow_id, limit_key) > (?, ?, ?)
    ORDER BY workspace, flow_id, limit_key LIMIT 1"""  # noqa: S608
SLOT_WAITS = """SELECT json_group_array(json_array(slots, since, run_key, step)) FROM (
    SELECT * FROM slot_wait WHERE slots = ? ORDER BY since, run_key, step LIMIT ?)"""
SLOTS_BEGUN = """SELECT count(*), min(at) FROM (
    SELECT at FROM slot_begun WHERE slots = ? AND at > ? ORDER BY at DESC LIMIT ?)"""
AWAITED_SLOTS = """WITH RECURSIVE s(name, n) AS (
    SELECT (SELECT min(slots) FROM slot_wait WHERE slots > ?1), 1
    UNION ALL
    SELECT (SELECT min(slots) FROM slot_wait WHERE slots > s.name), n + 1 FROM s WHERE s.name IS NOT NULL AND n < ?2
) SELECT json_group_array(name) FROM s WHERE name IS NOT NULL"""
CACHED = """SELECT key, run_id, at, expires_at, CAST(data AS BLOB), typeof(data) = 'text' FROM result_cache
    WHERE key = ? AND expires_at > ?"""
JOURNAL = """SELECT json_group_array(json_array(seq, kind, step, at, hex(data), typeof(data) = 'text'))
    FROM (SELECT * FROM journal WHERE run_key = ? AND seq > ? ORDER BY seq LIMIT ?)"""
JOURNAL_ASIDE = """SELECT set_aside_at, seq, kind, step, at, data FROM journal_aside
    WHERE run_key = ? ORDER BY set_aside_at, seq"""
BLOB = "SELECT data FROM blob WHERE hash = ?"
LOGS = """SELECT json_group_array(json_array(n, at, level, step, message, hex(data)))
    FROM (SELECT * FROM log_line WHERE run_key = ? AND n > ? ORDER BY n LIMIT ?)"""
_CALLBACKS = (
    "SELECT token_hash, run_key, step, generation, step_path, expires_at, created_at, state, correlation FROM callback"
)
CALLBACK = f"{_CALLBACKS} WHERE token_hash = ?"
CALLBACKS_OF_RUN = f"{_CALLBACKS} WHERE run_key = ? ORDER BY created_at, token_hash"
CALLBACKS_BY_CORRELATION = f"{_CALLBACKS} WHERE correlation = ? AND state = 'open' ORDER BY created_at, token_hash"
_FLOW_VERSIONS = "SELECT key, workspace, flow_id, digest, version, model, source, created_at FROM flow_version"
FLOW_VERSION = f"{_FLOW_VERSIONS} WHERE key = ?"
NEWEST_FLOW_VERSION = f"{_FLOW_VERSIONS} WHERE workspace = ? AND flow_id = ? ORDER BY key DESC LIMIT 1"
NEWEST_OF_VERSION = f"{_FLOW_VERSIONS} WHERE workspace = ? AND flow_id = ? AND version = ? ORDER BY key DESC LIMIT 1"
MESSAGES = """SELECT json_group_array(json_array(n, id, run_id, kind, at, hex(data)))
    FROM (SELECT * FROM message WHERE n > ? ORDER BY n LIMIT ?)"""
_EVENT = "json_array(n, id, workspace, name, at, source, hex(data))"
_EVENTS = f"SELECT json_group_array({_EVENT}) FROM (SELECT * FROM event WHERE {{chosen}} LIMIT ?)"  # noqa: S608
EVENTS_OPEN = _EVENTS.format(chosen="done = 0 AND n > ? ORDER BY n")
EVENTS_SINCE = _EVENTS.format(chosen="workspace = ? AND name = ? AND at >= ? ORDER BY at, n")
_WAIT = "json_array(run_key, step, generation, workspace, name, since, began)"
_WAITS = f"""SELECT json_group_array({_WAIT}) FROM (SELECT * FROM event_wait
    WHERE {{chosen}} AND (run_key, step) > (?, ?) ORDER BY run_key, step, generation LIMIT ?)"""  # noqa: S608
EVENT_WAITS = _WAITS.format(chosen="workspace = ? AND name = ?")
BUFFERED_WAITS = _WAITS.format(chosen="since < began")
SETTING = "SELECT value FROM setting WHERE name = ?"

_decode_runs = msgspec.json.Decoder(list[RunRecord]).decode
_decode_journal = msgspec.json.Decoder(list[tuple[int, int, int, int, str, int]]).decode
_decode_logs = msgspec.json.Decoder(list[tuple[int, int, str, str, str, str]]).decode
_decode_messages = msgspec.json.Decoder(list[tuple[int, str, str, str, int, str]]).decode
_decode_events = msgspec.json.Decoder(list[tuple[int, str, str, str, int, str | None, str]]).decode
_decode_waits = msgspec.json.Decoder(list[tuple[int, int, int, str, str, int, int]]).decode
_decode_keys = msgspec.json.Decoder(list[int]).decode
_decode_group = msgspec.json.Decoder(LimitGroup).decode
_decode_slot_waits = msgspec.json.Decoder(list[SlotWait]).decode
_decode_names = msgspec.json.Decoder(list[str]).decode
_decode_counts = msgspec.json.Decoder(dict[str, int]).decode


class Readers:
    """The connections and their threads."""

    def __init__(self, path: Path) -> None:
        # As many as threads, so that a thread always finds one.
        self._free = deque(open_for_reading(path) for _ in range(READERS))
        self._pool = ThreadPoolExecutor(READERS, thread_name_prefix="segue-store-reader")

    async def ask(self, question: Callable[[apsw.Connection], T]) -> T:
        """Run a function in a reader's thread. Raises StoreUnavailableError for errors of the database."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._answer, question)

    async def close(self) -> None:
        """Wait for what is being read, then let go."""
        await asyncio.to_thread(self._pool.shutdown)
        while self._free:
            self._free.pop().close()

    def _answer(self, question: Callable[[apsw.Connection], T]) -> T:
        db = self._free.pop()
        try:
            return question(db)
        except apsw.Error as error:
            raise unavailable(error) from error
        finally:
            self._free.append(db)


def runs(db: apsw.Connection, text: str, values: _BIND) -> list[RunRecord]:
    """The runs of a statement made from `RUNS`."""
    return _decode_runs(db.execute(text, values).get)


def one_run(db: apsw.Connection, text: str, values: _BIND) -> RunRecord | None:
    """The only run of a statement made from `RUNS`, if there is one."""
    found = runs(db, text, values)
    return found[0] if found else None


def count_runs(db: apsw.Connection, workspace: str | None) -> dict[str, int]:
    """Number of runs by status, added over the workspaces."""
    counts: dict[str, int] = {}
    with one_moment(db):
        for name in workspaces(db, workspace):
            for status, number in _decode_counts(db.execute(COUNT_RUNS, (name,)).get).items():
                counts[status] = counts.get(status, 0) + number
    return counts


def journal(db: apsw.Connection, run_key: int, after_seq: int, limit: int | None) -> list[JournalRow]:
    """A run's journal with its large payloads put back in place."""
    found: list[JournalRow] = []
    while limit is None or len(found) < limit:
        wanted = JOURNAL_ROWS_A_STATEMENT if limit is None else min(JOURNAL_ROWS_A_STATEMENT, limit - len(found))
        rows = _decode_journal(db.execute(JOURNAL, (run_key, after_seq, wanted)).get)
        for seq, kind, step, at, hexadecimal, is_hash in rows:
            data = bytes.fromhex(hexadecimal)
            found.append(JournalRow(seq, kind, step, at, _payload(db, run_key, seq, data) if is_hash else data))
        if len(rows) < wanted:
            break
        after_seq = rows[-1][0]
    return found


def journal_aside(db: apsw.Connection, run_key: int) -> list[tuple[int, JournalRow]]:
    """What was put aside of a run's journal; the hash stands for a payload that is kept beside it."""
    return [
        (at, JournalRow(seq, kind, step, row_at, data if isinstance(data, bytes) else str(data).encode()))
        for at, seq, kind, step, row_at, data in db.execute(JOURNAL_ASIDE, (run_key,))
    ]


def logs(db: apsw.Connection, run_key: int, after: int, limit: int) -> list[tuple[int, LogRow]]:
    """A run's log lines with their numbers."""
    rows = _decode_logs(db.execute(LOGS, (run_key, after, limit)).get)
    return [(n, LogRow(at, level, step, message, bytes.fromhex(data))) for n, at, level, step, message, data in rows]


def messages(db: apsw.Connection, after: int, limit: int) -> list[tuple[int, Message]]:
    """Messages between runs with their numbers."""
    rows = _decode_messages(db.execute(MESSAGES, (after, limit)).get)
    return [(n, Message(id, run_id, kind, at, bytes.fromhex(data))) for n, id, run_id, kind, at, data in rows]


def events(db: apsw.Connection, text: str, values: _BIND) -> list[tuple[int, EventRow]]:
    """Events of a statement made from the event columns, with their numbers."""
    rows = _decode_events(db.execute(text, values).get)
    return [
        (n, EventRow(id, workspace, name, at, source, bytes.fromhex(data)))
        for n, id, workspace, name, at, source, data in rows
    ]


def event_waits(db: apsw.Connection, text: str, values: _BIND) -> list[EventWait]:
    """Waits of a statement made from the wait columns."""
    return [EventWait(*row) for row in _decode_waits(db.execute(text, values).get)]


def callbacks(db: apsw.Connection, text: str, value: bytes | int | str) -> list[CallbackRow]:
    """Callbacks of a statement made from the callback columns."""
    return [
        CallbackRow(
            token_hash=token_hash,
            run_key=run_key,
            step=step,
            generation=generation,
            step_path=step_path,
            expires_at=expires_at,
            created_at=created_at,
            state=state,
            correlation=correlation,
        )
        for token_hash, run_key, step, generation, step_path, expires_at, created_at, state, correlation in db.execute(
            text, (value,)
        )
    ]


def under_way(db: apsw.Connection, group: LimitGroup) -> list[int]:
    """Keys of the runs that hold a slot."""
    return _decode_keys(db.execute(UNDER_WAY, group).get)


def queue_groups(db: apsw.Connection, after: LimitGroup | None, limit: int) -> list[LimitGroup]:
    """The groups with queued runs, each found by one step in the index."""
    found: list[LimitGroup] = []
    last = after or LimitGroup("", "", "")
    while len(found) < limit and (row := db.execute(NEXT_QUEUE_GROUP, last).get) is not None:
        last = _decode_group(row)
        found.append(last)
    return found


def begun(db: apsw.Connection, text: str, values: _BIND) -> tuple[int, int | None]:
    """How many began, and when the first of them did."""
    row = db.execute(text, values).fetchone()
    return msgspec.convert(row, tuple[int, int | None])


def slot_waits(db: apsw.Connection, slots: str, limit: int) -> list[SlotWait]:
    """The steps that wait, in order."""
    return _decode_slot_waits(db.execute(SLOT_WAITS, (slots, limit)).get)


def awaited_slots(db: apsw.Connection, after: str, limit: int) -> list[str]:
    """What steps wait for slots of."""
    return _decode_names(db.execute(AWAITED_SLOTS, (after, limit)).get)


def cached(db: apsw.Connection, key: bytes, now: int) -> CachedResult | None:
    """The result under a key, its payload put back in place; one whose payload is gone is none."""
    row = db.execute(CACHED, (key, now)).fetchone()
    if row is None:
        return None
    found_key, run_id, at, expires_at, data, is_hash = msgspec.convert(row, tuple[bytes, str, int, int, bytes, int])
    if is_hash:
        compressed: bytes | None = db.execute(BLOB, (data.decode(),)).get
        if compressed is None:
            return None
        data = zlib.decompress(compressed)
    return CachedResult(key=found_key, run_id=run_id, at=at, expires_at=expires_at, data=data)


def flow_version(db: apsw.Connection, key: int) -> FlowVersion | None:
    """A flow version by its key."""
    return flow_version_from_row(db.execute(FLOW_VERSION, (key,)).fetchone())


def newest_flow_version(db: apsw.Connection, workspace: str, flow_id: str, version: str | None) -> FlowVersion | None:
    """The newest version of a workspace's flow, or the newest of those that bear a number."""
    if version is None:
        return flow_version_from_row(db.execute(NEWEST_FLOW_VERSION, (workspace, flow_id)).fetchone())
    return flow_version_from_row(db.execute(NEWEST_OF_VERSION, (workspace, flow_id, version)).fetchone())


def flow_version_from_row(row: Sequence[object] | None) -> FlowVersion | None:
    """A flow version from its columns in the table's order."""
    fields = FlowVersion.__struct_fields__
    return None if row is None else msgspec.convert(dict(zip(fields, row, strict=True)), FlowVersion)


def workspaces(db: apsw.Connection, workspace: str | None) -> list[str]:
    """The one that is named, or all that have runs."""
    return [workspace] if workspace is not None else _decode_names(db.execute(WORKSPACES).get)


@contextmanager
def one_moment(db: apsw.Connection) -> Generator[None]:
    """Let several statements see the same state, so that a run that changes meanwhile is not met twice."""
    db.execute("BEGIN")
    try:
        yield
    finally:
        db.execute("COMMIT")


def _payload(db: apsw.Connection, run_key: int, seq: int, digest: bytes) -> bytes:
    compressed: bytes | None = db.execute(BLOB, (digest.decode(),)).get
    if compressed is None:
        raise JournalCorruptError(
            f"Run {run_key}: the payload of event {seq} is missing from the database.", last_valid_seq=seq - 1
        )
    return zlib.decompress(compressed)
