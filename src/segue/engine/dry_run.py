"""Dry run: what a run with given inputs would do, step by step, without doing it (`segue.engine.rehearsal`).

Expressions, branches, loops, retries and waits are real; answers from outside are mocks or assumptions, and whatever
hangs on an assumption says so. Secrets are `***` from the start, further sensitive names are masked as everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

import msgspec

from segue.engine.answers import ASSUMED
from segue.engine.flow_tests import NOT_STARTED
from segue.engine.mocks import Mock
from segue.engine.needs import Needs, needs_of
from segue.engine.port import ActionRegistry, Effect
from segue.engine.rehearsal import DEFAULT_MOMENT, DEFAULT_SEED, Call, Rehearsal
from segue.engine.samples import sample_of
from segue.engine.views import failure_view, masker_of, rfc3339
from segue.flow.document import Document
from segue.flow.durations import format_duration
from segue.flow.findings import Findings
from segue.flow.inputs import resolve_inputs
from segue.flow.model import Flow, JsonValue, RawMap, Step
from segue.flow.starting import Beginning, begin_from, trigger_for
from segue.kernel import events as ev
from segue.kernel.children import is_waited_for
from segue.kernel.reasons import explain_step
from segue.kernel.scope import SeededImpure
from segue.kernel.state import StepState
from segue.kernel.status import STEP_SETTLED, RunStatus, StepStatus
from segue.kernel.step_reasons import explain_unopened
from segue.observe.masking import Masker

ENOUGH: Final = 100
"""Instances of one step that are listed one by one; of more, the first are."""


class PlannedCall(msgspec.Struct, frozen=True, kw_only=True):
    """One call that would be made. `answer`: mock, data, sample, guess or empty; how the answer came about."""

    number: int
    at_seconds: float
    params: JsonValue = None
    answer: str = "mock"
    output: JsonValue = None
    error: dict[str, Any] | None = None


class PlannedStep(msgspec.Struct, frozen=True, kw_only=True):
    """One step as it would go."""

    id: str
    """The instance's address, such as `each[3].enrich`."""
    kind: str
    status: str
    would: str
    """What would happen, in words: `would send POST https://…`."""
    action: str | None = None
    effect: Effect | None = None
    """Of a call: whether it may be repeated; None for what stays inside."""
    calls: list[PlannedCall] = []
    output: JsonValue = None
    reason: str | None = None
    """Why it was skipped, or which branch was taken and why."""
    asks: list[str] = []
    """What decides: the conditions of its branches (`then` if $order.total > 100), or what a `switch` looks at."""
    assumed: str | None = None
    """How its answer was made up, if it was."""
    assumes: list[str] = []
    """Steps whose made-up answers its values come from."""
    wait_seconds: float | None = None
    at_seconds: float = 0.0
    error: dict[str, Any] | None = None
    line: int | None = None


class PlanProblem(msgspec.Struct, frozen=True, kw_only=True):
    """Something that would go wrong (`error`), or is worth a look (`warning`). Line and column count from 1."""

    severity: str
    message: str
    step: str | None = None
    category: str | None = None
    line: int | None = None
    column: int | None = None
    assumes: list[str] = []


class PlannedBeginning(msgspec.Struct, frozen=True, kw_only=True):
    """The trigger's part: what comes of the event that was given. `inputs` are what it gives the run."""

    kind: str | None
    """None: the flow has no trigger for such an event, and takes the body's fields as inputs."""
    begins: bool
    reason: str | None
    inputs: JsonValue
    line: int | None = None


class DryRun(msgspec.Struct, frozen=True, kw_only=True):
    """The whole plan. `ok`: a real run with these answers would end well."""

    flow: str
    version: str | None
    ok: bool
    status: str
    inputs: RawMap
    outputs: JsonValue
    outputs_assume: list[str]
    error: dict[str, Any] | None
    starts_at: str
    took_seconds: float
    """In virtual time: waits, pauses between tries, delays of mocks."""
    steps: list[PlannedStep]
    not_listed: int
    """Instances of steps in loops beyond the first hundred of each."""
    not_reached: list[PlannedStep]
    problems: list[PlanProblem]
    needs: Needs = Needs()
    beginning: PlannedBeginning | None = None
    """What the trigger does with the event; None if no event was given."""
    sampled_inputs: list[str] = []
    """Required inputs that were not given, and are samples."""


