"""The embedded host: drives all runs of one store on one event loop.

An input (a result, a due timer, a callback, a person's word) is decided and committed by `committing`; when the commit
is kept, its effects come back here and go to the `attempt_pool` (what is to be done) and to `wakes` (when to come
back). So a run costs no task and no thread of its own, only its attempts do. A run that waits is dropped from memory
and comes back through `loading`, by its row's `wake_at` or when a signal for it arrives.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, cast

import msgspec

from segue.engine.attempt_pool import MAX_ATTEMPTS_IN_FLIGHT, AttemptPool
from segue.engine.attempts import AttemptMaker
from segue.engine.bus import Bus
from segue.engine.callbacks import Callbacks
from segue.engine.children import Children
from segue.engine.clock import Clock, Handle, SystemClock
from segue.engine.committing import Committing
from segue.engine.flow_source import FlowSource, RegisteredFlows
from segue.engine.ids import WORKSPACE, callback_token, new_run_id, new_seed
from segue.engine.live_run import LiveRun
from segue.engine.loading import Loading
from segue.engine.mailbox import Mailbox
from segue.engine.parents import Parent
from segue.engine.port import ActionRegistry
from segue.engine.reactions import Listeners
from segue.engine.replays import ReplayOf, Replays
from segue.engine.residents import Residents
from segue.engine.result_cache import ResultCache
from segue.engine.run_logs import RunLogs
from segue.engine.run_slots import RunSlots
from segue.engine.sealing import LocalSealing, Sealing
from segue.engine.second_chances import SecondChances
from segue.engine.secrets import SecretResolver
from segue.engine.step_slots import StepSlots
from segue.engine.values import NotKeepableError, as_kept
from segue.engine.versions import Version, Versions
from segue.engine.views import masker_of
from segue.engine.wakes import Wakes
from segue.errors import ConflictError, EngineError, NotFoundError, RequestError
from segue.expr.sealed import Box
from segue.flow.model import Flow, JsonValue, RawMap
from segue.kernel import events as ev
from segue.kernel import inputs as inp
from segue.kernel.compensation import UndoPreview, undo_preview
from segue.kernel.decide import Decision
from segue.kernel.evaluate import StopNow
from segue.kernel.events import Inside
from segue.kernel.kept import fit
from segue.kernel.plan import Plan
from segue.kernel.slots import key_of_run
from segue.kernel.state import RunState, StepState
from segue.kernel.status import RUN_ENDED, RunStatus
from segue.store.port import CallbackRow, Commit, EventRow, LimitGroup, NewRun, RunRecord, Store
from segue.store.rules import IDEMPOTENCY_KEY_MS
from segue.store.tables import Sql

KEPT_IN_MEMORY_MS: Final = 30_000
"""A waiting run whose next timer is nearer than this stays in memory."""
MAX_EVENT_ID_LENGTH: Final = 200

_AT_REST: Final = (RunStatus.WAITING, RunStatus.QUEUED)
"""Nothing is in flight: such a run may leave the memory."""

_encode_sorted = msgspec.json.Encoder(order="sorted").encode


@dataclass(frozen=True, slots=True)
class Started:
    """The answer to a start. `repeated`: the idempotency key had been used for this run before."""

    run_id: str
    repeated: bool = False


class Engine:
    """Runs flows durably over one store. Belongs to one event loop; see the module's text for how it works."""

    def __init__(
        self,
        store: Store,
        actions: ActionRegistry,
        *,
        server_key: bytes,
        clock: Clock | None = None,
        secrets: SecretResolver | None = None,
        callback_base_url: Callable[[], str | None] = lambda: None,
        max_attempts_in_flight: int = MAX_ATTEMPTS_IN_FLIGHT,
        entropy: Callable[[int], bytes] = os.urandom,
        maker: AttemptMaker | None = None,
        flows: FlowSource | None = None,
        labels: Iterable[str] = (),
        sealing: Sealing | None = None,
    ) -> None:
        """`maker` makes the attempts in another way than calling `actions`: the test kit answers them itself. `flows`
        is where sub-flows are found by their names, before the versions that the store keeps. `labels` are what steps
        with `runs_on` ask for.
        """
        self.store = store
        self.actions = actions
        self.versions = Versions(store)
        self._clock = clock or SystemClock()
        self.server_key = server_key
        self.sealing = sealing or LocalSealing(server_key)
        self._entropy = entropy
        self._callback_base_url = callback_base_url
        resolver = secrets or SecretResolver()
        self._results = results = ResultCache(store, self._clock, server_key)
        maker = maker or AttemptMaker(
            actions, resolver, labels=frozenset(labels), results=results, sealing=self.sealing
        )
        self.residents = Residents()
        self.logs = RunLogs(store, self._clock, self.residents)
        self.wakes = Wakes(self._clock, self._wake, lambda: self.in_background(self.loading.wake_rested()))
        self.listeners = Listeners()
        """Who starts further runs when runs end and events come."""
        self.committing = Committing(
            store, self._clock, maker, self.residents, self.callback_token, self, results,
            self.listeners.watches_end,
        )  # fmt: skip
        self.flows = flows or RegisteredFlows()
        self.children = Children(self.versions, self.flows, maker, self, store.get_run, self.now)
        self.pool = AttemptPool(
            maker, self.residents, self.logs, self.children.begin, self.committing.feed, self.callback_url,
            max_attempts_in_flight,
        )  # fmt: skip
        self.loading = Loading(
            store, self._clock, self.versions, maker, self.residents, self.committing, self.wakes, self.sealing
        )
        self.mailbox = Mailbox(store, self.loading, self.committing, self.in_background, self.listeners)
        self.bus = Bus(store, self._clock, self.loading, self.committing, self.in_background, self.listeners)
        self.callbacks = Callbacks(store, self.loading, self.committing, resolver, self.now)
        self.run_slots = RunSlots(
            store, self._clock, self.versions, self.residents, self.committing, self.loading, self.in_background
        )
        self.step_slots = StepSlots(
            store, self._clock, self.versions, self.residents, self.committing, self.loading, maker, self.in_background
        )
        self.loading.release = self.run_slots.release
        self._background: set[asyncio.Future[None]] = set()
        self.woken: set[str] = set()
        """Runs at rest that go on with what an earlier host had kept for them."""
        self._closing = False
        self._opened = False
        self.reopening = asyncio.Lock()
        """Held while a run that is over is brought back: there must not be two of it in memory."""
        self.replays = Replays(self)
        self.second_chances = SecondChances(self)

    # ------------------------------------------------------------ life

    async def open(self, *, adopt: bool = True) -> None:
        """Open the store and take over the runs that an earlier host left; returns when all of them go on.

        Without `adopt` nothing is carried out: inputs (a start, a callback, a cancellation) are decided and kept, and
        what follows from them is begun by the next host. For commands that change one run and are gone.
        """
        self.logs.open()
        await self.store.open()
        await self.sealing.open()
        self._use_server_key()
        self._opened = True
        await self.listeners.open()
        if not adopt:
            self._stop_effects()
            self.wakes.stop()
            self.step_slots.stop()
            return
        await self.loading.adopt_all()
        self.woken = await self.mailbox.open() | await self.bus.open()
        self.wakes.set_rested(await self.store.next_wake_at())
        await self.run_slots.open()
        await self.step_slots.open()

    async def look(self) -> None:
        """Instead of `open`, over an open store that is only to be read: views of runs can be made."""
        await self.sealing.look()
        self._use_server_key()

    def _use_server_key(self) -> None:
        if (kept := self.sealing.server_key) is not None:
            self.server_key = self._results.server_key = kept

    async def close(self, *, grace_seconds: float = 10.0) -> None:
        """Stop: no new attempts; those in flight get `grace_seconds` to end, then they are cut off and taken up again
        at the next start. Everything decided is kept. Safe to repeat.
        """
        if self._closing or not self._opened:
            return
        self.stop()
        tasks = {task for run in self.residents for task in run.tasks.values()}
        if tasks and grace_seconds > 0:
            await asyncio.wait(tasks, timeout=grace_seconds)
        for task in tasks:
            task.cancel()
        for task in self._background:
            task.cancel()
        await asyncio.gather(*tasks, *self._background, return_exceptions=True)
        for run in self.residents:
            self.logs.flush(run)
        await self.store.close()
        self.residents.dismiss(EngineError("the engine was closed; the run goes on at its next start"))

    def stop(self) -> None:
        """Begin nothing more; what is in flight may end. The first half of `close`."""
        self._closing = self.committing.closing = True
        self._stop_effects()
        self.logs.stop_gathering()
        self.wakes.stop()
        self.run_slots.stop()
        self.step_slots.stop()

    def _stop_effects(self) -> None:
        self.committing.starts = self.pool.starts = False
        self.mailbox.delivers = self.bus.delivers = False

    @property
    def closing(self) -> bool:
        """Whether it takes no more work."""
        return self._closing

    def now(self) -> int:
        """The engine's clock, in milliseconds since the epoch."""
        return self._clock.now()

    @property
    def address(self) -> str | None:
        """Where this host is reached over HTTP; None if it has no such door."""
        return self._callback_base_url()

    def call_at(self, due: int, call: Callable[[], None]) -> Handle:
        """See `Clock.call_at`: for parts of the host that go by the engine's clock."""
        return self._clock.call_at(due, call)

    # ------------------------------------------------------------ the doors' operations

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
    ) -> Started:
        """Accept a run: when this returns, the run is kept and will be carried out, whatever happens to the process.

        `at`: when it is to begin (milliseconds since the epoch); until then it is queued. A flow with `limits` may
        queue it, end it as skipped, or refuse it: LimitReachedError.

        `also` is kept with the run or not at all (`Commit.also`); what it raises is raised here. `parent_run_id`: the
        run whose end or event starts this one.

        `request_digest` tells requests with one idempotency key apart; by default the flow version and the inputs do.
        Raises RequestError if the inputs are no JSON, ConflictError if the idempotency key was used with another
        request, StoreUnavailableError if nothing could be kept.
        """
        self._refuse_if_closing()
        inputs = cast("RawMap", _as_kept(inputs, "the inputs"))
        trigger = cast("RawMap", _as_kept(trigger or {"kind": "api"}, "the trigger"))
        version = await self._version(flow, source, workspace)
        if idempotency_key is not None:
            request_digest = request_digest or _digest_of(version, inputs)
            earlier = await self._repeat_of(workspace, idempotency_key, request_digest)
            if earlier is not None:
                return earlier
        await self.children.keep_named(version)
        run = self._new_run(version, trigger, workspace, run_id, idempotency_key, request_digest, parent_run_id)
        run.also = also
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
        if isinstance(flow, Version):
            return await self.versions.of_workspace(flow, workspace)
        return await self.versions.keep(flow, source, self.now(), workspace=workspace)

    async def _accept(
        self, run: LiveRun, begin: inp.Begin, *, at: int | None = None, due: Callable[[], bool] = lambda: True
    ) -> bool:
        """Have the run kept: begun, queued or skipped. False if it is not `due` any more, so that nothing was done."""
        now, new, box = self.now(), run.new_run, run.state.box
        if box is not None:
            box.adopt(begin.inputs)
            box.adopt(begin.trigger)
            # What is kept of another run may hold anything that run had.
            box.used = box.used or begin.origin is not None
        assert new is not None
        key = _limit_key(run.state.plan, run.run_id, begin, now)
        run.limit_key, run.new_run = key, msgspec.structs.replace(new, limit_key=key)
        if at is not None and at > now:
            begin.queued = ev.RunQueued(reason=f"it begins at {_when(at)}", until=at, key=key)
        if key is not None and begin.queued is None:
            return await self.run_slots.admit(run, begin, LimitGroup(new.workspace, new.flow_id, key), due)
        if not due():
            return False
        self.residents.add(run)
        await self.committing.feed_and_wait(run, begin)
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
        now = self.now()
        run = LiveRun(self.store.next_run_key(), run_id or new_run_id(now, entropy=self._entropy(10)), workspace, None)  # pyright: ignore[reportArgumentType]
        run.state = RunState(version.plan, run.run_id)
        run.state.box = Box(self.sealing.sealer(workspace))
        run.new_run = NewRun(
            run_id=run.run_id, workspace=workspace, flow_id=version.flow.id, flow_version=version.key,
            trigger=str(trigger.get("kind", "api")), created_at=now, idempotency_key=idempotency_key,
            request_digest=request_digest, parent_run_id=parent_run_id, priority=version.flow.priority,
        )  # fmt: skip
        return run

    async def start_child(
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
        given = cast("RawMap", _as_kept(inputs, "the inputs"))
        if replay is None:
            begin = inp.Begin(given, trigger, new_seed(entropy=self._entropy(16)))
        else:
            kept, _ = fit(replay.kept, version.plan)
            begin = inp.Begin(given, trigger, replay.seed, replay.origin, kept)
        return await self._accept(run, begin, due=due)

    async def replay_of(self, inside: Inside, parent: str) -> ReplayOf:
        """See `segue.engine.children.Starts`."""
        return await self.replays.begin(inside, parent)

    async def _repeat_of(self, workspace: str, key: str, digest: str | None) -> Started | None:
        earlier = await self.store.find_run_by_idempotency_key(workspace, key)
        if earlier is None or self.now() - earlier.created_at >= IDEMPOTENCY_KEY_MS:
            return None
        if earlier.request_digest != digest:
            raise ConflictError(f"the idempotency key {key!r} was used for another request (run {earlier.run_id})")
        return Started(earlier.run_id, repeated=True)

    async def wait(self, run_id: str) -> RunState:
        """The run's state once it is over.

        Raises NotFoundError; EngineError if the run is quarantined, or if the engine closes first.
        """
        waiter = self.residents.enrol(run_id)
        try:
            if run_id not in self.residents.by_id:
                record = await self.record(run_id)
                if record.status in RUN_ENDED:
                    return await self.state(record)
                if record.status == RunStatus.QUARANTINED:
                    raise EngineError(f"run {run_id} is quarantined: {record.error}")
            return await waiter
        finally:
            self.residents.withdraw(run_id, waiter)

    async def cancel(self, run_id: str, reason: str | None = None, *, force: bool = False) -> None:
        """Cancel a run: `finally` steps and compensations still run, unless `force` cuts them off, too.

        Raises NotFoundError, ConflictError if it is over.
        """
        await self._tell(run_id, inp.CancelRun(reason, force=force))

    async def undo(self, run_id: str, reason: str | None = None) -> None:
        """Undo a run that is over: the `compensate` steps of what it did run, the last one first.

        When this returns, that is kept and has begun; `wait` gives the end. A run that had ended well is `cancelled`
        then, another ends as it had ended before. Raises NotFoundError; ConflictError if it is not over, or if there is
        nothing (left) to undo.
        """
        await self.reopen(run_id, inp.UndoRun(reason))

    async def undo_preview(self, run_id: str) -> UndoPreview:
        """What `undo` would do, and what it could not. Raises NotFoundError, JournalCorruptError."""
        return undo_preview(await self.state(await self.record(run_id)))

    async def pause(self, run_id: str, reason: str | None = None) -> None:
        """No new attempt is started; those in flight end and are kept. Raises NotFoundError, ConflictError."""
        await self._tell(run_id, inp.PauseRun(reason))

    async def resume(self, run_id: str) -> None:
        """Raises NotFoundError, ConflictError if it is not paused."""
        await self._tell(run_id, inp.ResumeRun())

    async def find_callback(self, token: str) -> tuple[CallbackRow, RunRecord]:
        """See `Callbacks.find`."""
        return await self.callbacks.find(token)

    async def callback(
        self,
        token: str,
        payload: JsonValue,
        *,
        raw: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> str:
        """See `Callbacks.give`."""
        return await self.callbacks.give(token, payload, raw=raw, headers=headers)

    async def publish(
        self, name: str, data: JsonValue = None, *, id: str | None = None, workspace: str = WORKSPACE
    ) -> str:
        """Send an event to all steps of a workspace that wait for one of this name, and give its id; when this returns,
        it is kept.

        A second event of the same `id` changes nothing. Raises RequestError, StoreUnavailableError.
        """
        self._refuse_if_closing()
        if id is not None and not 0 < len(id) <= MAX_EVENT_ID_LENGTH:
            raise RequestError(f"an event's id has 1 to {MAX_EVENT_ID_LENGTH} characters")
        kept = ev.encode_value(_as_kept(data, "the event's data"))
        id = id or new_run_id(self.now(), prefix="evt_", entropy=self._entropy(10))
        # The database knows an event by its id alone: what one workspace sends must not stand in another one's way.
        own = id if workspace == WORKSPACE else f"{workspace}:{id}"
        await self.bus.publish(EventRow(own, workspace, name.strip(), self.now(), None, kept))
        return id

    def event_data(self, event: EventRow) -> JsonValue:
        """What an event carries, with its sealed values as such."""
        return ev.decode_value(event.data, Box(self.sealing.sealer(event.workspace)))

    async def wait_for_response(self, run_id: str) -> RunState:
        """The run's state once it has answered its caller (`respond`), or is over without. Errors as `wait`."""
        caller = self.residents.call(run_id)
        try:
            record = await self.record(run_id)
            if record.status == RunStatus.QUARANTINED:
                raise EngineError(f"run {run_id} is quarantined: {record.error}")
            state = await self.state(record)
            return state if state.ended or state.response is not None else await caller
        finally:
            self.residents.hang_up(run_id, caller)

    def callback_token(self, run_id: str, step: StepState) -> str:
        """The token of a step's callback, computed anew whenever it is shown."""
        return callback_token(self.server_key, run_id, step.address, step.generation)

    def callback_url(self, run_id: str, step: StepState) -> str | None:
        """Where the step's signal is to be sent; None if this host has no HTTP door."""
        base = self._callback_base_url()
        return None if base is None else f"{base}/api/v1/orchestrator/callback/{self.callback_token(run_id, step)}"

    # ------------------------------------------------------------ reading

    async def record(self, run_id: str) -> RunRecord:
        """Raises NotFoundError."""
        record = await self.store.get_run(run_id)
        if record is None:
            raise NotFoundError(f"no run has the id {run_id!r}")
        return record

    async def record_by_key(self, key: int) -> RunRecord:
        """Raises NotFoundError."""
        record = await self.store.get_run_by_key(key)
        if record is None:
            raise NotFoundError(f"no run has the key {key}")
        return record

    async def state(self, record: RunRecord, *, upto_seq: int | None = None) -> RunState:
        """The run's committed state, now or as of an event. Raises JournalCorruptError."""
        return await self.loading.state(record, upto_seq=upto_seq)

    async def changed(self, run_id: str, event: asyncio.Event) -> None:
        """Have `event` set whenever something of the run is committed, until `forget` is called with it."""
        self.residents.watch(run_id, event)

    def forget(self, run_id: str, event: asyncio.Event) -> None:
        """Undo `changed`."""
        self.residents.unwatch(run_id, event)

    def parked(self) -> dict[str, str]:
        """Runs in memory that wait for an action this host does not have: run id to the action's name."""
        return self.pool.parked()

    def actions_changed(self) -> None:
        """Actions were registered: make the attempts that waited for them."""
        self.pool.unpark()

    def statistics(self) -> dict[str, int]:
        """Gauges of this host."""
        return {"runs_in_memory": len(self.residents), **self.pool.statistics()}

    # ------------------------------------------------------------ effects of what is kept

    def carry_out(self, run: LiveRun, decision: Decision, attempts: Sequence[int]) -> None:
        """The effects of a decision that is kept now. A later decision may have made a start pointless meanwhile."""
        for step in decision.cancel:
            self.pool.drop(run, step)
        if decision.outside is not None and decision.outside.responded:
            self.residents.tell_response(run)
        active = run.state.active
        for step, attempt in zip(decision.start, attempts, strict=True):
            # A later number is not kept yet: the decision that made it begins it.
            if step.attempt == attempt and active.get(step.id) is step and step.id not in run.tasks:
                self.pool.launch(run, step, attempt)
        if run.state.plan.limited:
            self.step_slots.kept(run, decision)
        if self.residents.watchers or self.residents.watchers_of_all:
            self.residents.notify(run.run_id)

    def tell_outside(self, commit: Commit) -> None:
        """Messages, events and waits that are kept now."""
        self.mailbox.send(commit.messages)
        self.bus.send(commit.events)
        self.bus.look_back(commit.waits_opened)

    def remark(self, run: LiveRun, step: StepState, message: str) -> None:
        """A line for the run's log."""
        self.logs.write(run, step.address, "warning", masker_of(run.state).mask_text(message), {})

    def settle(self, run: LiveRun) -> None:
        """After the effects: the run is over, or has a timer, or may rest."""
        state = run.state
        if state.ended:
            if not run.committing:
                self.let_go(run)
                self.logs.flush(run)
                self.residents.tell_end(run)
                self.run_slots.stir(run.limit_group)
            return
        if run.interrupted and not state.paused:
            # A word other than `resume` has ended the pause, and what was in flight goes on (a compensation, say).
            self.loading.take_up(run)
        due = state.wake_at if state.status is RunStatus.QUEUED else state.next_due()
        if not run.committing and not run.tasks and state.status in _AT_REST and self._is_far(due, state.status):
            # A run that waits for long leaves; its row says when it is to come back.
            self.logs.flush(run)
            self.let_go(run)
            self.wakes.set_rested(due)
        elif due is not None:
            self.wakes.set(due, run)

    def _is_far(self, due: int | None, status: RunStatus) -> bool:
        return due is None or status is RunStatus.QUEUED or due - self._clock.now() >= KEPT_IN_MEMORY_MS

    def let_go(self, run: LiveRun) -> None:
        """The run leaves the memory, with all its attempts."""
        self.residents.remove(run)
        self.pool.drop_all(run)
        self.step_slots.let_go(run)

    def refolded(self, run: LiveRun) -> None:
        """The run's state was folded again: what was built on the one before is void."""
        self.step_slots.refolded(run)

    def set_aside(self, group: LimitGroup | None) -> None:
        """A run that is set aside holds no slot of its flow's limits."""
        self.run_slots.stir(group)

    def launch(self, run: LiveRun, step: StepState, attempt: int) -> None:
        """Make an attempt whose start is kept."""
        self.pool.launch(run, step, attempt)

    async def refold(self, run: LiveRun) -> RunState:
        """The run's state from its journal. Raises SegueError."""
        return await self.loading.state(await self.record(run.run_id))

    def _wake(self, key: int, timer_due: int) -> None:
        """A run's earliest timer may be due. The timers of an object that rested and came back are nobody's."""
        run = self.residents.by_key.get(key)
        if run is None or run.timer_due != timer_due:
            return
        run.timer_due = None
        if run.lost is not None:
            return
        due = run.state.next_due()
        if due is not None and due <= self._clock.now():
            self.committing.feed(run, inp.TimersDue())
        elif due is not None:
            self.wakes.set(due, run)

    async def _tell(self, run_id: str, given: inp.Input) -> None:
        self._refuse_if_closing()
        record = await self.record(run_id)
        if record.status in RUN_ENDED:
            raise ConflictError(f"run {run_id} is over already ({record.status})")
        run = await self.loading.loaded(record)
        if isinstance(given, inp.ResumeRun) and run.state.paused and run.lost is None:
            if run.interrupted:
                self.loading.take_up(run)
            self.committing.end_unsafe(run)
            if not run.state.paused:  # an unknown outcome has ended it: that is how it goes on
                ack: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                run.follow(given, ack)
                return await ack
        return await self.committing.feed_and_wait(run, given)

    async def reopen(self, run_id: str, given: inp.UndoRun | inp.RewindRun | inp.RetryRun) -> None:
        """Feed an input that a run takes when it is over, too. Raises NotFoundError, and what `decide` says."""
        self._refuse_if_closing()
        async with self.reopening:
            record = await self.record(run_id)
            run = await self.loading.loaded(record)
            if run not in self.residents and run.state.ended:
                self.residents.add(run)
            try:
                await self.committing.feed_and_wait(run, given)
            finally:
                if run.state.ended and not run.committing and run.lost is None:
                    self.let_go(run)

    async def start_from(self, version: Version, begin: inp.Begin, workspace: str, kind: str) -> str:
        """Accept a run that comes from another one; its id. `kind`: what started it. Raises StoreUnavailableError."""
        self._refuse_if_closing()
        run = self._new_run(version, {"kind": kind}, workspace, None)
        await self._accept(run, begin)
        return run.run_id

    async def go_on(self, record: RunRecord, given: inp.GoOn) -> None:
        """Take up a run that was quarantined, and whose journal folds now."""
        self._refuse_if_closing()
        run = await self.loading.loaded(record, quarantined=True)
        if run.state.ended:
            await self.committing.keep_head(run)
        else:
            await self.committing.feed_and_wait(run, given)

    def _refuse_if_closing(self) -> None:
        if self._closing or not self._opened:
            raise EngineError("the engine is not open" if not self._opened else "the engine is being closed")

    def in_background(self, work: Awaitable[None]) -> None:
        """Have it end with the host."""
        task = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)


def _as_kept(value: JsonValue, what: str) -> JsonValue:
    """What the journal will give back for a value from outside; a copy, which its giver cannot change."""
    try:
        return as_kept(value)
    except NotKeepableError as error:
        raise RequestError(f"{what}: {error}") from error


def _limit_key(plan: Plan, run_id: str, begin: inp.Begin, now: int) -> str | None:
    try:
        return key_of_run(plan, run_id, begin.inputs, begin.trigger, begin.seed, now)
    except StopNow as stopped:
        raise RequestError(f"the flow's limits.key could not be computed: {stopped.failure.message}") from stopped


def _when(at: int) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _digest_of(version: Version, inputs: RawMap) -> str:
    return hashlib.sha256(_encode_sorted([version.key, inputs])).hexdigest()
