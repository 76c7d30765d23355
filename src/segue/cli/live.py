"""A run's progress on a terminal: one list that is redrawn in place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.console import Group
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from segue.cli.output import STYLES, duration, milliseconds_since
from segue.cli.progress import callback_lines, is_instance, step_line, words_of

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from segue.cli.desk import Snapshot
    from segue.engine.views import StepView

REDRAWS_A_SECOND: Final = 10
INSTANCES_SHOWN: Final = 5
"""Steps of loop turns that are shown while they are under way or have failed."""
_UNDER_WAY: Final = ("running", "retrying", "waiting")
_ENDED_BADLY: Final = ("failed", "timed_out", "unknown_outcome")


class LiveProgress:
    """Draws the latest snapshot of each run; many runs have one line each. `close` leaves the last picture standing."""

    def __init__(self, console: Console, *, several: bool = False) -> None:
        self._several = several
        self._console = console
        self._snapshots: dict[str, Snapshot] = {}
        self._spinner = Spinner("dots")
        self._live = Live(
            console=console, refresh_per_second=REDRAWS_A_SECOND, get_renderable=self._picture, transient=False
        )
        self._is_open = False

    def see(self, snapshot: Snapshot) -> None:
        """See `Progress.see`."""
        self._snapshots[snapshot.view.id] = snapshot
        if not self._is_open:
            self._is_open = True
            self._live.start()

    def close(self) -> None:
        """See `Progress.close`."""
        if self._is_open:
            self._is_open = False
            self._live.stop()

    def _picture(self) -> RenderableType:
        if self._several or len(self._snapshots) > 1:
            return Group(*(self._run_line(snapshot) for snapshot in self._snapshots.values()))
        return Group(*(self._run(snapshot) for snapshot in self._snapshots.values()))

    def _run_line(self, snapshot: Snapshot) -> RenderableType:
        view = snapshot.view
        text = Text.assemble(
            (view.status, STYLES.get(view.status, "")), f"  {view.id}  {view.flow}  {view.reason or ''}"
        )
        return text if view.status != "running" else self._spinning(text)

    def _run(self, snapshot: Snapshot) -> RenderableType:
        shown = _shown(snapshot.view.steps)
        # A list that is longer than the screen cannot be redrawn in place.
        room = max(3, self._console.height - 4 - 2 * len(snapshot.callbacks))
        lines: list[RenderableType] = [Text.assemble((snapshot.view.id, "bold"), f"  {snapshot.view.flow}")]
        dropped = len(shown) - room
        if dropped > 0:
            shown = _most_telling(shown, room)
            lines.append(Text(f"    … {dropped} more steps", "dim"))
        for step in shown:
            lines.append(self._step(step))
            lines += [
                Text(f"    {line}")
                for link in snapshot.callbacks
                if link.step == step.id
                for line in callback_lines(link)
            ]
        return Group(*lines)

    def _step(self, step: StepView) -> RenderableType:
        is_running = step.status == "running"
        text = Text.assemble((step.id, "bold"), ("  " + words_of(step), "cyan")) if is_running else step_line(step)
        if step.status in _UNDER_WAY and step.started_at is not None:
            text.append(f"  {duration(milliseconds_since(step.started_at))}", "dim")
        return self._spinning(text) if is_running else Text.assemble("  ", text)

    def _spinning(self, text: Text) -> RenderableType:
        row = Table.grid(padding=(0, 1))
        row.add_row(" ", self._spinner, text)
        return row


def _shown(steps: list[StepView]) -> list[StepView]:
    instances = [step for step in steps if is_instance(step) and step.status in (*_UNDER_WAY, *_ENDED_BADLY)]
    chosen = {step.id for step in instances[-INSTANCES_SHOWN:]}
    return [step for step in steps if not is_instance(step) or step.id in chosen]


def _most_telling(steps: list[StepView], room: int) -> list[StepView]:
    """What is under way and what went wrong, then the last that ended, in the flow's order."""
    ranked = sorted(
        range(len(steps)),
        key=lambda n: (
            steps[n].status not in _UNDER_WAY,
            steps[n].status not in _ENDED_BADLY,
            steps[n].ended_at is None,
            -n,
        ),
    )
    return [steps[number] for number in sorted(ranked[:room])]
