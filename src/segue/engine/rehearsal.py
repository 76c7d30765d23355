"""A run played in memory: the real kernel, real expressions, virtual time, and made-up answers from outside.

It plays the part of the host (`segue.engine.host`): carries out what `decide` asks for, but answers every attempt and
callback itself and moves its own clock to whatever is due next. It reaches nothing: no action is called, no secret is
resolved (`***` stands for each), nothing is stored. The same flow, inputs, mocks, moment and seed give the same run.

Answers come from, in this order: the mocks given (by a step instance's address, then by its id), the step's own
`mock:`, for an unbound name what flowed in, a sample of the action's declared result, an empty HTTP answer, `null`.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias, cast

import msgspec

from segue.engine.assumptions import Assumptions
from segue.engine.attempts import AttemptMaker
from segue.engine.mocks import Answer, Mock, MockError, output_mock, status_category
from segue.engine.port import ActionRegistry
from segue.engine.samples import answer_that_meets, sample_of
from segue.engine.secrets import SecretResolver
from segue.errors import RequestError
from segue.expr import ExprError, compile_poll_condition, compile_value, to_json
from segue.flow.bind import map_steps
from segue.flow.inputs import check_value
from segue.flow.model import Block, Flow, JsonValue, RawMap, Step
from segue.flow.model import walk as steps_in
from segue.kernel import events as ev
from segue.kernel import inputs as inp
from segue.kernel.decide import Row, decide
from segue.kernel.evaluate import expression_failure
from segue.kernel.events import Failure
from segue.kernel.plan import RUNNABLE_KINDS, Plan, compile_plan
from segue.kernel.scope import SeededImpure, step_scope
from segue.kernel.state import RunState, StepState
from segue.kernel.status import StepStatus
from segue.observe.masking import MASK

DEFAULT_MOMENT: Final = 1_767_258_000_000
"""2026-01-01T09:00:00Z in milliseconds since the epoch: when runs begin whose author does not say."""
DEFAULT_SEED: Final = "00" * 16
MAX_DECISIONS: Final = 200_000
"""A flow that needs more than this is taken for one that never ends."""

Source: TypeAlias = Literal["mock", "data", "sample", "guess", "empty"]
"""Where an answer came from. `data`: what flowed in (an unbound name); `guess`: what a poll waits for."""
ASSUMED: Final = frozenset({"data", "sample", "guess", "empty"})


_ENDS: Final = (ev.StepCancelled, ev.EdgesChosen)


class RehearsalError(RequestError):
    """The flow cannot be played to its end (it makes decisions without end)."""


@dataclass(slots=True)
class Call:
    """One call that a real run would have made: an attempt, or one signal that a callback waited for."""

    step: StepState
    kind: Literal["attempt", "signal"]
    number: int
    """Of the attempt, counted from 1; of the signal likewise."""
    at: int
    params: JsonValue = None
    """Resolved, with `***` for secrets; None for a signal."""
    source: Source = "mock"
    output: JsonValue = None
    failure: Failure | None = None


@dataclass(order=True, slots=True)
class _Due:
    at: int
    order: int
    given: inp.AttemptEnded | inp.CallbackArrived = field(compare=False)


class Rehearsal:
    """One run. `play` it once, then read `state`, `rows`, `calls`, `notes`."""

    def __init__(
        self,
        flow: Flow,
        actions: ActionRegistry,
        *,
        mocks: Mapping[str, Mock] | None = None,
        now: int = DEFAULT_MOMENT,
        seed: str = DEFAULT_SEED,
        run_id: str = "run_rehearsal",
    ) -> None:
        """Raises InvalidFlowError if the flow cannot be compiled."""
        self.mocks = dict(mocks or {})
        self.plan: Plan = compile_plan(playable(flow, self.mocks))
        self.state = RunState(self.plan, run_id)
        self.rows: list[Row] = []
        self.calls: list[Call] = []
        self.notes: list[tuple[StepState, str]] = []
        """What is odd about an answer or a call, without stopping the run."""
        self.began = self.now = now
        self.stuck = False
        """The run waits for something that never comes."""
        self.sources: dict[int, Source] = {}
        """By step number, of its last answer."""
        self.assumptions = Assumptions(self.state)
        self._seed = seed
        self.polls = {step.path: step for step in all_steps(flow) if step.poll is not None}
        """By path, as written: a poll without a mock is played as one call."""
        self._maker = AttemptMaker(actions, SecretResolver({}))
        self._secrets: dict[str, object] = dict.fromkeys(flow.secrets, MASK)
        self._due: list[_Due] = []
        self._order = 0
        self._used: dict[str, int] = {}

    def play(self, inputs: RawMap, trigger: RawMap | None = None) -> None:
        """Play the run to its end, or until it waits for what never comes. Raises MockError, RehearsalError."""
        self._feed(inp.Begin(inputs, trigger or {"kind": "test"}, self._seed))
        state = self.state
        for _ in range(MAX_DECISIONS):
            if state.ended:
                return
            due = state.next_due()
            if self._due and (due is None or self._due[0].at <= due):
                answer = heapq.heappop(self._due)
                self.now = max(self.now, answer.at)
                self._give(answer.given)
            elif due is not None:
                self.now = max(self.now, due)
                self._feed(inp.TimersDue())
            else:
                self.stuck = True
                return
        raise RehearsalError(
            f"flow {state.plan.flow.id} was not over after {MAX_DECISIONS:,} decisions; look for a loop without end"
        )

    # ------------------------------------------------------------ the host's part

    def _feed(self, given: inp.Input) -> None:
        decision = decide(self.state, given, self.now)
        self.rows += decision.rows
        for row in decision.rows:
            if row.step >= 0 and not isinstance(row.event, _ENDS):
                self.assumptions.see(self.state.nodes[row.step])
        for step in decision.callbacks_opened:
            if not step.plan.is_action:
                self._signals(step)
        for step in decision.start:
            if step.id in self.state.active:
                self._attempt(step)

    def _give(self, given: inp.AttemptEnded | inp.CallbackArrived) -> None:
        step = self.state.nodes[given.step]
        if isinstance(given, inp.CallbackArrived):
            if step.callback and step.status is StepStatus.WAITING:
                self._feed(given)
            return
        asked = given.attempt == step.attempt and step.id in self.state.active
        self._feed(given)
        if asked and given.failure is None and step.callback and step.status is StepStatus.WAITING:
            self._signals(step)

    def _schedule(self, after_seconds: float, given: inp.AttemptEnded | inp.CallbackArrived) -> None:
        self._order += 1
        heapq.heappush(self._due, _Due(self.now + round(after_seconds * 1000), self._order, given))

    # ------------------------------------------------------------ attempts

    def _attempt(self, step: StepState) -> None:
        call = Call(step, "attempt", step.attempt, self.now)
        self.calls.append(call)
        try:
            call.params = cast("JsonValue", self._maker.params(self.state, step, self._secrets))
        except ExprError as error:
            self._end(call, expression_failure(error, "params"))
            return
        problem = self._misfit(step, call.params)
        if problem is not None and not self.assumptions.of_step(step):
            self._end(call, Failure(category="validation", code="invalid_params", message=problem), transient=False)
            return
        if problem is not None:
            self.notes.append((step, f"{problem}; but its parameters hang on an assumed answer"))
        if step.callback:
            self._start_outside_job(call)
            return
        answer, call.source = self._answer(step)
        self._note_source(call)
        if answer.kind == "error" and answer.failure is not None:
            self._end(call, answer.failure, answer)
        elif answer.kind == "output":
            self._end(call, self._put_output(call, answer), answer)

    def _start_outside_job(self, call: Call) -> None:
        """The call of a step that then waits for its callback: a mock's error is the call's, an output the signal's."""
        mock = self._mock_of(call.step)
        if mock is None:
            call.source = "empty"
            self._note_source(call)
        else:
            key, answers = mock
            answer = answers.answer(self._used.get(key, 0))
            if answer.kind == "error" and answer.failure is not None:
                self._used[key] = self._used.get(key, 0) + 1
                self._end(call, answer.failure, answer)
                return
        self._end(call, None)

    def _note_source(self, call: Call) -> None:
        self.sources[call.step.id] = call.source
        if call.source in ASSUMED:
            self.assumptions.assumed.add(call.step.id)
        else:
            self.assumptions.assumed.discard(call.step.id)

    def _end(
        self, call: Call, failure: Failure | None, answer: Answer | None = None, *, transient: bool | None = None
    ) -> None:
        call.failure = failure
        after = 0.0 if answer is None else answer.after_seconds
        ended = inp.AttemptEnded(
            call.step.id, call.number, call.output, failure,
            None if answer is None else answer.retry_after_seconds, transient,
        )  # fmt: skip
        self._schedule(after, ended)

    def _put_output(self, call: Call, answer: Answer) -> Failure | None:
        """Set the call's output; an HTTP answer is completed, and fails as the `http` step would fail it."""
        step = call.step
        output = self._value(step, answer.output) if call.source == "mock" else answer.output
        if step.plan.kind == "http" and step.plan.step.path not in self.polls:
            output = _http_answer(step, output)
            status, params = output["status"], call.params if isinstance(call.params, dict) else {}
            accepted = params.get("success")
            fine = isinstance(accepted, list) and status in accepted
            if isinstance(status, int) and status >= 400 and not fine:
                message = f"{params.get('method') or 'GET'} {params.get('url')} answered {status}"
                return Failure(
                    category=status_category(status), code=f"http_{status}", status=status, message=message,
                    details={"body": output["body"]},
                )  # fmt: skip
        self._check_result(step, output, call.source)
        call.output = output
        return None

    def _check_result(self, step: StepState, output: JsonValue, source: Source) -> None:
        action = self._maker.action_of(step)
        if source != "mock" or action is None or action.result_schema is None or step.plan.kind == "poll":
            return
        for path, sentence in check_value(action.result_schema, output)[:1]:
            where = f" at `{path}`" if path else ""
            self.notes.append((step, f"its mock does not fit the declared result of {action.name}{where}: {sentence}"))

    def _misfit(self, step: StepState, params: JsonValue) -> str | None:
        """How the resolved parameters do not fit the action; values that hold a secret are not judged."""
        action = self._maker.action_of(step)
        if action is None or action.params_schema is None:
            return None
        for path, sentence in check_value(action.params_schema, params):
            if MASK not in str(_at(params, path)):
                return f"{action.name}: {path}: {sentence}" if path else f"{action.name}: {sentence}"
        return None

    # ------------------------------------------------------------ callbacks

    def _signals(self, step: StepState) -> None:
        """Arrange for all signals that the step waits for."""
        callback = step.plan.step.callback
        assert callback is not None
        for number in range(1, callback.uses + 1):
            mock = self._mock_of(step)
            call = Call(step, "signal", number, self.now)
            if mock is None:
                call.output, call.source = self._sample_signal(step)
                after = 0.0
            else:
                answer = self._next(mock)
                if answer.kind == "none":
                    return
                if answer.kind == "error":
                    message = "a callback brings a body and cannot fail; `no_answer: true` lets it expire"
                    raise MockError(f"the mock of {step.address}: {message}", (step.plan.step.id,))
                call.output, after = self._value(step, answer.output), answer.after_seconds
                self._check_signal(step, call.output)
            self._note_source(call)
            self.calls.append(call)
            self._schedule(after, inp.CallbackArrived(step.id, step.generation, call.output))

    def _sample_signal(self, step: StepState) -> tuple[JsonValue, Source]:
        callback = step.plan.step.callback
        schema = None if callback is None else callback.schema or callback.form
        if not schema:
            return None, "empty"
        sample, fits = sample_of(schema)
        if not fits:
            self.notes.append((step, "no sample could be made for the callback's schema; an empty body is assumed"))
        return (sample, "sample") if fits else (None, "empty")

    def _check_signal(self, step: StepState, payload: JsonValue) -> None:
        """A body that does not fit is refused at the door and never reaches the run: such a mock shows nothing."""
        callback = step.plan.step.callback
        schema = None if callback is None else callback.schema
        for path, sentence in check_value(schema, payload) if schema else ():
            where = f" at `{path}`" if path else ""
            message = f"the mock of {step.address} does not fit the callback's schema{where}: {sentence}"
            raise MockError(message, (step.plan.step.id,))

    # ------------------------------------------------------------ answers

    def _mock_of(self, step: StepState) -> tuple[str, Mock] | None:
        own = step.plan.step
        for key in (step.address, own.id):
            if key in self.mocks:
                return key, self.mocks[key]
        return (f"mock of {own.path}", output_mock(own.mock)) if own.has_mock else None

    def _next(self, mock: tuple[str, Mock]) -> Answer:
        key, answers = mock
        number = self._used.get(key, 0)
        self._used[key] = number + 1
        return answers.answer(number)

    def _answer(self, step: StepState) -> tuple[Answer, Source]:
        mock = self._mock_of(step)
        if mock is not None:
            return self._next(mock), "mock"
        output, source = self._assumed(step)
        return Answer(kind="output", output=output), source

    def _assumed(self, step: StepState) -> tuple[JsonValue, Source]:
        own = step.plan.step
        polled = self.polls.get(own.path)
        if polled is not None and polled.poll is not None and polled.poll.success_condition is not None:
            guess = answer_that_meets(compile_poll_condition(polled.poll.success_condition))
            if guess is not None:
                return guess, "guess"
        if own.kind == "http":
            return {"status": 200, "headers": {}, "body": None}, "empty"
        action = self._maker.action_of(step)
        if action is None and own.unbound:
            return cast("JsonValue", step_scope(self.state, step).lookup("data")), "data"
        if polled is None and action is not None and action.result_schema is not None:
            sample, fits = sample_of(action.result_schema)
            if fits:
                return sample, "sample"
            self.notes.append((step, f"no sample could be made for the declared result of {action.name}"))
        return None, "empty"

    def _value(self, step: StepState, raw: JsonValue) -> JsonValue:
        """A mock's output, in value notation, as seen from the step."""
        try:
            value = compile_value(raw)
            impure = SeededImpure(self._seed, f"{step.id}.mock", self.now)
            return cast("JsonValue", to_json(value.evaluate(step_scope(self.state, step), impure)))
        except ExprError as error:
            raise MockError(f"the mock of {step.address}: {error}", (step.plan.step.id,)) from error


