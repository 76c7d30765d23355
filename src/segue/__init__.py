"""Segue runs flows: definitions of steps that are carried out durably, each result kept before the next step begins."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segue.client.embedded import RunResult, Segue
    from segue.engine.port import AttemptContext
    from segue.errors import SegueError, StepError, TerminalError
    from segue.steps.python import action

__all__ = ["AttemptContext", "RunResult", "Segue", "SegueError", "StepError", "TerminalError", "__version__", "action"]

__version__ = "0.1.0"

_HOMES = {
    "AttemptContext": "segue.engine.port",
    "RunResult": "segue.client.embedded",
    "Segue": "segue.client.embedded",
    "SegueError": "segue.errors",
    "StepError": "segue.errors",
    "TerminalError": "segue.errors",
    "action": "segue.steps.python",
}


def __getattr__(name: str) -> Any:
    """The public names are loaded when first asked for, so that `segue --version` does not wait for the engine."""
    if name not in _HOMES:
        raise AttributeError(f"module 'segue' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
