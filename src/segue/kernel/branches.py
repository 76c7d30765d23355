"""Steps with branches (`parallel`, `conditional`, `switch`): what they open, and what the end of a branch means."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from segue.expr.sealed import opened
from segue.kernel import events as ev
from segue.kernel.block_params import short, whole_number
from segue.kernel.state import BlockState, StepState
from segue.kernel.status import STEP_ENDED_WELL

if TYPE_CHECKING:
    from segue.kernel.decider import Decider

# ---------------------------------------------------------------- choosing


def open_conditional(decider: Decider, step: StepState) -> None:
    """The first branch whose condition holds, `else` without one; what went before it is the reason. Raises StopNow."""
    reasons: list[str] = []
    for block in step.plan.blocks:
        if block.when is None:
            return _take(decider, step, block.index, f"took `{block.label}`: " + ("; ".join(reasons) or "always"))
        holds, why = decider.condition(block.when, step, block.label)
        if holds:
            return _take(decider, step, block.index, f"took `{block.label}`: its condition holds")
        reasons.append(f"`{block.label}` did not hold" + (f" ({why})" if why else ""))
    return decider.succeed(step, derived=True, reason="took no branch: " + "; ".join(reasons))


def open_switch(decider: Decider, step: StepState) -> None:
    """The branch of the first case that equals the value, else `default`. Raises StopNow."""
    sealed = decider.value(step.plan.programs["on"], step, "on")
    value = opened(sealed)
    default = None
    for block in step.plan.blocks:
        if block.label == "default":
            default = block
        elif _same(block.case, value):
            return _take(decider, step, block.index, f"took `{block.label}`")
    if default is not None:
        return _take(decider, step, default.index, f"took `default`: no case is {short(sealed)}")
    return decider.succeed(step, derived=True, reason=f"took no branch: no case is {short(sealed)}")


def _take(decider: Decider, step: StepState, block: int, reason: str) -> None:
    decider.emit(step.id, ev.BlocksOpened(blocks=(block,), reason=reason))


def _same(case: object, value: object) -> bool:
    """Equality as in expressions: `1 == 1.0`, but `true` is no number."""
    return isinstance(case, bool) == isinstance(value, bool) and case == value


def choice_ended(decider: Decider, owner: StepState, _block: BlockState) -> None:
    """The branch that was taken ended well, and so does its step."""
    decider.succeed(owner, derived=True, reason=owner.reason)


# ---------------------------------------------------------------- side by side


def open_parallel(decider: Decider, step: StepState) -> None:
    """As many branches as `limit` allows; the others follow as these end. Raises StopNow."""
    blocks = step.plan.blocks
    if not blocks:
        return decider.succeed(step, derived=True)
    count = min(whole_number(decider, step, "limit", len(blocks)), len(blocks))
    decider.emit(step.id, ev.BlocksOpened(blocks=tuple(block.index for block in blocks[:count])))
    return None


def parallel_ended(decider: Decider, owner: StepState, _block: BlockState) -> None:
    """A branch ended well: that is enough for `join`, or the next one begins."""
    join = owner.plan.step.params.get("join", "all")
    if are_enough(owner):
        if join == "first":
            for child in _branches(owner):
                if child.remaining and not child.closed:
                    decider.cancel_block(child, "another branch was first")
        return decider.succeed(owner, derived=True)
    return _next_branch_or_end(decider, owner)


def parallel_failed(decider: Decider, owner: StepState, block: BlockState) -> None:
    """A branch failed: at once for all (`fail: fast`), or once too few are left for `join`."""
    params = owner.plan.step.params
    join = params.get("join", "all")
    assert block.failure is not None
    if join == "all" and params.get("fail", "fast") == "fast":
        return decider.fail(owner, block.failure)
    enough = _needed(owner)
    failed = 0 if join == "all" else sum(1 for child in _branches(owner) if child.failure is not None)
    if failed and len(owner.plan.blocks) - failed < enough and params.get("fail", "fast") == "fast":
        message = f"{failed} of {len(owner.plan.blocks)} branches failed, too many for {enough} to end well: "
        message += block.failure.message
        return decider.fail(owner, msgspec.structs.replace(block.failure, message=message, step=None))
    return _next_branch_or_end(decider, owner)


def _next_branch_or_end(decider: Decider, owner: StepState) -> None:
    if are_enough(owner):  # those that a rewind kept are enough without this one
        decider.succeed(owner, derived=True)
        return
    opened = owner.next_item
    if opened < len(owner.plan.blocks):
        decider.emit(owner.id, ev.BlocksOpened(blocks=(owner.plan.blocks[opened].index,)))
        return
    if owner.open_blocks:
        return
    failures = [child.failure for child in _branches(owner) if child.failure is not None]
    if failures:
        good = len(_branches(owner)) - len(failures)
        if len(failures) > 1 or _needed(owner) < len(owner.plan.blocks):
            message = (
                f"{len(failures)} of {len(owner.plan.blocks)} branches failed, {good} ended well: {failures[0].message}"
            )
            decider.fail(owner, msgspec.structs.replace(failures[0], message=message, step=None))
        else:
            decider.fail(owner, failures[0])
    else:
        decider.succeed(owner, derived=True)


def _needed(owner: StepState) -> int:
    """How many branches must end well."""
    join = owner.plan.step.params.get("join", "all")
    return 1 if join in ("any", "first") else join if isinstance(join, int) else len(owner.plan.blocks)


def are_enough(owner: StepState) -> bool:
    """Whether as many branches have ended well as the `join` of a `parallel` asks for. They are counted only once that
    many can have, so that a fan-out whose branches must all end costs the same for each of them.
    """
    enough = _needed(owner)
    if len(owner.children or ()) - owner.open_blocks < enough:
        return False
    may_be_empty = enough == len(owner.plan.blocks)
    good = (
        child.remaining == 0 and child.failure is None and (may_be_empty or _did_something(child))
        for child in _branches(owner)
    )
    return sum(good) >= enough


def _did_something(branch: BlockState) -> bool:
    """A branch all of whose steps were skipped has nothing to give: it wins no race."""
    return any(step.status in STEP_ENDED_WELL for step in branch.nodes)


def _branches(owner: StepState) -> list[BlockState]:
    return [child for child in owner.children or () if child.plan.role == "branch"]
