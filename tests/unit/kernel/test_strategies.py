"""In which order ready steps start (semantics, Paths: strategy, priority; EXEC-5)."""

from __future__ import annotations

from typing import Any

import pytest

from segue.flow.model import Retry
from unit.kernel.builders import Play, flow, foreach, graph, parallel, step


def tasks(*steps: Any, **settings: Any) -> Play:
    return Play(flow(root=graph(list(steps), settings.pop("edges", [])), **settings))


@pytest.mark.req("EXEC-5.parallel")
def test_all_ready_steps_start_at_once_by_default() -> None:
    assert tasks(step("a"), step("b"), step("c")).active == ["a", "b", "c"]


@pytest.mark.req("EXEC-5.sequential")
def test_sequential_has_one_step_in_flight_in_the_order_of_the_document() -> None:
    play = tasks(step("a"), step("b"), step("c"), strategy="sequential")
    for name in "abc":
        assert play.active == [name]
        play.ok(name)
    assert (play.status, play.order) == ("succeeded", ["a", "b", "c"])


@pytest.mark.req("EXEC-5.sequential")
@pytest.mark.req("BAR-4.sentence")
def test_a_step_that_waits_for_its_turn_says_so() -> None:
    play = tasks(step("a"), step("b"), strategy="sequential")
    assert play.why("b") == "waits for its turn (strategy sequential; 1 step in flight)"


@pytest.mark.req("EXEC-5.sequential")
def test_sequential_waits_for_a_step_that_is_retried() -> None:
    play = tasks(step("a", retry=Retry(max_attempts=2, jitter="none")), step("b"), strategy="sequential")
    play.bad("a")
    assert (play.of("a"), play.active, play.of("b")) == ("retrying", [], "ready")
    assert play.why("b") == "waits for its turn (strategy sequential; `a` is not settled)"
    assert play.why() == "`a`: " + play.why("a")
    play.crash()
    assert play.active == []
    play.next_timer()
    assert play.active == ["a"]
    play.ok("a")
    assert play.active == ["b"]


@pytest.mark.req("EXEC-5.sequential")
def test_sequential_holds_within_parallel_and_foreach() -> None:
    play = Play(
        flow(parallel("p", {"x": [step("a")], "y": [foreach("each", [1, 2], step("w"))]}), strategy="sequential")
    )
    most = 0
    while not play.state.ended:
        most = max(most, len(play.active))
        play.ok(play.active[0])
    assert (most, play.order) == (1, ["a", "each[0].w", "each[1].w"])


@pytest.mark.req("EXEC-5.priority")
def test_document_ds_tasks_run_in_the_order_t2_t3_t1() -> None:
    steps = (step("t1", priority=1), step("t2", priority=10), step("t3", priority=5))
    assert tasks(*steps, strategy="priority").order == ["t2", "t3", "t1"]
    one_by_one = tasks(*steps, strategy="priority", concurrency=1).run()
    assert one_by_one.order == ["t2", "t3", "t1"]


@pytest.mark.req("EXEC-5.priority")
def test_equal_priorities_keep_the_order_of_the_document() -> None:
    assert tasks(step("a"), step("b"), step("c", priority=1), strategy="priority").order == ["c", "a", "b"]


@pytest.mark.req("EXEC-5.priority")
def test_priority_does_not_overtake_dependencies() -> None:
    play = tasks(
        step("a"), step("b", priority=9), step("c", priority=1), strategy="priority", edges=["a>b"], concurrency=1
    ).run()
    assert play.order == ["c", "a", "b"]


@pytest.mark.req("EXEC-5.priority")
def test_priority_survives_a_crash() -> None:
    play = tasks(step("a"), step("b", priority=2), step("c", priority=1), strategy="priority", concurrency=1)
    play.crash()
    play.ok("b")
    play.crash()
    assert play.active == ["c"]


@pytest.mark.req("EXEC-5.fail-fast")
@pytest.mark.parametrize(("priority", "status"), [(9, "succeeded"), (10, "failed"), (99, "failed")])
def test_under_the_priority_strategy_a_failure_of_high_priority_ends_the_run_although_the_flow_continues(
    priority: int, status: str
) -> None:
    play = tasks(step("a", priority=priority), step("b"), strategy="priority", on_error="continue")
    play.bad("a")
    if status == "succeeded":
        play.ok("b")
    assert play.status == status


@pytest.mark.req("EXEC-5.fail-fast")
def test_the_level_from_which_failures_end_the_run_is_a_setting() -> None:
    play = tasks(step("a", priority=3), step("b"), strategy="priority", on_error="continue", fail_fast_priority=3)
    play.bad("a")
    assert play.status == "failed"


@pytest.mark.req("EXEC-5.fail-fast")
def test_other_strategies_do_not_look_at_the_priority_of_a_failure() -> None:
    play = tasks(step("a", priority=99), step("b"), on_error="continue")
    play.bad("a")
    assert play.active == ["b"]


@pytest.mark.req("EXEC-1.limit")
def test_a_flows_concurrency_limits_attempts_in_flight() -> None:
    play = tasks(*(step(f"s{number}") for number in range(5)), concurrency=2)
    assert play.active == ["s0", "s1"]
    play.ok("s0")
    assert play.active == ["s1", "s2"]
    assert play.why("s3") == "waits for its turn (strategy parallel, at most 2 at once; 2 steps in flight)"


@pytest.mark.req("EXEC-1.limit")
def test_a_step_that_waits_for_its_retry_or_a_callback_gives_its_slot_free() -> None:
    play = tasks(
        step("a", retry=Retry(max_attempts=2)), step("w", "wait", params={"duration": "1h"}), step("b"), concurrency=1
    )
    play.bad("a")
    assert play.active == ["b"]


@pytest.mark.req("EXEC-1.limit")
def test_steps_that_need_no_attempt_need_no_slot() -> None:
    play = tasks(step("a"), step("s", "set", params={"n": 1}), concurrency=1)
    assert (play.active, play.of("s")) == (["a"], "succeeded")
