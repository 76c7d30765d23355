"""The page `docs/states.md`, drawn from the code's own tables.

`python -m segue.kernel.tables_doc > docs/states.md` writes it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TypeVar

from segue.kernel import events as ev
from segue.kernel.reason_codes import MEANINGS
from segue.kernel.status import RUN_ENDED, RUN_TRANSITIONS, STEP_SETTLED, STEP_TRANSITIONS, RunStatus, StepStatus

_Status = TypeVar("_Status", RunStatus, StepStatus)
_RUN_MEANINGS: dict[RunStatus, str] = {
    RunStatus.QUEUED: "accepted and kept; not begun",
    RunStatus.RUNNING: "at least one attempt is in flight, or a step is about to start",
    RunStatus.WAITING: "nothing is in flight: for time, a callback, a poll, a try, a slot. Derived from the steps",
    RunStatus.PAUSED: "by a person: nothing new starts, timers wait",
    RunStatus.SUCCEEDED: "ended well; `recovered: true` if steps failed and were recovered",
    RunStatus.FAILED: "an error reached the top",
    RunStatus.CANCELLED: "by a person or a rule",
    RunStatus.TIMED_OUT: "not done within the flow's `timeout`",
    RunStatus.QUARANTINED: "the journal does not fold; a person decides. Set by the engine, never by an event",
}
_STEP_MEANINGS: dict[StepStatus, str] = {
    StepStatus.PENDING: "steps that it depends on are not settled",
    StepStatus.READY: "about to start, or held by a pause, the strategy or a limit",
    StepStatus.RUNNING: "an attempt is in flight, its blocks are open, or its handlers run",
    StepStatus.RETRYING: "an attempt failed or was lost; the next one follows",
    StepStatus.WAITING: "for time, a callback, the next poll, the next turn, a slot of its limits",
    StepStatus.SUCCEEDED: "ended well",
    StepStatus.RECOVERED: "failed; its handlers, its default or `on_timeout` gave an output",
    StepStatus.SKIPPED: "not run, with `null` as its output",
    StepStatus.FAILED: "failed for good",
    StepStatus.UNKNOWN_OUTCOME: "an attempt was cut off, and whether it took effect is not known",
    StepStatus.CANCELLED: "stopped from outside",
    StepStatus.TIMED_OUT: "its total time, or its callback's, ran out",
}

_HEAD = """# States

Generated from the tables in `segue.kernel` by `python -m segue.kernel.tables_doc > docs/states.md`; a test sees that it
is current.

A run's state is the fold of its journal. Each row below says which events may follow in a state, and where they lead;
any other event is refused, and a run whose journal holds one is quarantined. On an end follows nothing but a rewind,
which puts fresh instances in the place of the steps that it undoes.
"""


def states_page() -> str:
    """The whole page as Markdown."""
    parts = [
        _HEAD,
        "## Runs\n",
        _statuses(_RUN_MEANINGS, RUN_ENDED),
        _transitions(RUN_TRANSITIONS),
        "## Steps\n",
        _statuses(_STEP_MEANINGS, STEP_SETTLED),
        _transitions(STEP_TRANSITIONS),
        "After `StepFailed` the step is `unknown_outcome` if the error is of that category, `timed_out` if its total",
        "time or its callback's ran out, and else `failed`.\n",
        "## Reasons\n",
        "Every run and every step says why it is as it is: a stable code, one sentence of facts, and what helps.\n",
        _reasons(),
    ]
    return "\n".join(parts)


def _statuses(meanings: Mapping[_Status, str], ends: frozenset[_Status]) -> str:
    rows = ["| state | meaning | end |", "| --- | --- | --- |"]
    rows += [f"| `{status}` | {meaning} | {'yes' if status in ends else ''} |" for status, meaning in meanings.items()]
    return "\n".join(rows) + "\n"


def _transitions(table: Mapping[_Status, Mapping[type[ev.Event], _Status]]) -> str:
    rows = ["| in state | event | leads to |", "| --- | --- | --- |"]
    for status, events in table.items():
        by_target: dict[_Status, list[str]] = {}
        for event, target in events.items():
            by_target.setdefault(target, []).append(event.__name__)
        for target, names in by_target.items():
            rows.append(f"| `{status}` | {', '.join(names)} | `{target}` |")
        if not events:
            rows.append(f"| `{status}` | – | – |")
    return "\n".join(rows) + "\n"


def _reasons() -> str:
    rows = ["| code | meaning |", "| --- | --- |"]
    rows += [f"| `{code}` | {meaning} |" for code, meaning in MEANINGS.items()]
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    sys.stdout.write(states_page())
