"""How often a webhook is taken: so many deliveries within any stretch of its rate's length, in one process' memory."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable

from segue.triggers.errors import TooOftenError


class Rates:
    """When the last deliveries of each webhook came. A refused one does not count."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds."""
        self._clock = clock
        self._taken: dict[str, deque[float]] = {}

    def take(self, trigger_id: str, rate: tuple[int, float] | None) -> None:
        """Raises TooOftenError if the rate is used up."""
        if rate is None:
            self._taken.pop(trigger_id, None)
            return
        count, seconds = rate
        now, taken = self._clock(), self._taken.setdefault(trigger_id, deque())
        while taken and taken[0] <= now - seconds:
            taken.popleft()
        if len(taken) >= count:
            wait = taken[len(taken) - count] + seconds - now
            raise TooOftenError(
                f"this webhook takes {count} deliveries in {seconds:g} s; the next one in {math.ceil(wait)} s",
                retry_after_seconds=wait,
            )
        taken.append(now)

    def forget(self, trigger_id: str) -> None:
        """The trigger is gone."""
        self._taken.pop(trigger_id, None)
