"""Fan-out over lists (`foreach`) and loops (`repeat`)."""

from __future__ import annotations

from typing import Any

import pytest

from segue.flow.model import Retry, Timeout
from segue.kernel.events import encode
from segue.kernel.plan import compile_plan
from unit.kernel.builders import Play, failure, flow, foreach, on_error, parallel, repeat, step

ECHO = step("w", "map", params={"value": "$item"})


# ---------------------------------------------------------------- foreach


@pytest.mark.req("EXEC-3.order")
def test_results_stand_in_the_order_of_the_items_whatever_ends_first() -> None:
    play = Play(flow(foreach("each", "$inputs.xs", step("w"), limit=3)), {"xs": [1, 2, 3]})
    for index in (2, 0, 1):
        play.ok(f"each[{index}].w", index * 10)
    assert play.outputs == [0, 10, 20]


@pytest.mark.req("EXEC-3.limit")
def test_a_limit_keeps_so_many_items_in_flight() -> None:
    play = Play(flow(foreach("each", "$inputs.xs", step("w"), limit=2)), {"xs": [1, 2, 3, 4]})
    assert play.active == ["each[0].w", "each[1].w"]
    play.ok("each[1].w")
    assert play.active == ["each[0].w", "each[2].w"]
    assert play.why("each") == "1 of 4 items done; 2 under way"


@pytest.mark.req("EXEC-3.limit")
def test_ten_items_are_in_flight_if_no_limit_is_said() -> None:
    assert len(Play(flow(foreach("each", list(range(30)), step("w")))).active) == 10


@pytest.mark.req("EXEC-3.limit")
@pytest.mark.parametrize("limit", [0, -1, "'x'", "1.5", True])
def test_a_limit_that_is_no_positive_whole_number_fails_the_step(limit: Any) -> None:
    play = Play(flow(foreach("each", [1], step("w"), limit=limit)))
    assert (play.status, play.started) == ("failed", [])


@pytest.mark.req("EXEC-3.limit")
def test_a_limit_may_be_computed() -> None:
    assert len(Play(flow(foreach("each", [1, 2, 3], step("w"), limit="$inputs.n")), {"n": 2}).active) == 2


@pytest.mark.req("EXEC-3.items")
def test_each_item_and_its_index_are_in_scope_under_their_names() -> None:
    body = step("w", "map", params={"value": "{{ [item, index, lead, position] }}"})
    play = Play(flow(foreach("each", ["a", "b"], body, **{"as": "lead", "index": "position"})))
    assert play.outputs == [["a", 0, "a", 0], ["b", 1, "b", 1]]


@pytest.mark.req("EXEC-3.items")
def test_a_map_gives_items_of_key_and_value() -> None:
    play = Play(flow(foreach("each", "$inputs.m", ECHO)), {"m": {"x": 1, "y": 2}})
    assert play.outputs == [{"key": "x", "value": 1}, {"key": "y", "value": 2}]


@pytest.mark.req("EXEC-3.items")
def test_an_empty_list_gives_an_empty_list() -> None:
    play = Play(flow(foreach("each", [], step("w")), step("after")))
    assert (play.out("each"), play.active) == ([], ["after"])


@pytest.mark.req("EXEC-3.items")
@pytest.mark.parametrize("items", ["$inputs.none", "3", "'text'"])
def test_what_is_neither_list_nor_map_fails_the_step(items: str) -> None:
    play = Play(flow(foreach("each", items, step("w"))))
    assert (play.status, "a list or a map is needed" in play.why("each")) == ("failed", True)


@pytest.mark.req("EXEC-3.items")
def test_data_of_an_items_first_step_is_the_item() -> None:
    body = step("w", "map", params={"value": "$data"})
    assert Play(flow(foreach("each", [7, 8], body))).outputs == [7, 8]


@pytest.mark.req("EXEC-3.items")
def test_steps_of_one_item_see_only_their_own_items_steps() -> None:
    body = (step("a", "map", params={"value": "$item"}), step("b", "map", params={"value": "$a"}))
    assert Play(flow(foreach("each", [1, 2, 3], *body))).outputs == [1, 2, 3]


