"""How a run ended: for programs, for people, and as an exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.text import Text

from segue.cli.errors import FAILED, SUCCEEDED
from segue.cli.output import SIGNS, STYLES, as_json, duration

if TYPE_CHECKING:
    from rich.console import Console

    from segue.engine.views import RunView


def exit_code(view: RunView) -> int:
    """0 for a run that succeeded, and for one that is at rest; 1 for one that failed, timed out, was cancelled or set
    aside.
    """
    return FAILED if view.status in {"failed", "timed_out", "cancelled", "quarantined"} else SUCCEEDED


def result_of(view: RunView) -> dict[str, Any]:
    """What `--json` prints of a run."""
    steps = {
        step.id: {
            "status": step.status,
            "output": step.output,
            "attempts": step.attempts,
            "error": step.error,
            "reason": step.reason,
        }
        for step in view.steps
    }
    return {
        "run_id": view.id,
        "status": view.status,
        "recovered": view.recovered,
        "outputs": view.outputs,
        "error": view.error,
        "steps": steps,
    }


def tell_outcome(console: Console, view: RunView) -> None:
    """One line, and what helps."""
    status = "recovered" if view.recovered and view.status == "succeeded" else view.status
    style = STYLES.get(status, "")
    took = "" if view.duration_ms is None else f" in {duration(view.duration_ms)}"
    text = Text.assemble((f"{SIGNS.get(status, '·')} {view.status.replace('_', ' ')}", f"bold {style}".strip()))
    text.append(f"{took}  {view.flow} {view.id}", "dim")
    if status != "succeeded" and view.reason:
        text.append(f"\n  {view.reason}", style)
    if status != "succeeded" and view.action:
        text.append(f"\n  what helps: {view.action}", "green")
    console.print(text)


def print_outcome(console: Console, view: RunView) -> None:
    """How it ended, and its outputs."""
    tell_outcome(console, view)
    if view.outputs is not None:
        console.print(as_json(view.outputs))
