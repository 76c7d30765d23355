"""How often anybody may ask: token buckets, by key or by address, in the memory of one process.

A bucket holds `burst` tokens and gains `per_second`; a request takes one. Guessing passwords is slowed down further:
after a few failures in a row from one address for one account, each further one doubles the wait. Whoever is counted is
told how things stand by the fields of the IETF draft "RateLimit header fields for HTTP"
(draft-ietf-httpapi-ratelimit-headers-10).
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Network, ip_address
from typing import Final

from segue.errors import InvalidInputError, LimitReachedError

BUCKETS_MAX: Final = 20_000
RATE_MAX: Final = 1_000_000
FREE_FAILURES: Final = 5
LOCK_SECONDS_MAX: Final = 900.0
FORGET_SECONDS: Final = 3_600.0


class TooManyRequestsError(LimitReachedError):
    """More requests than are allowed; the same one may be sent again after `retry_after_seconds`."""

    def __init__(self, message: str, *, retry_after_seconds: float, fields: Mapping[str, str] | None = None) -> None:
        """`fields`: header fields that tell the limit."""
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds
        self.fields = dict(fields or {})


@dataclass(frozen=True, slots=True)
class Rate:
    """So many requests a second in the long run, and so many at once."""

    per_second: float
    burst: int

    @staticmethod
    def parse(text: str) -> Rate:
        """`200` a second, or `200/1000`: so many at once, too (else five seconds' worth). Raises InvalidInputError."""
        first, slash, second = text.strip().partition("/")
        try:
            per_second = float(first)
            burst = int(second) if slash else math.ceil(5 * per_second)
        except (ValueError, OverflowError):
            per_second, burst = 0.0, 0
        if not (0 < per_second <= RATE_MAX and 1 <= burst <= RATE_MAX):
            message = f"{text[:50]!r} is no rate; write 200 (a second) or 200/1000 (and so many at once)"
            raise InvalidInputError(message, [("", message)])
        return Rate(per_second, burst)


class Buckets:
    """One bucket for each name (a key's id, an address). The longest unused ones are forgotten."""

    def __init__(self, rate: Rate, clock: Callable[[], float] = time.monotonic, *, label: str = "requests") -> None:
        """`label`: what the header fields call this limit."""
        self._rate = rate
        self._clock = clock
        self._label = label
        self._policy = f'"{label}";q={rate.burst};w={math.ceil(rate.burst / rate.per_second)}'
        self._kept: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, name: str) -> None:
        """Raises TooManyRequestsError if the bucket is empty."""
        now, rate = self._clock(), self._rate
        level, at = self._kept.get(name, (float(rate.burst), now))
        level = min(rate.burst, level + (now - at) * rate.per_second)
        if level < 1:
            wait = (1 - level) / rate.per_second
            raise TooManyRequestsError(
                f"too many requests; the next one is taken in {math.ceil(wait)} s", retry_after_seconds=wait,
                fields=self.fields(name),
            )  # fmt: skip
        self._kept[name] = (level - 1, now)
        self._kept.move_to_end(name)
        if len(self._kept) > BUCKETS_MAX:
            self._kept.popitem(last=False)

    @property
    def size(self) -> int:
        """How many are kept."""
        return len(self._kept)

    def fields(self, name: str) -> dict[str, str]:
        """How things stand, as header fields: what is left now, and when all of it is back."""
        now, rate = self._clock(), self._rate
        level, at = self._kept.get(name, (float(rate.burst), now))
        level = min(rate.burst, level + (now - at) * rate.per_second)
        back = math.ceil((rate.burst - level) / rate.per_second)
        return {"ratelimit-policy": self._policy, "ratelimit": f'"{self._label}";r={int(level)};t={back}'}


def counted_as(address: str) -> str:
    """Under which name an address is counted: all of an IPv6 network of one customer (/64) together, since it has as
    many addresses as it likes.
    """
    try:
        found = ip_address(address)
    except ValueError:
        return address
    if isinstance(found, IPv4Address):
        return address
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(IPv6Network((int(found) >> 64 << 64, 64)))


class Attempts:
    """Attempts to sign in: few from one address, fewer for one account, and ever slower after failures."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._by_address = Buckets(Rate(0.5, 20), clock, label="sign-in")
        self._by_account = Buckets(Rate(0.5, 50), clock, label="account")
        self._failures: OrderedDict[tuple[str, str], tuple[int, float]] = OrderedDict()

    @property
    def size(self) -> int:
        """For how many pairs failures are kept."""
        return len(self._failures)

    def begin(self, address: str, account: str) -> None:
        """Before a password is looked at, whether there is such an account or not. Raises TooManyRequestsError."""
        address = counted_as(address)
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
        now, name = self._clock(), (counted_as(address), account)
        count, at = self._failures.get(name, (0, now))
        self._failures[name] = (1 if now - at > FORGET_SECONDS else count + 1, now)
        self._failures.move_to_end(name)
        if len(self._failures) > BUCKETS_MAX:
            self._failures.popitem(last=False)

    def succeeded(self, address: str, account: str) -> None:
        """The password was right: earlier failures are forgotten."""
        self._failures.pop((counted_as(address), account), None)


def _lock_seconds(failures: int) -> float:
    return 0.0 if failures < FREE_FAILURES else min(LOCK_SECONDS_MAX, 2.0 ** min(failures - FREE_FAILURES, 10))
