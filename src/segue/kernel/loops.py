"""Loops: `foreach` over items, `repeat` by turns. What they open next, and when they are over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from segue.expr import Condition, Query
from segue.expr.sealed import opened, spread
from segue.flow.durations import format_duration
from segue.flow.model import JsonValue
from segue.kernel import events as ev
from segue.kernel.block_params import short, whole_number
from segue.kernel.durations import InvalidDuration, milliseconds_of
from segue.kernel.evaluate import StopNow, refuse_sealed, stop
from segue.kernel.outputs import derived_output
from segue.kernel.scope import RunScope, step_scope
from segue.kernel.state import BlockState, StepState, item_names

if TYPE_CHECKING:
    from segue.kernel.decider import Decider

DEFAULT_FOREACH_LIMIT: Final = 10
MAX_ITEMS: Final = 1_000_000
DEFAULT_MAX_TURNS: Final = 100

# ---------------------------------------------------------------- foreach


def open_foreach(decider: Decider, step: StepState) -> None:
    """Spread the items, and begin with as many as `limit` allows. Raises StopNow."""
    items: JsonValue = spread(decider.value(step.plan.programs["items"], step, "items"))
    if isinstance(items, dict):
        pairs: list[JsonValue] = [{"key": key, "value": value} for key, value in items.items()]
        items = pairs
    if not isinstance(items, list):
        raise stop("expression", f"items: a list or a map is needed, not {short(items)}")
    if len(items) > MAX_ITEMS:
        raise stop("validation", f"items: {len(items):,} are more than the {MAX_ITEMS:,} that one step may fan out to")
    count = min(len(items), whole_number(decider, step, "limit", DEFAULT_FOREACH_LIMIT))
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
            raise stop("expression", f"key: item {index} has {short(key)}, and a text or a whole number is needed")
        earlier = found.setdefault(str(key), index)
        if earlier != index:
            raise stop("validation", f"key: items {earlier} and {index} are both {short(str(key))}", "duplicate_key")
    return list(found)


def item_ended(decider: Decider, owner: StepState, _block: BlockState) -> None:
    """An item's steps ended well."""
    _next_item_or_end(decider, owner)


def item_failed(decider: Decider, owner: StepState, block: BlockState) -> None:
    """An item failed: as many as `tolerate` says do not matter. Raises StopNow."""
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


def _tolerance(decider: Decider, owner: StepState) -> JsonValue:
    """How many items may fail, as of the step's start."""
    program = owner.plan.programs.get("tolerate")
    if program is None:
        return owner.plan.step.params.get("tolerate", 0)
    found = opened(decider.value(program, owner, "tolerate", scope=step_scope(decider.state, owner)))
    is_share = isinstance(found, str) and found.endswith("%") and found[:-1].strip().isdecimal()
    is_count = isinstance(found, int) and not isinstance(found, bool) and found >= 0
    if not (is_share or is_count or found in ("all", "collect")):
        raise stop("expression", f"tolerate: a number, a share (`10%`), `all` or `collect`, not {short(found)}")
    return found


def _tolerated(tolerate: JsonValue, items: int) -> int:
    if tolerate in ("all", "collect"):
        return items
    if isinstance(tolerate, str) and tolerate.endswith("%"):
        return int(float(tolerate[:-1]) * items / 100)
    return tolerate if isinstance(tolerate, int) else 0


# ---------------------------------------------------------------- repeat


def open_turn(decider: Decider, step: StepState) -> None:
    """The next turn of a `repeat`, unless its `while` does not hold."""
    again = step.plan.conditions.get("while")
    if again is not None and not _in_last_turn(decider, step, again, "while"):
        return decider.succeed(step, derived=True, reason=f"ended after {step.next_item} turns: `while` does not hold")
    decider.emit(step.id, ev.BlocksOpened(blocks=(step.plan.blocks[0].index,), first=step.next_item))
    return None


def next_turn(decider: Decider, step: StepState) -> None:
    """The turn before it has been told."""
    try:
        open_turn(decider, step)
    except StopNow as stopped:
        decider.fail(step, stopped.failure)


def turn_ended(decider: Decider, owner: StepState, _block: BlockState) -> None:
    """A turn ended well: the loop is over, or the next turn begins, now or after `every`. Raises StopNow."""
    params, index = owner.plan.step.params, owner.next_item
    until = owner.plan.conditions.get("until")
    if until is not None and _in_last_turn(decider, owner, until, "until"):
        return decider.succeed(owner, derived=True, reason=f"ended after {index + 1} turns: `until` holds")
    bound = whole_number(decider, owner, "max", DEFAULT_MAX_TURNS)
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


def _in_last_turn(decider: Decider, step: StepState, condition: Condition | Query, label: str) -> bool:
    """A loop's condition sees the names of the turn that has just ended; before the first they are null."""
    if step.children:
        scope = RunScope(decider.state, step=step, block=step.children[-1])
    else:
        scope = RunScope(decider.state, step=step, extra=dict.fromkeys(step.plan.blocks[0].frame.names))
    return decider.condition(condition, step, label, scope=scope)[0]


def _milliseconds(value: object) -> int:
    try:
        return milliseconds_of(value)
    except InvalidDuration as error:
        raise stop("expression", str(error), "invalid_duration") from error
