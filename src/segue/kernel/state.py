"""A run's state: the fold of its journal.

`apply` is the only code that changes a state, and both the live decision and the fold of a stored journal go through
it, so the state after a crash is the state before it by construction. It takes no decisions and evaluates no
expressions: it books what an event says, keeps the counters that make settling incremental (in-edges still open, live
in-edges, unsettled nodes of a block), and collects what the next decision must look at (`ready`, `dead`,
`ended_blocks`).

Instances of steps are numbered in the order in which their blocks were opened: a block takes as many numbers as it has
nodes. The order of events fixes the order of openings, so a fold gives every instance the number it had.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict, deque
from collections.abc import Iterator
from typing import Final, Literal, NamedTuple

import msgspec

from segue.expr.sealed import Box
from segue.flow.model import JsonValue, RawMap
from segue.kernel import events as ev
from segue.kernel.plan import BlockPlan, FramePlan, NodePlan, Plan
from segue.kernel.status import RUN_ENDED, RunStatus, StepStatus

TimerKind = Literal["wait", "retry", "poll", "attempt", "total", "expiry", "run", "every", "remind"]
RUN_STEP: Final = -1
"""The step number of events and timers that belong to the run itself."""
KEEPS_TURN: Final = frozenset({"retry", "poll"})
"""Timers of steps that are between two of their attempts."""
_STALE_TIMERS: Final = 1_024
"""Closed timers that may lie in the heap, beside three for each open one, before it is made anew."""


class Frame:
    """A region's names at run time: which instance stands for each node of the plan."""

    __slots__ = ("as_of", "nodes", "parent", "plan", "prefix", "vars")

    def __init__(self, plan: FramePlan, parent: Frame | None, prefix: str) -> None:
        self.plan = plan
        self.parent = parent
        self.prefix = prefix
        self.nodes: dict[int, StepState] = {}
        self.as_of: int | None = None
        """In a compensation: what is outside of it is seen as it was when its step had ended, up to this event."""
        self.vars: RawMap | None = None


MAKERS: Final = frozenset(("set", "respond", "log"))
"""Kinds whose result means something besides their output, which `output:` may change."""


class BlockState:
    """An opened block. `bindings` are names that it gives to its steps (item, index, error)."""

    __slots__ = (
        "bindings", "chosen", "closed", "data", "failure", "frame", "generation", "gone", "index", "nodes",
        "opened_seq", "owner", "plan", "remaining",
    )  # fmt: skip

    def __init__(self, plan: BlockPlan, owner: StepState | None, frame: Frame, index: int) -> None:
        self.plan = plan
        self.owner = owner
        self.frame = frame
        self.index = index
        self.nodes: list[StepState] = []
        self.remaining = len(plan.nodes)
        self.bindings: dict[str, object] | None = None
        self.chosen: str | None = None
        """Why this branch was taken, in words."""
        self.data: object = None
        self.failure: ev.Failure | None = None
        self.closed = False
        self.gone = False
        """A rewind left it behind: its steps keep their numbers, and nothing may address them any more."""
        self.opened_seq = -1
        self.generation = 0


