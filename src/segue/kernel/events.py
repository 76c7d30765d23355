"""The journal's events: what happened to a run, in the past tense, one record a kind.

A kind's number is its name in the database and never changes or is given again. Every field has a default and defaults
are not written, so that the common events (a step was started) cost no bytes, and a later release may add a field.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final, Literal, TypeVar, cast

import msgspec

from segue.expr.sealed import MARK, Box, as_json, open_all, revived
from segue.flow.model import JsonValue, RawMap


class Failure(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An error as the journal keeps it and flows see it as `$error`. `category` is from a closed list (`errors`)."""

    category: str
    message: str
    code: str | None = None
    status: int | None = None
    step: str | None = None
    attempt: int | None = None
    details: JsonValue = None


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of all events."""

    KIND: ClassVar[int] = 0


# ---------------------------------------------------------------- of the run


class Inside(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A sub-flow's run that is replayed for its step: from which of its steps (`inner`, or `mid/inner` further down),
    and other outputs of kept ones, by the same addresses.
    """

    run_id: str
    to: tuple[str, ...]
    outputs: dict[str, JsonValue] = {}
    latest: bool = False
    """On the flow as it is now; else on the version that the run had."""
    retries: bool = False
    """It goes on where the run had failed or was cut off; `to` says nothing then."""


