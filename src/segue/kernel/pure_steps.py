"""Steps that are done within a decision, without an attempt: they only compute, choose, wait or end the run."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from segue.expr.sealed import holds_sealed, opened
from segue.kernel import approvals, messages
from segue.kernel import events as ev
from segue.kernel.durations import InvalidDuration, milliseconds_of, moment_of
from segue.kernel.evaluate import stop
from segue.kernel.state import StepState, is_shielded
from segue.kernel.status import StepStatus

if TYPE_CHECKING:
    from segue.kernel.decider import Decider


def _start_step(decider: Decider, step: StepState) -> None:
    decider.succeed(step, derived=True)


def _value_step(decider: Decider, step: StepState) -> None:
    decider.succeed(step, decider.params(step))


def _map_step(decider: Decider, step: StepState) -> None:
    params = decider.params(step)
    value = params.get("value", params)
    decider.succeed(step, value)


def _log_step(decider: Decider, step: StepState) -> None:
    params = decider.params(step)
    params.setdefault("level", "info")
    decider.succeed(step, params)


def _branch_step(decider: Decider, step: StepState) -> None:
    decider.succeed(step, derived=True)


def _return_step(decider: Decider, step: StepState) -> None:
    decider.succeed(step, decider.params(step).get("value"))
    end_run(decider, step)


def _stop_step(decider: Decider, step: StepState) -> None:
    decider.succeed(step, reason="ended the run quietly")
    end_run(decider, step)


def end_run(decider: Decider, step: StepState) -> None:
    """A `return` or `stop` that ended well ends the run, but not from inside the `finally` or undoing of a step."""
    if step.plan.kind not in ("return", "stop"):
        return
    if step.status is not StepStatus.SUCCEEDED or is_shielded(step.block):
        return
    decider.stop_all(f"`{step.address}` ended the run")
    decider.finish_well(outputs=step.output if step.plan.kind == "return" else None, stopped_by=step.address)


def _fail_step(decider: Decider, step: StepState) -> None:
    params = decider.params(step)
    decider.emit(step.id, ev.empty(ev.StepStarted))
    code, message = params.get("code"), params.get("message")
    category = str(params.get("category") or "validation")
    text = str(message or code or "the flow's `fail` step was reached")
    raise stop(category, text, None if code is None else str(code))


def _wait_step(decider: Decider, step: StepState) -> None:
    decider.emit(step.id, ev.empty(ev.StepStarted))
    await_anew(decider, step)


def await_anew(decider: Decider, step: StepState) -> None:
    """A try of a step that waits has begun: it opens what it waits for. Raises StopNow."""
    if step.plan.kind == "approve":
        approvals.ask(decider, step)
    elif step.plan.step.callback is not None:
        decider.open_callback(step)
        decider.emit(step.id, ev.WaitStarted(on="callback", until=step.until))
    elif "event" in step.plan.step.params:
        messages.await_event(decider, step)
    else:
        _sleep(decider, step)


def _sleep(decider: Decider, step: StepState) -> None:
    params = decider.params(step)
    try:
        if "until" in params:
            until = moment_of(opened(params["until"]))
        else:
            until = decider.now + milliseconds_of(opened(params.get("duration")))
    except InvalidDuration as error:
        told = "a value that is kept secret is no duration" if holds_sealed(params) else str(error)
        raise stop("expression", told, "invalid_duration") from None
    if until <= decider.now:
        decider.succeed(step, reason="the time had passed already")
    else:
        decider.emit(step.id, ev.WaitStarted(on="time", until=until))


PURE_STEPS: dict[str, Callable[[Decider, StepState], None]] = {
    "start": _start_step,
    "set": _value_step,
    "map": _map_step,
    "log": _log_step,
    "emit": messages.emit_step,
    "respond": messages.respond_step,
    "branch": _branch_step,
    "return": _return_step,
    "stop": _stop_step,
    "fail": _fail_step,
    "wait": _wait_step,
    "approve": _wait_step,
}
