"""What must hold of every run at every moment, whatever fails around it."""

from __future__ import annotations

from collections.abc import Sequence

from segue.kernel.reasons import explain_run
from segue.kernel.state import RunState, StepState
from segue.kernel.status import STEP_SETTLED, RunStatus, StepStatus
from segue.store.port import JournalRow


class InvariantError(AssertionError):
    """Something that must always hold does not."""


def fingerprint(state: RunState) -> tuple[object, ...]:
    """All of a state that decisions are made from; equal for equal states."""
    return (
        state.seq, state.status, state.phase, state.paused, state.seed, state.inputs, state.vars, state.outputs,
        state.error, state.recovered, state.cancelling, state.ending, state.compensating, state.undoing,
        state.reopened, state.background, state.accepted_at, state.started_at,
        state.finished_at, sorted(state.timers.items()), sorted(state.active), sorted(state.ready), sorted(state.dead),
        sorted(state.awaiting), state.queued,
        [_fingerprint(one) for one in state.nodes],
    )  # fmt: skip


def _fingerprint(one: StepState) -> tuple[object, ...]:
    return (
        one.address, one.status, one.waiting, one.live, one.attempt, one.tries, one.lost, one.polls, one.generation,
        one.started_at, one.ended_at, one.started_seq, one.settled_seq, one.output, one.error, one.vars, one.waits_on,
        one.until, one.child, one.event, one.since, one.reminded, one.callback, one.signals, one.handling,
        one.open_blocks, one.next_item, one.results, one.keys, one.concluding, one.failing, one.finishing,
        one.inner_generation, one.undone, one.undo_error, one.vars_after, one.slot_key, one.fallback, one.cache_key,
    )  # fmt: skip


def check_growth(run_id: str, before: Sequence[JournalRow], now: Sequence[JournalRow]) -> None:
    """A journal only grows: no event is lost, changed or given another place."""
    if list(now[: len(before)]) != list(before):
        raise InvariantError(f"the journal of {run_id} lost or changed events: it had {len(before)}, has {len(now)}")
    if [row.seq for row in now] != list(range(len(now))):
        raise InvariantError(f"the journal of {run_id} has a gap")


def check_fold(kept: RunState, live: RunState) -> None:
    """The journal folds to the state in memory."""
    ours, theirs = fingerprint(kept), fingerprint(live)
    if ours != theirs:
        differing = [(one, two) for one, two in zip(ours, theirs, strict=True) if one != two]
        raise InvariantError(f"the journal of {kept.run_id} folds to another state than the one in memory: {differing}")


def check_reason(state: RunState, now: int) -> None:
    """A run that is not over does something, or waits for something that it can name."""
    if state.ended:
        open_steps = [one.address for one in state.nodes if one.status not in STEP_SETTLED | {StepStatus.PENDING}]
        if open_steps or state.timers or state.active:
            raise InvariantError(f"run {state.run_id} is over, but {open_steps or state.timers} are not")
        return
    reason = explain_run(state, now)
    if reason.code == "run-undecided":
        raise InvariantError(f"run {state.run_id} neither does nor waits for anything: {reason.sentence}")
    waits_for_child = any(one.status is StepStatus.WAITING and one.waits_on == "child" for one in state.nodes)
    is_waited_for = waits_for_child or state.awaiting
    if state.status is RunStatus.WAITING and state.next_due() is None and not is_waited_for:
        raise InvariantError(f"run {state.run_id} waits without an end: {reason.sentence}")


def check_attempt(kept: RunState, address: str, attempt: int) -> StepState:
    """An attempt is made only when its start is kept, and never of a step that is over. Gives the step."""
    found = next((one for one in reversed(kept.nodes) if one.address == address and one.id in kept.active), None)
    if found is None or found.attempt != attempt:
        states = [(one.status.value, one.attempt) for one in kept.nodes if one.address == address]
        raise InvariantError(
            f"attempt {attempt} of {address} in {kept.run_id} is made, but its journal says {states or 'nothing'}"
        )
    return found
