"""The store in a SQLite file: WAL, one writer thread with group commit, readers on connections of their own."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

import apsw

from segue.errors import StoreUnavailableError
from segue.store import readers, run_lists
from segue.store.host_lock import HostLock
from segue.store.packing import Packing
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
from segue.store.readers import Readers
from segue.store.sqlite_file import Synchronous, open_for_writing, prepare_folder
from segue.store.writer import Writer, unavailable

QUEUED_LOG_LINES_MAX = 100_000
"""Log lines outside of decisions that may wait for the writer; more are dropped and counted (`log_lines_dropped`)."""

_NEXT_KEY = """SELECT 1 + max(coalesce((SELECT max(key) FROM run), 0), coalesce((SELECT max(run_key) FROM journal), 0),
    coalesce((SELECT max(run_key) FROM log_line INDEXED BY log_line_by_run), 0))"""

_PUT_SETTING = """INSERT INTO setting VALUES (?1, ?2)
    ON CONFLICT (name) DO UPDATE SET value = iif(?3, value, excluded.value) RETURNING value"""

_DROP_EVENTS = """DELETE FROM event WHERE done = 1 AND (at < ?1 OR n <= (
    SELECT n FROM event WHERE done = 1 ORDER BY n DESC LIMIT 1 OFFSET ?2))"""

T = TypeVar("T")


class SqliteStore:
    """A `Store` in the file `path`. Its host lock is taken by `open` and published by whoever serves (`host_lock`)."""

    def __init__(self, path: Path, *, synchronous: Synchronous = "FULL") -> None:
        self.path = path.absolute()
        self._synchronous: Synchronous = synchronous
        self._host_lock: HostLock | None = None
        self._writer: Writer | None = None
        self._packing: Packing | None = None
        self._readers: Readers | None = None
        self._run_keys = itertools.count(1)
        self._log_lines_queued = 0
        self._log_lines_dropped = 0

    @property
    def host_lock(self) -> HostLock:
        """The lock of an open store, for `publish`."""
        if self._host_lock is None:
            raise self._closed()
        return self._host_lock

    async def open(self) -> None:
        """See `Store.open`. Raises StoreUnavailableError for a file that cannot be used, DatabaseHostedError if
        taken.
        """
        if self._host_lock is not None:
            return
        loop = asyncio.get_running_loop()
        self._host_lock, self._readers, db, next_key = await asyncio.to_thread(self._open)
        self._run_keys = itertools.count(next_key)
        self._writer = Writer(db, loop)
        self._packing = Packing(self._writer.submit)

    def _open(self) -> tuple[HostLock, Readers, apsw.Connection, int]:
        prepare_folder(self.path)
        with ExitStack() as undo:
            lock = HostLock.acquire(self.path)
            undo.callback(lock.release)
            db = open_for_writing(self.path, self._synchronous)
            undo.callback(db.close)
            try:
                opened = lock, Readers(self.path), db, db.execute(_NEXT_KEY).get
            except apsw.Error as error:
                raise unavailable(error) from error
            undo.pop_all()
            return opened

    async def close(self) -> None:
        """See `Store.close`."""
        writer, packing, opened, lock = self._writer, self._packing, self._readers, self._host_lock
        self._writer = self._packing = self._readers = self._host_lock = None
        if opened is not None:
            await opened.close()
        if packing is not None:
            await packing.close()
        if writer is not None:
            await writer.close()
        if lock is not None:
            lock.release()

    def next_run_key(self) -> int:
        """See `Store.next_run_key`."""
        return next(self._run_keys)

    def commit(self, commit: Commit, done: CommitDone) -> None:
        """See `Store.commit`. A closed store fails the commit, on the loop like any other."""
        packing = self._packing
        if packing is not None:
            packing.submit(commit, done)
        else:
            asyncio.get_running_loop().call_soon(done, commit, self._closed())

    def log(self, run_key: int, rows: Sequence[LogRow]) -> None:
        """See `Store.log`."""
        if self._writer is None or self._log_lines_queued + len(rows) > QUEUED_LOG_LINES_MAX:
            self._log_lines_dropped += len(rows)
            return
        self._log_lines_queued += len(rows)
        self._writer.submit(Commit(run_key=run_key, rows=(), logs=rows), self._logged)

    def _logged(self, commit: Commit, error: BaseException | None) -> None:
        self._log_lines_queued -= len(commit.logs)
        if error is not None:
            self._log_lines_dropped += len(commit.logs)

    async def put_flow_version(self, version: FlowVersion) -> FlowVersion:
        """See `Store.put_flow_version`."""

        def put(db: apsw.Connection) -> FlowVersion:
            row = db.execute(
                "INSERT INTO flow_version(workspace, flow_id, digest, version, model, source, created_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)"
                # Not DO NOTHING: only a row that was touched comes back.
                " ON CONFLICT (workspace, flow_id, digest) DO UPDATE SET digest = excluded.digest"
                " RETURNING key, workspace, flow_id, digest, version, model, source, created_at",
                (
                    version.workspace,
                    version.flow_id,
                    version.digest,
                    version.version,
                    version.model,
                    version.source,
                    version.created_at,
                ),
            ).fetchone()
            kept = readers.flow_version_from_row(row)
            assert kept is not None, "RETURNING gives the row"
            return kept

        return await self.write(put)

    async def get_flow_version(self, key: int) -> FlowVersion | None:
        """See `Store.get_flow_version`."""
        return await self.read(lambda db: readers.flow_version(db, key))

    async def get_run(self, run_id: str) -> RunRecord | None:
        """See `Store.get_run`."""
        return await self.read(lambda db: readers.one_run(db, readers.RUN_BY_ID, (run_id,)))

    async def get_run_by_key(self, key: int) -> RunRecord | None:
        """See `Store.get_run_by_key`."""
        return await self.read(lambda db: readers.one_run(db, readers.RUN_BY_KEY, (key,)))

    async def find_run_by_idempotency_key(self, workspace: str, key: str) -> RunRecord | None:
        """See `Store.find_run_by_idempotency_key`."""
        return await self.read(lambda db: readers.one_run(db, readers.RUN_BY_IDEMPOTENCY_KEY, (workspace, key)))

    async def list_runs(self, where: RunFilter, *, limit: int = 50, cursor: str | None = None) -> RunPage:
        """See `Store.list_runs`."""
        return await self.read(lambda db: run_lists.run_page(db, where, limit, cursor))

    async def count_runs(self, workspace: str | None = None) -> dict[str, int]:
        """See `Store.count_runs`."""
        return await self.read(lambda db: readers.count_runs(db, workspace))

    async def unfinished_runs(self, *, after_key: int = 0, limit: int = 1000) -> list[RunRecord]:
        """See `Store.unfinished_runs`."""
        return await self.read(lambda db: readers.runs(db, readers.UNFINISHED, (after_key, limit)))

    async def due_runs(self, now: int, *, limit: int = 1000) -> list[RunRecord]:
        """See `Store.due_runs`."""
        return await self.read(lambda db: readers.runs(db, readers.DUE, (now, limit)))

    async def next_wake_at(self) -> int | None:
        """See `Store.next_wake_at`."""
        return await self.read(lambda db: db.execute(readers.NEXT_WAKE_AT).get)

    async def runs_under_way(self, group: LimitGroup) -> list[int]:
        """See `Store.runs_under_way`."""
        return await self.read(lambda db: readers.under_way(db, group))

    async def queued_runs(self, group: LimitGroup, *, limit: int = 100) -> list[RunRecord]:
        """See `Store.queued_runs`."""
        return await self.read(lambda db: readers.runs(db, readers.QUEUED, (*group, limit)))

    async def runs_begun(self, group: LimitGroup, since: int, *, limit: int) -> tuple[int, int | None]:
        """See `Store.runs_begun`."""
        return await self.read(lambda db: readers.begun(db, readers.BEGUN, (*group, since, limit)))

    async def queue_groups(self, *, after: LimitGroup | None = None, limit: int = 1000) -> list[LimitGroup]:
        """See `Store.queue_groups`."""
        return await self.read(lambda db: readers.queue_groups(db, after, limit))

    async def slot_waits(self, slots: str, *, limit: int = 100) -> list[SlotWait]:
        """See `Store.slot_waits`."""
        return await self.read(lambda db: readers.slot_waits(db, slots, limit))

    async def slots_begun(self, slots: str, since: int, *, limit: int) -> tuple[int, int | None]:
        """See `Store.slots_begun`."""
        return await self.read(lambda db: readers.begun(db, readers.SLOTS_BEGUN, (slots, since, limit)))

    async def awaited_slots(self, *, after: str = "", limit: int = 1000) -> list[str]:
        """See `Store.awaited_slots`."""
        return await self.read(lambda db: readers.awaited_slots(db, after, limit))

    async def cached_result(self, key: bytes, now: int) -> CachedResult | None:
        """See `Store.cached_result`."""
        return await self.read(lambda db: readers.cached(db, key, now))

    async def load_journal(self, run_key: int, *, after_seq: int = -1, limit: int | None = None) -> list[JournalRow]:
        """See `Store.load_journal`."""
        return await self.read(lambda db: readers.journal(db, run_key, after_seq, limit))

    async def put_journal_aside(self, run_key: int, *, after_seq: int, at: int) -> int:
        """See `Store.put_journal_aside`."""
        if self._writer is None:
            raise self._closed()
        return await self._writer.put_aside(run_key, after_seq, at)

    async def journal_aside(self, run_key: int) -> list[tuple[int, JournalRow]]:
        """See `Store.journal_aside`."""
        return await self.read(lambda db: readers.journal_aside(db, run_key))

    async def load_logs(self, run_key: int, *, after: int = 0, limit: int = 10_000) -> list[tuple[int, LogRow]]:
        """See `Store.load_logs`."""
        return await self.read(lambda db: readers.logs(db, run_key, after, limit))

    async def find_callback(self, token_hash: bytes) -> CallbackRow | None:
        """See `Store.find_callback`."""
        found = await self.read(lambda db: readers.callbacks(db, readers.CALLBACK, token_hash))
        return found[0] if found else None

    async def callbacks_of_run(self, run_key: int) -> list[CallbackRow]:
        """See `Store.callbacks_of_run`."""
        return await self.read(lambda db: readers.callbacks(db, readers.CALLBACKS_OF_RUN, run_key))

    async def callbacks_by_correlation(self, correlation: str) -> list[CallbackRow]:
        """See `Store.callbacks_by_correlation`."""
        return await self.read(lambda db: readers.callbacks(db, readers.CALLBACKS_BY_CORRELATION, correlation))

    async def find_flow_version(self, workspace: str, flow_id: str, version: str | None = None) -> FlowVersion | None:
        """See `Store.find_flow_version`."""
        return await self.read(lambda db: readers.newest_flow_version(db, workspace, flow_id, version))

    async def messages(self, *, after: int = 0, limit: int = 1000) -> list[tuple[int, Message]]:
        """See `Store.messages`."""
        return await self.read(lambda db: readers.messages(db, after, limit))

    async def events_open(self, *, after: int = 0, limit: int = 1000) -> list[tuple[int, EventRow]]:
        """See `Store.events_open`."""
        return await self.read(lambda db: readers.events(db, readers.EVENTS_OPEN, (after, limit)))

    async def events_since(self, workspace: str, name: str, since: int, *, limit: int = 1000) -> list[EventRow]:
        """See `Store.events_since`."""
        found = await self.read(lambda db: readers.events(db, readers.EVENTS_SINCE, (workspace, name, since, limit)))
        return [event for _, event in found]

    async def event_waits(
        self, workspace: str, name: str, *, after: tuple[int, int] = (0, -1), limit: int = 1000
    ) -> list[EventWait]:
        """See `Store.event_waits`."""
        values = (workspace, name, *after, limit)
        return await self.read(lambda db: readers.event_waits(db, readers.EVENT_WAITS, values))

    async def buffered_waits(self, *, after: tuple[int, int] = (0, -1), limit: int = 1000) -> list[EventWait]:
        """See `Store.buffered_waits`."""
        return await self.read(lambda db: readers.event_waits(db, readers.BUFFERED_WAITS, (*after, limit)))

    async def drop_events(self, before: int, *, keep: int) -> int:
        """See `Store.drop_events`."""

        def drop(db: apsw.Connection) -> int:
            db.execute(_DROP_EVENTS, (before, keep))
            return db.changes()

        return await self.write(drop)

    async def get_setting(self, name: str) -> bytes | None:
        """See `Store.get_setting`."""
        return await self.read(lambda db: db.execute(readers.SETTING, (name,)).get)

    async def put_setting(self, name: str, value: bytes, *, only_if_absent: bool = False) -> bytes:
        """See `Store.put_setting`."""
        return await self.write(lambda db: db.execute(_PUT_SETTING, (name, value, only_if_absent)).get)

    async def statistics(self) -> dict[str, int]:
        """See `Store.statistics`. Also: failed commits, blobs kept, checkpoints, pages in the log, log lines
        dropped.
        """
        if self._writer is None:
            raise self._closed()
        more = {"wal_pages": self._writer.wal_pages, "log_lines_dropped": self._log_lines_dropped}
        return self._writer.counters | more

    async def read(self, question: Callable[[apsw.Connection], T]) -> T:
        """Ask the database something, on a reader's connection and in its thread."""
        if self._readers is None:
            raise self._closed()
        return await self._readers.ask(question)

    async def write(self, operation: Callable[[apsw.Connection], T]) -> T:
        """Do something in a transaction of its own, after the commits queued so far; on disk when this returns. An
        error of the operation takes back what it did and nothing else.
        """
        if self._writer is None:
            raise self._closed()
        return await self._writer.run(operation)

    def _closed(self) -> StoreUnavailableError:
        return StoreUnavailableError(f"The database {self.path} is not open here. Nothing was kept.")
