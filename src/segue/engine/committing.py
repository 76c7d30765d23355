"""Deciding and committing: an input is decided at once, its events are committed, then its effects are carried out.

Decisions build on decisions that are still being committed. If a commit fails, nothing that was built on it is true:
the run is folded again from its journal as soon as the store answers, and the inputs that were not kept are decided
once more. Inputs from outside are not: their caller is told that they were not kept.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final, Protocol

from segue.engine import outbox
from segue.engine.attempts import AttemptMaker
from segue.engine.clock import Clock
from segue.engine.ids import correlation, token_hash
from segue.engine.live_run import LiveRun, Undecided
from segue.engine.residents import Residents
from segue.engine.result_cache import ResultCache
from segue.errors import ConflictError, EngineError, NotFoundError, RequestError, SegueError, StoreUnavailableError
from segue.flow.model import JsonValue
from segue.kernel import events as ev
from segue.kernel import inputs as inp
from segue.kernel.decide import Decision, decide, pending_attempts
from segue.kernel.slots import name_of
from segue.kernel.state import RunState, StepState
from segue.kernel.status import RunStatus
from segue.store.port import CallbackRow, Commit, JournalRow, LimitGroup, RunHead, SlotBegun, SlotWait, Store
from segue.store.tables import Sql

new_tuple: Callable[..., Any] = tuple.__new__  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
RELOAD_DELAYS_SECONDS: Final = (0.05, 0.2, 0.5, 1.0, 2.0, 5.0)
_log = logging.getLogger("segue.engine")


class Effects(Protocol):
    """What the host does once a decision is kept, or cannot be."""

    def carry_out(self, run: LiveRun, decision: Decision, attempts: Sequence[int]) -> None:
        """The effects of a decision that is kept now."""
        ...

    def settle(self, run: LiveRun) -> None:
        """After the effects: the run is over, or has a timer, or may rest."""
        ...

    async def refold(self, run: LiveRun) -> RunState:
        """The run's state from its journal. Raises SegueError."""
        ...

    def launch(self, run: LiveRun, step: StepState, attempt: int) -> None:
        """Make an attempt whose start is kept."""
        ...

    def refolded(self, run: LiveRun) -> None:
        """The run's state was folded again: what was built on the one before is void."""
        ...

    def let_go(self, run: LiveRun) -> None:
        """The run leaves the memory, with all its attempts."""
        ...

    def tell_outside(self, commit: Commit) -> None:
        """Messages, events and waits of a commit that is kept now."""
        ...

    def remark(self, run: LiveRun, step: StepState, message: str) -> None:
        """A line for the run's log."""

    def set_aside(self, group: LimitGroup | None) -> None:
        """A run that counted under these limits is quarantined, and that is kept."""
        ...

    def in_background(self, work: Awaitable[None]) -> None:
        """Have a task end with the host."""
        ...


