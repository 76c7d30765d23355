"""Which steps' answers a value hangs on: followed backwards through what each step reads.

Only flows of data count, not of control: that a step runs at all because of an assumed answer is told at the choice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from segue.expr import Reference
from segue.kernel.plan import NodePlan, Plan
from segue.kernel.state import RunState, StepState


class Assumptions:
    """Kept while a run is played: `see` every step when it first moves, so that what it reads is known already."""

    def __init__(self, state: RunState) -> None:
        self.state = state
        self.assumed: set[int] = set()
        """Numbers of the steps whose answers were made up."""
        self._known: dict[int, frozenset[int]] = {}

    def see(self, step: StepState) -> None:
        """Note what a step reads that begins now."""
        self.reads(step)

    def of_step(self, step: StepState) -> list[str]:
        """Addresses of the steps that the step's parameters and conditions come from, in the order of the run."""
        return self._addresses(self.reads(step))

    def of_outputs(self, plan: Plan) -> list[str]:
        """The same for the flow's outputs."""
        if plan.outputs is not None:
            found = {number for one in plan.outputs.references for number in self.of_reference(one, None)}
        else:
            sinks = [] if self.state.root is None else [self.state.root.nodes[local] for local in plan.root.sinks]
            found = {number for step in sinks for number in self.of_output(step)}
        return self._addresses(found)

    def _addresses(self, numbers: Iterable[int]) -> list[str]:
        return [self.state.nodes[number].address for number in sorted(numbers)]

    def reads(self, step: StepState) -> frozenset[int]:
        """What the step's own parameters and conditions come from."""
        if not self.assumed:
            return self._known.setdefault(step.id, frozenset())
        kept = self._known.get(step.id)
        if kept is None:
            self._known[step.id] = frozenset()  # a loop that reads itself adds nothing new
            references = list(_references(step.plan))
            kept = frozenset(number for one in references for number in self.of_reference(one, step))
            self._known[step.id] = kept
        return kept

    def of_output(self, step: StepState) -> frozenset[int]:
        """What the step's output comes from: an assumed answer is its own origin."""
        if step.id in self.assumed:
            return frozenset((step.id,))
        found = set(self.reads(step))
        if step.plan.kind == "start":
            found |= self._incoming(step)
        for block in step.children or ():
            for inner in block.nodes:
                found |= self.of_output(inner)
        return frozenset(found)

    def of_reference(self, reference: Reference, step: StepState | None) -> frozenset[int]:
        """What a name, seen from a step (None: from the top), comes from."""
        name = reference.root
        if name == "data" and step is not None:
            return self._incoming(step)
        if name == "vars":
            return self._all(node for node in self.state.nodes if node.plan.kind == "set" and node is not step)
        if name == "steps" and reference.path:
            name = str(reference.path[0])
        block = None if step is None else step.block
        while block is not None:
            if block.bindings is not None and name in block.bindings:
                return frozenset() if block.owner is None or name == "error" else self.reads(block.owner)
            block = None if block.owner is None else block.owner.block
        root = self.state.root
        frame = step.block.frame if step is not None else None if root is None else root.frame
        while frame is not None:
            if name in frame.plan.names:
                nodes = frame.nodes
                return self._all(nodes[plan.index] for plan in frame.plan.names[name] if plan.index in nodes)
            frame = frame.parent
        return frozenset()

    def _incoming(self, step: StepState) -> frozenset[int]:
        if step.live_from:
            return self._all(step.live_from)
        return frozenset() if step.block.owner is None else self._incoming(step.block.owner)

    def _all(self, steps: Iterable[StepState]) -> frozenset[int]:
        return frozenset(number for step in steps for number in self.of_output(step))


def _references(node: NodePlan) -> Iterator[Reference]:
    parts = [node.params, node.when, node.output, *node.conditions.values(), *node.programs.values()]
    parts += [edge.when for edge in node.out]
    parts += [block.when for block in node.blocks]
    parts += [when for _, when in node.choices]
    for part in parts:
        if part is not None:
            yield from part.references
