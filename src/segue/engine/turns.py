"""Work that must not be done twice at once: one task a key, done again if something changed meanwhile, or at a time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Final, Generic, TypeAlias, TypeVar

from segue.engine.clock import Clock, Handle
from segue.errors import StoreUnavailableError

RETRY_DELAYS_SECONDS: Final = (0.05, 0.2, 0.5, 1.0, 2.0, 5.0)
_log = logging.getLogger("segue.engine")
K = TypeVar("K", bound=Hashable)
_Page: TypeAlias = Callable[["K | None"], Awaitable[Sequence[K]]]


class Turns(Generic[K]):
    """`stir(key)` has `work(key)` done soon. What it decides on is read anew each time, so a stir too many is harmless
    and one that meets a store out of reach is made up for.
    """

    def __init__(
        self, work: Callable[[K], Awaitable[None]], clock: Clock, in_background: Callable[[Awaitable[None]], None]
    ) -> None:
        self._work = work
        self._clock = clock
        self._in_background = in_background
        self._busy: set[K] = set()
        self._again: set[K] = set()
        self._alarms: dict[K, Handle] = {}
        self._stopped = False

    def stop(self) -> None:
        """Nothing is begun from now on."""
        self._stopped = True
        for alarm in self._alarms.values():
            alarm.cancel()

    @property
    def stopped(self) -> bool:
        """Whether nothing is begun any more."""
        return self._stopped

    def stir_at(self, key: K, at: int) -> None:
        """Stir at a time (ms since the epoch); only the last word on a key counts."""
        earlier = self._alarms.pop(key, None)
        if earlier is not None:
            earlier.cancel()

        def ring() -> None:
            self._alarms.pop(key, None)
            self.stir(key)

        self._alarms[key] = self._clock.call_at(at, ring)

    async def stir_all(self, page: _Page[K], size: int, after: K | None = None) -> None:
        """Stir all keys that a store lists: `page` gives at most `size` of them after one. The first page at once, the
        others in the background: their work stands behind that of the page before, so that no host is flooded by its
        past.
        """
        found = await page(after)
        for one in found:
            self.stir(one)
        if len(found) == size:
            self._in_background(self._stir_rest(page, size, found[-1]))

    async def _stir_rest(self, page: _Page[K], size: int, after: K) -> None:
        while not self._stopped:
            try:
                return await self.stir_all(page, size, after)
            except StoreUnavailableError as error:
                _log.warning("the store is unavailable: %s", error)
                await asyncio.sleep(1)
        return None

    def stir(self, key: K) -> None:
        """Something may be due for this key."""
        if self._stopped:
            return
        if key in self._busy:
            self._again.add(key)
            return
        self._busy.add(key)
        self._in_background(self._run(key))

    async def _run(self, key: K) -> None:
        failures = 0
        try:
            while not self._stopped:
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
