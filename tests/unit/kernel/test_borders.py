"""Limits, budgets and times at their borders."""

from __future__ import annotations

from typing import Any

import pytest

from segue.errors import ConflictError, InvalidFlowError, NotFoundError
from segue.flow.model import Block, Cache, Callback, Edge, Fallback, Flow, Limits, Retry, Timeout
from segue.kernel import events as ev
from segue.kernel import inputs as inp
from segue.kernel.compensation import undo_preview
from segue.kernel.decide import MAX_LOST_ATTEMPTS
from segue.kernel.decision import Outside
from segue.kernel.durations import InvalidDuration, milliseconds_of, moment_of
from segue.kernel.evaluate import StopNow
from segue.kernel.kept import NotKept, fit, origin_told, record
from segue.kernel.plan import compile_plan
from segue.kernel.rewind import RewindPlan
from segue.kernel.scope import SeededImpure
from segue.kernel.slots import key_of_run, name_of, parts_of, rate_reached, slot_key, slots_taken
from segue.kernel.status import RunStatus
from unit.kernel.builders import (
    NOW,
    Play,
    callback,
    compensate,
    conditional,
    failure,
    flow,
    foreach,
    graph,
    on_error,
    parallel,
    repeat,
    step,
    switch,
    try_,
)

# ---------------------------------------------------------------- what is counted


def counted_by(key: str | None, inputs: Any = None, trigger: Any = None, **settings: Any) -> str | None:
    plan = compile_plan(flow(step("a"), run_limits=Limits(concurrency=1, key=key), **settings))
    return key_of_run(plan, "run_1", inputs or {}, trigger or {}, "ab", NOW)


@pytest.mark.req("EXEC-5.limits")
@pytest.mark.parametrize(
    ("key", "found"),
    [
        (None, ""),
        ("$inputs.who", '"ann"'),
        ("{{ inputs.who }}", '"ann"'),
        ("$trigger.body.id", "7"),
        ("string(now())", '"2027-01-15T08:00:00Z"'),
        ("[inputs.who, trigger.body.id]", '["ann",7]'),
    ],
)
def test_runs_are_counted_by_the_value_of_the_key(key: str | None, found: str) -> None:
    assert counted_by(key, {"who": "ann"}, {"body": {"id": 7}}) == found


@pytest.mark.req("EXEC-5.limits")
def test_runs_of_a_flow_without_limits_are_not_counted() -> None:
    assert key_of_run(compile_plan(flow(step("a"))), "run_1", {}, {}, "ab", NOW) is None


@pytest.mark.req("EXEC-5.limits")
def test_a_key_that_cannot_be_computed_says_so_by_its_name() -> None:
    with pytest.raises(StopNow) as stopped:
        counted_by("1 / inputs.n", {"n": 0})
    assert stopped.value.failure.message.startswith("limits.key: ")


@pytest.mark.req("EXEC-5.limits")
def test_a_random_key_is_the_run_s_own() -> None:
    plan = compile_plan(flow(step("a"), run_limits=Limits(concurrency=1, key="uuid()")))
    one, same, other = (key_of_run(plan, "run_1", {}, {}, seed, NOW) for seed in ("ab", "ab", "cd"))
    assert one == same != other


@pytest.mark.req("EXEC-5.limits")
def test_a_key_has_a_thousand_characters_at_most() -> None:
    assert len(slot_key("x" * 998)) == 1_000
    with pytest.raises(StopNow) as stopped:
        slot_key("x" * 999)
    error = stopped.value.failure
    assert (error.category, error.code) == ("validation", "key_too_long")
    assert error.message == "limits.key: its 1,001 characters are more than the 1,000 that a key may have"


@pytest.mark.req("EXEC-5.limits")
def test_equal_maps_are_one_key_in_whatever_order_they_were_written() -> None:
    assert slot_key({"b": 1, "a": 2}) == slot_key({"a": 2, "b": 1}) == '{"a":2,"b":1}'


@pytest.mark.req("EXEC-5.limits")
def test_what_is_full_is_said_with_its_key_cut_to_sixty_characters() -> None:
    limits = Limits(concurrency=2, rate_count=5, rate_seconds=60.0)
    assert slots_taken("f", limits, "", 2) == "2 of 2 slots of `f` are taken"
    assert slots_taken("f", limits, "k" * 60, 1) == f"1 of 2 slots of `f` for key {'k' * 60} are taken"
    assert rate_reached("f", limits, "k" * 61) == f"`f` for key {'k' * 60}… has begun 5 times within 1m"


