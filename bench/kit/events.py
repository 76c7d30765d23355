"""The event log: how first steps, ends and double executions are counted, in the same way for every system.

A step appends one line `flow step time` with a single `write` to a file opened with O_APPEND, which is atomic between
threads and processes for lines this short and costs about 4 microseconds. It is never synced: it belongs to the
measurement, not to the work.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

PAYLOAD: dict[str, object] = {
    "id": 123456,
    "name": "result of a step",
    "tags": ["x", "y"],
    "ok": True,
    "note": "some hundred bytes",
}
"""What every step returns: 100 bytes of JSON."""

POLL_SECONDS = 0.01


class Mark(NamedTuple):
    """One line of the log; `at` is in seconds of the wall clock, which all processes of a machine share."""

    flow: str
    step: str
    at: float


class EventLog:
    """Append-only log of marks. Safe for any number of threads and processes."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._fd = os.open(self.path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o644)

    def mark(self, flow: str, step: str) -> None:
        """Write that `step` of `flow` runs now."""
        os.write(self._fd, f"{flow} {step} {time.time():.6f}\n".encode())

    def read(self) -> list[Mark]:
        """All marks so far, in the order in which they were written."""
        with self.path.open() as lines:
            return [Mark(flow, step, float(at)) for flow, step, at in (line.split() for line in lines)]

    def flows_with(self, step: str) -> int:
        """How many flows have marked `step` at least once."""
        return len({mark.flow for mark in self.read() if mark.step == step})

    def wait_for(self, step: str, flows: int, timeout_seconds: float) -> bool:
        """Wait until `flows` flows have marked `step`; false if they did not within the time."""
        deadline = time.monotonic() + timeout_seconds
        while self.flows_with(step) < flows:
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_SECONDS)
        return True


class SilentLog(EventLog):
    """Marks nothing: for what a system does when even its steps do nothing."""

    def mark(self, flow: str, step: str) -> None:
        """Do nothing."""


def executions(marks: list[Mark]) -> Counter[tuple[str, str]]:
    """How often each (flow, step) was executed."""
    return Counter((mark.flow, mark.step) for mark in marks)