def dry_run(
    flow: Flow,
    given: Mapping[str, JsonValue],
    actions: ActionRegistry,
    *,
    mocks: Mapping[str, Mock] | None = None,
    trigger: RawMap | None = None,
    now: int = DEFAULT_MOMENT,
    seed: str = DEFAULT_SEED,
    document: Document | None = None,
    samples: bool = False,
) -> DryRun:
    """What would happen. `now` is in ms since the epoch; `document` gives problems their exact place.

    With `trigger`, an event such as `{kind: webhook, body: …}`, the flow's trigger is played, too: its `when`, and the
    inputs that it makes of the event (`given` wins). With `samples`, required inputs that are missing are made up.

    Raises InvalidInputError, InvalidFlowError, MockError, RehearsalError.
    """
    played = Rehearsal(flow, actions, mocks=mocks, now=now, seed=seed)
    beginning, found = None, dict(given)
    if trigger is not None:
        chosen = trigger_for(flow, trigger)
        beginning = begin_from(flow, chosen, trigger, SeededImpure(seed, "trigger", now))
        found = {**beginning.inputs, **given}
        if not beginning.begins:
            return _Report(played, actions, document).not_started(beginning, trigger)
    sampled = _sampled(flow, found) if samples else {}
    inputs = resolve_inputs(flow, {**sampled, **found})
    played.play(inputs, trigger if trigger is None else {"kind": "test", **trigger})
    report = _Report(played, actions, document)
    made = report.make(inputs)
    began = None if beginning is None or trigger is None else report.beginning(beginning, trigger)
    return msgspec.structs.replace(made, beginning=began, sampled_inputs=list(sampled))


def _sampled(flow: Flow, given: Mapping[str, JsonValue]) -> RawMap:
    """A sample for each required input that is missing and has no default."""
    properties, required = flow.inputs.get("properties"), flow.inputs.get("required")
    if not isinstance(properties, dict) or not isinstance(required, list):
        return {}
    schemas = {name: properties.get(name) for name in required if isinstance(name, str) and name not in given}
    return {
        name: sample_of(schema)[0]
        for name, schema in schemas.items()
        if isinstance(schema, dict) and "default" not in schema
    }


