"""A new run from an old one: what is kept ends at once as it had ended, with the names that later steps look for."""

from __future__ import annotations

from typing import Any

import pytest

from segue.errors import NotFoundError, RequestError
from segue.flow.model import Flow, Step
from segue.kernel import events as ev
from segue.kernel import inputs as inp
from segue.kernel.kept import fit, record, replaced
from segue.kernel.plan import compile_plan
from segue.kernel.rewind import RewindPlan, plan_fork, plan_rewind, steps_at
from segue.kernel.status import RunStatus
from unit.kernel.builders import (
    Play,
    compensate,
    conditional,
    failure,
    final,
    flow,
    foreach,
    graph,
    on_error,
    parallel,
    repeat,
    step,
    try_,
)

pytestmark = pytest.mark.req("BAR-1.replay")


def kept_from(play: Play, *to: str) -> dict[str, ev.Kept]:
    return record(play.state, plan_rewind(play.state, steps_at(play.state, to)) if to else RewindPlan())


def replay(play: Play, *to: str, what: Flow | None = None, inputs: Any = None, **outputs: Any) -> Play:
    kept, _ = fit(replaced(kept_from(play, *to), outputs), compile_plan(what or play.plan.flow))
    return Play(what or play.plan, inputs if inputs is not None else play.state.inputs, kept=kept)


def test_from_a_step_on_the_new_run_does_what_the_old_one_had_done_before() -> None:
    old = Play(flow(step("a"), step("b"), step("c"))).run({"a": 1, "b": 2, "c": 3})
    new = replay(old, "b")
    assert (new.order, new.out("a")) == (["b"], 1)
    assert "kept from run run_0" in new.why("a")
    new.run({"b": 20, "c": 30})
    assert (old.outputs, new.outputs) == (3, 30)


def test_with_all_kept_nothing_is_called_and_the_outputs_are_the_same() -> None:
    steps = [
        step("s", "set", params={"id": "{{ uuid() }}", "at": "{{ string(now()) }}"}),
        foreach("each", "[1, 2, 3]", step("x"), aggregate="size(results)"),
        conditional("c", ("vars.id != ''", [step("y")])),
        step("end", "map", params={"value": {"y": "$y", "id": "$vars.id", "x": "$steps.each"}}),
    ]
    old = Play(flow(*steps)).run(lambda one: one.address)
    new = replay(old)
    assert new.started == []
    assert (new.status, new.outputs, new.state.vars) == (RunStatus.SUCCEEDED, old.outputs, old.state.vars)


def test_steps_inside_of_kept_composites_are_found_by_later_ones() -> None:
    p = parallel("p", {"a": [step("a1")], "b": [step("b1")]})
    end = step("end", "map", params={"value": "{{ a1 + b1 }}"})
    old = Play(flow(p, step("mid"), end)).run({"a1": 1, "b1": 2})
    new = replay(old, "mid")
    assert new.order == ["mid"]
    new.run()
    assert new.outputs == 3


def test_one_item_of_a_loop_is_run_again_and_the_others_are_kept() -> None:
    old = Play(flow(foreach("each", "$inputs.xs", step("x"), step("y"))), {"xs": [1, 2, 3]})
    old.run(lambda one: one.address)
    new = replay(old, "each[1].y")
    assert new.order == ["each[1].y"]
    new.run({"y": "new"})
    assert new.outputs == ["each[0].y", "new", "each[2].y"]


def test_of_an_item_that_is_another_one_now_nothing_is_kept() -> None:
    old = Play(flow(foreach("each", "$inputs.xs", step("x"), step("y"))), {"xs": [1, 2, 3]}).run()
    new = replay(old, "each[1].y", inputs={"xs": [1, 2, 9]})
    assert new.order == ["each[2].x", "each[1].y"] or new.order == ["each[1].y", "each[2].x"]
    assert new.of("each[0].y") == "succeeded"


def test_a_turn_of_a_loop_is_run_again_after_the_turns_before_it() -> None:
    old = Play(flow(repeat("loop", step("x"), max=3))).run()
    new = replay(old, "loop[2].x")
    assert new.order == ["loop[2].x"]


def test_a_step_of_a_handler_is_run_again_without_the_call_that_failed() -> None:
    old = Play(flow(step("a", on_error=on_error(step("g"), step("h"))), step("b")))
    old.bad("a", "http.404")
    old.run({"h": "old"})
    new = replay(old, "a.on_error.h")
    assert new.order == ["a.on_error.h"]
    new.run({"h": "new"})
    assert (new.out("a"), new.state.recovered) == ("new", True)


def test_a_failure_that_was_caught_is_kept_with_what_caught_it() -> None:
    old = Play(flow(try_("t", [step("x")], [step("c"), step("d")]), step("end")))
    old.bad("x", "http.404")
    old.run()
    assert replay(old, "end").order == ["end"]
    assert replay(old, "d").order == ["d"]


