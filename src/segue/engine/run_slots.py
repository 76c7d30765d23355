"""Limits of a flow: which of its runs begin, wait, are skipped, replaced or refused.

How many slots are taken is read from the rows of the runs each time it matters, so no slot can leak or be given twice,
whatever fails: a run holds one from the commit that begins it to the commit that ends it. Decisions on one group (the
runs of a flow with one key) are made one after the other (`turns`), each on what the one before has committed. A run
that waits for a slot is a row, and nothing else.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from segue.engine.clock import Clock
from segue.engine.committing import Committing
from segue.engine.live_run import LiveRun
from segue.engine.loading import Loading
from segue.engine.rates import Room
from segue.engine.residents import Residents
from segue.engine.turns import Turns
from segue.engine.versions import Versions
from segue.errors import ConflictError, EngineError, LimitReachedError, SegueError, StoreUnavailableError
from segue.flow.model import Limits
from segue.kernel import inputs as inp
from segue.kernel.events import RunQueued
from segue.store.port import LimitGroup, RunRecord, Store

AT_ONCE: Final = 100
"""Queued runs that are looked at before the room is read again."""
REPLACED_MAX: Final = 1_000
_CLOSING: Final = "the engine is being closed; the run was not accepted"
_log = logging.getLogger("segue.engine")


class _Request(msgspec.Struct):
    """A run that asks to begin; `answer` is its caller's."""

    run: LiveRun
    begin: inp.Begin
    due: Callable[[], bool]
    answer: asyncio.Future[bool]


