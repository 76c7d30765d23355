"""Due times of schedules, and what became of them, as rows."""

from __future__ import annotations

from typing import Literal, NamedTuple

from segue.errors import ConflictError
from segue.store.tables import Sql

Outcome = Literal["started", "queued", "skipped", "missed", "failed", "manual"]


class Fire(NamedTuple):
    """What became of a due time."""

    due: int
    at: int
    outcome: Outcome
    run_id: str | None
    error: str | None


def all_due(sql: Sql) -> dict[str, int]:
    """When each schedule is due next."""
    return {row[0]: row[1] for row in sql.rows("SELECT trigger_id, next_at FROM schedule_due")}


def put_due(sql: Sql, trigger_id: str, next_at: int | None) -> None:
    """When it is due next; None: never again."""
    if next_at is None:
        sql.run("DELETE FROM schedule_due WHERE trigger_id = ?", trigger_id)
    else:
        sql.run(
            "INSERT INTO schedule_due VALUES (?, ?) ON CONFLICT (trigger_id) DO UPDATE SET next_at = excluded.next_at",
            trigger_id, next_at,
        )  # fmt: skip


def put_fire(sql: Sql, trigger_id: str, workspace: str, fire: Fire) -> None:
    """Keep what became of a due time. Raises ConflictError if that is known already."""
    sql.run(
        "INSERT INTO schedule_fire VALUES (?, ?, ?, ?, ?, ?, ?)",
        trigger_id, fire.due, workspace, fire.at, fire.outcome, fire.run_id, fire.error,
    )  # fmt: skip


def take_queued(sql: Sql, trigger_id: str, fire: Fire) -> None:
    """A due time that waited is dealt with. Raises ConflictError if it waits no more."""
    changed = sql.run(
        "UPDATE schedule_fire SET outcome = ?, at = ?, run_id = ?, error = ?"
        " WHERE trigger_id = ? AND due = ? AND outcome = 'queued'",
        fire.outcome, fire.at, fire.run_id, fire.error, trigger_id, fire.due,
    )  # fmt: skip
    if changed != 1:
        raise ConflictError("the due time does not wait any more")


def queued(sql: Sql, trigger_id: str) -> list[int]:
    """Due times that wait for an earlier run's end, in order."""
    found = sql.rows(
        "SELECT due FROM schedule_fire WHERE trigger_id = ? AND outcome = 'queued' ORDER BY due", trigger_id
    )
    return [row[0] for row in found]


def with_queue(sql: Sql) -> list[str]:
    """The schedules that have due times waiting."""
    return [row[0] for row in sql.rows("SELECT DISTINCT trigger_id FROM schedule_fire WHERE outcome = 'queued'")]


def last_run(sql: Sql, trigger_id: str) -> str | None:
    """The run that the schedule started last."""
    row = sql.row(
        "SELECT run_id FROM schedule_fire WHERE trigger_id = ? AND run_id IS NOT NULL"
        " ORDER BY at DESC, due DESC LIMIT 1",
        trigger_id,
    )
    return None if row is None else row[0]


def last_fires(sql: Sql, trigger_id: str, limit: int) -> list[Fire]:
    """Newest first."""
    rows = sql.rows(
        "SELECT due, at, outcome, run_id, error FROM schedule_fire WHERE trigger_id = ? ORDER BY due DESC LIMIT ?",
        trigger_id, limit,
    )  # fmt: skip
    return [Fire(*row) for row in rows]
