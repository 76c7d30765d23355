"""A run's log: what its journal says, in words, and the lines that its steps wrote.

Levels by kind of event after document C: steps debug, lifecycle info, retries warning, failures error.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, cast

import msgspec

from segue.engine.views import rfc3339
from segue.kernel import events as ev
from segue.kernel.kept import origin_told
from segue.kernel.state import RunState, StepState
from segue.observe.masking import Masker, log_masker_for
from segue.store.port import JournalRow, LogRow


class LogLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a run's log. `ts` is RFC 3339 (UTC)."""

    ts: str
    level: str
    msg: str
    step: str | None = None
    data: dict[str, Any] | None = None
    seq: int | None = None
    """The event's number, if the line tells an event."""


def log_lines(state: RunState, rows: list[JournalRow], logs: list[tuple[int, LogRow]]) -> list[LogLine]:
    """All lines by time. A line that a step wrote stands before the event of the same moment that ends its attempt.

    `state` must be past the rows.
    """
    masker = log_masker_for(state.plan.declared)
    written = deque(sorted((row for _, row in logs), key=lambda row: row.at))
    lines: list[LogLine] = []
    for row in rows:
        line = event_line(state, row, masker)
        if line is None:
            continue
        while written and (written[0].at < row.at or (written[0].at == row.at and comes_before(written[0], row, line))):
            lines.append(written_line(written.popleft()))
        lines.append(line)
    return lines + [written_line(row) for row in written]


def comes_before(written: LogRow, row: JournalRow, line: LogLine) -> bool:
    """Whether a written line stands before the event of the same moment that `line` tells."""
    return row.kind in _LAST or (row.kind not in _BEGINNINGS and written.step == line.step)


def written_line(row: LogRow) -> LogLine:
    """A line that a step wrote; it was masked when it was kept."""
    data = msgspec.json.decode(row.data) if row.data else None
    return LogLine(ts=rfc3339(row.at) or "", level=row.level, msg=row.message, step=row.step or None, data=data)


def event_line(state: RunState, row: JournalRow, masker: Masker) -> LogLine | None:
    """One event in words; None for those that only keep books. `state` must be past the event."""
    event = ev.decode(row.kind, row.data)
    step = state.nodes[row.step] if 0 <= row.step < len(state.nodes) else None
    tell = _TOLD.get(type(event))
    if isinstance(event, ev.Rewound):
        told = _rewound(event, [state.nodes[number].address for number in event.to])
    else:
        told = None if tell is None else tell(event, step)
    if told is None:
        return None
    level, message, data = told
    return LogLine(
        ts=rfc3339(row.at) or "",
        level=level,
        msg=masker.mask_text(message),
        step=None if step is None else step.address,
        data=None if data is None else cast("dict[str, Any]", masker.mask_json(data)),
        seq=row.seq,
    )


_LAST = frozenset({ev.RunSucceeded.KIND, ev.RunFailed.KIND, ev.RunCancelled.KIND, ev.RunTimedOut.KIND})

_BEGINNINGS = frozenset({ev.RunAccepted.KIND, ev.RunStarted.KIND, ev.StepStarted.KIND, ev.AttemptStarted.KIND})

_Told = tuple[str, str, dict[str, Any] | None]
_Tell = Callable[[Any, Any], _Told | None]
"""Of an event and its step: level, sentence, data."""


def _says(level: str, words: str) -> _Tell:
    def tell(_event: ev.Event, step: StepState | None) -> _Told:
        return level, words if step is None else f"{step.address} {words}", None

    return tell


def _ended_badly(event: ev.RunFailed | ev.RunTimedOut, _step: None) -> _Told:
    return "error", f"run failed: {_error(event.error)}", None


def _succeeded(event: ev.StepSucceeded, step: StepState) -> _Told:
    output = event.output if event.made is None else event.made
    if step.plan.kind == "log" and isinstance(output, dict):
        data = output.get("data")
        return _level(output), str(output.get("message", "")), data if isinstance(data, dict) else None
    return "debug", f"{step.address} succeeded" + (f": {event.reason}" if event.reason else ""), None


