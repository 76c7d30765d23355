"""What callers get about triggers, deliveries and schedules; and what they send."""

from __future__ import annotations

import base64
from typing import Any, Final

import msgspec
from pydantic import BaseModel, Field

from segue.api.bodies import Body, JsonObject
from segue.engine.views import rfc3339
from segue.observe.masking import DEFAULT_MASKER, MASK
from segue.triggers.deliveries import REFUSED_BODY_BYTES, Delivery, is_sealed
from segue.triggers.records import TriggerRow


class WebhookTaken(msgspec.Struct, frozen=True, kw_only=True):
    """What came is kept. `run_id` is null if no run begins, for the `reason`. A second delivery of the same id has the
    same answer as the first.
    """

    delivery_id: str
    run_id: str | None
    reason: str | None = None


class TriggerView(msgspec.Struct, frozen=True, kw_only=True):
    """What starts runs of a flow. `declared`: its flow names it as the flow stands now. `address` is a webhook's, for
    those who may change the flow; `auth` what it asks of its senders.
    """

    id: str
    flow: str
    name: str
    kind: str
    origin: str
    enabled: bool
    declared: bool
    settings: dict[str, Any]
    when: str | None
    created_at: str
    updated_at: str
    fired_at: str | None
    fired_count: int
    last_run_id: str | None
    last_error: str | None
    auth: str | None = None
    address: str | None = None
    capture: int = 0


class TriggerList(msgspec.Struct, frozen=True, kw_only=True):
    """Triggers, newest first. `next_cursor` continues after the last one (null: the end)."""

    triggers: list[TriggerView]
    next_cursor: str | None = None


class TriggerCreated(msgspec.Struct, frozen=True, kw_only=True):
    """A new trigger. `secret` is a webhook's, if one was generated: it is shown this once."""

    trigger: TriggerView
    secret: str | None = None