@pytest.mark.req("EXEC-5.limits")
def test_a_step_s_slots_are_named_by_workspace_flow_step_and_key() -> None:
    play = Play(flow(step("a", limits=Limits(concurrency=1, key="$inputs.who"))), {"who": "ann"}, check=False)
    assert parts_of(name_of("w", "f", play.step("a"))) == ("w", "f", "a", '"ann"')
    plan = compile_plan(flow(step("a", limits=Limits(concurrency=1)), step("b"), step("s", "set", limits=Limits())))
    assert [*plan.limited] == ["a"]
    assert plan.limited["a"].step.id == "a"


@pytest.mark.req("EXEC-5.limits")
def test_a_key_of_the_cache_that_cannot_be_computed_fails_nothing_before_it_is_asked_for() -> None:
    plan = compile_plan(flow(step("a", cache=Cache(seconds=60.0, key="1 / 0"))))
    assert "cache.key" in plan.nodes[0].programs


# ---------------------------------------------------------------- times


@pytest.mark.req("EXEC-9.wait")
@pytest.mark.parametrize(
    ("value", "milliseconds"),
    [(0, 0), (1.5, 1_500), ("90s", 90_000), ("PT30S", 30_000), ("2h", 7_200_000), (0.0004, 0), (0.0006, 1)],
)
def test_durations_in_milliseconds(value: object, milliseconds: int) -> None:
    assert milliseconds_of(value) == milliseconds


@pytest.mark.req("EXEC-9.wait")
@pytest.mark.parametrize("value", [True, None, -0.001, float("inf"), float("nan"), "soon", [1]])
def test_what_is_no_duration_is_refused_with_an_example(value: object) -> None:
    with pytest.raises(InvalidDuration) as refused:
        milliseconds_of(value)
    told = f"{value!r} is no duration; write a number with its unit, such as 30s, 5m, 2h, 7d or PT30S"
    assert str(refused.value) == told


@pytest.mark.req("EXEC-9.wait")
def test_ten_years_are_the_longest_duration() -> None:
    years = 10 * 366 * 86_400
    assert milliseconds_of(years) == years * 1000
    with pytest.raises(InvalidDuration, match="is longer than ten years"):
        milliseconds_of(years + 1)


@pytest.mark.req("EXEC-9.wait")
def test_moments_need_a_zone() -> None:
    assert moment_of("2027-01-15T09:00:00+01:00") == NOW
    for value in ("2027-01-15T09:00:00", "tomorrow", 5):
        with pytest.raises(InvalidDuration) as refused:
            moment_of(value)
        told = f"{value!r} is no moment; write a date and time with its zone, such as 2026-01-31T09:00:00+01:00"
        assert str(refused.value) == told
    with pytest.raises(InvalidDuration, match="lies outside of the years 1 to 9999 in UTC"):
        moment_of("0001-01-01T00:00:00+01:00")


@pytest.mark.req("EXEC-4.every")
@pytest.mark.parametrize(("after", "status"), [(9_999, "running"), (10_000, "failed")])
def test_a_loop_may_take_its_time_and_not_a_millisecond_more(after: int, status: str) -> None:
    play = Play(flow(repeat("loop", step("x"), until="false", within="10s")))
    play.now += after
    play.ok("loop[0].x")
    assert play.status == status


@pytest.mark.req("CALL-1.approve-remind")
@pytest.mark.parametrize(("every", "reminded"), [(59.999, True), (60.0, False), (61.0, False)])
def test_people_are_reminded_only_before_their_time_is_over(every: float, reminded: bool) -> None:
    play = Play(flow(step("ask", "approve", params={"remind": every}, callback=callback(expires_seconds=60.0))))
    assert ((0, "remind") in play.state.timers) is reminded


@pytest.mark.req("CALL-1.approve-remind")
def test_a_reminder_says_until_when_and_of_which_run() -> None:
    asked = step(
        "ask",
        "approve",
        params={"remind": 30.0, "to": ["ann"], "message": "?"},
        callback=callback(expires_seconds=60.0),
    )
    play = Play(flow(asked))
    made = play.next_timer()
    one = (made.outside or Outside()).emitted[0]
    assert one.data == {
        "run": "run_1", "flow": "f", "step": "ask", "number": 1, "to": ["ann"], "message": "?",
        "until": "2027-01-15T08:01:00.000Z",
    }  # fmt: skip
    assert (one.name, one.at) == ("segue.approval.reminder", NOW + 30_000)


