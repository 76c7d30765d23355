"""The outside of a simulated host: a store that is slow and can be cut off, and systems that answer as they please."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final, cast

from segue.engine.port import Action, ActionRegistry, AttemptContext, Effect
from segue.errors import StepError, TerminalError
from segue.store.port import Commit, CommitDone, Store
from segue.testing.invariants import InvariantError
from segue.testing.memory_store import MemoryStore

FAILURES: Final = ("connection", "timeout", "http.503", "http.404", "rate_limit", "auth")


class Line:
    """A host's connection to the store, as a `Store`: reads take their time, and a host that is dead gets no word."""

    def __init__(self, store: MemoryStore, source: random.Random) -> None:
        self._store = store
        self._random = source
        self.is_cut = False

    def as_store(self) -> Store:
        """Itself, for the engine."""
        return cast("Store", self)

    def commit(self, commit: Commit, done: CommitDone) -> None:
        """See `Store.commit`."""
        if not self.is_cut:
            self._store.commit(commit, done)

    def log(self, run_key: int, rows: Any) -> None:
        """See `Store.log`."""
        if not self.is_cut:
            self._store.log(run_key, rows)

    def next_run_key(self) -> int:
        """See `Store.next_run_key`."""
        return self._store.next_run_key()

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        """The reading operations of the port."""
        operation: Callable[..., Awaitable[Any]] = getattr(self._store, name)

        async def ask(*arguments: Any, **named: Any) -> Any:
            await self._pause()
            answer = await operation(*arguments, **named)
            await self._pause()
            return answer

        return ask

    async def _pause(self) -> None:
        if self._random.random() < 0.2:
            await asyncio.sleep(self._random.choice((0.0, 0.001, 0.03)))
        if self.is_cut:
            await asyncio.get_running_loop().create_future()


@dataclass
class Call:
    """One call of an action."""

    key: str
    run_id: str
    step: str
    attempt: int
    is_unsafe: bool
    line: Line
    is_over: bool = False
    slots: str | None = None
    """What it is counted by under the limits of its step."""


@dataclass
class Outside:
    """The systems that actions call. They honour idempotency keys: an effect is made once a key, and its answer is
    given again. `check` sees each call before it does anything.
    """

    random: random.Random
    check: Callable[[Call], None]
    note: Callable[[str], None]
    calls: list[Call] = field(default_factory=list[Call])
    effects: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    hangs: bool = True
    fails: bool = True

    def actions(self, line: Line) -> ActionRegistry:
        """The actions of one host."""
        effects: dict[str, Effect] = {
            "sim.keyed": "keyed", "sim.large": "keyed", "sim.safe": "safe", "sim.unsafe": "unsafe",
        }  # fmt: skip
        return ActionRegistry(tuple(self._action(name, effect, line) for name, effect in effects.items()))

    def _action(self, name: str, effect: Effect, line: Line) -> Action:
        async def run(params: dict[str, Any], context: AttemptContext) -> Any:
            if line.is_cut:
                raise asyncio.CancelledError
            call = Call(context.idempotency_key, context.run_id, context.step, context.attempt, context.unsafe, line)
            self.check(call)
            self.calls.append(call)
            try:
                return await self._answer(name, call, params, context)
            finally:
                if not line.is_cut:
                    call.is_over = True

        return Action(name=name, run=run, effect=effect, retry_unclassified=self.random.random() < 0.5)

    async def _answer(self, name: str, call: Call, params: dict[str, Any], context: AttemptContext) -> Any:
        source = self.random
        plan = source.random()
        if source.random() < 0.3:
            context.log("info", f"calling {name}", n=len(self.calls), token="hidden")
        await asyncio.sleep(source.choice((0.0, 0.0, 0.001, 0.01, 0.2, 2.0, 40.0)))
        if self.fails and plan < 0.07:
            self.note(f"{call.step} fails before its effect")
            self._fail(source)
        effect = self._effect(name, call, params)
        if self.hangs and plan > 0.95:
            await asyncio.sleep(source.choice((30.0, 5_000.0)))
        if self.fails and plan < 0.13:
            self.note(f"{call.step} loses its answer")
            self._fail(source)
        await asyncio.sleep(source.choice((0.0, 0.0, 0.005)))
        return effect

    def _effect(self, name: str, call: Call, params: dict[str, Any]) -> dict[str, Any]:
        if name == "sim.safe":
            return {"effect": self.random.randrange(1000)}
        digest = hashlib.sha256(repr(sorted(params.items())).encode()).hexdigest()
        made = self.effects.get(call.key)
        if made is None:
            made = self.effects[call.key] = {"effect": len(self.effects), "step": call.step, "params": digest}
            if name == "sim.large":
                made["blob"] = digest * 1_100
        elif made["params"] != digest:
            raise InvariantError(f"{call.step} of {call.run_id} sent other parameters under the same key")
        return made

    def _fail(self, source: random.Random) -> None:
        kind = source.randrange(6)
        if kind == 0:
            raise ValueError("an unclassified exception")
        if kind == 1:
            raise TerminalError("not again", category="validation")
        after = source.choice((None, None, 1.0, 100.0))
        raise StepError("as it happens", category=source.choice(FAILURES), retry_after_seconds=after)
