"""Booking a rewind into the state, as `segue.kernel.rewind` planned it. For `apply` only."""

from __future__ import annotations

from copy import copy

from segue.kernel.booking import drop_timers, follow, make_ready
from segue.kernel.rewind import RewindPlan
from segue.kernel.state import RUN_STEP, BlockState, RunState, StepState, makes_tries, set_by, total_seconds
from segue.kernel.status import STEP_FAILED, STEP_SETTLED, UNSETTLED, StepStatus


def book_rewind(state: RunState, plan: RewindPlan, at: int, *, retries: bool = False) -> None:
    """Bring the state to where it goes on from. `at` is in milliseconds; `retries`: what failed in sub-flows' runs goes
    on there, and what ended well in them is kept.
    """
    state.reopened += 1
    state.generation = state.reopened
    for waiting in (state.ended_blocks, state.failed_blocks, state.resumed, state.won):
        waiting.clear()
    for block in plan.left:
        _leave(state, block)
    for step in plan.anew.values():
        _begin_anew(state, step)
        if retries and (step.status in STEP_FAILED or step.status is StepStatus.CANCELLED):
            state.nodes[step.id].resumes = step.child or step.resumes
    for step, blocks in plan.again.values():
        _run_again(state, step, blocks, at)
    _earlier_tries(state, plan)
    for block in plan.opened:
        block.closed, block.failure = False, None
        block.remaining = sum(1 for step in block.nodes if step.status not in STEP_SETTLED)
    for number in plan.between_turns:
        _wait_for_turn(state, state.nodes[number], at)
    for block in plan.opened:
        _follow_again(state, block, plan)
    _reset_run(state, plan, at)
    _count_again(state)


def _leave(state: RunState, block: BlockState) -> None:
    blocks = [block]
    while blocks:
        one = blocks.pop()
        one.closed = one.gone = True
        if one.owner is None:
            state.tops.remove(one)
        elif one.plan.role == "compensate":
            one.owner.undone = "done" if one.owner.undone == "done" else None
        names = one.frame.nodes
        for step in one.nodes:
            _forget(state, step)
            if names.get(step.plan.index) is step:
                del names[step.plan.index]
            if step.status in UNSETTLED:
                step.status, step.reason = StepStatus.CANCELLED, "taken back by a rewind"
            step.callback, step.failing = False, None
            blocks += step.children or ()


def _earlier_tries(state: RunState, plan: RewindPlan) -> None:
    """Blocks of earlier tries are no step's children any more: they share what becomes of their owner."""
    for block in {id(step.block): step.block for step in state.nodes}.values():
        owner = block.owner
        if owner is None or block.gone:
            continue
        if owner.block.gone or (owner.id in plan.anew and state.nodes[owner.id] is not owner):
            _leave(state, block)
        else:
            block.owner = state.nodes[owner.id]


def _forget(state: RunState, step: StepState) -> None:
    state.unschedule(step)
    state.with_child.pop(step.id, None)
    if state.timers:
        drop_timers(state, step)


def _put(state: RunState, step: StepState) -> None:
    """The instance that stands for the number from now on."""
    state.nodes[step.id] = step
    step.block.nodes[step.plan.local] = step
    step.block.frame.nodes[step.plan.index] = step


def _begin_anew(state: RunState, step: StepState) -> None:
    _forget(state, step)
    fresh = StepState(step.id, step.plan, step.block)
    fresh.generation = fresh.inner_generation = state.generation
    _put(state, fresh)


# ---------------------------------------------------------------- steps that run again


def _run_again(state: RunState, step: StepState, opened: list[BlockState], at: int) -> None:
    again = copy(step)
    _put(state, again)
    again.inner_generation = state.generation
    again.children = [child for child in step.children or () if not child.gone]
    for child in again.children:
        child.owner = again
    roles = {block.plan.role for block in opened if not block.gone}
    again.status = StepStatus.RUNNING
    again.output, again.edges_reason, again.edges_live = None, None, None
    again.ended_at, again.settled_seq = None, -1
    again.dead = again.continued = again.callback = False
    again.waits_on = again.until = again.failing = again.vars_after = None
    again.undone = again.undo_error = None
    if step.status in STEP_SETTLED:
        again.started_at = at
    if roles == {"finally"}:
        _forget(state, again)
        return
    again.concluding = None
    if roles == {"handler"}:
        _handle_again(state, again, opened, at)
    else:
        _do_again(state, again, [block for block in opened if not block.gone], at)


