"""Compensation: what a run did is undone backwards when it ends badly, or when that is asked for (saga)."""

from __future__ import annotations

from typing import Any

import pytest

from segue.errors import ConflictError
from segue.flow.model import Block, Flow, Retry, Step
from segue.kernel import inputs as inp
from segue.kernel.compensation import undo_preview
from unit.kernel.builders import Play, compensate, failure, flow, foreach, on_error, parallel, seq, step, try_

FINALLY = seq(step("f"), label="finally")


def done_by(name: str, undo: str, **settings: Any) -> Step:
    """A call that another one undoes."""
    return step(
        name, compensate=compensate(step(undo, params={"id": "$output.id", "why": "$error.category"})), **settings
    )


def trip(**settings: Any) -> Flow:
    return flow(done_by("flight", "no_flight"), done_by("hotel", "no_hotel"), step("car"), **settings)


def undone(play: Play) -> list[str]:
    """Addresses of compensations in the order of their first attempts."""
    return [address for address in play.order if ".compensate." in address]


@pytest.mark.req("BAR-10.backwards", "EXEC-6.saga")
def test_a_run_that_fails_is_undone_backwards_one_step_after_the_other() -> None:
    play = Play(trip())
    play.ok("flight", {"id": 1})
    play.ok("hotel", {"id": 2})
    play.bad("car", "http.409")
    assert (play.active, play.status) == (["hotel.compensate.no_hotel"], "running")
    assert "undoes `hotel`" in play.why()
    play.ok("hotel.compensate.no_hotel")
    assert play.active == ["flight.compensate.no_flight"]
    play.ok("flight.compensate.no_flight")
    assert (play.status, play.state.error and play.state.error.category) == ("failed", "http.409")
    assert "undone: `flight`, `hotel`" in play.why()
    assert play.why("hotel") == "ended well, and was undone by its `compensate` steps"


@pytest.mark.req("BAR-10.backwards")
def test_only_what_ended_well_is_undone_and_a_good_run_is_not() -> None:
    steps = [done_by("a", "x"), step("b", compensate=compensate(step("y")), on_error=on_error(step("h"))), step("c")]
    play = Play(flow(*steps)).run({"b": failure(), "c": failure()})
    assert undone(play) == ["a.compensate.x"]  # `b` was recovered: its call failed
    assert undone(Play(trip()).run({})) == []


@pytest.mark.req("BAR-10.backwards")
def test_branches_are_undone_in_the_order_in_which_they_had_settled() -> None:
    play = Play(flow(parallel("p", {"x": [done_by("a", "na")], "y": [done_by("b", "nb")]}), step("c")))
    play.ok("b")
    play.ok("a")
    play.bad("c")
    play.run()
    assert undone(play) == ["a.compensate.na", "b.compensate.nb"]


@pytest.mark.req("BAR-10.cancel")
def test_a_cancelled_run_is_undone_before_its_finally() -> None:
    play = Play(trip(finally_=FINALLY))
    play.ok("flight", {"id": 1})
    play.give(inp.CancelRun("no more"))
    assert play.active == ["flight.compensate.no_flight"]
    play.ok("flight.compensate.no_flight")
    assert play.active == ["finally.f"]
    play.ok("finally.f")
    assert (play.status, play.why()) == ("cancelled", "cancelled: no more; undone: `flight`")


@pytest.mark.req("BAR-10.time-out")
def test_a_run_that_timed_out_is_undone_without_a_time_limit_on_that() -> None:
    play = Play(trip(timeout_seconds=60))
    play.ok("flight", {"id": 1})
    play.later(60_000)
    assert play.active == ["flight.compensate.no_flight"]
    play.later(3_600_000)
    assert play.active == ["flight.compensate.no_flight"]
    play.ok("flight.compensate.no_flight")
    assert play.status == "timed_out"


@pytest.mark.req("BAR-10.failing")
def test_a_compensation_that_fails_is_recorded_and_the_others_still_run() -> None:
    flow_ = flow(
        done_by("a", "na"),
        step("b", compensate=compensate(step("nb", retry=Retry(max_attempts=2, initial_delay_seconds=1)))),
        step("c"),
    )
    play = Play(flow_).run({"c": failure("http.500"), "nb": failure("timeout", "gone")})
    assert [address for address, _ in play.started][-3:] == ["b.compensate.nb"] * 2 + ["a.compensate.na"]
    assert (play.step("a").undone, play.step("b").undone) == ("done", "failed")
    assert "undone: `a`; could not be undone: `b`" in play.why()
    assert "gone" in play.why("b")
    assert play.state.error is not None
    assert play.state.error.category == "http.500"