class _Report:
    def __init__(self, played: Rehearsal, actions: ActionRegistry, document: Document | None) -> None:
        self.played = played
        self.state = played.state
        self.actions = actions
        self.findings = Findings(played.plan.flow, document)
        self.masker: Masker = masker_of(played.state)
        self.calls: dict[int, list[Call]] = {}
        for call in played.calls:
            self.calls.setdefault(call.step.id, []).append(call)

    def make(self, inputs: RawMap) -> DryRun:
        state, played = self.state, self.played
        order = list(dict.fromkeys(row.step for row in played.rows if row.step >= 0))
        ran = {number for number in order if state.nodes[number].status in STEP_SETTLED or state.nodes[number].attempt}
        opened = {step.plan.index for step in state.nodes}
        idle = [step for step in state.nodes if step.id not in ran and step.status is not StepStatus.CANCELLED]
        listed = self.listed(order)
        status = "waiting" if played.stuck else state.status.value
        flow = state.plan.flow
        steps = [self.step(state.nodes[number]) for number in listed]
        return DryRun(
            flow=flow.id, version=flow.version, ok=state.status is RunStatus.SUCCEEDED, status=status,
            inputs=cast("RawMap", self.masked(inputs)), outputs=self.masked(state.outputs),
            outputs_assume=played.assumptions.of_outputs(state.plan),
            error=failure_view(state.error, self.masker), starts_at=rfc3339(played.began) or "",
            took_seconds=(played.now - played.began) / 1000,
            steps=steps, not_listed=len(order) - len(listed),
            not_reached=[
                *(self.unreached(step) for step in idle),
                *(
                    PlannedStep(
                        id=plan.address, kind=plan.kind, status="skipped", would="would not run",
                        reason=explain_unopened(plan, state).sentence, line=_line(plan.step.span),
                    )
                    for plan in state.plan.nodes
                    if plan.index not in opened
                ),
            ],
            problems=self.problems(), needs=needs_of(state.plan, steps, self.outside_calls()),
        )  # fmt: skip

    def beginning(self, found: Beginning, event: RawMap) -> PlannedBeginning:
        chosen = trigger_for(self.state.plan.flow, event)
        return PlannedBeginning(
            kind=None if chosen is None else chosen.kind, begins=found.begins,
            reason=None if found.reason is None else self.masker.mask_text(found.reason),
            inputs=self.masked(found.inputs), line=None if chosen is None else _line(chosen.span),
        )  # fmt: skip

    def not_started(self, found: Beginning, event: RawMap) -> DryRun:
        flow = self.state.plan.flow
        return DryRun(
            flow=flow.id, version=flow.version, ok=False, status=NOT_STARTED, inputs={}, outputs=None,
            outputs_assume=[], error=None, starts_at=rfc3339(self.played.began) or "", took_seconds=0.0, steps=[],
            not_listed=0, not_reached=[], problems=[], beginning=self.beginning(found, event),
        )  # fmt: skip

    def listed(self, order: list[int]) -> list[int]:
        seen: dict[int, int] = {}
        found: list[int] = []
        for number in order:
            plan = self.state.nodes[number].plan.index
            seen[plan] = seen.get(plan, 0) + 1
            if seen[plan] <= ENOUGH:
                found.append(number)
        return found

    def outside_calls(self) -> int:
        return sum(
            call.kind == "attempt" and call.params is not None and call.step.plan.kind != "flow"
            for call in self.played.calls
        )

    def masked(self, value: object) -> JsonValue:
        return cast("JsonValue", self.masker.mask_json(value))

    def unreached(self, step: StepState) -> PlannedStep:
        reason = explain_step(self.state, step, self.played.now).sentence
        return PlannedStep(
            id=step.address, kind=step.plan.kind, status=step.status.value, would="would not run", reason=reason,
            line=_line(step.plan.step.span),
        )  # fmt: skip

    # ------------------------------------------------------------ one step

    def step(self, step: StepState) -> PlannedStep:
        own, calls = step.plan.step, self.calls.get(step.id, [])
        source = self.played.sources.get(step.id)
        started = step.started_at if step.started_at is not None else step.ended_at
        skipped = step.status is StepStatus.SKIPPED
        reason = step.reason if step.reason is not None else step.edges_reason
        return PlannedStep(
            id=step.address, kind=step.plan.kind, status=step.status.value,
            would="would be skipped" if skipped else self.would(step, calls),
            action=own.use or ("http" if own.kind == "http" else None),
            asks=_asks(own), effect=self.effect(step, calls), calls=[self.call(call) for call in calls],
            output=self.masked(step.output), reason=None if reason is None else self.masker.mask_text(reason),
            assumed=_ASSUMPTIONS.get(source) if source in ASSUMED else None,
            assumes=self.played.assumptions.of_step(step), wait_seconds=self.waited(step),
            at_seconds=0.0 if started is None else (started - self.played.began) / 1000,
            error=failure_view(step.error, self.masker), line=_line(own.span),
        )  # fmt: skip

    def call(self, call: Call) -> PlannedCall:
        return PlannedCall(
            number=call.number, at_seconds=(call.at - self.played.began) / 1000, params=self.masked(call.params),
            answer=call.source, output=self.masked(call.output), error=failure_view(call.failure, self.masker),
        )  # fmt: skip

    def effect(self, step: StepState, calls: list[Call]) -> Effect | None:
        own = step.plan.step
        if not step.plan.is_action:
            return None
        if own.idempotency is not None:
            return own.idempotency
        action = self.actions.get(own.use or ("http" if own.kind in ("http", "poll") else own.kind))
        params: dict[str, Any] = {}
        for call in calls:
            params = call.params if isinstance(call.params, dict) else params
        return None if action is None else action.effect_of(params)

    def waited(self, step: StepState) -> float | None:
        if step.plan.kind != "wait" or step.started_at is None or step.ended_at is None:
            return None
        return (step.ended_at - step.started_at) / 1000

    def would(self, step: StepState, calls: list[Call]) -> str:
        own, kind = step.plan.step, step.plan.kind
        params = next((call.params for call in calls if isinstance(call.params, dict)), None)
        text = _WOULD.get(kind, f"would run `{kind}`")
        if own.unbound:
            text = f"nothing is known by `{own.use}`: a real run would refuse it; what flowed in is passed on"
        elif step.plan.is_action:
            text = self.would_call(step, cast("dict[str, Any] | None", params))
        elif kind == "wait" and step.event is not None:
            text = f"would wait for the event {step.event}"
        elif kind == "wait" and own.callback is None:
            text = f"would wait {format_duration(self.waited(step) or 0.0)}"
        elif kind == "log" and isinstance(step.output, dict):
            text = f"would log ({step.output.get('level', 'info')}): {step.output.get('message')}"
        elif kind == "foreach":
            text = f"would go through {_counted(len(step.items or ()), 'item')}"
        elif kind == "repeat":
            text = f"would make {_counted(sum(one.plan.role == 'body' for one in step.children or ()), 'turn')}"
        if kind == "approve" and own.callback is not None:
            limit = format_duration(own.callback.expires_seconds)
            text = f"would wait for {_counted(own.callback.uses, 'decision')}, {limit} at most"
        elif own.callback is not None:
            limit = format_duration(own.callback.expires_seconds)
            wait = f"would wait for a callback, {limit} at most"
            text = wait if kind == "wait" else f"{text}, then {wait}"
        return self.masker.mask_text(text)

    def would_call(self, step: StepState, params: dict[str, Any] | None) -> str:
        own = step.plan.step
        if own.kind == "flow" and params is not None:
            return f"would run the flow {params.get('flow')}" + ("" if is_waited_for(step) else " and go on at once")
        name = own.use or own.kind
        if params is None:
            return f"would call {name}, but its parameters cannot be computed"
        if own.kind == "http" or (own.kind == "poll" and own.use in (None, "http")):
            method, url = params.get("method") or "GET", self.masker.mask_url(str(params.get("url")))
            verb = "ask" if own.kind == "poll" else "send"
            return f"would {verb} {method} {url}" + (" until it is done" if own.kind == "poll" else "")
        asks = own.path in self.played.polls
        return f"would call {name}" + (" until it is done" if own.kind == "poll" else ", then ask for its end" * asks)

    # ------------------------------------------------------------ problems

    def problems(self) -> list[PlanProblem]:
        found = [self.problem(step, "warning", note) for step, note in self.played.notes]
        for row in self.played.rows:
            event = row.event
            if isinstance(event, ev.StepFailed | ev.HandlerStarted | ev.StepRecovered) and event.error is not None:
                step = self.state.nodes[row.step]
                if event.error.step in (None, step.address):
                    handled = not isinstance(event, ev.StepFailed)
                    found.append(self.failed(step, event.error, handled=handled))
        error = self.state.error
        if error is not None and error.step is None:
            node = self.findings.node(None, _label(error.message))
            span = None if node is None or self.findings.document is None else self.findings.document.span(node)
            found.append(
                PlanProblem(
                    severity="error", message=self.masker.mask_text(error.message), category=error.category,
                    line=_line(span), column=None if span is None else span.column,
                    assumes=self.played.assumptions.of_outputs(self.state.plan),
                )
            )  # fmt: skip
        if self.played.stuck:
            waiting = [step for step in self.state.nodes if step.status in (StepStatus.WAITING, StepStatus.RUNNING)]
            found += [self.problem(step, "error", "waits for an answer that never comes") for step in waiting]
        return list({(one.message, one.step, one.line): one for one in found}.values())

    def failed(self, step: StepState, error: ev.Failure, *, handled: bool) -> PlanProblem:
        made = self.problem(step, "warning" if handled else "error", error.message, _label(error.message))
        return msgspec.structs.replace(made, category=error.category)

    def problem(self, step: StepState, severity: str, message: str, field: str = "") -> PlanProblem:
        own = step.plan.step
        node = self.findings.node(own, field) if field else None
        span = own.span
        if node is not None and self.findings.document is not None:
            span = self.findings.document.span(node) or span
        return PlanProblem(
            severity=severity, message=self.masker.mask_text(message), step=step.address, line=_line(span),
            column=None if span is None else span.column, assumes=self.played.assumptions.of_step(step),
        )  # fmt: skip


