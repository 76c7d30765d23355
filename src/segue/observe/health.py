"""Health: what a host depends on, each with a check of its own that says how it stands.

A check is a function that gives a `Finding` or raises. It is called at most once a second, however many ask; one that
takes too long has failed. `degraded` is worth a look and takes nothing away; `failed` means that it does not work, and
if the check is critical, the host says that it is not ready, so that a load balancer leaves it alone.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

import msgspec

from segue.errors import ConflictError, RequestError, SegueError

if TYPE_CHECKING:
    from structlog.stdlib import BoundLogger

TIMEOUT_SECONDS: Final = 2.0
FRESH_SECONDS: Final = 1.0
"""How long a finding is told again instead of being looked for."""
MESSAGE_LENGTH_MAX: Final = 300
NAME_LENGTH_MAX: Final = 100

State = Literal["ok", "degraded", "failed"]
_GRAVITY: Final[dict[State, int]] = {"ok": 0, "degraded": 1, "failed": 2}


class Finding(NamedTuple):
    """How something stands, in a word and a sentence."""

    state: State
    message: str = ""


Found: TypeAlias = Finding | bool | None
Check: TypeAlias = Callable[[], Found | Awaitable[Found]]
"""Gives a `Finding`, or whether all is well (None: it is); what it raises is a failure. One that blocks is to be async
and use a thread.
"""


class CheckReport(msgspec.Struct, frozen=True, kw_only=True):
    """How one dependency stands."""

    name: str
    state: State
    critical: bool
    """Whether the host is not ready while this has failed."""
    message: str
    latency_ms: float
    """How long the check took."""
    since: str
    """RFC 3339: from when on it has been in this state."""
    checked_at: str
    """RFC 3339."""


class HealthReport(msgspec.Struct, frozen=True, kw_only=True):
    """How a host stands: its gravest state, where a failure of what is not critical counts as `degraded`."""

    status: State
    checks: list[CheckReport]


class _Kept:
    """One registered check and its last report."""

    def __init__(self, name: str, check: Check, *, critical: bool, timeout_seconds: float) -> None:
        self.name = name
        self.check = check
        self.critical = critical
        self.timeout_seconds = timeout_seconds
        self.report: CheckReport | None = None
        self.fresh_until = 0.0
        self.asking: asyncio.Task[CheckReport] | None = None


class HealthChecks:
    """The checks of one host. Belongs to one event loop."""

    def __init__(self, now: Callable[[], str], clock: Callable[[], float] = time.monotonic) -> None:
        """`now` gives the time as RFC 3339."""
        self._now = now
        self._clock = clock
        self._checks: dict[str, _Kept] = {}

    def register(
        self, name: str, check: Check, *, critical: bool = False, timeout_seconds: float = TIMEOUT_SECONDS
    ) -> None:
        """Look after one more dependency. Raises ConflictError for a name that is taken, RequestError for one that is
        empty or too long.
        """
        if not 0 < len(name) <= NAME_LENGTH_MAX:
            raise RequestError(f"a health check's name has 1 to {NAME_LENGTH_MAX} characters")
        if name in self._checks:
            raise ConflictError(f"there is a health check called {name!r} already; take another name")
        self._checks[name] = _Kept(name, check, critical=critical, timeout_seconds=timeout_seconds)

    def remove(self, name: str) -> None:
        """Look after it no more. Raises RequestError if there is none."""
        if self._checks.pop(name, None) is None:
            raise RequestError(f"there is no health check called {name!r}")

    def make_critical(self, *names: str) -> None:
        """Count these as critical, whatever they were registered as. Raises RequestError if there is none of a name."""
        for name in names:
            if name not in self._checks:
                raise RequestError(f"there is no health check called {name!r}; known: {', '.join(self._checks)}")
            self._checks[name].critical = True

    async def report(self, *, critical_only: bool = False) -> HealthReport:
        """How everything stands now, in the order of registration. Never raises for what a check does."""
        chosen = [one for one in self._checks.values() if one.critical or not critical_only]
        reports = list(await asyncio.gather(*(self._report(one) for one in chosen)))
        gravest: State = "ok"
        for state in map(told_as, reports):
            if _GRAVITY[state] > _GRAVITY[gravest]:
                gravest = state
        return HealthReport(status=gravest, checks=reports)

    async def _report(self, kept: _Kept) -> CheckReport:
        if kept.report is not None and self._clock() < kept.fresh_until:
            return kept.report
        if kept.asking is None:
            # A task of its own: who asked first may go away while others wait for the same.
            kept.asking = asyncio.create_task(self._look(kept))
        return await asyncio.shield(kept.asking)

    async def _look(self, kept: _Kept) -> CheckReport:
        begun = self._clock()
        try:
            state, message = await self._found(kept)
        finally:
            kept.asking = None
        ended, at, before = self._clock(), self._now(), kept.report
        is_same = before is not None and before.state == state
        if before is not None and not is_same:
            level = "info" if state == "ok" else "warning"
            getattr(_logger(), level)(
                "health changed", check=kept.name, state=state, before=before.state, message=message
            )
        kept.report = CheckReport(
            name=kept.name, state=state, critical=kept.critical, message=message[:MESSAGE_LENGTH_MAX],
            latency_ms=round((ended - begun) * 1000, 2), since=before.since if before is not None and is_same else at,
            checked_at=at,
        )  # fmt: skip
        kept.fresh_until = ended + FRESH_SECONDS
        return kept.report

    async def _found(self, kept: _Kept) -> Finding:
        try:
            async with asyncio.timeout(kept.timeout_seconds):
                found = kept.check()
                if inspect.isawaitable(found):
                    found = await found
        except TimeoutError:
            return Finding("failed", f"no answer within {kept.timeout_seconds:g} s")
        except SegueError as error:
            return Finding("failed", error.message)
        except Exception as error:  # noqa: BLE001 - a user's check may raise anything, and that is its finding
            _logger().warning("a health check raised", check=kept.name, exc_info=error)
            return Finding("failed", f"the check raised {type(error).__name__}")
        if isinstance(found, Finding):
            return found
        return Finding("ok" if found is None or found else "failed")


def told_as(report: CheckReport) -> State:
    """What one report makes of the whole."""
    return "degraded" if report.state == "failed" and not report.critical else report.state


def _logger() -> BoundLogger:
    from segue.observe.logs import get_logger  # noqa: PLC0415 - slow to load, and seldom needed: an engine in a program

    return get_logger("segue.health")