@pytest.mark.req("CALL-1.approve")
@pytest.mark.parametrize(
    ("payload", "told"),
    [
        ({"decision": "approve", "by": "ann"}, "approved by ann"),
        ({"decision": "reject", "by": "ann"}, "rejected by ann"),
        ({"approved": True}, "approved by a person"),
        ({"approved": False}, "rejected by a person"),
    ],
)
def test_a_decision_says_whose_it_was(payload: Any, told: str) -> None:
    play = Play(flow(step("ask", "approve", callback=callback(expires_seconds=60.0))))
    play.call_back("ask", payload)
    assert play.step("ask").reason == told


@pytest.mark.req("TIME-2.attempt")
def test_a_sub_flow_is_waited_for_until_the_first_of_its_step_s_limits() -> None:
    for timeout, until in (
        (Timeout(attempt_seconds=30.0, total_seconds=60.0), NOW + 30_000),
        (Timeout(attempt_seconds=90.0, total_seconds=60.0), NOW + 60_000),
        (Timeout(total_seconds=60.0), NOW + 60_000),
        (None, None),
    ):
        play = Play(flow(step("sub", "flow", timeout=timeout)))
        play.give(inp.ChildBegan(0, 1, "run_9", "other"))
        assert play.step("sub").until == until


@pytest.mark.req("DUR-1.lost")
def test_a_lost_attempt_s_time_does_not_run_on() -> None:
    play = Play(flow(step("a", limits=Limits(concurrency=1), timeout=Timeout(attempt_seconds=60.0))), check=False)
    play.give(inp.SlotGiven(0))
    assert play.state.timers == {(0, "attempt"): NOW + 60_000}
    play.crash()
    assert play.state.timers == {}
    assert [*play.state.awaiting] == [0]


@pytest.mark.req("DUR-1.lost")
def test_a_step_that_takes_its_host_down_ten_times_fails() -> None:
    play = Play(flow(step("a")))
    for _ in range(MAX_LOST_ATTEMPTS - 1):
        play.crash()
        assert play.active == ["a"]
    play.crash()
    error = play.state.error
    assert error is not None
    assert (error.category, error.code) == ("internal", "host_stopped")
    assert error.message == "its host stopped 10 times while it was in flight; it may be the cause"


# ---------------------------------------------------------------- what is tolerated


@pytest.mark.req("EXEC-3.tolerate")
@pytest.mark.parametrize(
    ("tolerate", "failed", "status"),
    [
        (2, 2, "succeeded"), (2, 3, "failed"), ("50%", 2, "succeeded"), ("50%", 3, "failed"), ("49%", 2, "failed"),
        ("all", 4, "succeeded"), ("collect", 4, "succeeded"), ("$inputs.n", 1, "succeeded"), ("$inputs.n", 2, "failed"),
        ("$inputs.all", 4, "succeeded"), ("$inputs.share", 1, "succeeded"), ("$inputs.share", 2, "failed"),
        ("$inputs.collect", 4, "succeeded"), (0, 1, "failed"),
    ],
)  # fmt: skip
def test_so_many_items_may_fail_and_no_more(tolerate: Any, failed: int, status: str) -> None:
    inputs = {"n": 1, "all": "all", "share": "25 %", "collect": "collect"}
    play = Play(flow(foreach("each", [0, 1, 2, 3], step("x"), tolerate=tolerate)), inputs)
    play.run(lambda one: failure("http.404", "gone") if one.block.index < failed else one.block.index)
    assert play.status == status
    if status == "succeeded" and tolerate in ("collect", "$inputs.collect"):
        assert [one["error"]["message"] for one in play.out("each")] == ["gone"] * 4


@pytest.mark.req("EXEC-1.join-any")
@pytest.mark.parametrize(
    ("join", "failed", "status"), [(2, 1, "succeeded"), (2, 2, "failed"), ("any", 2, "succeeded"), ("any", 3, "failed")]
)
def test_so_many_branches_must_end_well(join: Any, failed: int, status: str) -> None:
    play = Play(flow(parallel("p", {name: [step(name)] for name in "abc"}, join=join)))
    play.run({name: failure("http.404") for name in "abc"[:failed]})
    assert play.status == status