class StepState:
    """One instance of a step."""

    __slots__ = (
        "answer", "attempt", "block", "broken", "cache_key", "cached_from", "callback", "child", "children",
        "concluding", "continued", "dead", "edges_live", "edges_reason", "ended_at", "error", "event", "expires_at",
        "failing", "fallback", "finishing", "generation", "handling", "id", "inner_generation", "items", "job",
        "kept_order", "keys", "live", "live_from", "lost", "next_item", "open_blocks", "output", "plan", "polls",
        "reason", "reminded", "results", "resumes", "settled_seq", "signals", "since", "slot_key", "started_at",
        "started_seq", "status", "tolerated", "tries", "undo_error", "undone", "until", "vars", "vars_after", "waiting",
        "waits_on",
    )  # fmt: skip

    def __init__(self, number: int, plan: NodePlan, block: BlockState) -> None:  # noqa: PLR0915 - a line a field
        self.id = number
        self.plan = plan
        self.block = block
        self.status = StepStatus.PENDING
        self.waiting = plan.in_degree
        self.live = 0
        self.live_from: list[StepState] | None = None
        self.dead = self.continued = False
        """`dead`: settled so that nothing flows on from it, all its out-edges are dead. `continued`: it failed, and the
        flow goes on without it (`on_error: continue`)."""
        self.broken = False
        """A step that it needs failed, or was skipped for that, and the flow goes on without both."""
        self.attempt = 0
        self.tries = 0
        self.lost = 0
        self.polls = self.fallback = 0
        """`fallback`: which of the step's fallbacks is called (counted from 1); 0: the step's own action."""
        self.job: JsonValue = None
        """What the call answered that started an outside job, once the step asks how it goes (`call` with `poll`)."""
        self.generation = self.inner_generation = block.generation
        """`inner_generation` is that of the blocks it opens: each try of a block makes new instances of its steps."""
        self.slot_key: str | None = None
        """What its attempts are counted by, as JSON, once it has asked for a slot."""
        self.cache_key: str | None = None
        """What the result of the job that it waits for will be kept under for later calls."""
        self.cached_from: str | None = None
        self.started_at: int | None = None
        self.ended_at: int | None = None
        self.started_seq = self.settled_seq = self.kept_order = -1
        """`kept_order`: of a step inside a block that is kept from another run, its place in the order of then."""
        self.output: JsonValue = None
        self.error: ev.Failure | None = None
        self.reason: str | None = None
        self.edges_reason: str | None = None
        self.edges_live: tuple[int, ...] | None = None
        """Of a chooser that has chosen: its live out-edges, by number."""
        self.vars: RawMap | None = None
        self.waits_on: str | None = None
        self.until: int | None = None
        self.callback = False
        self.expires_at: int | None = None
        self.signals: list[JsonValue] | None = None
        self.child: str | None = None
        """The run of a sub-flow that the step started last."""
        self.resumes: str | None = None
        """After a retry: the sub-flow's run that had failed or was cut off, and that the next one goes on from."""
        self.event: str | None = None
        """The name of the event that it waits for, of those that came at `since` (ms) or later."""
        self.since: int | None = None
        self.reminded = 0
        self.answer: JsonValue = None
        self.handling: int | None = None
        self.children: list[BlockState] | None = None
        self.open_blocks = 0
        self.items: list[JsonValue] | None = None
        self.keys: list[str] | None = None
        self.tolerated: list[int] | None = None
        self.next_item = 0
        self.results: dict[int, JsonValue] | None = None
        self.concluding: ev.StepFinallyStarted | None = None
        """How it ends once its `finally` steps are done."""
        self.failing: ev.StepFailing | None = None
        """It has failed, and waits until `finishing` is 0."""
        self.finishing = 0
        """`finally` blocks of cancelled steps inside it that are still open."""
        self.undone: Literal["running", "done", "failed"] | None = None
        self.undo_error: ev.Failure | None = None
        self.vars_after: RawMap | None = None
        """`vars` as they were when it ended, for what undoes it."""

    @property
    def address(self) -> str:
        """How people and expressions name this instance: `charge`, `each[3].enrich`, `charge.on_error.notify`."""
        return self.block.frame.prefix + self.plan.address


class Rewinding(NamedTuple):
    """What a rewind did: `to` are addresses, `taken_back` says how many steps that had begun it took back."""

    how: str
    to: tuple[str, ...]
    taken_back: int
    by: str | None
    reason: str | None
    at: int


class Keeping:
    """What a run keeps of the one that it comes from; see `segue.kernel.kept`."""

    __slots__ = ("origin", "ready", "record", "sets")

    def __init__(self, origin: ev.Origin, record: dict[str, ev.Kept]) -> None:
        self.origin = origin
        self.record = record
        """By address."""
        self.ready: dict[int, StepState] = {}
        """Ready steps that are kept: they go first, so that what runs finds all that was there."""
        self.sets: list[tuple[int, RawMap]] | None = []
        """What kept `set` steps gave, with their old order; None once a step has set something itself."""


