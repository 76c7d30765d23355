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
import json
from collections import OrderedDict, deque
from collections.abc import Iterator
from typing import Final, Literal, NamedTuple

from segue.flow.model import JsonValue, RawMap
from segue.kernel import events as ev
from segue.kernel.plan import BlockPlan, EdgePlan, FramePlan, NodePlan, Plan
from segue.kernel.status import RUN_ENDED, STEP_FAILED, STEP_SETTLED, RunStatus, StepStatus

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


class BlockState:
    """An opened block. `bindings` are names that it gives to its steps (item, index, error)."""

    __slots__ = (
        "bindings", "closed", "data", "failure", "frame", "generation", "gone", "index", "nodes", "opened_seq",
        "owner", "plan", "remaining",
    )  # fmt: skip

    def __init__(self, plan: BlockPlan, owner: StepState | None, frame: Frame, index: int) -> None:
        self.plan = plan
        self.owner = owner
        self.frame = frame
        self.index = index
        self.nodes: list[StepState] = []
        self.remaining = len(plan.nodes)
        self.bindings: dict[str, object] | None = None
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
        "answer", "attempt", "block", "broken", "cached_from", "callback", "child", "children", "concluding",
        "continued", "dead", "edges_live", "edges_reason", "ended_at", "error", "event", "expires_at", "failing",
        "fallback", "finishing", "generation", "handling", "id", "inner_generation", "items", "job", "keys", "live",
        "live_from", "lost", "next_item", "open_blocks", "output", "plan", "polls", "reason", "reminded", "results",
        "settled_seq", "signals", "since", "slot_key", "started_at", "started_seq", "status", "tolerated", "tries",
        "undo_error", "undone", "until", "vars", "vars_after", "waiting", "waits_on",
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
        self.cached_from: str | None = None
        self.started_at: int | None = None
        self.ended_at: int | None = None
        self.started_seq = self.settled_seq = -1
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
        "_status", "accepted_at", "active", "awaiting", "background", "cancelling", "compensating", "dead",
        "ended_blocks", "ending", "error", "failed_blocks", "finished_at", "first_vars", "flow_error", "generation",
        "heap", "inputs", "keeping", "nodes", "outcome", "outputs", "phase", "phase_block", "plan", "queued", "ready",
        "recovered", "reopened", "response", "resumed", "rewound", "root", "run_id", "seed", "seq", "skipped",
        "started_at", "stopped_by", "taken", "takeovers", "timed_out", "timer_heap", "timers", "tops", "trigger",
        "turns", "undoing", "vars", "with_child", "won",
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
        self.timed_out = self.recovered = False
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
    def ended(self) -> bool:
        """Whether nothing more can happen, short of a rewind."""
        return self._status in RUN_ENDED

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
        self.active.pop(step.id, None)
        self.awaiting.pop(step.id, None)
        self.ready.pop(step.id, None)
        self.dead.pop(step.id, None)

    def set_status(self, status: RunStatus) -> None:
        """For `apply` only."""
        self._status = status

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


# ---------------------------------------------------------------- helpers of apply


def open_block(
    state: RunState, plan: BlockPlan, owner: StepState | None, index: int = 0, bindings: dict[str, object] | None = None
) -> BlockState:
    """Number and register the instances of a block; its entries become ready."""
    block = BlockState(plan, owner, _frame_for(state, plan, owner, index), index)
    block.bindings = bindings
    block.opened_seq = state.seq - 1
    block.generation = state.generation if owner is None else _generation(state, plan, owner)
    names, nodes, number = block.frame.nodes, state.nodes, len(state.nodes)
    for node in plan.nodes:
        step = StepState(number, node, block)
        number += 1
        nodes.append(step)
        block.nodes.append(step)
        names[node.index] = step
    for local in plan.entries:
        make_ready(state, block.nodes[local])
    if owner is None:
        state.tops.append(block)
    else:
        if owner.children is None:
            owner.children = []
        owner.children.append(block)
        owner.open_blocks += 1
        if owner.status in STEP_SETTLED:
            state.background += 1
            if plan.role == "finally":
                count_finishing(state, owner, 1)
    if not plan.nodes:
        end_block(state, block)
    return block


