"""The one thread that writes: whatever is queued is one transaction, one flush to disk, one call back to the event
loop.

The theory. Commits are queued by the event loop's thread and taken by the writer in their order, up to `GROUP_MAX` at
once. While one group is flushed the next one gathers, so that the number of flushes falls as the load grows (group
commit). What a commit builds on is known here without asking the database: `_next_seq` holds, for each active run, the
number with which its journal goes on. A commit that does not fit fails alone, and so does all that builds on it, since
its numbers do not fit either. If a statement of the group is refused (a run id that exists, a value that cannot be
stored), the group is rolled back and done again one commit at a time, each behind a savepoint, so that only the guilty
one fails. If the disk or the database fails, all of the group fails with StoreUnavailableError and the writer goes on
with the next group.

After a failed flush (an I/O error in COMMIT itself) SQLite has taken the transaction back, and the next one overwrites
its pages in the log. Should the machine lose power exactly between the two, the failed group may be found complete:
"failed" then means "kept after all", never "kept in part".

Checkpoints (moving pages from the write-ahead log into the file) are done here, after the waiters have been woken: a
passive one for every `CHECKPOINT_PAGES` of log. Readers hold up the reuse of the log, but ours read one statement at a
time and never keep a snapshot while somebody thinks; if overlapping reads keep the log from being reused all the same,
a restarting checkpoint at `RESTART_PAGES` waits for those that are under way (new ones no longer need the log) for at
most `RESTART_WAIT_MS`. Only another program that holds a read transaction open can make the log grow beyond that; it
is logged, and shown as `wal_pages` in the statistics.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import TypeAlias, TypeVar

import apsw

from segue.errors import JournalConflictError, StoreUnavailableError
from segue.store import rules
from segue.store.batch import Batch, Value, is_stored_blob
from segue.store.file_watch import FileWatch
from segue.store.packing import Packed, pack
from segue.store.port import Commit, CommitDone, NewRun
from segue.store.sqlite_sql import changed
from segue.store.tables import Sql

GROUP_MAX = 4096
"""Commits in one transaction."""

ACTIVE_RUNS_MAX = 200_000
"""Runs whose next number is remembered; above it all are forgotten and asked for again when needed."""

CHECKPOINT_PAGES = 1000
"""4 MiB of log, SQLite's own default."""

RESTART_PAGES = 16 * CHECKPOINT_PAGES
RESTART_WAIT_MS = 250
BUSY_WAIT_MS = 5_000
"""How long another program may hold the database's write lock before a group fails."""

_ROLLBACK = "ROLLBACK"

# One commit's own fault, as opposed to the disk's or the database's.
_COMMIT_FAULTS = (apsw.ConstraintError, apsw.TooBigError, apsw.MismatchError, TypeError, ValueError, OverflowError)

Queued: TypeAlias = tuple[Commit, CommitDone]
Errors: TypeAlias = dict[int, BaseException]
"""By place in the group; a commit that is not in it was kept."""
T = TypeVar("T")
Operation: TypeAlias = "tuple[Callable[[apsw.Connection], object], asyncio.Future[object]]"
Outcome: TypeAlias = "tuple[object, BaseException | None]"

_log = logging.getLogger(__name__)


class RefusedError(Exception):
    """What a commit brings for the service's tables is not to be kept, and so nothing of the commit."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


def unavailable(error: BaseException) -> StoreUnavailableError:
    """What the store's callers see of an error of the database; the original is its cause."""
    hints: dict[type[BaseException], str] = {
        apsw.FullError: "The disk is full: free some space; what was not kept is tried again by whoever asked for it.",
        apsw.IOError: "The disk failed: see the system's log.",
        apsw.BusyError: "Another program holds the database's lock: end it.",
        apsw.ReadOnlyError: "The database is read-only: give this user the right to write the file and its folder.",
        apsw.CorruptError: "The database file is damaged: restore it from a back-up.",
        apsw.NotADBError: "The file is not a SQLite database.",
        apsw.CantOpenError: "The file cannot be opened: look at the folder and at its permissions.",
    }
    hint = hints.get(type(error), "")
    failure = StoreUnavailableError(f"The database answered: {error or type(error).__name__}. {hint}".rstrip())
    failure.__cause__ = error
    return failure