@pytest.mark.parametrize("to", ["x", "y", "f"])
def test_a_step_of_a_try_is_run_again_before_the_finally_of_the_try(to: str) -> None:
    old = Play(flow(try_("t", [step("x"), step("y")], None, [step("f")]), step("end"))).run()
    new = replay(old, to)
    assert new.order == [to]
    new.run({to: "new"})
    assert new.order == ["x", "y", "f", "end"][["x", "y", "f"].index(to) :]


def test_a_step_of_a_block_that_a_handler_caught_is_run_again_before_the_handler() -> None:
    block = conditional("c", ("true", [step("x"), step("y")]), on_error=on_error(step("h")))
    old = Play(flow(block, step("end"))).run({"y": failure("http.404"), "h": "caught"})
    new = replay(old, "x")
    assert new.order == ["x"]
    new.run({"y": "fine"})
    assert (new.order, new.out("c")) == (["x", "y", "end"], "fine")


def test_branches_that_were_taken_stay_taken() -> None:
    branches = [{"label": "yes", "when": "random() < 0.5"}, {"label": "no", "when": None}]
    root = graph(
        [step("b", "branch", params={"branches": branches}), step("y"), step("n"), step("end")],
        ["b>y:yes", "b>n:no", "y>end", "n>end"],
    )
    old = Play(flow(root=root), seed="1").run()
    taken = next(name for name in "yn" if old.of(name) == "succeeded")
    new = Play(old.plan, kept=kept_from(old, "end"), seed="7")
    assert new.order == ["end"]
    assert new.of(taken) == "succeeded"


def test_vars_are_set_in_the_order_of_then() -> None:
    root = graph(
        [step("a"), step("one", "set", params={"n": 1}), step("two", "set", params={"n": 2}), step("end")],
        ["a>one", "one>end", "two>end"],
    )
    old = Play(flow(root=root))
    old.ok("a")
    assert old.state.vars == {"n": 1}
    new = replay(old)
    assert (new.state.vars, new.order) == ({"n": 1}, ["end"])


def test_vars_that_were_set_late_win_though_their_step_is_kept_early() -> None:
    root = graph(
        [step("a"), step("one", "set", params={"n": 1}), step("b"), step("two", "set", params={"n": 2}), step("end")],
        ["a>one", "b>two", "one>end", "two>end"],
    )
    old = Play(flow(root=root, vars={"n": 0}, outputs={"at": "{{ string(now()) }}", "n": "$vars.n"}))
    old.ok("b")
    old.ok("a")
    old.run()
    new = replay(old, "end")
    assert (old.state.vars, new.state.vars, new.active) == ({"n": 1}, {"n": 1}, ["end"])
    new.run()
    assert new.outputs == old.outputs == {"at": "2027-01-15T08:00:00Z", "n": 1}


def test_a_run_can_be_forked_while_it_is_under_way() -> None:
    old = Play(flow(step("a"), parallel("p", {"x": [step("x1"), step("x2")], "y": [step("y1")]}), step("end")))
    old.ok("a", 1)
    old.ok("x1", 2)
    new = replay(old)
    assert sorted(new.order) == ["x2", "y1"]
    new.run({"x2": 3, "y1": 4})
    assert new.out("p") == {"x": 3, "y": 4}


def test_a_replayed_run_can_be_rewound_and_then_really_runs_what_it_had_kept() -> None:
    new = replay(Play(flow(step("a"), step("b"))).run({"a": 1}), "b")
    new.run()
    new.give(inp.RewindRun(("a",)))
    assert new.active == ["a"]


def item_of(play: Play, address: str) -> dict[str, object]:
    """What the step's expressions know of the block that it stands in."""
    return dict(play.step(address).block.bindings or {})


def test_in_a_loop_that_is_kept_one_item_can_be_rewound_to_later() -> None:
    each = foreach("each", "$inputs.xs", step("x"), step("y"), **{"as": "one"})
    old = Play(flow(each, step("end")), {"xs": [7, 8, 9]}).run(lambda one: one.address)
    new = replay(old, "end")
    new.run({"end": "done"})
    new.give(inp.RewindRun(("each[1].x",)))
    assert new.active == ["each[1].x"]
    names = item_of(new, "each[1].x")
    assert (names["item"], names["one"], names["index"]) == (8, 8, 1)
    new.ok("each[1].x")
    new.ok("each[1].y", "again")
    assert new.active == ["end"]
    assert new.out("each") == ["each[0].y", "again", "each[2].y"]


def test_in_a_loop_that_is_kept_errors_that_were_collected_stay() -> None:
    old = Play(flow(foreach("each", "[1, 2]", step("x"), tolerate="collect"), step("end")))
    old.bad("each[0].x", "http.404")
    old.run({"x": "fine"})
    new = replay(old, "end")
    new.run()
    new.give(inp.RewindRun(("each[1].x",)))
    new.ok("each[1].x", "finer")
    assert new.out("each") == [old.out("each")[0], "finer"]


