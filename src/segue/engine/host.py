"""The embedded host: drives all runs of one store on one event loop.

For each run in memory there is a `_Run` with its state. An input (a result, a due timer, a callback, a person's word)
is decided at once, on top of decisions that are still being committed; the events go to the store, whose writer puts
the commits of all runs into one flush; when the flush is done the effects of the decision are carried out. So a run
costs no task and no thread of its own, only its attempts do.

If a commit fails, nothing that was built on it is true: the run is folded again from its journal as soon as the store
answers, and the inputs that were not kept are decided once more (`_lost`, `_reload`). Inputs from outside are not:
their caller is told that they were not kept.

A run that waits is dropped from memory and comes back by its row's `wake_at`, or when a signal for it arrives.
"""

from __future__ import annotations

import asyncio
import hashlib
import heapq
import itertools
import logging
import os
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, cast

import msgspec

from segue.engine.attempts import AttemptMaker
from segue.engine.clock import Clock, Handle, SystemClock
from segue.engine.ids import callback_token, new_run_id, new_seed, token_hash
from segue.engine.port import ActionRegistry, LogLevel
from segue.engine.secrets import SecretResolver
from segue.engine.values import NotKeepableError, as_kept
from segue.engine.versions import Version, Versions
from segue.errors import (
    ConflictError,
    EngineError,
    GoneError,
    NotFoundError,
    RequestError,
    SegueError,
    StoreUnavailableError,
)
from segue.flow.model import Flow, JsonValue, RawMap
from segue.kernel import events as ev
from segue.kernel import inputs as inp
from segue.kernel.apply import fold
from segue.kernel.decide import Decision, decide, pending_attempts
from segue.kernel.state import RunState, StepState
from segue.kernel.status import RUN_ENDED, RunStatus
from segue.store.port import CallbackRow, Commit, JournalRow, LogRow, NewRun, RunHead, RunRecord, Store
from segue.store.rules import IDEMPOTENCY_KEY_MS

KEPT_IN_MEMORY_MS: Final = 30_000
"""A waiting run whose next timer is nearer than this stays in memory."""
MAX_ATTEMPTS_IN_FLIGHT: Final = 1_000
LOG_FLUSH_SECONDS: Final = 0.2
RELOAD_DELAYS_SECONDS: Final = (0.05, 0.2, 0.5, 1.0, 2.0, 5.0)
WORKSPACE: Final = "default"

_encode_sorted = msgspec.json.Encoder(order="sorted").encode
_log = logging.getLogger("segue.engine")


@dataclass(frozen=True, slots=True)
class Started:
    """The answer to a start. `repeated`: the idempotency key had been used for this run before."""

    run_id: str
    repeated: bool = False


@dataclass(slots=True)
class _Undecided:
    """An input whose commit is under way. `ack` is its caller outside, if it has one."""

    given: inp.Input
    decision: Decision
    ack: asyncio.Future[None] | None
    attempts: Sequence[int] = ()
    """The numbers of the attempts in `decision.start`; later decisions count the steps' own on."""
    judged: SegueError | None = None
    """The answer that the caller will get if what it is judged by is kept."""
    followers: list[_Undecided] = field(default_factory=list["_Undecided"])
    """Inputs that changed nothing on top of this decision: true only if it is kept."""

    def answer(self, error: SegueError | None) -> None:
        """Tell all callers: `error` says that the decision was not kept."""
        for one in (self, *self.followers):
            if one.ack is not None and not one.ack.done():
                found = error or one.judged
                one.ack.set_result(None) if found is None else one.ack.set_exception(found)