@pytest.mark.req("EXEC-3.addresses")
def test_steps_are_all_that_a_place_sees_the_nearest_of_a_name_first() -> None:
    seen = {"inner": "$steps.inner[1].w", "near": "$steps.near", "top": "$steps.top", "w": "$steps.w"}
    inner = foreach("inner", "[1, 2]", step("w", "map", params={"value": "{{ item * 10 }}"}))
    look = step("look", "map", params={"value": seen})
    near = step("near", "map", params={"value": "$item"})
    handled = step("h", on_error=on_error(step("w", "map", params={"value": 7}), look))
    top = step("top", "map", params={"value": "t"})
    play = Play(flow(top, foreach("outer", "['a']", near, inner, handled))).run({"h": failure("http.500")})
    assert play.outputs == [{"inner": 20, "near": "a", "top": "t", "w": 7}]


@pytest.mark.req("EXEC-3.items")
def test_items_steps_are_addressed_by_index_from_outside() -> None:
    see = step("see", "map", params={"value": "$steps.each[1].w"})
    assert Play(flow(foreach("each", [5, 6], ECHO), see)).outputs == 6


@pytest.mark.req("EXEC-3.tolerate")
def test_without_tolerance_the_first_failed_item_fails_the_step_and_cancels_the_others() -> None:
    play = Play(flow(foreach("each", [1, 2, 3], step("w"), limit=2)))
    play.bad("each[0].w", "http.500")
    assert (play.status, play.of("each[1].w"), play.has("each[2].w")) == ("failed", "cancelled", False)
    assert play.state.error is not None
    assert play.state.error.step == "each[0].w"


@pytest.mark.req("EXEC-3.tolerate")
@pytest.mark.parametrize(
    ("tolerate", "failing", "status"),
    [(1, 1, "succeeded"), (1, 2, "failed"), ("50%", 5, "succeeded"), ("50%", 6, "failed"), ("all", 10, "succeeded"),
     ("collect", 10, "succeeded"), ("9%", 1, "failed"), ("10%", 1, "succeeded"), (0, 1, "failed")],
)  # fmt: skip
def test_so_many_failed_items_are_tolerated(tolerate: Any, failing: int, status: str) -> None:
    play = Play(flow(foreach("each", list(range(10)), step("w"), tolerate=tolerate)))
    play.run(lambda one: failure() if one.block.index < failing else one.block.index)
    assert play.status == status
    if status == "succeeded" and tolerate != "collect":
        assert play.outputs == [None] * failing + list(range(failing, 10))
        assert play.why("each").endswith(f"{failing} of 10 items failed and were tolerated")


@pytest.mark.req("EXEC-3.collect")
def test_collect_puts_the_error_where_the_result_would_stand() -> None:
    play = Play(flow(foreach("each", [1, 2], step("w"), tolerate="collect")))
    play.run(lambda one: failure("http.404", "gone") if one.block.index == 0 else "fine")
    assert play.outputs[1] == "fine"
    assert play.outputs[0]["error"]["category"] == "http.404"


@pytest.mark.req("BAR-4.sentence")
def test_too_many_failed_items_are_counted_in_the_reason() -> None:
    play = Play(flow(foreach("each", list(range(50)), step("w"), tolerate=2, limit=50)))
    for index in range(3):
        play.bad(f"each[{index}].w")
    assert play.why("each") == "failed with timeout: 3 of 50 items failed, 2 are tolerated: no answer"


@pytest.mark.req("EXEC-3.aggregate")
def test_an_aggregate_makes_the_output_of_results() -> None:
    play = Play(flow(foreach("each", [1, 2, 3], ECHO, aggregate="results.filter(x, x > 1)"), step("after")))
    assert play.out("each") == [2, 3]


@pytest.mark.req("EXEC-3.aggregate")
def test_an_aggregate_of_no_items_works() -> None:
    assert Play(flow(foreach("each", [], ECHO, aggregate="size(results)"))).outputs == 0


@pytest.mark.req("EXEC-3.aggregate")
def test_an_aggregate_that_cannot_be_computed_fails_the_step_and_its_handlers_run() -> None:
    each = foreach("each", [1], ECHO, aggregate="results + 1", on_error=on_error(step("h")))
    assert Play(flow(each)).active == ["each.on_error.h"]


@pytest.mark.req("EXEC-3.nested")
def test_loops_within_loops_keep_their_own_items() -> None:
    inner = foreach("inner", "$item", step("w", "map", params={"value": "{{ [item, outer] }}"}))
    play = Play(flow(foreach("each", [[1, 2], [3]], inner, **{"as": "outer"})))
    assert play.outputs == [[[1, [1, 2]], [2, [1, 2]]], [[3, [3]]]]
    assert play.has("each[0].inner[1].w")


