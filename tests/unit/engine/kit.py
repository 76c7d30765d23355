"""An engine over the memory twin with a clock that the test owns, and flows in a few words."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from segue.engine.host import Engine
from segue.engine.port import Action, ActionRegistry, AttemptContext, Effect
from segue.engine.secrets import SecretResolver
from segue.engine.starting import Started
from segue.engine.views import RunView, view_of
from segue.flow.model import Block, Callback, Edge, Flow, Handler, Retry, Step, Timeout
from segue.kernel import events as ev
from segue.kernel.state import RunState
from segue.store.port import Store
from segue.testing.fake_clock import FakeClock
from segue.testing.memory_store import MemoryStore

SERVER_KEY = b"k" * 32
Run = Callable[[dict[str, Any], AttemptContext], Awaitable[Any]]


def step(id: str, kind: str = "call", **settings: Any) -> Step:
    settings.setdefault("path", f"steps.{id}")
    if kind == "call":
        settings.setdefault("use", "work")
    return Step(id=id, kind=kind, **settings)  # pyright: ignore[reportArgumentType]


def block(*steps: Step, label: str = "root") -> Block:
    return Block(label=label, steps=steps, edges=tuple(Edge(one.id, two.id) for one, two in pairwise(steps)))


def flow(*steps: Step, id: str = "f", **settings: Any) -> Flow:
    return Flow(id=id, root=settings.pop("root", None) or block(*steps), **settings)


def parallel(id: str, *branches: Step, **params: Any) -> Step:
    return step(id, "parallel", params=params, blocks=tuple(block(one, label=one.id) for one in branches))


def wait_callback(id: str, *, expires: float = 3600.0, **settings: Any) -> Step:
    return step(id, "wait", callback=Callback(expires_seconds=expires, **settings))


def wait_for(id: str, duration: str) -> Step:
    return step(id, "wait", params={"duration": duration})


def handled(*steps: Step) -> tuple[Handler, ...]:
    return (Handler(block=block(*steps, label="on_error")),)


def retry(attempts: int = 3, delay: float = 1.0, **settings: Any) -> Retry:
    return Retry(
        max_attempts=attempts, initial_delay_seconds=delay, max_delay_seconds=delay, backoff="constant", jitter="none",
        **settings,
    )  # fmt: skip


def timeout(attempt: float | None = None, total: float | None = None, **settings: Any) -> Timeout:
    return Timeout(attempt_seconds=attempt, total_seconds=total, **settings)


def scripted(*answers: Any) -> Run:
    """Answers in turn, the last one for ever; exceptions are raised, functions of (params, context) called."""
    left = list(answers)

    async def run(params: dict[str, Any], context: AttemptContext) -> Any:
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, BaseException):
            raise answer
        if callable(answer):
            answer = answer(params, context)
        return await answer if inspect.iscoroutine(answer) else answer

    return run


async def never(_params: dict[str, Any], _context: AttemptContext) -> Any:
    await asyncio.Event().wait()


@dataclass
class World:
    """What outlives a host: the store, the time, the actions and what was called."""

    store: MemoryStore = field(default_factory=MemoryStore)
    clock: FakeClock = field(default_factory=FakeClock)
    actions: ActionRegistry = field(default_factory=ActionRegistry)
    calls: list[tuple[str, AttemptContext]] = field(default_factory=list)
    params: list[dict[str, Any]] = field(default_factory=list)

    def action(self, run: Run, name: str = "work", *, effect: Effect = "keyed", **settings: Any) -> None:
        """Register an action whose calls are noted."""

        async def noted(params: dict[str, Any], context: AttemptContext) -> Any:
            self.calls.append((context.step, context))
            self.params.append(params)
            return await run(params, context)

        self.actions.add(Action(name=name, run=noted, effect=effect, **settings), replace=True)

    @property
    def called(self) -> list[str]:
        return [step for step, _ in self.calls]

    def engine(self, store: Store | None = None, **settings: Any) -> Engine:
        secrets = settings.pop("environment", None)
        return Engine(
            store or self.store, self.actions, server_key=SERVER_KEY, clock=self.clock,
            secrets=None if secrets is None else SecretResolver(secrets), **settings,
        )  # fmt: skip

    @asynccontextmanager
    async def open(self, **settings: Any) -> AsyncGenerator[Engine]:
        engine = self.engine(**settings)
        await engine.open()
        try:
            yield engine
        finally:
            await engine.close(grace_seconds=0)

    async def kill(self, engine: Engine) -> None:
        """What `kill -9` does to a host: its store is gone at once, its tasks say no last word."""
        self.store.crash()
        await forget_tasks(engine)


async def forget_tasks(engine: Engine) -> None:
    """End an engine's tasks without letting it write."""
    mine = asyncio.current_task()
    engine.stop()
    tasks = [task for task in asyncio.all_tasks() if task is not mine and belongs_to(task, engine)]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def belongs_to(task: asyncio.Task[Any], engine: Engine) -> bool:
    frame = task.get_coro().cr_frame  # type: ignore[union-attr]
    parts = (engine, engine.pool, engine.committing, engine.loading)
    return frame is not None and frame.f_locals.get("self") in parts


async def start(engine: Engine, what: Flow, inputs: dict[str, Any] | None = None, **settings: Any) -> str:
    started: Started = await engine.start(what, inputs or {}, **settings)
    return started.run_id


async def run(engine: Engine, what: Flow, inputs: dict[str, Any] | None = None, **settings: Any) -> RunState:
    return await engine.wait(await start(engine, what, inputs, **settings))


async def state_of(engine: Engine, run_id: str) -> RunState:
    """The committed state."""
    return await engine.state(await engine.record(run_id))


async def view(engine: Engine, run_id: str) -> RunView:
    record = await engine.record(run_id)
    return view_of(await engine.state(record), record, engine.now())


async def token_of(engine: Engine, run_id: str, name: str) -> str:
    state = await state_of(engine, run_id)
    return engine.callback_token(run_id, next(one for one in state.nodes if one.address == name))


async def events_of(world: World, engine: Engine, run_id: str) -> list[ev.Event]:
    record = await engine.record(run_id)
    return [ev.decode(row.kind, row.data) for row in await world.store.load_journal(record.key)]


def statuses(state: RunState) -> dict[str, str]:
    return {one.address: one.status.value for one in state.nodes}


async def settle() -> None:
    """Everything that can happen now has happened: on a loop of virtual time a moment passes only then."""
    await asyncio.sleep(0.000_1)
