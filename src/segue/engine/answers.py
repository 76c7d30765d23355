"""The outside world that dry runs, flow tests and crash tests play: what each call of a step is answered with.

Answers come from, in this order: the mocks given (by a step instance's address, then by its id), the step's own
`mock:`, for an unbound name what flowed in, a sample of the action's declared result, an empty HTTP answer, `null`.
Nothing is called, no secret is resolved (`***` stands for each).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal, Protocol, TypeAlias, cast

import msgspec

from segue.engine.attempts import AttemptMaker, asked_value, params_of
from segue.engine.mocks import Answer, Mock, MockError, output_mock, status_category
from segue.engine.port import ActionRegistry
from segue.engine.samples import answer_that_meets, sample_of
from segue.engine.secrets import SecretResolver
from segue.expr import ExprError, Value, compile_poll_condition, compile_value, to_json
from segue.flow.bind import map_steps
from segue.flow.inputs import check_value
from segue.flow.model import Block, Flow, JsonValue, Step
from segue.flow.model import walk as steps_in
from segue.kernel.events import Failure
from segue.kernel.scope import SeededImpure, step_scope
from segue.kernel.state import RunState, StepState
from segue.observe.masking import MASK

Source: TypeAlias = Literal["mock", "data", "sample", "guess", "empty"]
"""Where an answer came from. `data`: what flowed in (an unbound name); `guess`: what a poll waits for."""
ASSUMED: Final = frozenset({"data", "sample", "guess", "empty"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """How one call ends. `is_silent`: no answer ever comes."""

    source: Source = "mock"
    output: JsonValue = None
    failure: Failure | None = None
    is_silent: bool = False
    after_seconds: float = 0.0
    retry_after_seconds: float | None = None


class Numbering(Protocol):
    """Which of a mock's answers a call gets: the mock is named by its key, answers are counted from 0."""

    def next(self, key: str, state: RunState, step: StepState) -> int:
        """The number of the answer to the step's call at hand; it is not used up by asking."""
        ...

    def use(self, key: str, state: RunState, step: StepState) -> None:
        """The answer was given."""
        ...


