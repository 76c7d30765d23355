"""A run becomes a test of its flow: its answers as mocks, its moment as the clock, its results as expectations.

Made from the run as it is shown, so secrets are out already (`***`). What a view does not tell is left out: the answers
of a poll before its last one, and the raw answer of a step that changes its `output:`. Values that the flow drew at
random differ in the test, since a run's seed is not shown.
"""

from __future__ import annotations

import json
from typing import Any, Final, cast

from segue.engine.mocks import FORMS
from segue.engine.views import RunView, StepView
from segue.flow.model import JsonValue, RawMap

_CALLING: Final = frozenset(("call", "http", "poll", "flow", "approve", "emit", "respond"))
_ERROR_KEYS: Final = ("category", "code", "message", "status", "details")
_ENDED: Final = frozenset(("succeeded", "failed", "timed_out", "cancelled"))


def recorded_test(view: RunView, name: str | None = None) -> RawMap:
    """One entry of a flow's `tests:`. Raises ValueError if the run is not over, or was cancelled by somebody."""
    if view.status not in _ENDED:
        raise ValueError(f"run {view.id} is not over yet ({view.status})")
    if view.status == "cancelled":
        raise ValueError(f"run {view.id} was cancelled from outside, which a test cannot repeat")
    test: RawMap = {"name": name or f"as in {view.id}"}
    if view.inputs:
        test["inputs"] = dict(view.inputs)
    if view.started_at is not None:
        test["now"] = view.started_at
    mocks = {step.id: mock for step in view.steps if (mock := _mock(step)) is not None}
    if mocks:
        test["mocks"] = cast("JsonValue", mocks)
    expect: RawMap = {"status": view.status}
    if view.status == "succeeded":
        expect["outputs"] = literal(view.outputs)
    elif view.error is not None:
        expect["error"] = {key: view.error[key] for key in ("category", "code", "step") if key in view.error}
    expect["steps"] = {step.id: _expected(step) for step in view.steps}
    test["expect"] = expect
    return test


def _expected(step: StepView) -> JsonValue:
    """Steps that the run's end cut short, or never reached, are `skipped` in a test."""
    if step.status == "pending":
        return "skipped"
    if step.kind in _CALLING and step.attempts > 1 and step.kind != "poll" and step.error is not None:
        return {"status": step.status, "attempts": step.attempts}
    return step.status


def _mock(step: StepView) -> JsonValue:
    if step.kind == "wait":
        if step.error is not None and step.error["category"] == "timeout":
            return {"no_answer": True}
        return None if step.output is None else _output(step.output)
    if step.kind not in _CALLING or step.attempts == 0:
        return None
    failed = None if step.error is None else {"error": _error(step.error)}
    if step.status != "succeeded":
        return cast("JsonValue", failed)
    last = _output(step.output)
    # A step's error, once it has succeeded, is that of the try before.
    tries = step.attempts - 1 if failed is not None and step.kind != "poll" else 0
    return cast("JsonValue", [*([failed] * tries), last]) if tries else last


def _error(error: dict[str, Any]) -> RawMap:
    return {key: error[key] for key in _ERROR_KEYS if error.get(key) is not None}


def _output(value: JsonValue) -> JsonValue:
    """The output as a mock: lists and look-alikes of the other forms within `output:`."""
    quoted = literal(value)
    alike = isinstance(value, dict) and any(key in value for key in FORMS)
    return {"output": quoted} if isinstance(value, list) or alike else quoted


def literal(value: JsonValue) -> JsonValue:
    """The value in value notation, so that no text of it is taken for a reference or a computation."""
    if isinstance(value, str):
        if "{{" in value:
            return "{{ " + json.dumps(value, ensure_ascii=False) + " }}"
        return value.replace("$", "$$")
    if isinstance(value, list):
        return [literal(one) for one in value]
    if isinstance(value, dict):
        return {key: literal(one) for key, one in value.items()}
    return value
