"""States of runs and steps, and all that may change them: two tables, on one screen.

Read a row as "in this state, this event leads there". An event that is not in a state's row cannot happen in it; the
fold refuses it (`JournalCorruptError`), and a test walks every pair. On the end of a run nothing follows but a rewind,
which is a person's decision; steps never leave their end (a rewind puts new ones in their place). Change a table only
together with `docs/decisions` and the pages that are drawn from it.
"""

from __future__ import annotations

from enum import StrEnum

from segue.kernel import events as ev


class RunStatus(StrEnum):
    """`semantics`, States. The value is the word used in the database, the API and the command line."""

    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"
    QUARANTINED = "quarantined"


class StepStatus(StrEnum):
    """A step's state. `recovered`: it failed, and its handlers (or its default) ended well."""

    PENDING = "pending"
    READY = "ready"
    RUNNING = "running"
    RETRYING = "retrying"
    WAITING = "waiting"
    SUCCEEDED = "succeeded"
    RECOVERED = "recovered"
    SKIPPED = "skipped"
    FAILED = "failed"
    UNKNOWN_OUTCOME = "unknown_outcome"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"


R, S = RunStatus, StepStatus

RUN_ENDED = frozenset({R.SUCCEEDED, R.FAILED, R.CANCELLED, R.TIMED_OUT})
STEP_SETTLED = frozenset({S.SUCCEEDED, S.RECOVERED, S.SKIPPED, S.FAILED, S.UNKNOWN_OUTCOME, S.CANCELLED, S.TIMED_OUT})
UNSETTLED = frozenset({S.READY, S.RUNNING, S.RETRYING, S.WAITING})
"""Begun or about to begin: what a cancellation must reach."""
STEP_FAILED = frozenset({S.FAILED, S.UNKNOWN_OUTCOME, S.TIMED_OUT})
STEP_ENDED_WELL = frozenset({S.SUCCEEDED, S.RECOVERED})

# `waiting` and `running` of a run are two views of its steps (is any attempt in flight?), so no event of their own
# leads from one to the other: `RunState.status` derives which one it is.
RUN_TRANSITIONS: dict[RunStatus, dict[type[ev.Event], RunStatus]] = {
    R.QUEUED: {
        ev.RunQueued: R.QUEUED,
        ev.RunStarted: R.RUNNING,
        ev.RunSkipped: R.CANCELLED,
        ev.CancelRequested: R.RUNNING,
    },
    R.RUNNING: {
        ev.RunPaused: R.PAUSED,
        ev.CancelRequested: R.RUNNING,
        ev.RunDeadlineReached: R.RUNNING,
        ev.HostRestarted: R.RUNNING,
        ev.FlowHandlersStarted: R.RUNNING,
        ev.CompensationStarted: R.RUNNING,
        ev.FinallyStarted: R.RUNNING,
        ev.RunEnding: R.RUNNING,
        ev.Rewound: R.RUNNING,
        ev.RolledBack: R.RUNNING,
        ev.RunSucceeded: R.SUCCEEDED,
        ev.RunFailed: R.FAILED,
        ev.RunCancelled: R.CANCELLED,
        ev.RunTimedOut: R.TIMED_OUT,
    },
    R.PAUSED: {
        ev.RunResumed: R.RUNNING,
        ev.CancelRequested: R.RUNNING,
        ev.HostRestarted: R.PAUSED,
        # The last attempt may end while the run is paused: nothing new starts, but what is over is over.
        ev.FlowHandlersStarted: R.PAUSED,
        ev.CompensationStarted: R.PAUSED,
        ev.FinallyStarted: R.PAUSED,
        ev.RunEnding: R.PAUSED,
        ev.Rewound: R.PAUSED,
        ev.RolledBack: R.PAUSED,
        ev.RunSucceeded: R.SUCCEEDED,
        ev.RunFailed: R.FAILED,
        ev.RunCancelled: R.CANCELLED,
        ev.RunTimedOut: R.TIMED_OUT,
    },
    # What is over can be undone, where its steps say how, and rewound.
    R.SUCCEEDED: {ev.UndoRequested: R.RUNNING, ev.Rewound: R.RUNNING},
    R.FAILED: {ev.UndoRequested: R.RUNNING, ev.Rewound: R.RUNNING},
    R.CANCELLED: {ev.UndoRequested: R.RUNNING, ev.Rewound: R.RUNNING},
    R.TIMED_OUT: {ev.UndoRequested: R.RUNNING, ev.Rewound: R.RUNNING},
}

