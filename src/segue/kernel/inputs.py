"""What a host tells the kernel: closed list. Times are milliseconds since the epoch."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from segue.flow.model import JsonValue, RawMap
from segue.kernel.events import Failure, Kept, Origin, RunQueued


class Begin(msgspec.Struct):
    """The first input of a run. `seed` is hex, the source of all its random values.

    `queued`: it is not to begin yet, and why. `skipped`: it is not to begin at all, and why.
    """

    inputs: RawMap
    trigger: RawMap
    seed: str
    origin: Origin | None = None
    kept: dict[str, Kept] = msgspec.field(default_factory=dict[str, Kept])
    """What it keeps of the run that it comes from, by address."""
    queued: RunQueued | None = None
    skipped: str | None = None


class BeginQueued(msgspec.Struct):
    """A queued run's time has come, or it has got its slot."""


class QueueOn(msgspec.Struct):
    """A queued run goes on waiting, for something else than before."""

    queued: RunQueued


class SkipQueued(msgspec.Struct):
    """A queued run whose time came found no slot, and the flow says not to wait for one."""

    reason: str


class SlotGiven(msgspec.Struct):
    """A step that waits for a slot has one."""

    step: int


class SlotRefused(msgspec.Struct):
    """A step that waits for a slot gets none: it is skipped or fails, for the stated reason."""

    step: int
    how: Literal["skip", "reject"]
    reason: str


class AttemptEnded(msgspec.Struct):
    """An attempt gave a result: an output, or a failure. One that is not expected any more changes nothing."""

    step: int
    attempt: int
    output: JsonValue = None
    failure: Failure | None = None
    retry_after_seconds: float | None = None
    transient: bool | None = None
    """Whether another try can help, where the action knows better than the error's category does; None: by category."""
    generation: int = 0
    """The step's own when the attempt was begun: an attempt of before a rewind is not expected any more."""
    cached_from: str | None = None
    """The run whose earlier success stands for this one; no call was made."""
    cache_key: str | None = None
    """What the result is kept under for later calls, once there is one (`cache`)."""


class TimersDue(msgspec.Struct):
    """The clock passed the earliest open timer."""


class CallbackArrived(msgspec.Struct):
    """An outside signal for a waiting step, already checked against its schema."""

    step: int
    generation: int
    payload: JsonValue


class ChildBegan(msgspec.Struct):
    """An attempt of a `flow` step has started the sub-flow's run, which is kept now."""

    step: int
    attempt: int
    run_id: str
    flow: str
    version: str | None = None
    generation: int = 0
    """As in `AttemptEnded`."""


class ChildEnded(msgspec.Struct):
    """A sub-flow's run is over: its outputs, or why it ended badly. `number` is the try of the step that started it.

    One that is not waited for any more changes nothing.
    """

    step: int
    generation: int
    number: int
    run_id: str
    flow: str
    version: str | None = None
    output: JsonValue = None
    failure: Failure | None = None


class EventArrived(msgspec.Struct):
    """An event that a waiting step may take. `at`: when it was sent; `source`: the run that sent it, if one did."""

    step: int
    generation: int
    id: str
    name: str
    at: int
    data: JsonValue = None
    source: str | None = None


class CancelRun(msgspec.Struct):
    """A person or program asks for the end. `force`: `finally` steps and compensations are cut off, too."""

    reason: str | None = None
    force: bool = False


class UndoRun(msgspec.Struct):
    """A person or program asks that a run that is over be undone, as far as its steps say how."""

    reason: str | None = None


class PauseRun(msgspec.Struct):
    """No new attempt is to be started."""

    reason: str | None = None


class ResumeRun(msgspec.Struct):
    """A paused run is to go on."""


class RewindRun(msgspec.Struct):
    """Go back to these steps (addresses) and run them and all that depends on them again. `by`: who asks.

    `compensate`: undo first what is taken back; only of a run that is over.
    """

    to: tuple[str, ...]
    reason: str | None = None
    by: str | None = None
    compensate: bool = False


class RetryRun(msgspec.Struct):
    """Go on with a run that failed, was cancelled or timed out: what failed or was cut off is run again."""

    reason: str | None = None
    by: str | None = None


class GoOn(msgspec.Struct):
    """The events after the last valid one were set aside: what it left half decided is decided anew."""

    set_aside: int
    reason: str | None = None
    by: str | None = None


class AdoptRun(msgspec.Struct):
    """A new host took the run over; `interrupted` are the steps whose attempts were in flight, `unsafe` those of them
    that must not be tried again blindly.
    """

    interrupted: frozenset[int]
    unsafe: frozenset[int] = frozenset()


Input: TypeAlias = (
    Begin
    | BeginQueued
    | QueueOn
    | SkipQueued
    | AttemptEnded
    | TimersDue
    | CallbackArrived
    | ChildBegan
    | ChildEnded
    | EventArrived
    | CancelRun
    | UndoRun
    | PauseRun
    | ResumeRun
    | RewindRun
    | RetryRun
    | GoOn
    | AdoptRun
    | SlotGiven
    | SlotRefused
)
