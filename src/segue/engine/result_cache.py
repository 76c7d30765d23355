"""Results that stand for later calls: `cache` on a step.

What a call was is told by a keyed hash of workspace, flow, step, action and the step's key (by default its parameters),
so that the store holds no parameter and no secret. Only what an action gave is kept, in the commit of the success
itself; a failure, a fallback's result or one that was taken from here never is.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from segue.engine.clock import Clock
from segue.engine.live_run import LiveRun
from segue.errors import StoreUnavailableError
from segue.expr.sealed import as_json, opened
from segue.flow.model import JsonValue
from segue.kernel import events as ev
from segue.kernel.evaluate import evaluated
from segue.kernel.inputs import AttemptEnded, Input
from segue.kernel.scope import SeededImpure, step_scope
from segue.kernel.state import RunState, StepState
from segue.store.port import CachedResult, Commit, Store

_encode = msgspec.json.Encoder(order="sorted").encode
_encode_kept = msgspec.json.Encoder(enc_hook=as_json).encode


class Earlier(NamedTuple):
    """A result and the run that it came from."""

    output: JsonValue
    run_id: str


class ResultCache:
    """Looks results up before a call, and adds them to the commit of the success after it."""

    def __init__(self, store: Store, clock: Clock, server_key: Callable[[], bytes]) -> None:
        self._store = store
        self._clock = clock
        self._server_key = server_key
        self._keys: dict[tuple[str, int, int], bytes] = {}
        """Of calls that have ended well and whose commit is about to be made: by run id, step and attempt."""

    async def find(self, state: RunState, step: StepState, workspace: str, params: dict[str, object]) -> Earlier | None:
        """An earlier success that has not expired. A store out of reach is no reason not to call. Raises ExprError."""
        if step.plan.step.cache is None or step.fallback:
            return None
        key = self._key_of(state, step, workspace, params)
        try:
            found = await self._store.cached_result(key, self._clock.now())
        except StoreUnavailableError:
            return None
        return None if found is None else Earlier(ev.decode_value(found.data, state.box), found.run_id)

    def note(self, state: RunState, step: StepState, workspace: str, params: dict[str, object]) -> None:
        """The call has ended well. Raises ExprError."""
        if step.plan.step.cache is not None and not step.fallback:
            self._keys[state.run_id, step.id, step.attempt] = self._key_of(state, step, workspace, params)

    def keep(self, run: LiveRun, given: Input, commit: Commit) -> None:
        """Add the result to the commit of its success, if `given` is one that was noted."""
        if not self._keys or not isinstance(given, AttemptEnded):
            return
        key = self._keys.pop((run.run_id, given.step, given.attempt), None)
        if key is None or given.failure is not None:
            return
        cache = run.state.nodes[given.step].plan.step.cache
        assert cache is not None
        now = self._clock.now()
        expires_at = now + round(cache.seconds * 1000)
        data = _encode_kept(given.output)
        commit.cached = (CachedResult(key=key, run_id=run.run_id, at=now, expires_at=expires_at, data=data),)

    def _key_of(self, state: RunState, step: StepState, workspace: str, params: dict[str, object]) -> bytes:
        program = step.plan.programs.get("cache.key")
        key: object = params
        if program is not None:
            impure = SeededImpure(state.seed, f"{step.id}.{step.generation}.cache.key", step.started_at or 0)
            key = opened(evaluated(program, step_scope(state, step), impure))
        plan = step.plan
        what = [workspace, state.plan.flow.id, plan.full_name, plan.step.use or plan.kind, program is None, key]
        return hmac.digest(self._server_key(), _encode(what), hashlib.sha256)
