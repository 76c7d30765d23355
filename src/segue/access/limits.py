"""How often anybody may ask: token buckets, by key or by address, in the memory of one process.

A bucket holds `burst` tokens and gains `per_second`; a request takes one. Guessing passwords is slowed down further:
after a few failures in a row from one address for one account, each further one doubles the wait.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from segue.errors import LimitReachedError

BUCKETS_MAX: Final = 20_000
FREE_FAILURES: Final = 5
LOCK_SECONDS_MAX: Final = 900.0
FORGET_SECONDS: Final = 3_600.0


class TooManyRequestsError(LimitReachedError):
    """More requests than are allowed; the same one may be sent again after `retry_after_seconds`."""

    def __init__(self, message: str, *, retry_after_seconds: float) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


@dataclass(frozen=True, slots=True)
class Rate:
    """So many requests a second in the long run, and so many at once."""

    per_second: float
    burst: int


class Buckets:
    """One bucket for each name (a key's id, an address). The longest unused ones are forgotten."""

    def __init__(self, rate: Rate, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._clock = clock
        self._kept: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, name: str) -> None:
        """Raises TooManyRequestsError if the bucket is empty."""
        now, rate = self._clock(), self._rate
        level, at = self._kept.get(name, (float(rate.burst), now))
        level = min(rate.burst, level + (now - at) * rate.per_second)
        if level < 1:
            wait = (1 - level) / rate.per_second
            raise TooManyRequestsError(
                f"too many requests; the next one is taken in {math.ceil(wait)} s", retry_after_seconds=wait
            )
        self._kept[name] = (level - 1, now)
        self._kept.move_to_end(name)
        if len(self._kept) > BUCKETS_MAX:
            self._kept.popitem(last=False)


class Attempts:
    """Attempts to sign in: few from one address, fewer for one account, and ever slower after failures."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._by_address = Buckets(Rate(0.5, 20), clock)
        self._by_account = Buckets(Rate(0.5, 50), clock)
        self._failures: OrderedDict[tuple[str, str], tuple[int, float]] = OrderedDict()

    def begin(self, address: str, account: str) -> None:
        """Before a password is looked at, whether there is such an account or not. Raises TooManyRequestsError."""
        count, at = self._failures.get((address, account), (0, 0.0))
        wait = at + _lock_seconds(count) - self._clock()
        if wait > 0:
            raise TooManyRequestsError(
                f"too many wrong passwords; try again in {math.ceil(wait)} s", retry_after_seconds=wait
            )
        self._by_address.take(address)
        self._by_account.take(account)

    def failed(self, address: str, account: str) -> None:
        """The password was wrong, or nobody has this account."""
        now, name = self._clock(), (address, account)
        count, at = self._failures.get(name, (0, now))
        self._failures[name] = (1 if now - at > FORGET_SECONDS else count + 1, now)
        self._failures.move_to_end(name)
        if len(self._failures) > BUCKETS_MAX:
            self._failures.popitem(last=False)

    def succeeded(self, address: str, account: str) -> None:
        """The password was right: earlier failures are forgotten."""
        self._failures.pop((address, account), None)


def _lock_seconds(failures: int) -> float:
    return 0.0 if failures < FREE_FAILURES else min(LOCK_SECONDS_MAX, 2.0 ** min(failures - FREE_FAILURES, 10))
