"""Why a step is as it is: one small function a status (`STEPS`). See `segue.kernel.reasons`."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from segue.flow.durations import format_duration
from segue.kernel.plan import COMPOSITE_KINDS, NodePlan
from segue.kernel.reason_codes import Reason
from segue.kernel.reason_codes import ReasonCode as R
from segue.kernel.reason_words import (
    FAULT,
    counted,
    sources_of,
    told_attempt,
    told_failure,
    told_names,
    told_time,
    told_times,
    turn_keepers,
    what_helps,
)
from segue.kernel.recovery import leaves_by_error_edge, mended_by
from segue.kernel.state import RunState, StepState
from segue.kernel.status import STEP_FAILED, STEP_SETTLED, UNSETTLED, StepStatus


def _pending(state: RunState, step: StepState, _now: int) -> Reason:
    over = _over(state, step)
    if over is not None:
        return over
    open_sources = [source.plan.step.id for source in sources_of(step) if source.status not in STEP_SETTLED]
    waits = f"waits for {told_names(open_sources)}" if open_sources else "waits for the step before it"
    return Reason(R.STEP_WAITING_INPUTS, waits)


def _over(state: RunState, step: StepState) -> Reason | None:
    if state.ended:
        return Reason(R.STEP_NOT_REACHED, f"not reached: the run ended first ({state.status.replace('_', ' ')})")
    if step.block.closed:
        failure = step.block.failure
        cause = "the block around it was cancelled" if failure is None else f"`{failure.step or 'a step'}` failed first"
        return Reason(R.STEP_NOT_REACHED, f"not reached: {cause}")
    return None


def _ready(state: RunState, step: StepState, _now: int) -> Reason:
    over = _over(state, step)
    if over is not None:
        return over
    flow = state.plan.flow
    if state.paused:
        return _held(state)
    holders = [*state.active.values()] or turn_keepers(state)
    if holders and (flow.strategy != "parallel" or flow.concurrency is not None):
        limit = "" if flow.concurrency is None else f", at most {flow.concurrency} at once"
        what = (
            f"{counted(len(holders), 'step')} in flight" if state.active else f"`{holders[0].address}` is not settled"
        )
        return Reason(R.STEP_WAITING_SLOT, f"waits for its turn (strategy {flow.strategy}{limit}; {what})")
    return Reason(R.STEP_READY, "all it depends on is settled; it is about to start")


def _held(state: RunState) -> Reason:
    return Reason(R.STEP_HELD_BY_PAUSE, "could go on, and the run is paused", f"segue resume {state.run_id}")


def _step_running(state: RunState, step: StepState, _now: int) -> Reason:
    if step.id in state.active:
        if step.lost and step.tries == 1 and not step.polls:
            sentence = f"retried after its host stopped while attempt {step.attempt - 1} was in flight"
            return Reason(R.STEP_RETRIED_AFTER_HOST_STOPPED, sentence)
        since = "" if step.started_at is None else f"; the step began at {told_time(step.started_at)}"
        lost = f"; its host stopped {told_times(step.lost)} during earlier attempts" if step.lost else ""
        return Reason(R.STEP_IN_FLIGHT, f"{told_attempt(step)} is in flight{since}{lost}")
    if step.concluding is not None:
        ends = step.concluding.ends
        return Reason(R.STEP_FINALLY, f"its `finally` steps are running; then it is {ends}")
    if step.failing is not None:
        told = told_failure(step.failing.error)
        return Reason(R.STEP_LETTING_GO, f"{told}; `finally` steps of what was cancelled inside it are running")
    if step.handling is not None and step.error is not None:
        sentence = f"failed with {step.error.category}: {step.error.message}; its `on_error` steps are running"
        return Reason(R.STEP_HANDLING_ERROR, sentence)
    if step.plan.kind in COMPOSITE_KINDS:
        return Reason(R.STEP_BLOCKS_OPEN, _progress(step))
    return Reason(R.STEP_UNDECIDED, "has begun; the next event follows at once", FAULT)


def _progress(step: StepState) -> str:
    kind, done = step.plan.kind, step.next_item - step.open_blocks
    if kind == "foreach":
        failed = f", {len(step.tolerated)} of them failed and are tolerated" if step.tolerated else ""
        return f"{done} of {counted(len(step.items or ()), 'item')} done{failed}; {step.open_blocks} under way"
    if kind == "repeat":
        return f"turn {step.next_item + 1} is under way"
    if kind == "parallel":
        return f"{done} of {counted(len(step.plan.blocks), 'branch', 'branches')} done; {step.open_blocks} under way"
    last = step.children[-1].plan.label if step.children else None
    return "is about to open its block" if last is None else f"its block `{last}` is under way"


def _retrying(state: RunState, step: StepState, now: int) -> Reason:
    if step.waits_on == "lost" or step.error is None:
        sentence = f"to be retried: its host stopped while attempt {step.attempt} was in flight"
        return Reason(R.STEP_WAITING_RETRY, sentence)
    if state.paused and step.until is not None and step.until <= now:
        return _held(state)
    after = "at once" if step.until is None or step.until <= now else f"at {told_time(step.until)}"
    sentence = f"{told_attempt(step)} failed with {step.error.category}: {step.error.message}; next try {after}"
    return Reason(R.STEP_WAITING_RETRY, sentence, what_helps(state, step.error))


_FROM_OUTSIDE = ("callback", "child", "event")


def _step_waiting(state: RunState, step: StepState, now: int) -> Reason:
    if state.paused and step.until is not None and step.until <= now and step.waits_on not in _FROM_OUTSIDE:
        return _held(state)
    if step.id in state.awaiting:
        return _held(state) if state.paused else _awaiting(step)
    end = "" if step.until is None else told_time(step.until)
    if step.waits_on == "child":
        limit = f", until {end} at most" if end else ""
        return Reason(R.STEP_WAITING_FLOW, f"waiting for the flow's run {step.child}{limit}", f"segue why {step.child}")
    if step.waits_on == "event":
        limit = f", until {end} at most" if end else ""
        sentence = f"waiting for the event `{step.event}`{limit}"
        return Reason(R.STEP_WAITING_EVENT, sentence, f"segue emit {step.event}")
    if step.plan.kind == "approve":
        return _undecided(step, end)
    if step.waits_on == "callback":
        callback = step.plan.step.callback
        uses = 1 if callback is None else callback.uses
        have = f" ({len(step.signals or ())} of {uses} came)" if uses > 1 else ""
        sentence = f"waiting for callback of `{step.address}`{have}" + (f", expires {end}" if end else "")
        return Reason(R.STEP_WAITING_CALLBACK, sentence, "send the answer to the step's callback address")
    if step.waits_on == "poll":
        poll = step.plan.step.poll
        most = "" if poll is None else f" of {poll.max_attempts}"
        sentence = f"waiting for the outside job: asked {step.polls}{most} times, asked again at {end}"
        return Reason(R.STEP_WAITING_POLL, sentence)
    if step.waits_on == "every":
        return Reason(R.STEP_WAITING_TURN, f"waiting for turn {step.next_item + 1}, which begins at {end}")
    return Reason(R.STEP_WAITING_TIME, f"waiting until {end}")


def _undecided(step: StepState, end: str) -> Reason:
    callback, have = step.plan.step.callback, len(step.signals or ())
    need = 1 if callback is None else callback.uses
    people = "a person" if need == 1 else f"{need} people"
    count = f" ({have} of {need} approved)" if need > 1 else ""
    to = step.answer.get("to") if isinstance(step.answer, dict) else None
    who = f" of {', '.join(str(one) for one in to)}" if isinstance(to, list) and to else ""
    sentence = f"waiting for the decision of {people}{who}{count}" + (f", until {end}" if end else "")
    return Reason(R.STEP_WAITING_DECISION, sentence, "send the decision to the step's callback address")


def _awaiting(step: StepState) -> Reason:
    limits = step.plan.step.limits
    assert limits is not None
    what = [] if limits.concurrency is None else [f"at most {limits.concurrency} at once"]
    if limits.rate_count is not None:
        what.append(f"at most {limits.rate_count} within {format_duration(limits.rate_seconds)}")
    key = f" for key {step.slot_key}" if step.slot_key else ""
    next_one = "" if step.started_at is None else f" for attempt {step.attempt + 1}"
    return Reason(R.STEP_WAITING_SLOT, f"waits for a slot{next_one} ({', '.join(what)}{key})")


# ---------------------------------------------------------------- steps at their end


def _step_succeeded(state: RunState, step: StepState, _now: int) -> Reason:
    if step.undone == "running":
        return Reason(R.STEP_UNDOING, "ended well; its `compensate` steps are running")
    if step.undone == "done":
        return Reason(R.STEP_UNDONE, "ended well, and was undone by its `compensate` steps")
    if step.undone == "failed":
        why = "" if step.undo_error is None else f": {told_failure(step.undo_error)}"
        return Reason(R.STEP_NOT_UNDONE, f"ended well, and could not be undone{why}", f"segue undo {state.run_id}")
    why = step.edges_reason or step.reason
    if step.plan.kind in ("conditional", "switch", "branch") and why is not None:
        return Reason(R.STEP_TOOK_BRANCH, why)
    if step.cached_from is not None:
        return Reason(R.STEP_SUCCEEDED_FROM_CACHE, f"ended well without a call: {why}")
    if step.fallback:
        return Reason(R.STEP_SUCCEEDED_BY_FALLBACK, f"ended well: {why}")
    tries = f" in {told_attempt(step)}" if step.attempt > 1 else ""
    at = "" if step.ended_at is None else f" at {told_time(step.ended_at)}"
    times = "once" if step.lost == 1 else f"{step.lost} times"
    lost = f", made again under the same key after its host had stopped {times}" if step.lost else ""
    return Reason(R.STEP_SUCCEEDED, f"ended well{at}{tries}{lost}" + ("" if why is None else f": {why}"))


def _step_recovered(_state: RunState, step: StepState, _now: int) -> Reason:
    error = step.error
    what = "failed" if error is None else f"failed with {error.category}: {error.message}"
    if leaves_by_error_edge(step):
        return Reason(R.STEP_RECOVERED_BY_ERROR_EDGE, f"{what}; the edge for errors was taken")
    block = mended_by(step)
    if block is None and error is not None and error.category == "timeout" and _on_timeout(step) != "fail":
        return Reason(R.STEP_RECOVERED_AFTER_TIMEOUT, f"{error.message}; `on_timeout: {_on_timeout(step)}`")
    if block is None and step.plan.step.has_default:
        return Reason(R.STEP_RECOVERED_BY_DEFAULT, f"{what}; its `default` stands in")
    # Of a step that was kept from another run, what its blocks gave is known, and not always the blocks.
    if step.plan.kind == "try" and (block is None or block.plan.role == "catch"):
        return Reason(R.STEP_RECOVERED_BY_CATCH, f"{what}; its `catch` block ended well")
    return Reason(R.STEP_RECOVERED_BY_HANDLER, f"{what}; its `on_error` steps ended well")


def _on_timeout(step: StepState) -> str:
    plan = step.plan.step
    if plan.timeout is not None and plan.timeout.on_timeout != "fail":
        return plan.timeout.on_timeout
    return "fail" if plan.callback is None else plan.callback.on_timeout


def _skipped(_state: RunState, step: StepState, _now: int) -> Reason:
    if step.plan.step.disabled and step.reason == "the step is disabled":
        return Reason(R.STEP_SKIPPED_DISABLED, "skipped: it is disabled", "take `disabled` off the step")
    if step.slot_key is not None:
        return Reason(R.STEP_SKIPPED_LIMIT, f"skipped: {step.reason}")
    if not step.dead:
        return Reason(R.STEP_SKIPPED_CONDITION, f"skipped: {step.reason or 'its condition was not met'}")
    sources = sources_of(step)
    failed = [source.plan.step.id for source in sources if source.status in STEP_FAILED]
    if failed:
        return Reason(R.STEP_SKIPPED_DEPENDENCY, f"skipped: {told_names(failed)}, which it depends on, failed")
    if step.broken:
        skipped = told_names(source.plan.step.id for source in sources if source.broken)
        return Reason(
            R.STEP_SKIPPED_DEPENDENCY, f"skipped: {skipped}, which it depends on, was skipped after a failure"
        )
    chosen = next((f": `{one.plan.step.id}` {one.edges_reason}" for one in sources if one.edges_reason), "")
    sentence = f"skipped: {step.reason or 'no path to it was taken'}{chosen}"
    return Reason(R.STEP_SKIPPED_PATH, sentence)


def _step_failed(state: RunState, step: StepState, _now: int) -> Reason:
    error = step.error
    if error is None:
        return Reason(R.STEP_FAILED, "failed")
    helps = what_helps(state, error)
    if error.step not in (None, step.address):
        return Reason(R.STEP_FAILED_INSIDE, f"failed: {told_failure(error)}", helps)
    if error.code in ("limit_reached", "slot_taken"):
        return Reason(R.STEP_FAILED_LIMIT, f"failed: {error.message}", helps)
    retry = step.plan.step.retry
    if retry is not None and step.tries >= retry.max_attempts > 1:
        # A handler that says `then: retry` may add one to those that `retry` allows.
        most = f" of {retry.max_attempts}" if step.tries <= retry.max_attempts else ""
        sentence = f"failed after {step.tries}{most} tries with {error.category}: {error.message}"
        return Reason(R.STEP_FAILED_AFTER_RETRIES, sentence, helps)
    return Reason(R.STEP_FAILED, f"failed with {error.category}: {error.message}", helps)


def _unknown_outcome(state: RunState, step: StepState, _now: int) -> Reason:
    message = "an attempt was cut off" if step.error is None else step.error.message
    action = f"look in the outside system whether it took effect; if it did not, `segue retry {state.run_id}`"
    return Reason(R.STEP_UNKNOWN_OUTCOME, f"outcome unknown: {message}", action)


def _cancelled(_state: RunState, step: StepState, _now: int) -> Reason:
    why = f": {step.reason}" if step.reason else ""
    cleaning = "; its `finally` steps are running" if step.open_blocks else ""
    return Reason(R.STEP_CANCELLED, f"cancelled{why}{cleaning}")


def _timed_out(_state: RunState, step: StepState, _now: int) -> Reason:
    error = step.error
    message = "its time ran out" if error is None else error.message
    if error is not None and error.code == "callback_expired":
        action = "raise the callback's `expires`, or say with `on_timeout` what happens then"
        return Reason(R.STEP_CALLBACK_EXPIRED, f"timed out: {message}", action)
    return Reason(R.STEP_TIMED_OUT, f"timed out: {message}", "raise the step's `timeout`")


STEPS: dict[StepStatus, Callable[[RunState, StepState, int], Reason]] = {
    StepStatus.PENDING: _pending,
    StepStatus.READY: _ready,
    StepStatus.RUNNING: _step_running,
    StepStatus.RETRYING: _retrying,
    StepStatus.WAITING: _step_waiting,
    StepStatus.SUCCEEDED: _step_succeeded,
    StepStatus.RECOVERED: _step_recovered,
    StepStatus.SKIPPED: _skipped,
    StepStatus.FAILED: _step_failed,
    StepStatus.UNKNOWN_OUTCOME: _unknown_outcome,
    StepStatus.CANCELLED: _cancelled,
    StepStatus.TIMED_OUT: _timed_out,
}


# ---------------------------------------------------------------- steps of blocks that were never opened


def explain_unopened(node: NodePlan, state: RunState) -> Reason:
    """Why a step has no instance: the block around it was not opened (yet)."""
    owner, role = node.block.owner, node.block.role
    if owner is None:
        return _unopened_at_top(role, state)
    instance = next((one for one in reversed(state.nodes) if one.plan is owner and not one.block.gone), None)
    if instance is None:
        outer = explain_unopened(owner, state)
        return msgspec.structs.replace(outer, sentence=f"stands in `{owner.step.id}`: {outer.sentence}", action=None)
    if role == "compensate":
        sentence = f"not needed: undoes `{instance.address}`, if the run ends badly or is to be undone"
        return Reason(R.STEP_UNDO_NOT_NEEDED, sentence)
    if role in ("handler", "catch"):
        if instance.status in STEP_SETTLED:
            sentence = f"not needed: `{instance.address}` ended as {instance.status.replace('_', ' ')}"
        else:
            sentence = f"runs only if `{instance.address}` fails"
        return Reason(R.STEP_HANDLER_NOT_NEEDED, sentence)
    if instance.status in STEP_SETTLED and owner.kind in ("conditional", "switch") and instance.reason is not None:
        return Reason(R.STEP_BRANCH_NOT_TAKEN, f"not run: `{instance.address}` {instance.reason}")
    if instance.status is StepStatus.SUCCEEDED and role == "body":
        return Reason(R.STEP_NO_ITEMS, f"not run: `{instance.address}` had nothing to loop over")
    return _unopened_inside(instance, state)


def _unopened_at_top(role: str, state: RunState) -> Reason:
    if role == "root":
        over = f"the run ended first ({state.status.replace('_', ' ')})" if state.ended else "the run has not begun"
        return Reason(R.STEP_NOT_REACHED if state.ended else R.STEP_NOT_REACHED_YET, f"not reached: {over}")
    if role == "flow_on_error":
        sentence = "not needed: no error reached the top" if state.ended else "runs only if an error reaches the top"
        return Reason(R.STEP_HANDLER_NOT_NEEDED, sentence)
    return Reason(R.STEP_NOT_REACHED_YET, "runs at the end of the run")


def _unopened_inside(owner: StepState, state: RunState) -> Reason:
    if owner.status in STEP_SETTLED or state.ended:
        how = f"ended as {owner.status.replace('_', ' ')}" if owner.status in STEP_SETTLED else "was not reached"
        return Reason(R.STEP_NOT_REACHED, f"not reached: `{owner.address}` {how}")
    if owner.plan.kind in ("conditional", "switch") and owner.children:
        return Reason(R.STEP_BRANCH_NOT_TAKEN, f"not run: `{owner.address}` {owner.reason or 'took another branch'}")
    if owner.plan.kind == "parallel" and owner.children:
        sentence = f"waits until an open branch of `{owner.address}` ends ({owner.open_blocks} under way)"
        return Reason(R.STEP_WAITING_SLOT, sentence)
    begun = "has not opened this block yet" if owner.status in UNSETTLED else "has not begun"
    return Reason(R.STEP_NOT_REACHED_YET, f"not reached yet: `{owner.address}` {begun}")
