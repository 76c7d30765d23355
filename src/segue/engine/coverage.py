"""Which steps and branches of a flow its tests (or any set of runs) went through.

A branch is one way that a decision of the flow can go: a branch of `conditional` or `switch` (the missing `else` or
`default` counts, since the flow goes on without one), a `when` met or not, an edge's condition, a handler, a `catch`,
items or none for a fan-out, another turn or none for `while`, a time limit with another outcome than failing. A choice
that cannot go the other way (a list written out, `if: true`) is not counted as one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import msgspec

from segue.expr import Condition, Query
from segue.kernel import events as ev
from segue.kernel.decision import Row
from segue.kernel.plan import BlockPlan, NodePlan, Plan
from segue.kernel.state import RunState, StepState
from segue.kernel.status import StepStatus


class Branch(msgspec.Struct, frozen=True, kw_only=True):
    """One way through a step. `step` is its path in the document, `line` where it begins."""

    step: str
    name: str
    line: int | None = None


class Coverage(msgspec.Struct, frozen=True, kw_only=True):
    """How much was gone through, and what was not."""

    steps: int
    steps_covered: int
    branches: int
    branches_covered: int
    steps_missed: list[Branch] = []
    """With an empty `name`."""
    branches_missed: list[Branch] = []

    @property
    def step_percent(self) -> float:
        """100 for a flow without steps."""
        return _percent(self.steps_covered, self.steps)

    @property
    def branch_percent(self) -> float:
        """100 for a flow without branches."""
        return _percent(self.branches_covered, self.branches)


def _percent(part: int, whole: int) -> float:
    return 100.0 if not whole else 100.0 * part / whole


@dataclass(slots=True)
class Trace:
    """What runs of one flow version have gone through so far. All runs must be of the same steps."""

    steps: dict[str, Branch] = field(default_factory=dict[str, Branch])
    branches: dict[tuple[str, str], Branch] = field(default_factory=dict[tuple[str, str], Branch])
    steps_taken: set[str] = field(default_factory=set[str])
    branches_taken: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])

    def know(self, plan: Plan) -> None:
        """Count the plan's steps and branches as possible."""
        for node in plan.nodes:
            path, line = node.step.path, _line(node)
            self.steps.setdefault(path, Branch(step=path, name="", line=line))
            for name in _possible(node):
                self.branches.setdefault((path, name), Branch(step=path, name=name, line=line))
        if plan.flow_handlers is not None:
            self.branches.setdefault(("", "on_error"), Branch(step="", name="on_error"))

    def add(self, state: RunState, rows: Iterable[Row]) -> None:
        """Book one run."""
        self.know(state.plan)
        for step in state.nodes:
            if step.started_at is not None:
                self.steps_taken.add(step.plan.step.path)
                if step.plan.when is not None:
                    self._take(step, "when: met")
        for row in rows:
            if row.step < 0:
                if isinstance(row.event, ev.FlowHandlersStarted):
                    self.branches_taken.add(("", "on_error"))
                continue
            step = state.nodes[row.step]
            for name in _taken(state, step, row.event):
                self._take(step, name)

    def _take(self, step: StepState, name: str) -> None:
        key = (step.plan.step.path, name)
        if key in self.branches:
            self.branches_taken.add(key)

    def coverage(self) -> Coverage:
        """The numbers and what is missing, in the flow's order."""
        return Coverage(
            steps=len(self.steps),
            steps_covered=len(self.steps_taken & self.steps.keys()),
            branches=len(self.branches),
            branches_covered=len(self.branches_taken & self.branches.keys()),
            steps_missed=[branch for path, branch in self.steps.items() if path not in self.steps_taken],
            branches_missed=[branch for key, branch in self.branches.items() if key not in self.branches_taken],
        )


def _line(node: NodePlan) -> int | None:
    return None if node.step.span is None else node.step.span.line


def _is_open(condition: Condition | Query | None) -> bool:
    """Whether it can go both ways."""
    if condition is None:
        return False
    return isinstance(condition, Query) or bool(condition.references or condition.impure)


