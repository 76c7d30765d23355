"""The embedded host: drives all runs of one store on one event loop.

An input (a result, a due timer, a callback, a person's word) is decided and committed by `committing`; when the commit
is kept, its effects come back here and go to the `attempt_pool` (what is to be done) and to `wakes` (when to come
back). So a run costs no task and no thread of its own, only its attempts do. A run that waits is dropped from memory
and comes back through `loading`, by its row's `wake_at` or when a signal for it arrives.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final

from segue.engine.attempt_pool import MAX_ATTEMPTS_IN_FLIGHT, AttemptPool
from segue.engine.attempts import AttemptMaker
from segue.engine.bus import Bus
from segue.engine.callbacks import Callbacks, Note
from segue.engine.children import Children
from segue.engine.clock import Clock, Handle, SystemClock
from segue.engine.committing import Committing
from segue.engine.effects import HostEffects
from segue.engine.flow_source import FlowSource, RegisteredFlows
from segue.engine.ids import WORKSPACE, Entropy, callback_token, new_run_id
from segue.engine.loading import Loading
from segue.engine.mailbox import Mailbox
from segue.engine.port import ActionRegistry, Links
from segue.engine.reactions import Listeners
from segue.engine.replays import Replays
from segue.engine.residents import Residents
from segue.engine.result_cache import ResultCache
from segue.engine.run_logs import RunLogs
from segue.engine.run_slots import RunSlots
from segue.engine.sealing import LocalSealing, Sealing
from segue.engine.second_chances import SecondChances
from segue.engine.secrets import SecretResolver
from segue.engine.starting import Starting
from segue.engine.step_slots import StepSlots
from segue.engine.values import kept_or_refused
from segue.engine.versions import Versions
from segue.engine.wakes import Wakes
from segue.errors import ConflictError, EngineError, NotFoundError, RequestError
from segue.expr.sealed import Box
from segue.flow.model import JsonValue
from segue.kernel import events as ev
from segue.kernel import inputs as inp
from segue.kernel.compensation import UndoPreview, undo_preview
from segue.kernel.state import RunState, StepState
from segue.kernel.status import RUN_ENDED, RunStatus
from segue.store.port import CallbackRow, EventRow, RunRecord, Store

MAX_EVENT_ID_LENGTH: Final = 200


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
        entropy: Callable[[int], bytes] | None = None,
        maker: AttemptMaker | None = None,
        flows: FlowSource | None = None,
        labels: Iterable[str] = (),
        sealing: Sealing | None = None,
        links: Links | None = None,
    ) -> None:
        """`maker` makes the attempts in another way than calling `actions`: the test kit answers them itself. `flows`
        is where sub-flows are found by their names, before the versions that the store keeps. `labels` are what steps
        with `runs_on` ask for.
        """
        self.store = store
        self.actions = actions
        self.versions = Versions(store)
        self._clock = clock or SystemClock()
        self._server_key = server_key
        self.sealing = sealing or LocalSealing(server_key)
        self._entropy = entropy or Entropy()
        self.effects = HostEffects(self)
        self.starting = Starting(self, self._entropy)
        self.start = self.starting.start
        self._callback_base_url = callback_base_url
        resolver = secrets or SecretResolver()
        self._results = results = ResultCache(store, self._clock, lambda: self.server_key)
        maker = maker or AttemptMaker(
            actions, resolver, labels=frozenset(labels), results=results, sealing=self.sealing, links=links
        )
        self.residents = Residents()
        self.logs = RunLogs(store, self._clock, self.residents)
        self.wakes = Wakes(self._clock, self._wake, lambda: self.in_background(self.loading.wake_rested()))
        self.listeners = Listeners()
        """Who starts further runs when runs end and events come."""
        self.committing = Committing(
            store, self._clock, maker, self.residents, self.callback_token, self.effects, results,
            self.listeners.watches_end,
        )  # fmt: skip
        self.flows = flows or RegisteredFlows()
        self.children = Children(self.versions, self.flows, maker, self.starting, store.get_run, self.now)
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
        try:
            await self.sealing.open()
        except BaseException:
            await self.store.close()  # nobody closes what was never opened, and another host may have the key
            raise
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

    @property
    def server_key(self) -> bytes:
        """What callback tokens and the keys of stored results are made with."""
        kept = self.sealing.server_key
        return self._server_key if kept is None else kept

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
        note: Note | None = None,
    ) -> str:
        """See `Callbacks.give`."""
        return await self.callbacks.give(token, payload, raw=raw, headers=headers, note=note)

    async def publish(
        self, name: str, data: JsonValue = None, *, id: str | None = None, workspace: str = WORKSPACE
    ) -> str:
        """Send an event to all steps of a workspace that wait for one of this name, and give its id; when this returns,
        it is kept.

        A second event of the same `id` changes nothing. Raises RequestError, StoreUnavailableError.
        """
        self.refuse_if_closing()
        if id is not None and not 0 < len(id) <= MAX_EVENT_ID_LENGTH:
            raise RequestError(f"an event's id has 1 to {MAX_EVENT_ID_LENGTH} characters")
        kept = ev.encode_value(kept_or_refused(data, "the event's data"))
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
        self.refuse_if_closing()
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
        self.refuse_if_closing()
        async with self.reopening:
            record = await self.record(run_id)
            run = await self.loading.loaded(record)
            if run not in self.residents and run.state.ended:
                self.residents.add(run)
            try:
                await self.committing.feed_and_wait(run, given)
            finally:
                if run.state.ended and not run.committing and run.lost is None:
                    self.effects.let_go(run)

    async def go_on(self, record: RunRecord, given: inp.GoOn) -> None:
        """Take up a run that was quarantined, and whose journal folds now."""
        self.refuse_if_closing()
        run = await self.loading.loaded(record, quarantined=True)
        if run.state.ended:
            await self.committing.keep_head(run)
        else:
            await self.committing.feed_and_wait(run, given)

    def refuse_if_closing(self) -> None:
        """Raises EngineError unless the engine takes work."""
        if self._closing:
            raise EngineError("the engine is being closed")
        if not self._opened:
            raise EngineError("the engine is not open yet; open it first, as `async with segue:` does")

    def in_background(self, work: Awaitable[None]) -> None:
        """Have it end with the host."""
        task = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
