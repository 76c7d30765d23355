"""What the outside world of a crash test remembers: every call that reached it, and every answer that it gave.

A file that lines are appended to, each by one `write`: what was written is in the operating system's hands and outlives
any death of the process. So the ledger knows what an engine that was killed can no longer tell.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Literal

import msgspec


class Line(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line. Which fields are set depends on `what`."""

    what: Literal["call", "answer", "give", "kept"]
    """A call was made; it was answered; a mock's answer was used for it (`give`); a commit was flushed (`kept`)."""
    life: int
    """Of the process that wrote it, counted from 1."""
    step: str = ""
    """Address of the step instance."""
    generation: int = 0
    attempt: int = 0
    key: str = ""
    """The idempotency key."""
    params: str = ""
    """Digest of the parameters."""
    effect: str = ""
    is_unsafe: bool = False
    is_handled: bool = False
    """A handler of the step decided on the call: it has seen that an earlier one's outcome is unknown."""
    is_good: bool = False
    """The answer is an output."""
    call: str = ""
    """What identifies the call over restarts, for its answer to be the same."""
    mock: str = ""
    index: int = 0
    run: int = 0
    """Key of the run."""
    seq: int = -1
    """Of the last event that was flushed."""


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Line).decode


class Ledger:
    """The ledger of one killed run, open for appending. `life` is the number of the process."""

    def __init__(self, path: Path, life: int) -> None:
        self.life = life
        self.lines = read_ledger(path)
        self._given: dict[tuple[str, str], int] = {}
        self._used: dict[str, int] = {}
        for line in self.lines:
            if line.what == "give":
                self._note(line)
        self._file = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._file)

    def book(self, line: Line) -> None:
        """Append a line. When this returns, it outlives the process."""
        os.write(self._file, _encode(line) + b"\n")

    def index_of(self, mock: str, call: str) -> int:
        """Which of the mock's answers the call gets: the one that it got before, else the next."""
        return self._given.get((mock, call), self._used.get(mock, 0))

    def give(self, mock: str, call: str) -> None:
        """The call has got its answer."""
        if (mock, call) in self._given:
            return
        line = Line(what="give", life=self.life, mock=mock, call=call, index=self._used.get(mock, 0))
        self.book(line)
        self._note(line)

    def _note(self, line: Line) -> None:
        self._given[line.mock, line.call] = line.index
        self._used[line.mock] = line.index + 1


def read_ledger(path: Path) -> list[Line]:
    """All lines; none if nothing was booked yet."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    return [_decode(line) for line in content.splitlines()]
