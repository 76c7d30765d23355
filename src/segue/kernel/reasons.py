"""Why a run or a step is as it is: one sentence of facts, a stable code, and what helps.

Computed from the folded state alone, so it can be asked of any run at any time, and of any past state too. Codes are in
`segue.kernel.reason_codes`; sentences are for people and may change. Each status has one small function (`STEPS`,
`_RUNS`), so that a status without a reason is a missing key, which a test sees.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from segue.errors import JournalCorruptError
from segue.kernel.events import CompensationStarted
from segue.kernel.kept import origin_told
from segue.kernel.reason_codes import Reason
from segue.kernel.reason_codes import ReasonCode as R
from segue.kernel.reason_words import (
    FAULT,
    FREE_SLOT,
    GO_ON,
    RETRY,
    ROLL_BACK,
    SAME_TIME_AGAIN,
    START_AGAIN,
    counted,
    steps_being,
    told_failure,
    told_names,
    told_time,
    told_times,
    turn_keepers,
)
from segue.kernel.state import Rewinding, RunState, StepState
from segue.kernel.status import STEP_FAILED, RunStatus, StepStatus
from segue.kernel.step_reasons import STEPS


def explain_run(state: RunState, now: int) -> Reason:
    """Why the run is as it is at `now` (ms since the epoch)."""
    reason = _RUNS[state.status](state, now)
    sentence = reason.sentence
    if state.keeping is not None:
        sentence += f"; {origin_told(state.keeping.origin)}"
    if state.rewound is not None:
        sentence += f"; {told_rewind(state.rewound)}"
    if state.takeovers and state.ended:
        sentence += f"; taken over {told_times(state.takeovers)} after its host had stopped"
    return reason if sentence == reason.sentence else msgspec.structs.replace(reason, sentence=sentence)


def told_rewind(rewound: Rewinding) -> str:
    """What a rewind did, in facts."""
    to = (
        f" to {told_names(rewound.to)}"
        if rewound.how == "rewind"
        else f" from {told_names(rewound.to)}"
        if rewound.to
        else ""
    )
    what = ("rewound" if rewound.how == "rewind" else "retried") + to
    by = "" if rewound.by is None else f" by {rewound.by}"
    why = "" if rewound.reason is None else f" ({rewound.reason})"
    return f"{what} at {told_time(rewound.at)}{by}{why}: {counted(rewound.taken_back, 'step')} taken back"


def explain_step(state: RunState, step: StepState, now: int) -> Reason:
    """Why this instance of a step is as it is at `now` (ms since the epoch)."""
    if step.block.gone:
        return Reason(R.STEP_TAKEN_BACK, f"taken back by a rewind; it was {step.status.replace('_', ' ')} until then")
    return STEPS[step.status](state, step, now)


def explain_quarantined(run_id: str, error: JournalCorruptError) -> Reason:
    """Why a run whose journal does not fold cannot be shown."""
    return Reason(R.RUN_QUARANTINED, f"quarantined: {error.message}", ROLL_BACK % (run_id, error.last_valid_seq))


# ---------------------------------------------------------------- runs


def _queued(state: RunState, _now: int) -> Reason:
    queued = state.queued
    if queued is not None and queued.until is not None:
        return Reason(R.RUN_QUEUED_TIME, f"accepted and kept: {queued.reason}")
    if queued is not None:
        return Reason(R.RUN_QUEUED_SLOT, f"accepted and kept: {queued.reason}", FREE_SLOT)
    accepted = "" if state.accepted_at is None else f" since {told_time(state.accepted_at)}"
    return Reason(R.RUN_QUEUED, f"accepted and kept{accepted}; no host has begun it yet")


def _running(state: RunState, now: int) -> Reason:
    phase = _phase(state)
    if phase is not None:
        return phase
    if state.active:
        steps = list(state.active.values())
        what = f"{counted(len(steps), 'attempt')} in flight: {told_names(step.address for step in steps)}"
        return Reason(R.RUN_IN_FLIGHT, what)
    if state.ready and not turn_keepers(state):
        ready = [step.address for step in state.ready.values()]
        return Reason(R.RUN_STARTING, f"about to start {told_names(ready)}")
    return _waiting(state, now)


def _phase(state: RunState) -> Reason | None:
    """Once the steps are over, what the run does is said by its phase rather than by its steps."""
    if state.ending is not None:
        how = state.ending.outcome.replace("_", " ")
        return Reason(R.RUN_LETTING_GO, f"ends as {how} once the `finally` steps of what was cancelled are over")
    if state.phase == "compensation" and state.compensating is not None:
        return _undoing(state, state.compensating)
    if state.phase == "finally" and state.outcome is not None:
        how = state.outcome.outcome.replace("_", " ")
        cause = "" if state.outcome.error is None else f" ({told_failure(state.outcome.error)})"
        return Reason(R.RUN_FINALLY, f"its `finally` steps are running; then it ends as {how}{cause}")
    if state.phase == "handlers" and state.flow_error is not None:
        sentence = f"{told_failure(state.flow_error)}; the flow's `on_error` steps are running"
        return Reason(R.RUN_HANDLING_ERROR, sentence)
    return None


def _undoing(state: RunState, started: CompensationStarted) -> Reason:
    steps = [state.nodes[number] for number in started.steps]
    over = sum(1 for step in steps if step.undone in ("done", "failed"))
    now = next((f"undoes `{step.address}`" for step in steps if step.undone == "running"), "undoes what was done")
    cause = "" if started.error is None else f" ({told_failure(started.error)})"
    how = f"ends as {started.outcome.replace('_', ' ')}{cause}"
    if started.back:
        how = f"goes back to {told_names(state.nodes[number].address for number in started.back)}"
    return Reason(R.RUN_UNDOING, f"{now}, {over} of {counted(len(steps), 'step')} are over; then it {how}")


def _undone(state: RunState) -> str:
    """What the end of a run says of what it undid."""
    done = [step.address for step in state.standing if step.undone == "done"]
    failed = [step.address for step in state.standing if step.undone not in (None, "done")]
    told = f"; undone: {told_names(done)}" if done else ""
    return told + (f"; could not be undone: {told_names(failed)}" if failed else "")


def _waiting(state: RunState, now: int) -> Reason:
    phase = _phase(state)
    if phase is not None:
        return phase
    waits = [step for step in state.standing if step.status in (StepStatus.WAITING, StepStatus.RETRYING)]
    if not waits:
        sentence = "nothing is in flight and no timer is open; the next event follows at once"
        return Reason(R.RUN_UNDECIDED, sentence, FAULT)
    first = min(waits, key=lambda step: (step.until is None, step.until or 0, step.id))
    reason = explain_step(state, first, now)
    more = (
        f"; {counted(len(waits) - 1, 'other step')} {'waits' if len(waits) == 2 else 'wait'} too" if waits[1:] else ""
    )
    code = _RUN_WAITS.get(reason.code, R.RUN_WAITING_TIME)
    return Reason(code, f"`{first.address}`: {reason.sentence}{more}", reason.action)


_RUN_WAITS = {
    R.STEP_WAITING_DECISION: R.RUN_WAITING_DECISION,
    R.STEP_WAITING_EVENT: R.RUN_WAITING_EVENT,
    R.STEP_WAITING_FLOW: R.RUN_WAITING_FLOW,
    R.STEP_WAITING_CALLBACK: R.RUN_WAITING_CALLBACK,
    R.STEP_WAITING_RETRY: R.RUN_WAITING_RETRY,
    R.STEP_WAITING_POLL: R.RUN_WAITING_POLL,
    R.STEP_WAITING_SLOT: R.RUN_WAITING_SLOT,
}


def _paused(state: RunState, _now: int) -> Reason:
    flight = f"; {counted(len(state.active), 'attempt')} still in flight" if state.active else ""
    return Reason(R.RUN_PAUSED, f"paused by a person{flight}", f"segue resume {state.run_id}")


def _run_succeeded(state: RunState, _now: int) -> Reason:
    failed = [step.address for step in state.standing if step.continued and step.status in STEP_FAILED]
    if state.stopped_by is not None:
        return Reason(R.RUN_ENDED_EARLY, f"ended well: `{state.stopped_by}` ended it")
    if failed:
        sentence = f"ended, although {counted(len(failed), 'step')} failed: {told_names(failed)}"
        return Reason(R.RUN_WITH_FAILURES, sentence, RETRY % state.run_id)
    if state.recovered:
        recovered = steps_being(state, StepStatus.RECOVERED)
        sentence = f"ended well; {counted(len(recovered), 'step')} failed and recovered: {told_names(recovered)}"
        return Reason(R.RUN_RECOVERED, sentence)
    return Reason(R.RUN_SUCCEEDED, f"ended well: {counted(len(steps_being(state, StepStatus.SUCCEEDED)), 'step')}")


def _run_failed(state: RunState, _now: int) -> Reason:
    told = "an error reached the top" if state.error is None else told_failure(state.error)
    return Reason(R.RUN_FAILED, f"failed: {told}{_undone(state)}", _what_next(state, RETRY))


def _run_cancelled(state: RunState, _now: int) -> Reason:
    if state.skipped is not None:
        return Reason(R.RUN_SKIPPED, f"skipped: {state.skipped}", START_AGAIN)
    reason = state.undoing or state.cancelling
    why = "" if reason in (None, "cancelled") else f": {reason}"
    return Reason(R.RUN_CANCELLED, f"cancelled{why}{_undone(state)}", _what_next(state, GO_ON))


def _what_next(state: RunState, action: str) -> str:
    if any(step.undone == "failed" for step in state.standing):
        return f"mend the cause, then undo the rest: segue undo {state.run_id}"
    return action % state.run_id


def _run_timed_out(state: RunState, _now: int) -> Reason:
    limit = state.plan.flow.timeout_seconds
    what = "" if limit is None else f": it was not done within {limit:g} s"
    return Reason(R.RUN_TIMED_OUT, f"timed out{what}{_undone(state)}", SAME_TIME_AGAIN % state.run_id)


def _run_quarantined(state: RunState, _now: int) -> Reason:
    sentence = f"quarantined: its journal does not fold after event {state.seq - 1}"
    return Reason(R.RUN_QUARANTINED, sentence, ROLL_BACK % (state.run_id, state.seq - 1))


_RUNS: dict[RunStatus, Callable[[RunState, int], Reason]] = {
    RunStatus.QUEUED: _queued,
    RunStatus.RUNNING: _running,
    RunStatus.WAITING: _waiting,
    RunStatus.PAUSED: _paused,
    RunStatus.SUCCEEDED: _run_succeeded,
    RunStatus.FAILED: _run_failed,
    RunStatus.CANCELLED: _run_cancelled,
    RunStatus.TIMED_OUT: _run_timed_out,
    RunStatus.QUARANTINED: _run_quarantined,
}