# ---------------------------------------------------------------- fallbacks and retries


@pytest.mark.req("BIND-3.fallback")
def test_each_fallback_is_called_once_and_the_last_failure_counts() -> None:
    play = Play(flow(step("a", fallback=(Fallback(use="one"), Fallback(use="two")))))
    for message in ("first", "second"):
        play.bad("a", "http.404", message)
        assert play.active == ["a"]
    play.bad("a", "http.410", "third")
    assert (play.status, play.state.error and play.state.error.message) == ("failed", "third")
    assert [name for name in play.events("a") if name == "FallbackStarted"] == ["FallbackStarted"] * 2


@pytest.mark.req("BIND-3.fallback")
@pytest.mark.parametrize("category", ["unknown_outcome", "cancelled"])
def test_what_may_have_taken_effect_is_not_done_by_a_fallback_too(category: str) -> None:
    play = Play(flow(step("a", fallback=(Fallback(use="one"),))))
    play.bad("a", category)
    assert play.status == "failed"


@pytest.mark.req("TIME-1.retry")
@pytest.mark.parametrize(
    ("transient", "category", "retried"),
    [(True, "validation", True), (False, "timeout", False), (None, "timeout", True)],
)
def test_an_action_that_knows_better_whether_another_try_helps_is_believed(
    transient: bool | None, category: str, retried: bool
) -> None:
    play = Play(flow(step("a", retry=Retry(max_attempts=2, initial_delay_seconds=1.0, jitter="none"))))
    play.give(inp.AttemptEnded(0, 1, failure=failure(category), transient=transient))
    assert (play.of("a") == "retrying") is retried


@pytest.mark.req("TIME-1.retry")
def test_a_server_that_asks_for_a_longer_pause_gets_it() -> None:
    play = Play(flow(step("a", retry=Retry(max_attempts=2, initial_delay_seconds=1.0, jitter="none"))))
    play.bad("a", "http.429", retry_after_seconds=40.0)
    assert play.state.next_due() == NOW + 40_000


# ---------------------------------------------------------------- what can be undone


@pytest.mark.req("BAR-10.preview")
def test_what_would_be_undone_leaves_out_what_a_block_around_it_answers_for() -> None:
    inner = step("x", compensate=compensate(step("no_x")))
    covered = conditional("c", ("true", [inner, step("y")]), compensate=compensate(step("no_c")))
    play = Play(flow(covered, step("a", compensate=compensate(step("no_a"))), step("b"))).run()
    seen = undo_preview(play.state)
    assert [one.address for one in seen.undone_by] == ["a", "c"]
    assert [one.address for one in seen.kept] == ["b"]
    play.give(inp.UndoRun())
    play.run()
    seen = undo_preview(play.state)
    assert ([one.address for one in seen.done], seen.undone_by) == (["c", "a"], ())
    assert [one.address for one in seen.kept] == ["b"], "calls of an undoing are no calls that it left undone"
    with pytest.raises(ConflictError, match="run run_1 has nothing to undo: no step that ended well"):
        play.give(inp.UndoRun())


@pytest.mark.req("BAR-10.cancel")
def test_an_undoing_that_is_cut_off_by_force_is_recorded_and_can_be_asked_for_again() -> None:
    play = Play(
        flow(step("a", compensate=compensate(step("no_a"))), step("b", compensate=compensate(step("no_b"))), step("c"))
    )
    play.ok("a")
    play.ok("b")
    play.bad("c", "http.404", "gone")
    play.give(inp.CancelRun("now", force=True))
    one = play.step("b")
    assert one.undone == "failed"
    assert one.undo_error == ev.Failure(category="cancelled", message="now")
    assert (play.step("a").undone, play.status) == (None, "failed")
    assert play.state.error == failure("http.404", "gone", step="c", attempt=1)
    play.give(inp.UndoRun())
    assert play.active == ["b.compensate.no_b"]
    play.run()
    assert (play.step("a").undone, play.step("b").undone) == ("done", "done")


# ---------------------------------------------------------------- what is refused