class Committing:
    """Feeds inputs to the kernel and the kernel's events to the store, for all runs of one host."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        maker: AttemptMaker,
        residents: Residents,
        callback_token: Callable[[str, StepState], str],
        effects: Effects,
        results: ResultCache,
        watches_end: outbox.WatchesEnd,
    ) -> None:
        self._store = store
        self._clock = clock
        self._maker = maker
        self._residents = residents
        self._callback_token = callback_token
        self._effects = effects
        self._results = results
        self._watches_end = watches_end
        self.starts = True
        """Whether decisions may begin steps."""
        self.closing = False

    # ------------------------------------------------------------ deciding

    def feed(
        self,
        run: LiveRun,
        given: inp.Input,
        ack: asyncio.Future[None] | None = None,
        taken: list[str] | None = None,
        also: Callable[[Sql], None] | None = None,
    ) -> None:
        """Decide on an input and send what follows from it to the store. `ack` is told when it is kept, or why not.

        `taken` are ids of messages that brought the input: they go with its commit, and the list is emptied if there
        is one. `also` is kept with it (`Commit.also`), if anything is.
        """
        if run.lost is not None:
            if ack is not None:
                ack.set_exception(StoreUnavailableError(f"run {run.run_id} cannot be written now: {run.lost}"))
            else:
                run.pending.append(Undecided(given, Decision(), None))
            return
        if isinstance(given, inp.TimersDue) and not run.state.paused:
            self.end_unsafe(run)
        try:
            decision = decide(run.state, given, self._clock.now(), starts=self.starts)
            commit = self.commit_of(run, decision) if decision.rows else None
            if decision.outside is not None:
                for step, message in decision.outside.remarks:
                    self._effects.remark(run, step, message)
        except RequestError as error:
            if ack is None:
                raise
            run.follow(given, ack, error)
            return
        except Exception as error:  # noqa: BLE001 - a fault of ours must set one run aside, not end the host
            self.quarantine(run, f"the engine could not decide on {type(given).__name__}: {error!r}")
            _log.exception("run %s: the decision on %s failed", run.run_id, type(given).__name__)
            if ack is not None:
                ack.set_exception(EngineError(f"run {run.run_id} is quarantined: {error!r}"))
            return
        if commit is None:
            run.follow(given, ack)
            return
        if taken:
            commit.messages_taken = tuple(taken)
            taken.clear()
        commit.also = also or commit.also
        run.pending.append(Undecided(given, decision, ack, [step.attempt for step in decision.start]))
        run.committing += 1
        self._store.commit(commit, partial(self._committed, run))

    async def keep_head(self, run: LiveRun) -> None:
        """Write the run's row as its journal says, with no event. Raises StoreUnavailableError."""
        kept: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def done(_commit: Commit, error: BaseException | None) -> None:
            if error is None:
                kept.set_result(None)
            else:
                kept.set_exception(error)

        self._store.commit(Commit(run_key=run.key, rows=(), head=_head(run.state, None)), done)
        await kept

    async def feed_and_wait(
        self,
        run: LiveRun,
        given: inp.Input,
        taken: list[str] | None = None,
        also: Callable[[Sql], None] | None = None,
    ) -> None:
        """Returns when the input is kept. Raises what `decide` says against it, StoreUnavailableError."""
        ack: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.feed(run, given, ack, taken, also)
        await ack

    def rest(self, run: LiveRun) -> None:
        """An input meant nothing to a run that it may have brought into memory: let it go again, if it waits."""
        if run in self._residents and run.lost is None and not run.committing:
            self._effects.settle(run)

    async def all_kept(self, run: LiveRun) -> None:
        """Returns when what is decided now is kept. Raises StoreUnavailableError if it is not."""
        if run.lost is not None:
            raise StoreUnavailableError(f"run {run.run_id} cannot be written now: {run.lost}")
        ack: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        run.follow(inp.TimersDue(), ack)
        await ack

    def end_unsafe(self, run: LiveRun) -> None:
        """Attempts whose time is over and that must not be repeated blindly: nobody knows whether they took effect."""
        state, now = run.state, self._clock.now()
        late = {number: kind for number, kind in state.due_timers(now) if kind in ("attempt", "total")}
        for step in [state.active[number] for number in late if number in state.active]:
            if self._maker.is_unsafe(state, step):
                message = "its time ran out before an answer came; whether it took effect is not known"
                failure = ev.Failure(category="unknown_outcome", code=f"{late[step.id]}_timeout", message=message)
                given = inp.AttemptEnded(step.id, step.attempt, failure=failure, generation=step.generation)
                self.feed(run, given)

    # ------------------------------------------------------------ committing

    def commit_of(self, run: LiveRun, decision: Decision) -> Commit:
        """All that the decision changes in the store."""
        encode = ev.encode
        rows = [
            # Not by `JournalRow(…)`, whose constructor is a Python function: there is one a journal row.
            new_tuple(JournalRow, (seq, event.KIND, step, at, encode(event)))
            for seq, step, at, event in decision.rows
        ]
        commit = Commit(run_key=run.key, rows=rows)
        state = run.state
        status = state.status
        wake_at = None if status is RunStatus.RUNNING else state.wake_at
        if status != run.status or wake_at != run.wake_at:
            run.status, run.wake_at = status, wake_at
            commit.head = _head(state, wake_at)
        if run.new_run is not None:
            commit.new_run, run.new_run = run.new_run, None
            commit.also, run.also = run.also, None
        if decision.callbacks_opened:
            names = {} if decision.outside is None else decision.outside.correlations
            commit.callbacks_opened = [
                self._callback_row(run, step, names.get(step.id)) for step in decision.callbacks_opened
            ]
        if decision.callbacks_closed:
            closed = decision.callbacks_closed.values()
            commit.callbacks_closed = [
                (token_hash(self._callback_token(run.run_id, step)), how) for step, how in closed
            ]
        if decision.outside is not None:
            self._results.keep(run.run_id, decision.outside.results, commit)
        if decision.outside is not None or state.ended:
            outbox.fill(commit, run, decision, self._clock.now(), watches_end=self._watches_end)
        if state.plan.limited:
            _note_slots(run, decision, commit)
        if run.logs:
            commit.logs, run.logs = run.logs, []
        return commit

    def _callback_row(self, run: LiveRun, step: StepState, called: JsonValue) -> CallbackRow:
        now = self._clock.now()
        return CallbackRow(
            token_hash=token_hash(self._callback_token(run.run_id, step)), run_key=run.key, step=step.id,
            generation=step.generation, step_path=step.address, created_at=now,
            expires_at=step.until if step.until is not None else now, correlation=correlation(called),
        )  # fmt: skip

    def _committed(self, run: LiveRun, commit: Commit, error: BaseException | None) -> None:
        run.committing -= 1
        if error is not None or run.lost is not None:
            self._lost(run, commit, error)
            return
        undecided = run.pending.popleft()
        if undecided.ack is not None or undecided.followers:
            undecided.answer(None)
        self._effects.carry_out(run, undecided.decision, undecided.attempts)
        if commit.messages or commit.events or commit.waits_opened:
            self._effects.tell_outside(commit)
        self._effects.settle(run)

    # ------------------------------------------------------------ when a commit fails

    def _lost(self, run: LiveRun, commit: Commit, error: BaseException | None) -> None:
        """Nothing decided since the lost commit is true. Wait for the store's last word on them, then start over."""
        if run.lost is None:
            run.lost = error
            # A run that is not to begin twice, such as a webhook's second delivery: whoever asked for it is told.
            is_taken = commit.new_run is not None and isinstance(error, ConflictError)
            _log.log(logging.DEBUG if is_taken else logging.WARNING, "run %s: commit failed: %s", run.run_id, error)
        run.logs += commit.logs
        if run.committing:
            return
        kept: deque[Undecided] = deque()
        began = False
        for undecided in run.pending:
            began = began or isinstance(undecided.given, inp.Begin)
            kept += [one for one in (undecided, *undecided.followers) if one.ack is None]
            failure = run.lost
            if not isinstance(failure, SegueError):
                failure = StoreUnavailableError(f"run {run.run_id} could not be written: {failure}")
            undecided.answer(failure)
            undecided.followers.clear()
        run.pending = kept
        if began:
            self._effects.let_go(run)
            self._residents.tell_error(run.run_id, NotFoundError(f"run {run.run_id} could not be kept: {run.lost}"))
        else:
            self._effects.in_background(self.reload(run))

    async def reload(self, run: LiveRun) -> None:
        """Fold the run again as soon as the store answers, and decide once more on what was not kept."""
        for delay in itertools.chain(RELOAD_DELAYS_SECONDS, itertools.repeat(RELOAD_DELAYS_SECONDS[-1])):
            if self.closing:
                return
            await asyncio.sleep(delay)
            try:
                run.state = await self._effects.refold(run)
                break
            except StoreUnavailableError as error:
                _log.warning("run %s: the store is unavailable: %s", run.run_id, error)
            except SegueError as error:
                self.quarantine(run, str(error))
                return
        run.lost = run.status = run.wake_at = None
        self._effects.refolded(run)
        again, run.pending = run.pending, deque()
        settled = {one.given.step for one in again if isinstance(one.given, inp.AttemptEnded)}
        # What an earlier host left in flight is begun by the takeover alone, which knows what must not be repeated.
        if not run.interrupted and not any(isinstance(one.given, inp.AdoptRun) for one in again):
            for step in pending_attempts(run.state):
                if step.id not in run.tasks and step.id not in settled:
                    self._effects.launch(run, step, step.attempt)
        for undecided in again:
            self.feed(run, undecided.given)
        self._effects.settle(run)

    # ------------------------------------------------------------ setting aside

    def quarantine(self, run: LiveRun, message: str) -> None:
        """Set the run aside: nothing is done with it until a person decides."""
        self._effects.let_go(run)
        self.set_aside(run.key, run.run_id, run.state.started_at, run.limit_group, message)

    def set_aside(
        self, key: int, run_id: str, started_at: int | None, group: LimitGroup | None, message: str
    ) -> None:  # fmt: skip
        """Write it down as quarantined."""

        def kept(_: Commit, error: BaseException | None) -> None:
            if error is not None:
                _log.error("run %s: that it is quarantined was not written: %s", run_id, error)
            else:
                self._effects.set_aside(group)

        head = RunHead(status=RunStatus.QUARANTINED.value, started_at=started_at, error=message[:500])
        self._store.commit(Commit(run_key=key, rows=(), head=head), kept)
        _log.error("run %s is quarantined: %s", run_id, message)
        self._residents.tell_error(run_id, EngineError(f"run {run_id} is quarantined: {message}"))