class RunState:
    """The state of one run. Only `apply` changes it."""

    __slots__ = (
        "_status", "accepted_at", "active", "awaiting", "background", "box", "cancelling", "compensating", "dead",
        "ended", "ended_blocks", "ending", "error", "failed_blocks", "finished_at", "first_vars", "flow_error",
        "generation", "heap", "inputs", "keeping", "nodes", "outcome", "outputs", "phase", "phase_block", "plan",
        "queued", "ready", "recovered", "reopened", "response", "resumed", "rewound", "root", "run_id", "seed", "seq",
        "skipped", "started_at", "stopped_by", "taken", "takeovers", "timed_out", "timer_heap", "timers", "tops",
        "trigger", "turns", "undoing", "vars", "with_child", "won",
    )  # fmt: skip

    def __init__(self, plan: Plan, run_id: str) -> None:  # noqa: PLR0915 - a line a field
        self.plan = plan
        self.run_id = run_id
        self._status = RunStatus.QUEUED
        self.phase: Literal["steps", "handlers", "compensation", "finally"] = "steps"
        self.seq = 0
        self.nodes: list[StepState] = []
        self.root: BlockState | None = None
        self.phase_block: BlockState | None = None
        """The block of the phase: the root, the flow's handlers, its `finally`."""
        self.box: Box | None = None
        """The run's sealed values; None where nothing can be sealed (a dry run)."""
        self.inputs: RawMap = {}
        self.trigger: RawMap = {}
        self.seed = ""
        self.vars: RawMap = {}
        self.first_vars: RawMap = {}
        """The flow's `vars` as computed at the start."""
        self.generation = self.reopened = 0
        """`reopened`: how often blocks were opened again: each time gives a generation to the instances in them.
        `generation`: that of the last rewind, which all that it took back has; 0: there was none."""
        self.rewound: Rewinding | None = None
        """The last rewind."""
        self.tops: list[BlockState] = []
        """The blocks without an owner that were opened, in order: the root, the flow's handlers, its `finally`."""
        self.keeping: Keeping | None = None
        """What it keeps of the run that it comes from."""
        self.timers: dict[tuple[int, TimerKind], int] = {}
        self.timer_heap: list[tuple[int, int, TimerKind]] = []
        self.turns = self.background = 0
        """`turns`: open timers of steps that keep their turn under the strategy `sequential` (`retry`, `poll`).
        `background`: open blocks whose step has its result already (`join: any`): the run ends after them."""
        self.active: dict[int, StepState] = {}
        self.awaiting: dict[int, StepState] = {}
        """Steps whose next attempt waits for a slot of the step's limits."""
        self.queued: ev.RunQueued | None = None
        """What a run waits for that has not begun."""
        self.skipped: str | None = None
        # Ordered, since the first entry of a plain dict from whose front much was deleted is found by a scan.
        self.ready: OrderedDict[int, StepState] = OrderedDict()
        self.heap: list[tuple[int, int]] = []
        self.dead: OrderedDict[int, StepState] = OrderedDict()
        self.ended_blocks: deque[BlockState] = deque()
        self.failed_blocks: deque[BlockState] = deque()
        self.resumed: deque[StepState] = deque()
        """Failed steps that no `finally` inside them holds up any more."""
        self.won: deque[StepState] = deque()
        """Joins of a graph that were decided by the first of their paths: the others are cancelled."""
        self.outcome: ev.FinallyStarted | None = None
        self.ending: ev.RunEnding | None = None
        self.compensating: ev.CompensationStarted | None = None
        self.undoing: str | None = None
        """What was asked for, if a run that was over is being undone."""
        self.cancelling: str | None = None
        self.timed_out = self.recovered = self.ended = False
        """`ended`: nothing more can happen, short of a rewind."""
        self.flow_error: ev.Failure | None = None
        self.outputs: JsonValue = None
        self.error: ev.Failure | None = None
        self.stopped_by: str | None = None
        self.with_child: dict[int, StepState] = {}
        """Steps that waited for a sub-flow's run lately; which of them still do, their status says."""
        self.taken: set[tuple[int, str]] = set()
        """Events that steps have taken: the step's number in the plan, the event's id."""
        self.response: RawMap | None = None
        """What the caller that waits for an answer got (`respond`)."""
        self.takeovers = 0
        """How often a host took it over with attempts in flight, after another had stopped."""
        self.accepted_at: int | None = None
        self.started_at: int | None = None
        self.finished_at: int | None = None

    @property
    def status(self) -> RunStatus:
        """`waiting` is a running run with no attempt in flight and nothing to start."""
        if self._status is RunStatus.RUNNING and not self.active and not self.ready:
            return RunStatus.WAITING
        return self._status

    @property
    def kept_status(self) -> RunStatus:
        """The status as the events lead to it (`RUN_TRANSITIONS`), in which a run that waits is `running`."""
        return self._status

    @property
    def wake_at(self) -> int | None:
        """When a run at rest is to be looked at again; None: at a signal, a slot, a person's word, or never."""
        if self._status is RunStatus.QUEUED:
            return None if self.queued is None else self.queued.until
        return self.next_due() if self.status is RunStatus.WAITING else None

    @property
    def standing(self) -> Iterator[StepState]:
        """The step instances that count: those that no rewind has left behind."""
        return (step for step in self.nodes if not step.block.gone)

    @property
    def paused(self) -> bool:
        """Whether a person has paused it."""
        return self._status is RunStatus.PAUSED

    def unschedule(self, step: StepState) -> None:
        """Nothing of the step is to be decided, waits for a slot or is in flight any more."""
        number = step.id
        for scheduled in (self.active, self.awaiting, self.ready, self.dead):
            if scheduled:
                scheduled.pop(number, None)

    def set_status(self, status: RunStatus) -> None:
        """For `apply` only."""
        self._status = status
        self.ended = status in RUN_ENDED

    def set_timer(self, number: int, kind: TimerKind, due: int) -> None:
        """`due` is in milliseconds since the epoch; a second call for the same step and kind replaces the first."""
        if (number, kind) not in self.timers and kind in KEEPS_TURN:
            self.turns += 1
        self.timers[number, kind] = due
        heapq.heappush(self.timer_heap, (due, number, kind))
        if len(self.timer_heap) > _STALE_TIMERS + 4 * len(self.timers):
            self.timer_heap = [(at, one, of) for (one, of), at in self.timers.items()]
            heapq.heapify(self.timer_heap)

    def drop_timer(self, number: int, kind: TimerKind) -> None:
        """Forget an open timer; if there is none, nothing happens."""
        if self.timers.pop((number, kind), None) is not None and kind in KEEPS_TURN:
            self.turns -= 1

    def due_timers(self, now: int) -> Iterator[tuple[int, TimerKind]]:
        """The open timers that are due, in no order: a walk over the top of the heap, not over all timers."""
        heap, places = self.timer_heap, [0]
        while places:
            place = places.pop()
            if place < len(heap) and heap[place][0] <= now:
                due, number, kind = heap[place]
                if self.timers.get((number, kind)) == due:
                    yield number, kind
                places += (2 * place + 1, 2 * place + 2)

    def next_due(self) -> int | None:
        """When the earliest open timer fires."""
        heap, timers = self.timer_heap, self.timers
        while heap and timers.get((heap[0][1], heap[0][2])) != heap[0][0]:
            heapq.heappop(heap)
        return heap[0][0] if heap else None


