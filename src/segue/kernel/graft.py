"""Booking what a run keeps from another one; for `apply` only. See `segue.kernel.kept`."""

from __future__ import annotations

import json

from segue.flow.model import RawMap
from segue.kernel.booking import close_block, open_block
from segue.kernel.events import Kept
from segue.kernel.outputs import block_output
from segue.kernel.plan import NodePlan
from segue.kernel.state import BlockState, Keeping, RunState, StepState, kept_of, names_in, set_by
from segue.kernel.status import STEP_SETTLED, StepStatus, failed_status


def graft(state: RunState, keeping: Keeping, step: StepState, kept: Kept, seq: int, at: int) -> None:
    """Open the recorded blocks of a composite, their steps settled as they were. Nothing of it runs; a rewind finds all
    that it would find had it run.
    """
    step.items, step.keys, step.tolerated = kept.items, kept.keys, kept.tolerated
    step.results = dict(kept.collected) or None
    for one in kept.blocks:
        plan = next(block for block in step.plan.blocks if (block.label, block.role) == (one.label, one.role))
        block = open_block(state, plan, step, one.index, names_in(step, plan, one.index))
        for inner in block.nodes:
            state.ready.pop(inner.id, None)
            inner.status = StepStatus.PENDING
            record = one.steps.get(inner.plan.step.id)
            if record is not None:
                _settle(state, keeping, inner, record, seq, at)
        for inner in block.nodes:
            for edge in inner.plan.out if inner.status in STEP_SETTLED else ():
                block.nodes[edge.target].waiting -= 1
        _close(state, block, one.failure is not None)
        block.failure = one.failure
        if step.plan.kind == "foreach" and not block.remaining:
            step.results = step.results or {}
            step.results[block.index] = block_output(block)
    step.next_item = _next_item(step, kept)
    for order, values in kept.sets:
        keep_vars(state, keeping, order, values)


def _next_item(step: StepState, kept: Kept) -> int:
    """The item, branch or turn that would be next, as if the blocks had been opened one after the other."""
    children = step.children or ()
    if step.plan.kind != "repeat" or not children:
        return len(children)
    # A turn counts once the loop has decided on another one: so it did if the last turn ended and the loop did not.
    last = children[-1]
    return last.index + (1 if not last.remaining and kept.status == "cancelled" else 0)


def _settle(state: RunState, keeping: Keeping, step: StepState, kept: Kept, seq: int, at: int) -> None:
    graft(state, keeping, step, kept, seq, at)  # before it is settled: its blocks are not in the background
    if kept.status == "failed":
        step.status = failed_status("" if kept.error is None else kept.error.category, deadline=kept.deadline)
    else:
        step.status = StepStatus(kept.status)
    step.output, step.error, step.reason = kept.output, kept.error, kept.reason
    step.continued, step.dead = kept.continued, kept.dead
    step.edges_reason, step.edges_live = kept.edges_reason, live_edges(step.plan, kept)
    step.started_seq = step.settled_seq = seq
    step.started_at = step.ended_at = at
    step.kept_order = kept.order
    step.vars = state.vars
    if step.plan.compensation is not None:
        step.vars_after = state.vars
    if step.plan.kind == "set" and step.status is StepStatus.SUCCEEDED:
        step.answer = kept.made
        keep_vars(state, keeping, kept.order, set_by(step))


def _close(state: RunState, block: BlockState, failed: bool) -> None:
    """The block is over: ended if all its steps are settled, else closed. It asks for no decision."""
    unsettled = sum(1 for one in block.nodes if one.status not in STEP_SETTLED)
    if block.nodes and not failed and not unsettled:
        assert block.owner is not None
        block.remaining = 0
        block.owner.open_blocks -= 1
    elif block.nodes:
        close_block(state, block)
    if block in state.ended_blocks:
        state.ended_blocks.remove(block)


def live_edges(plan: NodePlan, kept: Kept) -> tuple[int, ...] | None:
    """The numbers of the recorded live edges; None if the step has other edges now, or chose none."""
    if kept.edges is None:
        return None
    names = plan.block.nodes
    now = [(names[edge.target].step.id, edge.label) for edge in plan.out]
    if now != [(target, label) for target, label, _ in kept.edges]:
        return None
    return tuple(number for number, (_, _, lived) in enumerate(kept.edges) if lived)


def keep_vars(state: RunState, keeping: Keeping, order: int, values: RawMap) -> None:
    """A kept step had set these, at its place in the old order."""
    if keeping.sets is None:
        state.vars = {**state.vars, **values}
        return
    keeping.sets.append((order, values))
    state.vars = dict(state.first_vars)
    for _, one in sorted(keeping.sets, key=lambda pair: pair[0]):
        state.vars.update(one)


def forget_other_items(state: RunState, step: StepState) -> None:
    """A fan-out is opened over other items than recorded: of an item that is another now, nothing is kept."""
    keeping = state.keeping
    kept = None if keeping is None else kept_of(keeping, step)
    if keeping is None or kept is None or kept.items is None:
        return
    items, old, keys = step.items or [], kept.items, step.keys
    for index in range(max(len(items), len(old))):
        if index < len(items) and index < len(old) and items[index] == old[index]:
            continue
        key = index if keys is None or index >= len(keys) else json.dumps(keys[index], ensure_ascii=False)
        for address in [one for one in keeping.record if one.startswith(f"{step.address}[{key}].")]:
            del keeping.record[address]
