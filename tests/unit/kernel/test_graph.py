"""Sequences, graphs, edges and joins (semantics, Paths)."""

from __future__ import annotations

from typing import Any

import pytest

from segue.flow.model import Edge
from unit.kernel.builders import Play, flow, graph, seq, step

pytestmark = pytest.mark.req("EXEC-1")


def branch(id: str, *choices: tuple[str, str | None], **settings: Any):
    return step(
        id, "branch", params={"branches": [{"label": label, "when": when} for label, when in choices]}, **settings
    )


@pytest.mark.req("EXEC-1.sequence")
def test_steps_of_a_sequence_run_one_after_the_other() -> None:
    play = Play(flow(step("a"), step("b"), step("c")))
    assert play.active == ["a"]
    play.ok("a", 1)
    assert play.active == ["b"]
    play.ok("b", 2)
    play.ok("c", 3)
    assert (play.status, play.outputs) == ("succeeded", 3)


def test_a_flow_without_steps_succeeds_at_once() -> None:
    play = Play(flow())
    assert (play.status, play.outputs) == ("succeeded", {})


def test_data_is_the_triggers_body_then_the_output_before() -> None:
    play = Play(
        flow(step("a", "map", params={"value": "$data"}), step("b", "map", params={"value": "$data"})),
        trigger={"body": 7},
    )
    assert (play.out("a"), play.out("b")) == (7, 7)


def test_without_a_trigger_data_is_the_inputs() -> None:
    assert Play(flow(step("a", "map", params={"value": "$data"})), {"x": 1}).out("a") == {"x": 1}


def test_a_diamond_joins_once_and_sees_both_inputs_by_id() -> None:
    play = Play(
        flow(
            root=graph(
                [step("a"), step("b"), step("c"), step("d", "map", params={"value": "$data"})],
                ["a>b", "a>c", "b>d", "c>d"],
            )
        )
    )
    play.ok("a")
    assert play.active == ["b", "c"]
    play.ok("c", "C")
    assert play.of("d") == "pending"
    play.ok("b", "B")
    assert play.out("d") == {"b": "B", "c": "C"}
    assert play.events("d") == ["StepSucceeded"]


def test_several_last_steps_give_a_map_by_id() -> None:
    play = Play(flow(root=graph([step("a"), step("b"), step("c")], ["a>b", "a>c"]))).run({"b": 1, "c": 2})
    assert play.outputs == {"b": 1, "c": 2}


@pytest.mark.req("EXEC-2.branch-visible")
def test_a_branch_takes_the_first_label_that_holds_and_kills_the_other_path() -> None:
    root = graph(
        [branch("cond", ("yes", "$inputs.n > 1"), ("no", None)), step("y"), step("n"), step("n2"), step("end")],
        ["cond>y:yes", "cond>n:no", "n>n2", "y>end", "n2>end"],
    )
    play = Play(flow(root=root), {"n": 2})
    assert play.statuses() == {"cond": "succeeded", "y": "running", "n": "skipped", "n2": "skipped", "end": "pending"}
    assert play.why("cond") == "took `yes`"
    play.ok("y", 1)
    assert play.active == ["end"]
    other = Play(flow(root=root), {"n": 0})
    assert (other.of("y"), other.active) == ("skipped", ["n"])
    assert other.why("cond") == "took `no`: no condition before it held"


def test_a_branch_of_which_no_condition_holds_kills_all_its_paths() -> None:
    play = Play(flow(root=graph([branch("cond", ("yes", "false")), step("y"), step("z")], ["cond>y:yes", "y>z"])))
    assert (play.status, play.outputs) == ("succeeded", None)
    assert play.of("z") == "skipped"


def test_unlabelled_edges_of_a_branch_live_whatever_it_chose() -> None:
    play = Play(
        flow(root=graph([branch("cond", ("yes", "true")), step("y"), step("always")], ["cond>y:yes", "cond>always"]))
    )
    assert play.active == ["y", "always"]


def test_a_branch_that_is_skipped_chooses_no_label() -> None:
    root = graph(
        [branch("cond", ("yes", "true"), ("no", None), when="false"), step("y"), step("n"), step("after")],
        ["cond>y:yes", "cond>n:no", "cond>after"],
    )
    play = Play(flow(root=root))
    assert (play.of("y"), play.of("n"), play.active) == ("skipped", "skipped", ["after"])


