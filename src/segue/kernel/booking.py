"""How a state is changed: blocks are opened and end, steps get ready and settle, edges are followed.

For `apply` and what it is made of (`graft`, `rewind_booking`) alone: nothing else changes a state.
"""

from __future__ import annotations

import heapq
import json

from segue.errors import JournalCorruptError
from segue.kernel.outputs import block_output
from segue.kernel.plan import BlockPlan, EdgePlan
from segue.kernel.state import (
    BlockState,
    Frame,
    RunState,
    StepState,
    kept_of,
)
from segue.kernel.status import STEP_FAILED, STEP_SETTLED, StepStatus


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


def corrupt(state: RunState, seq: int, what: str) -> JournalCorruptError:
    """The error of an event that cannot be booked, and the state as if it had not come."""
    state.seq = seq  # a refused event is no part of the state
    return JournalCorruptError(
        f"the journal of run {state.run_id} does not fold at event {seq}: {what}", last_valid_seq=seq - 1
    )