@pytest.mark.req("BAR-10.failing")
def test_what_could_not_be_undone_can_be_undone_later_under_a_new_key() -> None:
    play = Play(trip()).run({"car": failure("http.500"), "no_hotel": failure("http.503")})
    assert undone(play) == ["hotel.compensate.no_hotel", "flight.compensate.no_flight"]
    first = play.step("hotel.compensate.no_hotel")
    play.give(inp.UndoRun())
    assert play.active == ["hotel.compensate.no_hotel"]
    assert play.step("hotel.compensate.no_hotel").generation > first.generation
    play.ok("hotel.compensate.no_hotel")
    assert (play.status, play.step("hotel").undone) == ("failed", "done")
    with pytest.raises(ConflictError, match="nothing to undo"):
        play.give(inp.UndoRun())


@pytest.mark.req("BAR-10.names")
def test_a_compensation_sees_names_as_they_were_when_its_step_had_ended() -> None:
    look = step(
        "look", "set", params={"out": "$output", "own": "$a", "later": "$b", "n": "$vars.n", "why": "$error.code"}
    )
    play = Play(
        flow(
            step("one", "set", params={"n": 1}),
            step("a", compensate=compensate(look)),
            step("two", "set", params={"n": 2}),
            step("b"),
            step("c"),
        )
    ).run({"a": "A", "b": "B", "c": failure("adapter.x", code="sold_out")})
    assert play.out("a.compensate.look") == {"out": "A", "own": "A", "later": None, "n": 1, "why": "sold_out"}


@pytest.mark.req("BAR-10.names")
def test_each_item_of_a_fan_out_is_undone_by_itself() -> None:
    undo = compensate(step("undo", "set", params={"what": "$item", "made": "$output"}))
    play = Play(flow(foreach("each", ["x", "y"], step("make", compensate=undo), limit=1), step("c")))
    play.run(lambda one: failure() if one.address == "c" else one.address)
    assert play.out("each[0].make.compensate.undo") == {"what": "x", "made": "each[0].make"}
    assert play.out("each[1].make.compensate.undo") == {"what": "y", "made": "each[1].make"}


@pytest.mark.req("BAR-10.blocks")
def test_a_block_with_a_compensation_of_its_own_is_undone_by_that_alone() -> None:
    block = parallel("p", {"x": [done_by("a", "na")]}, compensate=compensate(step("np")))
    play = Play(flow(block, step("c"))).run({"c": failure()})
    assert undone(play) == ["p.compensate.np"]
    play = Play(flow(parallel("p", {"x": [done_by("a", "na"), step("b")]}, compensate=compensate(step("np")))))
    play.run({"b": failure()})
    assert undone(play) == ["a.compensate.na"]  # the block itself did not end well


@pytest.mark.req("BAR-10.caught")
def test_an_error_that_is_caught_undoes_nothing_yet_and_a_later_one_undoes_all() -> None:
    caught = try_("t", [done_by("a", "na"), step("b")], [step("h")])
    assert undone(Play(flow(caught)).run({"b": failure()})) == []
    assert undone(Play(flow(caught, step("c"))).run({"b": failure(), "c": failure()})) == ["a.compensate.na"]


@pytest.mark.req("BAR-10.caught")
def test_what_the_flow_does_on_error_comes_first_and_may_end_the_run_well() -> None:
    play = Play(trip(on_error_block=seq(step("h"), label="on_error")))
    play.ok("flight")
    play.bad("hotel")
    assert play.active == ["on_error.h"]
    play.ok("on_error.h")
    assert play.active == ["flight.compensate.no_flight"]
    well = seq(step("end", "return", params={"value": 1}), label="on_error")
    assert undone(Play(trip(on_error_block=well)).run({"hotel": failure()})) == []


@pytest.mark.req("BAR-10.undo")
def test_a_run_that_ended_well_can_be_undone_and_is_then_cancelled() -> None:
    play = Play(trip(finally_=FINALLY)).run({"flight": {"id": 7}})
    assert [one.address for one in undo_preview(play.state).undone_by] == ["hotel", "flight"]
    assert [one.address for one in undo_preview(play.state).kept] == ["finally.f", "car"]
    play.give(inp.UndoRun("the customer called"))
    assert (play.status, play.active) == ("running", ["hotel.compensate.no_hotel"])
    play.run()
    assert (play.status, play.order.count("finally.f")) == ("cancelled", 1)
    assert play.why() == "cancelled: the customer called; undone: `flight`, `hotel`"


@pytest.mark.req("BAR-10.undo")
def test_a_run_that_goes_on_or_that_did_nothing_cannot_be_undone() -> None:
    play = Play(trip())
    with pytest.raises(ConflictError, match="is not over"):
        play.give(inp.UndoRun())
    with pytest.raises(ConflictError, match="nothing to undo"):
        Play(flow(step("a"))).run().give(inp.UndoRun())