@pytest.mark.req("EXEC-1.edge-conditions")
def test_an_edge_with_a_condition_lives_only_if_it_holds() -> None:
    root = graph(
        [step("a"), step("big"), step("small"), step("end")],
        [Edge("a", "big", when="$.n > 10"), Edge("a", "small", when="$a.n <= 10"), "big>end", "small>end"],
    )
    play = Play(flow(root=root))
    play.ok("a", {"n": 11})
    assert (play.active, play.of("small")) == (["big"], "skipped")
    play.ok("big")
    assert play.active == ["end"]


def test_an_edge_whose_condition_cannot_be_judged_is_dead_and_says_so() -> None:
    play = Play(flow(root=graph([step("a"), step("b")], [Edge("a", "b", when="$a.n > 'x'")])))
    play.ok("a", {"n": 1})
    assert play.of("b") == "skipped"
    assert "a condition on its edges failed" in (play.step("a").edges_reason or "")
    assert "a condition on its edges failed" in play.why("b")


def test_a_condition_that_is_null_counts_as_false_with_that_reason() -> None:
    play = Play(flow(step("a", when="$inputs.x.y"), step("b")))
    assert play.of("a") == "skipped"
    assert play.why("a").startswith("skipped: its condition was not met: ")
    assert "null" in play.why("a")


@pytest.mark.req("EXEC-1.dead-paths")
def test_when_false_skips_the_one_step_and_the_path_stays_alive() -> None:
    play = Play(flow(step("a", when="false"), step("b", "map", params={"value": "$a"})))
    assert (play.of("a"), play.of("b"), play.out("b")) == ("skipped", "succeeded", None)


def test_a_disabled_step_is_skipped_and_the_path_stays_alive() -> None:
    play = Play(flow(step("a", disabled=True), step("b")))
    assert (play.of("a"), play.active, play.why("a")) == ("skipped", ["b"], "skipped: it is disabled")


@pytest.mark.req("EXEC-1.dead-paths")
def test_a_join_runs_on_its_live_inputs_and_never_waits_for_dead_ones() -> None:
    root = graph(
        [branch("cond", ("yes", "false")), step("dead"), step("deader"), step("live"), step("join")],
        ["cond>dead:yes", "dead>deader", "deader>join", "live>join"],
    )
    play = Play(flow(root=root))
    play.ok("live", 5)
    assert play.active == ["join"]


def test_a_join_with_no_live_input_is_skipped() -> None:
    root = graph([branch("c", ("x", "false")), step("a"), step("b"), step("j")], ["c>a:x", "c>b:x", "a>j", "b>j"])
    assert Play(flow(root=root)).statuses() == {"c": "succeeded", "a": "skipped", "b": "skipped", "j": "skipped"}


@pytest.mark.req("EXEC-1.join")
@pytest.mark.parametrize(("join", "needed"), [("all", 3), ("any", 1), ("first", 1), (2, 2), (1, 1), (3, 3), (5, 3)])
def test_a_join_starts_after_as_many_inputs_as_it_says(join: Any, needed: int) -> None:
    play = Play(flow(root=graph([step("a"), step("b"), step("c"), step("j", join=join)], ["a>j", "b>j", "c>j"])))
    for number, source in enumerate("abc", start=1):
        play.ok(source, source)
        assert ("j" in play.active) == (number >= needed)


def test_a_join_of_any_starts_once_and_its_data_does_not_change_with_late_inputs() -> None:
    play = Play(
        flow(
            root=graph(
                [step("a"), step("b"), step("j", join="any"), step("k", "map", params={"value": "$data"})],
                ["a>j", "b>j", "j>k"],
            )
        )
    )
    play.ok("b", "B")
    play.ok("a", "A")
    assert [one.plan.step.id for one in play.step("j").live_from or ()] == ["b"]
    play.ok("j", 1)
    assert (play.status, play.started.count(("j", 1))) == ("succeeded", 1)


def test_the_run_waits_for_inputs_that_go_on_after_their_join() -> None:
    play = Play(flow(root=graph([step("a"), step("b"), step("j", join="any")], ["a>j", "b>j"])))
    play.ok("a")
    play.ok("j", "done")
    assert play.status == "running"
    play.ok("b")
    assert (play.status, play.outputs) == ("succeeded", "done")


def test_a_dead_path_of_three_hundred_steps_is_skipped_in_one_decision() -> None:
    steps = [branch("c", ("x", "false")), *(step(f"s{n}") for n in range(300))]
    play = Play(flow(root=graph(steps, ["c>s0:x", *(f"s{n}>s{n + 1}" for n in range(299))])))
    assert play.status == "succeeded"
    assert sum(1 for status in play.statuses().values() if status == "skipped") == 300


