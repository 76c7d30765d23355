"""What a decision is: events to commit, and then effects to carry out."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from segue.kernel import events as ev
from segue.kernel.state import StepState

__all__ = ["Decision", "Row"]


class Row(NamedTuple):
    """An event as decided: its place in the journal, its step, its time (ms), the event."""

    seq: int
    step: int
    at: int
    event: ev.Event


class Decision(msgspec.Struct, eq=False):
    """Events to commit, then effects to carry out in this order."""

    rows: list[Row] = []
    start: list[StepState] = []
    """Attempts to make."""
    cancel: list[StepState] = []
    """Attempts in flight whose result no longer matters."""
    callbacks_opened: list[StepState] = []
    callbacks_closed: dict[int, tuple[StepState, str]] = {}
    """By step number: the step and how its callback ended."""

    def close_callback(self, step: StepState, how: str) -> None:
        """Nobody waits for the step's callback any more; the first word on it counts."""
        self.callbacks_closed.setdefault(step.id, (step, how))
