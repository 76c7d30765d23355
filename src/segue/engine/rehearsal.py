"""A run played in memory: the real kernel, real expressions, virtual time, and made-up answers from outside.

It plays the part of the host (`segue.engine.host`): carries out what `decide` asks for, but answers every attempt and
callback itself and moves its own clock to whatever is due next. It reaches nothing: no action is called, no secret is
resolved (`***` stands for each), nothing is stored. The same flow, inputs, mocks, moment and seed give the same run.
Where answers come from: `segue.engine.answers`.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from segue.engine.answers import ASSUMED, Answered, Answers, Source, playable
from segue.engine.assumptions import Assumptions
from segue.engine.mocks import Mock, MockError
from segue.engine.port import ActionRegistry
from segue.errors import ConflictError, RequestError
from segue.expr import ExprError
from segue.flow.model import Flow, JsonValue, RawMap
from segue.kernel import events as ev
from segue.kernel import inputs as inp
from segue.kernel.decide import Row, decide
from segue.kernel.evaluate import expression_failure
from segue.kernel.events import Failure
from segue.kernel.plan import Plan, compile_plan
from segue.kernel.state import RunState, StepState
from segue.kernel.status import StepStatus

DEFAULT_MOMENT: Final = 1_767_258_000_000
"""2026-01-01T09:00:00Z in milliseconds since the epoch: when runs begin whose author does not say."""
DEFAULT_SEED: Final = "00" * 16
MAX_DECISIONS: Final = 200_000
"""A flow that needs more than this is taken for one that never ends."""

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


_FromOutside: TypeAlias = inp.AttemptEnded | inp.CallbackArrived | inp.EventArrived


@dataclass(order=True, slots=True)
class _Due:
    at: int
    order: int
    given: _FromOutside = field(compare=False)


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
        self.answers = Answers(flow, actions, self.mocks, seed=seed, numbering=_InOrder(), note=self._note)
        self.polls = self.answers.polls
        self._due: list[_Due] = []
        self._order = 0

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
        for step in [] if decision.outside is None else decision.outside.waits_opened:
            self._event(step)
        for step, text in [] if decision.outside is None else decision.outside.remarks:
            self._note(step, text)
        for step in decision.start:
            if step.id in self.state.active:
                self._attempt(step)
        for step in decision.slots:  # there are no others who could hold them
            self._feed(inp.SlotGiven(step.id))

    def _give(self, given: _FromOutside) -> None:
        step = self.state.nodes[given.step]
        if isinstance(given, inp.CallbackArrived):
            if step.callback and step.status is StepStatus.WAITING:
                self._signal(step, given)
            return
        if isinstance(given, inp.EventArrived):
            before = len(self.rows)
            self._feed(given)
            if len(self.rows) == before and step.status is StepStatus.WAITING:
                self._note(step, "its `where` does not hold for the event that was assumed or mocked")
            return
        asked = given.attempt == step.attempt and step.id in self.state.active
        self._feed(given)
        if asked and given.failure is None and step.callback and step.status is StepStatus.WAITING:
            self._signals(step)

    def _signal(self, step: StepState, given: inp.CallbackArrived) -> None:
        try:
            self._feed(given)
        except ConflictError as error:
            raise MockError(f"the mock of {step.address}: {error.message}", (step.plan.step.id,)) from error

    def _event(self, step: StepState) -> None:
        """Arrange for the event that the step waits for."""
        call = Call(step, "signal", 1, self.now)
        answered = self.answers.of_event(self.state, step, self.now)
        if answered.is_silent:
            return
        call.output, call.source = answered.output, answered.source
        self._note_source(call)
        self.calls.append(call)
        at = self.now + round(answered.after_seconds * 1000)
        event = inp.EventArrived(
            step.id, step.generation, f"evt_{len(self.calls)}", step.event or "", at, data=call.output
        )
        self._schedule(answered.after_seconds, event)

    def _schedule(self, after_seconds: float, given: _FromOutside) -> None:
        self._order += 1
        heapq.heappush(self._due, _Due(self.now + round(after_seconds * 1000), self._order, given))

    # ------------------------------------------------------------ attempts

    def _attempt(self, step: StepState) -> None:
        call = Call(step, "attempt", step.attempt, self.now)
        self.calls.append(call)
        try:
            call.params = self.answers.params(self.state, step)
        except ExprError as error:
            self._end(call, Answered(failure=expression_failure(error, "params")))
            return
        problem = self.answers.misfit(step, call.params)
        if problem is not None and not self.assumptions.of_step(step):
            failure = Failure(category="validation", code="invalid_params", message=problem)
            self._end(call, Answered(failure=failure), transient=False)
            return
        if problem is not None:
            self._note(step, f"{problem}; but its parameters hang on an assumed answer")
        answered = self.answers.of_call(self.state, step, call.params, self.now)
        call.source = answered.source
        self._note_source(call)
        if not answered.is_silent:
            self._end(call, answered)

    def _note_source(self, call: Call) -> None:
        self.sources[call.step.id] = call.source
        if call.source in ASSUMED:
            self.assumptions.assumed.add(call.step.id)
        else:
            self.assumptions.assumed.discard(call.step.id)

    def _end(self, call: Call, answered: Answered, *, transient: bool | None = None) -> None:
        call.output, call.failure = answered.output, answered.failure
        ended = inp.AttemptEnded(
            call.step.id, call.number, call.output, call.failure, answered.retry_after_seconds, transient,
            call.step.generation,
        )  # fmt: skip
        self._schedule(answered.after_seconds, ended)

    def _signals(self, step: StepState) -> None:
        """Arrange for all signals that the step waits for."""
        callback = step.plan.step.callback
        assert callback is not None
        for number in range(1, callback.uses + 1):
            call = Call(step, "signal", number, self.now)
            answered = self.answers.of_signal(self.state, step, self.now, number=number)
            if answered.is_silent:
                return
            call.output, call.source = answered.output, answered.source
            self._note_source(call)
            self.calls.append(call)
            self._schedule(answered.after_seconds, inp.CallbackArrived(step.id, step.generation, call.output))

    # ------------------------------------------------------------ answers

    def _note(self, step: StepState, text: str) -> None:
        self.notes.append((step, text))


class _InOrder:
    """Answers are given in the order of the calls."""

    def __init__(self) -> None:
        self._used: dict[str, int] = {}

    def next(self, key: str, state: RunState, step: StepState) -> int:
        """See `Numbering.next`."""
        return self._used.get(key, 0)

    def use(self, key: str, state: RunState, step: StepState) -> None:
        """See `Numbering.use`."""
        self._used[key] = self._used.get(key, 0) + 1
