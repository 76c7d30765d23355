"""The store port: what the engine needs kept. SQLite, PostgreSQL and the memory twin pass one contract suite.

Writing is one operation, `commit`: everything that one decision of the kernel changes (journal rows, the run's head
row, callbacks opened and closed, log lines) is kept together or not at all. Commits of all runs share one flush to
disk. Times are integer milliseconds since the epoch (UTC). Reading sees committed data only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, TypeAlias

import msgspec

from segue.store.tables import Sql


class JournalRow(NamedTuple):
    """One event of a run. `kind` is the event's number, `step` the step instance it speaks of (-1: the run itself)."""

    seq: int
    kind: int
    step: int
    at: int
    data: bytes


class LogRow(NamedTuple):
    """One log line of a run, written by a step. `level`: debug, info, warning, error. `data` is JSON, already
    masked.
    """

    at: int
    level: str
    step: str
    message: str
    data: bytes = b""


class Message(NamedTuple):
    """What one run has to tell another. `id` is unique: a second message of the same id changes nothing.

    It is kept with a commit of the sender and deleted with one of the receiver, so that it is neither lost nor takes
    effect twice. `run_id` is the receiver.
    """

    id: str
    run_id: str
    kind: str
    at: int
    data: bytes = b""


class EventRow(NamedTuple):
    """An event that steps may wait for. `id` is unique, a second one of the same id changes nothing; `source` is the
    run that sent it (None: it came from outside); `data` is JSON.
    """

    id: str
    workspace: str
    name: str
    at: int
    source: str | None = None
    data: bytes = b""


class EventWait(NamedTuple):
    """A step that waits for an event of a name. `since`: how old it may be; `began`: when the wait did (both ms)."""

    run_key: int
    step: int
    generation: int
    workspace: str
    name: str
    since: int
    began: int


class NewRun(msgspec.Struct, frozen=True, kw_only=True):
    """The row that a run's first commit creates.

    With an `idempotency_key`, the same key and `request_digest` in the same workspace is a repeat: the commit fails
    with `ConflictError` and the caller looks the first run up.
    """

    run_id: str
    workspace: str
    flow_id: str
    flow_version: int
    trigger: str
    created_at: int
    idempotency_key: str | None = None
    request_digest: str | None = None
    parent_run_id: str | None = None
    limit_key: str | None = None
    """What the run is counted by under its flow's `limits` (JSON text, "" if all together); None: there are none."""
    priority: int = 0
    """Among queued runs of one limit: higher begins first."""


class RunHead(msgspec.Struct, frozen=True, kw_only=True):
    """The run's projection for lists and for finding work: derived from the journal, never a truth of its own.

    `wake_at` is the earliest open timer of a run at rest, or the start of a queued one (None: it waits for an outside
    signal or a slot, or is over).
    """

    status: str
    started_at: int | None = None
    finished_at: int | None = None
    wake_at: int | None = None
    recovered: bool = False
    error: str | None = None


class CallbackRow(msgspec.Struct, frozen=True, kw_only=True):
    """An open callback. Only the SHA-256 of its token is kept."""

    token_hash: bytes
    run_key: int
    step: int
    generation: int
    step_path: str
    expires_at: int
    created_at: int
    state: str = "open"
    """open, used, expired, cancelled"""
    correlation: str | None = None
    """What the step calls it by, as JSON, so that a signal can find it without its token."""


class LimitGroup(NamedTuple):
    """Runs that are counted together under their flow's `limits`."""

    workspace: str
    flow_id: str
    limit_key: str


class SlotWait(NamedTuple):
    """A step that waits for a slot of its own limits. `slots` names what is counted together, `since` orders them."""

    slots: str
    since: int
    run_key: int
    step: int


class SlotBegun(NamedTuple):
    """A limited attempt that began. What began before `counts_from` is not looked at again and may be forgotten."""

    slots: str
    at: int
    counts_from: int


class CachedResult(msgspec.Struct, frozen=True, kw_only=True):
    """A success that stands for later calls with the same key (a hash) until `expires_at`. `data` is JSON."""

    key: bytes
    run_id: str
    at: int
    expires_at: int
    data: bytes


class Commit(msgspec.Struct, kw_only=True):
    """All that one decision changes in one run; `rows` continue the journal without a gap.

    `head` replaces the whole one before (a field left out becomes None). Rows, head, opened callbacks or waits of a run
    that is not in the database fail with JournalConflictError; the rest belongs to no run (`run_key` 0 will do). A
    callback is closed once: closing it again changes nothing.
    """

    run_key: int
    rows: Sequence[JournalRow]
    new_run: NewRun | None = None
    head: RunHead | None = None
    callbacks_opened: Sequence[CallbackRow] = ()
    callbacks_closed: Sequence[tuple[bytes, str]] = ()
    """(token hash, new state) pairs."""
    slots_awaited: Sequence[SlotWait] = ()
    """A step waits in one place at most: another one replaces the first."""
    slots_left: Sequence[int] = ()
    """Numbers of steps that wait for a slot no more."""
    slots_begun: Sequence[SlotBegun] = ()
    cached: Sequence[CachedResult] = ()
    """Each replaces the one that stands under its key."""
    logs: Sequence[LogRow] = ()
    messages: Sequence[Message] = ()
    messages_taken: Sequence[str] = ()
    """Ids."""
    events: Sequence[EventRow] = ()
    events_done: Sequence[str] = ()
    """Ids of events that were offered to every step that waited for them."""
    waits_opened: Sequence[EventWait] = ()
    waits_closed: Sequence[tuple[int, int]] = ()
    """(step, generation) pairs of this run."""
    also: Callable[[Sql], None] | None = None
    """Rows of the service's tables that are true only together with the rest. It is called in the store's thread,
    maybe more than once, and must touch nothing else; if it raises, nothing of the commit is kept, and that is its
    error (ConflictError for a key that is taken).
    """


class RunRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A run's row."""

    key: int
    run_id: str
    workspace: str
    flow_id: str
    flow_version: int
    trigger: str
    created_at: int
    status: str
    started_at: int | None = None
    finished_at: int | None = None
    wake_at: int | None = None
    recovered: bool = False
    error: str | None = None
    parent_run_id: str | None = None
    idempotency_key: str | None = None
    request_digest: str | None = None
    limit_key: str | None = None
    priority: int = 0

    @property
    def limit_group(self) -> LimitGroup | None:
        """The runs that it is counted with; None: its flow has no limits."""
        return None if self.limit_key is None else LimitGroup(self.workspace, self.flow_id, self.limit_key)


class FlowVersion(msgspec.Struct, frozen=True, kw_only=True):
    """An immutable flow version. `digest` is the SHA-256 of the canonical model; `model` that model as JSON."""

    key: int
    workspace: str
    flow_id: str
    digest: str
    version: str | None
    model: bytes
    source: str
    created_at: int


class RunFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which runs a list shows, and in which order. Empty fields do not filter; times are a half-open range of
    `created_at`.
    """

    workspace: str | None = None
    flow_id: str | None = None
    among: frozenset[str] | None = None
    """Only runs of these flows, whatever `flow_id` says: those that somebody may see."""
    statuses: tuple[str, ...] = ()
    created_from: int | None = None
    created_before: int | None = None
    version: str | None = None
    """Of the flow, as its author numbers it; only beside `flow_id`."""
    trigger: str | None = None
    """What kind of thing started it."""
    parent_run_id: str | None = None
    id_prefix: str | None = None
    """How its id begins."""
    error_text: str | None = None
    """What stands in its error, in letters of either case (of A to Z)."""
    labels: tuple[tuple[str, str], ...] = ()
    """Labels (name and value) that it has all of."""
    oldest_first: bool = False


class RunPage(msgspec.Struct, frozen=True):
    """Newest first, unless the filter says otherwise; `cursor` continues after the last one (None: the end)."""

    runs: tuple[RunRecord, ...]
    cursor: str | None


CommitDone: TypeAlias = Callable[[Commit, "BaseException | None"], None]


class Store(Protocol):
    """Durable operations of the engine. One store object belongs to one event loop.

    All `async` methods raise `StoreUnavailableError` if the database cannot be reached.
    """

    async def open(self) -> None:
        """Connect, migrate to the current schema, start the writer. Raises StoreInUseError if another process hosts
        it.
        """
        ...

    async def close(self) -> None:
        """Flush what is queued, then release everything. Safe to repeat."""
        ...

    def next_run_key(self) -> int:
        """A run key never given before in this database, without waiting."""
        ...

    def commit(self, commit: Commit, done: CommitDone) -> None:
        """Queue a commit and return at once; call from the event loop's thread only.

        `done(commit, error)` is called on the event loop after the flush to disk (error None) or after it failed: then
        nothing of this commit was kept. Commits of one run are applied in the order of the calls; one whose first row
        does not continue the run's journal fails with JournalConflictError, so that all that builds on a lost commit
        fails too.
        """
        ...

    def log(self, run_key: int, rows: Sequence[LogRow]) -> None:
        """Queue log lines outside of a decision; kept with the next flush, without a promise."""
        ...

    async def put_flow_version(self, version: FlowVersion) -> FlowVersion:
        """Keep a version (its `key` is ignored) and return it with its key; the same workspace, flow id and digest
        return the first.
        """
        ...

    async def get_flow_version(self, key: int) -> FlowVersion | None:
        """The version with this key."""
        ...

    async def get_run(self, run_id: str) -> RunRecord | None:
        """The run with this id, in whatever state."""
        ...

    async def get_run_by_key(self, key: int) -> RunRecord | None:
        """The run with this key, in whatever state."""
        ...

    async def find_run_by_idempotency_key(self, workspace: str, key: str) -> RunRecord | None:
        """The run that holds a key now: the last one created with it, even if more than 24 hours ago."""
        ...

    async def list_runs(self, where: RunFilter, *, limit: int = 50, cursor: str | None = None) -> RunPage:
        """At most 1,000 a page."""
        ...

    async def count_runs(self, workspace: str | None = None) -> dict[str, int]:
        """Number of runs by status."""
        ...

    async def unfinished_runs(self, *, after_key: int = 0, limit: int = 1000) -> list[RunRecord]:
        """Runs that a host must adopt at its start, by key: running ones, and queued ones that wait for nothing."""
        ...

    async def due_runs(self, now: int, *, limit: int = 1000) -> list[RunRecord]:
        """Runs at rest whose `wake_at` has come, earliest first."""
        ...

    async def next_wake_at(self) -> int | None:
        """The earliest `wake_at` of all runs at rest."""
        ...

    async def runs_under_way(self, group: LimitGroup) -> list[int]:
        """Keys of the group's runs that hold a slot (running, waiting, paused), oldest first."""
        ...

    async def queued_runs(self, group: LimitGroup, *, limit: int = 100) -> list[RunRecord]:
        """The group's queued runs that wait for a slot: highest priority first, then oldest."""
        ...

    async def runs_begun(self, group: LimitGroup, since: int, *, limit: int) -> tuple[int, int | None]:
        """How many of the group's runs began after `since` (counted up to `limit`), and when the first of those did."""
        ...

    async def queue_groups(self, *, after: LimitGroup | None = None, limit: int = 1000) -> list[LimitGroup]:
        """The groups that have runs waiting for a slot, in order."""
        ...

    async def slot_waits(self, slots: str, *, limit: int = 100) -> list[SlotWait]:
        """The steps that wait for a slot, the longest waiting first."""
        ...

    async def slots_begun(self, slots: str, since: int, *, limit: int) -> tuple[int, int | None]:
        """How many attempts began after `since` (counted up to `limit`), and when the first of those did."""
        ...

    async def awaited_slots(self, *, after: str = "", limit: int = 1000) -> list[str]:
        """What steps wait for slots of, in order."""
        ...

    async def cached_result(self, key: bytes, now: int) -> CachedResult | None:
        """The result under a key, unless it has expired."""
        ...

    async def load_journal(self, run_key: int, *, after_seq: int = -1, limit: int | None = None) -> list[JournalRow]:
        """A run's journal rows after `after_seq`, in order; large payloads are back in their place."""
        ...

    async def put_journal_aside(self, run_key: int, *, after_seq: int, at: int) -> int:
        """Move the journal's rows after `after_seq` out of it, unread, and give their number; the journal goes on with
        `after_seq` + 1. They are kept under `at`. For a run that no host drives. Raises JournalConflictError if there
        is no such run.
        """
        ...

    async def journal_aside(self, run_key: int) -> list[tuple[int, JournalRow]]:
        """What was put aside of a run: (when, row) pairs, the oldest first. Payloads kept beside the journal are not
        put back in their place.
        """
        ...

    async def load_logs(self, run_key: int, *, after: int = 0, limit: int = 10_000) -> list[tuple[int, LogRow]]:
        """(line number, line) pairs with a number greater than `after`, in order."""
        ...

    async def find_callback(self, token_hash: bytes) -> CallbackRow | None:
        """The callback of a token, in whatever state."""
        ...

    async def callbacks_of_run(self, run_key: int) -> list[CallbackRow]:
        """All callbacks of a run, oldest first."""
        ...

    async def callbacks_by_correlation(self, correlation: str) -> list[CallbackRow]:
        """The open callbacks that steps call by this, oldest first."""
        ...

    async def find_flow_version(self, workspace: str, flow_id: str, version: str | None = None) -> FlowVersion | None:
        """The newest version of a workspace's flow, or the newest of those that bear this number."""
        ...

    async def messages(self, *, after: int = 0, limit: int = 1000) -> list[tuple[int, Message]]:
        """(number, message) pairs with a number greater than `after`, in the order in which they were kept."""
        ...

    async def events_open(self, *, after: int = 0, limit: int = 1000) -> list[tuple[int, EventRow]]:
        """(number, event) pairs that are not done, with a number greater than `after`, in the order of keeping."""
        ...

    async def events_since(self, workspace: str, name: str, since: int, *, limit: int = 1000) -> list[EventRow]:
        """Events of a name that were sent at `since` or later, oldest first."""
        ...

    async def event_waits(
        self, workspace: str, name: str, *, after: tuple[int, int] = (0, -1), limit: int = 1000
    ) -> list[EventWait]:
        """Who waits for an event of this name, by run and step; `after` is (run key, step)."""
        ...

    async def buffered_waits(self, *, after: tuple[int, int] = (0, -1), limit: int = 1000) -> list[EventWait]:
        """All waits for events that may have come before they began, in the same order."""
        ...

    async def drop_events(self, before: int, *, keep: int) -> int:
        """Delete the events that are done and were sent before a time, and of the others that are done the oldest but
        `keep`. Gives their number.
        """
        ...

    async def get_setting(self, name: str) -> bytes | None:
        """The value kept under a name."""
        ...

    async def put_setting(self, name: str, value: bytes, *, only_if_absent: bool = False) -> bytes:
        """Keep a value and return what stands there now (the older one if `only_if_absent` and present)."""
        ...

    async def statistics(self) -> dict[str, int]:
        """Counters since open: commits, flushes (transactions), rows; for benchmarks and metrics."""
        ...
