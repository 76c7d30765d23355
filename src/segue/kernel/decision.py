"""What a decision is: events to commit, and then effects to carry out."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from segue.flow.model import JsonValue
from segue.kernel import events as ev
from segue.kernel.state import StepState

__all__ = ["Child", "Decision", "Emitted", "Outside", "Row"]


class Row(NamedTuple):
    """An event as decided: its place in the journal, its step, its time (ms), the event."""

    seq: int
    step: int
    at: int
    event: ev.Event


class Child(NamedTuple):
    """Which of a run's sub-flow runs: the step's address and generation, and the try that started it."""

    address: str
    generation: int
    number: int


class Emitted(NamedTuple):
    """An event to be kept with the decision. The same event has the same id however often it is decided on."""

    id: str
    name: str
    at: int
    data: JsonValue


class Outside(msgspec.Struct, eq=False):
    """What a decision means for other runs, and for those who wait for this one."""

    children_cancelled: list[Child] = []
    """Runs of sub-flows that nobody waits for any more; some may not have been started."""
    waits_opened: list[StepState] = []
    """Steps that wait for an event from now on."""
    waits_closed: list[tuple[int, int]] = []
    """Steps that do so no more: number and generation."""
    emitted: list[Emitted] = []
    responded: bool = False
    """The caller that waits for the run's response has it now."""
    correlations: dict[int, JsonValue] = {}
    """By step number: what the step calls the callback that it opens."""
    results: list[tuple[StepState, str, JsonValue]] = []
    """What stands for later calls from now on: the step, the key, what its action or its job gave."""
    remarks: list[tuple[StepState, str]] = []
    """What its readers should know of a step without its being an event: lines for the run's log."""


class Decision(msgspec.Struct, eq=False):
    """Events to commit, then effects to carry out in this order."""

    rows: list[Row] = []
    start: list[StepState] = []
    """Attempts to make."""
    cancel: list[StepState] = []
    """Attempts in flight whose result no longer matters."""
    slots: list[StepState] = []
    """Steps that ask for a slot of their limits."""
    callbacks_opened: list[StepState] = []
    callbacks_closed: dict[tuple[int, int], tuple[StepState, str]] = {}
    """By step number and generation: the step and how its callback ended."""
    outside: Outside | None = None
    """Few decisions have any."""

    def speak(self) -> Outside:
        """Its part for the world outside, made if there is none yet."""
        if self.outside is None:
            self.outside = Outside()
        return self.outside

    def close_callback(self, step: StepState, how: str) -> None:
        """Nobody waits for the step's callback any more; the first word on it counts."""
        self.callbacks_closed.setdefault((step.id, step.generation), (step, how))
