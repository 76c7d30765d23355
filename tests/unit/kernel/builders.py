"""Flows in a few words, and a driver that plays the host: it answers attempts, fires timers and checks every decision.

`Play` holds a run's live state and its journal. After every decision it folds the journal anew and compares all fields
that matter, and it counts the counters again, so each test of a verb tests the fold too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any, TypeAlias

from segue.flow.model import Block, Callback, Edge, Flow, Handler, Step
from segue.kernel import events as ev
from segue.kernel import inputs as inp
from segue.kernel.apply import fold
from segue.kernel.decide import Decision, Row, decide
from segue.kernel.plan import ACTION_KINDS, Plan, compile_plan
from segue.kernel.reasons import explain_run, explain_step
from segue.kernel.state import BlockState, RunState, StepState
from segue.kernel.status import RUN_ENDED, STEP_SETTLED, UNSETTLED, RunStatus, StepStatus
from segue.kernel.step_reasons import explain_unopened

Answer: TypeAlias = Any
"""An output; a `Failure`; or a `Late` or `Never`."""
NOW = 1_800_000_000_000


def step(id: str, kind: str = "call", **settings: Any) -> Step:
    settings.setdefault("path", id)
    return Step(id=id, kind=kind, **settings)  # pyright: ignore[reportArgumentType]


def seq(*steps: Step, label: str = "root", **settings: Any) -> Block:
    """A block whose steps run one after the other."""
    edges = tuple(Edge(one.id, two.id) for one, two in pairwise(steps))
    return Block(label=label, steps=steps, edges=edges, **settings)


def graph(steps: list[Step], edges: list[str | Edge], label: str = "root") -> Block:
    """A block whose edges are written `a>b`, or `a>b:label`."""
    made: list[Edge] = []
    for edge in edges:
        if isinstance(edge, Edge):
            made.append(edge)
            continue
        ends, _, name = edge.partition(":")
        source, target = ends.split(">")
        made.append(Edge(source, target, name or None))
    return Block(label=label, steps=tuple(steps), edges=tuple(made))


def flow(*steps: Step, root: Block | None = None, **settings: Any) -> Flow:
    return Flow(id="f", root=root or seq(*steps), **settings)


def parallel(id: str, branches: Mapping[str, list[Step]], **settings: Any) -> Step:
    params = {key: settings.pop(key) for key in ("join", "limit", "fail") if key in settings}
    blocks = tuple(seq(*steps, label=label) for label, steps in branches.items())
    return step(id, "parallel", params=params, blocks=blocks, **settings)


def conditional(id: str, *branches: tuple[str | None, list[Step]], **settings: Any) -> Step:
    """Branches as (condition, steps); a condition of None is the else."""
    blocks = tuple(
        seq(*steps, label="else" if when is None else "then" if number == 0 else f"elif:{number}", when=when)
        for number, (when, steps) in enumerate(branches)
    )
    return step(id, "conditional", blocks=blocks, **settings)


def switch(
    id: str, on: str, cases: Mapping[Any, list[Step]], default: list[Step] | None = None, **settings: Any
) -> Step:
    blocks = [seq(*steps, label=f"case:{case}", case=case) for case, steps in cases.items()]
    if default is not None:
        blocks.append(seq(*default, label="default"))
    return step(id, "switch", params={"on": on}, blocks=tuple(blocks), **settings)


def foreach(id: str, items: Any, *steps: Step, **settings: Any) -> Step:
    params = {"items": items}
    keys = ("limit", "tolerate", "aggregate", "as", "index", "key")
    params |= {key: settings.pop(key) for key in keys if key in settings}
    return step(id, "foreach", params=params, blocks=(seq(*steps, label="do"),), **settings)


def repeat(id: str, *steps: Step, **settings: Any) -> Step:
    params = {key: settings.pop(key) for key in ("until", "max", "every", "within") if key in settings}
    if "while_" in settings:
        params["while"] = settings.pop("while_")
    return step(id, "repeat", params=params, blocks=(seq(*steps, label="do"),), **settings)


def try_(
    id: str, do: list[Step], catch: list[Step] | None = None, final: list[Step] | None = None, **settings: Any
) -> Step:
    blocks = [seq(*do, label="do")]
    blocks += [seq(*steps, label=label) for label, steps in (("catch", catch), ("finally", final)) if steps is not None]
    return step(id, "try", blocks=tuple(blocks), **settings)


def on_error(*steps: Step, **settings: Any) -> tuple[Handler, ...]:
    return (Handler(block=seq(*steps, label="on_error"), **settings),)


def callback(**settings: Any) -> Callback:
    return Callback(**settings)


def failure(category: str = "timeout", message: str = "no answer", **settings: Any) -> ev.Failure:
    return ev.Failure(category=category, message=message, **settings)


def final(*steps: Step) -> Block:
    return seq(*steps, label="finally")


def compensate(*steps: Step) -> Block:
    return seq(*steps, label="compensate")


class Play:
    """One run, driven by hand. Times are milliseconds."""

    def __init__(
        self,
        what: Flow | Plan,
        inputs: Any = None,
        trigger: Any = None,
        *,
        seed: str = "ab",
        check: bool = True,
        kept: dict[str, ev.Kept] | None = None,
        queued: ev.RunQueued | None = None,
    ):
        self.plan = what if isinstance(what, Plan) else compile_plan(what)
        self.state = RunState(self.plan, "run_1")
        self.now = NOW
        self.rows: list[Row] = []
        self.started: list[tuple[str, int]] = []
        self.cancelled: list[str] = []
        self.opened: list[str] = []
        self.closed: list[tuple[str, str]] = []
        self.check = check
        origin = None if kept is None else ev.Origin(run_id="run_0")
        self.give(inp.Begin(inputs or {}, trigger or {}, seed, origin, kept or {}, queued))

    # ------------------------------------------------------------ inputs

    def give(self, given: inp.Input, *, starts: bool = True) -> Decision:
        made = decide(self.state, given, self.now, starts=starts)
        self.rows += made.rows
        self.started += [(one.address, one.attempt) for one in made.start]
        self.cancelled += [one.address for one in made.cancel]
        self.opened += [one.address for one in made.callbacks_opened]
        self.closed += [(one.address, how) for one, how in made.callbacks_closed.values()]
        if self.check and starts:
            self.verify()
        return made

    def ok(self, address: str, output: Any = None) -> Decision:
        one = self.step(address)
        return self.give(inp.AttemptEnded(one.id, one.attempt, output, generation=one.generation))

    def bad(self, address: str, category: str = "timeout", message: str = "no answer", **more: Any) -> Decision:
        one = self.step(address)
        wait = more.pop("retry_after_seconds", None)
        failed = failure(category, message, **more)
        return self.give(
            inp.AttemptEnded(one.id, one.attempt, failure=failed, retry_after_seconds=wait, generation=one.generation)
        )

    def call_back(self, address: str, payload: Any = None) -> Decision:
        one = self.step(address)
        return self.give(inp.CallbackArrived(one.id, one.generation, payload))

    def later(self, milliseconds: int) -> Decision:
        """Let time pass, then fire what is due."""
        self.now += milliseconds
        return self.give(inp.TimersDue())

    def next_timer(self) -> Decision:
        due = self.state.next_due()
        assert due is not None, "no timer is open"
        self.now = max(self.now, due)
        return self.give(inp.TimersDue())

    def crash(self, unsafe: frozenset[int] = frozenset()) -> Decision:
        """The host is killed; another one folds the journal and adopts the run."""
        self.state = self.folded()
        return self.give(inp.AdoptRun(frozenset(self.state.active), unsafe))

    def run(
        self, answers: Mapping[str, Answer] | Callable[[StepState], Answer] | None = None, most: int = 100_000
    ) -> Play:
        """To the end: answer attempts in the order of their starts, then fire timers. Answers by address or step id."""
        for _ in range(most):
            if self.state.ended:
                return self
            if self.state.active:
                one = next(iter(self.state.active.values()))
                self.give(self._answer(one, answers))
            elif self.state.next_due() is not None and not self.state.paused:
                self.next_timer()
            else:
                return self
        raise AssertionError(f"still {self.status} after {most} inputs")

    def _answer(
        self, one: StepState, answers: Mapping[str, Answer] | Callable[[StepState], Answer] | None
    ) -> inp.Input:
        if callable(answers):
            found = answers(one)
        elif answers is None:
            found = None
        else:
            found = answers.get(one.address, answers.get(one.plan.step.id))
        if isinstance(found, ev.Failure):
            return inp.AttemptEnded(one.id, one.attempt, failure=found, generation=one.generation)
        return inp.AttemptEnded(one.id, one.attempt, found, generation=one.generation)

    # ------------------------------------------------------------ questions

    def step(self, address: str) -> StepState:
        """The newest instance with this address that no rewind has left behind."""
        for one in reversed(self.state.nodes):
            if one.address == address and not one.block.gone:
                return one
        raise AssertionError(f"no step {address}; there are {[one.address for one in self.state.nodes]}")

    def has(self, address: str) -> bool:
        return any(one.address == address for one in self.state.standing)

    def of(self, address: str) -> StepStatus:
        return self.step(address).status

    def out(self, address: str) -> Any:
        return self.step(address).output

    @property
    def status(self) -> RunStatus:
        return self.state.status

    @property
    def outputs(self) -> Any:
        return self.state.outputs

    @property
    def active(self) -> list[str]:
        return [one.address for one in self.state.active.values()]

    @property
    def order(self) -> list[str]:
        """Addresses in the order of their first attempts."""
        return list(dict.fromkeys(address for address, _ in self.started))

    def events(self, address: str | None = None) -> list[str]:
        """Names of events: of one step, or of the run itself."""
        return [
            type(row.event).__name__
            for row in self.rows
            if (row.step < 0 if address is None else row.step >= 0 and self.state.nodes[row.step].address == address)
        ]

    def statuses(self) -> dict[str, str]:
        return {one.address: one.status.value for one in self.state.nodes if not one.block.gone}

    def why(self, address: str | None = None) -> str:
        if address is None:
            return explain_run(self.state, self.now).sentence
        return explain_step(self.state, self.step(address), self.now).sentence

    # ------------------------------------------------------------ laws

    def journal(self, count: int | None = None) -> list[tuple[int, int, int, int, bytes]]:
        rows = self.rows if count is None else self.rows[:count]
        return [(row.seq, row.event.KIND, row.step, row.at, ev.encode(row.event)) for row in rows]

    def folded(self) -> RunState:
        return fold(self.plan, "run_1", self.journal())

    def verify(self) -> None:
        assert snapshot(self.folded()) == snapshot(self.state)
        check_counters(self.state)
        check_reasons(self.state, self.now)


def snapshot(state: RunState) -> dict[str, Any]:
    """All of a state that decisions and answers depend on, as plain data."""
    return {
        "run": {
            name: getattr(state, name)
            for name in (
                "status", "phase", "seq", "inputs", "trigger", "seed", "vars", "timers", "background", "outcome",
                "cancelling", "timed_out", "flow_error", "outputs", "error", "recovered", "stopped_by", "accepted_at",
                "compensating", "ending", "finished_at", "first_vars", "generation", "reopened", "response",
                "rewound", "started_at", "taken", "undoing",
            )
        },
        "active": sorted(state.active),
        "ready": list(state.ready),
        "next_due": state.next_due(),
        "nodes": [_step_snapshot(one) for one in state.nodes],
        "blocks": [_block_snapshot(block) for block in blocks_of(state)],
    }  # fmt: skip


def _step_snapshot(one: StepState) -> tuple[Any, ...]:
    plain = (
        "answer", "attempt", "broken", "callback", "child", "concluding", "continued", "dead", "edges_live",
        "edges_reason", "ended_at", "error", "event", "expires_at", "failing", "finishing", "generation",
        "handling", "id", "inner_generation", "items", "job", "keys", "live", "lost", "next_item", "open_blocks",
        "output", "polls", "reason", "reminded", "results", "settled_seq", "signals", "since", "started_at",
        "started_seq", "status", "tolerated", "tries", "undo_error", "undone", "until", "vars", "vars_after",
        "waiting", "waits_on",
    )  # fmt: skip
    return (one.address, [source.id for source in one.live_from or ()], *(getattr(one, name) for name in plain))


def _block_snapshot(block: BlockState) -> tuple[Any, ...]:
    owner = None if block.owner is None else block.owner.id
    ids = [one.id for one in block.nodes]
    return (
        block.plan.index, owner, block.index, ids, block.remaining, block.bindings, block.failure, block.closed,
        block.gone,
    )  # fmt: skip


def blocks_of(state: RunState) -> list[BlockState]:
    """All opened blocks that have steps, in the order of their openings."""
    return list({id(one.block): one.block for one in state.nodes}.values())


def check_counters(state: RunState) -> None:
    """Count again what `apply` counts along."""
    background = 0
    for one in state.nodes:
        held = [block for block in one.children or () if block.remaining and not block.closed]
        assert one.open_blocks == len(held), f"{one.address}: {one.open_blocks} open blocks, but {len(held)} are"
        background += len(held) if one.status in STEP_SETTLED else 0
    assert state.background == background
    finishing = _open_finallys(state)
    assert all(one.finishing == finishing.get(one.id, 0) for one in state.nodes)
    for block in blocks_of(state):
        if block.closed or state.ended:
            continue
        unsettled = [one for one in block.nodes if one.status not in STEP_SETTLED]
        assert block.remaining == len(unsettled), (
            f"{block.plan.label}: {block.remaining} left, but {len(unsettled)} are"
        )
        decided = dict.fromkeys(range(len(block.nodes)), 0)
        for one in block.nodes:
            if one.status in STEP_SETTLED:
                for edge in one.plan.out:
                    decided[edge.target] += 1
        for one in block.nodes:
            assert one.waiting == one.plan.in_degree - decided[one.plan.local], one.address
    _check_lists(state)


def _open_finallys(state: RunState) -> dict[int, int]:
    """How many `finally` blocks of settled steps are open inside each step, whichever of its tries they belong to."""
    found: dict[int, int] = {}
    for one in state.nodes:
        if one.status not in STEP_SETTLED or one.plan.final is None:
            continue
        blocks = [block for block in one.children or () if block.plan.role == "finally"]
        count = sum(1 for block in blocks if block.remaining and not block.closed)
        owner = one.block.owner
        while owner is not None:
            found[owner.id] = found.get(owner.id, 0) + count
            owner = owner.block.owner
    return found


def _check_lists(state: RunState) -> None:
    if state.ended:
        assert not state.active
        assert not state.ready
        assert not state.timers
        left = {one.address: one.status.value for one in state.nodes if one.status in UNSETTLED}
        assert not left, f"the run is {state.status}, but {left}"
        return
    in_flight = {one.id for one in state.nodes if one.status is StepStatus.RUNNING and _may_be_in_flight(one)}
    assert set(state.active) == in_flight
    assert set(state.ready) == {one.id for one in state.nodes if one.status is StepStatus.READY}
    for number, kind in state.timers:
        assert number < 0 or state.nodes[number].status in UNSETTLED, f"a {kind} timer of a settled step"
    for one in state.nodes:
        if one.block.closed:
            assert one.status not in UNSETTLED, f"{one.address} is {one.status} in a block that is over"


def _may_be_in_flight(one: StepState) -> bool:
    handled = any(block.plan.role == "handler" and block.remaining and not block.closed for block in one.children or ())
    return one.plan.kind in ACTION_KINDS and not handled and one.concluding is None and one.failing is None


def check_reasons(state: RunState, now: int) -> None:
    """Nothing lacks a reason, and a run that goes on either does something or waits for something that is stated."""
    reason = explain_run(state, now)
    assert reason.sentence
    assert reason.code != "run-undecided", "nothing is in flight, no timer is open, and the run has not ended"
    for one in state.nodes:
        assert explain_step(state, one, now).code != "step-undecided", one.address
    opened = {one.plan.index for one in state.nodes}
    for node in state.plan.nodes:
        if node.index not in opened:
            assert explain_unopened(node, state).sentence
    if state.status not in RUN_ENDED and not state.paused:
        waits = [one for one in state.nodes if one.status in (StepStatus.WAITING, StepStatus.RETRYING)]
        assert (
            state.active
            or state.next_due() is not None
            or any(one.callback or one.waits_on in ("child", "event") for one in waits)
        )