_ASSUMPTIONS: Final = {
    "sample": "assumes a sample answer made from its schema",
    "guess": "assumes the answer that it waits for",
    "empty": "assumes an empty answer",
    "data": "assumes that what flowed in is passed on",
}
_WOULD: Final = {
    "start": "takes what flowed in",
    "set": "would set values",
    "map": "would make an object",
    "return": "would end the run with a result",
    "stop": "would end the run",
    "fail": "would fail the run",
    "branch": "would choose a path",
    "emit": "would send an event",
    "respond": "would answer the caller that waits",
    "conditional": "would choose a branch",
    "switch": "would choose a branch",
    "parallel": "would run its branches side by side",
    "try": "would try its steps",
    "wait": "would wait",
}


def _asks(step: Step) -> list[str]:
    """The conditions of a step's branches, as written."""
    found = [f"`{block.label}` if {block.when}" for block in step.blocks if block.when is not None]
    on = step.params.get("on") if step.kind == "switch" else None
    return [f"looks at {on}", *found] if isinstance(on, str) else found


def _counted(number: int, one: str) -> str:
    return f"{number:,} {one}" if number == 1 else f"{number:,} {one}s"


def _line(span: Any) -> int | None:
    return None if span is None else span.line


def _label(message: str) -> str:
    """The field that an expression's error begins with: `when: …`, `params: …`; empty if it begins otherwise."""
    head, colon, _ = message.partition(": ")
    return head if colon and head.isidentifier() else ""


__all__ = ["DryRun", "Needs", "PlanProblem", "PlannedBeginning", "PlannedCall", "PlannedStep", "dry_run"]
