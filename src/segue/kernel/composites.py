"""Steps that own blocks: what is opened when, and what the end or the failure of a block means for its owner.

A block knows its role; the owner's kind says what follows. Names follow `dsl.md` section 3 and `semantics` (Paths,
Outputs).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from segue.expr import Condition, Query
from segue.expr.sealed import opened, shown, spread
from segue.flow.durations import format_duration
from segue.flow.model import Block, JsonValue, Step
from segue.kernel import compensation
from segue.kernel import events as ev
from segue.kernel.durations import InvalidDuration, milliseconds_of
from segue.kernel.evaluate import StopNow, refuse_sealed, stop
from segue.kernel.outputs import block_output, derived_output
from segue.kernel.plan import COMPOSITE_KINDS, THEN_WORDS, WAIT_KINDS, BlockPlan
from segue.kernel.retry import matches
from segue.kernel.scope import RunScope, step_scope
from segue.kernel.state import BlockState, RunState, StepState, item_names
from segue.kernel.status import STEP_SETTLED

if TYPE_CHECKING:
    from segue.kernel.decider import Decider

DEFAULT_FOREACH_LIMIT = 10
MAX_ITEMS = 1_000_000
DEFAULT_MAX_TURNS = 100


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


def _open_parallel(decider: Decider, step: StepState) -> None:
    blocks = step.plan.blocks
    if not blocks:
        return decider.succeed(step, derived=True)
    count = min(_count(decider, step, "limit", len(blocks)), len(blocks))
    decider.emit(step.id, ev.BlocksOpened(blocks=tuple(block.index for block in blocks[:count])))
    return None


def _open_conditional(decider: Decider, step: StepState) -> None:
    reasons: list[str] = []
    for block in step.plan.blocks:
        if block.when is None:
            return _take(decider, step, block.index, f"took `{block.label}`: " + ("; ".join(reasons) or "always"))
        holds, why = decider.condition(block.when, step, block.label)
        if holds:
            return _take(decider, step, block.index, f"took `{block.label}`: its condition holds")
        reasons.append(f"`{block.label}` did not hold" + (f" ({why})" if why else ""))
    return decider.succeed(step, derived=True, reason="took no branch: " + "; ".join(reasons))


def _open_switch(decider: Decider, step: StepState) -> None:
    sealed = decider.value(step.plan.programs["on"], step, "on")
    value = opened(sealed)
    default = None
    for block in step.plan.blocks:
        if block.label == "default":
            default = block
        elif _same(block.case, value):
            return _take(decider, step, block.index, f"took `{block.label}`")
    if default is not None:
        return _take(decider, step, default.index, f"took `default`: no case is {_short(sealed)}")
    return decider.succeed(step, derived=True, reason=f"took no branch: no case is {_short(sealed)}")


def _take(decider: Decider, step: StepState, block: int, reason: str) -> None:
    decider.emit(step.id, ev.BlocksOpened(blocks=(block,), reason=reason))


def _same(case: object, value: object) -> bool:
    """Equality as in expressions: `1 == 1.0`, but `true` is no number."""
    return isinstance(case, bool) == isinstance(value, bool) and case == value


def _short(value: object) -> str:
    text = msgspec.json.encode(shown(value)).decode()
    return text if len(text) <= 60 else text[:57] + "…"


def _open_foreach(decider: Decider, step: StepState) -> None:
    items: JsonValue = spread(decider.value(step.plan.programs["items"], step, "items"))
    if isinstance(items, dict):
        pairs: list[JsonValue] = [{"key": key, "value": value} for key, value in items.items()]
        items = pairs
    if not isinstance(items, list):
        raise stop("expression", f"items: a list or a map is needed, not {_short(items)}")
    if len(items) > MAX_ITEMS:
        raise stop("validation", f"items: {len(items):,} are more than the {MAX_ITEMS:,} that one step may fan out to")
    count = min(len(items), _count(decider, step, "limit", DEFAULT_FOREACH_LIMIT))
    keys = _keys(decider, step, items)
    decider.emit(step.id, ev.BlocksOpened(first=0, count=count, items=items, keys=keys))
    if not items:
        _fan_in(decider, step)


def _keys(decider: Decider, step: StepState, items: list[JsonValue]) -> list[str] | None:
    """What each item is called, if the fan-out says so: its steps are addressed by it, whatever its place is."""
    program = step.plan.programs.get("key")
    if program is None:
        return None
    found: dict[str, int] = {}
    for index, item in enumerate(items):
        scope = RunScope(decider.state, step=step, extra=item_names(step, index, item))
        key = decider.value(program, step, "key", scope=scope)
        refuse_sealed(key, "key")
        if isinstance(key, bool) or not isinstance(key, str | int):
            raise stop("expression", f"key: item {index} has {_short(key)}, and a text or a whole number is needed")
        earlier = found.setdefault(str(key), index)
        if earlier != index:
            raise stop("validation", f"key: items {earlier} and {index} are both {_short(str(key))}", "duplicate_key")
    return list(found)


def _count(decider: Decider, step: StepState, name: str, default: int) -> int:
    """A number that a step's parameter gives, as of the step's start: the same each time it is asked for."""
    program = step.plan.programs.get(name)
    if program is None:
        return default
    count = opened(decider.value(program, step, name, scope=step_scope(decider.state, step)))
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise stop("expression", f"{name}: a whole number above 0 is needed, not {_short(count)}")
    return count


def _open_repeat(decider: Decider, step: StepState) -> None:
    open_turn(decider, step)


def next_turn(decider: Decider, step: StepState) -> None:
    """The turn before it has been told."""
    try:
        open_turn(decider, step)
    except StopNow as stopped:
        decider.fail(step, stopped.failure)


def open_turn(decider: Decider, step: StepState) -> None:
    """The next turn of a `repeat`, unless its `while` does not hold."""
    again = step.plan.conditions.get("while")
    if again is not None and not _in_last_turn(decider, step, again, "while"):
        return decider.succeed(step, derived=True, reason=f"ended after {step.next_item} turns: `while` does not hold")
    decider.emit(step.id, ev.BlocksOpened(blocks=(step.plan.blocks[0].index,), first=step.next_item))
    return None


def _in_last_turn(decider: Decider, step: StepState, condition: Condition | Query, label: str) -> bool:
    """A loop's condition sees the names of the turn that has just ended; before the first they are null."""
    if step.children:
        scope = RunScope(decider.state, step=step, block=step.children[-1])
    else:
        scope = RunScope(decider.state, step=step, extra=dict.fromkeys(step.plan.blocks[0].frame.names))
    return decider.condition(condition, step, label, scope=scope)[0]


