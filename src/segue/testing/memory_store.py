"""The memory store with faults: it can be held up, made to fail and killed, for tests and simulations."""

from __future__ import annotations

from collections import deque

from segue.errors import StoreUnavailableError
from segue.store import memory
from segue.store.port import Commit


class MemoryStore(memory.MemoryStore):
    """`segue.store.memory.MemoryStore` with `fail_next`, `hold`, `release` and `crash`."""

    def __init__(self) -> None:
        super().__init__()
        self._held = False
        self._failures: deque[BaseException] = deque()

    def fail_next(self, count: int, error: BaseException | None = None) -> None:
        """Let the next `count` commits fail with `error` (StoreUnavailableError unless given); none of them is kept."""
        failure = error or StoreUnavailableError("The store was told to fail this commit. Nothing was kept.")
        self._failures.extend([failure] * count)

    def hold(self) -> None:
        """Keep commits in the queue, unanswered, until `release`: a disk that takes its time."""
        self._held = True

    def release(self) -> None:
        """End `hold`; what is queued is kept in the loop's next turn."""
        self._held = False
        self._schedule_flush()

    def crash(self) -> None:
        """What `kill -9` leaves: queued commits are gone and never answered, the others stay. Then `open` again."""
        self._queue.clear()
        self._failures.clear()
        self._held = False
        self._loop = None

    async def close(self) -> None:
        """See `Store.close`. Ends a `hold`."""
        self._held = False
        await super().close()

    def _schedule_flush(self) -> None:
        if not self._held:
            super()._schedule_flush()

    def _flush(self) -> None:
        if self._held:
            self._flush_scheduled = False
        else:
            super()._flush()

    def _refusal(self, commit: Commit) -> BaseException | None:
        return self._failures.popleft() if self._failures else super()._refusal(commit)
