"""Limits of a step: which of its attempts begin, wait, are skipped, replaced or refused, over all runs of this host.

A step that needs a slot waits for it as a row of the store; the run it belongs to may rest meanwhile. A slot is held
from the moment it is given until the commit that ends the attempt. Attempts are in flight in this host only, so its
memory is the truth about them: a new host finds all slots free, and the attempts that the one before left in flight ask
for theirs again like any other.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from segue.engine.attempts import AttemptMaker
from segue.engine.clock import Clock
from segue.engine.committing import Committing
from segue.engine.live_run import LiveRun
from segue.engine.loading import Loading
from segue.engine.rates import Room
from segue.engine.residents import Residents
from segue.engine.turns import Turns
from segue.engine.versions import Versions
from segue.errors import ConflictError, SegueError, StoreUnavailableError
from segue.flow.model import Limits
from segue.kernel import events as ev
from segue.kernel import inputs as inp
from segue.kernel.decide import Decision
from segue.kernel.slots import name_of, parts_of
from segue.kernel.state import StepState
from segue.store.port import Commit, RunRecord, SlotWait, Store

AT_ONCE: Final = 100
"""Waiting steps that are looked at before the room is read again."""
_IN_FLIGHT: Final = (ev.StepStarted, ev.AttemptStarted, ev.FallbackStarted, ev.CallbackReceived)
"""Events after which a step's attempt is (still) in flight; after every other one it is not."""
_log = logging.getLogger("segue.engine")


