"""Steps that own blocks: what is opened when, and what the end or the failure of a block means for its owner.

A block knows its role; the owner's kind says what follows: `segue.kernel.branches` and `segue.kernel.loops` say it for
theirs, `try` stands here. Names follow `dsl.md` section 3 and `semantics` (Paths, Outputs).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from segue.expr.sealed import opened
from segue.flow.model import Block, JsonValue, Step
from segue.kernel import branches, compensation, loops
from segue.kernel import events as ev
from segue.kernel.block_params import short
from segue.kernel.evaluate import StopNow, stop
from segue.kernel.outputs import block_output, derived_output
from segue.kernel.plan import COMPOSITE_KINDS, THEN_WORDS, WAIT_KINDS, BlockPlan
from segue.kernel.retry import matches
from segue.kernel.scope import RunScope
from segue.kernel.state import BlockState, RunState, StepState
from segue.kernel.status import STEP_SETTLED

if TYPE_CHECKING:
    from segue.kernel.decider import Decider


def default_outputs(root: BlockState) -> JsonValue:
    """What a flow without `outputs:` gives: the output of its last step (of several last ones, a map by id)."""
    return block_output(root)


def derived_or(state: RunState, step: StepState, output: JsonValue, *, derived: bool) -> JsonValue:
    """The output given, or the one that follows from the blocks."""
    return derived_output(state, step) if derived else output


# ---------------------------------------------------------------- opening


def open_step(decider: Decider, step: StepState) -> None:
    """Open a composite that has just started. May raise `StopNow`."""
    _OPEN[step.plan.kind](decider, step)


def _open_try(decider: Decider, step: StepState) -> None:
    guarded = next(block for block in step.plan.blocks if block.label == "do")
    decider.emit(step.id, ev.BlocksOpened(blocks=(guarded.index,)))


_OPEN: dict[str, Callable[[Decider, StepState], None]] = {
    "parallel": branches.open_parallel,
    "conditional": branches.open_conditional,
    "switch": branches.open_switch,
    "foreach": loops.open_foreach,
    "repeat": loops.open_turn,
    "try": _open_try,
}


# ---------------------------------------------------------------- a block ended well


def on_block_ended(decider: Decider, block: BlockState) -> None:
    """All steps of the block are settled and none failed."""
    owner, role = block.owner, block.plan.role
    if owner is not None and role == "compensate":
        compensation.on_ended(decider, owner, None)
    elif owner is None or owner.status in STEP_SETTLED:
        finish_if_last(decider)
    elif role == "finally":
        decider.finally_ended(owner, None)
    elif role == "handler":
        _handler_ended(decider, owner, block)
    elif owner.concluding is not None or owner.failing is not None:
        return  # a branch that went on while the step's `finally` runs
    else:
        try:
            _ENDED[owner.plan.kind](decider, owner, block)
        except StopNow as stopped:
            decider.fail(owner, stopped.failure)


def finish_if_last(decider: Decider) -> None:
    """The steps, the flow's handlers or its `finally` are over: the run goes on to its next phase or ends.

    Branches that went on after their join had what it needed keep a phase open until they end.
    """
    state = decider.state
    if state.background:
        return
    if state.ending is not None:
        told = state.ending
        decider.finish(
            ev.FinallyStarted(outcome=told.outcome, error=told.error, outputs=told.outputs, stopped_by=told.stopped_by)
        )
        return
    block = state.phase_block
    if block is None or block.remaining or block.closed:
        return
    if state.phase == "steps":
        decider.finish_well()
    elif state.phase == "handlers":
        decider.finish(ev.FinallyStarted(outcome="failed", error=state.flow_error))
    elif state.outcome is not None:
        decider.end(state.outcome)


def _handler_ended(decider: Decider, owner: StepState, block: BlockState) -> None:
    error = owner.error
    assert error is not None
    try:
        then = _then(decider, owner, block)
    except StopNow as stopped:
        return decider.stand_in(owner, stopped.failure)
    kind = owner.plan.kind
    waits = kind in WAIT_KINDS
    may_retry = (
        waits
        or kind in COMPOSITE_KINDS
        or (owner.plan.is_action and (owner.callback or owner.plan.step.callback is None))
    )
    if then == "continue":
        decider.recover(owner, derived=True)
    elif then == "retry" and may_retry:
        decider.emit(owner.id, ev.AttemptFailed(error=error, retry_at=decider.now + int(waits)))
    else:
        decider.stand_in(owner, error)
    return None


def _then(decider: Decider, owner: StepState, block: BlockState) -> str:
    """What follows on the handler: a word of the flow, or what its steps found out."""
    number = owner.plan.handlers.index(block.plan)
    computed = owner.plan.thens[number]
    if computed is None:
        return owner.plan.step.on_error[number].then
    then = opened(decider.value(computed, owner, "then", scope=RunScope(decider.state, step=owner, block=block)))
    if not isinstance(then, str) or then not in THEN_WORDS:
        raise stop("expression", f"then: continue, fail or retry is needed, not {short(then)}")
    return then


def _try_ended(decider: Decider, owner: StepState, block: BlockState) -> None:
    if block.plan.role == "catch":
        guarded = next(child for child in owner.children or () if child.plan.label == "do")
        decider.recover(owner, block_output(block), error=guarded.failure)
    else:
        decider.succeed(owner, derived=True)


_ENDED: dict[str, Callable[[Decider, StepState, BlockState], None]] = {
    "parallel": branches.parallel_ended,
    "conditional": branches.choice_ended,
    "switch": branches.choice_ended,
    "foreach": loops.item_ended,
    "repeat": loops.turn_ended,
    "try": _try_ended,
}


# ---------------------------------------------------------------- a block failed


def on_block_failed(decider: Decider, block: BlockState) -> None:
    """A step of the block failed for good: its siblings are cancelled and the owner decides."""
    owner, role, state, failure = block.owner, block.plan.role, decider.state, block.failure
    assert failure is not None
    decider.cancel_block(block, f"`{failure.step or 'a step'}` failed")
    if owner is None:
        if role == "flow_finally" and state.outcome is not None and state.outcome.outcome != "succeeded":
            decider.finish(state.outcome)
        elif role == "flow_finally":
            decider.finish(ev.FinallyStarted(outcome="failed", error=failure))
        else:
            decider.stop_all(f"`{failure.step or 'a step'}` failed")
            error = state.flow_error if role == "flow_on_error" and state.flow_error is not None else failure
            decider.finish(ev.FinallyStarted(outcome="failed", error=error))
    elif role == "compensate":
        compensation.on_ended(decider, owner, failure)
    elif owner.status in STEP_SETTLED:
        finish_if_last(decider)
    elif role == "finally":
        decider.finally_ended(owner, failure)
    elif role == "handler":
        decider.stand_in(owner, owner.error or failure)
    elif owner.concluding is not None or owner.failing is not None:
        return
    else:
        try:
            _FAILED.get(owner.plan.kind, _pass_up)(decider, owner, block)
        except StopNow as stopped:
            decider.fail(owner, stopped.failure)


def _pass_up(decider: Decider, owner: StepState, block: BlockState) -> None:
    assert block.failure is not None
    decider.fail(owner, block.failure)


def _try_failed(decider: Decider, owner: StepState, block: BlockState) -> None:
    failure = block.failure
    assert failure is not None
    if block.plan.label == "do":
        for one, plan in zip(_catches(owner.plan.step), _catch_plans(owner), strict=True):
            if not one.match or any(matches(failure.category, wanted) for wanted in one.match):
                decider.emit(owner.id, ev.BlocksOpened(blocks=(plan.index,)))
                return
    decider.fail(owner, failure)


def _catches(step: Step) -> list[Block]:
    return [block for block in step.blocks if block.label.startswith("catch")]


def _catch_plans(owner: StepState) -> list[BlockPlan]:
    return [block for block in owner.plan.blocks if block.role == "catch"]


_FAILED: dict[str, Callable[[Decider, StepState, BlockState], None]] = {
    "parallel": branches.parallel_failed,
    "foreach": loops.item_failed,
    "try": _try_failed,
}