def _head(state: RunState, wake_at: int | None) -> RunHead:
    return RunHead(
        status=state.status.value, started_at=state.started_at, finished_at=state.finished_at, wake_at=wake_at,
        recovered=state.recovered, error=None if state.error is None else state.error.message[:500],
    )  # fmt: skip


def _note_slots(run: LiveRun, decision: Decision, commit: Commit) -> None:
    """Which steps wait for slots of their limits from now on, and which no more."""
    state, flow_id = run.state, run.state.plan.flow.id
    left: dict[int, None] = {}
    begun: list[SlotBegun] = []
    for _, number, at, event in decision.rows:
        limits = None if number < 0 else state.nodes[number].plan.step.limits
        if limits is None:
            continue
        step = state.nodes[number]
        if number not in state.awaiting and step.slot_key is not None:
            left[number] = None
        if limits.rate_count is not None and isinstance(event, ev.StepStarted | ev.AttemptStarted):
            window = round(limits.rate_seconds * 1000)
            begun.append(SlotBegun(name_of(run.workspace, flow_id, step), at, at - window))
    commit.slots_left, commit.slots_begun = tuple(left), begun
    asking = {step.id: step for step in decision.slots if step.id in state.awaiting}
    commit.slots_awaited = [
        SlotWait(name_of(run.workspace, flow_id, step), decision.rows[0].at, run.key, number)
        for number, step in asking.items()
    ]


async def commit_and_wait(store: Store, commit: Commit) -> None:
    """A commit of no run's own; returns when it is kept. Raises what kept it from being."""
    kept: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def done(_commit: Commit, error: BaseException | None) -> None:
        if not kept.done():
            kept.set_result(None) if error is None else kept.set_exception(error)

    store.commit(commit, done)
    await kept
