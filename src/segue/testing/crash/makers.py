"""Attempts of a crash test: every one is booked in the ledger, then answered by mocks or, in live mode, really made."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from typing import Final

import msgspec

from segue.engine.answers import Answers
from segue.engine.attempts import AttemptMaker, LogWriter, call_of
from segue.engine.ids import idempotency_key
from segue.engine.mocks import MockError
from segue.engine.port import ActionRegistry
from segue.engine.secrets import SecretResolver
from segue.expr import ExprError
from segue.flow.model import JsonValue
from segue.kernel.evaluate import expression_failure
from segue.kernel.inputs import AttemptEnded
from segue.kernel.state import RunState, StepState
from segue.kernel.status import StepStatus
from segue.testing.crash.clock import SkippingClock
from segue.testing.crash.ledger import Ledger, Line

_encode_sorted: Final = msgspec.json.Encoder(order="sorted").encode


def call_identity(state: RunState, step: StepState) -> str:
    """What tells one call to the outside from the next, however often a crash lets it be repeated."""
    place = f"{state.run_id}/{step.address}~{step.fallback}/{step.generation}/{step.polls}"
    is_signal = step.callback and step.status is StepStatus.WAITING
    return f"{place}/signal {len(step.signals or ())}" if is_signal else f"{place}/try {step.tries}"


class LedgerNumbering:
    """`segue.engine.answers.Numbering` that survives the process: a call that is repeated gets the answer it had."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def next(self, key: str, state: RunState, step: StepState) -> int:
        """See `Numbering.next`."""
        return self._ledger.index_of(key, call_identity(state, step))

    def use(self, key: str, state: RunState, step: StepState) -> None:
        """See `Numbering.use`."""
        self._ledger.give(key, call_identity(state, step))


class BookingMaker(AttemptMaker):
    """Makes attempts like any host, and books each before and after: live mode."""

    def __init__(self, actions: ActionRegistry, secrets: SecretResolver, ledger: Ledger, clock: SkippingClock) -> None:
        super().__init__(actions, secrets)
        self._ledger = ledger
        self._clock = clock

    async def make(
        self, state: RunState, step: StepState, workspace: str, write_log: LogWriter, callback_url: str | None
    ) -> AttemptEnded | None:
        """See `AttemptMaker.make`."""
        with self._clock.busy():
            line = self.book_call(state, step, workspace, None)
            given = await super().make(state, step, workspace, write_log, callback_url)
            if given is not None:
                self.book_answer(line, given)
            return given

    def book_call(self, state: RunState, step: StepState, workspace: str, params: JsonValue) -> Line:
        """The call is about to be made."""
        action = self.action_of(step)
        sent = params if isinstance(params, dict) else {}
        effect = step.plan.step.idempotency or ("keyed" if action is None else action.effect_of(sent))
        line = Line(
            what="call", life=self._ledger.life, step=step.address, generation=step.generation, attempt=step.attempt,
            key=idempotency_key(call_of(state, step, workspace)),
            params="" if params is None else hashlib.sha256(_encode_sorted(params)).hexdigest()[:16], effect=effect,
            is_unsafe=self.is_unsafe(state, step), is_handled=step.handling is not None,
            call=call_identity(state, step),
        )  # fmt: skip
        self._ledger.book(line)
        return line

    def book_answer(self, line: Line, given: AttemptEnded) -> None:
        """The call's answer is about to be told to the engine."""
        self._ledger.book(msgspec.structs.replace(line, what="answer", is_good=given.failure is None))


class PlayedMaker(BookingMaker):
    """Calls nothing: attempts are answered by mocks, samples and guesses, as in `segue test`."""

    starts_children = False

    def __init__(
        self,
        actions: ActionRegistry,
        ledger: Ledger,
        clock: SkippingClock,
        answers: Answers,
        refuse: Callable[[MockError], None],
    ) -> None:
        """`refuse` hears of a mock that cannot be used; its call is never answered."""
        super().__init__(actions, SecretResolver({}), ledger, clock)
        self._answers = answers
        self._refuse = refuse

    async def make(
        self, state: RunState, step: StepState, workspace: str, write_log: LogWriter, callback_url: str | None
    ) -> AttemptEnded | None:
        """See `AttemptMaker.make`."""
        number = step.attempt
        try:
            params = self._answers.params(state, step)
        except ExprError as error:
            return AttemptEnded(step.id, number, failure=expression_failure(error, "params"))
        line = self.book_call(state, step, workspace, params)
        try:
            answered = self._answers.of_call(state, step, params, self._clock.now())
        except MockError as error:
            self._refuse(error)
            answered = None
        if answered is None or answered.is_silent:
            await asyncio.get_running_loop().create_future()
            return None
        if answered.after_seconds:
            await self._clock.sleep_until(self._clock.now() + round(answered.after_seconds * 1000))
        given = AttemptEnded(step.id, number, answered.output, answered.failure, answered.retry_after_seconds)
        self.book_answer(line, given)
        return given
