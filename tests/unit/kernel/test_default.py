"""`default`: what stands in for a step that failed."""

from __future__ import annotations

from typing import Any

import pytest

from segue.flow.model import Timeout
from unit.kernel.builders import Play, flow, on_error, parallel, step


def played(**settings: Any) -> Play:
    play = Play(flow(step("a", default={"n": 0}, has_default=True, **settings), step("b")))
    play.bad("a", "http.500")
    return play


@pytest.mark.req("TIME-2.default")
def test_a_default_stands_in_for_any_failure() -> None:
    play = played()
    assert (play.of("a"), play.out("a"), play.active) == ("recovered", {"n": 0}, ["b"])


@pytest.mark.req("TIME-2.default")
def test_a_default_for_timeouts_does_not_hide_other_failures() -> None:
    play = played(timeout=Timeout(attempt_seconds=5, on_timeout="default"))
    assert (play.of("a"), play.status) == ("failed", "failed")


@pytest.mark.req("EXEC-6.handlers")
def test_handlers_go_before_the_default() -> None:
    play = played(on_error=on_error(step("h")))
    assert play.active == ["a.on_error.h"]


@pytest.mark.req("TIME-2.total")
def test_a_block_with_one_timeout_is_cut_off_by_it_whichever_it_is_called() -> None:
    blocks = parallel("p", {"x": [step("x")], "y": [step("y")]}, timeout=Timeout(attempt_seconds=2))
    play = Play(flow(blocks))
    play.later(2_000)
    assert (play.of("p"), play.of("x"), play.status) == ("timed_out", "cancelled", "failed")
