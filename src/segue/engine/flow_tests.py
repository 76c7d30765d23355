"""Tests of flows: reading a `tests:` section, or a file of tests, with every mistake at its place.

```yaml
tests:
  - name: a declined card is invoiced
    inputs: {order: A-1}
    mocks:
      charge: {error: {category: adapter.card_declined}}
    expect:
      outputs: {paid: false}
      steps: {charge: recovered}
      not_called: [ship]
```

Reading never raises for what an author wrote: like the readers of flows it gives what could be read, and problems with
the same codes (`segue.flow.codes`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal

import msgspec

from segue.engine.answers import all_steps
from segue.engine.case_tables import filled, rows
from segue.engine.mocks import Mock, MockError, read_mock
from segue.engine.rehearsal import DEFAULT_MOMENT
from segue.expr import Condition, ExprError, compile_condition
from segue.flow import codes
from segue.flow.document import Document, Node
from segue.flow.model import Flow, JsonValue, RawMap, Span, Step
from segue.flow.nearest import did_you_mean, suggested
from segue.flow.problems import Problem
from segue.flow.reader import Reader, first_of
from segue.kernel.durations import InvalidDuration, moment_of
from segue.kernel.status import RUN_ENDED, StepStatus

TEST_KEYS: Final = (
    "name", "description", "cases", "skip", "inputs", "trigger", "mocks", "expect", "now", "at", "seed",
)  # fmt: skip
EXPECT_KEYS: Final = (
    "status", "outputs", "exact", "error", "steps", "calls", "not_called", "logs", "that", "took",
)  # fmt: skip
STEP_KEYS: Final = ("status", "output", "attempts", "skipped", "error", "reason")
ERROR_KEYS: Final = ("category", "code", "message", "step", "status")
LOG_KEYS: Final = ("message", "level")
CALL_KEYS: Final = ("times", "with")
REFUSED: Final = "refused"
"""The inputs do not fit: there is no run."""
NOT_STARTED: Final = "not_started"
"""The trigger's `when` does not hold for the event: there is no run."""
RUN_STATUSES: Final = (*sorted(status.value for status in RUN_ENDED), "waiting", REFUSED, NOT_STARTED)
STEP_STATUSES: Final = tuple(status.value for status in StepStatus)
_MOCKED_KINDS: Final = frozenset(("call", "http", "poll", "flow", "approve"))


@dataclass(frozen=True, slots=True, kw_only=True)
class StepExpectation:
    """What is expected of one step. None: nothing."""

    status: str | None = None
    output: JsonValue = None
    has_output: bool = False
    attempts: int | None = None
    error: RawMap | None = None
    reason: str | None = None
    """A part of the sentence that says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallExpectation:
    """What is expected of the calls of one step. `sent`: parameters (partly), of all its calls or one map a call."""

    times: int | None = None
    sent: tuple[RawMap, ...] | None = None
    of_each: bool = False
    """`sent` has one map, for every call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectations:
    """The `expect:` of a test."""

    status: Literal["succeeded", "failed", "cancelled", "timed_out", "waiting", "refused", "not_started"] = "succeeded"
    outputs: JsonValue = None
    has_outputs: bool = False
    exact: bool = False
    """Maps may have no further keys."""
    error: RawMap | None = None
    steps: Mapping[str, StepExpectation] = field(default_factory=dict[str, StepExpectation])
    calls: Mapping[str, CallExpectation] = field(default_factory=dict[str, CallExpectation])
    not_called: tuple[str, ...] = ()
    logs: tuple[RawMap, ...] = ()
    that: tuple[Condition, ...] = ()
    took_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """One row of a test's `cases:`."""

    label: str
    value: JsonValue


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowTest:
    """One test. `now` is in ms since the epoch."""

    name: str
    inputs: RawMap = field(default_factory=dict[str, JsonValue])
    trigger: RawMap | None = None
    mocks: Mapping[str, Mock] = field(default_factory=dict[str, Mock])
    expect: Expectations = field(default_factory=Expectations)
    now: int = DEFAULT_MOMENT
    seed: str | None = None
    skip: str | None = None
    """Why the test is left out."""
    case: Case | None = None
    span: Span | None = None
    file: str | None = None
    """Where it is written."""