def _frame_for(state: RunState, plan: BlockPlan, owner: StepState | None, index: int) -> Frame:
    if owner is None:
        root = state.root
        return Frame(plan.frame, None if root is None else root.frame, "" if root is None else f"{plan.label}.")
    if plan.frame is owner.block.plan.frame:
        return owner.block.frame
    return Frame(plan.frame, owner.block.frame, _prefix(plan, owner, index))


def _prefix(plan: BlockPlan, owner: StepState, index: int) -> str:
    if plan.role == "body":
        item = index if owner.keys is None else json.dumps(owner.keys[index], ensure_ascii=False)
        return f"{owner.address}[{item}]."
    return f"{owner.address}.{'on_error' if plan.role == 'handler' else plan.role}."


def _generation(state: RunState, plan: BlockPlan, owner: StepState) -> int:
    """A handler, a `finally` or a compensation that is opened again does its calls anew, under keys of their own."""
    if plan.role in ("handler", "finally", "compensate") and any(child.plan is plan for child in owner.children or ()):
        state.reopened += 1
        return state.reopened
    return owner.inner_generation


def reopen(state: RunState, step: StepState) -> None:
    """Forget a composite's blocks before another try of it: their instances stay, but nothing refers to them."""
    state.reopened += 1
    step.inner_generation = state.reopened
    for block in step.children or ():
        _forget_names(block)
    step.children = step.items = step.keys = step.tolerated = step.results = step.reason = None
    step.next_item = 0


def _forget_names(block: BlockState) -> None:
    names = block.frame.nodes
    for step in block.nodes:
        if names.get(step.plan.index) is step:
            del names[step.plan.index]
        for inner in step.children or ():
            _forget_names(inner)


def count_finishing(state: RunState, step: StepState, change: int) -> None:
    """A `finally` of a step that is over was opened, or has ended: the steps around it know."""
    owner = step.block.owner
    while owner is not None:
        owner.finishing += change
        if not owner.finishing and owner.failing is not None:
            state.resumed.append(owner)
        owner = owner.block.owner


def keeps_callback(step: StepState, handler: int, at: int) -> bool:
    """Whether the step's callback stays open while handler number `handler` runs: it is an action, and is tried again
    after that.
    """
    retried = step.plan.is_action and step.plan.step.on_error[handler].then not in ("continue", "fail")
    return retried and step.callback and step.expires_at is not None and step.expires_at > at


def make_ready(state: RunState, step: StepState) -> None:
    """All that the step depends on is settled: it may start."""
    step.status = StepStatus.READY
    state.ready[step.id] = step
    if state.plan.flow.strategy == "priority":
        heapq.heappush(state.heap, (-step.plan.step.priority, step.id))
    if state.keeping is not None and kept_of(state.keeping, step) is not None:
        state.keeping.ready[step.id] = step


def kept_of(keeping: Keeping, step: StepState) -> ev.Kept | None:
    """What the run keeps of the step; nothing once the step was rewound."""
    return None if step.generation else keeping.record.get(step.address)


def settle(state: RunState, step: StepState, status: StepStatus, seq: int, at: int) -> None:
    """Book an end that lets the flow go on; the block's counter and the out-edges follow."""
    _end(state, step, status, seq, at)
    state.background += step.open_blocks
    if step.plan.compensation is not None:
        step.vars_after = state.vars
    block = step.block
    block.remaining -= 1
    if not step.plan.is_chooser:
        for edge in step.plan.out:
            follow(state, step, edge, live=True)
    if block.remaining == 0:
        end_block(state, block)


def settle_dead(state: RunState, step: StepState) -> None:
    """Nothing flows on from this step: its out-edges are dead."""
    block = step.block
    block.remaining -= 1
    step.dead = True
    for edge in step.plan.out:
        follow(state, step, edge, live=False)
    if block.remaining == 0:
        end_block(state, block)


def end_block(state: RunState, block: BlockState) -> None:
    """All steps of the block are settled: its owner has one open block less, a fan-out one more result."""
    state.ended_blocks.append(block)
    owner = block.owner
    if owner is None:
        return
    _no_longer_open(state, block, owner)
    if owner.plan.kind == "foreach" and block.plan.role == "body":
        if owner.results is None:
            owner.results = {}
        owner.results[block.index] = block_output(block)


def _end(state: RunState, step: StepState, status: StepStatus, seq: int, at: int) -> None:
    step.status = status
    step.settled_seq = seq
    step.ended_at = at
    state.unschedule(step)
    if state.timers:
        drop_timers(state, step)