def _do_again(state: RunState, step: StepState, opened: list[BlockState], at: int) -> None:
    """Blocks of what it does are open again: its limits count from now, its handlers have not run."""
    total = state.timers.get((step.id, "total"))
    _forget(state, step)
    step.handling = step.error = None
    if step.plan.kind not in ("conditional", "switch"):
        step.reason = None
    elif opened and opened[-1].chosen is not None:
        step.reason = opened[-1].chosen  # not why it was cancelled
    seconds = total_seconds(step)
    if seconds is not None:
        state.set_timer(step.id, "total", total if total is not None else at + round(seconds * 1000))
    timeout = step.plan.step.timeout
    if makes_tries(step):
        step.tries = 1
        if timeout is not None and timeout.attempt_seconds is not None:
            state.set_timer(step.id, "attempt", at + round(timeout.attempt_seconds * 1000))
    indices = {block.index for block in opened}
    if step.plan.kind == "foreach":
        step.results = {index: value for index, value in (step.results or {}).items() if index not in indices}
        step.tolerated = [index for index in step.tolerated or () if index not in indices]
    elif step.plan.kind == "repeat" and indices:
        step.next_item = min(indices)


def _handle_again(state: RunState, step: StepState, opened: list[BlockState], at: int) -> None:
    """Its handler runs again; if the step is tried again after it, that is a new call, and so is its callback."""
    block = next(one.plan for one in opened if not one.gone)
    step.handling = block.index
    _forget(state, step)
    if not step.plan.is_action:
        return
    step.generation = state.generation
    step.signals = None
    callback = step.plan.step.callback
    then = step.plan.step.on_error[step.plan.handlers.index(block)].then
    if callback is not None and then not in ("continue", "fail"):
        step.callback = True
        step.expires_at = step.until = at + round(callback.expires_seconds * 1000)


def _wait_for_turn(state: RunState, step: StepState, at: int) -> None:
    step.status = StepStatus.WAITING
    step.waits_on, step.until = "every", at
    state.set_timer(step.id, "every", at)


# ---------------------------------------------------------------- edges, counters, the run itself


def _follow_again(state: RunState, block: BlockState, plan: RewindPlan) -> None:
    """Fresh steps get to know what the steps before them that are kept have decided, in the order of then."""
    fresh = [step for step in block.nodes if step.id in plan.anew]
    for step in fresh:
        if not step.plan.in_degree:
            make_ready(state, step)
    sources = {local for step in fresh for local in step.plan.sources}
    settled = [block.nodes[local] for local in sources if block.nodes[local].status in STEP_SETTLED]
    for source in sorted(settled, key=lambda one: (one.settled_seq, one.id)):
        for number, edge in enumerate(source.plan.out):
            if block.nodes[edge.target].id in plan.anew:
                chosen = source.edges_live is None or number in source.edges_live
                follow(state, source, edge, live=chosen and not source.dead)


def _reset_run(state: RunState, plan: RewindPlan, at: int) -> None:
    top = next((block for block in state.tops if block in plan.opened), None) or state.tops[-1]
    state.phase_block = top
    state.phase = {"root": "steps", "flow_on_error": "handlers"}.get(top.plan.role, "finally")  # pyright: ignore[reportAttributeAccessIssue]
    if state.phase != "finally":
        state.outcome = None
    if state.phase == "steps":
        state.flow_error = None
    state.finished_at = state.outputs = state.error = state.cancelling = state.stopped_by = None
    state.ending = state.compensating = state.undoing = None
    state.recovered = state.timed_out = False
    if not top.remaining:
        state.ended_blocks.append(top)
    sets = [one for one in state.standing if one.plan.kind == "set" and one.status is StepStatus.SUCCEEDED]
    state.vars = dict(state.first_vars)
    for step in sorted(sets, key=lambda one: one.settled_seq):
        state.vars.update(set_by(step))
    seconds = state.plan.flow.timeout_seconds
    if seconds is not None and (RUN_STEP, "run") not in state.timers:
        state.set_timer(RUN_STEP, "run", at + round(seconds * 1000))


def _count_again(state: RunState) -> None:
    """Open blocks of each step, those that outlive their step, and the `finally` blocks that others wait for."""
    state.background = 0
    for step in state.nodes:
        step.finishing = 0
        children = () if step.block.gone else step.children or ()
        step.open_blocks = sum(1 for child in children if child.remaining and not child.closed)
        state.background += step.open_blocks if step.status in STEP_SETTLED else 0
    for step in state.standing:
        if step.open_blocks and step.status in STEP_SETTLED:
            finals = [one for one in step.children or () if one.remaining and not one.closed]
            owner = step.block.owner if any(one.plan.role == "finally" for one in finals) else None
            while owner is not None:
                owner.finishing += 1
                owner = owner.block.owner