class Origin(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which run a replayed or forked run comes from, as of which of its events, and the steps it goes back to."""

    run_id: str
    kind: Literal["replay", "fork"] = "replay"
    to: tuple[str, ...] = ()
    event: int = -1
    by: str | None = None
    reason: str | None = None
    inside: dict[str, Inside] = {}
    """By address of the step: it begins its sub-flow's run as a replay."""


class KeptBlock(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A block of a kept composite: its steps by id."""

    label: str
    role: str
    index: int = 0
    failure: Failure | None = None
    steps: dict[str, Kept] = {}


class Kept(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The recorded outcome of a step. `open`: only what stands in it is kept; `failing`: it failed, and its handlers
    are run again; `concluding`: its `finally` is.
    """

    kind: str
    status: Literal["succeeded", "recovered", "skipped", "cancelled", "failed", "open", "failing", "concluding"]
    output: JsonValue = None
    error: Failure | None = None
    reason: str | None = None
    edges: list[tuple[str, str | None, bool]] | None = None
    """Of a chooser: target, label and whether it lived, of each of its edges."""
    edges_reason: str | None = None
    order: int = -1
    """Its place among the steps that settled."""
    items: list[JsonValue] | None = None
    keys: list[str] | None = None
    tolerated: list[int] | None = None
    collected: dict[int, JsonValue] = {}
    """Of a fan-out: what stands among its results for items that failed and were tolerated, by index."""
    blocks: list[KeptBlock] = []
    sets: list[tuple[int, RawMap]] = []
    """What `set` steps inside it gave that stand in none of its blocks (its handlers, earlier tries), by order."""
    continued: bool = False
    dead: bool = False
    """Nothing flows on from it: it stands on a path that was not taken."""
    deadline: bool = False
    held: StepFinallyStarted | None = None
    made: JsonValue = None
    """See `StepSucceeded`."""


class RunAccepted(Event, frozen=True):
    """The run is kept and will be carried out. `seed` (hex) is the only source of its random values and uuids."""

    KIND: ClassVar[int] = 1
    inputs: RawMap = {}
    trigger: RawMap = {}
    seed: str = ""
    engine: int = 1
    """Version of the engine's behaviour; a later release that behaves otherwise asks this field."""
    origin: Origin | None = None
    kept: dict[str, Kept] = {}
    """What the run keeps of the one that it comes from, by address."""


class RunStarted(Event, frozen=True):
    """The flow's steps begin."""

    KIND: ClassVar[int] = 2
    vars: RawMap = {}
    """The flow's `vars`, computed."""


class RunSucceeded(Event, frozen=True):
    """The run ended well."""

    KIND: ClassVar[int] = 3
    outputs: JsonValue = None
    recovered: bool = False
    stopped_by: str | None = None
    """Path of the `return` or `stop` step that ended the run early."""


class RunFailed(Event, frozen=True, kw_only=True):
    """An error reached the top."""

    KIND: ClassVar[int] = 4
    error: Failure


class RunCancelled(Event, frozen=True):
    """The run was cancelled and everything in flight let go."""

    KIND: ClassVar[int] = 5
    reason: str | None = None


class RunTimedOut(Event, frozen=True):
    """The run's own time limit ended it."""

    KIND: ClassVar[int] = 6
    error: Failure


class RunPaused(Event, frozen=True):
    """No new attempt is started until it is resumed."""

    KIND: ClassVar[int] = 7
    reason: str | None = None


class RunResumed(Event, frozen=True):
    """The run goes on after a pause."""

    KIND: ClassVar[int] = 8


class CancelRequested(Event, frozen=True):
    """A person or program asked for the end."""

    KIND: ClassVar[int] = 9
    reason: str | None = None


class RunDeadlineReached(Event, frozen=True):
    """The run's own time is over."""

    KIND: ClassVar[int] = 10


class HostRestarted(Event, frozen=True):
    """A host took the run over from one that had stopped without letting go of it."""

    KIND: ClassVar[int] = 11


class FlowHandlersStarted(Event, frozen=True):
    """An error reached the top and the flow's own `on_error` steps begin."""

    KIND: ClassVar[int] = 12
    error: Failure


class FinallyStarted(Event, frozen=True):
    """The flow's `finally` steps begin; `outcome` is how the run will end if they end well."""

    KIND: ClassVar[int] = 13
    outcome: Literal["succeeded", "failed", "cancelled", "timed_out"] = "succeeded"
    error: Failure | None = None
    outputs: JsonValue = None
    stopped_by: str | None = None


class CompensationStarted(Event, frozen=True):
    """What the run has done is undone: `steps` are instances with a `compensate` block, in the order of undoing.

    `outcome` and `error` say how the run ends after it; unless it goes back to the steps `back` if all went well.
    """

    KIND: ClassVar[int] = 60
    steps: tuple[int, ...] = ()
    outcome: Literal["failed", "cancelled", "timed_out"] = "failed"
    error: Failure | None = None
    back: tuple[int, ...] = ()
    by: str | None = None
    reason: str | None = None


class RunEnding(Event, frozen=True):
    """How the run ends is decided; the `finally` steps of what was cancelled for it are still running."""

    KIND: ClassVar[int] = 61
    outcome: Literal["succeeded", "failed", "cancelled", "timed_out"] = "succeeded"
    error: Failure | None = None
    outputs: JsonValue = None
    stopped_by: str | None = None


class UndoRequested(Event, frozen=True):
    """A person or program asked that a run that is over be undone."""

    KIND: ClassVar[int] = 62
    reason: str | None = None


class Rewound(Event, frozen=True):
    """The run goes back: the steps `to` (instance numbers) and all that depended on them begin anew.

    Without `to` it goes on where it stopped. What exactly begins anew follows from the state; see `kernel.rewind`.
    """

    KIND: ClassVar[int] = 14
    to: tuple[int, ...] = ()
    how: Literal["rewind", "retry"] = "rewind"
    taken_back: int = 0
    """How many steps that had begun begin anew, or are left behind."""
    by: str | None = None
    reason: str | None = None


class RunQueued(Event, frozen=True):
    """The run is kept and not begun: it waits for its time, or for a slot of the flow's `limits`."""

    KIND: ClassVar[int] = 18
    reason: str = ""
    """What it waits for, in a sentence."""
    until: int | None = None
    """When it may begin at the earliest (milliseconds since the epoch); None: as soon as there is a slot."""
    key: str | None = None
    """The value that runs are counted by, as JSON; None: the flow has no limits."""


class RunSkipped(Event, frozen=True):
    """The run ends without having begun: no slot was free, and the flow says `on_full: skip`."""

    KIND: ClassVar[int] = 19
    reason: str = ""


# ---------------------------------------------------------------- of a step instance


class StepStarted(Event, frozen=True):
    """The step's first attempt is to be made, or its blocks are about to be opened."""

    KIND: ClassVar[int] = 20


class StepSucceeded(Event, frozen=True):
    """`derived`: the output is not written, since it follows from the step's own blocks or from what flowed in."""

    KIND: ClassVar[int] = 21
    output: JsonValue = None
    derived: bool = False
    reason: str | None = None
    cached_from: str | None = None
    """The run whose result was used again instead of a call."""
    made: JsonValue = None
    """Of a `set`, `respond` or `log` whose `output:` changed its output: what it sets, answers, writes."""


class StepFailed(Event, frozen=True, kw_only=True):
    """The step has failed for good. `deadline`: its total time ran out."""

    KIND: ClassVar[int] = 22
    error: Failure
    deadline: bool = False
    continues: bool = False
    """The flow goes on without it (`on_error: continue`): what depends on it is skipped."""


class StepSkipped(Event, frozen=True):
    """Not run. `dead`: its path was not taken, so what follows only from it is skipped too."""

    KIND: ClassVar[int] = 23
    reason: str = ""
    dead: bool = False


class StepCancelled(Event, frozen=True):
    """The step was stopped, or given up before it began. `alone`: the block around it goes on without it."""

    KIND: ClassVar[int] = 24
    reason: str = ""
    alone: bool = False


class StepRecovered(Event, frozen=True):
    """It failed, and its handlers, its default or `on_timeout` gave an output instead."""

    KIND: ClassVar[int] = 25
    output: JsonValue = None
    derived: bool = False
    error: Failure | None = None


class AttemptStarted(Event, frozen=True):
    """A further attempt (after a failure, a lost host, or the next poll)."""

    KIND: ClassVar[int] = 26


class AttemptFailed(Event, frozen=True, kw_only=True):
    """This attempt failed and another follows at `retry_at` (milliseconds since the epoch)."""

    KIND: ClassVar[int] = 27
    error: Failure
    retry_at: int = 0


class AttemptLost(Event, frozen=True):
    """The host stopped while the attempt was in flight; it does not count against the step's retries."""

    KIND: ClassVar[int] = 28


class WaitStarted(Event, frozen=True):
    """The step sleeps until a time, or for an outside signal until `until` at the latest (None: no end)."""

    KIND: ClassVar[int] = 29
    on: Literal["time", "callback", "event"] = "time"
    until: int | None = None
    answer: JsonValue = None
    """What the call answered that started the outside job; of an approval, what those who decide are shown."""
    event: str | None = None
    """The name of the event that is waited for."""
    since: int | None = None
    """Events that came before this moment (ms since the epoch) do not count."""
    remind_at: int | None = None
    """When those who are to decide are reminded first."""
    cache_key: str | None = None
    """What the job's result will be kept under for later calls."""


class CallbackReceived(Event, frozen=True):
    """A signal that does not end the wait yet (several are needed); the last one is in `StepSucceeded`."""

    KIND: ClassVar[int] = 30
    payload: JsonValue = None


class PollAnswered(Event, frozen=True):
    """The answer did not meet the condition yet; asked again at `next_at`."""

    KIND: ClassVar[int] = 31
    next_at: int = 0
    answer: JsonValue = None
    started: bool = False
    """The answer is that of the call that started the job; it is asked about from now on."""
    cache_key: str | None = None
    """As in `WaitStarted`."""


class BlocksOpened(Event, frozen=True):
    """Blocks of a composite step begin: numbers of the plan, or the items `first` … `first + count - 1` of a loop."""

    KIND: ClassVar[int] = 32
    blocks: tuple[int, ...] = ()
    first: int = 0
    count: int = 0
    items: list[JsonValue] | None = None
    """All items of a fan-out, told once, at its first opening."""
    keys: list[str] | None = None
    """What the items are called, if the fan-out has a `key`; told with them."""
    reason: str | None = None


class IterationEnded(Event, frozen=True):
    """One item of a fan-out failed and is tolerated, or one turn of a `repeat` ended with another to follow."""

    KIND: ClassVar[int] = 33
    index: int = 0
    error: Failure | None = None
    output: JsonValue = None
    """What stands in the results for an item that failed."""
    next_at: int | None = None


class HandlerStarted(Event, frozen=True, kw_only=True):
    """The step's error is being handled by the block with this number of the plan."""

    KIND: ClassVar[int] = 34
    block: int = 0
    error: Failure


class EdgesChosen(Event, frozen=True):
    """Which out-edges of the step live (numbers in the plan's order), with the reason that a person sees."""

    KIND: ClassVar[int] = 35
    live: tuple[int, ...] = ()
    reason: str | None = None


class ChildStarted(Event, frozen=True):
    """The run of a sub-flow is kept, and the step waits for its end."""

    KIND: ClassVar[int] = 36
    run_id: str = ""
    flow: str = ""
    version: str | None = None


class Reminded(Event, frozen=True):
    """Those who are to decide on an approval are reminded; the next time at `next_at` (None: not again)."""

    KIND: ClassVar[int] = 37
    number: int = 1
    next_at: int | None = None


class EventReceived(Event, frozen=True):
    """The event that the step waited for. Its body is in the `StepSucceeded` that follows."""

    KIND: ClassVar[int] = 38
    id: str = ""
    sent_at: int = 0
    source: str | None = None
    """The run that sent it; None for an event from outside."""


class StepFailing(Event, frozen=True, kw_only=True):
    """The step has failed, and waits for the `finally` steps of what was cancelled inside it."""

    KIND: ClassVar[int] = 42
    error: Failure
    deadline: bool = False


class StepFinallyStarted(Event, frozen=True):
    """The step's `finally` steps begin. `ends` and the fields after it: how the step ends when they are done."""

    KIND: ClassVar[int] = 43
    ends: Literal["succeeded", "recovered", "failed", "cancelled"] = "succeeded"
    output: JsonValue = None
    derived: bool = False
    reason: str | None = None
    error: Failure | None = None
    deadline: bool = False
    continues: bool = False
    cached_from: str | None = None
    made: JsonValue = None


class StepCompensationStarted(Event, frozen=True):
    """The step's `compensate` steps begin."""

    KIND: ClassVar[int] = 44


class StepCompensated(Event, frozen=True):
    """The step is undone, or could not be, because of `error`."""

    KIND: ClassVar[int] = 45
    error: Failure | None = None


class RolledBack(Event, frozen=True):
    """The events that followed here did not fold and were set aside; the run goes on from this one."""

    KIND: ClassVar[int] = 15
    set_aside: int = 0
    by: str | None = None
    reason: str | None = None


class BlocksKept(Event, frozen=True):
    """The blocks of a composite that is kept from another run are there, with what is recorded of their steps."""

    KIND: ClassVar[int] = 50


class SlotAwaited(Event, frozen=True):
    """The step's next attempt waits for a slot of the step's `limits`. `key` is what is counted by, as JSON."""

    KIND: ClassVar[int] = 47
    key: str = ""


class FallbackStarted(Event, frozen=True, kw_only=True):
    """The action before has failed for good; the next attempt calls fallback `number` (counted from 1)."""

    KIND: ClassVar[int] = 48
    number: int = 1
    error: Failure


ALL: tuple[type[Event], ...] = (
    RunAccepted, RunStarted, RunSucceeded, RunFailed, RunCancelled, RunTimedOut, RunPaused, RunResumed,
    CancelRequested, RunDeadlineReached, HostRestarted, FlowHandlersStarted, FinallyStarted, CompensationStarted,
    RunEnding, UndoRequested, Rewound, RolledBack, StepStarted, StepSucceeded, StepFailed, StepSkipped, StepCancelled,
    StepRecovered, AttemptStarted, AttemptFailed, AttemptLost, WaitStarted, CallbackReceived, PollAnswered,
    BlocksOpened, IterationEnded, HandlerStarted, EdgesChosen, ChildStarted, Reminded, EventReceived, StepFailing,
    StepFinallyStarted, StepCompensationStarted, StepCompensated, BlocksKept,
    RunQueued, RunSkipped, SlotAwaited, FallbackStarted,
)  # fmt: skip

BY_KIND: dict[int, type[Event]] = {event.KIND: event for event in ALL}
_encode = msgspec.json.Encoder(enc_hook=as_json).encode
_MARK: Final = b'{"' + MARK.encode()
_decoders: dict[int, msgspec.json.Decoder[Any]] = {event.KIND: msgspec.json.Decoder(event) for event in ALL}
_EMPTY: dict[type[Event], Event] = {}
E_ = TypeVar("E_", bound=Event)


def encode(event: Event) -> bytes:
    """The event's fields as JSON; no bytes at all if none is set."""
    if event is _EMPTY.get(type(event)):
        return b""
    data = _encode(event)
    return b"" if data == b"{}" else data


def encode_data(data: JsonValue) -> bytes:
    """A JSON value beside an event (a log line's data); no bytes for an empty one."""
    return _encode(data) if data else b""


def encode_value(value: JsonValue) -> bytes:
    """A JSON value that may be anything (an event's body); no bytes for null."""
    return b"" if value is None else _encode(value)


def decode(kind: int, data: bytes, box: Box | None = None) -> Event:
    """Raises `msgspec.MsgspecError` or `KeyError` if the row is no event of this kind.

    What is sealed in it can be computed with if there is a `box`, which is told of it; else it is only shown as `***`.
    Raises EngineError if the box opens what it reads and that cannot be.
    """
    if not data:
        return empty(BY_KIND[kind])
    event = _decoders[kind].decode(data)
    return cast("Event", _revived(event, box)) if _MARK in data else event


def decode_value(data: bytes, box: Box | None = None) -> JsonValue:
    """What `encode_value` wrote."""
    if not data:
        return None
    value = msgspec.json.decode(data)
    return cast("JsonValue", _revived(value, box)) if _MARK in data else value


def _revived(value: object, box: Box | None) -> object:
    """A decoded event with its sealed values: those in records inside of it, too."""
    if box is not None:
        box.used = True
    if isinstance(value, msgspec.Struct):
        fields = {name: _revived(getattr(value, name), box) for name in value.__struct_fields__}
        return msgspec.structs.replace(value, **fields)
    if isinstance(value, list | tuple):
        parts = [_revived(one, box) for one in cast("list[object]", value)]
        return parts if isinstance(value, list) else tuple(parts)
    if isinstance(value, dict) and any(isinstance(one, msgspec.Struct) for one in cast("RawMap", value).values()):
        return {name: _revived(one, box) for name, one in cast("RawMap", value).items()}
    made = revived(value, None if box is None else box.sealer)
    if box is not None and box.opens:
        open_all(made)
    return made


def empty(event: type[E_]) -> E_:
    """The one shared instance of an event without fields set."""
    found = _EMPTY.get(event)
    if found is None:
        found = _EMPTY[event] = event()
    return found  # pyright: ignore[reportReturnType]
