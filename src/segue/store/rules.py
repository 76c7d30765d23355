"""Rules that every store keeps alike, and their numbers."""

from __future__ import annotations

from segue.errors import ConflictError, JournalConflictError, RequestError
from segue.kernel.status import RUN_ENDED, RunStatus
from segue.store.port import Commit, RunRecord

INLINE_BYTES_MAX = 64 * 1024
"""A journal row's data above this many bytes is kept beside the journal (requirement DUR-8)."""

IDEMPOTENCY_KEY_MS = 24 * 60 * 60 * 1000
"""How long an idempotency key belongs to its run; the time between the `created_at` of the two runs counts."""

PAGE_RUNS_MAX = 1000

ENDED_STATUSES = frozenset(status.value for status in RUN_ENDED)
FIRST_STATUS = RunStatus.QUEUED.value
"""The status of a run whose first commit brings no head."""

UNDER_WAY_STATUSES = frozenset((RunStatus.RUNNING.value, RunStatus.WAITING.value, RunStatus.PAUSED.value))
"""Runs that hold a slot of their flow's limits. The schema's index `run_under_way` says the same."""


def is_unfinished(run: RunRecord) -> bool:
    """Whether a host adopts the run when it starts. The schema's index `run_unfinished` says the same."""
    return run.status == RunStatus.RUNNING or (
        run.status == RunStatus.QUEUED and run.limit_key is None and run.wake_at is None
    )


def is_in_queue(run: RunRecord) -> bool:
    """Whether the run waits for a slot. The schema's index `run_queue` says the same."""
    return run.status == RunStatus.QUEUED and run.limit_key is not None and run.wake_at is None


def page_limit(limit: int) -> int:
    """The number of runs that a page really has. Raises RequestError for less than one."""
    if limit < 1:
        raise RequestError(f"A page of runs cannot have {limit} runs; ask for 1 to {PAGE_RUNS_MAX}.")
    return min(limit, PAGE_RUNS_MAX)


def encode_cursor(created_at: int, key: int) -> str:
    """The place right after a run in the order (created_at, key), newest first."""
    return f"{created_at}-{key}"


def decode_cursor(cursor: str) -> tuple[int, int]:
    """The reverse of `encode_cursor`. Raises RequestError for a text that it did not make."""
    created_at, _, key = cursor.rpartition("-")
    try:
        return int(created_at), int(key)
    except ValueError:
        raise RequestError(f"{cursor!r} is not a cursor of a list of runs; leave it out to begin anew.") from None


def journal_conflict(commit: Commit, expected: int) -> JournalConflictError:
    """The error of a commit whose rows are not the ones that continue the journal at `expected`."""
    found = [row[0] for row in commit.rows]
    shown = str(found) if len(found) <= 6 else f"[{found[0]}, …, {found[-1]}]"
    return JournalConflictError(
        f"Run {commit.run_key}: the journal goes on with event {expected}, but the commit brought {shown}. "
        "Nothing of it was kept; load the run's journal again."
    )


def unknown_run(run_key: int) -> JournalConflictError:
    """The error of rows for a run that has none, since its first commit was lost or never made."""
    return JournalConflictError(f"Run {run_key} is not in the database, so nothing can be added to its journal.")


def run_exists(run_key: int) -> JournalConflictError:
    """The error of a first commit under a key that is taken."""
    return JournalConflictError(f"A run with key {run_key} is in the database already; it cannot be created again.")


def run_id_taken(run_id: str) -> ConflictError:
    """The error of a first commit with a run id that is taken."""
    return ConflictError(f"Run {run_id} is in the database already; choose another run id.")


def idempotency_key_taken(workspace: str, key: str) -> ConflictError:
    """The error of a first commit whose idempotency key belongs to a run of the last 24 hours."""
    return ConflictError(f"The idempotency key {key!r} belongs to another run of workspace {workspace!r}.")


def callback_exists() -> ConflictError:
    """The error of opening a callback whose token is known already."""
    return ConflictError("A callback with this token has been opened before; each callback needs a token of its own.")
