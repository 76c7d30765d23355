"""What the host does once a decision is kept, or cannot be."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import TYPE_CHECKING, Final

from segue.engine.live_run import LiveRun
from segue.engine.views import masker_of
from segue.kernel.decide import Decision
from segue.kernel.state import RunState, StepState
from segue.kernel.status import RunStatus
from segue.store.port import Commit, LimitGroup

if TYPE_CHECKING:
    from segue.engine.host import Engine


KEPT_IN_MEMORY_MS: Final = 30_000
"""A waiting run whose next timer is nearer than this stays in memory."""

_AT_REST: Final = (RunStatus.WAITING, RunStatus.QUEUED)
"""Nothing is in flight: such a run may leave the memory."""


class HostEffects:
    """`segue.engine.committing.Effects` of one engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def carry_out(self, run: LiveRun, decision: Decision, attempts: Sequence[int]) -> None:
        """The effects of a decision that is kept now. A later decision may have made a start pointless meanwhile."""
        for step in decision.cancel:
            self._engine.pool.drop(run, step)
        if decision.outside is not None and decision.outside.responded:
            self._engine.residents.tell_response(run)
        active = run.state.active
        for step, attempt in zip(decision.start, attempts, strict=True):
            # A later number is not kept yet: the decision that made it begins it.
            if step.attempt == attempt and active.get(step.id) is step and step.id not in run.tasks:
                self._engine.pool.launch(run, step, attempt)
        if run.state.plan.limited:
            self._engine.step_slots.kept(run, decision)
        if self._engine.residents.watchers or self._engine.residents.watchers_of_all:
            self._engine.residents.notify(run.run_id)

    def tell_outside(self, commit: Commit) -> None:
        """Messages, events and waits that are kept now."""
        self._engine.mailbox.send(commit.messages)
        self._engine.bus.send(commit.events)
        self._engine.bus.look_back(commit.waits_opened)

    def remark(self, run: LiveRun, step: StepState, message: str) -> None:
        """A line for the run's log."""
        self._engine.logs.write(run, step.address, "warning", masker_of(run.state).mask_text(message), {})

    def settle(self, run: LiveRun) -> None:
        """After the effects: the run is over, or has a timer, or may rest."""
        state = run.state
        if state.ended:
            if not run.committing:
                self.let_go(run)
                self._engine.logs.flush(run)
                self._engine.residents.tell_end(run)
                self._engine.run_slots.stir(run.limit_group)
            return
        if run.interrupted and not state.paused:
            # A word other than `resume` has ended the pause, and what was in flight goes on (a compensation, say).
            self._engine.loading.take_up(run)
        status = state.status
        due = state.wake_at if status is RunStatus.QUEUED else state.next_due()
        if not run.committing and not run.tasks and status in _AT_REST and self._is_far(due, status):
            # A run that waits for long leaves; its row says when it is to come back.
            self._engine.logs.flush(run)
            self.let_go(run)
            self._engine.wakes.set_rested(due)
        elif due is not None:
            self._engine.wakes.set(due, run)

    def _is_far(self, due: int | None, status: RunStatus) -> bool:
        return due is None or status is RunStatus.QUEUED or due - self._engine.now() >= KEPT_IN_MEMORY_MS

    def let_go(self, run: LiveRun) -> None:
        """The run leaves the memory, with all its attempts."""
        self._engine.residents.remove(run)
        self._engine.pool.drop_all(run)
        self._engine.step_slots.let_go(run)

    def refolded(self, run: LiveRun) -> None:
        """The run's state was folded again: what was built on the one before is void."""
        self._engine.step_slots.refolded(run)

    def set_aside(self, group: LimitGroup | None) -> None:
        """A run that is set aside holds no slot of its flow's limits."""
        self._engine.run_slots.stir(group)

    def launch(self, run: LiveRun, step: StepState, attempt: int) -> None:
        """Make an attempt whose start is kept."""
        self._engine.pool.launch(run, step, attempt)

    async def refold(self, run: LiveRun) -> RunState:
        """The run's state from its journal. Raises SegueError."""
        return await self._engine.loading.state(await self._engine.record(run.run_id))

    def in_background(self, work: Awaitable[None]) -> None:
        """Have it end with the host."""
        self._engine.in_background(work)
