"""`default`: what stands in for a step that failed."""

from __future__ import annotations

from typing import Any

import pytest

from segue.flow.model import Timeout
from unit.kernel.builders import Play, flow, graph, on_error, parallel, step, try_


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


@pytest.mark.req("EXEC-6.handlers")
@pytest.mark.parametrize("then", ["continue", "fail"])
def test_a_default_stands_in_where_the_handlers_could_not_help(then: str) -> None:
    play = played(on_error=on_error(step("h"), then=then))
    if then == "continue":
        play.bad("a.on_error.h", "http.404")
    else:
        play.ok("a.on_error.h", "noted")
    assert (play.of("a"), play.out("a"), play.active) == ("recovered", {"n": 0}, ["b"])
    assert play.why("a") == "failed with http.500: no answer; its `default` stands in"


@pytest.mark.req("EXEC-6.handlers")
def test_an_error_edge_is_taken_where_the_handlers_could_not_help() -> None:
    steps = [step("a", on_error=on_error(step("h"))), step("good"), step("mend")]
    play = Play(flow(root=graph(steps, ["a>good", "a>mend:error"])))
    play.bad("a", "http.500")
    play.bad("a.on_error.h")
    assert (play.of("a"), play.of("good"), play.active) == ("recovered", "skipped", ["mend"])
    assert play.out("a")["category"] == "http.500"
    assert play.why("a").endswith("; the edge for errors was taken")


@pytest.mark.req("EXEC-6.handlers")
@pytest.mark.parametrize(
    ("settings", "category", "why"),
    [
        ({"default": 7, "has_default": True}, "http.500", "; its `default` stands in"),
        ({"default": 7, "has_default": True}, "timeout", "; its `default` stands in"),
        ({"timeout": Timeout(attempt_seconds=5, on_timeout="continue")}, "timeout", "; `on_timeout: continue`"),
    ],
)
def test_what_stands_in_for_a_failed_step_leads_on_by_its_own_edges(
    settings: dict[str, Any], category: str, why: str
) -> None:
    steps = [step("a", **settings), step("good"), step("mend")]
    play = Play(flow(root=graph(steps, ["a>good", "a>mend:error"])))
    play.bad("a", category)
    assert (play.of("a"), play.of("mend"), play.active) == ("recovered", "skipped", ["good"])
    assert play.why("a").endswith(why)


@pytest.mark.req("EXEC-6.handlers")
def test_a_caught_error_does_not_leave_by_the_error_edge() -> None:
    steps = [try_("a", [step("do")], [step("c")]), step("good"), step("mend")]
    play = Play(flow(root=graph(steps, ["a>good", "a>mend:error"])))
    play.bad("do", "http.500")
    play.ok("c", 1)
    assert (play.of("a"), play.of("mend"), play.active) == ("recovered", "skipped", ["good"])
    assert play.why("a").endswith("; its `catch` block ended well")


@pytest.mark.req("TIME-2.total")
def test_a_block_with_one_timeout_is_cut_off_by_it_whichever_it_is_called() -> None:
    blocks = parallel("p", {"x": [step("x")], "y": [step("y")]}, timeout=Timeout(attempt_seconds=2))
    play = Play(flow(blocks))
    play.later(2_000)
    assert (play.of("p"), play.of("x"), play.status) == ("timed_out", "cancelled", "failed")