@pytest.mark.req("EXEC-3.nested")
def test_an_item_whose_branch_outlives_its_join_keeps_the_run_open() -> None:
    race = parallel("p", {"slow": [step("s")], "quick": [step("q")]}, join="any")
    play = Play(flow(foreach("each", [1], race)))
    play.ok("each[0].p.quick.q" if play.has("each[0].p.quick.q") else "each[0].q", 1)
    assert (play.of("each"), play.status) == ("succeeded", "running")
    play.ok("each[0].s")
    assert play.status == "succeeded"


def _played(count: int, **settings: Any) -> tuple[Play, int]:
    """A whole fan-out, unchecked, and the bytes of its journal."""
    play = Play(
        compile_plan(flow(foreach("each", "$inputs.xs", step("w"), **settings))),
        {"xs": list(range(count))},
        check=False,
    )
    play.run(lambda one: one.block.index)
    return play, sum(len(encode(row.event)) for row in play.rows)


@pytest.mark.req("EXEC-3.10000")
@pytest.mark.parametrize("limit", [10, 10_000])
def test_ten_thousand_items_take_events_and_bytes_in_proportion(limit: int) -> None:
    play, size = _played(10_000, limit=limit)
    small, small_size = _played(1_000, limit=limit)
    assert play.outputs == list(range(10_000))
    assert len(play.rows) <= 10 * len(small.rows) + 100
    assert size <= 12 * small_size
    assert play.state.next_due() is None
    play.verify()


@pytest.mark.req("EXEC-3.10000")
def test_ten_thousand_tolerated_failures_take_steps_in_proportion() -> None:
    """Counts the lines that the kernel executes, as time on a busy machine says little."""
    counts = [_lines_of(count) for count in (500, 1_000)]
    assert counts[1] < 2.2 * counts[0]


def _lines_of(count: int) -> int:
    import sys

    lines = 0

    def trace(frame: Any, event: str, _arg: Any) -> Any:
        nonlocal lines
        if "kernel" not in frame.f_code.co_filename:
            return None
        lines += event == "line"
        return trace

    play = Play(flow(foreach("each", list(range(count)), step("w"), tolerate="all")), check=False)
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        play.run(lambda one: failure())
    finally:
        sys.settrace(before)
    assert play.status == "succeeded"
    return lines


# ---------------------------------------------------------------- repeat


@pytest.mark.req("EXEC-4.until")
def test_until_is_judged_after_each_turn_and_sees_its_steps() -> None:
    play = Play(flow(repeat("r", step("page"), until="$page.last"), step("after")))
    play.ok("r[0].page", {"last": False})
    play.ok("r[1].page", {"last": False})
    play.ok("r[2].page", {"last": True})
    assert (play.out("r"), play.active) == ({"last": True}, ["after"])
    assert play.why("r").endswith("ended after 3 turns: `until` holds")


@pytest.mark.req("EXEC-4.while")
def test_while_is_judged_before_each_turn() -> None:
    play = Play(flow(repeat("r", step("a"), while_="$inputs.go"), step("after")), {"go": False})
    assert (play.out("r"), play.active, play.has("r[0].a")) == (None, ["after"], False)


@pytest.mark.req("EXEC-4.while")
def test_a_loops_condition_sees_the_variables_that_its_turns_set() -> None:
    count = step("count", "set", params={"n": "{{ vars.n + 1 }}"})
    assert Play(flow(repeat("r", count, while_="$vars.n < 3"), vars={"n": 0})).state.vars == {"n": 3}
    assert Play(flow(repeat("r", count, until="$vars.n >= 4"), vars={"n": 0})).state.vars == {"n": 4}


@pytest.mark.req("EXEC-4.bound")
def test_max_alone_says_how_often() -> None:
    play = Play(flow(repeat("r", step("a"), max=3))).run({"a": 1})
    assert (play.order, play.outputs) == (["r[0].a", "r[1].a", "r[2].a"], 1)


@pytest.mark.req("EXEC-4.bound")
def test_a_loop_whose_condition_does_not_end_it_in_max_turns_fails() -> None:
    play = Play(flow(repeat("r", step("a"), until="$a.done", max=2))).run({"a": {"done": False}})
    assert (play.status, play.state.error and play.state.error.code) == ("failed", "repeat_exhausted")