_IN_FLIGHT_ENDS: dict[type[ev.Event], StepStatus] = {
    ev.StepSucceeded: S.SUCCEEDED,
    ev.StepRecovered: S.RECOVERED,
    ev.StepFailed: S.FAILED,  # or unknown_outcome, timed_out: by the error's category, see `failed_status`
    ev.StepCancelled: S.CANCELLED,
    ev.StepFailing: S.RUNNING,
    ev.StepFinallyStarted: S.RUNNING,
}

STEP_TRANSITIONS: dict[StepStatus, dict[type[ev.Event], StepStatus]] = {
    S.PENDING: {ev.StepSkipped: S.SKIPPED},
    S.READY: {
        ev.StepStarted: S.RUNNING,
        ev.StepSkipped: S.SKIPPED,
        ev.StepSucceeded: S.SUCCEEDED,  # pure steps (set, log, …) are done in one event
        ev.StepFailed: S.FAILED,  # its condition or its values could not be computed
        ev.HandlerStarted: S.RUNNING,
        ev.StepRecovered: S.RECOVERED,
        ev.StepCancelled: S.CANCELLED,
        ev.StepFinallyStarted: S.RUNNING,
        ev.SlotAwaited: S.WAITING,
    },
    S.RUNNING: {
        **_IN_FLIGHT_ENDS,
        ev.AttemptFailed: S.RETRYING,
        ev.AttemptLost: S.RETRYING,
        ev.WaitStarted: S.WAITING,
        ev.PollAnswered: S.WAITING,
        ev.BlocksOpened: S.RUNNING,
        ev.BlocksKept: S.RUNNING,
        ev.HandlerStarted: S.RUNNING,
        ev.IterationEnded: S.RUNNING,
        ev.ChildStarted: S.WAITING,
        ev.FallbackStarted: S.RUNNING,
        ev.SlotAwaited: S.WAITING,  # a fallback that begins when no call is in flight
        ev.CallbackReceived: S.RUNNING,  # an early answer: kept until the step waits for it
    },
    S.RETRYING: {
        # Its time may run out between two tries; nothing of it runs, so nothing can end well or hold its failure up.
        ev.StepRecovered: S.RECOVERED,
        ev.StepFailed: S.FAILED,
        ev.StepCancelled: S.CANCELLED,
        ev.StepFinallyStarted: S.RUNNING,
        ev.AttemptStarted: S.RUNNING,
        ev.HandlerStarted: S.RUNNING,
        ev.CallbackReceived: S.RETRYING,
        ev.SlotAwaited: S.WAITING,
    },
    S.WAITING: {
        **_IN_FLIGHT_ENDS,
        ev.AttemptStarted: S.RUNNING,  # the next poll, the next iteration
        ev.AttemptFailed: S.RETRYING,  # a sub-flow failed or took too long; a loop is tried again from its first turn
        ev.SlotAwaited: S.WAITING,  # … which needs a slot of its own
        ev.StepStarted: S.RUNNING,  # it has got its slot
        ev.StepSkipped: S.SKIPPED,  # it got none, under `on_full: skip`
        ev.CallbackReceived: S.WAITING,
        ev.EventReceived: S.WAITING,
        ev.Reminded: S.WAITING,
        ev.FallbackStarted: S.RUNNING,  # the outside job failed, or never answered
        ev.HandlerStarted: S.RUNNING,
        ev.BlocksOpened: S.RUNNING,
    },
    # A chooser's branch is journaled right after its success, and a step that ended well may be undone later. No event
    # leaves a settled state.
    S.SUCCEEDED: {
        ev.EdgesChosen: S.SUCCEEDED,
        ev.StepCompensationStarted: S.SUCCEEDED,
        ev.StepCompensated: S.SUCCEEDED,
    },
    S.RECOVERED: {ev.EdgesChosen: S.RECOVERED},
    S.SKIPPED: {ev.EdgesChosen: S.SKIPPED},
    S.FAILED: {},
    S.UNKNOWN_OUTCOME: {},
    S.CANCELLED: {ev.StepFinallyStarted: S.CANCELLED},
    S.TIMED_OUT: {},
}


def failed_status(category: str, *, deadline: bool) -> StepStatus:
    """Which of the three words a final failure gets; `deadline` says that the step's total time ran out."""
    if category == "unknown_outcome":
        return S.UNKNOWN_OUTCOME
    return S.TIMED_OUT if deadline else S.FAILED
