"""Results that stand for later calls: `cache` on a step.

What a call was is told by a keyed hash of workspace, flow, step, action and the step's key (by default its parameters),
so that the store holds no parameter and no secret. Only what an action gave is kept, in the commit of the success
itself; a failure, a fallback's result or one that was taken from here never is.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterable
from typing import NamedTuple

import msgspec

from segue.engine.clock import Clock
from segue.errors import StoreUnavailableError
from segue.expr.sealed import as_json, opened
from segue.flow.model import JsonValue
from segue.kernel import events as ev
from segue.kernel.evaluate import evaluated
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
    """Looks results up before a call, and adds them to the commit of the success."""

    def __init__(self, store: Store, clock: Clock, server_key: Callable[[], bytes]) -> None:
        self._store = store
        self._clock = clock
        self._server_key = server_key

    def key_of(self, state: RunState, step: StepState, workspace: str, params: dict[str, object]) -> str | None:
        """What the result of this attempt, or of the job that it starts, is kept under; None: it is not kept. Raises
        ExprError.
        """
        asks = step.job is not None or step.polls > 0
        if step.plan.step.cache is None or step.fallback or asks:
            return None
        program = step.plan.programs.get("cache.key")
        key: object = params
        if program is not None:
            impure = SeededImpure(state.seed, f"{step.id}.{step.generation}.cache.key", step.started_at or 0)
            key = opened(evaluated(program, step_scope(state, step), impure))
        plan = step.plan
        what = [workspace, state.plan.flow.id, plan.full_name, plan.step.use or plan.kind, program is None, key]
        return hmac.digest(self._server_key(), _encode(what), hashlib.sha256).hex()

    async def find(self, key: str, state: RunState) -> Earlier | None:
        """An earlier success that has not expired. A store out of reach is no reason not to call."""
        try:
            found = await self._store.cached_result(bytes.fromhex(key), self._clock.now())
        except StoreUnavailableError:
            return None
        return None if found is None else Earlier(ev.decode_value(found.data, state.box), found.run_id)

    def keep(self, run_id: str, results: Iterable[tuple[StepState, str, JsonValue]], commit: Commit) -> None:
        """Add what stands for later calls to the commit that says so."""
        now = self._clock.now()
        commit.cached = [
            CachedResult(
                key=bytes.fromhex(key), run_id=run_id, at=now, data=_encode_kept(output),
                expires_at=now + round(cache.seconds * 1000),
            )
            for step, key, output in results
            if (cache := step.plan.step.cache) is not None
        ]  # fmt: skip