def _possible(node: NodePlan) -> Iterator[str]:
    if _is_open(node.when):
        yield "when: met"
        yield "when: not met"
    yield from _of_kind(node)
    for number, edge in enumerate(node.out):
        if edge.label == "error" and node.kind != "branch":
            yield "edge: error"
        elif _is_open(edge.when):
            yield f"{_edge(node, number)}: taken"
            yield f"{_edge(node, number)}: not taken"
    for number, handler in enumerate(node.handlers):
        yield _handler(node, handler, number)
    if _limit_policy(node) != "fail":
        yield f"on_timeout: {_limit_policy(node)}"


def _of_kind(node: NodePlan) -> Iterator[str]:
    labels = [block.label for block in node.blocks]
    match node.kind:
        case "conditional" if any(_is_open(block.when) for block in node.blocks):
            yield from labels
            if all(block.when is not None for block in node.blocks):
                yield "else (none)"
        case "switch":
            yield from labels
            if "default" not in labels:
                yield "default (none)"
        case "foreach" if node.programs["items"].references:
            yield "items"
            yield "no items"
        case "repeat" if _is_open(node.conditions.get("while")):
            yield "a turn"
            yield "no turn"
        case "try" if "catch" in labels:
            yield "catch"
        case "branch":
            yield from (f"branch: {label}" for label, _ in node.choices)
        case _:
            return


def _taken(state: RunState, step: StepState, event: ev.Event) -> Iterator[str]:
    node = step.plan
    match event:
        case ev.BlocksOpened():
            yield from _opened(state, node, event)
        case ev.StepSkipped(dead=False) if node.when is not None and not node.step.disabled:
            yield "when: not met"
        case ev.StepSucceeded() if node.kind in ("conditional", "switch") and not step.children:
            yield "else (none)" if node.kind == "conditional" else "default (none)"
        case ev.StepSucceeded() if node.kind == "repeat" and not step.children:
            yield "no turn"
        case ev.HandlerStarted():
            for number, handler in enumerate(node.handlers):
                if handler.index == event.block:
                    yield _handler(node, handler, number)
        case ev.StepRecovered() | ev.StepSucceeded() if _by_limit(step, event):
            yield f"on_timeout: {_limit_policy(node)}"
        case ev.EdgesChosen():
            yield from _edges_taken(step, event)
        case _:
            return


def _opened(state: RunState, node: NodePlan, event: ev.BlocksOpened) -> Iterator[str]:
    if node.kind == "foreach":
        yield "items" if event.count else "no items"
    elif node.kind == "repeat":
        yield "a turn"
    else:
        yield from (state.plan.blocks[number].label for number in event.blocks)


def _edges_taken(step: StepState, event: ev.EdgesChosen) -> Iterator[str]:
    node = step.plan
    if step.status is StepStatus.SKIPPED and node.kind == "branch":
        return
    for number, edge in enumerate(node.out):
        lives = number in event.live
        if edge.label == "error" and node.kind != "branch":
            if lives:
                yield "edge: error"
            continue
        if edge.when is not None:
            yield f"{_edge(node, number)}: {'taken' if lives else 'not taken'}"
    if node.kind == "branch" and step.edges_reason is not None:
        # The reason names the label even where no edge leaves through it.
        yield from (f"branch: {label}" for label, _ in node.choices if step.edges_reason.startswith(f"took `{label}`"))


def _edge(node: NodePlan, number: int) -> str:
    target = node.block.nodes[node.out[number].target]
    return f"edge to {target.step.id}"


def _handler(node: NodePlan, handler: BlockPlan, number: int) -> str:
    del handler
    match = node.step.on_error[number].match
    return f"on_error: {', '.join(match)}" if match else "on_error"


def _by_limit(step: StepState, event: ev.StepRecovered | ev.StepSucceeded) -> bool:
    """Whether its `on_timeout` gave the step its end."""
    if isinstance(event, ev.StepSucceeded):
        return step.plan.kind == "approve" and isinstance(event.output, dict) and event.output.get("timed_out") is True
    return step.handling is None and event.error is not None and event.error.category == "timeout"


def _limit_policy(node: NodePlan) -> str:
    """What the step does when its time is over (as `Decider.timeout_policy`)."""
    own = node.step
    if own.timeout is not None and own.timeout.on_timeout != "fail":
        return own.timeout.on_timeout
    return own.callback.on_timeout if own.callback is not None else "fail"
