"""One life of a host: it takes up the run that it finds, or starts it, and drives it to its end or to its own death."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from segue.engine.answers import Answered, Answers, playable
from segue.engine.host import MAX_EVENT_ID_LENGTH, Engine
from segue.engine.mocks import Mock, MockError
from segue.engine.port import ActionRegistry
from segue.engine.rehearsal import DEFAULT_MOMENT
from segue.engine.secrets import SecretResolver
from segue.errors import ConflictError, EngineError, GoneError, NotFoundError
from segue.flow.model import Flow, JsonValue, RawMap
from segue.kernel.state import RunState, StepState
from segue.kernel.status import STEP_SETTLED, RunStatus, StepStatus
from segue.store.port import Commit, RunFilter, RunRecord
from segue.testing.crash.clock import SkippingClock
from segue.testing.crash.ledger import Ledger, Line
from segue.testing.crash.makers import BookingMaker, LedgerNumbering, PlayedMaker, call_identity
from segue.testing.crash.store import KillingStore, Moment

RUNS_MAX: Final = 1_000
_KEY: Final = b"the callbacks of a throw-away database"
_log = logging.getLogger("segue.testing.crash")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What is run, and what the outside answers. `now` is in ms since the epoch."""

    name: str
    flow: Flow
    inputs: RawMap
    actions: ActionRegistry
    trigger: RawMap | None = None
    mocks: dict[str, Mock] = field(default_factory=dict[str, Mock])
    now: int = DEFAULT_MOMENT
    seed: str = "crash test"
    is_live: bool = False
    """Actions are really called, with the secrets that the flow names; only signals are mocked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One life. `kill_at` counts journal writes from 1; 0: it lives until the run is over. `chance` makes ids."""

    folder: Path
    number: int = 1
    kill_at: int = 0
    moment: Moment = "before"
    chance: str = ""


class StepOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """One step instance as its journal says."""

    address: str
    generation: int
    status: str
    attempt: int
    is_over: bool
    output: JsonValue = None
    category: str | None = None
    """Of its error."""


class RunOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """One run as its journal says. `status` is `waiting` for one that waits for what never comes."""

    run_id: str
    key: int
    events: int
    status: str
    outputs: JsonValue = None
    category: str | None = None
    message: str | None = None
    steps: list[StepOutcome] = []


class LifeResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a life that was not cut short tells."""

    number: int
    """Of this life, counted from 1."""
    commits: int
    seconds: float
    opened_seconds: float
    """From its birth until it had taken up what it found."""
    found: list[RunOutcome]
    """The runs as the life before it left them."""
    ended: list[RunOutcome]
    unusable: str | None = None
    """Why the scenario cannot be played."""


async def live(scenario: Scenario, order: Order) -> LifeResult:
    """One life. Raises EngineError and what else the engine raises: that is a finding."""
    born = time.monotonic()
    store = KillingStore(order.folder / "segue.db", kill_at=order.kill_at, moment=order.moment)
    await store.open()
    records = await _runs(store)
    with Ledger(order.folder / "ledger", order.number) as ledger:
        moment = max([scenario.now, *[await _last_moment(store, one) for one in records]])
        clock = SkippingClock(moment, real=scenario.is_live)
        host = _Life(scenario, order, store, clock, ledger)
        with clock.busy():
            found = [await host.outcome(one) for one in records]
            await host.engine.open()
            opened = time.monotonic()
            run_id = await host.take_up(records)
        unusable = await host.drive(run_id)
        ended = [await host.outcome(one) for one in await _runs(store)]
        await host.engine.close(grace_seconds=0)
    return LifeResult(
        number=order.number, commits=store.commits, seconds=time.monotonic() - born, opened_seconds=opened - born,
        found=found, ended=ended, unusable=unusable,
    )  # fmt: skip


async def _runs(store: KillingStore) -> list[RunRecord]:
    page = await store.list_runs(RunFilter(), limit=RUNS_MAX)
    return sorted(page.runs, key=lambda one: one.key)


async def _last_moment(store: KillingStore, record: RunRecord) -> int:
    return max((row.at for row in await store.load_journal(record.key)), default=0)


class _Life:
    def __init__(
        self, scenario: Scenario, order: Order, store: KillingStore, clock: SkippingClock, ledger: Ledger
    ) -> None:
        self.scenario = scenario
        self.clock = clock
        self.answers = Answers(
            scenario.flow, scenario.actions, scenario.mocks, seed=scenario.seed, numbering=LedgerNumbering(ledger),
            note=lambda _step, _text: None,
        )  # fmt: skip
        self.unusable: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if scenario.is_live:
            self.flow = scenario.flow
            maker = BookingMaker(scenario.actions, SecretResolver(), ledger, clock)
        else:
            self.flow = playable(scenario.flow, scenario.mocks)
            maker = PlayedMaker(scenario.actions, ledger, clock, self.answers, self.refuse)
        self.changed = asyncio.Event()
        self.asking: set[int] = set()
        """Keys of runs with open callbacks."""
        self.signalled: set[str] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self.engine = Engine(
            store, scenario.actions, server_key=_KEY, clock=clock, maker=maker,
            entropy=random.Random(f"{scenario.seed} {order.chance}").randbytes,
        )  # fmt: skip

        def kept(commit: Commit) -> None:
            ledger.book(Line(what="kept", life=order.number, run=commit.run_key, seq=commit.rows[-1].seq))
            if commit.callbacks_opened or commit.waits_opened:
                self.asking.add(commit.run_key)
            if commit.run_key in self.asking:
                self.changed.set()

        store.begin, store.end, store.kept = clock.begin, clock.end, kept

    def refuse(self, error: MockError) -> None:
        """The scenario cannot be played."""
        if not self.unusable.done():
            self.unusable.set_exception(error)

    async def take_up(self, records: list[RunRecord]) -> str:
        """The run's id; it is started unless an earlier life has kept it."""
        for record in records:
            if record.parent_run_id is None:
                return record.run_id
        started = await self.engine.start(self.flow, self.scenario.inputs, trigger=self.scenario.trigger)
        return started.run_id

    async def drive(self, run_id: str) -> str | None:
        """Answer what runs wait for until this one is over, or waits for what never comes. Gives why it cannot be
        played.
        """
        over = asyncio.ensure_future(self._over(run_id))
        idle = asyncio.ensure_future(self._idle())
        signals = asyncio.ensure_future(self._answer_callbacks())
        try:
            await asyncio.wait((over, idle, signals, self.unusable), return_when=asyncio.FIRST_COMPLETED)
            for one in (over, signals, self.unusable):
                if one.done():
                    one.result()
        except MockError as error:
            return error.message
        finally:
            others = (over, idle, signals, self.unusable, *self.tasks)
            for one in others:
                one.cancel()
            await asyncio.gather(*others, return_exceptions=True)
        return None

    async def _over(self, run_id: str) -> None:
        try:
            await self.engine.wait(run_id)
        except EngineError as error:
            _log.warning("%s", error)  # quarantined: the journal's outcome says so

    async def _idle(self) -> None:
        await self.clock.idle.wait()

    # ------------------------------------------------------------ signals from outside

    async def _answer_callbacks(self) -> None:
        while True:
            await self.changed.wait()
            self.changed.clear()
            for key in list(self.asking):
                record = await self.engine.record_by_key(key)
                state = await self.engine.state(record)
                if not any(_awaits_somebody(step) for step in state.nodes):
                    self.asking.discard(key)
                for step in state.nodes:
                    if step.callback and step.status is StepStatus.WAITING and step.waits_on == "callback":
                        self._arrange_signal(state, step)
                    elif _awaits_event(step):
                        self._arrange_event(state, step)

    def _arrange_signal(self, state: RunState, step: StepState) -> None:
        call = call_identity(state, step)
        if call in self.signalled:
            return
        self.signalled.add(call)
        number = len(step.signals or ()) + 1
        answered = self.answers.of_signal(state, step, self.clock.now(), number=number)
        if answered.is_silent:
            return
        token = self.engine.callback_token(state.run_id, step)

        self._deliver_later(step, answered, lambda: self._deliver(token, answered.output))

    def _arrange_event(self, state: RunState, step: StepState) -> None:
        call = f"{call_identity(state, step)}/event"
        if call in self.signalled:
            return
        self.signalled.add(call)
        answered = self.answers.of_event(state, step, self.clock.now())
        name = step.event or ""
        if not answered.is_silent:
            self._deliver_later(step, answered, lambda: self._publish(name, answered.output, call))

    def _deliver_later(self, step: StepState, answered: Answered, deliver: Callable[[], Awaitable[None]]) -> None:
        def begin() -> None:
            task = asyncio.ensure_future(deliver())
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

        # From the step's begin, not from now: the sender's clock went on while the host was dead.
        due = (step.started_at or 0) + round(answered.after_seconds * 1000)
        self.clock.call_at(max(due, self.clock.now()), begin)

    async def _publish(self, name: str, data: JsonValue, id: str) -> None:
        with self.clock.busy():
            await self.engine.publish(name, data, id=id[-MAX_EVENT_ID_LENGTH:])

    async def _deliver(self, token: str, payload: JsonValue) -> None:
        with self.clock.busy(), suppress(ConflictError, GoneError, NotFoundError):  # it comes too late
            await self.engine.callback(token, payload)

    # ------------------------------------------------------------ what became of it

    async def outcome(self, record: RunRecord) -> RunOutcome:
        """A run as its journal says."""
        try:
            state = await self.engine.state(record)
        except EngineError as error:
            return RunOutcome(
                run_id=record.run_id, key=record.key, events=0, status=RunStatus.QUARANTINED.value,
                message=error.message,
            )  # fmt: skip
        if any(_awaits_somebody(step) for step in state.nodes):
            self.asking.add(record.key)
            self.changed.set()
        error = state.error
        return RunOutcome(
            run_id=record.run_id, key=record.key, events=state.seq, status=state.status.value, outputs=state.outputs,
            category=None if error is None else error.category, message=None if error is None else error.message,
            steps=[
                StepOutcome(
                    address=one.address, generation=one.generation, status=one.status.value, attempt=one.attempt,
                    is_over=one.status in STEP_SETTLED, output=one.output,
                    category=None if one.error is None else one.error.category,
                )
                for one in state.nodes
            ],
        )  # fmt: skip


def _awaits_event(step: StepState) -> bool:
    return step.status is StepStatus.WAITING and step.waits_on == "event"


def _awaits_somebody(step: StepState) -> bool:
    return step.callback or _awaits_event(step)