def test_in_a_loop_that_is_kept_a_turn_can_be_rewound_to_later() -> None:
    new = replay(Play(flow(repeat("loop", step("x"), max=3), step("end"))).run(), "end")
    new.run()
    new.give(inp.RewindRun(("loop[1].x",)))
    assert (new.active, item_of(new, "loop[1].x")["index"]) == (["loop[1].x"], 1)
    new.ok("loop[1].x")
    assert new.active == ["loop[2].x"]
    new.ok("loop[2].x")
    assert new.active == ["end"]


def test_in_a_try_that_is_kept_what_catches_knows_the_error_when_it_is_rewound_to() -> None:
    old = Play(flow(try_("t", [step("x")], catch=[step("c")]), step("end")))
    old.bad("x", "http.404")
    old.run()
    new = replay(old, "end")
    new.run()
    new.give(inp.RewindRun(("c",)))
    assert new.active == ["c"]
    assert item_of(new, "c") == item_of(old, "c") != {}


def test_of_what_was_undone_a_fork_keeps_nothing() -> None:
    old = Play(flow(step("look"), step("pay", compensate=compensate(step("refund"))), step("ship"), step("mail")))
    old.ok("look")
    old.ok("pay")
    old.ok("ship")
    old.give(inp.CancelRun())
    old.run()
    assert old.status is RunStatus.CANCELLED
    kept = record(old.state, plan_fork(old.state))
    assert sorted(kept) == ["look"]


def test_what_is_kept_is_undone_in_the_order_of_then() -> None:
    def paid(name: str) -> Step:
        return step(name, compensate=compensate(step(f"un_{name}")))

    inner = parallel("p", {"a": [paid("one"), paid("two")]})
    old = Play(flow(root=graph([paid("x"), paid("y"), inner, step("end")], ["x>p", "y>p", "p>end"])))
    old.ok("y")
    old.ok("x")
    old.run()
    new = replay(old, "end")
    new.run()
    new.give(inp.UndoRun())
    new.run()
    assert new.order == [
        "end",
        "two.compensate.un_two",
        "one.compensate.un_one",
        "x.compensate.un_x",
        "y.compensate.un_y",
    ]


# ---------------------------------------------------------------- another version, other data


def test_what_another_version_has_no_place_for_is_told() -> None:
    old = Play(flow(step("a"), step("b"), conditional("c", ("true", [step("x")])), step("end"))).run()
    newer = flow(step("a"), step("b", "set"), conditional("c", ("true", [step("z")])), step("end"))
    kept, dropped = fit(kept_from(old, "end"), compile_plan(newer))
    assert sorted(kept) == ["a", "c"]
    told = {one.step: one.why for one in dropped}
    assert told["b"] == "it is a `set` step there in the version that is run; it was a `call` step"
    assert "its output is kept" in told["c"]
    new = Play(newer, kept=kept)
    assert new.order == ["end"]
    without = fit(kept_from(old, "end"), compile_plan(flow(step("a"), step("end"))))[1]
    assert "there is no such step" in without[0].why


def test_a_step_that_the_new_version_has_before_a_kept_one_is_run() -> None:
    old = Play(flow(step("a"), step("end"))).run()
    new = replay(old, "end", what=flow(step("first"), step("a"), step("end")))
    assert new.order == ["first"]
    new.run()
    assert new.order == ["first", "end"]


def test_recorded_outputs_can_be_replaced_where_they_are_a_steps_own() -> None:
    each = foreach("each", "[1, 2]", step("x"))
    old = Play(flow(step("a"), each, step("end", "map", params={"value": "$data"}))).run({"a": 1, "x": 2})
    assert replay(old, "end", a=5).out("a") == 5
    assert replay(old, "end", each=[7]).outputs == [7]
    with pytest.raises(RequestError, match="kept as a whole"):
        replaced(kept_from(old, "end"), {"each[0].x": 1})
    with pytest.raises(NotFoundError, match="`end`"):
        replaced(kept_from(old, "end"), {"end": 1})


@pytest.mark.req("EXEC-9.set")
def test_variables_are_what_was_set_whatever_the_output_is() -> None:
    steps = [
        step("s", "set", params={"n": 5, "m": 1}, output="{{ $.n * 2 }}", finally_=final(step("close"))),
        conditional("c", ("true", [step("t", "set", params={"m": 2}, output={"other": "$.m"})])),
        step("go"),
        step("end", "map", params={"value": {"n": "$vars.n", "m": "$vars.m", "other": "$vars.other", "s": "$s"}}),
    ]
    old = Play(flow(*steps)).run()
    assert old.outputs == {"n": 5, "m": 2, "other": None, "s": 10}
    for again in (replay(old), replay(old, "go").run(), replay(old, "t").run()):
        assert again.outputs == old.outputs
    old.give(inp.RewindRun(("go",)))
    assert old.state.vars == {"n": 5, "m": 2}
    assert old.run().outputs == {"n": 5, "m": 2, "other": None, "s": 10}
