"""A run as people and programs see it: steps in the flow's order with state, reason, output and error; masked.

Views are made from the committed journal only, so what is shown has happened.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from segue.engine.parents import parent_of
from segue.errors import JournalCorruptError
from segue.flow.model import JsonValue
from segue.kernel import events as ev
from segue.kernel.children import is_waited_for
from segue.kernel.compensation import UndoPreview
from segue.kernel.events import Origin
from segue.kernel.plan import NodePlan
from segue.kernel.reasons import Reason, explain_quarantined, explain_run, explain_step
from segue.kernel.state import RunState, StepState
from segue.kernel.status import RunStatus, StepStatus
from segue.kernel.step_reasons import explain_unopened
from segue.observe.masking import Masker, masker_for
from segue.store.port import RunRecord


class StepView(msgspec.Struct, frozen=True, kw_only=True):
    """One instance of a step, or a step that was not reached. Times are RFC 3339 (UTC)."""

    id: str
    """Address of the instance: `charge`, `each[3].enrich`."""
    name: str
    kind: str
    status: str
    attempts: int = 0
    output: JsonValue = None
    error: dict[str, Any] | None = None
    reason: str | None = None
    reason_code: str | None = None
    action: str | None = None
    """What helps, if something can."""
    started_at: str | None = None
    ended_at: str | None = None
    duration_ms: int | None = None
    until: str | None = None
    child: str | None = None
    """The run of the sub-flow that the step started last."""
    undone: str | None = None
    """`running`, `done` or `failed`, if its `compensate` steps were begun."""


class ParentView(msgspec.Struct, frozen=True, kw_only=True):
    """Of a sub-flow's run: the run and the step that started it."""

    run: str
    flow: str
    step: str


class UndoView(msgspec.Struct, frozen=True, kw_only=True):
    """What undoing a run now would do, and what it could not: addresses of steps, in the order of undoing."""

    undone_by: list[str]
    """Steps whose `compensate` steps would run."""
    done: list[str]
    """Steps that are undone already."""
    kept: list[str]
    """Calls that ended well and that nothing undoes."""
    unknown: list[str]
    """Calls of which nobody knows whether they took effect."""


class RunView(msgspec.Struct, frozen=True, kw_only=True):
    """A run with its steps."""

    id: str
    flow: str
    version: str | None
    status: str
    reason: str | None = None
    reason_code: str | None = None
    action: str | None = None
    recovered: bool = False
    trigger: str = "api"
    parent: ParentView | None = None
    """The step of another run that started this one."""
    response: dict[str, Any] | None = None
    """What the caller that waits for the run got (`respond`)."""
    inputs: dict[str, Any] = {}
    outputs: JsonValue = None
    error: dict[str, Any] | None = None
    created_at: str | None = None
    started_at: str | None = None
    finished_at: str | None = None
    duration_ms: int | None = None
    last_event: int = -1
    origin: Origin | None = None
    """The run that this one replays or was forked from."""
    labels: dict[str, str] = {}
    metadata: dict[str, Any] = {}
    """What whoever started it said of it."""
    steps: list[StepView] = []


def rfc3339(at: int | None) -> str | None:
    """Milliseconds since the epoch as UTC text with milliseconds."""
    if at is None:
        return None
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def masker_of(state: RunState) -> Masker:
    """The default names, and those that the flow adds."""
    return masker_for(state.plan.declared)


def view_of(state: RunState, record: RunRecord, now: int, *, as_of: bool = False) -> RunView:
    """The run at `now` (ms since the epoch); `as_of`: that is in its past, of which its row says nothing."""
    masker = masker_of(state)
    is_set_aside = record.status == RunStatus.QUARANTINED and not as_of
    reason = _set_aside(state, record) if is_set_aside else explain_run(state, now)
    ended = state.finished_at if state.finished_at is not None else now
    return RunView(
        id=record.run_id,
        flow=record.flow_id,
        version=state.plan.flow.version,
        status=record.status if is_set_aside else state.status.value,
        reason=masker.mask_text(reason.sentence),
        reason_code=reason.code,
        action=reason.action,
        recovered=state.recovered,
        trigger=record.trigger,
        parent=_parent(state),
        response=masker.mask_json(state.response),  # pyright: ignore[reportArgumentType]
        inputs=masker.mask_json(state.inputs),  # pyright: ignore[reportArgumentType]
        outputs=masker.mask_json(state.outputs),  # pyright: ignore[reportArgumentType]
        error=failure_view(state.error, masker),
        created_at=rfc3339(record.created_at),
        started_at=rfc3339(state.started_at),
        finished_at=rfc3339(state.finished_at),
        duration_ms=_length(state.started_at, ended),
        last_event=state.seq - 1,
        origin=None if state.keeping is None else state.keeping.origin,
        steps=steps_of(state, now, masker),
    )


