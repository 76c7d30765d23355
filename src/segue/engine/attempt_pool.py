"""The attempts in flight: so many at once, the others queued, those for which this host has no action parked."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from segue.engine.attempts import AttemptMaker
from segue.engine.live_run import LiveRun
from segue.engine.residents import Residents
from segue.engine.run_logs import RunLogs
from segue.kernel import inputs as inp
from segue.kernel.state import StepState

MAX_ATTEMPTS_IN_FLIGHT: Final = 1_000
_log = logging.getLogger("segue.engine")


class AttemptPool:
    """Makes the attempts of all runs of one host; what comes of each is fed back as an input."""

    def __init__(
        self,
        maker: AttemptMaker,
        residents: Residents,
        logs: RunLogs,
        begin_child: Callable[[LiveRun, StepState, int], Awaitable[inp.Input]],
        feed: Callable[[LiveRun, inp.Input], None],
        callback_url: Callable[[str, StepState], str | None],
        limit: int,
    ) -> None:
        self._maker = maker
        self._residents = residents
        self._logs = logs
        self._begin_child = begin_child
        self._feed = feed
        self._callback_url = callback_url
        self._limit = limit
        self._in_flight: set[asyncio.Task[None]] = set()
        self._queue: deque[tuple[LiveRun, StepState, int]] = deque()
        self._parked: list[tuple[LiveRun, StepState, int]] = []
        self.starts = True
        """Whether new attempts are begun."""

    def launch(self, run: LiveRun, step: StepState, attempt: int) -> None:
        """Make an attempt whose start is kept, now or as soon as there is room."""
        if not self.starts or run not in self._residents:
            return
        if len(self._in_flight) >= self._limit:
            self._queue.append((run, step, attempt))
            return
        task = run.tasks[step.id] = asyncio.get_running_loop().create_task(self._make(run, step, attempt))
        self._in_flight.add(task)

    def drop(self, run: LiveRun, step: StepState) -> None:
        """The attempt's result no longer matters."""
        task = run.tasks.pop(step.id, None)
        if task is not None:
            self._cancel(task)

    def drop_all(self, run: LiveRun) -> None:
        """Nothing of the run is to go on here."""
        for task in run.tasks.values():
            self._cancel(task)
        if self._parked:
            self._parked = [parked for parked in self._parked if parked[0] is not run]

    def _cancel(self, task: asyncio.Task[None]) -> None:
        task.cancel()
        # One that is cancelled before its first step never gets to its own `finally`.
        task.add_done_callback(self._landed)

    async def _make(self, run: LiveRun, step: StepState, attempt: int) -> None:
        task = run.tasks[step.id]  # its own: the one before, if any, was cancelled before it began
        given = None
        is_due = step.attempt == attempt
        try:
            # Else a later attempt was decided since: it is made when its own start is kept.
            if is_due and step.plan.kind == "flow" and self._maker.starts_children:
                given = await self._begin_child(run, step, attempt)
            elif is_due:
                url = self._callback_url(run.run_id, step) if step.callback else None
                given = await self._maker.make(run.state, step, run.workspace, partial(self._logs.write, run), url)
        finally:
            if run.tasks.get(step.id) is task:
                del run.tasks[step.id]
            self._landed(task)
        if given is not None:
            if isinstance(given, inp.AttemptEnded | inp.ChildBegan):
                given.generation = step.generation
            self._feed(run, given)
        elif is_due:
            self._park(run, step, attempt)

    def _landed(self, task: asyncio.Task[None]) -> None:
        self._in_flight.discard(task)
        while self._queue and len(self._in_flight) < self._limit and self.starts:
            self._launch_if_due(*self._queue.popleft())

    def _launch_if_due(self, run: LiveRun, step: StepState, attempt: int) -> None:
        if step.attempt == attempt and run.state.active.get(step.id) is step and step.id not in run.tasks:
            self.launch(run, step, attempt)

    # ------------------------------------------------------------ actions that are not known here

    def _park(self, run: LiveRun, step: StepState, attempt: int) -> None:
        """Nothing is lost because a host lacks an action or a label: the attempt stays due until one has it."""
        self._parked.append((run, step, attempt))
        message = f"{self._maker.lacks(step)}; the step waits for one that has it"
        self._logs.write(run, step.address, "warning", message, {})
        _log.warning("run %s: %s: %s", run.run_id, step.address, message)

    def parked(self) -> dict[str, str]:
        """Runs in memory that wait for what this host does not have: run id to the action or label."""
        return {
            run.run_id: self._maker.missing(step) or ""
            for run, step, attempt in self._parked
            if step.attempt == attempt and run.state.active.get(step.id) is step
        }

    def unpark(self) -> None:
        """Actions were registered: make the attempts that waited for them."""
        parked, self._parked = self._parked, []
        for one in parked:
            self._launch_if_due(*one)

    def statistics(self) -> dict[str, int]:
        """Gauges."""
        return {"attempts_in_flight": len(self._in_flight), "attempts_queued": len(self._queue)}
