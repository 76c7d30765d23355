"""One alarm for all timers: those of the runs in memory, and the earliest of the runs at rest, which are only rows."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable

from segue.engine.clock import Clock, Handle
from segue.engine.live_run import LiveRun


class Wakes:
    """Calls `wake(run key, due)` when a run's earliest timer is due, `wake_rested()` when a run at rest is."""

    def __init__(self, clock: Clock, wake: Callable[[int, int], None], wake_rested: Callable[[], None]) -> None:
        self._clock = clock
        self._wake = wake
        self._wake_rested = wake_rested
        # Keys, not runs: a run that has left the memory is held by nothing here until its time comes.
        self._timers: list[tuple[int, int, int]] = []
        self._order = itertools.count()
        self._alarm: Handle | None = None
        self._alarm_at: int | None = None
        self._rest_wake_at: int | None = None
        self._stopped = False

    def stop(self) -> None:
        """No alarm rings from now on."""
        self._stopped = True
        if self._alarm is not None:
            self._alarm.cancel()

    def set(self, due: int, run: LiveRun) -> None:
        """Ring for the run at `due`. Only the earliest one counts; the run says then what its next one is."""
        if run.timer_due is not None and run.timer_due <= due:
            return
        run.timer_due = due
        heapq.heappush(self._timers, (due, next(self._order), run.key))
        if self._alarm_at is None or due < self._alarm_at:
            self._arm()

    def set_rested(self, due: int | None) -> None:
        """A run at rest is due then; of several calls the earliest counts, until it has rung."""
        if due is not None and (self._rest_wake_at is None or due < self._rest_wake_at):
            self._rest_wake_at = due
            self._arm()

    @property
    def due(self) -> int | None:
        """When the alarm rings next; None if nothing waits for a time."""
        return self._alarm_at

    def _arm(self) -> None:
        if self._stopped:
            return
        due = self._timers[0][0] if self._timers else None
        if self._rest_wake_at is not None and (due is None or self._rest_wake_at < due):
            due = self._rest_wake_at
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_at = due
        self._alarm = None if due is None else self._clock.call_at(due, self._ring)

    def _ring(self) -> None:
        now = self._clock.now()
        timers = self._timers
        while timers and timers[0][0] <= now:
            due, _, key = heapq.heappop(timers)
            self._wake(key, due)
        if self._rest_wake_at is not None and self._rest_wake_at <= now:
            self._rest_wake_at = None
            self._wake_rested()
        self._arm()
