"""What a decision is: events to commit, and then effects to carry out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from segue.kernel import events as ev
from segue.kernel.state import StepState

__all__ = ["Decision", "Row"]


class Row(NamedTuple):
    """An event as decided: its place in the journal, its step, its time (ms), the event."""

    seq: int
    step: int
    at: int
    event: ev.Event


@dataclass(slots=True)
class Decision:
    """Events to commit, then effects to carry out in this order."""

    rows: list[Row] = field(default_factory=list)
    start: list[StepState] = field(default_factory=list)
    """Attempts to make."""
    cancel: list[StepState] = field(default_factory=list)
    """Attempts in flight whose result no longer matters."""
    callbacks_opened: list[StepState] = field(default_factory=list)
    callbacks_closed: dict[int, tuple[StepState, str]] = field(default_factory=dict)
    """By step number: the step and how its callback ended."""

    def close_callback(self, step: StepState, how: str) -> None:
        """Nobody waits for the step's callback any more; the first word on it counts."""
        self.callbacks_closed.setdefault(step.id, (step, how))