def item_names(step: StepState, index: int, item: JsonValue) -> dict[str, object]:
    """What a fan-out's body knows of its item: `item`, `index`, and the flow's own names for them."""
    names = step.plan.step.params
    return {
        "item": item, "index": index, str(names.get("as") or "item"): item, str(names.get("index") or "index"): index,
    }  # fmt: skip


def names_in(step: StepState, block: BlockPlan, index: int) -> dict[str, object] | None:
    """What the steps of a block that the step opens know of its item, its turn, or the error that it catches."""
    if block.role == "catch":
        failures = [child.failure for child in step.children or () if child.failure is not None]
        return {"error": msgspec.to_builtins(failures[-1]) if failures else None}
    if step.plan.kind == "foreach":
        return item_names(step, index, (step.items or [])[index])
    return {"index": index} if step.plan.kind == "repeat" else None


# ---------------------------------------------------------------- questions


def kept_of(keeping: Keeping, step: StepState) -> ev.Kept | None:
    """What the run keeps of the step; nothing once the step was rewound."""
    return None if step.generation else keeping.record.get(step.address)


def total_seconds(step: StepState) -> float | None:
    """What the step may take in all. A step that makes no attempts of its own has one limit, whichever it is called."""
    timeout = step.plan.step.timeout
    if timeout is None or timeout.total_seconds is not None:
        return None if timeout is None else timeout.total_seconds
    return None if makes_tries(step) else timeout.attempt_seconds


def set_by(step: StepState) -> RawMap:
    """What a `set` step has set, whatever its `output:` made of that."""
    made = step.output if step.answer is None else step.answer
    return made if isinstance(made, dict) else {}


def makes_tries(step: StepState) -> bool:
    """Whether the step is tried more than once: an action, or a block with a `retry`."""
    return step.plan.is_action or step.plan.step.retry is not None


def is_shielded(block: BlockState) -> bool:
    """Whether the block is, or is in, the `finally` or the compensation of a step: cancellations let it go on."""
    while block.owner is not None:
        if block.plan.role in ("finally", "compensate"):
            return True
        block = block.owner.block
    return False
