"""Words that the reasons of runs and of steps share."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from segue.kernel.events import Failure
from segue.kernel.state import KEEPS_TURN, RunState, StepState
from segue.kernel.status import StepStatus

FREE_SLOT = "wait, or cancel a run of the same flow and key that is under way"
START_AGAIN = "start the flow again"
RETRY = "mend the cause, then `segue retry %s`"
GO_ON = "`segue retry %s` goes on where it stopped"
SAME_TIME_AGAIN = "`segue retry %s` gives it the same time again"
ROLL_BACK = "`segue rollback %s` sets aside what follows on its last valid event (%d), and it goes on from there"
FAULT = "if a present run stays so, it is a fault of the engine: please report it with the run's journal"


def sources_of(step: StepState) -> list[StepState]:
    """The steps that it waits for."""
    return [step.block.nodes[local] for local in step.plan.sources]


def steps_being(state: RunState, *statuses: StepStatus) -> list[str]:
    """Addresses of the steps in one of these states."""
    return [step.address for step in state.standing if step.status in statuses]


def what_helps(state: RunState, error: Failure) -> str | None:
    """What helps against an error, if anything does."""
    kind = error.category.partition(".")[0]
    if error.category in ("http.401", "http.403"):
        kind = "auth"
    return _HELP.get(kind) or (RETRY % state.run_id if state.ended else None)


_HELP = {
    "auth": "check the connection's credentials",
    "dns": "check the host name in the step's address",
    "tls": "check the certificate of the host that is called",
    "expression": "mend the expression in the flow, or what it is given",
    "validation": "compare the values with what the step expects",
    "connection": "check that the outside system is up and can be reached from here",
}


def told_failure(error: Failure) -> str:
    """An error, with the step that it is of."""
    where = f"`{error.step}` failed with " if error.step else ""
    return f"{where}{error.category}: {error.message}"


def told_attempt(step: StepState) -> str:
    """Which attempt it is."""
    retry = step.plan.step.retry
    if retry is None or retry.max_attempts <= 1:
        return f"attempt {step.attempt}"
    # A handler that says `then: retry` may add one to those that `retry` allows.
    return f"attempt {step.tries}" + (f" of {retry.max_attempts}" if step.tries <= retry.max_attempts else "")


def told_names(names: Iterable[str]) -> str:
    """Some names, and how many more there are."""
    every = list(names)
    more = f" and {len(every) - 3} more" if len(every) > 3 else ""
    return ", ".join(f"`{name}`" for name in every[:3]) + more


def counted(number: int, one: str, many: str | None = None) -> str:
    """A number with its noun."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def told_times(number: int) -> str:
    """How often."""
    return "once" if number == 1 else f"{number} times"


def told_time(at: int) -> str:
    """A time (ms since the epoch) in UTC."""
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def turn_keepers(state: RunState) -> list[StepState]:
    """Steps that keep their turn under the strategy `sequential` although no attempt of theirs is in flight."""
    if state.plan.flow.strategy != "sequential" or not state.turns:
        return []
    return [state.nodes[number] for number, kind in state.timers if kind in KEEPS_TURN]
