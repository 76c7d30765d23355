"""Time as a port: the engine asks for the moment and for a call at a moment; simulations bring their own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final, Protocol

LONGEST_SLEEP_SECONDS: Final = 15.0
"""The wall clock may jump (a suspended laptop, an adjusted clock): due times are looked at again this often at least.
"""


class Handle(Protocol):
    """A call that has been arranged."""

    def cancel(self) -> None:
        """It is not called any more."""
        ...


class Clock(Protocol):
    """Milliseconds since the epoch (UTC), and calls at a moment."""

    def now(self) -> int:
        """Milliseconds since the epoch."""
        ...

    def call_at(self, due: int, call: Callable[[], None]) -> Handle:
        """Call at `due` or a little later; it may also be called early, so the callee looks at the clock again."""
        ...


class SystemClock:
    """The machine's wall clock and the running event loop's timers."""

    def now(self) -> int:
        """See `Clock.now`."""
        return time.time_ns() // 1_000_000

    def call_at(self, due: int, call: Callable[[], None]) -> Handle:
        """See `Clock.call_at`."""
        delay = (due - self.now()) / 1000
        return asyncio.get_running_loop().call_later(min(max(delay, 0.0), LONGEST_SLEEP_SECONDS), call)