@pytest.mark.req("DUR-3.rewind")
def test_a_refused_rewind_names_five_steps_at_most() -> None:
    play = Play(flow(*(step(name) for name in "abcdef"))).run()
    with pytest.raises(NotFoundError) as refused:
        play.give(inp.RewindRun(("z",)))
    assert refused.value.message == "run run_1 has no step `z`; it can be rewound to a, b, c, d, e …"
    with pytest.raises(ConflictError) as unsaid:
        play.give(inp.RewindRun(()))
    assert unsaid.value.message == "say to which step run run_1 is to be rewound: a, b, c, d, e …"
    few = Play(flow(step("a"), try_("t", [step("x")], [step("c")]))).run()
    with pytest.raises(ConflictError) as unreached:
        few.give(inp.RewindRun(("c",)))
    assert unreached.value.message == "run run_1 has not reached `c`; it can be rewound to a, t, x"


@pytest.mark.req("DUR-3.retry")
@pytest.mark.parametrize(
    ("given", "told"),
    [
        (inp.CancelRun(), "run run_1 is over already (succeeded)"),
        (inp.PauseRun(), "run run_1 is over already (succeeded)"),
        (inp.ResumeRun(), "run run_1 is not paused (succeeded)"),
        (inp.RetryRun(), "run run_1 ended well; rewind it to a step to run that again"),
        (inp.Begin({}, {}, "ab"), "run run_1 has begun already"),
        (inp.CallbackArrived(0, 0, None), "run run_1 is not waiting for this callback any more"),
        (inp.CallbackArrived(9, 0, None), "run run_1 is not waiting for this callback any more"),
    ],
)
def test_what_a_run_that_is_over_does_not_take_is_refused_in_words(given: inp.Input, told: str) -> None:
    play = Play(flow(step("a"))).run()
    with pytest.raises(ConflictError) as refused:
        play.give(given)
    assert refused.value.message == told


@pytest.mark.req("DUR-3.retry")
@pytest.mark.parametrize(
    ("given", "told"),
    [
        (inp.UndoRun(), "run run_1 is not over (running): cancel it, and it is undone as it ends"),
        (inp.RetryRun(), "run run_1 is running, and no step of it has failed for good"),
        (inp.ResumeRun(), "run run_1 is not paused (running)"),
        (
            inp.RewindRun(("a",), compensate=True),
            "run run_1 is not over (running): cancel it first, or go back without undoing",
        ),
    ],
)
def test_what_a_run_under_way_does_not_take_is_refused_in_words(given: inp.Input, told: str) -> None:
    play = Play(flow(step("a"), step("b")))
    with pytest.raises(ConflictError) as refused:
        play.give(given)
    assert refused.value.message == told


@pytest.mark.req("DUR-3.retry")
def test_a_run_that_has_not_begun_takes_little() -> None:
    play = Play(flow(step("a")), queued=ev.RunQueued(reason="later", until=NOW + 1), check=False)
    for given, told in (
        (inp.PauseRun(), "run run_1 has not begun; it can be cancelled, or paused once it has"),
        (inp.RetryRun(), "run run_1 has not begun"),
    ):
        with pytest.raises(ConflictError) as refused:
            play.give(given)
        assert refused.value.message == told
    play.give(inp.CancelRun("never mind"))
    assert (play.status, play.state.cancelling) == (RunStatus.CANCELLED, "never mind")


# ---------------------------------------------------------------- plans


def problems(what: Flow) -> list[tuple[str, str, str]]:
    with pytest.raises(InvalidFlowError) as refused:
        compile_plan(what)
    assert refused.value.message.startswith("flow 'f' cannot be run: ")
    return [(one.code, one.message, one.path or "") for one in refused.value.problems]


@pytest.mark.req("FLOW-12.plan")
def test_a_flow_that_cannot_be_run_says_what_and_where() -> None:
    odd = Block(label="root", steps=(step("a"),), edges=(Edge("a", "z"),))
    assert problems(Flow(id="f", root=odd)) == [("PLN002", "edge a → z has an end that is no step", "root")]
    for one in (
        step("a", when="1 +"), step("a", params={"x": "{{ 1 + }}"}), step("a", output="{{ 1 + }}"),
        step("a", has_default=True, default="{{ 1 + }}"), step("a", limits=Limits(key="1 +")),
        step("a", fallback=(Fallback(use="x", params={"x": "{{ 1 + }}"}),)), foreach("a", "1 +", step("x")),
        foreach("a", "[1]", step("x"), tolerate="1 +"), foreach("a", "[1]", step("x"), key="1 +"),
        repeat("a", step("x"), until="1 +"), switch("a", "1 +", {1: [step("x")]}),
        step("a", callback=Callback(correlate="{{ 1 + }}")),
        step("a", "branch", params={"branches": [{"label": "x", "when": "1 +"}]}),
        conditional("a", ("1 +", [step("x")])),
    ):  # fmt: skip
        found = problems(flow(one))
        assert [(code, path) for code, _, path in found] == [("PLN003", "a")], one
        assert " in " in found[0][1]


