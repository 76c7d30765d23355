"""The closed list of reasons for the states of runs and steps; part of the API: codes are added, never renamed."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec


class ReasonCode(StrEnum):
    """The closed list of reasons; `MEANINGS` says what each stands for."""

    RUN_QUEUED = "run-queued"
    RUN_QUEUED_SLOT = "run-queued-for-slot"
    RUN_QUEUED_TIME = "run-queued-until"
    RUN_SKIPPED = "run-skipped"
    RUN_IN_FLIGHT = "run-in-flight"
    RUN_STARTING = "run-starting-steps"
    RUN_WAITING_CALLBACK = "run-waiting-callback"
    RUN_WAITING_DECISION = "run-waiting-decision"
    RUN_WAITING_EVENT = "run-waiting-event"
    RUN_WAITING_FLOW = "run-waiting-flow"
    RUN_WAITING_TIME = "run-waiting-time"
    RUN_WAITING_RETRY = "run-waiting-retry"
    RUN_WAITING_POLL = "run-waiting-poll"
    RUN_WAITING_SLOT = "run-waiting-slot"
    RUN_UNDECIDED = "run-undecided"
    RUN_PAUSED = "run-paused"
    RUN_HANDLING_ERROR = "run-handling-error"
    RUN_FINALLY = "run-finally"
    RUN_LETTING_GO = "run-letting-go"
    RUN_UNDOING = "run-undoing"
    RUN_SUCCEEDED = "run-succeeded"
    RUN_RECOVERED = "run-recovered"
    RUN_WITH_FAILURES = "run-succeeded-with-failures"
    RUN_ENDED_EARLY = "run-ended-early"
    RUN_FAILED = "run-failed"
    RUN_CANCELLED = "run-cancelled"
    RUN_TIMED_OUT = "run-timed-out"
    RUN_QUARANTINED = "run-quarantined"
    STEP_WAITING_INPUTS = "step-waiting-inputs"
    STEP_NOT_REACHED = "step-not-reached"
    STEP_NOT_REACHED_YET = "step-not-reached-yet"
    STEP_BRANCH_NOT_TAKEN = "step-branch-not-taken"
    STEP_HANDLER_NOT_NEEDED = "step-handler-not-needed"
    STEP_NO_ITEMS = "step-no-items"
    STEP_READY = "step-ready"
    STEP_WAITING_SLOT = "step-waiting-slot"
    STEP_HELD_BY_PAUSE = "step-held-by-pause"
    STEP_IN_FLIGHT = "step-in-flight"
    STEP_RETRIED_AFTER_HOST_STOPPED = "step-retried-after-host-stopped"
    STEP_BLOCKS_OPEN = "step-blocks-open"
    STEP_HANDLING_ERROR = "step-handling-error"
    STEP_FINALLY = "step-finally"
    STEP_LETTING_GO = "step-letting-go"
    STEP_UNDECIDED = "step-undecided"
    STEP_WAITING_RETRY = "step-waiting-retry"
    STEP_WAITING_TIME = "step-waiting-time"
    STEP_WAITING_CALLBACK = "step-waiting-callback"
    STEP_WAITING_DECISION = "step-waiting-decision"
    STEP_WAITING_EVENT = "step-waiting-event"
    STEP_WAITING_FLOW = "step-waiting-flow"
    STEP_WAITING_POLL = "step-waiting-poll"
    STEP_WAITING_TURN = "step-waiting-turn"
    STEP_SUCCEEDED = "step-succeeded"
    STEP_SUCCEEDED_FROM_CACHE = "step-succeeded-from-cache"
    STEP_SUCCEEDED_BY_FALLBACK = "step-succeeded-by-fallback"
    STEP_TOOK_BRANCH = "step-took-branch"
    STEP_UNDOING = "step-undoing"
    STEP_UNDONE = "step-undone"
    STEP_NOT_UNDONE = "step-not-undone"
    STEP_UNDO_NOT_NEEDED = "step-undo-not-needed"
    STEP_RECOVERED_BY_HANDLER = "step-recovered-by-handler"
    STEP_RECOVERED_BY_CATCH = "step-recovered-by-catch"
    STEP_RECOVERED_AFTER_TIMEOUT = "step-recovered-after-timeout"
    STEP_RECOVERED_BY_DEFAULT = "step-recovered-by-default"
    STEP_RECOVERED_BY_ERROR_EDGE = "step-recovered-by-error-edge"
    STEP_SKIPPED_DISABLED = "step-skipped-disabled"
    STEP_SKIPPED_CONDITION = "step-skipped-condition"
    STEP_SKIPPED_LIMIT = "step-skipped-limit"
    STEP_SKIPPED_PATH = "step-skipped-path-not-taken"
    STEP_SKIPPED_DEPENDENCY = "step-skipped-dependency-failed"
    STEP_FAILED = "step-failed"
    STEP_FAILED_AFTER_RETRIES = "step-failed-after-retries"
    STEP_FAILED_LIMIT = "step-failed-limit"
    STEP_FAILED_INSIDE = "step-failed-inside"
    STEP_UNKNOWN_OUTCOME = "step-unknown-outcome"
    STEP_CANCELLED = "step-cancelled"
    STEP_TIMED_OUT = "step-timed-out"
    STEP_CALLBACK_EXPIRED = "step-callback-expired"
    STEP_TAKEN_BACK = "step-taken-back"


R = ReasonCode

MEANINGS: Final[dict[ReasonCode, str]] = {
    R.RUN_QUEUED: "The run is accepted and kept; no host has begun it yet.",
    R.RUN_QUEUED_SLOT: "The run is accepted and kept; it begins once a slot of the flow's `limits` is free.",
    R.RUN_QUEUED_TIME: "The run is accepted and kept; it begins at a stated time.",
    R.RUN_SKIPPED: "It was not begun: no slot of the flow's `limits` was free, and the flow says to skip it.",
    R.RUN_IN_FLIGHT: "Attempts of its steps are being made now.",
    R.RUN_STARTING: "Steps are ready and are about to start.",
    R.RUN_WAITING_CALLBACK: "Nothing is in flight; an outside answer is awaited.",
    R.RUN_WAITING_DECISION: "Nothing is in flight; people are to decide (`approve`).",
    R.RUN_WAITING_EVENT: "Nothing is in flight; an event is awaited.",
    R.RUN_WAITING_FLOW: "Nothing is in flight here; another flow runs as a step of this one.",
    R.RUN_WAITING_TIME: "Nothing is in flight; a step sleeps until a stated time.",
    R.RUN_WAITING_RETRY: "Nothing is in flight; a failed attempt is tried again at a stated time.",
    R.RUN_WAITING_POLL: "Nothing is in flight; an outside job is asked again at a stated time.",
    R.RUN_WAITING_SLOT: "Nothing is in flight; a step waits for a slot of its `limits`.",
    R.RUN_UNDECIDED: "Between two events of one decision. Past states can be so; a present one cannot.",
    R.RUN_PAUSED: "A person paused it: nothing new starts, attempts in flight end, timers wait.",
    R.RUN_HANDLING_ERROR: "An error reached the top and the flow's `on_error` steps are running.",
    R.RUN_FINALLY: "The flow's `finally` steps are running; how the run will end is decided.",
    R.RUN_LETTING_GO: "How it ends is decided; the `finally` steps of what was cancelled for it are still running.",
    R.RUN_UNDOING: "What its steps did is being undone by their `compensate` steps, the last one first.",
    R.RUN_SUCCEEDED: "Every step that was to run ended well.",
    R.RUN_RECOVERED: "It ended well, and steps that failed were recovered.",
    R.RUN_WITH_FAILURES: "It ended well under `on_error: continue`, and steps failed.",
    R.RUN_ENDED_EARLY: "A `return` or `stop` step ended it.",
    R.RUN_FAILED: "An error reached the top.",
    R.RUN_CANCELLED: "It was cancelled.",
    R.RUN_TIMED_OUT: "It was not done within the flow's `timeout`.",
    R.RUN_QUARANTINED: "Its journal does not fold, so nothing can be said or done on it until it is rolled back.",
    R.STEP_WAITING_INPUTS: "Steps that it depends on are not settled yet.",
    R.STEP_NOT_REACHED: "The run, or the block around it, ended first.",
    R.STEP_NOT_REACHED_YET: "The block around it has not been opened yet.",
    R.STEP_BRANCH_NOT_TAKEN: "It stands in a branch that was not taken.",
    R.STEP_HANDLER_NOT_NEEDED: "It handles an error that has not occurred.",
    R.STEP_NO_ITEMS: "It stands in a loop that made no turn.",
    R.STEP_READY: "It is about to start.",
    R.STEP_WAITING_SLOT: "It could start, and waits for its turn under the flow's strategy or a limit.",
    R.STEP_HELD_BY_PAUSE: "It could go on, and the run is paused.",
    R.STEP_IN_FLIGHT: "An attempt is being made now.",
    R.STEP_RETRIED_AFTER_HOST_STOPPED: "An attempt is being made again, since its host stopped during the one before.",
    R.STEP_BLOCKS_OPEN: "Steps inside it are running or waiting.",
    R.STEP_HANDLING_ERROR: "It failed, and its `on_error` steps are running.",
    R.STEP_FINALLY: "What it does is over, and its `finally` steps are running.",
    R.STEP_LETTING_GO: "It failed, and waits for the `finally` steps of what was cancelled inside it.",
    R.STEP_UNDECIDED: "Between two events of one decision. Past states can be so; a present one cannot.",
    R.STEP_WAITING_RETRY: "An attempt failed; the next one is made at a stated time.",
    R.STEP_WAITING_TIME: "It sleeps until a stated time.",
    R.STEP_WAITING_CALLBACK: "It waits for an outside answer.",
    R.STEP_WAITING_DECISION: "It waits for people to decide.",
    R.STEP_WAITING_EVENT: "It waits for an event.",
    R.STEP_WAITING_FLOW: "It waits for the end of another flow's run.",
    R.STEP_WAITING_POLL: "The outside job is not done; it is asked again at a stated time.",
    R.STEP_WAITING_TURN: "A loop's next turn begins at a stated time.",
    R.STEP_SUCCEEDED: "It ended well.",
    R.STEP_SUCCEEDED_FROM_CACHE: "The result of an earlier run was used again, as its `cache` says.",
    R.STEP_SUCCEEDED_BY_FALLBACK: "Its own action failed, and one of its fallbacks gave the result.",
    R.STEP_TOOK_BRANCH: "It chose a branch (or none), for the stated reason.",
    R.STEP_UNDOING: "It ended well, and its `compensate` steps are running.",
    R.STEP_UNDONE: "It ended well, and was undone by its `compensate` steps.",
    R.STEP_NOT_UNDONE: "It ended well, and its `compensate` steps failed: what it did may still stand.",
    R.STEP_UNDO_NOT_NEEDED: "It undoes a step, which has not been needed.",
    R.STEP_RECOVERED_BY_HANDLER: "It failed, and its `on_error` steps ended well.",
    R.STEP_RECOVERED_BY_CATCH: "Its `do` block failed, and its `catch` block ended well.",
    R.STEP_RECOVERED_AFTER_TIMEOUT: "Its time ran out, and `on_timeout` says to go on.",
    R.STEP_RECOVERED_BY_DEFAULT: "It failed, and its `default` stands in for its output.",
    R.STEP_RECOVERED_BY_ERROR_EDGE: "It failed, and an edge for errors leads on.",
    R.STEP_SKIPPED_DISABLED: "It is disabled in the flow.",
    R.STEP_SKIPPED_CONDITION: "Its `when` did not hold.",
    R.STEP_SKIPPED_LIMIT: "No slot of its `limits` was free, and it says to be skipped then.",
    R.STEP_SKIPPED_PATH: "No path to it was taken.",
    R.STEP_SKIPPED_DEPENDENCY: "A step that it depends on failed, and the flow goes on without both.",
    R.STEP_FAILED: "It failed, and nothing tries it again.",
    R.STEP_FAILED_AFTER_RETRIES: "Each of its tries failed.",
    R.STEP_FAILED_LIMIT: "No slot of its `limits` was free, or it lost its own to another.",
    R.STEP_FAILED_INSIDE: "A step inside it failed.",
    R.STEP_UNKNOWN_OUTCOME: "An attempt was cut off, and whether it took effect is not known.",
    R.STEP_CANCELLED: "It was cancelled, for the stated reason.",
    R.STEP_TIMED_OUT: "Its total time ran out.",
    R.STEP_CALLBACK_EXPIRED: "The outside answer did not come in time.",
    R.STEP_TAKEN_BACK: "A rewind left it behind, with the step or the flow's phase that it stood in.",
}


class Reason(msgspec.Struct, frozen=True, omit_defaults=True):
    """`code` is one of `ReasonCode`; `sentence` states facts; `action` is what helps: a command or a sentence."""

    code: ReasonCode
    sentence: str
    action: str | None = None
