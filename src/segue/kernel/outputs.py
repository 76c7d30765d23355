"""What flows out of blocks and composites, and into a step."""

from __future__ import annotations

from segue.flow.model import JsonValue
from segue.kernel.state import (
    BlockState,
    RunState,
    StepState,
)


def block_output(block: BlockState) -> JsonValue:
    """What a block gives: the output of its one last step, or of several a map by id."""
    sinks = block.plan.sinks
    if len(sinks) == 1:
        return block.nodes[sinks[0]].output
    return {block.nodes[local].plan.step.id: block.nodes[local].output for local in sinks}


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