# ---------------------------------------------------------------- what is kept


@pytest.mark.req("BAR-1.replay")
def test_what_a_new_version_cannot_keep_is_said_in_words() -> None:
    old = Play(flow(step("a"), conditional("c", ("true", [step("x")])), step("e"))).run()
    newer = flow(step("a", "set"), conditional("c", ("true", [step("x", "set")])))
    kept, dropped = fit(record(old.state, RewindPlan()), compile_plan(newer))
    assert dropped == [
        NotKept("a", "it is a `set` step there in the version that is run; it was a `call` step"),
        NotKept("c", "the steps in it are others in the version that is run; its output is kept"),
        NotKept("e", "there is no such step in the version that is run; it was a `call` step"),
    ]
    assert [(address, one.blocks) for address, one in kept.items()] == [("c", [])]


@pytest.mark.req("BAR-1.replay")
def test_where_a_run_comes_from_is_said_in_words() -> None:
    assert origin_told(ev.Origin(run_id="run_0", kind="fork", event=7)) == "forked from run run_0 as of its event 7"
    assert origin_told(ev.Origin(run_id="run_0", to=("a", "b"))) == "replays run run_0 from `a`, `b`"
    assert origin_told(ev.Origin(run_id="run_0")) == "replays run run_0"


@pytest.mark.req("BAR-1.replay")
def test_a_loop_that_is_kept_as_a_whole_keeps_its_items_keys_failures_and_vars() -> None:
    each = foreach("each", "['x', 'y']", step("s", "set", params={"last": "$item"}), step("a"), key="item", tolerate=1)
    old = Play(flow(each, step("end"), vars={"last": ""}))
    old.run(lambda one: failure("http.404", "gone") if one.address == 'each["y"].a' else 1)
    new = Play(old.plan, kept=record(old.state, RewindPlan()))
    one, was = new.step("each"), old.step("each")
    assert (one.items, one.keys, one.tolerated) == (was.items, was.keys, was.tolerated) == (["x", "y"], ["x", "y"], [1])
    assert new.state.vars == old.state.vars == {"last": "y"}
    assert new.statuses() == old.statuses()
    blocks = [[(block.plan.label, block.closed, block.failure) for block in play.children or ()] for play in (one, was)]
    assert blocks[0] == blocks[1]


@pytest.mark.req("BAR-1.replay")
def test_errors_of_what_is_kept_are_kept_with_their_status() -> None:
    root = graph([step("a", timeout=Timeout(total_seconds=5.0)), step("b"), step("c")], ["a>b"])
    old = Play(flow(root=root, on_error="continue"))
    old.ok("c")
    old.next_timer()
    assert old.of("a") == "timed_out"
    new = Play(old.plan, kept=record(old.state, RewindPlan()))
    assert (new.statuses(), new.started) == (old.statuses(), [])
    assert (new.step("a").error, new.step("a").continued) == (old.step("a").error, True)


@pytest.mark.req("DUR-3.rewind")
def test_callbacks_of_a_step_that_its_handler_will_try_again_are_open_again_after_a_rewind() -> None:
    for then, opened in (("retry", ["a", "a"]), ("continue", ["a"]), ("fail", ["a"])):
        handlers = on_error(step("h"), then=then)
        play = Play(flow(step("a", on_error=handlers, callback=callback(expires_seconds=600.0)), step("b")))
        play.bad("a", "http.404")
        play.ok("a.on_error.h")
        if then == "retry":
            play.later(0)
            play.ok("a")
            play.call_back("a", 1)
        play.run()
        play.give(inp.RewindRun(("a.on_error.h",)))
        assert play.opened == opened
        assert play.step("a").callback is (then == "retry")
        assert play.step("a").expires_at == (play.now + 600_000 if then == "retry" else play.step("a").expires_at)