class Answers:
    """Answers to the calls of one run."""

    def __init__(
        self,
        flow: Flow,
        actions: ActionRegistry,
        mocks: Mapping[str, Mock],
        *,
        seed: str,
        numbering: Numbering,
        note: Callable[[StepState, str], None],
    ) -> None:
        """`flow` as it was written, before `playable`; `note` hears what is odd about an answer."""
        self.mocks = dict(mocks)
        self.polls = {step.path: step for step in all_steps(flow) if step.poll is not None}
        """By path, as written: a poll without a mock is played as one call."""
        self._seed = seed
        self._numbering = numbering
        self._note = note
        self._maker = AttemptMaker(actions, SecretResolver({}))
        self._hidden: dict[tuple[int, bool], Value] = {}
        """By step of the plan and whether its poll asks: parameters with `***` for what is computed from a secret."""

    def params(self, state: RunState, step: StepState) -> JsonValue:
        """The parameters that would be sent. Raises ExprError."""
        value = asked_value(step)
        if value is None:
            return {}
        if step.plan.uses_secrets:
            key = (step.plan.index, step.job is not None)
            if key not in self._hidden:
                self._hidden[key] = compile_value(value.raw, placeholders={"secrets": MASK})
            value = self._hidden[key]
        return cast("JsonValue", params_of(value, state, step))

    def misfit(self, step: StepState, params: JsonValue) -> str | None:
        """How the resolved parameters do not fit the action; values that hold a secret are not judged."""
        action = self._maker.action_of(step)
        if action is None or action.params_schema is None:
            return None
        for path, sentence in check_value(action.params_schema, params):
            if MASK not in str(_at(params, path)):
                return f"{action.name}: {path}: {sentence}" if path else f"{action.name}: {sentence}"
        return None

    def of_call(self, state: RunState, step: StepState, params: JsonValue, now: int) -> Answered:
        """The answer to one attempt. Raises MockError."""
        if step.callback:
            return self._of_outside_job(state, step)
        answer, source = self._answer(state, step)
        if answer.kind == "none":
            return Answered(source=source, is_silent=True)
        if answer.kind == "error":
            return _failed(answer)
        output = self._value(state, step, answer.output, now) if source == "mock" else answer.output
        if step.plan.kind == "http" and step.plan.step.path not in self.polls:
            completed = _http_answer(step, output)
            failure = _http_failure(completed, params)
            if failure is not None:
                return Answered(source=source, failure=failure, after_seconds=answer.after_seconds)
            output = cast("JsonValue", completed)
        self._check_result(step, output, source)
        return Answered(source=source, output=output, after_seconds=answer.after_seconds)

    def _of_outside_job(self, state: RunState, step: StepState) -> Answered:
        """The call of a step that then waits for its callback: a mock's error is the call's, an output the signal's."""
        mock = self.mock_of(step)
        if mock is None:
            return Answered(source="empty")
        key, answers = mock
        answer = answers.answer(self._numbering.next(key, state, step))
        if answer.kind != "error":  # what it gives is still to come, as the signal
            return Answered()
        self._numbering.use(key, state, step)
        return _failed(answer)

    def of_signal(self, state: RunState, step: StepState, now: int, *, number: int = 1) -> Answered:
        """The next signal that the step's callback waits for; `number` counts them. Raises MockError."""
        answered = self._of_mock(state, step, now, "a callback brings a body")
        if answered is None:
            output, source = self._sample_signal(step)
            answered = Answered(source=source, output=output)
        if answered.is_silent:
            return answered
        if step.plan.kind == "approve" and isinstance(answered.output, dict):
            output = _as_decision(step, answered.output, number)
            answered = replace(answered, output=output)
        if answered.source == "mock":
            _check_signal(step, answered.output)
        return answered

    def of_event(self, state: RunState, step: StepState, now: int) -> Answered:
        """The body of the event that the step waits for. Raises MockError."""
        return self._of_mock(state, step, now, "an event brings a body") or Answered(source="empty")

    def _of_mock(self, state: RunState, step: StepState, now: int, brings: str) -> Answered | None:
        mock = self.mock_of(step)
        if mock is None:
            return None
        answer = self._next(mock, state, step)
        if answer.kind == "none":
            return Answered(is_silent=True)
        if answer.kind == "error":
            message = f"{brings} and cannot fail; `no_answer: true` lets its time run out"
            raise MockError(f"the mock of {step.address}: {message}", (step.plan.step.id,))
        output = self._value(state, step, answer.output, now)
        return Answered(output=output, after_seconds=answer.after_seconds)

    def mock_of(self, step: StepState) -> tuple[str, Mock] | None:
        """The mock that answers for a step, and the key by which its answers are numbered."""
        own = step.plan.step
        for key in (step.address, own.id):
            if key in self.mocks:
                return key, self.mocks[key]
        return (f"mock of {own.path}", output_mock(own.mock)) if own.has_mock else None

    def _next(self, mock: tuple[str, Mock], state: RunState, step: StepState) -> Answer:
        key, answers = mock
        answer = answers.answer(self._numbering.next(key, state, step))
        self._numbering.use(key, state, step)
        return answer

    def _answer(self, state: RunState, step: StepState) -> tuple[Answer, Source]:
        mock = self.mock_of(step)
        if mock is not None:
            return self._next(mock, state, step), "mock"
        output, source = self._assumed(state, step)
        return Answer(kind="output", output=output), source

    def _assumed(self, state: RunState, step: StepState) -> tuple[JsonValue, Source]:
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
            return cast("JsonValue", step_scope(state, step).lookup("data")), "data"
        if polled is None and action is not None and action.result_schema is not None:
            sample, fits = sample_of(action.result_schema)
            if fits:
                return sample, "sample"
            self._note(step, f"no sample could be made for the declared result of {action.name}")
        return None, "empty"

    def _sample_signal(self, step: StepState) -> tuple[JsonValue, Source]:
        callback = step.plan.step.callback
        schema = None if callback is None else callback.schema or callback.form
        if not schema:
            return None, "empty"
        sample, fits = sample_of(schema)
        if not fits:
            self._note(step, "no sample could be made for the callback's schema; an empty body is assumed")
        return (sample, "sample") if fits else (None, "empty")

    def _check_result(self, step: StepState, output: JsonValue, source: Source) -> None:
        action = self._maker.action_of(step)
        if source != "mock" or action is None or action.result_schema is None or step.plan.kind == "poll":
            return
        for path, sentence in check_value(action.result_schema, output)[:1]:
            where = f" at `{path}`" if path else ""
            self._note(step, f"its mock does not fit the declared result of {action.name}{where}: {sentence}")

    def _value(self, state: RunState, step: StepState, raw: JsonValue, now: int) -> JsonValue:
        """A mock's output, in value notation, as seen from the step."""
        try:
            impure = SeededImpure(self._seed, f"{step.id}.mock", now)
            return cast("JsonValue", to_json(compile_value(raw).evaluate(step_scope(state, step), impure)))
        except ExprError as error:
            raise MockError(f"the mock of {step.address}: {error}", (step.plan.step.id,)) from error


