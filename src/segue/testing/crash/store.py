"""A SQLite store that kills its own process at a chosen journal write."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal, TypeAlias, TypeVar

import apsw

from segue.store.port import Commit, CommitDone
from segue.store.sqlite import SqliteStore

Moment: TypeAlias = Literal["before", "kept", "begun"]
"""Before a journal write is queued; after its flush, before anybody heard of it; after its effects were begun."""
MOMENTS: Final[tuple[Moment, ...]] = ("before", "kept", "begun")
MOMENT_WORDS: Final[dict[Moment, str]] = {
    "before": "before it", "kept": "after the flush", "begun": "after its effects were begun",
}  # fmt: skip

T = TypeVar("T")


def die() -> None:
    """`kill -9` of this process: no further instruction of ours is carried out."""
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


class KillingStore(SqliteStore):
    """Kills its own process around the n-th commit of events, counted from 1; 0: never.

    `kept` hears of every commit of events that was flushed. `begin` and `end` are
    called around everything that is on its way, for a clock that waits for it.
    """

    def __init__(self, path: Path, *, kill_at: int = 0, moment: Moment = "before") -> None:
        super().__init__(path)
        self.kill_at = kill_at
        self.moment: Moment = moment
        self.commits = 0
        self.kept: Callable[[Commit], None] = lambda _: None
        self.begin: Callable[[], None] = lambda: None
        self.end: Callable[[], None] = lambda: None

    def commit(self, commit: Commit, done: CommitDone) -> None:
        """See `Store.commit`."""
        is_last = False
        if commit.rows:
            self.commits += 1
            is_last = self.commits == self.kill_at
        if is_last and self.moment == "before":
            die()
        self.begin()

        def answered(kept: Commit, error: BaseException | None) -> None:
            if error is None and kept.rows:
                self.kept(kept)
            if is_last and self.moment == "kept":
                die()
            try:
                done(kept, error)
            finally:
                self.end()
            if is_last:
                # What the commit's effects were begun with takes its first step before this.
                asyncio.get_running_loop().call_soon(die)

        super().commit(commit, answered)

    async def read(self, question: Callable[[apsw.Connection], T]) -> T:
        """See `SqliteStore.read`."""
        self.begin()
        try:
            return await super().read(question)
        finally:
            self.end()

    async def write(self, operation: Callable[[apsw.Connection], T]) -> T:
        """See `SqliteStore.write`."""
        self.begin()
        try:
            return await super().write(operation)
        finally:
            self.end()
