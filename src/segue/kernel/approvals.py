"""Steps that wait for people's decisions: `approve`.

So many people as `need` says must approve, each counted once; the first rejection rejects. Both end the step well, with
the decision as its output, so that a flow chooses by `$step.approved`. When the time is over, `on_timeout` decides:
`approve` and `reject` end the step like a decision that nobody made, `fail` fails it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, cast

from segue.errors import ConflictError
from segue.flow.model import JsonValue, RawMap
from segue.kernel import events as ev
from segue.kernel.durations import InvalidDuration, milliseconds_of
from segue.kernel.evaluate import stop
from segue.kernel.messages import announce
from segue.kernel.scope import rfc3339
from segue.kernel.state import StepState

if TYPE_CHECKING:
    from segue.kernel.decider import Decider

Verdict = Literal["approve", "reject"]
REMINDER_EVENT = "segue.approval.reminder"


def verdict_of(payload: JsonValue) -> Verdict | None:
    """What a payload says: `decision` (approve or reject) or `approved` (true or false); None if neither, or both
    differ.
    """
    if not isinstance(payload, dict):
        return None
    said: set[str] = set()
    decision, approved = payload.get("decision"), payload.get("approved")
    if decision is not None:
        said.add(str(decision))
    if isinstance(approved, bool):
        said.add("approve" if approved else "reject")
    if said == {"approve"}:
        return "approve"
    return "reject" if said == {"reject"} else None


def ask(decider: Decider, step: StepState) -> None:
    """The step sleeps until enough people have answered. Raises StopNow."""
    params = decider.params(step)
    remind_at = _next_reminder(decider, step, params.get("remind"))
    shown: RawMap = {name: params[name] for name in ("to", "message") if params.get(name) is not None}
    decider.open_callback(step)
    decider.emit(step.id, ev.WaitStarted(on="callback", until=step.until, answer=shown or None, remind_at=remind_at))


def _next_reminder(decider: Decider, step: StepState, every: JsonValue) -> int | None:
    """None once the next one would come after the time to decide."""
    if every is None:
        return None
    try:
        at = decider.now + max(milliseconds_of(every), 1)
    except InvalidDuration as error:
        raise stop("expression", f"remind: {error}", "invalid_duration") from error
    return at if step.expires_at is None or at < step.expires_at else None


def remind(decider: Decider, step: StepState) -> None:
    """A reminder is due: it is journaled, and sent as an event that other flows can wait for."""
    number = step.reminded + 1
    shown = cast("RawMap", step.answer) if isinstance(step.answer, dict) else {}
    again = _next_reminder(decider, step, step.plan.step.params.get("remind"))
    decider.emit(step.id, ev.Reminded(number=number, next_at=again))
    run, flow = decider.state.run_id, decider.state.plan.flow.id
    data: RawMap = {"run": run, "flow": flow, "step": step.address, "number": number, **shown}
    if step.until is not None:
        data["until"] = rfc3339(step.until)
    announce(decider, step, REMINDER_EVENT, f"remind.{number}", data)


def on_decision(decider: Decider, step: StepState, payload: JsonValue) -> None:
    """Somebody decided. Raises ConflictError for one who has decided before, and for what is no decision."""
    verdict = verdict_of(payload)
    if verdict is None or not isinstance(payload, dict):
        raise ConflictError(f"`{step.address}` takes `decision: approve` or `decision: reject`; nothing was changed")
    by, earlier = payload.get("by"), step.signals or []
    if by is not None and any(isinstance(one, dict) and one.get("by") == by for one in earlier):
        raise ConflictError(f"{by} has decided on `{step.address}` already; nothing was changed")
    need = step.plan.step.callback.uses if step.plan.step.callback is not None else 1
    signal: RawMap = {**payload, "decision": verdict, "approved": verdict == "approve", "at": rfc3339(decider.now)}
    if verdict == "approve" and len(earlier) + 1 < need:
        decider.emit(step.id, ev.CallbackReceived(payload=signal))
        return
    decider.decision.close_callback(step, "used")
    decisions: list[JsonValue] = [*earlier, signal]
    reason = f"{'approved' if verdict == 'approve' else 'rejected'} by {by or 'a person'}"
    decider.succeed(step, {**signal, "decisions": decisions}, reason=reason)


def on_expiry(decider: Decider, step: StepState) -> bool:
    """The time to decide is over. False if the step has no decision for that and fails."""
    callback = step.plan.step.callback
    if step.plan.kind != "approve" or callback is None or callback.on_timeout not in ("approve", "reject"):
        return False
    decider.decision.close_callback(step, "expired")
    verdict: Verdict = callback.on_timeout
    output: RawMap = {
        "decision": verdict, "approved": verdict == "approve", "by": None, "timed_out": True,
        "at": rfc3339(decider.now), "decisions": list(step.signals or []),
    }  # fmt: skip
    decider.succeed(step, output, reason=f"nobody decided in time; `on_timeout: {verdict}`")
    return True