class StepSlots:
    """Gives slots to steps that wait for them."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        versions: Versions,
        residents: Residents,
        committing: Committing,
        loading: Loading,
        maker: AttemptMaker,
        in_background: Callable[[Awaitable[None]], None],
    ) -> None:
        self._store = store
        self._clock = clock
        self._versions = versions
        self._residents = residents
        self._committing = committing
        self._loading = loading
        self._maker = maker
        self._in_background = in_background
        self._holders: dict[str, dict[tuple[int, int], None]] = {}
        """By what is counted together: (run key, step) of the attempts that hold a slot, the oldest first."""
        self._held: dict[tuple[int, int], str] = {}
        self._turns = Turns[str](self._serve, clock, in_background)

    async def open(self) -> None:
        """Give what is free to the steps that wait, now that all attempts of the host before ask for their slots."""
        await self._turns.stir_all(lambda after: self._store.awaited_slots(after=after or "", limit=AT_ONCE), AT_ONCE)

    def stop(self) -> None:
        """No slot is given from now on."""
        self._turns.stop()

    def kept(self, run: LiveRun, decision: Decision) -> None:
        """A decision of a run whose steps have limits is kept: slots are asked for and given back."""
        for step in decision.slots:
            self._turns.stir(name_of(run.workspace, run.state.plan.flow.id, step))
        for row in decision.rows:
            if (run.key, row.step) in self._held and not isinstance(row.event, _IN_FLIGHT):
                self._release(run.key, row.step)
            elif isinstance(row.event, ev.Rewound):
                self.refolded(run)

    def refolded(self, run: LiveRun) -> None:
        """The run's state is another one: slots that it does not know of are free."""
        for key, step in [held for held in self._held if held[0] == run.key]:
            if step not in run.state.active:
                self._release(key, step)
        for step in run.state.awaiting.values():
            self._turns.stir(name_of(run.workspace, run.state.plan.flow.id, step))

    def let_go(self, run: LiveRun) -> None:
        """The run has left the memory, and nothing of it is in flight."""
        if self._held:
            for key, step in [held for held in self._held if held[0] == run.key]:
                self._release(key, step)

    def _release(self, key: int, step: int) -> None:
        slots = self._held.pop((key, step), None)
        if slots is None:
            return
        holders = self._holders[slots]
        holders.pop((key, step), None)
        if not holders:
            del self._holders[slots]
        self._turns.stir(slots)

    def _hold(self, slots: str, key: int, step: int) -> None:
        self._holders.setdefault(slots, {})[key, step] = None
        self._held[key, step] = slots

    # ------------------------------------------------------------ one group

    async def _serve(self, slots: str) -> None:
        while await self._serve_some(slots):
            pass

    async def _serve_some(self, slots: str) -> bool:
        """Look at the steps that wait longest. True if something changed, so that a further look may find more."""
        waits = await self._store.slot_waits(slots, limit=AT_ONCE)
        room = self._room(slots)
        told: list[Callable[[], Awaitable[bool]]] = []
        for wait in waits:
            record = await self._store.get_run_by_key(wait.run_key)
            limits = None if record is None else await self._limits_of(record.flow_version, slots)
            if record is None or limits is None:
                told.append(partial(self._strike, wait))
                continue
            why = await room.why_not(limits)
            if why is not None and limits.on_full == "queue":
                break
            if why is None:
                room.take()
            told.append(partial(self._tell, slots, record, wait, limits, why))
        if room.retry_at is not None:
            self._turns.stir_at(slots, room.retry_at)
        outcomes = await asyncio.gather(*(tell() for tell in told), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        return any(outcomes)

    def _room(self, slots: str) -> Room:
        async def count_begun(since: int, limit: int) -> tuple[int, int | None]:
            return await self._store.slots_begun(slots, since, limit=limit)

        _, _, step, key = parts_of(slots)
        return Room(step, key, len(self._holders.get(slots, ())), count_begun, self._clock.now())

    async def _limits_of(self, flow_version: int, slots: str) -> Limits | None:
        version = await self._versions.get(flow_version)
        node = version.plan.limited.get(parts_of(slots)[2])
        return None if node is None else node.step.limits

    async def _tell(self, slots: str, record: RunRecord, wait: SlotWait, limits: Limits, why: str | None) -> bool:
        """Give the slot, or say why there is none. Nothing is waited for between the loading and the word: a run at
        rest is another object each time that it is loaded.
        """
        try:
            run = await self._loading.loaded(record)
        except StoreUnavailableError:
            raise
        except SegueError:
            return await self._strike(wait)
        step = run.state.awaiting.get(wait.step)
        if step is None or run.state.paused:  # it asks again when it is resumed
            if run.pending or run.lost is not None:
                await self._committing.all_kept(run)
                return True
            return await self._strike(wait)
        if why is None:
            return await self._give(slots, run, step)
        return step.started_at is None and await self._refuse(slots, run, step, limits, why)

    async def _give(self, slots: str, run: LiveRun, step: StepState) -> bool:
        self._hold(slots, run.key, step.id)
        try:
            await self._committing.feed_and_wait(run, inp.SlotGiven(step.id))
        except SegueError:
            self._release(run.key, step.id)
            raise
        if run not in self._residents or (not run.pending and step.id not in run.state.active):
            self._release(run.key, step.id)  # it was cancelled or paused before
        return True

    async def _refuse(self, slots: str, run: LiveRun, step: StepState, limits: Limits, why: str) -> bool:
        if limits.on_full == "replace":
            return await self._take_from_oldest(slots, run)
        how = "skip" if limits.on_full == "skip" else "reject"
        await self._committing.feed_and_wait(run, inp.SlotRefused(step.id, how, why))
        return True

    async def _take_from_oldest(self, slots: str, newer: LiveRun) -> bool:
        """Cut off the attempt that has held its slot longest: it fails, and is not tried again."""
        for key, number in self._holders.get(slots, {}):
            run = self._residents.by_key.get(key)
            step = None if run is None else run.state.active.get(number)
            if run is None or step is None or run.pending:
                continue
            message = f"its slot went to run {newer.run_id}"
            category = "unknown_outcome" if self._maker.is_unsafe(run.state, step) else "cancelled"
            failure = ev.Failure(category=category, code="slot_taken", message=message)
            try:
                await self._committing.feed_and_wait(run, inp.AttemptEnded(step.id, step.attempt, failure=failure))
            except ConflictError:
                return False
            return True
        return False

    async def _strike(self, wait: SlotWait) -> bool:
        """The step does not wait any more."""
        done: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()
        commit = Commit(run_key=wait.run_key, rows=(), slots_left=(wait.step,))
        self._store.commit(commit, lambda _, error: None if done.done() else done.set_result(error))
        error = await done
        if error is not None:
            raise error
        return True
