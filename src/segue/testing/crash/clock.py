"""Time for a run that is killed again and again: it passes only while nothing else can happen.

A flow that waits three days is over in milliseconds, and since the moment of every decision follows from the flow
alone, a run that was killed can be compared with one that was not. In live mode (`real=True`) outside systems live in
real time: it passes as usual, and only what is left of a long wait is left out.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Final

from segue.engine.clock import Handle

QUIET_TURNS: Final = 10
"""Turns of the event loop without news after which nothing is taken to be on its way: more than any chain of callbacks
that ends in a commit or an attempt takes."""
REAL_WAIT_SECONDS: Final = 1.0
"""In live mode: how much of a wait is really waited for."""


class SkippingClock:
    """See the module's text, and `segue.engine.clock.Clock`. Whoever works on something says so by `busy`."""

    def __init__(self, start: int, *, real: bool = False) -> None:
        """`start`: milliseconds since the epoch."""
        self._base = start
        self._began = time.monotonic() if real else None
        self._calls: list[tuple[int, int, _Call]] = []
        self._order = itertools.count()
        self._busy = 0
        self._quiet_turns = -1
        self._sleep: asyncio.TimerHandle | None = None
        self.idle = asyncio.Event()
        """Set when nothing is arranged and nobody is busy: whatever is waited for never comes."""

    def now(self) -> int:
        """See `Clock.now`."""
        real = 0.0 if self._began is None else time.monotonic() - self._began
        return self._base + round(real * 1000)

    def call_at(self, due: int, call: Callable[[], None]) -> Handle:
        """See `Clock.call_at`."""
        made = _Call(call)
        heapq.heappush(self._calls, (due, next(self._order), made))
        self._look()
        return made

    async def sleep_until(self, due: int) -> None:
        """Return at `due`."""
        reached = asyncio.get_running_loop().create_future()
        handle = self.call_at(due, lambda: None if reached.done() else reached.set_result(None))
        try:
            await reached
        finally:
            handle.cancel()

    @contextmanager
    def busy(self) -> Generator[None]:
        """No time is skipped meanwhile."""
        self.begin()
        try:
            yield
        finally:
            self.end()

    def begin(self) -> None:
        """Something is on its way."""
        self._busy += 1

    def end(self) -> None:
        """It has come."""
        self._busy -= 1
        self._look()

    def _look(self) -> None:
        """Count quiet turns from the beginning."""
        if self._sleep is not None:
            self._sleep.cancel()
            self._sleep = None
        running = self._quiet_turns >= 0
        self._quiet_turns = 0
        if not running:
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        if self._busy:
            self._quiet_turns = -1
            return
        self._quiet_turns += 1
        if self._quiet_turns < QUIET_TURNS:
            asyncio.get_running_loop().call_soon(self._turn)
            return
        self._quiet_turns = -1
        self._skip()

    def _skip(self) -> None:
        while self._calls and self._calls[0][2].is_cancelled:
            heapq.heappop(self._calls)
        if not self._calls:
            self.idle.set()
            return
        left = (self._calls[0][0] - self.now()) / 1000
        if self._began is None or left <= 0:
            self._arrive()
        else:
            self._sleep = asyncio.get_running_loop().call_later(min(left, REAL_WAIT_SECONDS), self._arrive)

    def _arrive(self) -> None:
        self._sleep = None
        if self._busy or not self._calls:
            return
        due, _, call = heapq.heappop(self._calls)
        self._base += max(due - self.now(), 0)
        self._look()
        call()


class _Call:
    """An arranged call."""

    def __init__(self, call: Callable[[], None]) -> None:
        self._call = call
        self.is_cancelled = False

    def __call__(self) -> None:
        if not self.is_cancelled:
            self._call()

    def cancel(self) -> None:
        """See `Handle.cancel`."""
        self.is_cancelled = True
