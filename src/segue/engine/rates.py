"""Whether one more may begin under `limits`: by how many are under way, and by how many began within a time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from segue.flow.model import Limits
from segue.kernel.slots import rate_reached, slots_taken

CountBegun = Callable[[int, int], Awaitable[tuple[int, int | None]]]
"""(since, limit) → how many began after `since`, and when the first of those did."""


class Room(msgspec.Struct):
    """The room in one group, counted on while it is given away. `retry_at`: when a rate allows the next one."""

    what: str
    key: str
    under_way: int
    count_begun: CountBegun
    now: int
    begun: int = 0
    """Given away since the room was read."""
    retry_at: int | None = None
    _counts: dict[tuple[int, int], tuple[int, int | None]] = msgspec.field(
        default_factory=dict[tuple[int, int], tuple[int, "int | None"]]
    )

    async def why_not(self, limits: Limits) -> str | None:
        """The sentence that says why no more may begin; None if one may."""
        if limits.concurrency is not None and self.under_way >= limits.concurrency:
            return slots_taken(self.what, limits, self.key, self.under_way)
        if limits.rate_count is None:
            return None
        window = round(limits.rate_seconds * 1000)
        asked = (self.now - window, limits.rate_count)
        found = self._counts.get(asked)
        if found is None:
            found = self._counts[asked] = await self.count_begun(*asked)
        count, first = found
        if count + self.begun < limits.rate_count:
            return None
        self.retry_at = (first if first is not None and count >= limits.rate_count else self.now) + window
        return rate_reached(self.what, limits, self.key)

    def take(self) -> None:
        """One more begins."""
        self.under_way += 1
        self.begun += 1

    def kept(self) -> None:
        """All that was given away is in the store's counts now."""
        self.begun = 0
        self._counts.clear()
