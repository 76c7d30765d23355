"""What callers get: records that are encoded once, by msgspec, and whose JSON Schemas go into the OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

import msgspec
from starlette.responses import Response

from segue.api.compat.records import RECORDS as COMPAT_RECORDS
from segue.api.errors import FieldError, FlowProblem, ProblemDetails
from segue.engine.bulk import BulkOutcome
from segue.engine.callback_history import SignalLine
from segue.engine.journal_view import JournalEvent
from segue.engine.log_lines import LogLine
from segue.engine.run_compare import RunComparison
from segue.engine.step_data import StepData
from segue.engine.views import RunView, UndoView, rfc3339
from segue.observe.health import HealthReport
from segue.observe.masking import DEFAULT_MASKER
from segue.store.port import RunRecord
from segue.store.run_notes import NO_NOTES, RunNotes

_OF_PATHS: Final = "/:?&=%~+@!$'()*,;"
_encode = msgspec.json.Encoder().encode


class StartedRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run that is kept. `repeated`: the idempotency key had started it before."""

    run_id: str
    status: str
    repeated: bool = False


class EndedRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run that is over and gave its caller no answer of its own."""

    run_id: str
    status: str
    outputs: Any = None
    error: dict[str, Any] | None = None


class EventTaken(msgspec.Struct, frozen=True, kw_only=True):
    """The event is kept, and goes to every step that waits for it."""

    id: str


class RunState(msgspec.Struct, frozen=True, kw_only=True):
    """A run's status after it was told something."""

    run_id: str
    status: str


class NotKept(msgspec.Struct, frozen=True, kw_only=True):
    """A step whose recorded outcome has no place in a new run."""

    step: str
    why: str


class NewRunOf(msgspec.Struct, frozen=True, kw_only=True):
    """A replayed or forked run: how many recorded outcomes it starts with, and what could not be kept."""

    run_id: str
    status: str
    kept: int
    not_kept: list[NotKept] = []


class RolledBack(msgspec.Struct, frozen=True, kw_only=True):
    """A run that goes on from its last valid event; the events after it were set aside."""

    run_id: str
    status: str
    last_valid_event: int
    set_aside: int


class RunItem(msgspec.Struct, frozen=True, kw_only=True):
    """A run in a list. Times are RFC 3339 (UTC)."""

    id: str
    flow: str
    status: str
    trigger: str
    created_at: str
    started_at: str | None = None
    finished_at: str | None = None
    duration_ms: int | None = None
    recovered: bool = False
    error: str | None = None
    parent: str | None = None
    """The run that started it as a sub-flow."""
    labels: dict[str, str] = {}


class RunList(msgspec.Struct, frozen=True, kw_only=True):
    """Runs, newest first. `next_cursor` continues after the last one (null: the end)."""

    runs: list[RunItem]
    next_cursor: str | None = None


class JournalPage(msgspec.Struct, frozen=True, kw_only=True):
    """Events of a run in their order. `next_after` continues after the last one (null: the end)."""

    events: list[JournalEvent]
    next_after: int | None = None


class BulkAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What a bulk operation did to `count` runs, or with `dry_run` would do, and whether there are `more`."""

    action: str
    dry_run: bool
    count: int
    more: bool
    outcomes: list[BulkOutcome] = []
    next_cursor: str | None = None


class LogPage(msgspec.Struct, frozen=True, kw_only=True):
    """The last lines that fit the filter, in the order of their time."""

    lines: list[LogLine]


class StepWhy(msgspec.Struct, frozen=True, kw_only=True):
    """Why a step is as it is."""

    id: str
    status: str
    sentence: str | None
    code: str | None
    action: str | None


class Why(msgspec.Struct, frozen=True, kw_only=True):
    """Why a run and its steps are as they are, and what helps."""

    id: str
    status: str
    sentence: str | None
    code: str | None
    action: str | None
    steps: list[StepWhy]


class OpenCallback(msgspec.Struct, frozen=True, kw_only=True):
    """A signal that a step waits for. Whoever knows `url` can give it."""

    step: str
    url: str
    expires_at: str | None
    uses: int
    received: int
    kind: str = "callback"
    """`callback`, or `approve` of a step that asks people: `uses` of them must agree."""
    message: str | None = None
    decided_by: list[str] = []
    """Who has approved so far, where several people must."""
    signed: bool = False
    """Only what carries the signature that the step asks for is taken."""
    json_schema: dict[str, Any] | None = msgspec.field(default=None, name="schema")


class CallbackList(msgspec.Struct, frozen=True, kw_only=True):
    """The open callbacks of a run."""

    callbacks: list[OpenCallback]


class SignalPage(msgspec.Struct, frozen=True, kw_only=True):
    """What was sent to the callbacks of a run, newest first. `next_cursor` continues (null: the end)."""

    signals: list[SignalLine]
    next_cursor: str | None = None


class CallbackTested(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a test: `taken`, or with `dry_run` would be taken. `errors` are the mistakes in the payload."""

    taken: bool
    dry_run: bool
    errors: list[FieldError] = []