class RunSlots:
    """Lets the runs of flows with limits begin."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        versions: Versions,
        residents: Residents,
        committing: Committing,
        loading: Loading,
        in_background: Callable[[Awaitable[None]], None],
    ) -> None:
        self._store = store
        self._clock = clock
        self._versions = versions
        self._residents = residents
        self._committing = committing
        self._loading = loading
        self._in_background = in_background
        self._requests: dict[LimitGroup, list[_Request]] = {}
        self._turns = Turns[LimitGroup](self._serve, clock, in_background)

    async def open(self) -> None:
        """Look at all queues once: slots may have become free while no host was there."""
        await self._turns.stir_all(lambda after: self._store.queue_groups(after=after, limit=AT_ONCE), AT_ONCE)

    def stop(self) -> None:
        """Nothing begins from here from now on; who asks is told so."""
        self._turns.stop()
        for requests in self._requests.values():
            for one in requests:
                _answer(one, EngineError(_CLOSING))
        self._requests.clear()

    def stir(self, group: LimitGroup | None) -> None:
        """A slot of the group may be free, or a run waits for one."""
        if group is not None:
            self._turns.stir(group)

    async def admit(self, run: LiveRun, begin: inp.Begin, group: LimitGroup, due: Callable[[], bool]) -> bool:
        """Begin, queue or skip a run; when this returns, what became of it is kept. False: it was not `due` any more
        when its turn came, and nothing was done.

        Raises LimitReachedError if it is refused, and what `Committing.feed_and_wait` raises.
        """
        if self._turns.stopped:
            raise EngineError(_CLOSING)
        request = _Request(run, begin, due, asyncio.get_running_loop().create_future())
        self._requests.setdefault(group, []).append(request)
        self._turns.stir(group)
        return await request.answer

    async def release(self, record: RunRecord) -> None:
        """A queued run's time has come: it begins, or waits for a slot from now on."""
        group = record.limit_group
        run = await self._loading.loaded(record)
        if group is None:
            return await self._committing.feed_and_wait(run, inp.BeginQueued())
        queued = RunQueued(reason=f"its time has come; it waits for a slot of `{record.flow_id}`", key=group.limit_key)
        await self._committing.feed_and_wait(run, inp.QueueOn(queued))
        self.stir(group)
        return None

    # ------------------------------------------------------------ one group

    async def _serve(self, group: LimitGroup) -> None:
        requests = self._requests.pop(group, [])
        try:
            room = await self._room(group)
            is_blocked = await self._serve_queue(group, room)
            replaces = await self._serve_requests(group, requests, room, is_blocked=is_blocked)
            if replaces or is_blocked:
                await self._replace(group)
            if room.retry_at is not None:
                self._turns.stir_at(group, room.retry_at)
        except BaseException as error:
            failure = error if isinstance(error, SegueError) else EngineError(f"the run could not be begun: {error!r}")
            for one in requests:
                _answer(one, failure)
            raise

    async def _room(self, group: LimitGroup) -> Room:
        async def count_begun(since: int, limit: int) -> tuple[int, int | None]:
            return await self._store.runs_begun(group, since, limit=limit)

        under_way = await self._store.runs_under_way(group)
        return Room(group.flow_id, group.limit_key, len(under_way), count_begun, self._clock.now())

    async def _serve_queue(self, group: LimitGroup, room: Room) -> bool:
        """Begin what waits, in order, as far as there is room. True if some goes on waiting."""
        while True:
            queued = await self._store.queued_runs(group, limit=AT_ONCE)
            todo: list[tuple[RunRecord, inp.Input]] = []
            is_blocked = False
            for record in queued:
                limits = await self._limits_of(record)
                why = await room.why_not(limits)
                if why is None:
                    room.take()
                    todo.append((record, inp.BeginQueued()))
                elif limits.on_full in ("skip", "reject"):
                    todo.append((record, inp.SkipQueued(why)))
                else:
                    is_blocked = True
                    break
            await self._tell_all(todo)
            if is_blocked or len(queued) < AT_ONCE:
                return is_blocked
            room.kept()

    async def _tell_all(self, todo: list[tuple[RunRecord, inp.Input]]) -> None:
        async def tell(record: RunRecord, given: inp.Input) -> None:
            try:
                await self._committing.feed_and_wait(await self._loading.loaded(record), given)
            except StoreUnavailableError:
                raise
            except SegueError as error:  # it was cancelled or set aside meanwhile: it is in no queue any more
                _log.warning("run %s could not be taken from the queue: %s", record.run_id, error)

        outcomes = await asyncio.gather(*(tell(*one) for one in todo), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome

    async def _serve_requests(
        self, group: LimitGroup, requests: list[_Request], room: Room, *, is_blocked: bool
    ) -> bool:
        """New runs, in the order in which they came. True if one of them is to replace another."""
        replaces = False
        told: list[Awaitable[bool]] = []
        for one in requests:
            if one.answer.done():  # who asked is gone
                continue
            limits = one.run.state.plan.flow.run_limits or Limits()
            why = await room.why_not(limits)
            if why is None and is_blocked:
                why = f"runs of `{room.what}` that were accepted before wait for a slot"
            if why is None:
                room.take()
            elif limits.on_full == "reject":
                _answer(one, LimitReachedError(f"{why}; the flow refuses further runs. Start it again later."))
                continue
            elif limits.on_full == "skip":
                one.begin = msgspec.structs.replace(one.begin, skipped=why)
            else:
                is_blocked = True
                replaces = replaces or limits.on_full == "replace"
                one.begin = msgspec.structs.replace(one.begin, queued=RunQueued(reason=why, key=room.key))
            told.append(self._begin(one))
        if not all(await asyncio.gather(*told)):
            self._turns.stir(group)  # others were queued for the sake of one that is not kept
        return replaces

    async def _begin(self, one: _Request) -> bool:
        if not one.due():
            if not one.answer.done():
                one.answer.set_result(False)
            return False
        self._residents.add(one.run)
        try:
            await self._committing.feed_and_wait(one.run, one.begin)
        except SegueError as error:
            _answer(one, error)
            return False
        _answer(one, None)
        return True

    async def _replace(self, group: LimitGroup) -> None:
        """Cancel the oldest runs that stand in the way of newer ones. Which these are follows from the rows alone: one
        that is ending already is told again, and nothing comes of it.
        """
        queued = await self._store.queued_runs(group, limit=REPLACED_MAX)
        if not queued:
            return
        limits = await self._limits_of(max(queued, key=lambda one: one.key))
        if limits.on_full != "replace" or limits.concurrency is None:
            return
        keys = [*await self._store.runs_under_way(group), *sorted(one.key for one in queued)]
        for key in keys[: max(len(keys) - limits.concurrency, 0)]:
            record = await self._store.get_run_by_key(key)
            if record is None:
                continue
            try:
                run = await self._loading.loaded(record)
                if not run.state.ended:
                    await self._committing.feed_and_wait(run, inp.CancelRun("replaced by a newer run of the flow"))
            except ConflictError:
                continue  # it is over

    async def _limits_of(self, record: RunRecord) -> Limits:
        return (await self._versions.get(record.flow_version)).flow.run_limits or Limits()


def _answer(one: _Request, error: SegueError | None) -> None:
    if not one.answer.done():
        one.answer.set_result(True) if error is None else one.answer.set_exception(error)