def read_tests(flow: Flow, document: Document, node: Node | None = None) -> tuple[list[FlowTest], list[Problem]]:
    """The tests of a document for a flow, and what is wrong with them.

    `node` is the list or map of tests; None: the `tests` of the document's top level, or the document itself if it is
    a list (a file of tests).
    """
    found = node or document.root.get("tests") or (document.root if document.root.items is not None else None)
    if found is None or found.is_null:
        return [], []
    reading = _Reading(flow, document)
    tests: list[FlowTest] = []
    for name, one in reading.entries(found):
        for test in reading.tests(one, name):
            if any(other.name == test.name for other in tests):
                named = one.get("name") or one
                reading.reader.problem(codes.DUPLICATE_KEY, named, f'two tests are called "{test.name[:60]}"')
            tests.append(test)
    # Each row of a table is read by itself, and tells the same problems as the others.
    return tests, list({(one.code, one.path, one.message): one for one in reading.reader.problems}.values())


class _Reading:
    def __init__(self, flow: Flow, document: Document) -> None:
        self.flow = flow
        self.reader = Reader(document)
        self.steps: dict[str, list[Step]] = {}
        for step in all_steps(flow):
            self.steps.setdefault(step.id, []).append(step)

    def entries(self, node: Node) -> Iterable[tuple[str | None, Node]]:
        """Tests as a list with names inside, or as a map by name."""
        if node.items is not None:
            return [(None, item) for item in node.items]
        if node.entries is not None:
            return [(name, child) for name, child in node.entries.items() if not name.startswith("x-")]
        self.reader.wrong_type(node, "tests", "a list, or a map by name")
        return []

    def tests(self, node: Node, name: str | None) -> Iterable[FlowTest]:
        """The test of an entry, or one for each row of its table."""
        table = node.get("cases")
        if table is None or table.is_null:
            found = self.test(node, name)
            return () if found is None else (found,)
        if table.items is None and table.entries is None:
            self.reader.wrong_type(table, "cases", "a list of cases, or a map by name")
            return ()
        if not table.items and not table.entries:
            self.reader.problem(codes.NOT_ALLOWED, table, "there are no cases in the table, so there would be no test")
            return ()
        return [test for label, row in rows(table) if (test := self.row(node, name, label, row)) is not None]

    def row(self, node: Node, name: str | None, label: str, row: Node) -> FlowTest | None:
        case = Case(label, row.plain())
        plain = msgspec.structs.replace(node, entries={**(node.entries or {}), "cases": Node()})
        try:
            test = self.test(filled(plain, case.value), name)
        except ExprError as error:
            self.reader.problem(codes.EXPRESSION, row, f"the case {label[:60]}: {error}")
            return None
        if test is None:
            return None
        written = node.get("name")
        same = name is not None or written is None or written.scalar == test.name
        return replace(
            test, case=case, name=f"{test.name} [{label}]" if same else test.name, span=self.reader.document.span(row)
        )

    def test(self, node: Node, name: str | None) -> FlowTest | None:
        reader = self.reader
        entries = reader.map_of(node, "a test")
        if entries is None:
            return None
        entries = reader.check_keys(entries, TEST_KEYS, "a test")
        if name is None:
            named = entries.get("name")
            name = f"test {node.key + 1}" if isinstance(node.key, int) else "test"
            name = (reader.name(named, "name") if named is not None else None) or name
        inputs, trigger = entries.get("inputs"), entries.get("trigger")
        mocks, expect = entries.get("mocks"), entries.get("expect")
        seed, skip = entries.get("seed"), entries.get("skip")
        return FlowTest(
            name=name, span=reader.document.span(node), file=reader.document.file,
            inputs={} if inputs is None else self.inputs(inputs),
            trigger=None if trigger is None else reader.raw_map(trigger, "trigger"),
            mocks={} if mocks is None else self.mocks(mocks),
            expect=Expectations() if expect is None or expect.is_null else self.expectations(expect),
            now=self.moment(first_of(entries, "now", "at")),
            seed=None if seed is None else reader.text(seed, "seed"),
            skip=None if skip is None or skip.scalar is False else self.skip(skip),
        )  # fmt: skip

    def skip(self, node: Node) -> str | None:
        """`skip: true`, or the reason."""
        return "skipped" if node.scalar is True else self.reader.text(node, "skip")

    def inputs(self, node: Node) -> RawMap:
        """What the run is given. A name that the flow does not declare would be refused by every run."""
        schema = self.flow.inputs
        properties = schema.get("properties")
        if isinstance(properties, dict) and schema.get("additionalProperties") is False:
            for name, child in (node.entries or {}).items():
                if name not in properties:
                    hint = did_you_mean(name, properties)
                    patch = None if hint is None else self.reader.key_patch(child, suggested(hint))
                    message = f'the flow declares no input "{name[:60]}"'
                    self.reader.problem(codes.UNKNOWN_INPUT, child, message, at_key=True, suggestion=hint, patch=patch)
        return self.reader.raw_map(node, "inputs")

    def moment(self, node: Node | None) -> int:
        if node is None or node.is_null:
            return DEFAULT_MOMENT
        try:
            return moment_of(node.scalar)
        except InvalidDuration as error:
            self.reader.problem(codes.NOT_ALLOWED, node, f"now: {error}")
            return DEFAULT_MOMENT

    # ------------------------------------------------------------ steps by name

    def known(self, name: str, node: Node, *, at_key: bool = True) -> list[Step] | None:
        """The steps that a name or an instance's address may mean; a problem if there is none."""
        found = self.steps.get(name) or self.steps.get(name.rpartition(".")[2])
        if found is None:
            hint = did_you_mean(name, self.steps) or f"steps: {', '.join(list(self.steps)[:12])}"
            message = f'the flow has no step "{name[:60]}"'
            patch = None
            if hint.startswith("did you mean"):
                edit = self.reader.key_patch if at_key else self.reader.word_patch
                patch = edit(node, suggested(hint))
            self.reader.problem(codes.UNKNOWN_STEP, node, message, at_key=at_key, suggestion=hint, patch=patch)
        return found

    def mocks(self, node: Node) -> dict[str, Mock]:
        found: dict[str, Mock] = {}
        for name, child in (self.reader.map_of(node, "mocks") or {}).items():
            steps = self.known(name, child)
            if steps is None:
                continue
            if not any(_is_answered(step) for step in steps):
                message = f"the step {name} ({steps[0].kind}) calls nothing outside, so it runs as it is"
                hint = "mock the calls inside it" if steps[0].blocks else "leave the mock out"
                self.reader.problem(codes.NOT_ALLOWED, child, message, at_key=True, suggestion=hint)
                continue
            try:
                found[name] = read_mock(child.plain())
            except MockError as error:
                place = _below(child, error.path)
                message = f"mock of {name}: {error.message}"
                self.reader.problem(codes.NOT_ALLOWED, place, message, suggestion=error.suggestion)
        return found

    # ------------------------------------------------------------ expectations

    def expectations(self, node: Node) -> Expectations:
        reader = self.reader
        entries = reader.map_of(node, "expect") or {}
        entries = reader.check_keys(entries, EXPECT_KEYS, "expect")
        error = entries.get("error")
        status = "failed" if error is not None and not error.is_null else "succeeded"
        if stated := entries.get("status"):
            status = reader.choice(stated, "status", {word: word for word in RUN_STATUSES}) or status
        outputs, exact, took = entries.get("outputs"), entries.get("exact"), entries.get("took")
        not_called = entries.get("not_called")
        return Expectations(
            status=status,  # pyright: ignore[reportArgumentType]
            outputs=None if outputs is None else outputs.plain(),
            has_outputs=outputs is not None,
            exact=bool(exact is not None and reader.boolean(exact, "exact")),
            error=None if error is None or error.is_null else self.error(error),
            steps={name: self.step(one) for name, one in self.by_step(entries.get("steps"), "steps")},
            calls={name: self.calls(one) for name, one in self.by_step(entries.get("calls"), "calls")},
            not_called=() if not_called is None else self.not_called(not_called),
            logs=() if (logs := entries.get("logs")) is None else self.logs(logs),
            that=() if (that := entries.get("that")) is None else self.that(that),
            took_seconds=None if took is None else reader.duration(took, "took"),
        )

    def by_step(self, node: Node | None, what: str) -> list[tuple[str, Node]]:
        if node is None or node.is_null:
            return []
        entries = self.reader.map_of(node, what) or {}
        return [(name, child) for name, child in entries.items() if self.known(name, child) is not None]

    def not_called(self, node: Node) -> tuple[str, ...]:
        nodes = [node] if node.items is None else node.items
        names = [(self.reader.name(one, "not_called"), one) for one in nodes]
        return tuple(name for name, one in names if name is not None and self.known(name, one, at_key=False))

    def step(self, node: Node) -> StepExpectation:
        reader = self.reader
        statuses = {word: word for word in STEP_STATUSES}
        if node.text is not None:
            return StepExpectation(status=reader.choice(node, "the status of a step", statuses))
        entries = reader.map_of(node, "what is expected of a step") or {}
        entries = reader.check_keys(entries, STEP_KEYS, "what is expected of a step")
        status = reader.choice(one, "status", statuses) if (one := entries.get("status")) else None
        if (one := entries.get("skipped")) and (skipped := reader.boolean(one, "skipped")) is not None:
            if not skipped:
                hint = "write the status that is expected, such as `status: succeeded`"
                reader.problem(codes.NOT_ALLOWED, one, "`skipped: false` leaves the status open", suggestion=hint)
            status = "skipped"
        output, error, reason = entries.get("output"), entries.get("error"), entries.get("reason")
        return StepExpectation(
            status=status,
            output=None if output is None else output.plain(),
            has_output=output is not None,
            attempts=reader.integer(one, "attempts") if (one := entries.get("attempts")) else None,
            error=None if error is None else self.error(error),
            reason=None if reason is None else reader.text(reason, "reason"),
        )

    def error(self, node: Node) -> RawMap:
        """A category, or a map."""
        if node.text is not None:
            return {"category": node.text}
        entries = self.reader.map_of(node, "error") or {}
        self.reader.check_keys(entries, ERROR_KEYS, "error")
        return {key: child.plain() for key, child in entries.items()}

    def calls(self, node: Node) -> CallExpectation:
        """A number; a list with the parameters of each call; or `{times, with}`."""
        reader = self.reader
        if node.items is not None:
            sent = tuple(reader.raw_map(one, "the parameters of a call") for one in node.items)
            return CallExpectation(times=len(sent), sent=sent)
        if node.entries is None:
            return CallExpectation(times=reader.integer(node, "the number of calls"))
        reader.check_keys(node.entries, CALL_KEYS, "what is expected of calls")
        times, sent = node.entries.get("times"), node.entries.get("with")
        return CallExpectation(
            times=None if times is None else reader.integer(times, "times"),
            sent=None if sent is None else (reader.raw_map(sent, "with"),),
            of_each=True,
        )

    def logs(self, node: Node) -> tuple[RawMap, ...]:
        nodes = [node] if node.items is None else node.items
        found: list[RawMap] = []
        for one in nodes:
            if one.entries is not None:
                self.reader.check_keys(one.entries, LOG_KEYS, "a log line")
                found.append({key: child.plain() for key, child in one.entries.items()})
            elif (text := self.reader.text(one, "a log line")) is not None:
                found.append({"message": text})
        return tuple(found)

    def that(self, node: Node) -> tuple[Condition, ...]:
        found: list[Condition] = []
        for one in [node] if node.items is None else node.items:
            source = self.reader.expression(one, "that")
            if source is None:
                continue
            try:
                found.append(compile_condition(source))
            except ExprError as error:
                self.reader.problem(codes.EXPRESSION, one, f"that: {error}")
        return tuple(found)


def _below(node: Node, path: tuple[str | int, ...]) -> Node:
    """The node at a path, as near as there is one."""
    for part in path:
        if isinstance(part, int):
            inner = node.items[part] if node.items is not None and part < len(node.items) else None
        else:
            inner = node.get(part)
        if inner is None:
            return node
        node = inner
    return node


def _is_answered(step: Step) -> bool:
    """Whether the world outside answers the step, so that a mock can."""
    return step.kind in _MOCKED_KINDS or step.callback is not None or (step.kind == "wait" and "event" in step.params)


def file_problems(document: Document) -> list[Problem]:
    """What is odd about a file of tests, beside its tests."""
    reader = Reader(document)
    if document.root.entries is not None:
        reader.check_keys(document.root.entries, ("flow", "tests"), "a file of tests")
    return reader.problems


def repeated(tests: Iterable[FlowTest], more: Iterable[FlowTest], file: str) -> list[Problem]:
    """Tests of a further file that are called as ones before."""
    taken = {one.name for one in tests}
    return [
        Problem(
            code=codes.DUPLICATE_KEY, message=f'a test of this flow is called "{one.name}" already', file=file,
            span=one.span,
        )
        for one in more
        if one.name in taken
    ]  # fmt: skip
