"""A run that a person starts as if its trigger had: to try a flow, or to make up for what never came."""

from __future__ import annotations

from segue.engine.ids import new_run_id
from segue.errors import ConflictError, InvalidInputError, RequestError
from segue.flow.inputs import check_value
from segue.flow.model import JsonValue, RawMap
from segue.triggers.records import TriggerRow, note_fired
from segue.triggers.scheduler import Scheduler
from segue.triggers.starting import Starter


async def fire(
    row: TriggerRow, data: JsonValue, headers: RawMap, *, starter: Starter, scheduler: Scheduler
) -> str:  # fmt: skip
    """Start a run as if this had come, also of a trigger that rests; the run's id.

    Raises ConflictError if no run begins, RequestError for data that a schedule cannot have, InvalidInputError,
    FlowUnusableError, and what `Engine.start` raises.
    """
    if row.kind == "cron":
        if data is not None or headers:
            raise RequestError("a schedule brings no data: its `inputs` say what its runs get")
        return await scheduler.run_now(row)
    schema = row.settings.get("schema") if row.kind == "webhook" else None
    mistakes = check_value(schema, data) if isinstance(schema, dict) else []
    if mistakes:
        raise InvalidInputError(f"the data does not fit what the webhook takes: {mistakes[0][1]}", mistakes)
    event = _event(row, data, headers)
    ready = await starter.ready(row, event)
    if ready.version is None:
        raise ConflictError(f"no run begins: {ready.reason}")
    at = starter.engine.now()
    run_id = new_run_id(at)
    return await starter.start(
        row, ready, event, run_id=run_id, also=lambda sql: note_fired(sql, row.id, at, run_id)
    )  # fmt: skip


def _event(row: TriggerRow, data: JsonValue, headers: RawMap) -> RawMap:
    """What such an event looks like, with `by_hand`."""
    event: RawMap = {"kind": row.kind, "name": row.name, "by_hand": True, "body": data}
    if row.kind == "webhook":
        named: JsonValue = {name.lower(): value for name, value in headers.items()}
        nothing: JsonValue = {}
        sent: RawMap = {"method": "POST", "headers": named, "query": nothing, "content_type": "application/json"}
        return event | sent
    if row.kind == "event":
        return event | {"event": row.subject, "id": None, "source": None, "flow": "api", "depth": 1}
    if row.kind == "flow":
        told: RawMap = {"flow": row.subject, "version": None, "run_id": None, "status": "succeeded", "error": None}
        return event | told | {"depth": 1}
    return event