def _set_aside(state: RunState, record: RunRecord) -> Reason:
    """Why a run is set aside whose journal folds: something else of it could not be carried out."""
    what = record.error or "its journal does not fold"
    return explain_quarantined(record.run_id, JournalCorruptError(what, last_valid_seq=state.seq - 1))


def quarantined_view(record: RunRecord, error: JournalCorruptError) -> RunView:
    """What can be said of a run whose journal does not fold."""
    return set_aside_view(
        record.run_id, error, flow=record.flow_id, trigger=record.trigger, created_at=rfc3339(record.created_at),
        started_at=rfc3339(record.started_at),
    )  # fmt: skip


def set_aside_view(
    run_id: str, error: JournalCorruptError, *, flow: str, trigger: str, created_at: str | None, started_at: str | None
) -> RunView:
    """As `quarantined_view`, of what a list says of the run. Times are RFC 3339 (UTC)."""
    reason = explain_quarantined(run_id, error)
    return RunView(
        id=run_id, flow=flow, version=None, status=RunStatus.QUARANTINED.value, reason=reason.sentence,
        reason_code=reason.code, action=reason.action, trigger=trigger, created_at=created_at, started_at=started_at,
        last_event=error.last_valid_seq, error={"category": "internal", "message": error.message},
    )  # fmt: skip


def steps_of(state: RunState, now: int, masker: Masker) -> list[StepView]:
    """All step instances, and the steps that no instance was made of, in the flow's order."""
    instances: dict[int, list[StepState]] = {}
    for step in state.standing:
        instances.setdefault(step.plan.index, []).append(step)
    views: list[StepView] = []
    for plan in state.plan.nodes:
        found = instances.get(plan.index)
        if found:
            views += [step_view(state, step, now, masker) for step in found]
        elif plan.block.role in ("root", "branch"):
            views.append(_unopened_view(state, plan))
    return views


def step_view(state: RunState, step: StepState, now: int, masker: Masker) -> StepView:
    """One instance at `now` (ms since the epoch)."""
    reason = explain_step(state, step, now)
    begun = step.started_at
    ended = step.ended_at if step.ended_at is not None else now
    return StepView(
        id=step.address,
        name=step.plan.step.id,
        kind=step.plan.kind,
        status=step.status.value,
        attempts=step.attempt,
        output=masker.mask_json(step.output),  # pyright: ignore[reportArgumentType]
        error=failure_view(step.error, masker),
        reason=masker.mask_text(reason.sentence),
        reason_code=reason.code,
        action=reason.action,
        started_at=rfc3339(begun),
        ended_at=rfc3339(step.ended_at),
        duration_ms=_length(begun, ended),
        until=rfc3339(step.until) if step.ended_at is None else None,
        child=_child(step),
        undone=step.undone,
    )


def _parent(state: RunState) -> ParentView | None:
    parent = parent_of(state)
    return None if parent is None else ParentView(run=parent.run, flow=parent.flow, step=parent.step)


def _child(step: StepState) -> str | None:
    if step.child is None and step.plan.kind == "flow" and isinstance(step.output, dict):
        started = step.output.get("run_id")
        return started if isinstance(started, str) and not is_waited_for(step) else None
    return step.child


def undo_view(preview: UndoPreview) -> UndoView:
    """The preview as it is shown."""
    return UndoView(
        undone_by=[step.address for step in preview.undone_by], done=[step.address for step in preview.done],
        kept=[step.address for step in preview.kept], unknown=[step.address for step in preview.unknown],
    )  # fmt: skip


def _unopened_view(state: RunState, plan: NodePlan) -> StepView:
    reason = explain_unopened(plan, state)
    owner = plan.block.owner
    over = state.ended or (
        owner is not None and any(node.plan is owner and node.ended_at is not None for node in state.standing)
    )
    status = StepStatus.SKIPPED if over else StepStatus.PENDING
    return StepView(
        id=plan.address, name=plan.step.id, kind=plan.kind, status=status.value, reason=reason.sentence,
        reason_code=reason.code, action=reason.action,
    )  # fmt: skip


def failure_view(failure: ev.Failure | None, masker: Masker) -> dict[str, Any] | None:
    """An error as shown: its text and details masked."""
    if failure is None:
        return None
    shown: dict[str, Any] = {"category": failure.category, "message": masker.mask_text(failure.message)}
    for name in ("code", "status", "step", "attempt"):
        value = getattr(failure, name)
        if value is not None:
            shown[name] = value
    if failure.details is not None:
        shown["details"] = masker.mask_json(failure.details)
    return shown


def _length(begun: int | None, ended: int) -> int | None:
    """In ms. A clock that was set back meanwhile makes it 0, not less."""
    return None if begun is None else max(0, ended - begun)