@pytest.mark.req("EXEC-4.bound")
def test_a_while_that_ends_exactly_at_max_is_no_failure() -> None:
    count = step("count", "set", params={"n": "{{ vars.n + 1 }}"})
    play = Play(flow(repeat("r", count, while_="$vars.n < 3", max=3), vars={"n": 0}))
    assert (play.status, play.state.vars) == ("succeeded", {"n": 3})


@pytest.mark.req("EXEC-4.bound")
def test_a_loop_without_max_is_bounded_too() -> None:
    play = Play(flow(repeat("r", step("a", "set", params={"x": 1}), until="false")), check=False)
    assert (play.status, play.state.error and play.state.error.code) == ("failed", "repeat_exhausted")


@pytest.mark.req("EXEC-4.every")
def test_every_waits_between_turns() -> None:
    play = Play(flow(repeat("r", step("a"), every="10s", max=2)))
    play.ok("r[0].a")
    assert (play.status, play.of("r")) == ("waiting", "waiting")
    assert play.why("r").startswith("waiting for turn 2, which begins at ")
    play.later(9_999)
    assert not play.has("r[1].a")
    play.later(1)
    assert play.active == ["r[1].a"]


@pytest.mark.req("EXEC-4.every")
def test_a_while_that_cannot_be_judged_after_a_pause_fails_the_step() -> None:
    play = Play(flow(repeat("r", step("a"), every="10s", while_="(a.n ?? 0) < 3")))
    play.ok("r[0].a", {"n": "text"})
    play.later(10_000)
    assert (play.status, play.of("r")) == ("failed", "failed")


@pytest.mark.req("EXEC-4.within")
def test_a_loop_that_is_not_ended_within_its_time_fails() -> None:
    play = Play(flow(repeat("r", step("a"), until="$a.done", every="10s", within="15s")))
    play.ok("r[0].a", {"done": False})
    play.later(10_000)
    play.now += 5_000
    play.ok("r[1].a", {"done": False})
    error = play.state.error
    assert error is not None
    assert (play.status, error.code) == ("failed", "repeat_exhausted")
    assert error.message == "the loop's condition did not end it within 15s"


@pytest.mark.req("EXEC-4.within")
def test_no_turn_is_begun_once_the_time_of_a_loop_is_over() -> None:
    play = Play(flow(repeat("r", step("a"), until="$a.done", every="10s", within="15s")))
    play.now += 6_000
    play.ok("r[0].a", {"done": False})
    assert (play.status, play.active, play.state.next_due()) == ("failed", [], None)


@pytest.mark.req("EXEC-4.turns")
def test_each_turn_has_its_own_steps_and_the_index_in_scope() -> None:
    play = Play(flow(repeat("r", step("a", "map", params={"value": "$index"}), max=3)))
    assert [play.out(f"r[{turn}].a") for turn in range(3)] == [0, 1, 2]


@pytest.mark.req("EXEC-4.turns")
def test_a_turn_that_fails_fails_the_loop() -> None:
    play = Play(flow(repeat("r", step("a"), max=3, on_error=on_error(step("h")))))
    play.ok("r[0].a")
    play.bad("r[1].a")
    assert play.active == ["r.on_error.h"]


@pytest.mark.req("EXEC-4.every")
def test_a_crash_between_turns_loses_no_turn() -> None:
    play = Play(flow(repeat("r", step("a"), every="10s", max=3)))
    play.ok("r[0].a", 1)
    play.crash()
    play.next_timer()
    play.ok("r[1].a", 2)
    play.crash()
    play.run({"a": 3})
    assert (play.status, play.outputs, play.order) == ("succeeded", 3, ["r[0].a", "r[1].a", "r[2].a"])


@pytest.mark.req("EXEC-4.every")
def test_a_loop_that_is_tried_again_between_two_turns_forgets_the_next_turn() -> None:
    again = Retry(max_attempts=2, initial_delay_seconds=30.0, jitter="none")
    loop = repeat("loop", step("x"), max=3, every="10s", retry=again, timeout=Timeout(attempt_seconds=5.0))
    play = Play(flow(loop))
    play.ok("loop[0].x")
    play.later(5_000)
    assert play.of("loop") == "retrying"
    play.later(5_000)
    assert play.of("loop") == "retrying"
    play.later(25_000)
    assert play.active == ["loop[0].x"]
