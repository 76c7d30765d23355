"""A simulation of whole hosts: the real engine over a store and a world that fail, in virtual time, from one seed.

One `random.Random` decides on everything: the flows, what actions answer and when, which commits fail or are held up,
when the host is killed (nothing of it goes on, the store keeps what was flushed) or closed and another one opened, what
people do (start, cancel, pause, resume, call back: early, late, twice). After each act the invariants are checked
(`segue.testing.invariants`). At the end the world behaves, time runs forward, and every run that was accepted must end.

The same seed gives the same history on every machine: `Report.digest` is made of all that happened. After the practice
of FoundationDB and TigerBeetle ("deterministic simulation testing").
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from segue.engine.bus import KEPT_MS
from segue.engine.flow_source import RegisteredFlows
from segue.engine.host import Engine
from segue.engine.ids import new_run_id
from segue.errors import ConflictError, EngineError, GoneError, LimitReachedError, NotFoundError
from segue.flow.model import Flow, JsonValue
from segue.kernel import events as ev
from segue.store.rules import IDEMPOTENCY_KEY_MS
from segue.testing.fake_clock import DEFAULT_START, FakeClock, run_in_virtual_time
from segue.testing.invariants import InvariantError, check_fold
from segue.testing.random_flows import EVENTS, INPUTS, FlowMaker
from segue.testing.simulated_world import Call, Line, Outside
from segue.testing.simulation_checks import NotingStore, Watch, check_feeds

SERVER_KEY: Final = b"the key of simulated callback tokens"
FORWARD_SECONDS: Final = 400 * 86_400.0
_LAST_LINES: Final = 40
_PAUSES_SECONDS: Final = (0.0, 0.0, 0.0, 0.001, 0.001, 0.01, 0.01, 0.1, 0.5, 0.5, 3.0, 10.0, 45.0, 4_000.0)
_CLIENT_ERRORS: Final = (ConflictError, GoneError, NotFoundError, EngineError, LimitReachedError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What one simulation did. Equal seeds give equal reports."""

    seed: int
    digest: str
    """Over the whole history."""
    runs: dict[str, int]
    """Number of runs by final status."""
    events: int
    calls: int
    crashes: int
    restarts: int
    commits_failed: int
    virtual_seconds: float


def simulate(seed: int, *, acts: int = 150) -> Report:
    """Play one simulation. Raises InvariantError that names the seed and tells the last of the history."""
    simulation = Simulation(seed, acts=acts)
    log = logging.getLogger("segue.engine")
    level, log.level = log.level, logging.CRITICAL
    try:
        return run_in_virtual_time(simulation.play())
    except Exception as error:
        last = "\n  ".join(simulation.history[-_LAST_LINES:])
        raise InvariantError(f"seed {seed}: {type(error).__name__}: {error}\n  {last}") from error
    finally:
        log.level = level


@dataclass
class _Host:
    engine: Engine
    line: Line
    clock: FakeClock