def total_seconds(step: StepState) -> float | None:
    """What the step may take in all. A step that makes no attempts of its own has one limit, whichever it is called."""
    timeout = step.plan.step.timeout
    if timeout is None or timeout.total_seconds is not None:
        return None if timeout is None else timeout.total_seconds
    return None if makes_tries(step) else timeout.attempt_seconds


def makes_tries(step: StepState) -> bool:
    """Whether the step is tried more than once: an action, or a block with a `retry`."""
    return step.plan.is_action or step.plan.step.retry is not None


def drop_timers(state: RunState, step: StepState) -> None:
    """Forget the open timers of a step that needs them no more."""
    for kind in ("wait", "retry", "poll", "attempt", "total", "expiry", "every", "remind"):
        state.drop_timer(step.id, kind)


def follow(state: RunState, source: StepState, edge: EdgePlan, *, live: bool) -> None:
    """One in-edge of the target is decided. The target gets ready, dies, or goes on waiting for the others."""
    target = source.block.nodes[edge.target]
    target.waiting -= 1
    if target.status is not StepStatus.PENDING:
        return
    if live:
        target.live += 1
        if target.live_from is None:
            target.live_from = []
        target.live_from.append(source)
    join = target.plan.step.join
    if not live and join == "all" and (source.broken or source.status in STEP_FAILED):
        target.broken = True
    enough = join if isinstance(join, int) else 1 if join in ("any", "first") else 0
    if (enough and target.live >= enough) or (target.waiting == 0 and target.live > 0 and not target.broken):
        make_ready(state, target)
        if target.plan.losers and target.waiting:
            state.won.append(target)
    elif target.waiting == 0 and not target.block.closed:
        state.dead[target.id] = target


def is_shielded(block: BlockState) -> bool:
    """Whether the block is, or is in, the `finally` or the compensation of a step: cancellations let it go on."""
    while block.owner is not None:
        if block.plan.role in ("finally", "compensate"):
            return True
        block = block.owner.block
    return False


def block_output(block: BlockState) -> JsonValue:
    """What a block gives: the output of its one last step, or of several a map by id."""
    sinks = block.plan.sinks
    if len(sinks) == 1:
        return block.nodes[sinks[0]].output
    return {block.nodes[local].plan.step.id: block.nodes[local].output for local in sinks}


def close_block(state: RunState, block: BlockState) -> None:
    """The block ends without its steps being settled: one of them failed, or it is cancelled."""
    if block.closed:
        return
    block.closed = True
    if state.dead:  # its steps on dead paths are not reached rather than skipped
        for step in block.nodes:
            state.dead.pop(step.id, None)
    if block.owner is not None:
        _no_longer_open(state, block, block.owner)


def _no_longer_open(state: RunState, block: BlockState, owner: StepState) -> None:
    owner.open_blocks -= 1
    if owner.status in STEP_SETTLED:
        state.background -= 1
        if block.plan.role == "finally":
            count_finishing(state, owner, -1)


def derived_output(state: RunState, step: StepState) -> JsonValue:
    """A composite's output from its blocks (`semantics`, Outputs); what flowed in for a graph's `start`."""
    kind = step.plan.kind
    children = [block for block in step.children or () if block.plan.role not in ("finally", "compensate")]
    if children and children[-1].plan.role == "handler":
        return block_output(children[-1])
    if kind == "parallel":
        return {block.plan.label: block_output(block) for block in children}
    if kind == "foreach":
        results = step.results or {}
        return [results.get(index) for index in range(len(step.items or ()))]
    if kind in ("conditional", "switch", "repeat", "try"):
        bodies = [block for block in children if block.failure is None]
        return block_output(bodies[-1]) if bodies else None
    return incoming(state, step)  # pyright: ignore[reportReturnType]


def incoming(state: RunState, step: StepState) -> object:
    """`data`: what flowed in."""
    sources = step.live_from
    if sources:
        if len(sources) == 1:
            return sources[0].output
        return {source.plan.step.id: source.output for source in sources}
    block = step.block
    if block.plan.role == "body" and block.bindings is not None and "item" in block.bindings:
        return block.bindings["item"]
    if block.owner is not None:
        return incoming(state, block.owner)
    if "body" in state.trigger:
        return state.trigger["body"]
    return state.inputs