def _accepted(event: ev.RunAccepted, _step: None) -> _Told:
    return "info", "run accepted" + ("" if event.origin is None else f": {origin_told(event.origin)}"), None


def _rolled_back(event: ev.RolledBack, _step: None) -> _Told:
    by = "" if event.by is None else f" by {event.by}"
    why = "" if event.reason is None else f" ({event.reason})"
    return "warning", f"run rolled back{by}{why}: {event.set_aside} events that do not fold were set aside", None


def _rewound(event: ev.Rewound, to: list[str]) -> _Told:
    what = "run rewound to " if event.how == "rewind" else "run retried from "
    what += ", ".join(to) or "where it stopped"
    by = "" if event.by is None else f" by {event.by}"
    why = "" if event.reason is None else f" ({event.reason})"
    return "warning", f"{what}{by}{why}: {event.taken_back} step{'' if event.taken_back == 1 else 's'} taken back", None


def _attempt_failed(event: ev.AttemptFailed, step: StepState) -> _Told:
    number, error, due = event.error.attempt, _error(event.error), rfc3339(event.retry_at)
    return "warning", f"{step.address} attempt {number} failed: {error}; next try at {due}", None


def _wait_started(event: ev.WaitStarted, step: StepState) -> _Told:
    until = "" if event.until is None else f" until {rfc3339(event.until)}"
    return "info", f"{step.address} waits for its {event.on}{until}", None


def _opened(event: ev.BlocksOpened, step: StepState) -> _Told | None:
    return ("debug", f"{step.address} {event.reason}", None) if event.reason else None


def _error(error: ev.Failure) -> str:
    return f"{error.category}: {error.message}"


def _level(output: dict[str, Any]) -> str:
    level = str(output.get("level", "info")).lower()
    return {"warn": "warning"}.get(level, level if level in ("debug", "info", "warning", "error") else "info")


_TOLD: dict[type[ev.Event], _Tell] = {
    ev.RunAccepted: _accepted,
    ev.RolledBack: _rolled_back,
    ev.RunStarted: _says("info", "run started"),
    ev.RunSucceeded: lambda event, _: ("info", "run succeeded" + (" (recovered)" if event.recovered else ""), None),
    ev.RunFailed: _ended_badly,
    ev.RunTimedOut: _ended_badly,
    ev.RunCancelled: lambda event, _: ("warning", f"run cancelled: {event.reason or 'on request'}", None),
    ev.RunPaused: _says("info", "run paused"),
    ev.RunResumed: _says("info", "run resumed"),
    ev.HostRestarted: _says("warning", "taken over after its host stopped"),
    ev.StepStarted: _says("debug", "started"),
    ev.StepSucceeded: _succeeded,
    ev.StepRecovered: _says("warning", "recovered"),
    ev.StepFailed: lambda event, step: ("error", f"{step.address} failed: {_error(event.error)}", None),
    ev.StepSkipped: lambda event, step: ("debug", f"{step.address} skipped: {event.reason}", None),
    ev.StepCancelled: lambda event, step: ("debug", f"{step.address} cancelled: {event.reason}", None),
    ev.AttemptFailed: _attempt_failed,
    ev.AttemptLost: _says("warning", "was in flight when its host stopped; it is tried again under the same key"),
    ev.WaitStarted: _wait_started,
    ev.CallbackReceived: _says("info", "got a callback"),
    ev.PollAnswered: lambda event, step: (
        "info",
        f"{step.address} polled: not yet; next at {rfc3339(event.next_at)}",
        None,
    ),
    ev.HandlerStarted: lambda event, step: (
        "warning",
        f"{step.address} failed: {_error(event.error)}; being handled",
        None,
    ),
    ev.BlocksOpened: _opened,
}