class NewSecret(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook's new secret, shown this once (null: it was given). Older ones retire at the time given."""

    secret: str | None
    others_retire_at: str


class DeliveryItem(msgspec.Struct, frozen=True, kw_only=True):
    """What came to a webhook, in a list."""

    id: str
    flow: str
    trigger_id: str
    at: str
    method: str
    content_type: str
    body_bytes: int
    verdict: str
    reason: str
    run_id: str | None
    replay_of: str | None


class DeliveryView(DeliveryItem, frozen=True, kw_only=True):
    """What came to a webhook. Secrets of headers and query are hidden; `body` is text, or base64 if `is_base64`."""

    headers: dict[str, str]
    query: dict[str, str]
    body: str
    is_base64: bool
    is_cut: bool
    """Only the beginning of the body was kept."""


class DeliveryList(msgspec.Struct, frozen=True, kw_only=True):
    """Deliveries, newest first. `next_cursor` continues after the last one (null: the end)."""

    deliveries: list[DeliveryItem]
    next_cursor: str | None = None


class ScheduleView(msgspec.Struct, frozen=True, kw_only=True):
    """When runs of a flow are started. `next_at` is null if that is never again, or not now."""

    id: str
    flow: str
    name: str
    origin: str
    paused: bool
    declared: bool
    settings: dict[str, Any]
    says: str
    next_at: str | None
    fired_at: str | None
    last_run_id: str | None
    last_error: str | None


class ScheduleList(msgspec.Struct, frozen=True, kw_only=True):
    """Schedules, newest first. `next_cursor` continues after the last one (null: the end)."""

    schedules: list[ScheduleView]
    next_cursor: str | None = None


class NextTimes(msgspec.Struct, frozen=True, kw_only=True):
    """The coming times, in the schedule's own time zone and in UTC."""

    times: list[str]
    utc: list[str]


class FireView(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one due time: started, queued, skipped, missed, failed, or manual if a person started it."""

    due: str
    at: str
    outcome: str
    run_id: str | None
    error: str | None


class FireList(msgspec.Struct, frozen=True, kw_only=True):
    """The last due times, newest first."""

    fires: list[FireView]


TRIGGER_ANSWERS: Final[tuple[type[msgspec.Struct], ...]] = (
    WebhookTaken, TriggerView, TriggerList, TriggerCreated, NewSecret, DeliveryItem, DeliveryView, DeliveryList,
    ScheduleView, ScheduleList, NextTimes, FireView, FireList,
)  # fmt: skip


class CreateTrigger(Body):
    """A trigger that no flow declares."""

    flow: str = Field(min_length=1, max_length=300, description="The flow's id.")
    kind: str = Field(description="webhook, event or flow; for times make a schedule.")
    name: str | None = Field(None, min_length=1, max_length=100)
    settings: JsonObject = Field(default_factory=dict, description="As in a flow's `trigger`.")
    when: str | None = Field(None, max_length=10_000, description="The condition under which a run begins.")
    secret: str | None = Field(None, min_length=1, max_length=10_000, description="The sender's secret or key.")


class ChangeTrigger(Body):
    """Switch a trigger on or off."""

    enabled: bool


class PutSecret(Body):
    """A new secret of a webhook."""

    secret: str | None = Field(None, min_length=1, max_length=10_000, description="Left out: one is generated.")
    overlap: str | None = Field(None, max_length=60, description="How long older ones still count: `24h` unless said.")


class StartCapture(Body):
    """Look at what comes."""

    count: int = Field(1, ge=0, le=100, description="How many deliveries start no run; 0 ends it.")


class FireTrigger(Body):
    """What the trigger is to have brought."""

    data: Any = Field(None, description="The event's body; of a schedule nothing.")
    headers: dict[str, str] = Field(default_factory=dict, description="A webhook's headers.")


class CreateSchedule(Body):
    """A schedule of a flow: one of `cron`, `every` and `at`."""

    flow: str = Field(min_length=1, max_length=300, description="The flow's id.")
    name: str | None = Field(None, min_length=1, max_length=100)
    cron: str | None = Field(None, max_length=200, description="Minute, hour, day, month, weekday.")
    every: str | None = Field(None, max_length=60, description="A duration, such as 15m.")
    at: str | None = Field(None, max_length=60, description="One time, RFC 3339 with its zone.")
    timezone: str | None = Field(None, max_length=100, description="Such as Europe/Berlin; UTC unless said.")
    inputs: JsonObject | None = Field(None, description="The run's inputs; expressions may use `$trigger`.")
    when: str | None = Field(None, max_length=10_000, description="The condition under which a run begins.")
    catch_up: str | int | None = Field(None, description="Of times missed: none, last (default), all, or how many.")
    overlap: str | None = Field(None, description="allow (default), skip, queue or cancel.")
    jitter: str | None = Field(None, max_length=60, description="Over how much time the beginnings are spread.")
    from_: str | None = Field(None, alias="from", max_length=60, description="No run before: RFC 3339.")
    until: str | None = Field(None, max_length=60, description="No run after: RFC 3339.")


class ChangeSchedule(Body):
    """Pause a schedule or let it go on."""

    paused: bool


TRIGGER_MODELS: Final[tuple[type[BaseModel], ...]] = (
    CreateTrigger, ChangeTrigger, PutSecret, StartCapture, FireTrigger, CreateSchedule, ChangeSchedule,
)  # fmt: skip


def trigger_view(row: TriggerRow, *, auth: str | None, address: str | None) -> TriggerView:
    """A trigger's row as it is shown."""
    return TriggerView(
        id=row.id, flow=row.flow_id, name=row.name, kind=row.kind, origin=row.origin, enabled=row.enabled,
        declared=row.declared, settings=row.settings, when=row.condition, created_at=rfc3339(row.created_at) or "",
        updated_at=rfc3339(row.updated_at) or "", fired_at=rfc3339(row.fired_at), fired_count=row.fired_count,
        last_run_id=row.last_run_id, last_error=_masked(row.last_error), auth=auth, address=address,
        capture=row.capture,
    )  # fmt: skip


def delivery_item(one: Delivery) -> DeliveryItem:
    """A delivery in a list."""
    return DeliveryItem(
        id=one.id, flow=one.flow_id, trigger_id=one.trigger_id, at=rfc3339(one.at) or "", method=one.method,
        content_type=one.content_type, body_bytes=one.body_bytes, verdict=one.verdict, reason=one.reason,
        run_id=one.run_id, replay_of=one.replay_of,
    )  # fmt: skip


def delivery_view(one: Delivery) -> DeliveryView:
    """A delivery with all that was kept of it."""
    try:
        body, is_base64 = MASK if is_sealed(one.body) else one.body.decode(), False
    except UnicodeDecodeError:
        body, is_base64 = base64.b64encode(one.body).decode(), True
    item = msgspec.structs.asdict(delivery_item(one))
    return DeliveryView(
        **item, headers=one.headers, query=one.query, body=DEFAULT_MASKER.mask_text(body), is_base64=is_base64,
        is_cut=one.verdict == "refused" and one.body_bytes > REFUSED_BODY_BYTES,
    )  # fmt: skip


def _masked(text: str | None) -> str | None:
    return None if text is None else DEFAULT_MASKER.mask_text(text)