def _as_decision(step: StepState, payload: dict[str, JsonValue], number: int) -> JsonValue:
    """A decision; where several people must agree and none is named, each is another one."""
    decided = payload if "decision" in payload or "approved" in payload else {"decision": "approve", **payload}
    callback = step.plan.step.callback
    if callback is not None and callback.uses > 1 and "by" not in decided:
        decided = {**decided, "by": f"person {number}"}
    return cast("JsonValue", decided)


def playable(flow: Flow, mocks: Mapping[str, Mock]) -> Flow:
    """The flow in which whatever only an outside answer can settle is one call.

    A poll without a mock would ask until its time is over, so its one answer is taken as the one that it waits for.
    """
    by_name = {key.rpartition(".")[2] for key in mocks} | set(mocks)

    def change(step: Step) -> Step:
        if step.poll is not None and not step.has_mock and step.id not in by_name:
            return msgspec.structs.replace(step, poll=None)
        return step

    return map_steps(flow, change)


def blocks_of(flow: Flow) -> list[Block]:
    """The root, and the flow's own handlers and `finally`."""
    return [block for block in (flow.root, flow.on_error_block, flow.finally_) if block is not None]


def all_steps(flow: Flow) -> list[Step]:
    """Every step of the flow, in document order, handlers included."""
    return [step for block in blocks_of(flow) for step in steps_in(block)]


def _failed(answer: Answer) -> Answered:
    return Answered(
        failure=answer.failure, after_seconds=answer.after_seconds, retry_after_seconds=answer.retry_after_seconds
    )


def _check_signal(step: StepState, payload: JsonValue) -> None:
    """A body that does not fit is refused at the door and never reaches the run: such a mock shows nothing."""
    callback = step.plan.step.callback
    schema = None if callback is None else callback.schema
    for path, sentence in check_value(schema, payload) if schema else ():
        where = f" at `{path}`" if path else ""
        message = f"the mock of {step.address} does not fit the callback's schema{where}: {sentence}"
        raise MockError(message, (step.plan.step.id,))


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


def _http_failure(answer: dict[str, JsonValue], sent: JsonValue) -> Failure | None:
    """What the `http` step makes of an answer that is an error, and that `success` does not name."""
    status, params = answer["status"], sent if isinstance(sent, dict) else {}
    accepted = params.get("success")
    fine = isinstance(accepted, list) and status in accepted
    if not isinstance(status, int) or status < 400 or fine:
        return None
    return Failure(
        category=status_category(status), code=f"http_{status}", status=status,
        message=f"{params.get('method') or 'GET'} {params.get('url')} answered {status}",
        details={"body": answer["body"]},
    )  # fmt: skip


def _at(value: JsonValue, path: str) -> JsonValue:
    for part in path.split(".") if path else ():
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            return None
    return value
