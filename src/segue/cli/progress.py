"""A run's progress on plain output: one line whenever something that people want to know has changed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, Protocol

from rich.text import Text

from segue.cli.output import SIGNS, STYLES, duration

if TYPE_CHECKING:
    from rich.console import Console

    from segue.cli.desk import CallbackLink, Snapshot
    from segue.engine.views import StepView

COUNT_EVERY_SECONDS: Final = 2.0
"""How often the count of a loop is told again."""
_ENDED_BADLY: Final = frozenset(("failed", "timed_out", "unknown_outcome"))
_LOOPS: Final = frozenset(("foreach", "repeat"))
_UNTOLD: Final = "step-not-reached-yet"
"""The list itself says that a step comes later."""
_QUIET: Final = frozenset(("pending", "ready"))


class Progress(Protocol):
    """Shows runs as they go on."""

    def see(self, snapshot: Snapshot) -> None:
        """Take note of a run as it stands."""
        ...

    def close(self) -> None:
        """Nothing more comes. Safe to repeat."""
        ...


class NoProgress:
    """For programs, which read the result only: what a waiting run needs is told all the same (`tell_callback`)."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._told: set[tuple[str, str]] = set()

    def see(self, snapshot: Snapshot) -> None:
        """See `Progress.see`."""
        tell_callbacks(self._console, snapshot, self._told)

    def close(self) -> None:
        """See `Progress.close`."""


class LineProgress:
    """Lines for pipes, files and logs of other programs. With `several` runs each line names its run."""

    def __init__(self, console: Console, *, several: bool = False) -> None:
        self._console = console
        self._several = several
        self._seen: dict[tuple[str, str], tuple[object, ...]] = {}
        self._counted_at: dict[tuple[str, str], float] = {}
        self._told: set[tuple[str, str]] = set()

    def see(self, snapshot: Snapshot) -> None:
        """See `Progress.see`."""
        view = snapshot.view
        if not self._several and not self._seen:
            self._console.print(Text.assemble((view.id, "bold"), f"  {view.flow}"))
        for step in view.steps:
            self._see_step(view.id, step)
        tell_callbacks(self._console, snapshot, self._told)
        if view.status == "paused" and (view.id, "") not in self._seen:
            self._seen[view.id, ""] = ("paused",)
            self._console.print(Text(f"{self._prefix(view.id)}  ‖ {view.reason}"))

    def close(self) -> None:
        """See `Progress.close`."""

    def _see_step(self, run_id: str, step: StepView) -> None:
        key = (run_id, step.id)
        now = (step.status, step.attempts, step.until if step.status == "retrying" else None)
        if self._seen.get(key) == now:
            if step.kind in _LOOPS and step.status == "running":
                self._tell_count(key, step)
            return
        self._seen[key] = now
        if step.status in _QUIET or (is_instance(step) and step.status not in {*_ENDED_BADLY, "retrying"}):
            return
        self._console.print(Text.assemble(self._prefix(run_id), "  ", step_line(step)))

    def _tell_count(self, key: tuple[str, str], step: StepView) -> None:
        now = time.monotonic()
        if now - self._counted_at.setdefault(key, now) >= COUNT_EVERY_SECONDS:
            self._counted_at[key] = now
            self._console.print(Text.assemble(self._prefix(key[0]), "  ", step_line(step)))

    def _prefix(self, run_id: str) -> str:
        return f"{run_id} " if self._several else ""


def is_instance(step: StepView) -> bool:
    """Whether it is one of many: a step of a loop's turn."""
    return "[" in step.id


def step_line(step: StepView) -> Text:
    """Sign, name, time, and whatever is not as plain as success."""
    text = Text()
    style = STYLES.get(step.status, "")
    text.append(f"{SIGNS.get(step.status, '·')} ", style)
    text.append(step.id, "bold" if step.status != "skipped" else "dim")
    words = words_of(step)
    if words:
        text.append(f"  {words}", style)
    if step.ended_at is not None and step.status != "skipped":
        text.append(f"  {duration(step.duration_ms)}", "dim")
    return text


def words_of(step: StepView) -> str:
    """What is to be said of a step beside its sign; nothing for one that ended well at its first attempt."""
    if step.status == "succeeded":
        return f"at attempt {step.attempts}" if step.attempts > 1 else ""
    if step.reason_code == _UNTOLD:
        return ""
    if step.status == "running" and step.kind not in _LOOPS:
        return f"attempt {step.attempts}" if step.attempts > 1 else "started"
    return step.reason or step.status


def tell_callbacks(console: Console, snapshot: Snapshot, told: set[tuple[str, str]]) -> None:
    """Say once how each callback that the run waits for is answered."""
    for link in snapshot.callbacks:
        if (link.token, link.url or "") not in told:
            told.add((link.token, link.url or ""))
            for line in callback_lines(link):
                console.print(Text(f"    {line}"))


def callback_lines(link: CallbackLink) -> list[str]:
    """How to answer a callback: over HTTP, or by command."""
    # A token may begin with a dash, which a command line takes for an option.
    token = f"-- {link.token}" if link.token.startswith("-") else link.token
    by_command = f"segue callback --data '{{}}' {token}"
    if link.url is None:
        return [f"answer `{link.step}`: {by_command}"]
    return [f"answer `{link.step}`: POST {link.url}", f"           or: {by_command}"]
