"""A trigger's row, and the statements that read and write it."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from segue.engine.ids import new_run_id
from segue.errors import NotFoundError
from segue.flow.model import JsonValue, RawMap
from segue.store.tables import Row, Sql

Kind = Literal["webhook", "cron", "event", "flow", "manual"]
Origin = Literal["folder", "stored", "api"]
_COLUMNS: Final = (
    "id", "workspace", "flow_id", "name", "kind", "origin", "settings", "condition", "subject", "generation", "enabled",
    "declared", "capture", "created_at", "updated_at", "fired_at", "fired_count", "last_run_id", "last_error",
)  # fmt: skip
"""As the table has them."""
_SELECT: Final = "SELECT * FROM flow_trigger"
_decode = msgspec.json.Decoder(dict[str, object]).decode


class TriggerRow(msgspec.Struct, frozen=True, kw_only=True):
    """What starts runs of one flow. Times are milliseconds since the epoch."""

    id: str
    workspace: str
    flow_id: str
    name: str
    """Within its flow."""
    kind: Kind
    origin: Origin
    settings: RawMap
    condition: str | None = None
    subject: str = ""
    """The event's name, or the flow whose end is waited for."""
    generation: int = 1
    """Counts the addresses that a webhook has had."""
    enabled: bool = True
    declared: bool = True
    capture: int = 0
    """How many further deliveries are only looked at."""
    created_at: int
    updated_at: int
    fired_at: int | None = None
    fired_count: int = 0
    last_run_id: str | None = None
    last_error: str | None = None

    @property
    def is_live(self) -> bool:
        """Whether it starts runs."""
        return self.enabled and self.declared


def new_id(now: int, prefix: str) -> str:
    """An id such as `trg_…` that sorts by time."""
    return new_run_id(now, prefix=prefix)


def all_triggers(sql: Sql) -> list[TriggerRow]:
    """Every trigger of every workspace."""
    return [_row(row) for row in sql.rows(_SELECT + " ORDER BY id")]


def get_trigger(sql: Sql, id: str) -> TriggerRow:
    """Raises NotFoundError."""
    found = sql.row(_SELECT + " WHERE id = ?", id)
    if found is None:
        raise NotFoundError(f"no trigger has the id {id!r}")
    return _row(found)


def put_trigger(sql: Sql, row: TriggerRow) -> None:
    """Keep a trigger, in the place of the one with its id."""
    sql.run(
        "INSERT INTO flow_trigger VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (id) DO UPDATE SET name = excluded.name, kind = excluded.kind, origin = excluded.origin,"
        " settings = excluded.settings, condition = excluded.condition, subject = excluded.subject,"
        " generation = excluded.generation, enabled = excluded.enabled, declared = excluded.declared,"
        " capture = excluded.capture, updated_at = excluded.updated_at",
        row.id, row.workspace, row.flow_id, row.name, row.kind, row.origin, msgspec.json.encode(row.settings).decode(),
        row.condition, row.subject, row.generation, int(row.enabled), int(row.declared), row.capture, row.created_at,
        row.updated_at, row.fired_at, row.fired_count, row.last_run_id, row.last_error,
    )  # fmt: skip


def delete_trigger(sql: Sql, id: str) -> None:
    """With its secrets and due times; what came to it and what it did stays."""
    sql.run("DELETE FROM flow_trigger WHERE id = ?", id)
    sql.run("DELETE FROM trigger_secret WHERE trigger_id = ?", id)
    sql.run("DELETE FROM schedule_due WHERE trigger_id = ?", id)


def note_fired(sql: Sql, id: str, at: int, run_id: str | None, error: str | None = None) -> None:
    """When it last did something, and what came of it."""
    if error is not None:
        sql.run("UPDATE flow_trigger SET last_error = ? WHERE id = ?", error[:500], id)
    else:
        sql.run(
            "UPDATE flow_trigger SET fired_at = ?, fired_count = fired_count + 1, last_run_id = ?, last_error = NULL"
            " WHERE id = ?",
            at, run_id, id,
        )  # fmt: skip


def _row(row: Row) -> TriggerRow:
    values: dict[str, JsonValue] = dict(zip(_COLUMNS, row, strict=True))
    values |= {"settings": _decode(row[6]), "enabled": bool(row[10]), "declared": bool(row[11])}  # pyright: ignore[reportAssignmentType]
    return msgspec.convert(values, TriggerRow)
