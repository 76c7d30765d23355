"""What a journal that was cut off within a decision leaves half decided, decided anew.

The events of one decision are kept together or not at all, so no crash leaves anything of this kind; a journal whose
rest was set aside can end anywhere. What the last decisions would have looked at next is found by looking at the whole
state once: choices that were not told, blocks whose end or failure nobody has acted upon, a run that was being ended.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from segue.errors import ConflictError
from segue.kernel import branches, compensation, composites, loops, rewind
from segue.kernel import events as ev
from segue.kernel import inputs as inp
from segue.kernel.edges import choose_edges
from segue.kernel.kept import ENDS_RUN
from segue.kernel.pure_steps import end_run
from segue.kernel.rewind import MODIFIER_ROLES, has_name
from segue.kernel.state import RUN_STEP, BlockState, RunState, StepState, is_shielded
from segue.kernel.status import STEP_ENDED_WELL, STEP_SETTLED, UNSETTLED, StepStatus

if TYPE_CHECKING:
    from segue.kernel.decider import Decider


def go_on(decider: Decider, given: inp.GoOn) -> None:
    """Note that events were set aside, and take up what the last one left."""
    state = decider.state
    if state.root is None:
        raise ConflictError(f"nothing of run {state.run_id} was decided but its acceptance: start the flow again")
    if state.ended:
        return
    owing = [step for step in state.standing if step.settled_seq == state.seq - 1 and _owes_its_finally(step)]
    decider.emit(RUN_STEP, ev.RolledBack(set_aside=given.set_aside, by=given.by, reason=given.reason))
    decider.decision.slots += state.awaiting.values()  # they may have left the queue in what was set aside
    for step in owing:
        decider.emit(step.id, ev.StepFinallyStarted(ends="cancelled"))
    for step in [one for one in state.standing if _has_not_chosen(one) and has_name(one)]:
        choose_edges(decider, step)
    _cancel_in_closed(decider)  # first, since what is closed on their account waits for their `finally` steps
    if not _end_as_asked(decider):
        _take_up(decider)
    decider.drain()
    _end_the_run(decider)
    decider.drain()
    _cancel_in_closed(decider)
    decider.drain()
    if not state.ended:
        _begin_anew(decider, given)


def _owes_its_finally(step: StepState) -> bool:
    """Whether the step was cancelled after it had begun, so that its `finally` is the next thing to be told."""
    begun = step.status is StepStatus.CANCELLED and step.started_at is not None
    return begun and step.plan.final is not None and step.concluding is None


def _take_up(decider: Decider) -> None:
    state = decider.state
    _queue_ends(state)
    # Joins that were decided by the first of their paths: what leads only to them may not have been told.
    decided = (step for step in state.standing if step.status is not StepStatus.PENDING)
    state.won += [step for step in decided if step.plan.losers and step.waiting]
    for step in list(state.standing):
        if step.failing is not None and not step.finishing:
            state.resumed.append(step)
        elif step.status is StepStatus.RETRYING and step.waits_on == "lost":
            decider.next_attempt(step)
        elif step.status is StepStatus.RUNNING and _turn_was_told(step):
            loops.next_turn(decider, step)
        elif step.status is StepStatus.RUNNING and step.fallback and step.plan.is_action and not step.tries:
            decider.await_slot_again(step)


def _cancel_in_closed(decider: Decider) -> None:
    for step in [one for one in decider.state.standing if one.status in UNSETTLED and one.block.closed]:
        decider.cancel_step(step, "the block around it is over")


def _queue_ends(state: RunState) -> None:
    """Blocks whose failure or end nobody has acted upon. One word for each owner is enough: it looks at all its blocks;
    and a failure goes before an end, since it may take the others back.
    """
    blocks = list(_blocks(state))
    told: set[int] = set()
    for block in blocks:
        owner = block.owner
        if not block.closed or not _failure_is_open(state, block):
            continue
        if owner is not None and owner.plan.kind == "parallel" and id(owner) in told:
            continue
        state.failed_blocks.append(block)
        if owner is not None:
            told.add(id(owner))
    for block in blocks:
        if block.remaining or block.closed or id(block.owner) in told or not _end_is_open(state, block):
            continue
        state.ended_blocks.append(block)
        if block.owner is not None:
            told.add(id(block.owner))


def _begin_anew(decider: Decider, given: inp.GoOn) -> None:
    """Steps that had begun, and nothing of what they do; or, if nothing goes on at all, where the run stopped."""
    state = decider.state
    for step in [one for one in state.standing if _is_stuck(state, one) and not has_name(one)]:
        # In the undoing of an earlier try, to which no rewind leads.
        decider.give_up(step, ev.Failure(category="internal", code="cut_off", message="the journal was cut off in it"))
        decider.drain()
    if state.ended:
        return
    stuck = [step for step in state.standing if _is_stuck(state, step) and has_name(step)]
    if not stuck and (state.active or state.awaiting or state.ready or any(number >= 0 for number, _ in state.timers)):
        return
    waits = any(step.status is StepStatus.WAITING for step in state.standing)
    if stuck or not waits:
        to = stuck or rewind.stopped_at(state)
        plan = rewind.plan_rewind(state, to)
        for step in rewind.taken_back(plan):
            decider.let_go(step)
        numbers = tuple(step.id for step in to)
        decider.emit(RUN_STEP, ev.Rewound(to=numbers, taken_back=len(to), by=given.by, reason="half decided"))
        decider.decision.callbacks_opened += rewind.waiting_again(state, plan)


def _is_stuck(state: RunState, step: StepState) -> bool:
    """Whether it runs, and neither an attempt nor a block of it does."""
    runs = step.status is StepStatus.RUNNING and step.id not in state.active and not step.open_blocks
    return runs and not step.finishing and not step.block.closed and (has_name(step) or is_shielded(step.block))


def _has_not_chosen(step: StepState) -> bool:
    settled = step.status in STEP_ENDED_WELL or step.status is StepStatus.SKIPPED
    return settled and step.plan.is_chooser and step.edges_live is None and not step.dead


def _blocks(state: RunState) -> Iterator[BlockState]:
    for block in {id(step.block): step.block for step in state.standing}.values():
        owner = block.owner
        if owner is None or (has_name(block.nodes[0]) and _waits_for(owner, block)):
            yield block
    for step in state.standing:  # blocks without steps
        for block in step.children or () if step.status not in STEP_SETTLED else ():
            if not block.nodes:
                yield block
    yield from (top for top in state.tops if not top.nodes)


def _waits_for(owner: StepState, block: BlockState) -> bool:
    if block.plan.role == "compensate":
        return owner.undone == "running"
    return owner.status not in STEP_SETTLED


def _failure_is_open(state: RunState, block: BlockState) -> bool:
    owner, role = block.owner, block.plan.role
    if block.failure is None:
        return False
    if owner is None:
        return block is state.phase_block
    if role == "compensate":
        return _is_last(owner, block)
    if role in MODIFIER_ROLES:
        return _is_last(owner, block) and owner.status is StepStatus.RUNNING
    if owner.failing is not None or owner.concluding is not None or _is_in_handler(owner):
        return False
    if owner.status is not StepStatus.RUNNING:
        return False
    if owner.plan.kind == "foreach":
        return block.index not in (owner.tolerated or ())
    return owner.plan.kind == "parallel" or _is_last(owner, block)


def _end_is_open(state: RunState, block: BlockState) -> bool:
    owner, role = block.owner, block.plan.role
    if owner is None:
        return block is state.phase_block
    if role == "compensate":
        return _is_last(owner, block)
    if owner.status is not StepStatus.RUNNING or owner.id in state.active:
        return False
    if role in MODIFIER_ROLES:
        return _is_last(owner, block)
    if owner.failing is not None or owner.concluding is not None or _is_in_handler(owner):
        return False
    if owner.plan.kind in ("foreach", "parallel"):
        return not owner.open_blocks or (owner.plan.kind == "parallel" and branches.are_enough(owner))
    return _is_last(owner, block) and not _turn_was_told(owner)


def _turn_was_told(owner: StepState) -> bool:
    """Whether the last turn of a loop is over and told, and the next one was not opened."""
    last = owner.children[-1] if owner.plan.kind == "repeat" and owner.children else None
    return last is not None and last.plan.role == "body" and last.index < owner.next_item


def _is_in_handler(owner: StepState) -> bool:
    """Whether one of its handlers runs, or has run, since it was last tried."""
    return any(child.plan.role == "handler" for child in owner.children or ())


def _is_last(owner: StepState, block: BlockState) -> bool:
    return bool(owner.children) and owner.children[-1] is block


def _goes_on(state: RunState) -> bool:
    """Whether the end of the run was asked for in this phase, and is not on its way."""
    if state.outcome is None or state.outcome.outcome == "succeeded":
        return True
    if state.outcome.outcome == "failed" and state.compensating is None:  # which a cancellation does not end
        return True
    return state.phase_block is not None and state.phase_block.closed


def _end_as_asked(decider: Decider) -> bool:
    """Whether somebody or something had ended the run in this phase. It is carried through; nothing else is begun."""
    state = decider.state
    if state.ended or state.ending is not None or state.phase == "compensation":
        return False
    if (state.cancelling is not None or state.timed_out) and _goes_on(state):
        outcome = "timed_out" if state.timed_out else "cancelled"
        decider.stop_all("the run's time is over" if state.timed_out else state.cancelling or "cancelled")
        late = ev.Failure(category="timeout", code="run_timeout", message="the run was not done in its time")
        decider.finish(ev.FinallyStarted(outcome=outcome, error=late if state.timed_out else None))
        return True
    ender = _ender(state)
    if ender is not None:
        end_run(decider, ender)
    return ender is not None


def _end_the_run(decider: Decider) -> None:
    state = decider.state
    if state.ended or _end_as_asked(decider):
        return
    if state.phase == "compensation":
        if all(step.undone != "running" for step in state.standing):
            compensation.go_on(decider)
    else:
        composites.finish_if_last(decider)


def _ender(state: RunState) -> StepState | None:
    """The step of this phase that has ended the run."""
    for step in state.standing:
        if step.plan.kind in ENDS_RUN and step.status is StepStatus.SUCCEEDED and not is_shielded(step.block):
            block = step.block
            while block.owner is not None:
                block = block.owner.block
            if block is state.phase_block:
                return step
    return None