class CallbackShown(msgspec.Struct, frozen=True, kw_only=True):
    """What an open callback is, for whoever holds its address."""

    flow: str
    step: str
    status: str
    expires_at: str | None
    how: str


class CallbackTaken(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The signal is kept; the run goes on with it."""

    run_id: str
    status: str = "accepted"


class CheckResult(msgspec.Struct, frozen=True, kw_only=True):
    """What checking found; `ok` if nothing of it is an error."""

    ok: bool
    problems: list[FlowProblem]


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """An address that opens the page once, in one browser."""

    url_path: str


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the server lives and can work."""

    status: str
    checks: dict[str, str] = {}


class GatewayStarted(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Document B: the run's id."""

    run_id: str


class EngineStarted(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Document B: the engine's own id of the run."""

    engine_run_id: str


class GatewayStep(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Document B: a step's status. The engine's shape has no `nodeId`."""

    id: str
    status: str
    node_id: str | None = None
    duration_ms: int | None = None


class GatewayLog(msgspec.Struct, frozen=True, kw_only=True):
    """Document B: a short line."""

    ts: str
    level: str
    msg: str


class GatewayRun(msgspec.Struct, frozen=True, kw_only=True):
    """Document B: a run's status (queued, running, succeeded, failed), steps and logs."""

    id: str
    status: str
    steps: list[GatewayStep]
    logs: list[GatewayLog]


ANSWERS: Final[tuple[type[msgspec.Struct], ...]] = (
    StartedRun, RunState, NotKept, NewRunOf, RolledBack, RunItem, RunList, JournalPage, BulkAnswer, StepData,
    RunComparison, RunView, UndoView, LogLine, LogPage, Why, OpenCallback, CallbackList, SignalPage, CallbackTested,
    CallbackShown, CallbackTaken, EndedRun, EventTaken, CheckResult, Link, Health, HealthReport, GatewayStarted,
    EngineStarted, *COMPAT_RECORDS, GatewayRun, ProblemDetails,
)  # fmt: skip


def answer(
    value: msgspec.Struct | Sequence[msgspec.Struct], status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """A record, or a list of them, as JSON. Ids in a `location` may be of any letters; a URI's are not."""
    sent = dict(headers or {})
    if "location" in sent:
        sent["location"] = quote(sent["location"], safe=_OF_PATHS)
    return Response(_encode(value), status, sent, media_type="application/json")


def run_item(record: RunRecord, now: int, notes: RunNotes = NO_NOTES) -> RunItem:
    """A row of the list."""
    ended = record.finished_at if record.finished_at is not None else now
    return RunItem(
        id=record.run_id, flow=record.flow_id, status=record.status, trigger=record.trigger,
        created_at=rfc3339(record.created_at) or "", started_at=rfc3339(record.started_at),
        finished_at=rfc3339(record.finished_at),
        duration_ms=None if record.started_at is None else max(0, ended - record.started_at),
        recovered=record.recovered,
        error=None if record.error is None else DEFAULT_MASKER.mask_text(record.error), parent=record.parent_run_id,
        labels=notes.labels,
    )  # fmt: skip