def playable(flow: Flow, mocks: Mapping[str, Mock]) -> Flow:
    """The flow in which whatever only an outside answer can settle is one call.

    A poll without a mock would ask until its time is over, so its one answer is taken as the one that it waits for; a
    verb that the kernel cannot run yet (`flow`, `approve`, …) is played as a call of that name.
    """
    by_name = {key.rpartition(".")[2] for key in mocks} | set(mocks)

    def change(step: Step) -> Step:
        fields: dict[str, Any] = {}
        if step.kind not in RUNNABLE_KINDS and not step.blocks:
            fields |= {"kind": "call", "use": step.kind}
        if step.poll is not None and not step.has_mock and step.id not in by_name:
            fields["poll"] = None
        return msgspec.structs.replace(step, **fields) if fields else step

    return map_steps(flow, change)


def blocks_of(flow: Flow) -> list[Block]:
    """The root, and the flow's own handlers and `finally`."""
    return [block for block in (flow.root, flow.on_error_block, flow.finally_) if block is not None]


def all_steps(flow: Flow) -> list[Step]:
    """Every step of the flow, in document order, handlers included."""
    return [step for block in blocks_of(flow) for step in steps_in(block)]


def _http_answer(step: StepState, output: JsonValue) -> dict[str, JsonValue]:
    """A mock as the `http` step's whole output. Raises MockError for one that no HTTP answer could be."""
    if not isinstance(output, dict) or not set(output) <= {"status", "headers", "body"}:
        message = "an answer to http is {status, headers, body}; put what was meant under `body`"
        raise MockError(f"the mock of {step.address}: {message}", (step.plan.step.id,))
    status = output.get("status", 200)
    if isinstance(status, bool) or not isinstance(status, int):
        message = "`status` is the HTTP status, a number; put a field of the body under `body`"
        raise MockError(f"the mock of {step.address}: {message}", (step.plan.step.id, "status"))
    return {"status": 200, "headers": {}, "body": None, **output}


def _at(value: JsonValue, path: str) -> JsonValue:
    for part in path.split(".") if path else ():
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            return None
    return value
