"""Replays inside of sub-flows.

`outer/inner` is the step `inner` in the run that the step `outer` started. A replay from there runs `outer` anew, and
the run that this starts is itself a replay: it keeps what the old one did before `inner`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from segue.engine.versions import Version
from segue.errors import ConflictError, RequestError
from segue.flow.model import JsonValue, RawMap
from segue.kernel import kept as keeping
from segue.kernel.events import Inside, Kept, Origin
from segue.kernel.rewind import plan_fork, plan_rewind, steps_at, steps_to_retry
from segue.kernel.state import RunState
from segue.kernel.status import RunStatus

if TYPE_CHECKING:
    from segue.engine.host import Engine

_NESTED: Final = re.compile(r'((?:[^"/]|"(?:[^"\\]|\\.)*")+)/(.+)', re.DOTALL)


class Cut(NamedTuple):
    """What a replay keeps, by address, and the sub-flows' runs that it replays, by the address of their step."""

    kept: dict[str, Kept]
    inside: dict[str, Inside]


class ReplayOf(NamedTuple):
    """What the run of a sub-flow begins with when it is a replay."""

    version: Version | None
    """None: the flow as it is now."""
    kept: dict[str, Kept]
    origin: Origin
    seed: str
    inputs: RawMap | None = None
    """With other inputs nothing is kept; None: with any."""


class Replays:
    """Cuts old runs where replays go back to, over one engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def cut(
        self, state: RunState, to: Sequence[str], outputs: Mapping[str, JsonValue], *, latest: bool = False
    ) -> Cut:
        """What is kept of a run that is replayed from these steps (none: from its start).

        `outputs` are other ones of kept steps; here those inside of sub-flows count, by `outer/inner`. Raises
        NotFoundError, ConflictError for a step that the run has not reached, RequestError for an output that is not
        kept.
        """
        own = [address for address in to if _split(address) is None]
        deeper = {outer: inner for outer, inner in _by_step(to).items() if outer not in own}
        given = _by_step(outputs)
        plan = plan_rewind(state, steps_at(state, [*own, *deeper])) if to else None
        inside: dict[str, Inside] = {}
        for outer, inner in deeper.items():
            run_id = steps_at(state, [outer])[0].child
            if run_id is None:
                raise ConflictError(f"`{outer}` of run {state.run_id} has started no sub-flow's run")
            others = {address: outputs[f"{outer}/{address}"] for address in given.pop(outer, ())}
            inside[outer] = Inside(run_id=run_id, to=tuple(inner), outputs=others, latest=latest)
            await self.begin(inside[outer], state.run_id)  # what is wrong with it is told now, not when the step runs
        for outer in given:
            message = f"an output inside of `{outer}` can be replaced only if the replay goes back to a step there"
            raise RequestError(f"{message} (`{outer}/…`)")
        return Cut({} if plan is None else keeping.record(state, plan), inside)

    async def begin(self, inside: Inside, parent: str) -> ReplayOf | None:
        """What the replay of a sub-flow's run begins with; None if that has not ended yet, and is to be gone on from.
        Raises what `cut` does, and JournalCorruptError.
        """
        engine = self._engine
        record = await engine.record(inside.run_id)
        state = await engine.state(record)
        if inside.retries and not state.ended:
            return None
        cut = _retried(state) if inside.retries else None
        cut = cut or await self.cut(state, inside.to, inside.outputs, latest=inside.latest)
        origin = Origin(
            run_id=record.run_id, to=inside.to, event=state.seq - 1, reason=f"for a step of run {parent}",
            inside=cut.inside,
        )  # fmt: skip
        version = None if inside.latest else await engine.versions.get(record.flow_version)
        kept = keeping.replaced(cut.kept, own_outputs(inside.outputs))
        return ReplayOf(version, kept, origin, state.seed, state.inputs if inside.retries else None)


def _retried(state: RunState) -> Cut:
    """What is kept of a run that is over if what failed in it, or was cut off, is run again; all if it ended well."""
    if state.root is None:
        return Cut({}, {})
    if state.status is RunStatus.SUCCEEDED:
        return Cut(keeping.record(state, plan_fork(state)), {})
    stopped = steps_to_retry(state)
    deeper = {
        step.address: Inside(run_id=step.child, to=(), retries=True) for step in stopped if step.child is not None
    }
    return Cut(keeping.record(state, plan_rewind(state, stopped)), deeper)


def own_outputs(outputs: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """Those of the run's own steps."""
    return {address: output for address, output in outputs.items() if _split(address) is None}


def _by_step(addresses: Iterable[str]) -> dict[str, list[str]]:
    """What lies inside of sub-flows, by the step that starts them."""
    found: dict[str, list[str]] = {}
    for address in addresses:
        parts = _split(address)
        if parts is not None:
            found.setdefault(parts[0], []).append(parts[1])
    return found


def _split(address: str) -> tuple[str, str] | None:
    """`outer` and `inner` of `outer/inner`; a key in an address may hold a slash of its own."""
    found = _NESTED.match(address)
    return None if found is None else (found[1], found[2])
