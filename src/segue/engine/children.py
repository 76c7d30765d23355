"""Runs of sub-flows: how a `flow` step's attempt starts one, and what a child tells its parent.

The child's id follows from its parent's run, the step's address and generation, and the try, so that a start that is
made again after a crash finds the child there. Whom a child tells of its end is in its own journal (`trigger.parent`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from itertools import chain, repeat
from typing import Final, Protocol, cast

from segue.engine.attempts import AttemptMaker
from segue.engine.flow_source import FlowSource
from segue.engine.live_run import LiveRun
from segue.engine.parents import Parent, child_run_id, parent_of
from segue.engine.replays import ReplayOf
from segue.engine.sealing import resolved
from segue.engine.versions import Version, Versions
from segue.errors import ConflictError, InvalidFlowError, InvalidInputError, SegueError, StoreUnavailableError
from segue.expr import ExprError
from segue.expr.sealed import Box, spread
from segue.flow.model import JsonValue, RawMap, walk_flow
from segue.kernel import inputs as inp
from segue.kernel.children import child_of, is_waited_for
from segue.kernel.events import Failure, Inside
from segue.kernel.state import RunState, StepState
from segue.store.port import RunRecord

MAX_DEPTH: Final = 16
"""Sub-flows within each other, counted along the chain of parents."""
STORE_DELAYS_SECONDS: Final = (0.05, 0.2, 0.5, 1.0, 2.0, 5.0)
_log = logging.getLogger("segue.engine")


class Starts(Protocol):
    """What the engine does for sub-flows."""

    async def child(
        self,
        version: Version,
        inputs: RawMap,
        run_id: str,
        parent: Parent,
        workspace: str,
        due: Callable[[], bool],
        replay: ReplayOf | None = None,
    ) -> bool:
        """Have the run kept; False if `due` says at the last moment that nobody wants it any more. Raises
        ConflictError if there is a run of this id.
        """
        ...

    async def replay_of(self, inside: Inside, parent: str) -> ReplayOf | None:
        """What the run begins with if it replays another one; None if it begins anew. Raises SegueError."""
        ...


class Children:
    """Starts the runs of sub-flows for one host."""

    def __init__(
        self,
        versions: Versions,
        flows: FlowSource,
        maker: AttemptMaker,
        starts: Starts,
        record: Callable[[str], Awaitable[RunRecord | None]],
        now: Callable[[], int],
    ) -> None:
        self._versions = versions
        self._flows = flows
        self._maker = maker
        self._starts = starts
        self._record = record
        self._now = now
        self._named: set[tuple[str, str, object]] = set()
        self._looked_at: set[int] = set()

    async def keep_named(self, version: Version) -> None:
        """Keep the versions of the flows that this one runs by name, and of those that they run, as they stand now:
        a host that does not know where they came from finds them in the database.
        """
        if version.key in self._looked_at:
            return
        self._looked_at.add(version.key)
        left, workspace = [version.flow], version.workspace
        while left:
            flow = left.pop()
            for step in walk_flow(flow):
                name, number = step.params.get("flow"), step.params.get("version")
                if step.kind != "flow" or not isinstance(name, str) or (workspace, name, number) in self._named:
                    continue
                self._named.add((workspace, name, number))
                try:
                    found = await self._flows.find(name, None if number is None else str(number), workspace=workspace)
                except SegueError as error:
                    _log.warning("the flow %s, which %s runs, cannot be used: %s", name, flow.id, error)
                    continue
                if found is not None:
                    await self._versions.keep(found.flow, found.source, self._now(), workspace=workspace)
                    left.append(found.flow)

    async def begin(self, run: LiveRun, step: StepState, attempt: int) -> inp.Input:
        """An attempt of a `flow` step: have the child kept. Waits for as long as the store cannot be written, and for
        its own cancellation once nobody wants the child any more.
        """
        for delay in chain(STORE_DELAYS_SECONDS, repeat(STORE_DELAYS_SECONDS[-1])):
            try:
                # After a lost commit the run's state, with all its steps, is another one.
                now = run.state.active.get(step.id)
                given = None if now is None or now.attempt != attempt else await self._begin(run, now, attempt)
                if given is not None:
                    return given
            except StoreUnavailableError as error:
                _log.warning("run %s: %s: the store is unavailable: %s", run.run_id, step.address, error)
            except (SegueError, ExprError) as error:
                return inp.AttemptEnded(step.id, attempt, failure=_failure(error), transient=False)
            await asyncio.sleep(delay)
        raise AssertionError("the delays never end")

    async def _begin(self, run: LiveRun, step: StepState, attempt: int) -> inp.Input | None:
        state, workspace = run.state, run.workspace
        child = child_run_id(state, child_of(step))
        if step.lost and (there := await self._record(child)) is not None:
            # It was kept before its host stopped; the flow may be another one by now.
            flow = (await self._versions.get(there.flow_version)).flow
            return _began(step, attempt, child, flow.id, flow.version)
        parent = Parent(
            run=state.run_id, flow=state.plan.flow.id, step=step.address, number=step.id, generation=step.generation,
            attempt=step.tries, depth=_depth(state) + 1, waits=is_waited_for(step),
        )  # fmt: skip
        if parent.depth > MAX_DEPTH:
            message = f"sub-flows lie within each other more than {MAX_DEPTH} deep; look for a flow that runs itself"
            raise InvalidInputError(message, [("flow", message)])
        params = await self._maker.child_params(state, step, workspace)
        replay = await self._replay(state, step)
        version = None if replay is None else replay.version
        version = version or await self._find(params.get("flow"), params.get("version"), workspace)
        inputs = spread(params.get("inputs"))
        if inputs is not None and not isinstance(inputs, dict):
            raise InvalidInputError("a sub-flow's inputs are a map", [("inputs", "this is no map")])
        given = resolved(version.flow, cast("RawMap", inputs or {}), state.box or Box(None))
        if replay is not None and replay.inputs not in (None, given):
            version, replay = await self._find(params.get("flow"), params.get("version"), workspace), None
            given = resolved(version.flow, cast("RawMap", inputs or {}), state.box or Box(None))

        def due() -> bool:
            return run.lost is None and run.state.active.get(step.id) is step and step.attempt == attempt

        try:
            if not await self._starts.child(version, given, child, parent, workspace, due, replay):
                return None
        except ConflictError:
            _log.debug("run %s: %s: run %s was kept before", run.run_id, step.address, child)
        return _began(step, attempt, child, version.flow.id, version.flow.version)

    async def _replay(self, state: RunState, step: StepState) -> ReplayOf | None:
        """What the child begins with if this run is a replay that goes back to a step in it, or was retried since the
        child before it had failed; fitted to its flow.
        """
        inside = None if state.keeping is None or step.generation else state.keeping.origin.inside.get(step.address)
        if step.resumes is not None:
            inside = Inside(run_id=step.resumes, to=(), retries=True)
        if inside is None:
            return None
        return await self._starts.replay_of(inside, state.run_id)

    async def _find(self, flow_id: object, version: object, workspace: str) -> Version:
        if not isinstance(flow_id, str) or not flow_id:
            raise InvalidInputError("a sub-flow's name is a text", [("flow", "this is no text")])
        wanted = None if version is None else str(version)
        found = await self._flows.find(flow_id, wanted, workspace=workspace)
        if found is not None:
            return await self._versions.keep(found.flow, found.source, self._now(), workspace=workspace)
        kept = await self._versions.newest(workspace, flow_id, wanted)
        if kept is None:
            which = f"version {wanted} of the flow {flow_id!r}" if wanted else f"a flow {flow_id!r}"
            message = f"this host knows no {which.removeprefix('a ')}; register it, or put its file beside this flow's"
            raise InvalidInputError(message, [("flow", message)])
        return kept


def _began(step: StepState, attempt: int, child: str, flow: str, version: str | None) -> inp.Input:
    if is_waited_for(step):
        return inp.ChildBegan(step.id, attempt, child, flow, version)
    return inp.AttemptEnded(step.id, attempt, {"run_id": child})


def _depth(state: RunState) -> int:
    parent = parent_of(state)
    return 0 if parent is None else parent.depth


def _failure(error: Exception) -> Failure:
    """Why no child could be started."""
    details: JsonValue = None
    if isinstance(error, ExprError):
        return Failure(category="expression", code=error.code, message=f"params: {error}")
    if isinstance(error, InvalidInputError):
        details = [{"path": path, "message": sentence} for path, sentence in error.details]
    elif isinstance(error, InvalidFlowError):
        details = [{"path": problem.path, "message": str(problem)} for problem in error.problems]
    category = error.category if isinstance(error, SegueError) else "validation"
    return Failure(category=category, code="sub_flow", message=str(error), details=details)
