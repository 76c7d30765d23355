"""What a host is made of, looked at: the checks behind `GET /health/details`, over what their owners pass in.

The thresholds stand here, each with the reason for its number.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from segue.observe.health import Finding

ACTIVE_RUNS_MAX: Final = 100
"""Document D's threshold for runs that are being carried out at once. A sign to look, on one machine no fault."""
COMMIT_MS_MAX: Final = 1_000.0
"""A commit is a flush of the disk: some milliseconds; above this, steps take seconds."""
DISK_BYTES_LOW: Final = 1024**3
DISK_BYTES_MIN: Final = 64 * 1024**2
"""Less than a back-up's and a checkpoint's worth: the next large payload may not be kept."""
LAG_MS_MAX: Final = 250.0
"""Above this, 'live' is none any more, and the half second a step may cost (OPS-3) is half gone."""
LAG_WINDOW: Final = 40
LAG_SECONDS: Final = 0.25
LATE_MS_MAX: Final = 5_000
QUEUED_MAX: Final = 10_000
"""Attempts that wait for a place among those in flight."""


async def store_check(write: Callable[[], Awaitable[object]]) -> Finding:
    """Whether the database takes a commit, and how long one takes."""
    begun = time.perf_counter()
    await write()
    took_ms = (time.perf_counter() - begun) * 1000
    return Finding("ok" if took_ms <= COMMIT_MS_MAX else "degraded", f"a commit took {took_ms:.1f} ms")


async def disk_check(folder: Path) -> Finding:
    """How much room there is beside the database."""
    free = (await asyncio.to_thread(shutil.disk_usage, folder)).free
    told = f"{free / 1024**3:.1f} GiB free"
    if free < DISK_BYTES_MIN:
        return Finding("failed", told)
    return Finding("degraded" if free < DISK_BYTES_LOW else "ok", told)


def active_runs_check(active: int, most: int) -> Finding:
    """How many runs are being carried out now, against the number from which on that is worth a look."""
    return Finding("ok" if active < most else "degraded", f"{active} active runs, of {most}")


def queue_check(queued: int, in_flight: int) -> Finding:
    """How many attempts wait for their turn."""
    return Finding("ok" if queued <= QUEUED_MAX else "degraded", f"{queued} attempts queued, {in_flight} in flight")


def timers_check(late_ms: int) -> Finding:
    """How late the timer is that is due next."""
    if late_ms <= 0:
        return Finding("ok", "no timer is late")
    return Finding("ok" if late_ms <= LATE_MS_MAX else "degraded", f"the next timer is {late_ms / 1000:.1f} s late")


class LoopLag:
    """How late the event loop comes to what is due, over the last ten seconds. Belongs to one loop; `start`, `stop`."""

    def __init__(self) -> None:
        self._lags: deque[float] = deque([0.0], maxlen=LAG_WINDOW)
        self._sampling: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look. Safe to repeat."""
        if self._sampling is None:
            self._sampling = asyncio.create_task(self._sample())

    async def stop(self) -> None:
        """Look no more. Safe to repeat."""
        sampling, self._sampling = self._sampling, None
        if sampling is not None:
            sampling.cancel()
            await asyncio.gather(sampling, return_exceptions=True)

    def check(self) -> Finding:
        """The worst of the last ten seconds."""
        worst_ms = max(self._lags) * 1000
        return Finding("ok" if worst_ms <= LAG_MS_MAX else "degraded", f"at most {worst_ms:.0f} ms late")

    async def _sample(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_SECONDS
            await asyncio.sleep(LAG_SECONDS)
            self._lags.append(max(0.0, loop.time() - due))