@pytest.mark.req("DUR-3.rewind")
def test_a_callback_of_a_step_that_a_rewind_left_behind_is_refused() -> None:
    inner = step("w", "wait", callback=callback(expires_seconds=600.0))
    play = Play(flow(step("a"), conditional("c", ("true", [inner]))))
    play.ok("a")
    old = play.step("w")
    play.give(inp.RewindRun(("a",)))
    with pytest.raises(ConflictError, match="is not waiting for this callback any more"):
        play.give(inp.CallbackArrived(old.id, old.generation, 1))


@pytest.mark.req("EXEC-8.names")
def test_in_another_try_of_a_block_its_steps_are_unknown_until_they_have_run_again() -> None:
    seen = step("look", "map", params={"value": {"x": "$steps.x", "y": "$steps.y"}})
    block = conditional("c", ("true", [seen, step("x"), step("y")]), retry=Retry(max_attempts=2, jitter="none"))
    play = Play(flow(block))
    play.ok("x", 1)
    play.bad("y", "timeout")
    play.next_timer()
    assert play.out("look") == {"x": None, "y": None}
    play.run({"x": 2, "y": 3})
    assert (play.out("x"), play.status) == (2, RunStatus.SUCCEEDED)


@pytest.mark.req("CALL-1.sub-flow")
def test_the_journal_says_which_run_of_which_version_a_step_has_started() -> None:
    play = Play(flow(step("sub", "flow")))
    play.give(inp.ChildBegan(0, 1, "run_9", "other", "3"))
    assert play.rows[-1].event == ev.ChildStarted(run_id="run_9", flow="other", version="3")
    early = Play(flow(step("sub", "flow")))
    early.give(inp.ChildEnded(0, 0, 1, "run_9", "other", "3", output=5))
    assert ev.ChildStarted(run_id="run_9", flow="other", version="3") in [row.event for row in early.rows]
    assert (early.outputs, early.step("sub").child) == (5, "run_9")


@pytest.mark.req("EXEC-5.limits")
def test_a_run_that_found_no_slot_is_over_when_that_was_told() -> None:
    play = Play(flow(step("a")), queued=ev.RunQueued(reason="full"), check=False)
    play.now += 5_000
    play.give(inp.SkipQueued("still full"))
    assert (play.status, play.state.skipped, play.state.finished_at) == ("cancelled", "still full", NOW + 5_000)


@pytest.mark.req("BAR-4.code")
def test_what_is_said_between_two_events_and_when_a_timer_is_late() -> None:
    play = Play(flow(step("a", compensate=compensate(step("n"))), step("b")), check=False)
    play.ok("a")
    play.bad("b", "http.404", "gone")
    begun = next(place for place, row in enumerate(play.rows) if isinstance(row.event, ev.CompensationStarted))
    play.rows = play.rows[: begun + 1]
    play.state = play.folded()
    told = "undoes what was done, 0 of 1 step are over; then it ends as failed (`b` failed with http.404: gone)"
    assert play.why() == told
    late = Play(flow(step("a", retry=Retry(max_attempts=2, jitter="none"))))
    late.bad("a", "timeout", "slow")
    late.now += 60_000
    assert late.why("a") == "attempt 1 of 2 failed with timeout: slow; next try at once"
    late.state.set_status(RunStatus.QUARANTINED)
    last = late.state.seq - 1
    assert late.why() == f"quarantined: its journal does not fold after event {last}"


@pytest.mark.req("DUR-1.fold")
def test_random_numbers_fill_the_range_from_zero_to_one() -> None:
    drawn = [SeededImpure("ab", str(place), NOW).random() for place in range(200)]
    assert (min(drawn) < 0.05, max(drawn) > 0.95, 0.4 < sum(drawn) / 200 < 0.6) == (True, True, True)


@pytest.mark.req("BAR-1.replay")
def test_a_branch_that_is_kept_says_why_it_was_taken_then() -> None:
    old = Play(flow(conditional("c", ("true", [conditional("i", ("true", [step("x")]))])))).run()
    new = Play(old.plan, kept=record(old.state, RewindPlan()))
    assert new.why("c") == "kept from run run_0: took `then`: its condition holds"
    assert new.why("i") == "took `then`: its condition holds"
    assert {one.settled_seq >= 0 and one.started_seq >= 0 for one in new.state.nodes} == {True}
    assert all(block.opened_seq >= 0 for one in new.state.nodes for block in one.children or ())
