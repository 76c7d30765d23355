"""Bringing runs into memory: at the host's start, when a signal for one arrives, when its time has come."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from segue.engine.attempts import AttemptMaker
from segue.engine.clock import Clock
from segue.engine.committing import Committing
from segue.engine.live_run import LiveRun
from segue.engine.residents import Residents
from segue.engine.sealing import Sealing
from segue.engine.versions import Versions
from segue.engine.wakes import Wakes
from segue.errors import ConflictError, SegueError, StoreUnavailableError
from segue.expr.sealed import Box
from segue.kernel import inputs as inp
from segue.kernel.apply import fold_onto
from segue.kernel.decide import pending_attempts
from segue.kernel.state import RunState
from segue.kernel.status import RunStatus
from segue.store.port import RunRecord, Store

ROWS_AT_ONCE: Final = 2_000
"""Events that are read and folded before other runs have their turn (some 10 ms of folding)."""
_log = logging.getLogger("segue.engine")


class Loading:
    """Folds runs from their journals, each once however many ask for it, and takes up what was in flight."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        versions: Versions,
        maker: AttemptMaker,
        residents: Residents,
        committing: Committing,
        wakes: Wakes,
        sealing: Sealing,
    ) -> None:
        self._store = store
        self._clock = clock
        self._versions = versions
        self._maker = maker
        self._residents = residents
        self._committing = committing
        self._wakes = wakes
        self._sealing = sealing
        self.release: Callable[[RunRecord], Awaitable[None]]
        """What is done with a queued run whose time has come."""
        self._loading: dict[int, asyncio.Task[LiveRun]] = {}

    async def state(self, record: RunRecord, *, upto_seq: int | None = None, opens: bool = False) -> RunState:
        """The run's committed state, now or as of an event. Raises JournalCorruptError; with `opens` also for a value
        that is kept sealed and cannot be decrypted.
        """
        version = await self._versions.get(record.flow_version)
        state = RunState(version.plan, record.run_id)
        state.box = Box(self._sealing.sealer(record.workspace), opens=opens)
        while True:
            wanted = ROWS_AT_ONCE if upto_seq is None else min(ROWS_AT_ONCE, upto_seq + 1 - state.seq)
            rows = await self._store.load_journal(record.key, after_seq=state.seq - 1, limit=wanted)
            fold_onto(state, rows)
            if len(rows) < wanted or wanted < ROWS_AT_ONCE:
                return state

    async def loaded(self, record: RunRecord, *, quarantined: bool = False) -> LiveRun:
        """The run in memory, folded from its journal if it is at rest. Raises JournalCorruptError: then it is set
        aside; ConflictError if it was before, unless a run set aside is what is asked for.
        """
        if record.status == RunStatus.QUARANTINED and not quarantined:
            raise ConflictError(f"run {record.run_id} is quarantined; roll it back to its last valid event first")
        while True:
            run = self._residents.by_key.get(record.key)
            if run is not None:
                return run
            task = self._loading.get(record.key)
            if task is None:
                task = self._loading[record.key] = asyncio.create_task(self._load(record))
                task.add_done_callback(lambda ended: self._loaded(record.key, ended))
            run = await asyncio.shield(task)
            # Others waited for it too: one whose word meant nothing to it may have let it go again.
            if run.state.ended or self._residents.by_key.get(record.key) is run:
                return run

    def _loaded(self, key: int, ended: asyncio.Task[LiveRun]) -> None:
        self._loading.pop(key, None)
        if not ended.cancelled():
            ended.exception()  # whoever waited has been told; nobody may be left who did

    async def _load(self, record: RunRecord) -> LiveRun:
        try:
            if (await self._versions.get(record.flow_version)).plan.declared:
                await self._sealing.ready(record.workspace)
            state = await self.state(record, opens=True)
        except StoreUnavailableError:
            raise
        except SegueError as error:
            self._committing.set_aside(record.key, record.run_id, record.started_at, record.limit_group, str(error))
            raise
        run = LiveRun(record.key, record.run_id, record.workspace, state)
        run.limit_key = record.limit_key
        if state.ended:  # meanwhile: it is only there to say so
            return run
        self._residents.add(run)
        if state.paused:
            run.interrupted = {step.id: step.attempt for step in pending_attempts(state)}
        else:
            self.take_up(run)
        due = run.state.next_due()
        if due is not None:
            self._wakes.set(due, run)
        return run

    def take_up(self, run: LiveRun) -> None:
        """Attempts of a run just loaded were in flight in a host that stopped; of a run that was paused then, some of
        those that are in flight now.
        """
        since, run.interrupted = run.interrupted, {}
        interrupted = [step for step in pending_attempts(run.state) if not since or since.get(step.id) == step.attempt]
        if interrupted or run.state.ready:
            unsafe = frozenset(step.id for step in interrupted if self._maker.is_unsafe(run.state, step))
            self._committing.feed(run, inp.AdoptRun(frozenset(step.id for step in interrupted), unsafe))

    async def adopt_all(self) -> None:
        """Take over what an earlier host left running."""
        after = 0
        while True:
            records = await self._store.unfinished_runs(after_key=after)
            if not records:
                return
            for record in records:
                after = record.key
                try:
                    await self.loaded(record)
                except SegueError as error:
                    _log.error("run %s cannot be adopted: %s", record.run_id, error)

    # ------------------------------------------------------------ runs at rest

    async def wake_rested(self) -> None:
        """Bring back the runs at rest whose time has come."""
        cannot: set[int] = set()
        try:
            while not self._committing.closing:
                due = [
                    record
                    for record in await self._store.due_runs(self._clock.now())
                    if (record.key not in self._residents.by_key or record.status == RunStatus.QUEUED)
                    and record.key not in cannot
                ]
                if not due:
                    break
                # Until these are committed, their rows still say that they are due. One that has not begun is in memory
                # only because somebody asked for what it cannot do yet, and has no alarm there.
                outcomes = await asyncio.gather(*map(self._wake, due))
                cannot.update(record.key for record, woken in zip(due, outcomes, strict=True) if not woken)
            wake = await self._store.next_wake_at()
            # What is due already is a run in memory, or one that cannot be loaded.
            wake = None if wake is None else max(wake, self._clock.now() + 50)
        except StoreUnavailableError as error:
            _log.warning("the store is unavailable: %s", error)
            wake = self._clock.now() + 1_000
        self._wakes.set_rested(wake)

    async def _wake(self, record: RunRecord) -> bool:
        """Let one run's timers fire. False if the run cannot be loaded: it must not keep the others asleep."""
        try:
            if record.status == RunStatus.QUEUED:
                await self.release(record)
            else:
                await self._committing.feed_and_wait(await self.loaded(record), inp.TimersDue())
        except StoreUnavailableError:
            raise
        except SegueError as error:
            _log.error("run %s cannot be woken: %s", record.run_id, error)
            return False
        return True