def test_an_error_edge_takes_the_error_and_the_other_edges_die() -> None:
    root = graph(
        [step("a"), step("good"), step("bad", "map", params={"value": "$data.category"})], ["a>good", "a>bad:error"]
    )
    play = Play(flow(root=root))
    play.bad("a", "http.500")
    assert (play.of("a"), play.of("good"), play.out("bad"), play.status) == (
        "recovered",
        "skipped",
        "http.500",
        "succeeded",
    )
    assert play.why("a") == "failed with http.500: no answer; the edge for errors was taken"
    well = Play(flow(root=root))
    well.ok("a")
    assert (well.of("bad"), well.active) == ("skipped", ["good"])


def test_a_graphs_start_gives_what_flowed_in() -> None:
    play = Play(
        flow(root=graph([step("s", "start"), step("a", "map", params={"value": "$s.x"})], ["s>a"])),
        trigger={"body": {"x": 3}},
    )
    assert play.out("a") == 3


def test_outputs_of_the_flow_are_computed_from_its_steps() -> None:
    play = Play(flow(step("a"), outputs={"n": "$a.n", "twice": "{{ a.n * 2 }}"})).run({"a": {"n": 4}})
    assert play.outputs == {"n": 4, "twice": 8}


def test_outputs_that_cannot_be_computed_fail_the_run() -> None:
    play = Play(flow(step("a"), outputs={"n": "{{ a.n + 'x' }}"})).run({"a": {"n": 4}})
    assert (play.status, play.state.error and play.state.error.category) == ("failed", "expression")


def test_vars_that_cannot_be_computed_fail_the_run_before_any_step_starts() -> None:
    play = Play(flow(step("a"), vars={"n": "{{ 1 / 0 }}"}))
    assert (play.status, play.started) == ("failed", [])
    assert play.of("a") == "cancelled"


def test_a_steps_output_transformation_sees_the_result_as_dollar() -> None:
    play = Play(flow(step("a", output="{{ $.body.n + 1 }}"))).run({"a": {"body": {"n": 1}}})
    assert play.outputs == 2


@pytest.mark.parametrize(
    ("written", "made"),
    [
        ("$", {"body": {"n": 1}, "a-b": [5]}), ("$.body", {"n": 1}), ("$.body.n", 1), ('$["a-b"][0]', 5),
        ({"n": "$.body.n", "all": ["$.none", "$$.body", "of $.body"]}, {"n": 1, "all": [None, "$.body", "of $.body"]}),
    ],
)  # fmt: skip
@pytest.mark.req("EXEC-8.at-hand")
def test_an_output_transformation_refers_to_the_result_as_to_any_other_value(written: Any, made: Any) -> None:
    play = Play(flow(step("a", output=written))).run({"a": {"body": {"n": 1}, "a-b": [5]}})
    assert play.outputs == made


@pytest.mark.req("EXEC-8.at-hand")
def test_where_no_value_is_at_hand_a_dollar_with_a_path_is_a_text() -> None:
    play = Play(flow(step("a", "map", params={"value": {"query": "$.items[0]", "one": "$"}})))
    assert play.outputs == {"query": "$.items[0]", "one": "$"}


def test_an_expression_that_fails_says_where_it_stands() -> None:
    params = {"value": {"lines": [1, {"net price": "{{ inputs.n / 0 }}"}]}}
    play = Play(flow(step("m", "map", params=params)), {"n": 1})
    assert play.state.error is not None
    assert play.state.error.message == "params.value.lines[1].net price: EXP105 division by zero (at 3)"


def test_an_output_transformation_that_fails_fails_the_step() -> None:
    play = Play(flow(step("a", output="{{ $.n + 'x' }}"))).run({"a": {"n": 1}})
    assert (play.status, play.of("a")) == ("failed", "failed")


def test_a_graph_within_a_branch_may_use_ids_of_exclusive_branches() -> None:
    left = seq(step("x", "set", params={"n": 1}), label="then", when="$inputs.left")
    right = seq(step("x", "set", params={"n": 2}), label="else")
    plan = flow(step("c", "conditional", blocks=(left, right)), step("see", "map", params={"value": "$x.n"}))
    assert Play(plan, {"left": True}).out("see") == 1
    assert Play(plan, {"left": False}).out("see") == 2