@dataclass
class Simulation:
    """One simulation; `play` it once."""

    seed: int
    acts: int = 150
    history: list[str] = field(default_factory=list[str])

    def __post_init__(self) -> None:
        self._random = random.Random(f"segue {self.seed}")
        self._digest = hashlib.sha256()
        self._named: list[str] = []
        self._known = RegisteredFlows()
        self._maker = FlowMaker(self._random, sub_flows=self._named)
        self._store = NotingStore(self._note)
        self._outside = Outside(self._random, self._check_call, self._note)
        self._watch = Watch(self._store, self._outside, self._note)
        self._flows: list[Flow] = []
        self._published: dict[str, int] = {}
        """When an event of this id was sent first (ms)."""
        self._tokens: list[str] = []
        self._shift = 0
        self._signals = 0
        self._clients: dict[asyncio.Task[None], None] = {}
        self._host: _Host | None = None
        self._crashes = self._restarts = 0

    def _check_call(self, call: Call) -> None:
        self._watch.check_call(call)

    @property
    def _engine(self) -> Engine:
        assert self._host is not None
        return self._host.engine

    async def play(self) -> Report:
        """All of it. Raises InvariantError."""
        await self._open()
        acts: list[tuple[Callable[[], Awaitable[None] | None], int]] = [
            (self._start, 10), (self._start_twice, 1), (self._cancel, 2), (self._pause, 2), (self._resume, 4),
            (self._call_back, 8), (self._publish, 5), (self._fail_commits, 3), (self._hold_commits, 3),
            (self._crash, 3), (self._restart, 1), (self._jump, 1), (self._undo, 2), (self._rewind, 2), (self._retry, 2),
        ]  # fmt: skip
        names, weights = [act for act, _ in acts], [weight for _, weight in acts]
        for _ in range(self.acts):
            done = self._random.choices(names, weights)[0]()
            if done is not None:
                await done
            await asyncio.sleep(self._random.choice(_PAUSES_SECONDS))
            self._watch.check(self._engine)
        await self._run_forward()
        return await self._report()

    # ------------------------------------------------------------ hosts

    async def _open(self) -> None:
        line = Line(self._store, self._random)
        clock = FakeClock(DEFAULT_START + self._shift)
        engine = Engine(
            line.as_store(), self._outside.actions(line), server_key=SERVER_KEY, clock=clock,
            entropy=self._random.randbytes, max_attempts_in_flight=self._random.choice((1, 3, 100)),
            callback_base_url=lambda: "http://127.0.0.1:1", flows=self._known,
        )  # fmt: skip
        check_feeds(engine, self._watch.found)
        await engine.open()
        self._host = _Host(engine, line, clock)

    async def _crash(self) -> None:
        """Nothing of the host goes on; the store keeps what was flushed."""
        assert self._host is not None
        self._note("crash")
        self._crashes += 1
        self._host.line.is_cut = True
        self._store.crash()
        self._host.clock.stop()
        me = asyncio.current_task()
        while others := [task for task in asyncio.all_tasks() if task is not me]:
            # The set's order is by address; the names count up.
            for task in sorted(others, key=lambda task: int(task.get_name().rpartition("-")[2])):
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
        self._clients.clear()
        await self._open()

    async def _restart(self) -> None:
        grace = self._random.choice((0.0, 1.0, 60.0))
        self._note(f"restart with {grace:g} s of grace")
        self._restarts += 1
        self._store.release()
        await self._engine.close(grace_seconds=grace)
        await self._settle_clients()
        await self._open()

    async def _settle_clients(self) -> None:
        if self._clients:
            await asyncio.gather(*self._clients)

    # ------------------------------------------------------------ faults

    def _fail_commits(self) -> None:
        count = self._random.choice((1, 1, 2, 5))
        self._note(f"the next {count} commits fail")
        self._store.fail_next(count)

    def _hold_commits(self) -> None:
        seconds = self._random.choice((0.0, 0.05, 1.0, 30.0))
        self._note(f"commits are held up for {seconds:g} s")
        self._store.hold()
        asyncio.get_running_loop().call_later(seconds, self._store.release)

    def _jump(self) -> None:
        assert self._host is not None
        milliseconds = self._random.choice((-3_600_000, -5_000, 5_000, 100_000, 2_592_000_000))
        self._note(f"the clock jumps by {milliseconds} ms")
        self._shift += milliseconds
        self._host.clock.jump(milliseconds)

    # ------------------------------------------------------------ people and programs

    def _client(self, what: str, call: Callable[[], Awaitable[None]]) -> None:
        """Ask the host for something, as a request of its own; it may be refused, or the host may die meanwhile."""

        async def ask() -> None:
            try:
                await call()
            except _CLIENT_ERRORS as error:
                self._note(f"{what}: {type(error).__name__}")
            except InvariantError as error:
                self._watch.found(error)
            except Exception as error:  # noqa: BLE001 - whatever it is, a caller must not get it
                self._watch.found(InvariantError(f"{what}: {error!r}"))
            else:
                self._note(f"{what}: done")

        task = asyncio.create_task(ask())
        self._clients[task] = None
        task.add_done_callback(lambda _: self._clients.pop(task, None))

    def _flow(self) -> Flow:
        if not self._flows or self._random.random() < 0.5:
            made = self._maker.flow(f"flow{len(self._flows)}")
            self._flows.append(made)
            # Known from now on, so that flows run only those made before them.
            self._known.add(made)
            self._named.append(made.id)
        return self._random.choice(self._flows)

    def _start(self, *, times: int = 1) -> None:
        flow, engine = self._flow(), self._engine
        at = engine.now() + self._random.choice((1_000, 50_000, 9_000_000)) if self._random.random() < 0.1 else None
        key = f"key{self._random.randrange(1_000_000)}" if times > 1 or self._random.random() < 0.2 else None
        ids: list[str] = []
        moments: list[int] = []

        async def start() -> None:
            moments.append(engine.now())
            run_id = new_run_id(engine.now(), entropy=self._random.randbytes(10))
            started = await engine.start(flow, dict(INPUTS), idempotency_key=key, run_id=run_id, at=at)
            ids.append(started.run_id)
            moments.append(engine.now())
            # A key is kept for a day, and the clock jumps by a month.
            if len(set(ids)) > 1 and max(moments) - min(moments) < IDEMPOTENCY_KEY_MS:
                raise InvariantError(f"one key started {len(set(ids))} runs: {ids}")
            if self._store.key_of(started.run_id) is None:
                raise InvariantError(f"run {started.run_id} was accepted, but it is not kept")
            self._watch.accepted[started.run_id] = None

        for _ in range(times):
            self._client(f"start {flow.id}", start)

    def _start_twice(self) -> None:
        self._start(times=2)

    def _any_run(self, *, ended: float = 0.1) -> str | None:
        """One of the runs, mostly one that is not over; `ended`: how often any."""
        runs = list(self._watch.accepted)
        live = [one for one in runs[-20:] if not self._watch.kept(self._store.key_of(one) or 0).ended]
        return self._random.choice(live if live and self._random.random() >= ended else runs) if runs else None

    def _tell(
        self,
        what: str,
        event: type[ev.Event],
        call: Callable[[Engine, str], Awaitable[None]],
        run_id: str | None = None,
    ) -> None:
        run_id, engine = run_id or self._any_run(), self._engine
        if run_id is None:
            return

        async def tell() -> None:
            await call(engine, run_id)
            key = self._store.key_of(run_id) or 0
            # Resuming may find that a lost attempt ends the run.
            if not any(row.kind == event.KIND for row in self._store.journal(key)) and not self._watch.kept(key).ended:
                raise InvariantError(f"{what} of {run_id} was accepted, but it is not kept")

        self._client(f"{what} {self._store.key_of(run_id)}", tell)

    def _cancel(self) -> None:
        force = self._random.random() < 0.3
        self._tell(
            "cancel", ev.CancelRequested, lambda engine, run_id: engine.cancel(run_id, "as people do", force=force)
        )

    def _undo(self) -> None:
        over = [one for one in self._watch.accepted if self._watch.kept(self._store.key_of(one) or 0).ended]
        if not over:
            return
        run_id, engine = self._random.choice(over[-20:]), self._engine

        async def undo() -> None:
            await engine.undo(run_id, "as people do")
            kinds = [row.kind for row in self._store.journal(self._store.key_of(run_id) or 0)]
            if ev.UndoRequested.KIND not in kinds:
                raise InvariantError(f"undoing {run_id} was accepted, but it is not kept")

        self._client(f"undo {self._store.key_of(run_id)}", undo)

    def _pause(self) -> None:
        self._tell("pause", ev.RunPaused, lambda engine, run_id: engine.pause(run_id))

    def _resume(self) -> None:
        self._tell("resume", ev.RunResumed, lambda engine, run_id: engine.resume(run_id))

    def _rewind(self) -> None:
        run_id = self._any_run(ended=0.4)
        if run_id is None:
            return
        steps = [one.address for one in self._watch.kept(self._store.key_of(run_id) or 0).standing]
        to = self._random.sample(steps, min(len(steps), self._random.choice((1, 1, 2))))
        self._tell("rewind", ev.Rewound, lambda engine, run_id: engine.second_chances.rewind(run_id, to), run_id)

    def _retry(self) -> None:
        run_id = self._any_run(ended=0.7)
        if run_id is not None:
            self._tell("retry", ev.Rewound, lambda engine, run_id: engine.second_chances.retry(run_id), run_id)

    def _call_back(self) -> None:
        run_id, engine = self._any_run(), self._engine
        if run_id is None:
            return
        state = self._watch.kept(self._store.key_of(run_id) or 0)
        awaited = [one for one in state.nodes if one.plan.step.callback is not None]
        waiting = [one for one in awaited if one.callback]
        chosen = self._random.choice(waiting or awaited) if awaited else None
        if chosen is not None:
            self._tokens.append(engine.callback_token(run_id, chosen))
        if not self._tokens:
            return
        token = self._tokens[-1] if self._random.random() < 0.8 else self._random.choice(self._tokens)
        self._signals += 1
        marker = f"signal {self._signals}."
        said = {"decision": self._random.choice(("approve", "reject")), "by": self._random.choice(("ann", "bob"))}
        payload: JsonValue = {"comment": marker, **said}

        async def call_back() -> None:
            run_id = await engine.callback(token, payload)
            key = self._store.key_of(run_id)
            if not any(marker.encode() in row.data for row in self._store.journal(key or 0)):
                raise InvariantError(f"{marker} for {run_id} was accepted, but it is not kept")

        for _ in range(self._random.choice((1, 1, 2))):
            self._client("callback", call_back)

    def _publish(self) -> None:
        engine, name = self._engine, self._random.choice(EVENTS)
        id = f"event {self._random.randrange(40)}"
        data: JsonValue = self._random.choice(({"n": 1}, {"n": 3}, {"n": "odd"}, None))

        async def publish() -> None:
            first = self._published.setdefault(id, engine.now())
            await engine.publish(name, data, id=id)
            # Events are kept for a while, and the clock jumps by a month.
            if not self._store.has_event(id) and engine.now() - first < KEPT_MS:
                raise InvariantError(f"{id} was accepted, but it is not kept")

        self._client(f"publish {id}", publish)

    # ------------------------------------------------------------ the end

    async def _run_forward(self) -> None:
        """The world behaves from now on: every accepted run must end."""
        self._note("forward")
        self._store.release()
        self._store.mend()
        self._outside.hangs = self._outside.fails = False
        await asyncio.sleep(1_000)
        await self._settle_clients()
        engine = self._engine
        # Also those whose starter never heard that they were kept, and those that begin only now.
        for key in self._store.run_keys():
            kept = self._watch.kept(key)
            if kept.paused:
                with suppress(ConflictError):  # what was to cancel it may have come first
                    await engine.resume(kept.run_id)
        done: set[int] = set()
        while left := [key for key in self._store.run_keys() if key not in done]:
            for key in left:
                await self._run_to_its_end(engine, key)
            done.update(left)
        await asyncio.sleep(10)
        self._watch.check(self._engine)

    async def _run_to_its_end(self, engine: Engine, key: int) -> None:
        run_id = self._watch.kept(key).run_id
        try:
            async with asyncio.timeout(FORWARD_SECONDS):
                state = await engine.wait(run_id)
        except TimeoutError:
            kept = self._watch.kept(key)
            waits = [(one.address, one.status.value) for one in kept.nodes if one.ended_at is None]
            raise InvariantError(f"run {run_id} does not end: {kept.status.value}, {waits}") from None
        check_fold(self._watch.kept(key), state)

    async def _report(self) -> Report:
        store, engine = self._store, self._engine
        statuses: dict[str, int] = {}
        for key in store.run_keys():
            kept, record = self._watch.kept(key), await store.get_run_by_key(key)
            if record is None or record.status != kept.status.value or record.wake_at is not None:
                raise InvariantError(f"the row of run {key} says {record}, its journal {kept.status.value}")
            still_open = [row.step_path for row in await store.callbacks_of_run(key) if row.state == "open"]
            if still_open:
                raise InvariantError(f"run {key} is over, but the callbacks of {still_open} are open")
            statuses[record.status] = statuses.get(record.status, 0) + 1
        await self._watch.check_families()
        if names := await store.awaited_slots():
            raise InvariantError(f"all runs are over, but steps still wait for slots of {names}")
        if any(engine.statistics().values()):
            raise InvariantError(f"all runs are over, but the host still has {engine.statistics()}")
        failed = (await store.statistics())["commits_failed"]
        virtual_seconds = asyncio.get_running_loop().time()
        await engine.close()
        return Report(
            seed=self.seed, digest=self._digest.hexdigest(), runs=dict(sorted(statuses.items())),
            events=self._watch.events, calls=len(self._outside.calls),
            crashes=self._crashes, restarts=self._restarts, commits_failed=failed, virtual_seconds=virtual_seconds,
        )  # fmt: skip

    def _note(self, what: str) -> None:
        line = f"{asyncio.get_running_loop().time():.3f} {what}"
        self._digest.update(line.encode())
        self.history.append(line)


def failing(seeds: Iterable[int], **settings: Any) -> dict[int, InvariantError]:
    """The seeds that break an invariant, with what broke."""
    broken: dict[int, InvariantError] = {}
    for seed in seeds:
        try:
            simulate(seed, **settings)
        except InvariantError as error:
            broken[seed] = error
    return broken
