"""A context for one attempt, and a server that answers as told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from segue.engine.port import AttemptContext
from segue.flow.model import JsonValue


@dataclass
class Lines:
    """A log sink that keeps what it is given."""

    lines: list[tuple[str, str, dict[str, JsonValue]]] = field(default_factory=list)

    def __call__(self, level: str, message: str, /, **data: JsonValue) -> None:
        self.lines.append((level, message, data))

    @property
    def text(self) -> str:
        return repr(self.lines)


def context(log: Lines | None = None, **settings: Any) -> AttemptContext:
    facts: dict[str, Any] = {
        "run_id": "run_1", "flow_id": "f", "workspace": "default", "step": "call", "attempt": 1,
        "call": "call-of-the-step", "log": log or Lines(),
    }  # fmt: skip
    return AttemptContext(**facts | settings)
