"""Runs the tests of a flow: plays each in memory (`segue.engine.rehearsal`) and compares what happened with `expect:`.

Values are compared in part (`segue.engine.matching`). What a test says nothing of is not looked at, except that a run
without an expected error or status must succeed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, cast

import msgspec

from segue.engine.answers import ASSUMED
from segue.engine.coverage import Coverage, Trace
from segue.engine.flow_tests import NOT_STARTED, REFUSED, CallExpectation, FlowTest, StepExpectation
from segue.engine.matching import Difference, compare
from segue.engine.mocks import MockError
from segue.engine.port import ActionRegistry
from segue.engine.rehearsal import Call, Rehearsal, RehearsalError
from segue.engine.views import failure_view, masker_of
from segue.errors import InvalidInputError
from segue.expr import ExprError
from segue.flow.durations import format_duration
from segue.flow.inputs import resolve_inputs
from segue.flow.model import Flow, JsonValue, RawMap, Span
from segue.flow.starting import Beginning, begin_from, trigger_for
from segue.kernel.reasons import explain_step
from segue.kernel.scope import RunScope, SeededImpure
from segue.kernel.state import StepState
from segue.kernel.status import StepStatus
from segue.observe.masking import Masker

MAX_DIFFERENCES: Final = 50
_UNSTARTED: Final = "skipped"
"""The status of a step that no instance was made of: its block was never opened."""


class TestResult(msgspec.Struct, frozen=True, kw_only=True):
    """One test's outcome. `status` is the run's; `virtual_seconds` what the waits would have taken."""

    __test__ = False

    name: str
    passed: bool
    status: str
    differences: list[Difference] = []
    error: str | None = None
    """Why the test could not be carried out."""
    skipped: str | None = None
    """Why it was left out (`skip:`); such a test counts as neither passed nor failed."""
    run_error: dict[str, Any] | None = None
    assumed: list[str] = []
    """Steps that answered with a made-up value, since the test has no mock for them."""
    notes: list[str] = []
    virtual_seconds: float = 0.0
    file: str | None = None
    line: int | None = None


class FlowTestResults(msgspec.Struct, frozen=True, kw_only=True):
    """All tests of one flow."""

    flow: str
    passed: bool
    tests: list[TestResult]
    coverage: Coverage


def run_tests(
    flow: Flow, tests: Sequence[FlowTest], actions: ActionRegistry, *, fail_fast: bool = False
) -> FlowTestResults:
    """Run the tests, each by itself; with `fail_fast` none after the first that fails.

    Raises InvalidFlowError if the flow cannot be compiled.
    """
    trace = Trace()
    trace.know(Rehearsal(flow, actions).plan)
    results: list[TestResult] = []
    for test in tests:
        if test.skip is not None:
            results.append(_skipped(test))
            continue
        results.append(run_test(flow, test, actions, trace))
        if fail_fast and not results[-1].passed:
            break
    passed = all(one.passed or one.skipped is not None for one in results)
    return FlowTestResults(flow=flow.id, passed=passed, tests=results, coverage=trace.coverage())


def _skipped(test: FlowTest) -> TestResult:
    line = _line(test.span)
    return TestResult(name=test.name, passed=False, status="skipped", skipped=test.skip, file=test.file, line=line)


def run_test(flow: Flow, test: FlowTest, actions: ActionRegistry, trace: Trace) -> TestResult:
    """Run one test and book in `trace` what it went through."""
    line = _line(test.span)
    try:
        beginning = beginning_of(flow, test)
        if not beginning.begins:
            return _not_started(test, beginning, line)
        inputs = resolve_inputs(flow, {**beginning.inputs, **test.inputs})
    except InvalidInputError as error:
        return _refused(test, error, line)
    played = Rehearsal(flow, actions, mocks=test.mocks, now=test.now, seed=_seed_of(flow, test))
    try:
        played.play(inputs, {"kind": "test", **test.trigger} if test.trigger is not None else None)
    except (MockError, RehearsalError) as error:
        return TestResult(name=test.name, passed=False, status="error", error=error.message, file=test.file, line=line)
    trace.add(played.state, played.rows)
    comparison = _Comparison(played, test)
    differences = list(comparison.all())[:MAX_DIFFERENCES]
    assumed = {number for number, source in played.sources.items() if source in ASSUMED}
    return TestResult(
        name=test.name, passed=not differences, status=comparison.status, differences=differences,
        run_error=failure_view(played.state.error, comparison.masker),
        assumed=[played.state.nodes[number].address for number in sorted(assumed)],
        notes=[comparison.masker.mask_text(f"{step.address}: {note}") for step, note in played.notes],
        virtual_seconds=(played.now - played.began) / 1000, file=test.file, line=line,
    )  # fmt: skip


def _line(span: Span | None) -> int | None:
    return None if span is None else span.line


def beginning_of(flow: Flow, test: FlowTest) -> Beginning:
    """What the flow's trigger makes of the test's event. Raises InvalidInputError."""
    if test.trigger is None:
        return Beginning(begins=True)
    impure = SeededImpure(_seed_of(flow, test), "trigger", test.now)
    return begin_from(flow, trigger_for(flow, test.trigger), test.trigger, impure)


def _seed_of(flow: Flow, test: FlowTest) -> str:
    return hashlib.sha256(f"{flow.id}/{test.seed or test.name}".encode()).hexdigest()[:32]


def _not_started(test: FlowTest, beginning: Beginning, line: int | None) -> TestResult:
    differences: list[Difference] = []
    if test.expect.status != NOT_STARTED:
        why = beginning.reason
        differences.append(Difference(what="status", expected=test.expect.status, actual=NOT_STARTED, why=why))
    return TestResult(
        name=test.name, passed=not differences, status=NOT_STARTED, differences=differences, file=test.file, line=line
    )


def _refused(test: FlowTest, error: InvalidInputError, line: int | None) -> TestResult:
    said = "; ".join(f"{path}: {sentence}" if path else sentence for path, sentence in error.details)
    view: dict[str, Any] = {"category": "validation", "message": said}
    differences: list[Difference] = []
    if test.expect.status != REFUSED:
        differences.append(Difference(what="status", expected=test.expect.status, actual=REFUSED, why=said))
    elif test.expect.error is not None:
        differences += _errors("error", test.expect.error, view)
    return TestResult(
        name=test.name,
        passed=not differences,
        status=REFUSED,
        differences=differences,
        run_error=view,
        file=test.file,
        line=line,
    )


class _Comparison:
    def __init__(self, played: Rehearsal, test: FlowTest) -> None:
        self.played = played
        self.state = played.state
        self.test = test
        self.expect = test.expect
        self.masker: Masker = masker_of(played.state)
        self.status = "waiting" if played.stuck else played.state.status.value

    def all(self) -> Iterator[Difference]:
        """Everything that is not as expected, the run's end first.

        Values are compared as they are and shown masked: a test has no secrets, but its fixtures may look like some.
        """
        for one in self.differences():
            name = one.what.rpartition(".")[2]
            both = {name: one.expected}, {name: one.actual}
            expected, actual = (cast("dict[str, JsonValue]", self.masker.mask_json(value))[name] for value in both)
            yield msgspec.structs.replace(one, expected=expected, actual=actual)

    def differences(self) -> Iterator[Difference]:
        """The same, with the values as they are."""
        expect, state = self.expect, self.state
        error = failure_view(state.error, self.masker)
        if self.status != expect.status:
            why = None if error is None else f"{error['category']}: {error['message']}"
            if self.played.stuck:
                waiting = [
                    step.address for step in state.nodes if step.status in (StepStatus.WAITING, StepStatus.RUNNING)
                ]
                why = f"still waits: {', '.join(waiting)}"
            yield Difference(what="status", expected=expect.status, actual=self.status, why=why)
        if expect.error is not None:
            yield from _errors("error", expect.error, error)
        if expect.has_outputs:
            yield from self.compare("outputs", expect.outputs, state.outputs, exact=expect.exact)
        for name, one in expect.steps.items():
            yield from self.step(name, one)
        for name, one in expect.calls.items():
            yield from self.calls(name, one)
        for name in expect.not_called:
            made = self.attempts(name)
            if made:
                yield Difference(what=f"not_called.{name}", expected=0, actual=len(made))
        yield from self.logs(expect.logs)
        yield from self.conditions()
        took = (self.played.now - self.played.began) / 1000
        if expect.took_seconds is not None and abs(took - expect.took_seconds) >= 0.001:
            yield Difference(what="took", expected=format_duration(expect.took_seconds), actual=format_duration(took))

    def extra(self) -> dict[str, Any]:
        """Names beside those of the flow: of the run's end, and of the row of a table."""
        state, case = self.state, self.test.case
        found = {"outputs": state.outputs, "status": self.status, "error": failure_view(state.error, self.masker)}
        return found if case is None else {**found, "case": case.value}

    def compare(
        self, what: str, expected: JsonValue, actual: JsonValue, *, exact: bool = False
    ) -> Iterator[Difference]:
        extra = self.extra()
        return compare(
            what, expected, actual, exact=exact, scope_of=lambda value: RunScope(self.state, value=value, extra=extra)
        )

    def instances(self, name: str) -> list[StepState]:
        exact = [step for step in self.state.nodes if step.address == name]
        return exact or [step for step in self.state.nodes if step.plan.step.id == name]

    def attempts(self, name: str) -> list[Call]:
        wanted = {step.id for step in self.instances(name)}
        return [call for call in self.played.calls if call.kind == "attempt" and call.step.id in wanted]

    def step(self, name: str, expect: StepExpectation) -> Iterator[Difference]:
        """Of a step in a loop every instance must be as expected."""
        found = self.instances(name)
        if not found:
            wants_more = expect.has_output or expect.attempts or expect.error is not None
            if expect.status not in (None, _UNSTARTED) or wants_more:
                what, expected = f"steps.{name}.status", expect.status or "reached"
                yield Difference(what=what, expected=expected, actual="not reached", why="its block was never opened")
            return
        for step in found:
            yield from self.instance(f"steps.{step.address if len(found) > 1 else name}", step, expect)

    def instance(self, what: str, step: StepState, expect: StepExpectation) -> Iterator[Difference]:
        reason = self.masker.mask_text(explain_step(self.state, step, self.played.now).sentence)
        status = step.status.value
        if step.status is StepStatus.PENDING and self.state.ended:
            status = _UNSTARTED
        if expect.status is not None and status != expect.status:
            yield Difference(what=f"{what}.status", expected=expect.status, actual=status, why=reason)
        if expect.has_output:
            yield from self.compare(f"{what}.output", expect.output, step.output, exact=self.expect.exact)
        if expect.attempts is not None and step.attempt != expect.attempts:
            yield Difference(what=f"{what}.attempts", expected=expect.attempts, actual=step.attempt)
        if expect.error is not None:
            yield from _errors(f"{what}.error", expect.error, failure_view(step.error, self.masker))
        if expect.reason is not None and expect.reason not in reason:
            yield Difference(what=f"{what}.reason", expected=expect.reason, actual=reason)

    def calls(self, name: str, expect: CallExpectation) -> Iterator[Difference]:
        made = self.attempts(name)
        if expect.times is not None and len(made) != expect.times:
            yield Difference(what=f"calls.{name}", expected=expect.times, actual=len(made))
            return
        if expect.sent is None:
            return
        if expect.of_each and not made and expect.times is None:
            yield Difference(what=f"calls.{name}", expected=cast("JsonValue", expect.sent[0]), actual="not called")
        for number, call in enumerate(made):
            sent = expect.sent[0] if expect.of_each else expect.sent[number]
            yield from self.compare(f"calls.{name}[{number}]", cast("JsonValue", sent), call.params)

    def logs(self, expected: Iterable[RawMap]) -> Iterator[Difference]:
        lines = [
            cast("dict[str, Any]", step.output)
            for step in sorted(self.state.nodes, key=lambda one: one.settled_seq)
            if step.plan.kind == "log" and step.status is StepStatus.SUCCEEDED and isinstance(step.output, dict)
        ]
        shown = cast(
            "JsonValue", [f"{_level(line)}: {self.masker.mask_text(str(line.get('message')))}" for line in lines]
        )
        for number, wanted in enumerate(expected):
            text, level = str(wanted.get("message", "")), wanted.get("level")
            said = [line for line in lines if level is None or _level(line) == _level(wanted)]
            if not any(self.says(str(line.get("message")), text) for line in said):
                yield Difference(what=f"logs[{number}]", expected=cast("JsonValue", wanted), actual=shown)

    def says(self, message: str, wanted: str) -> bool:
        """A part of the line, or a condition on it."""
        if "{{" in wanted:
            return not list(self.compare("", wanted, message))
        return wanted in message

    def conditions(self) -> Iterator[Difference]:
        state = self.state
        extra = self.extra()
        for condition in self.expect.that:
            try:
                holds, why = condition.evaluate(RunScope(state, extra=extra))
            except ExprError as error:
                yield Difference(what="that", expected=condition.source, actual="an error", why=str(error))
                continue
            if not holds:
                yield Difference(
                    what="that", expected=condition.source, actual=False, why=why or self.values(condition, extra)
                )

    def values(self, condition: Any, extra: dict[str, Any]) -> str:
        """The values that the condition read."""
        told: list[str] = []
        for reference in condition.references:
            try:
                value: Any = RunScope(self.state, extra=extra).lookup(reference.root)
            except ExprError:
                continue
            for part in reference.path:
                value = _part(value, part)
            name = str(reference.path[-1]) if reference.path else reference.root
            shown = cast("dict[str, Any]", self.masker.mask_json({name: value}))[name]
            told.append(f"{reference.text} is {msgspec.json.encode(shown).decode()[:200]}")
        return "; ".join(dict.fromkeys(told))


def _errors(what: str, expected: RawMap, actual: dict[str, Any] | None) -> Iterator[Difference]:
    """A message is compared as a part, a category with its family (`http.5xx`), the rest exactly."""
    if actual is None:
        yield Difference(what=what, expected=cast("JsonValue", expected), actual=None, why="there was no error")
        return
    for key, value in expected.items():
        found = actual.get(key)
        if key == "message":
            fits = str(value) in str(found)
        elif key == "category":
            fits = found == value or _in_family(str(found), str(value))
        else:
            fits = found == value
        if not fits:
            yield Difference(what=f"{what}.{key}", expected=value, actual=found, why=str(actual.get("message")))


def _in_family(category: str, wanted: str) -> bool:
    return wanted.endswith("xx") and len(category) == len(wanted) and category[:-2] == wanted[:-2]


def _level(line: RawMap | dict[str, Any]) -> str:
    level = str(line.get("level", "info")).lower()
    return "warning" if level == "warn" else level


def _part(value: Any, part: str | int) -> Any:
    if isinstance(part, str):
        return cast("dict[str, Any]", value).get(part) if isinstance(value, dict) else None
    items = cast("list[Any]", value) if isinstance(value, list) else []
    return items[part] if 0 <= part < len(items) else None
