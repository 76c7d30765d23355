"""Steps that speak with the world outside of their run: they send events, wait for one, answer the run's caller.

An event is delivered at least once and has the same id each time. A step takes at most one, and no step of the plan
takes an event that an earlier instance of it took (a loop that waits with a buffer would meet it again).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from segue.expr.sealed import opened, shown, spread
from segue.flow.model import JsonValue, RawMap
from segue.kernel import events as ev
from segue.kernel import inputs as inp
from segue.kernel.decision import Emitted
from segue.kernel.durations import InvalidDuration, milliseconds_of
from segue.kernel.evaluate import StopNow, refuse_sealed, stop
from segue.kernel.scope import RunScope, rfc3339
from segue.kernel.state import StepState
from segue.kernel.status import StepStatus

if TYPE_CHECKING:
    from segue.kernel.decider import Decider

MAX_NAME_LENGTH: Final = 200
MAX_EVENT_BYTES: Final = 256 * 1024
"""Of an event's body as JSON; larger things belong in a file or an object store, with their address in the event."""
DEFAULT_STATUS: Final = 200


def event_name(value: object) -> str:
    """The name of an event, as computed. Raises StopNow."""
    refuse_sealed(cast("JsonValue", value), "event")
    if not isinstance(value, str) or not value.strip() or len(value) > MAX_NAME_LENGTH:
        raise stop("validation", f"an event's name is a text of 1 to {MAX_NAME_LENGTH} characters", "event_name")
    return value.strip()


def emit_step(decider: Decider, step: StepState) -> None:
    """Send an event: it is kept together with the step's end."""
    params = decider.params(step)
    name, size = event_name(params.get("event")), len(ev.encode_value(params.get("data")))
    if size > MAX_EVENT_BYTES:
        raise stop("validation", f"data: {size:,} bytes as JSON are more than {MAX_EVENT_BYTES:,}", "event_too_large")
    decider.succeed(step, {"id": event_id(decider, step, "emit"), "event": name})
    if step.status is StepStatus.SUCCEEDED or (step.concluding is not None and step.concluding.ends == "succeeded"):
        announce(decider, step, name, "emit", params.get("data"))


def event_id(decider: Decider, step: StepState, label: str) -> str:
    """The id of the event that this instance of the step sends; `label` tells its events apart."""
    return f"evt_{decider.impure(step, label).uuid()}"


def announce(decider: Decider, step: StepState, name: str, label: str, data: JsonValue) -> None:
    """Have an event kept together with the decision."""
    decider.decision.speak().emitted.append(Emitted(event_id(decider, step, label), name, decider.now, data))


def respond_step(decider: Decider, step: StepState) -> None:
    """Answer the caller that waits for the run, once; the run goes on."""
    params = decider.params(step)
    status = opened(params.get("status", DEFAULT_STATUS))
    if isinstance(status, bool) or not isinstance(status, int) or not 200 <= status <= 599:
        told = shown(params.get("status", DEFAULT_STATUS))
        raise stop("validation", f"status: a number from 200 to 599 is needed, not {told!r}", "response_status")
    headers: JsonValue = spread(params.get("headers") or {})
    if not isinstance(headers, dict):
        raise stop("validation", "headers: a map of names and texts is needed", "response_headers")
    answer: RawMap = {"status": status, "body": params.get("body")}
    if headers:
        answer["headers"] = {name: _text(value) for name, value in headers.items()}
    first = decider.state.response is None
    decider.succeed(step, answer, reason=None if first else "the caller had its answer already")
    if first:
        decider.decision.speak().responded = True


def _text(value: JsonValue) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise stop("validation", f"headers: a text is needed, not {value!r}", "response_headers")
    return str(value)


def await_event(decider: Decider, step: StepState) -> None:
    """The step, which has started, sleeps until its event comes, or until its own time is over."""
    params = decider.params(step)
    name = event_name(params.get("event"))
    try:
        buffer = milliseconds_of(params["buffer"]) if params.get("buffer") is not None else 0
    except InvalidDuration as error:
        raise stop("expression", f"buffer: {error}", "invalid_duration") from error
    decider.emit(step.id, ev.WaitStarted(on="event", event=name, since=decider.now - buffer))
    decider.decision.speak().waits_opened.append(step)


def on_event(decider: Decider, given: inp.EventArrived) -> None:
    """An event that the step may have waited for; one that it does not take changes nothing."""
    state = decider.state
    step = state.nodes[given.step] if 0 <= given.step < len(state.nodes) else None
    if step is None or state.ended or step.generation != given.generation or not _wants(decider, step, given):
        return
    decider.emit(step.id, ev.EventReceived(id=given.id, sent_at=given.at, source=given.source))
    decider.decision.speak().waits_closed.append((step.id, step.generation))
    decider.succeed(step, given.data, reason=f"the event {given.name} came ({given.id})")


def _wants(decider: Decider, step: StepState, given: inp.EventArrived) -> bool:
    if step.status is not StepStatus.WAITING or step.waits_on != "event" or step.event != given.name:
        return False
    since = step.since or 0
    if given.at < since or _is_older(decider, step, given) or (step.plan.index, given.id) in decider.state.taken:
        return False
    where = step.plan.conditions.get("where")
    if where is None:
        return True
    event = {"id": given.id, "name": given.name, "at": rfc3339(given.at), "data": given.data, "run": given.source}
    scope = RunScope(decider.state, step=step, value=given.data, extra={"event": event})
    try:
        return decider.condition(where, step, f"where.{given.id}", scope=scope)[0]
    except StopNow as stopped:
        # Anybody may send an event of this name: one of another shape is not the one that is waited for.
        message = f"the event {given.name} ({given.id}) was not taken: {stopped.failure.message}"
        decider.decision.speak().remarks.append((step, message))
        return False


def _is_older(decider: Decider, step: StepState, given: inp.EventArrived) -> bool:
    """Whether the run itself sent the event before the step, which has no buffer, began to wait. Within the millisecond
    in which it did the journal tells.
    """
    if given.source != decider.state.run_id or step.since != step.started_at or given.at != step.started_at:
        return False
    for one in decider.state.nodes:
        if one.plan.kind == "emit" and one.started_at == given.at and event_id(decider, one, "emit") == given.id:
            return one.started_seq < step.started_seq
    return True
