"""What is looked up often and changes seldom: known for five minutes, forgotten at once when this process changes it.

Other processes that share a database see a change after five minutes at most (OPS-5).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Final, Generic, TypeVar

SECONDS: Final = 300.0
ENTRIES_MAX: Final = 2_000

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Cache(Generic[K, V]):
    """Values by key, the least recently used dropped. `seconds` is a clock that never goes back."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._known: OrderedDict[K, tuple[float, V]] = OrderedDict()
        self._generation = 0

    async def get(self, key: K, load: Callable[[], Awaitable[V]]) -> V:
        """The value, loaded if it is not known. What was dropped while it was loaded is not remembered."""
        known = self._known.get(key)
        if known is not None and self._seconds() - known[0] < SECONDS:
            self._known.move_to_end(key)
            return known[1]
        asked, generation = self._seconds(), self._generation
        value = await load()
        if generation == self._generation:
            self._known[key] = asked, value
            self._known.move_to_end(key)
            if len(self._known) > ENTRIES_MAX:
                self._known.popitem(last=False)
        return value

    def drop(self, key: K) -> None:
        """Forget one value."""
        self.drop_if(lambda known: known == key)

    def drop_if(self, is_meant: Callable[[K], bool]) -> None:
        """Forget the values of these keys."""
        self._generation += 1
        for key in [key for key in self._known if is_meant(key)]:
            del self._known[key]
