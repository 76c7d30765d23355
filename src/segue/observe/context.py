"""What is being worked on, for log lines that are written meanwhile: the run, the step, and what hides its secrets."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final, Protocol

from segue.observe.masking import Masker


class Work(Protocol):
    """An attempt as log lines tell it."""

    @property
    def run_id(self) -> str:
        """The run."""
        ...

    @property
    def step(self) -> str:
        """The step instance's address."""
        ...

    @property
    def workspace(self) -> str:
        """Whose run it is."""
        ...

    @property
    def masker(self) -> Masker:
        """Hides the secrets that the attempt may know."""
        ...


AT_WORK: Final[ContextVar[Work | None]] = ContextVar("segue_at_work", default=None)
"""Set in the task that makes an attempt, for it and those that it starts."""