class _Run:
    """A run in memory."""

    __slots__ = (
        "committing", "interrupted", "key", "log_timer", "logs", "lost", "new_run", "pending", "run_id", "state",
        "status", "tasks", "timer_due", "wake_at", "workspace",
    )  # fmt: skip

    def __init__(self, key: int, run_id: str, workspace: str, state: RunState) -> None:
        self.key = key
        self.run_id = run_id
        self.workspace = workspace
        self.state = state
        self.status: str | None = None
        self.wake_at: int | None = None
        self.timer_due: int | None = None
        self.new_run: NewRun | None = None
        self.pending: deque[_Undecided] = deque()
        self.committing = 0
        self.interrupted = False
        self.lost: BaseException | None = None
        self.tasks: dict[int, asyncio.Task[None]] = {}
        self.logs: list[LogRow] = []
        self.log_timer: asyncio.TimerHandle | None = None


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
    ) -> None:
        self.store = store
        self.actions = actions
        self.versions = Versions(store)
        self._maker = AttemptMaker(actions, secrets or SecretResolver())
        self._clock = clock or SystemClock()
        self._server_key = server_key
        self._entropy = entropy
        self._callback_base_url = callback_base_url
        self._runs: dict[int, _Run] = {}
        self._runs_by_id: dict[str, _Run] = {}
        self._loading: dict[int, asyncio.Task[_Run]] = {}
        self._timers: list[tuple[int, int, _Run]] = []
        self._timer_order = itertools.count()
        self._alarm: Handle | None = None
        self._alarm_at: int | None = None
        self._rest_wake_at: int | None = None
        self._waiters: dict[str, list[asyncio.Future[RunState]]] = {}
        self._watchers: dict[str, set[asyncio.Event]] = {}
        self._queue: deque[tuple[_Run, StepState, int]] = deque()
        self._parked: list[tuple[_Run, StepState, int]] = []
        self._in_flight: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0
        self._max_in_flight = max_attempts_in_flight
        self._background: set[asyncio.Task[None]] = set()
        self._closing = False
        self._opened = False
        self._carries_out = True

    # ------------------------------------------------------------ life

    async def open(self, *, adopt: bool = True) -> None:
        """Open the store and take over the runs that an earlier host left; returns when all of them go on.

        Without `adopt` nothing is carried out: inputs (a start, a callback, a cancellation) are decided and kept, and
        what follows from them is begun by the next host. For commands that change one run and are gone.
        """
        self._loop, self._thread = asyncio.get_running_loop(), threading.get_ident()
        await self.store.open()
        self._opened = True
        if not adopt:
            self._carries_out = False
            return
        await self._adopt_all()
        self._rest_wake_at = await self.store.next_wake_at()
        self._arm()

    async def close(self, *, grace_seconds: float = 10.0) -> None:
        """Stop: no new attempts; those in flight get `grace_seconds` to end, then they are cut off and taken up again
        at the next start. Everything decided is kept. Safe to repeat.
        """
        if self._closing or not self._opened:
            return
        self._closing = True
        if self._alarm is not None:
            self._alarm.cancel()
        tasks = {task for run in self._runs.values() for task in run.tasks.values()}
        if tasks and grace_seconds > 0:
            await asyncio.wait(tasks, timeout=grace_seconds)
        for task in tasks:
            task.cancel()
        for task in self._background:
            task.cancel()
        await asyncio.gather(*tasks, *self._background, return_exceptions=True)
        for run in self._runs.values():
            self._flush_logs(run)
        await self.store.close()
        for waiters in self._waiters.values():
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_exception(EngineError("the engine was closed; the run goes on at its next start"))
        for events in self._watchers.values():
            for event in events:
                event.set()

    @property
    def closing(self) -> bool:
        """Whether it takes no more work."""
        return self._closing

    def now(self) -> int:
        """The engine's clock, in milliseconds since the epoch."""
        return self._clock.now()

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
    ) -> Started:
        """Accept a run: when this returns, the run is kept and will be carried out, whatever happens to the process.

        `request_digest` tells requests with one idempotency key apart; by default the flow version and the inputs do.
        Raises RequestError if the inputs are no JSON, ConflictError if the idempotency key was used with another
        request, StoreUnavailableError if nothing could be kept.
        """
        self._refuse_if_closing()
        inputs = cast("RawMap", _as_kept(inputs, "the inputs"))
        trigger = cast("RawMap", _as_kept(trigger or {"kind": "api"}, "the trigger"))
        version = flow if isinstance(flow, Version) else await self.versions.keep(flow, source, self.now())
        if idempotency_key is not None:
            request_digest = request_digest or _digest_of(version, inputs)
            earlier = await self._repeat_of(workspace, idempotency_key, request_digest)
            if earlier is not None:
                return earlier
        now = self.now()
        run = _Run(self.store.next_run_key(), run_id or new_run_id(now, entropy=self._entropy(10)), workspace, None)  # pyright: ignore[reportArgumentType]
        run.state = RunState(version.plan, run.run_id)
        run.new_run = NewRun(
            run_id=run.run_id, workspace=workspace, flow_id=version.flow.id, flow_version=version.key,
            trigger=str(trigger.get("kind", "api")), created_at=now, idempotency_key=idempotency_key,
            request_digest=request_digest,
        )  # fmt: skip
        self._remember(run)
        try:
            await self._feed_and_wait(run, inp.Begin(inputs, trigger, new_seed(entropy=self._entropy(16))))
        except ConflictError:
            if idempotency_key is None:
                raise
            earlier = await self._repeat_of(workspace, idempotency_key, request_digest)
            if earlier is None:
                raise
            return earlier
        return Started(run.run_id)

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
        waiter: asyncio.Future[RunState] = asyncio.get_running_loop().create_future()
        waiters = self._waiters.setdefault(run_id, [])
        waiters.append(waiter)
        try:
            if run_id not in self._runs_by_id:
                record = await self.record(run_id)
                if record.status in RUN_ENDED:
                    return await self.state(record)
                if record.status == RunStatus.QUARANTINED:
                    raise EngineError(f"run {run_id} is quarantined: {record.error}")
            return await waiter
        finally:
            waiters.remove(waiter)
            if not waiters and self._waiters.get(run_id) is waiters:
                del self._waiters[run_id]

    async def cancel(self, run_id: str, reason: str | None = None) -> None:
        """Raises NotFoundError, ConflictError if it is over."""
        await self._tell(run_id, inp.CancelRun(reason))

    async def pause(self, run_id: str, reason: str | None = None) -> None:
        """No new attempt is started; those in flight end and are kept. Raises NotFoundError, ConflictError."""
        await self._tell(run_id, inp.PauseRun(reason))

    async def resume(self, run_id: str) -> None:
        """Raises NotFoundError, ConflictError if it is not paused."""
        await self._tell(run_id, inp.ResumeRun())

    async def find_callback(self, token: str) -> tuple[CallbackRow, RunRecord]:
        """The open callback of a token.

        Raises NotFoundError, GoneError if it has expired, ConflictError if it was used or cancelled.
        """
        row = await self.store.find_callback(token_hash(token))
        if row is None:
            raise NotFoundError("no callback has this token")
        if row.state == "used":
            raise ConflictError("this callback has been used already; nothing was changed")
        if row.state == "cancelled":
            raise ConflictError("the step does not wait for this callback any more; nothing was changed")
        if row.state == "expired" or row.expires_at <= self.now():
            raise GoneError("this callback has expired; nothing was changed")
        record = await self.record_by_key(row.run_key)
        return row, record

    async def callback(self, token: str, payload: JsonValue) -> str:
        """Deliver a signal and return the run's id; when this returns, it is kept. Errors as `find_callback`, and
        RequestError if the payload is no JSON.
        """
        payload = _as_kept(payload, "the payload")
        row, record = await self.find_callback(token)
        run = await self._loaded(record)
        await self._feed_and_wait(run, inp.CallbackArrived(row.step, row.generation, payload))
        return record.run_id

    def callback_token(self, run_id: str, step: StepState) -> str:
        """The token of a step's callback, computed anew whenever it is shown."""
        return callback_token(self._server_key, run_id, step.address, step.generation)

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
        version = await self.versions.get(record.flow_version)
        rows = await self.store.load_journal(record.key, limit=None if upto_seq is None else upto_seq + 1)
        return fold(version.plan, record.run_id, rows)

    async def changed(self, run_id: str, event: asyncio.Event) -> None:
        """Have `event` set whenever something of the run is committed, until `forget` is called with it."""
        self._watchers.setdefault(run_id, set()).add(event)

    def forget(self, run_id: str, event: asyncio.Event) -> None:
        """Undo `changed`."""
        events = self._watchers.get(run_id)
        if events is not None:
            events.discard(event)
            if not events:
                del self._watchers[run_id]

    def statistics(self) -> dict[str, int]:
        """Gauges of this host."""
        return {
            "runs_in_memory": len(self._runs),
            "attempts_in_flight": len(self._in_flight),
            "attempts_queued": len(self._queue),
        }

    # ------------------------------------------------------------ deciding and committing

    def _feed(self, run: _Run, given: inp.Input, ack: asyncio.Future[None] | None = None) -> None:
        if run.lost is not None:
            if ack is not None:
                ack.set_exception(StoreUnavailableError(f"run {run.run_id} cannot be written now: {run.lost}"))
            else:
                run.pending.append(_Undecided(given, Decision(), None))
            return
        state = run.state
        if isinstance(given, inp.TimersDue) and not state.paused:
            self._end_unsafe(run)
        try:
            decision = decide(state, given, self._clock.now(), starts=self._carries_out and not self._closing)
            commit = self._commit_of(run, decision) if decision.rows else None
        except ConflictError as error:
            if ack is None:
                raise
            _follow(run, given, ack, error)
            return
        except Exception as error:  # noqa: BLE001 - a fault of ours must set one run aside, not end the host
            self._quarantine(run, f"the engine could not decide on {type(given).__name__}: {error!r}")
            _log.exception("run %s: the decision on %s failed", run.run_id, type(given).__name__)
            if ack is not None:
                ack.set_exception(EngineError(f"run {run.run_id} is quarantined: {error!r}"))
            return
        if commit is None:
            _follow(run, given, ack)
            return
        run.pending.append(_Undecided(given, decision, ack, [step.attempt for step in decision.start]))
        run.committing += 1
        self.store.commit(commit, partial(self._committed, run))

    def _end_unsafe(self, run: _Run) -> None:
        """Attempts whose time is over and that must not be repeated blindly: nobody knows whether they took effect."""
        state, now = run.state, self._clock.now()
        for step in list(state.active.values()):
            due = state.timers.get((step.id, "attempt"))
            if due is not None and due <= now and self._maker.is_unsafe(state, step):
                message = "its time ran out before an answer came; whether it took effect is not known"
                failure = ev.Failure(category="unknown_outcome", code="attempt_timeout", message=message)
                self._feed(run, inp.AttemptEnded(step.id, step.attempt, failure=failure))

    def _commit_of(self, run: _Run, decision: Decision) -> Commit:
        encode = ev.encode
        rows = [JournalRow(seq, event.KIND, step, at, encode(event)) for seq, step, at, event in decision.rows]
        commit = Commit(run_key=run.key, rows=rows)
        state = run.state
        status = state.status
        wake_at = state.next_due() if status is RunStatus.WAITING else None
        if status != run.status or wake_at != run.wake_at:
            run.status, run.wake_at = status, wake_at
            commit.head = RunHead(
                status=status.value, started_at=state.started_at, finished_at=state.finished_at, wake_at=wake_at,
                recovered=state.recovered, error=None if state.error is None else state.error.message[:500],
            )  # fmt: skip
        if run.new_run is not None:
            commit.new_run, run.new_run = run.new_run, None
        if decision.callbacks_opened:
            commit.callbacks_opened = [self._callback_row(run, step) for step in decision.callbacks_opened]
        if decision.callbacks_closed:
            commit.callbacks_closed = [
                (token_hash(self.callback_token(run.run_id, step)), how) for step, how in decision.callbacks_closed
            ]
        if run.logs:
            commit.logs, run.logs = run.logs, []
        return commit

    def _callback_row(self, run: _Run, step: StepState) -> CallbackRow:
        now = self._clock.now()
        return CallbackRow(
            token_hash=token_hash(self.callback_token(run.run_id, step)), run_key=run.key, step=step.id,
            generation=step.generation, step_path=step.address, created_at=now,
            expires_at=step.until if step.until is not None else now,
        )  # fmt: skip

    def _committed(self, run: _Run, commit: Commit, error: BaseException | None) -> None:
        run.committing -= 1
        if error is not None or run.lost is not None:
            self._lost(run, commit, error)
            return
        undecided = run.pending.popleft()
        if undecided.ack is not None or undecided.followers:
            undecided.answer(None)
        self._carry_out(run, undecided.decision, undecided.attempts)
        state = run.state
        if state.ended:
            if not run.committing:
                self._ended(run)
            return
        due = state.next_due()
        if due is not None:
            self._set_timer(due, run)
        if not run.committing and not run.tasks and state.status is RunStatus.WAITING:
            self._maybe_rest(run, due)

    def _carry_out(self, run: _Run, decision: Decision, attempts: Sequence[int]) -> None:
        """The effects of a decision that is kept now. A later decision may have made a start pointless meanwhile."""
        for step in decision.cancel:
            task = run.tasks.pop(step.id, None)
            if task is not None:
                task.cancel()
        active = run.state.active
        for step, attempt in zip(decision.start, attempts, strict=True):
            # A later number is not kept yet: the decision that made it begins it.
            if step.attempt == attempt and step.id in active and step.id not in run.tasks:
                self._launch(run, step, attempt)
        if self._watchers:
            self._notify(run.run_id)

    def _notify(self, run_id: str) -> None:
        for event in self._watchers.get(run_id, ()):
            event.set()

    def _remember(self, run: _Run) -> None:
        self._runs[run.key] = run
        self._runs_by_id[run.run_id] = run

    def _let_go(self, run: _Run) -> None:
        self._runs.pop(run.key, None)
        self._runs_by_id.pop(run.run_id, None)
        if self._parked:
            self._parked = [parked for parked in self._parked if parked[0] is not run]

    def _ended(self, run: _Run) -> None:
        self._let_go(run)
        for task in run.tasks.values():
            task.cancel()
        self._flush_logs(run)
        for waiter in self._waiters.get(run.run_id, ()):
            if not waiter.done():
                waiter.set_result(run.state)

    def _maybe_rest(self, run: _Run, due: int | None) -> None:
        """Let go of a run that waits for long; its row says when it is to come back."""
        if due is not None and due - self._clock.now() < KEPT_IN_MEMORY_MS:
            return
        self._flush_logs(run)
        self._let_go(run)
        if due is not None and (self._rest_wake_at is None or due < self._rest_wake_at):
            self._rest_wake_at = due
            self._arm()

    async def _feed_and_wait(self, run: _Run, given: inp.Input) -> None:
        ack: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._feed(run, given, ack)
        await ack

    async def _tell(self, run_id: str, given: inp.Input) -> None:
        self._refuse_if_closing()
        record = await self.record(run_id)
        if record.status in RUN_ENDED:
            raise ConflictError(f"run {run_id} is over already ({record.status})")
        run = await self._loaded(record)
        if isinstance(given, inp.ResumeRun) and run.state.paused and run.lost is None:
            if run.interrupted:
                run.interrupted = False
                self._take_up(run)
            self._end_unsafe(run)
            if not run.state.paused:  # an unknown outcome has ended it: that is how it goes on
                ack: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                _follow(run, given, ack)
                return await ack
        return await self._feed_and_wait(run, given)

    def _refuse_if_closing(self) -> None:
        if self._closing or not self._opened:
            raise EngineError("the engine is not open" if not self._opened else "the engine is being closed")

    # ------------------------------------------------------------ when a commit fails

    def _lost(self, run: _Run, commit: Commit, error: BaseException | None) -> None:
        """Nothing decided since the lost commit is true. Wait for the store's last word on them, then start over."""
        if run.lost is None:
            run.lost = error
            _log.warning("run %s: commit failed: %s", run.run_id, error)
        run.logs += commit.logs
        if run.committing:
            return
        kept: deque[_Undecided] = deque()
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
            self._let_go(run)
            self._tell_waiters(run.run_id, NotFoundError(f"run {run.run_id} could not be kept: {run.lost}"))
        else:
            self._in_background(self._reload(run))

    async def _reload(self, run: _Run) -> None:
        for delay in itertools.chain(RELOAD_DELAYS_SECONDS, itertools.repeat(RELOAD_DELAYS_SECONDS[-1])):
            if self._closing:
                return
            await asyncio.sleep(delay)
            try:
                version = await self.versions.get((await self.record(run.run_id)).flow_version)
                rows = await self.store.load_journal(run.key)
                run.state = fold(version.plan, run.run_id, rows)
                break
            except StoreUnavailableError as error:
                _log.warning("run %s: the store is unavailable: %s", run.run_id, error)
            except SegueError as error:
                self._quarantine(run, str(error))
                return
        run.lost = run.status = run.wake_at = None
        again, run.pending = run.pending, deque()
        settled = {one.given.step for one in again if isinstance(one.given, inp.AttemptEnded)}
        # What an earlier host left in flight is begun by the takeover alone, which knows what must not be repeated.
        if not run.interrupted and not any(isinstance(one.given, inp.AdoptRun) for one in again):
            for step in pending_attempts(run.state):
                if step.id not in run.tasks and step.id not in settled:
                    self._launch(run, step, step.attempt)
        for undecided in again:
            self._feed(run, undecided.given)
        due = run.state.next_due()
        if due is not None:
            self._set_timer(due, run)

    def _quarantine(self, run: _Run, message: str) -> None:
        """Set the run aside: nothing is done with it until a person decides."""
        self._let_go(run)
        for task in run.tasks.values():
            task.cancel()
        self._set_aside(run.key, run.run_id, run.state.started_at, message)

    def _set_aside(self, key: int, run_id: str, started_at: int | None, message: str) -> None:
        head = RunHead(status=RunStatus.QUARANTINED.value, started_at=started_at, error=message[:500])
        self.store.commit(Commit(run_key=key, rows=(), head=head), _log_failure)
        _log.error("run %s is quarantined: %s", run_id, message)
        self._tell_waiters(run_id, EngineError(f"run {run_id} is quarantined: {message}"))

    def _tell_waiters(self, run_id: str, error: SegueError) -> None:
        for waiter in self._waiters.get(run_id, ()):
            if not waiter.done():
                waiter.set_exception(error)

    # ------------------------------------------------------------ attempts

    def _launch(self, run: _Run, step: StepState, attempt: int) -> None:
        if self._closing or not self._carries_out or self._runs.get(run.key) is not run:
            return
        if len(self._in_flight) >= self._max_in_flight:
            self._queue.append((run, step, attempt))
            return
        task = run.tasks[step.id] = asyncio.create_task(self._attempt(run, step, attempt))
        self._in_flight.add(task)
        # One that is cancelled before its first step never gets to its own `finally`.
        task.add_done_callback(self._landed)

    async def _attempt(self, run: _Run, step: StepState, attempt: int) -> None:
        task = asyncio.current_task()
        assert task is not None
        given = None
        is_due = step.attempt == attempt
        try:
            # Else a later attempt was decided since: it is made when its own start is kept.
            if is_due:
                url = self.callback_url(run.run_id, step) if step.callback else None
                given = await self._maker.make(run.state, step, run.workspace, partial(self._write_log, run), url)
        finally:
            if run.tasks.get(step.id) is task:
                del run.tasks[step.id]
            self._landed(task)
        if given is not None:
            self._feed(run, given)
        elif is_due:
            self._park(run, step, attempt)

    def _park(self, run: _Run, step: StepState, attempt: int) -> None:
        """Nothing is lost because a host lacks an action: the attempt stays due until one that has it makes it."""
        name = step.plan.step.use or step.plan.kind
        self._parked.append((run, step, attempt))
        message = f"no action named {name!r} is known to this host; the step waits for one that has it"
        self._write_log(run, step.address, "warning", message, {})
        _log.warning("run %s: %s: %s", run.run_id, step.address, message)

    def parked(self) -> dict[str, str]:
        """Runs in memory that wait for an action this host does not have: run id to the action's name."""
        return {
            run.run_id: step.plan.step.use or step.plan.kind
            for run, step, attempt in self._parked
            if step.attempt == attempt and run.state.active.get(step.id) is step
        }

    def actions_changed(self) -> None:
        """Actions were registered: make the attempts that waited for them."""
        parked, self._parked = self._parked, []
        for run, step, attempt in parked:
            if step.attempt == attempt and run.state.active.get(step.id) is step and step.id not in run.tasks:
                self._launch(run, step, attempt)

    def _landed(self, task: asyncio.Task[None]) -> None:
        self._in_flight.discard(task)
        while self._queue and len(self._in_flight) < self._max_in_flight and not self._closing:
            run, step, attempt = self._queue.popleft()
            if step.attempt == attempt and run.state.active.get(step.id) is step and step.id not in run.tasks:
                self._launch(run, step, attempt)

    def _write_log(self, run: _Run, step: str, level: LogLevel, message: str, data: dict[str, JsonValue]) -> None:
        assert self._loop is not None
        if threading.get_ident() != self._thread:
            self._loop.call_soon_threadsafe(self._write_log, run, step, level, message, data)
            return
        run.logs.append(LogRow(self._clock.now(), level, step, message, ev.encode_data(data)))
        if run.log_timer is None and not self._closing:
            run.log_timer = asyncio.get_running_loop().call_later(LOG_FLUSH_SECONDS, self._flush_logs, run)

    def _flush_logs(self, run: _Run) -> None:
        if run.log_timer is not None:
            run.log_timer.cancel()
            run.log_timer = None
        if run.logs:
            rows, run.logs = run.logs, []
            self.store.log(run.key, rows)
            self._notify(run.run_id)

    # ------------------------------------------------------------ timers

    def _set_timer(self, due: int, run: _Run) -> None:
        if run.timer_due is not None and run.timer_due <= due:
            return
        run.timer_due = due
        heapq.heappush(self._timers, (due, next(self._timer_order), run))
        if self._alarm_at is None or due < self._alarm_at:
            self._arm()

    def _arm(self) -> None:
        if self._closing or not self._carries_out:
            return
        due = self._timers[0][0] if self._timers else None
        if self._rest_wake_at is not None and (due is None or self._rest_wake_at < due):
            due = self._rest_wake_at
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_at = due
        self._alarm = None if due is None else self._clock.call_at(due, self._on_alarm)

    def _on_alarm(self) -> None:
        now = self._clock.now()
        timers = self._timers
        while timers and timers[0][0] <= now:
            _, _, run = heapq.heappop(timers)
            run.timer_due = None
            # A run that rested and came back is another object; the timers of the old one are nobody's.
            if self._runs.get(run.key) is not run or run.lost is not None:
                continue
            due = run.state.next_due()
            if due is not None and due <= now:
                self._feed(run, inp.TimersDue())
            elif due is not None:
                self._set_timer(due, run)
        if self._rest_wake_at is not None and self._rest_wake_at <= now:
            self._rest_wake_at = None
            self._in_background(self._wake_rested())
        self._arm()

    async def _wake_rested(self) -> None:
        """Bring back the runs at rest whose time has come."""
        cannot: set[int] = set()
        try:
            while not self._closing:
                due = [
                    record
                    for record in await self.store.due_runs(self._clock.now())
                    if record.key not in self._runs and record.key not in cannot
                ]
                if not due:
                    break
                # Until these are committed, their rows still say that they are due.
                outcomes = await asyncio.gather(*map(self._wake, due))
                cannot.update(record.key for record, woken in zip(due, outcomes, strict=True) if not woken)
            wake = await self._next_rest_wake()
        except StoreUnavailableError as error:
            _log.warning("the store is unavailable: %s", error)
            wake = self._clock.now() + 1_000
        # Meanwhile another run may have come to rest, of which the store's answer did not know.
        if wake is not None and (self._rest_wake_at is None or wake < self._rest_wake_at):
            self._rest_wake_at = wake
        self._arm()

    async def _wake(self, record: RunRecord) -> bool:
        """Let one run's timers fire. False if the run cannot be loaded: it must not keep the others asleep."""
        try:
            await self._feed_and_wait(await self._loaded(record), inp.TimersDue())
        except StoreUnavailableError:
            raise
        except SegueError as error:
            _log.error("run %s cannot be woken: %s", record.run_id, error)
            return False
        return True

    async def _next_rest_wake(self) -> int | None:
        """The earliest wake of the store that is not already a timer of a run in memory."""
        wake = await self.store.next_wake_at()
        now = self._clock.now()
        return None if wake is None else max(wake, now + 50)

    # ------------------------------------------------------------ loading

    async def _loaded(self, record: RunRecord) -> _Run:
        """The run in memory, folded from its journal if it is at rest."""
        run = self._runs.get(record.key)
        if run is not None:
            return run
        task = self._loading.get(record.key)
        if task is None:
            task = self._loading[record.key] = asyncio.create_task(self._load(record))
            task.add_done_callback(lambda _: self._loading.pop(record.key, None))
        return await asyncio.shield(task)

    async def _load(self, record: RunRecord) -> _Run:
        run = _Run(record.key, record.run_id, record.workspace, None)  # pyright: ignore[reportArgumentType]
        try:
            run.state = await self.state(record)
        except StoreUnavailableError:
            raise
        except SegueError as error:
            self._set_aside(record.key, record.run_id, record.started_at, str(error))
            raise
        if run.state.ended:  # meanwhile: it is only there to say so
            return run
        self._remember(run)
        if run.state.paused:
            run.interrupted = bool(run.state.active)
        else:
            self._take_up(run)
        due = run.state.next_due()
        if due is not None:
            self._set_timer(due, run)
        return run

    def _take_up(self, run: _Run) -> None:
        """Attempts of a run just loaded were in flight in a host that stopped."""
        interrupted = pending_attempts(run.state)
        if interrupted or run.state.ready:
            unsafe = frozenset(step.id for step in interrupted if self._maker.is_unsafe(run.state, step))
            self._feed(run, inp.AdoptRun(unsafe))

    async def _adopt_all(self) -> None:
        """Take over what an earlier host left running."""
        after = 0
        while True:
            records = await self.store.unfinished_runs(after_key=after)
            if not records:
                return
            for record in records:
                after = record.key
                try:
                    await self._loaded(record)
                except SegueError as error:
                    _log.error("run %s cannot be adopted: %s", record.run_id, error)

    def _in_background(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)


def _follow(run: _Run, given: inp.Input, ack: asyncio.Future[None] | None, judged: SegueError | None = None) -> None:
    """Settle an input that changed nothing, as soon as what it was judged by is kept; if that is lost, it is not."""
    follower = _Undecided(given, Decision(), ack, judged=judged)
    if run.pending:
        run.pending[-1].followers.append(follower)
    else:
        follower.answer(None)


def _as_kept(value: JsonValue, what: str) -> JsonValue:
    """What the journal will give back for a value from outside; a copy, which its giver cannot change."""
    try:
        return as_kept(value)
    except NotKeepableError as error:
        raise RequestError(f"{what}: {error}") from error


def _digest_of(version: Version, inputs: RawMap) -> str:
    return hashlib.sha256(_encode_sorted([version.key, inputs])).hexdigest()


def _log_failure(commit: Commit, error: BaseException | None) -> None:
    if error is not None:
        _log.error("run %d: commit failed: %s", commit.run_key, error)
