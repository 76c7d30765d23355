"""Large payloads are hashed and compressed before their commit reaches the writer.

A payload of 50 MB takes the better part of a second. In the writer's thread that would hold up the commits of all runs,
within a transaction even; here it takes a thread of its own, and only what follows in the same run waits for it.
"""

from __future__ import annotations

import asyncio
import hashlib
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, NamedTuple

from segue.store import rules
from segue.store.port import Commit, CommitDone

THREADS: Final = 2
ZLIB_LEVEL: Final = 1
"""The fastest: level 6 saves a tenth of the space for three times the time on JSON."""


class Packed(NamedTuple):
    """A payload as it is stored: its SHA-256 in hexadecimal, its bytes as a zlib stream, their plain length."""

    digest: str
    data: bytes
    size: int


def pack(data: bytes) -> Packed:
    """Takes time: about 20 ms a megabyte."""
    return Packed(hashlib.sha256(data).hexdigest(), zlib.compress(data, ZLIB_LEVEL), len(data))


def _large(commit: Commit) -> Iterator[bytes]:
    most = rules.INLINE_BYTES_MAX
    yield from (row[4] for row in commit.rows if len(row[4]) > most)
    yield from (result.data for result in commit.cached if len(result.data) > most)


def _has_large(commit: Commit) -> bool:
    """Asked of every commit, so without a generator."""
    most = rules.INLINE_BYTES_MAX
    for row in commit.rows:
        if len(row[4]) > most:
            return True
    return bool(commit.cached) and next(_large(commit), None) is not None


class Packing:
    """Stands between the store and its writer. Belongs to the event loop; `submit` is the writer's own."""

    def __init__(self, submit: Callable[[Commit, CommitDone, dict[int, Packed] | None], None]) -> None:
        self._submit = submit
        self._behind: dict[int, deque[tuple[Commit, CommitDone]]] = {}
        """By run: commits that follow on one that is being packed."""
        self._pool: ThreadPoolExecutor | None = None
        self._under_way: set[asyncio.Future[dict[int, Packed]]] = set()

    def submit(self, commit: Commit, done: CommitDone) -> None:
        """Hand the commit to the writer, at once unless it holds something large or follows on one that does."""
        behind = self._behind.get(commit.run_key)
        if behind is not None:
            behind.append((commit, done))
        elif not _has_large(commit):
            self._submit(commit, done, None)
        else:
            self._behind[commit.run_key] = deque()
            self._pack(commit, done)

    async def close(self) -> None:
        """Returns when the writer has all that was submitted."""
        while self._under_way:
            await asyncio.wait(self._under_way)
            await asyncio.sleep(0)  # what follows in the run is submitted by a callback
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None

    def _pack(self, commit: Commit, done: CommitDone) -> None:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="segue-store-packing")
        payloads = list(_large(commit))
        work = asyncio.get_running_loop().run_in_executor(self._pool, _pack_all, payloads)
        self._under_way.add(work)
        work.add_done_callback(partial(self._packed, commit, done))

    def _packed(self, commit: Commit, done: CommitDone, work: asyncio.Future[dict[int, Packed]]) -> None:
        self._under_way.discard(work)
        # What could not be packed (no memory) is tried once more by the writer, which fails the commit if it cannot.
        self._submit(commit, done, {} if work.cancelled() or work.exception() else work.result())
        behind = self._behind[commit.run_key]
        while behind:
            following, its_done = behind.popleft()
            if _has_large(following):
                self._pack(following, its_done)
                return
            self._submit(following, its_done, None)
        del self._behind[commit.run_key]


def _pack_all(payloads: list[bytes]) -> dict[int, Packed]:
    """By the payload's id: the commit keeps the object alive until it is written."""
    return {id(data): pack(data) for data in payloads}
