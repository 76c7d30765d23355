"""Time that a test owns: an event loop whose clock jumps to the next timer instead of sleeping, and the clock port.

On a `VirtualTimeLoop` a flow that waits three months is over in a millisecond, and `await asyncio.sleep(60)` returns
after everything that was due within the minute has happened, in its order. Nothing depends on how busy the machine is,
so tests neither sleep nor hope. With pytest and anyio: `anyio_backend` gives
`("asyncio", {"loop_factory": VirtualTimeLoop})`.

Threads and sockets know nothing of virtual time: while they are waited for, the loop may jump past a timeout. Code that
uses them is tested on an ordinary loop.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from segue.engine.clock import Handle

T = TypeVar("T")

DEFAULT_START: Final = 1_800_000_000_000
"""2027-01-15T08:00:00Z in milliseconds since the epoch."""
_REAL_WAIT_SECONDS: Final = 5.0
_RESOLUTION_SECONDS: Final = 1e-6
"""Told apart for 250 years, as 52 bits count."""


class NothingCanHappenError(RuntimeError):
    """The loop has no timer and nothing to run, and no socket or thread speaks up: a wait would never end."""


class _JumpingSelector(selectors.DefaultSelector):
    """Does not sleep until the next timer: it moves the loop's clock there."""

    def __init__(self, jump: Callable[[float], None]) -> None:
        super().__init__()
        self._jump = jump

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """See `selectors.BaseSelector.select`."""
        found = super().select(0)
        if found or (timeout is not None and timeout <= 0):
            return found
        if timeout is not None:
            self._jump(timeout)
            return found
        # No timer at all: only a thread or a socket can go on from here.
        found = super().select(_REAL_WAIT_SECONDS)
        if not found:
            raise NothingCanHappenError("the event loop has no timer and nothing to do: what is awaited never comes")
        return found


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose time starts at 0 and passes only when nothing is left to do at the present moment."""

    def __init__(self) -> None:
        self._virtual_seconds = 0.0
        super().__init__(_JumpingSelector(self._jump))
        # asyncio calls what is due before `time() + resolution`. Its own nanosecond is nothing beside the 2**24 s of
        # half a year, and the loop would look at a timer that has come for ever without ringing it.
        self._clock_resolution = _RESOLUTION_SECONDS

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._virtual_seconds

    def _jump(self, seconds: float) -> None:
        self._virtual_seconds += seconds


def run_in_virtual_time(work: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run` on a new `VirtualTimeLoop`."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(work)


class FakeClock:
    """The engine's clock port (`segue.engine.clock.Clock`) on the running loop's time: virtual on a `VirtualTimeLoop`.

    `jump` moves the wall clock alone, as an adjusted clock or a suspended laptop does.
    """

    def __init__(self, start: int = DEFAULT_START) -> None:
        """`start`: milliseconds since the epoch at the loop's time 0."""
        self._start = start
        self._calls: dict[_Call, None] = {}

    def now(self) -> int:
        """See `Clock.now`."""
        return self._start + round(asyncio.get_running_loop().time() * 1000)

    def call_at(self, due: int, call: Callable[[], None]) -> Handle:
        """See `Clock.call_at`."""
        made = _Call(self._calls, call)
        made.timer = asyncio.get_running_loop().call_later(max(due - self.now(), 0) / 1000, made)
        return made

    def stop(self) -> None:
        """Drop all arranged calls, as the end of the process does."""
        for call in list(self._calls):
            call.cancel()

    def jump(self, milliseconds: int) -> None:
        """Move the wall clock, forwards or backwards. Arranged calls are made early: their callees look again."""
        self._start += milliseconds
        for call in list(self._calls):
            call()


class _Call:
    """An arranged call; it is made once at most."""

    def __init__(self, open_calls: dict[_Call, None], call: Callable[[], None]) -> None:
        self._open_calls = open_calls
        self._call = call
        self.timer: asyncio.TimerHandle | None = None
        open_calls[self] = None

    def __call__(self) -> None:
        if self in self._open_calls:
            self.cancel()
            self._call()

    def cancel(self) -> None:
        """See `Handle.cancel`."""
        self._open_calls.pop(self, None)
        if self.timer is not None:
            self.timer.cancel()
