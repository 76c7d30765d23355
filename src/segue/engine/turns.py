"""Work that must not be done twice at once: one task a key, done again if something changed meanwhile."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable
from typing import Final, Generic, TypeVar

from segue.errors import StoreUnavailableError

RETRY_DELAYS_SECONDS: Final = (0.05, 0.2, 0.5, 1.0, 2.0, 5.0)
_log = logging.getLogger("segue.engine")
K = TypeVar("K", bound=Hashable)


class Turns(Generic[K]):
    """`stir(key)` has `work(key)` done soon. What it decides on is read anew each time, so a stir too many is harmless
    and one that meets a store out of reach is made up for.
    """

    def __init__(self, work: Callable[[K], Awaitable[None]], in_background: Callable[[Awaitable[None]], None]) -> None:
        self._work = work
        self._in_background = in_background
        self._busy: set[K] = set()
        self._again: set[K] = set()
        self.stopped = False

    def stir(self, key: K) -> None:
        """Something may be due for this key."""
        if self.stopped:
            return
        if key in self._busy:
            self._again.add(key)
            return
        self._busy.add(key)
        self._in_background(self._run(key))

    async def _run(self, key: K) -> None:
        failures = 0
        try:
            while not self.stopped:
                self._again.discard(key)
                try:
                    await self._work(key)
                    failures = 0
                except StoreUnavailableError as error:
                    _log.warning("slots of %s: the store is unavailable: %s", key, error)
                    await asyncio.sleep(RETRY_DELAYS_SECONDS[min(failures, len(RETRY_DELAYS_SECONDS) - 1)])
                    failures += 1
                    continue
                except Exception:  # noqa: BLE001 - the others must go on; who asked has been told
                    _log.exception("slots of %s could not be given", key)
                if key not in self._again:
                    return
        finally:
            self._busy.discard(key)
            self._again.discard(key)
