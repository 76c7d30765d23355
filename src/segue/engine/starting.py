"""How runs begin: accepted from outside, as a step of another run, or from an old one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, cast

import msgspec

from segue.engine.declared import sealed_inputs, sealed_trigger
from segue.engine.ids import WORKSPACE, new_run_id, new_seed
from segue.engine.live_run import LiveRun
from segue.engine.parents import Parent
from segue.engine.replays import ReplayOf
from segue.engine.values import kept_or_refused
from segue.engine.versions import Version
from segue.errors import ConflictError, RequestError
from segue.expr.sealed import Box
from segue.flow.model import Flow, RawMap
from segue.kernel import events as ev
from segue.kernel import inputs as inp
from segue.kernel.evaluate import StopNow
from segue.kernel.events import Inside
from segue.kernel.kept import fit
from segue.kernel.plan import Plan
from segue.kernel.slots import key_of_run
from segue.kernel.state import RunState
from segue.store.port import LimitGroup, NewRun
from segue.store.rules import IDEMPOTENCY_KEY_MS
from segue.store.run_notes import NO_NOTES, RunNotes, write_notes
from segue.store.tables import Sql

if TYPE_CHECKING:
    from segue.engine.host import Engine

_encode_sorted: Final = msgspec.json.Encoder(order="sorted").encode


class Started(msgspec.Struct, frozen=True):
    """The answer to a start. `repeated`: the idempotency key had been used for this run before."""

    run_id: str
    repeated: bool = False


class Starting:
    """Has the runs of one engine kept."""

    def __init__(self, engine: Engine, entropy: Callable[[int], bytes]) -> None:
        self._engine = engine
        self._entropy = entropy

    async def start(
        self,
        flow: Flow | Version,
        inputs: RawMap,
        *,
        source: str = "",
        trigger: RawMap | None = None,
        workspace: str = WORKSPACE,
        idempotency_key: str | None = None,
        request_digest: str | None = None,
        run_id: str | None = None,
        at: int | None = None,
        parent_run_id: str | None = None,
        also: Callable[[Sql], None] | None = None,
        notes: RunNotes = NO_NOTES,
    ) -> Started:
        """Accept a run: when this returns, the run is kept and will be carried out, whatever happens to the process.

        `at`: when it is to begin (milliseconds since the epoch); until then it is queued. A flow with `limits` may
        queue it, end it as skipped, or refuse it: LimitReachedError.

        `notes` are its labels and metadata. `also` is kept with the run or not at all (`Commit.also`); what it
        raises is raised here. `parent_run_id`: the run whose end or event starts this one.

        `request_digest` tells requests with one idempotency key apart; by default the flow version and the inputs do.
        Raises RequestError if the inputs are no JSON, ConflictError if the idempotency key was used with another
        request, StoreUnavailableError if nothing could be kept.
        """
        self._engine.refuse_if_closing()
        inputs = cast("RawMap", kept_or_refused(inputs, "the inputs"))
        trigger = cast("RawMap", kept_or_refused(trigger or {"kind": "api"}, "the trigger"))
        version = await self._version(flow, source, workspace)
        if idempotency_key is not None:
            request_digest = request_digest or _digest_of(version, inputs)
            earlier = await self._repeat_of(workspace, idempotency_key, request_digest)
            if earlier is not None:
                return earlier
        await self._engine.children.keep_named(version)
        run = self._new_run(version, trigger, workspace, run_id, idempotency_key, request_digest, parent_run_id)
        run.also = _with_notes(run, notes, also)
        begin = inp.Begin(inputs, trigger, new_seed(entropy=self._entropy(16)))
        try:
            await self._accept(run, begin, at=at)
        except ConflictError:
            if idempotency_key is None:
                raise
            earlier = await self._repeat_of(workspace, idempotency_key, request_digest)
            if earlier is None:
                raise
            return earlier
        return Started(run.run_id)

    async def _version(self, flow: Flow | Version, source: str, workspace: str) -> Version:
        """The workspace's own version of a flow."""
        if isinstance(flow, Version) and flow.workspace == workspace:
            return flow
        if isinstance(flow, Version):
            return await self._engine.versions.of_workspace(flow, workspace)
        return await self._engine.versions.keep(flow, source, self._engine.now(), workspace=workspace)

    async def _accept(
        self, run: LiveRun, begin: inp.Begin, *, at: int | None = None, due: Callable[[], bool] = lambda: True
    ) -> bool:
        """Have the run kept: begun, queued or skipped. False if it is not `due` any more, so that nothing was done."""
        new, box = run.new_run, run.state.box
        if box is not None:
            if run.state.plan.declared:
                begin.inputs = sealed_inputs(begin.inputs, run.state.plan, box)
            begin.trigger = sealed_trigger(begin.trigger, run.state.plan, box)
            box.adopt(begin.inputs)
            box.adopt(begin.trigger)
            # What is kept of another run may hold anything that run had.
            box.used = box.used or begin.origin is not None
            if box.used or run.state.plan.declared:
                await self._engine.sealing.ready(run.workspace)
        assert new is not None
        now = new.created_at
        key = _limit_key(run.state.plan, run.run_id, begin, now)
        if key is not None:
            run.limit_key, run.new_run = key, msgspec.structs.replace(new, limit_key=key)
        if at is not None and at > now:
            begin.queued = ev.RunQueued(reason=f"it begins at {_when(at)}", until=at, key=key)
        if key is not None and begin.queued is None:
            return await self._engine.run_slots.admit(run, begin, LimitGroup(new.workspace, new.flow_id, key), due)
        if not due():
            return False
        self._engine.residents.add(run)
        await self._engine.committing.feed_and_wait(run, begin)
        return True

    def _new_run(
        self,
        version: Version,
        trigger: RawMap,
        workspace: str,
        run_id: str | None,
        idempotency_key: str | None = None,
        request_digest: str | None = None,
        parent_run_id: str | None = None,
    ) -> LiveRun:
        now = self._engine.now()
        state = RunState(version.plan, run_id or new_run_id(now, entropy=self._entropy(10)))
        state.box = Box(self._engine.sealing.sealer(workspace))
        run = LiveRun(self._engine.store.next_run_key(), state.run_id, workspace, state)
        run.new_run = NewRun(
            run_id=run.run_id, workspace=workspace, flow_id=version.flow.id, flow_version=version.key,
            trigger=str(trigger.get("kind", "api")), created_at=now, idempotency_key=idempotency_key,
            request_digest=request_digest, parent_run_id=parent_run_id, priority=version.flow.priority,
        )  # fmt: skip
        return run

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
        """See `segue.engine.children.Starts`. Also while the host closes: the next one carries the child out."""
        trigger: RawMap = {"kind": "flow", "parent": msgspec.to_builtins(parent)}
        run = self._new_run(version, trigger, workspace, run_id, parent_run_id=parent.run)
        given = cast("RawMap", kept_or_refused(inputs, "the inputs"))
        if replay is None:
            begin = inp.Begin(given, trigger, new_seed(entropy=self._entropy(16)))
        else:
            kept, _ = fit(replay.kept, version.plan)
            begin = inp.Begin(given, trigger, replay.seed, replay.origin, kept)
        return await self._accept(run, begin, due=due)

    async def replay_of(self, inside: Inside, parent: str) -> ReplayOf | None:
        """See `segue.engine.children.Starts`."""
        return await self._engine.replays.begin(inside, parent)

    async def _repeat_of(self, workspace: str, key: str, digest: str | None) -> Started | None:
        earlier = await self._engine.store.find_run_by_idempotency_key(workspace, key)
        if earlier is None or self._engine.now() - earlier.created_at >= IDEMPOTENCY_KEY_MS:
            return None
        if earlier.request_digest != digest:
            raise ConflictError(f"the idempotency key {key!r} was used for another request (run {earlier.run_id})")
        return Started(earlier.run_id, repeated=True)

    async def from_run(self, version: Version, begin: inp.Begin, workspace: str, kind: str) -> str:
        """Accept a run that comes from another one; its id. `kind`: what started it. Raises StoreUnavailableError."""
        self._engine.refuse_if_closing()
        run = self._new_run(version, {"kind": kind}, workspace, None)
        await self._accept(run, begin)
        return run.run_id


def _with_notes(run: LiveRun, notes: RunNotes, also: Callable[[Sql], None] | None) -> Callable[[Sql], None] | None:
    new = run.new_run
    if not notes or new is None:
        return also

    def write(sql: Sql) -> None:
        write_notes(sql, notes, run_id=run.run_id, run_key=run.key, workspace=run.workspace, created_at=new.created_at)
        if also is not None:
            also(sql)

    return write


def _limit_key(plan: Plan, run_id: str, begin: inp.Begin, now: int) -> str | None:
    try:
        return key_of_run(plan, run_id, begin.inputs, begin.trigger, begin.seed, now)
    except StopNow as stopped:
        raise RequestError(f"the flow's limits.key could not be computed: {stopped.failure.message}") from stopped


def _when(at: int) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _digest_of(version: Version, inputs: RawMap) -> str:
    return hashlib.sha256(_encode_sorted([version.key, inputs])).hexdigest()