@pytest.mark.req("BAR-10.cancel")
def test_a_cancellation_lets_undoing_go_on_unless_it_is_forced() -> None:
    play = Play(trip())
    play.ok("flight")
    play.ok("hotel")
    play.bad("car")
    assert play.active == ["hotel.compensate.no_hotel"]
    play.give(inp.CancelRun("hurry"))
    assert play.active == ["hotel.compensate.no_hotel"]
    play.give(inp.CancelRun("stop it", force=True))
    assert (play.status, play.cancelled[-1]) == ("failed", "hotel.compensate.no_hotel")
    assert (play.step("hotel").undone, play.step("flight").undone) == ("failed", None)
    assert [one.address for one in undo_preview(play.state).undone_by] == ["hotel", "flight"]


@pytest.mark.req("BAR-10.crash")
@pytest.mark.parametrize("crash_at", range(12))
def test_a_crash_at_any_point_of_undoing_undoes_each_step_once(crash_at: int) -> None:
    play = Play(trip(finally_=FINALLY))
    for number in range(100):
        if number == crash_at and not play.state.ended:
            play.crash()
        if play.state.ended:
            break
        one = next(iter(play.state.active.values()))
        play.bad(one.address, "http.400") if one.address == "car" else play.ok(one.address)
    assert undone(play) == ["hotel.compensate.no_hotel", "flight.compensate.no_flight"]
    assert play.events("hotel").count("StepCompensated") == play.events("flight").count("StepCompensated") == 1


@pytest.mark.req("BAR-10.crash")
def test_a_compensation_of_unknown_outcome_is_not_repeated_blindly() -> None:
    play = Play(flow(step("a", compensate=compensate(step("na", at_most_once=True))), step("b")))
    play.ok("a")
    play.bad("b")
    play.crash()
    assert (play.status, play.step("a").undone) == ("failed", "failed")
    error = play.step("a").undo_error
    assert error is not None
    assert error.category == "unknown_outcome"


def test_an_empty_compensation_undoes_nothing_and_ends() -> None:
    play = Play(flow(step("a", compensate=Block(label="compensate")), step("b"))).run({"b": failure()})
    assert (play.status, play.step("a").undone) == ("failed", "done")


# ---------------------------------------------------------------- what a rewind takes back


def back(play: Play, *to: str) -> None:
    play.give(inp.RewindRun(to, reason="wrong hotel", by="tester", compensate=True))


@pytest.mark.req("DUR-3.rewind-undo", "BAR-10.rewind")
def test_a_rewind_may_undo_first_what_it_takes_back() -> None:
    play = Play(trip())
    play.run({"flight": {"id": 1}, "hotel": {"id": 2}})
    assert play.status == "succeeded"
    back(play, "hotel")
    assert (play.active, play.status) == (["hotel.compensate.no_hotel"], "running")
    assert "undoes `hotel`, 0 of 1 step are over; then it goes back to `hotel`" in play.why()
    play.ok("hotel.compensate.no_hotel")
    assert play.active == ["hotel"]
    play.ok("hotel", {"id": 3})
    play.ok("car")
    assert play.status == "succeeded"
    assert undone(play) == ["hotel.compensate.no_hotel"]  # the flight was kept, so it was not undone
    assert play.out("hotel") == {"id": 3}


@pytest.mark.req("BAR-10.rewind")
def test_where_something_cannot_be_undone_the_run_ends_as_it_had_ended() -> None:
    play = Play(trip())
    play.run({"car": failure("http.409")})
    assert undone(play) == ["hotel.compensate.no_hotel", "flight.compensate.no_flight"]
    play.run()
    play = Play(trip())
    play.run()
    back(play, "flight")
    play.bad("hotel.compensate.no_hotel", "http.404")
    play.ok("flight.compensate.no_flight")
    assert (play.status, play.of("hotel")) == ("cancelled", "succeeded")
    assert play.step("hotel").undone == "failed"


@pytest.mark.req("BAR-10.rewind")
def test_nothing_to_undo_is_a_plain_rewind_and_a_run_that_is_not_over_is_refused() -> None:
    play = Play(trip())
    with pytest.raises(ConflictError, match=r"is not over .running.: cancel it first"):
        back(play, "flight")
    play.run()
    back(play, "car")
    assert play.active == ["car"]
    assert undone(play) == []


@pytest.mark.req("BAR-10.rewind", "DUR-1.undo")
def test_a_host_that_dies_while_a_rewind_undoes_goes_on_with_it() -> None:
    play = Play(trip())
    play.run()
    back(play, "flight")
    play.ok("hotel.compensate.no_hotel")
    play.crash()
    play.ok("flight.compensate.no_flight")
    assert play.active == ["flight"]
    play.run()
    assert play.status == "succeeded"
