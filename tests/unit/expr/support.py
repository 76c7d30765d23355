"""What the tests of the expression language share."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from segue.expr import ExprError


class FixedImpure:
    """Gives the same values each time, and counts how often it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def now(self) -> datetime:
        self.asked.append("now")
        return datetime(2025, 1, 31, 9, 30, tzinfo=UTC)

    def uuid(self) -> str:
        self.asked.append("uuid")
        return "0190f5a0-7c1e-7aaa-8000-0123456789ab"

    def random(self) -> float:
        self.asked.append("random")
        return 0.25


def refusal(run: Callable[[], object]) -> ExprError | None:
    """The typed error that the call ends with, if it does; any other exception passes through and fails the test."""
    try:
        run()
    except ExprError as error:
        return error
    return None