class Writer:
    """Owns the writing connection and its thread. `submit` and `run` are called from the event loop's thread only."""

    def __init__(self, db: apsw.Connection, loop: asyncio.AbstractEventLoop) -> None:
        self._db = db
        self._execute = db.cursor().execute
        self._files = FileWatch(db)
        self._loop = loop
        self._commits: deque[Queued] = deque()
        self._operations: deque[Operation] = deque()
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._is_idle = False
        self._wake_scheduled = False
        self._closing = False
        self._next_seq: dict[int, int] = {}
        self._highest_key = db.execute("SELECT coalesce(max(key), 0) FROM run").get
        self._ended: list[int] = []
        self._packed: dict[int, Packed] = {}
        """Large payloads of queued commits, by the id of their plain bytes."""
        self._wal_pages = 0
        self._checkpoint_at = CHECKPOINT_PAGES
        self.counters: dict[str, int] = dict.fromkeys(
            ("commits", "commits_failed", "flushes", "rows", "blobs", "checkpoints"), 0
        )
        db.set_wal_hook(self._note_wal_pages)
        self._thread = threading.Thread(target=self._work, name="segue-store-writer", daemon=True)
        self._thread.start()

    # On the event loop's thread

    def submit(self, commit: Commit, done: CommitDone, packed: dict[int, Packed] | None = None) -> None:
        """Queue a commit; `done` is called on the loop. `packed`: its large payloads, ready to be stored, by id."""
        if packed:
            self._packed.update(packed)
        self._commits.append((commit, done))
        if self._is_idle and not self._wake_scheduled:
            # Not at once: what the loop is about to queue in this same turn shall be in the same group.
            self._wake_scheduled = True
            self._loop.call_soon(self._wake_up)

    async def run(self, operation: Callable[[apsw.Connection], T]) -> T:
        """Do something inside a transaction, after the commits queued so far."""
        future: asyncio.Future[T] = self._loop.create_future()
        self._operations.append((operation, future))  # pyright: ignore[reportArgumentType] - its own future's type
        self._wake_up()
        return await future

    async def put_aside(self, run_key: int, after_seq: int, at: int) -> int:
        """See `Store.put_journal_aside`."""

        def put(db: apsw.Connection) -> int:
            self._next_seq.pop(run_key, None)
            if self._load_next_seq(run_key) < 0:
                return -1
            self._next_seq.pop(run_key, None)
            count: int = db.execute(
                "SELECT count(*) FROM journal WHERE run_key = ? AND seq > ?", (run_key, after_seq)
            ).get
            db.execute(
                "INSERT INTO journal_aside SELECT run_key, ?, seq, kind, step, at, data FROM journal"
                " WHERE run_key = ? AND seq > ?",
                (at, run_key, after_seq),
            )
            db.execute("DELETE FROM journal WHERE run_key = ? AND seq > ?", (run_key, after_seq))
            return count

        count = await self.run(put)
        if count < 0:
            raise rules.unknown_run(run_key)
        return count

    async def close(self) -> None:
        """Write what is queued, empty the log into the file, let go of the connection."""
        self._closing = True
        self._wake.put(None)
        await asyncio.to_thread(self._thread.join)

    @property
    def wal_pages(self) -> int:
        """Pages in the write-ahead log after the last flush."""
        return self._wal_pages

    def _wake_up(self) -> None:
        self._wake_scheduled = False
        if self._is_idle:
            self._is_idle = False
            self._wake.put(None)

    def _deliver(
        self, group: Sequence[Queued], errors: Errors, operations: list[Operation], outcomes: list[Outcome]
    ) -> None:
        for place, (commit, done) in enumerate(group):
            try:
                done(commit, errors.get(place) if errors else None)
            except Exception as error:  # noqa: BLE001 - one caller's mistake must not keep the others waiting
                self._loop.call_exception_handler({"message": "a commit's `done` failed", "exception": error})
        for (_, future), (result, error) in zip(operations, outcomes, strict=True):
            if future.cancelled():
                continue
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)

    # On the writer's thread

    def _work(self) -> None:
        while True:
            # Operations first: all commits queued before one of them are then in this group or were in an earlier one.
            operations = [self._operations.popleft() for _ in range(len(self._operations))]
            group = [self._commits.popleft() for _ in range(min(len(self._commits), GROUP_MAX))]
            if group or operations:
                self._process(group, operations)
            elif self._closing:
                break
            else:
                self._is_idle = True
                if not self._commits and not self._operations:  # else somebody queued before seeing that we are idle
                    self._wake.get()
                self._is_idle = False
        with contextlib.suppress(apsw.Error):  # the log is as good a place as the file
            self._db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        self._db.close()

    def _process(self, group: list[Queued], operations: list[Operation]) -> None:
        errors: Errors = {}
        outcomes: list[Outcome] = []
        try:
            self._write(group, errors, operations, outcomes)
        except Exception as error:  # noqa: BLE001 - whatever it was, the callers must hear of it and the thread must live
            self._roll_back(group)
            failure = error if isinstance(error, StoreUnavailableError) else unavailable(error)
            errors = dict.fromkeys(range(len(group)), failure)
            outcomes = [(None, failure)] * len(operations)
        self._forget()
        if self._packed:
            for commit, _ in group:
                for row in commit.rows:
                    self._packed.pop(id(row[4]), None)
                for result in commit.cached:
                    self._packed.pop(id(result.data), None)
        counters = self.counters
        counters["commits"] += len(group) - len(errors)
        counters["commits_failed"] += len(errors)
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to be told
            self._loop.call_soon_threadsafe(self._deliver, group, errors, operations, outcomes)
        if self._wal_pages >= self._checkpoint_at:
            self._checkpoint()

    def _write(self, group: list[Queued], errors: Errors, operations: list[Operation], outcomes: list[Outcome]) -> None:
        self._files.check()
        if self._db.in_transaction:  # an earlier rollback failed
            self._execute(_ROLLBACK)
        try:
            rows = self._write_at_once(group, errors, bool(operations))
        except (*_COMMIT_FAULTS, RefusedError):
            self._roll_back(group)
            errors.clear()
            rows = self._write_one_by_one(group, errors)
        for operation, _ in operations:
            outcomes.append(self._operate(operation))
        if self._db.in_transaction:
            self._execute("COMMIT")
        self.counters["flushes"] += 1
        self.counters["rows"] += rows

    def _write_at_once(self, group: list[Queued], errors: Errors, more_follows: bool) -> int:
        batch = Batch()
        for place, (commit, _) in enumerate(group):
            error = self._add(batch, commit)
            if error is not None:
                errors[place] = error
        rows = batch.journal_rows
        statements = batch.statements()
        more_follows = more_follows or any(commit.also is not None for commit, _ in group)
        # A single statement is a transaction by itself.
        if (more_follows or len(statements) > 1) and not self._db.in_transaction:
            self._execute("BEGIN IMMEDIATE")
        for text, values in statements:
            self._execute(text, values)
        for place, (commit, _) in enumerate(group):
            if commit.also is not None and place not in errors:
                self._do_also(commit.also)
        return rows

    def _do_also(self, also: Callable[[Sql], None]) -> None:
        try:
            changed(self._db, also)
        except apsw.Error:
            raise
        except Exception as error:
            raise RefusedError(error) from error

    def _write_one_by_one(self, group: list[Queued], errors: Errors) -> int:
        rows = 0
        self._execute("BEGIN IMMEDIATE")
        for place, (commit, _) in enumerate(group):
            self._execute("SAVEPOINT one")
            try:
                batch = Batch()
                error = self._add(batch, commit)
                added = batch.journal_rows
                for text, values in batch.statements():
                    self._execute(text, values)
                if commit.also is not None and error is None:
                    self._do_also(commit.also)
                rows += added
            except (*_COMMIT_FAULTS, RefusedError) as fault:
                self._execute("ROLLBACK TO one")
                self._next_seq.pop(commit.run_key, None)
                error = fault.error if isinstance(fault, RefusedError) else self._explain(fault, commit)
            self._execute("RELEASE one")
            if error is not None:
                errors[place] = error
        return rows

    def _operate(self, operation: Callable[[apsw.Connection], object]) -> Outcome:
        self._execute("SAVEPOINT one")
        try:
            outcome: Outcome = operation(self._db), None
        except Exception as error:
            if isinstance(error, apsw.Error) and not isinstance(error, _COMMIT_FAULTS):
                raise  # the database itself: nothing of this group is kept
            self._execute("ROLLBACK TO one")
            outcome = None, error
        self._execute("RELEASE one")
        return outcome

    def _add(self, batch: Batch, commit: Commit) -> BaseException | None:
        """Check a commit and gather what it changes; an error leaves the batch as it was."""
        run_key, rows, new_run, head = commit.run_key, commit.rows, commit.new_run, commit.head
        if new_run is not None:
            if self._is_known(run_key):
                return rules.run_exists(run_key)
            seq = 0
        elif rows or head is not None or commit.callbacks_opened or commit.waits_opened:
            found = self._next_seq.get(run_key)
            seq = self._load_next_seq(run_key) if found is None else found
            if seq < 0:
                return rules.unknown_run(run_key)
        else:
            seq = 0
        journal = batch.journal
        mark, first = len(journal), seq
        for row_seq, kind, step, at, data in rows:
            if row_seq != seq:
                del journal[mark:]
                return rules.journal_conflict(commit, first)
            seq += 1
            kept = data if len(data) <= rules.INLINE_BYTES_MAX else self._put(batch, data)
            journal += (run_key, row_seq, kind, step, at, kept)
        if new_run is not None:
            if new_run.idempotency_key is not None and not self._take_idempotency_key(run_key, new_run):
                del journal[mark:]
                return rules.idempotency_key_taken(new_run.workspace, new_run.idempotency_key)
            batch.add_run(run_key, new_run, head)
            self._highest_key = max(self._highest_key, run_key)
            self._next_seq[run_key] = seq
        elif rows:
            self._next_seq[run_key] = seq
        self._add_rest(batch, commit)
        return None

    def _add_rest(self, batch: Batch, commit: Commit) -> None:
        head = commit.head
        if head is not None:
            if commit.new_run is None:
                batch.heads[commit.run_key] = head
            if head.status in rules.ENDED_STATUSES:
                self._ended.append(commit.run_key)
        for line in commit.logs:
            batch.logs.append(commit.run_key)
            batch.logs += line
        for callback in commit.callbacks_opened:
            batch.add_callback(callback)
        if commit.slots_left or commit.slots_awaited or commit.slots_begun:
            batch.add_slots(commit)
        for result in commit.cached:
            data = result.data
            batch.cached[result.key] = (
                result, data if len(data) <= rules.INLINE_BYTES_MAX else self._put(batch, data)
            )  # fmt: skip
        for token_hash, state in commit.callbacks_closed:
            batch.closed.setdefault(token_hash, state)
        batch.add_messages(commit)

    def _is_known(self, run_key: int) -> bool:
        if run_key > self._highest_key:
            return False
        return run_key in self._next_seq or self._load_next_seq(run_key) >= 0

    def _load_next_seq(self, run_key: int) -> int:
        """The number with which a run's journal goes on; -1 if there is no such run."""
        last: int | None = self._execute("SELECT max(seq) FROM journal WHERE run_key = ?", (run_key,)).get
        if last is not None:
            return last + 1
        return 0 if self._execute("SELECT 1 FROM run WHERE key = ?", (run_key,)).get else -1

    def _take_idempotency_key(self, run_key: int, run: NewRun) -> bool:
        if not self._db.in_transaction:
            self._execute("BEGIN IMMEDIATE")
        taken = self._execute(
            "INSERT INTO idempotency VALUES (?, ?, ?, ?) ON CONFLICT (workspace, key) DO UPDATE"
            " SET run_key = excluded.run_key, created_at = excluded.created_at"
            " WHERE excluded.created_at - created_at >= ? RETURNING 1",
            (run.workspace, run.idempotency_key, run_key, run.created_at, rules.IDEMPOTENCY_KEY_MS),
        )
        return taken.get is not None

    def _put(self, batch: Batch, data: bytes) -> Value:
        """Keep a large payload beside the journal, once; returns what stands in the journal for it."""
        packed = self._packed.get(id(data))
        if packed is None:
            packed = self._packed[id(data)] = pack(data)
        if packed.digest not in batch.blobs and not is_stored_blob(self._db, packed.digest):
            batch.blobs[packed.digest] = packed.data, packed.size
            self.counters["blobs"] += 1
        return packed.digest

    @staticmethod
    def _explain(fault: Exception, commit: Commit) -> Exception:
        if isinstance(fault, apsw.ConstraintError):
            for column, error in (
                ("run.run_id", rules.run_id_taken(commit.new_run.run_id if commit.new_run else "")),
                ("callback.token_hash", rules.callback_exists()),
            ):
                if column in str(fault):
                    return error
            return JournalConflictError(f"Run {commit.run_key}: the database refused the commit: {fault}.")
        return fault

    def _roll_back(self, group: list[Queued]) -> None:
        for commit, _ in group:
            self._next_seq.pop(commit.run_key, None)
        with contextlib.suppress(apsw.Error):  # SQLite may have done it itself; if not, `_write` tries again
            if self._db.in_transaction:
                self._execute(_ROLLBACK)

    def _forget(self) -> None:
        for run_key in self._ended:
            self._next_seq.pop(run_key, None)
        self._ended.clear()
        if len(self._next_seq) > ACTIVE_RUNS_MAX:
            self._next_seq.clear()

    def _note_wal_pages(self, db: apsw.Connection, name: str, pages: int) -> int:
        self._wal_pages = pages
        if pages < self._checkpoint_at - CHECKPOINT_PAGES:  # the log began anew
            self._checkpoint_at = CHECKPOINT_PAGES
        return apsw.SQLITE_OK

    def _checkpoint(self) -> None:
        # Whatever comes of it, the next try is due after as much log again.
        self._checkpoint_at = self._wal_pages + CHECKPOINT_PAGES
        self.counters["checkpoints"] += 1
        try:
            if self._wal_pages < RESTART_PAGES:
                self._db.wal_checkpoint()
                return
            self._db.set_busy_timeout(RESTART_WAIT_MS)
            try:
                self._db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_RESTART)
            finally:
                self._db.set_busy_timeout(BUSY_WAIT_MS)
        except apsw.BusyError:
            _log.warning("The log of the database has %d pages: another program reads it without end.", self._wal_pages)
        except apsw.Error as error:
            _log.warning("The log could not be moved into the database file, and goes on growing: %s", error)