def _open_try(decider: Decider, step: StepState) -> None:
    _open_role(decider, step, "do")


def _open_role(decider: Decider, step: StepState, label: str) -> bool:
    for block in step.plan.blocks:
        if block.label == label:
            decider.emit(step.id, ev.BlocksOpened(blocks=(block.index,)))
            return True
    return False


_OPEN: dict[str, Callable[[Decider, StepState], None]] = {
    "parallel": _open_parallel,
    "conditional": _open_conditional,
    "switch": _open_switch,
    "foreach": _open_foreach,
    "repeat": _open_repeat,
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
        raise stop("expression", f"then: continue, fail or retry is needed, not {_short(then)}")
    return then


def _parallel_ended(decider: Decider, owner: StepState, _block: BlockState) -> None:
    join = owner.plan.step.params.get("join", "all")
    enough = _needed(owner, join)
    if _is_enough(owner, enough):
        if join == "first":
            for child in _branches(owner):
                if child.remaining and not child.closed:
                    decider.cancel_block(child, "another branch was first")
        return decider.succeed(owner, derived=True)
    return _next_branch_or_end(decider, owner, enough)


def _needed(owner: StepState, join: object) -> int:
    """How many branches must end well."""
    return 1 if join in ("any", "first") else join if isinstance(join, int) else len(owner.plan.blocks)


def _is_enough(owner: StepState, enough: int) -> bool:
    """Whether so many branches have ended well. They are counted only once that many can have, so that a fan-out whose
    branches must all end costs the same for each of them.
    """
    if len(owner.children or ()) - owner.open_blocks < enough:
        return False
    return sum(1 for child in _branches(owner) if child.remaining == 0 and child.failure is None) >= enough


def _branches(owner: StepState) -> list[BlockState]:
    return [child for child in owner.children or () if child.plan.role == "branch"]


def _next_branch_or_end(decider: Decider, owner: StepState, enough: int) -> None:
    if _is_enough(owner, enough):  # those that a rewind kept are enough without this one
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
        if len(failures) > 1 or enough < len(owner.plan.blocks):
            message = (
                f"{len(failures)} of {len(owner.plan.blocks)} branches failed, {good} ended well: {failures[0].message}"
            )
            decider.fail(owner, msgspec.structs.replace(failures[0], message=message, step=None))
        else:
            decider.fail(owner, failures[0])
    else:
        decider.succeed(owner, derived=True)


def _branch_ended(decider: Decider, owner: StepState, _block: BlockState) -> None:
    decider.succeed(owner, derived=True, reason=owner.reason)


def _item_ended(decider: Decider, owner: StepState, _block: BlockState) -> None:
    _next_item_or_end(decider, owner)


def _next_item_or_end(decider: Decider, owner: StepState) -> None:
    items = owner.items or []
    if owner.next_item < len(items):
        decider.emit(owner.id, ev.BlocksOpened(first=owner.next_item, count=1))
    elif not owner.open_blocks:
        _fan_in(decider, owner)


def _fan_in(decider: Decider, owner: StepState) -> None:
    aggregate = owner.plan.programs.get("aggregate")
    tolerated = len(owner.tolerated or ())
    reason = f"{tolerated} of {len(owner.items or ())} items failed and were tolerated" if tolerated else None
    if aggregate is None:
        return decider.succeed(owner, derived=True, reason=reason)
    scope = RunScope(decider.state, step=owner, extra={"results": derived_output(decider.state, owner)})
    return decider.succeed(owner, decider.value(aggregate, owner, "aggregate", scope=scope), reason=reason)


def _turn_ended(decider: Decider, owner: StepState, _block: BlockState) -> None:
    params, index = owner.plan.step.params, owner.next_item
    until = owner.plan.conditions.get("until")
    if until is not None and _in_last_turn(decider, owner, until, "until"):
        return decider.succeed(owner, derived=True, reason=f"ended after {index + 1} turns: `until` holds")
    bound = _count(decider, owner, "max", DEFAULT_MAX_TURNS)
    if index + 1 >= bound:
        again = owner.plan.conditions.get("while")
        if again is not None and not _in_last_turn(decider, owner, again, "while"):
            return decider.succeed(owner, derived=True, reason=f"ended after {index + 1} turns: `while` does not hold")
        if until is None and again is None:
            return decider.succeed(owner, derived=True, reason=f"ended after {index + 1} turns, as `max` says")
        raise stop(
            "timeout", f"{index + 1} turns were made and the loop's condition did not end it", "repeat_exhausted"
        )
    started = owner.started_at if owner.started_at is not None else decider.now
    every = params.get("every")
    next_at = None if every is None else decider.now + _milliseconds(every)
    within = _milliseconds(params["within"]) if "within" in params else None
    if within is not None and (next_at or decider.now) - started >= within:
        limit = format_duration(within / 1000)
        raise stop("timeout", f"the loop's condition did not end it within {limit}", "repeat_exhausted")
    decider.emit(owner.id, ev.IterationEnded(index=index, next_at=next_at))
    if next_at is None:
        open_turn(decider, owner)
    return None


def _milliseconds(value: object) -> int:
    try:
        return milliseconds_of(value)
    except InvalidDuration as error:
        raise stop("expression", str(error), "invalid_duration") from error


def _try_ended(decider: Decider, owner: StepState, block: BlockState) -> None:
    if block.plan.role == "catch":
        guarded = next(child for child in owner.children or () if child.plan.label == "do")
        decider.recover(owner, block_output(block), error=guarded.failure)
    else:
        decider.succeed(owner, derived=True)


_ENDED: dict[str, Callable[[Decider, StepState, BlockState], None]] = {
    "parallel": _parallel_ended,
    "conditional": _branch_ended,
    "switch": _branch_ended,
    "foreach": _item_ended,
    "repeat": _turn_ended,
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


def _parallel_failed(decider: Decider, owner: StepState, block: BlockState) -> None:
    params = owner.plan.step.params
    join = params.get("join", "all")
    assert block.failure is not None
    if join == "all" and params.get("fail", "fast") == "fast":
        return decider.fail(owner, block.failure)
    enough = _needed(owner, join)
    failed = 0 if join == "all" else sum(1 for child in _branches(owner) if child.failure is not None)
    if failed and len(owner.plan.blocks) - failed < enough and params.get("fail", "fast") == "fast":
        message = f"{failed} of {len(owner.plan.blocks)} branches failed, too many for {enough} to end well: "
        message += block.failure.message
        return decider.fail(owner, msgspec.structs.replace(block.failure, message=message, step=None))
    return _next_branch_or_end(decider, owner, enough)


def _item_failed(decider: Decider, owner: StepState, block: BlockState) -> None:
    assert block.failure is not None
    tolerate = _tolerance(decider, owner)
    allowed = _tolerated(tolerate, len(owner.items or ()))
    failed = len(owner.tolerated or ()) + 1
    if failed > allowed:
        if allowed == 0:
            return decider.fail(owner, block.failure)
        message = f"{failed} of {len(owner.items or ())} items failed, {allowed} are tolerated: {block.failure.message}"
        return decider.fail(owner, msgspec.structs.replace(block.failure, message=message, step=None))
    collect = {"error": msgspec.to_builtins(block.failure)} if tolerate == "collect" else None
    decider.emit(owner.id, ev.IterationEnded(index=block.index, error=block.failure, output=collect))
    return _next_item_or_end(decider, owner)


def _tolerance(decider: Decider, owner: StepState) -> JsonValue:
    """How many items may fail, as of the step's start."""
    program = owner.plan.programs.get("tolerate")
    if program is None:
        return owner.plan.step.params.get("tolerate", 0)
    found = opened(decider.value(program, owner, "tolerate", scope=step_scope(decider.state, owner)))
    is_share = isinstance(found, str) and found.endswith("%") and found[:-1].strip().isdecimal()
    is_count = isinstance(found, int) and not isinstance(found, bool) and found >= 0
    if not (is_share or is_count or found in ("all", "collect")):
        raise stop("expression", f"tolerate: a number, a share (`10%`), `all` or `collect`, not {_short(found)}")
    return found


def _tolerated(tolerate: JsonValue, items: int) -> int:
    if tolerate in ("all", "collect"):
        return items
    if isinstance(tolerate, str) and tolerate.endswith("%"):
        return int(float(tolerate[:-1]) * items / 100)
    return tolerate if isinstance(tolerate, int) else 0


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
    "parallel": _parallel_failed,
    "foreach": _item_failed,
    "try": _try_failed,
}
