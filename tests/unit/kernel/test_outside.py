"""Sub-flows, events, approvals and answers to the caller: what one run has to do with what is outside of it."""

from __future__ import annotations

from typing import Any

import pytest

from segue.errors import ConflictError
from segue.flow.model import Callback, Retry, Step, Timeout
from segue.kernel import inputs as inp
from segue.kernel.decision import Child, Decision, Outside
from segue.kernel.events import Failure
from segue.kernel.status import RunStatus, StepStatus
from unit.kernel.builders import NOW, Play, final, flow, foreach, graph, on_error, parallel, repeat, step

RETRIED = Retry(max_attempts=2, initial_delay_seconds=1.0, jitter="none")


def sub(id: str = "sub", **settings: Any) -> Step:
    settings.setdefault("params", {"flow": "other"})
    return step(id, "flow", **settings)


def out(made: Decision) -> Outside:
    return made.outside or Outside()


def began(play: Play, address: str = "sub", run_id: str = "run_child") -> Decision:
    one = play.step(address)
    return play.give(inp.ChildBegan(one.id, one.attempt, run_id, "other"))


def ended(
    play: Play, output: Any = None, *, address: str = "sub", failure: Failure | None = None, number: int = 0
) -> Decision:
    one = play.step(address)
    given = inp.ChildEnded(
        one.id, one.generation, number or one.tries, "run_child", "other", output=output, failure=failure
    )
    return play.give(given)


# ---------------------------------------------------------------- sub-flows


@pytest.mark.req("EXEC-7.sub-flow")
def test_a_step_waits_for_the_end_of_its_sub_flow_and_takes_its_outputs() -> None:
    play = Play(flow(sub(), step("after", "set", params={"x": "$sub.total"})))
    began(play)
    assert (play.of("sub"), play.status) == (StepStatus.WAITING, RunStatus.WAITING)
    assert "waiting for the flow's run run_child" in play.why()
    ended(play, {"total": 7})
    assert play.status is RunStatus.SUCCEEDED
    assert play.out("after") == {"x": 7}


@pytest.mark.req("EXEC-7.sub-flow")
def test_an_end_that_comes_before_the_answer_to_the_start_counts() -> None:
    play = Play(flow(sub()))
    made = ended(play, 7)
    assert [one.address for one in made.cancel] == ["sub"], "the attempt that started it is let go"
    assert (play.status, play.out("sub")) == (RunStatus.SUCCEEDED, 7)
    assert not out(made).children_cancelled


@pytest.mark.req("EXEC-7.sub-flow-fails")
def test_the_error_of_a_sub_flow_is_the_step_s() -> None:
    play = Play(flow(sub()))
    began(play)
    made = ended(play, failure=Failure(category="http.500", code="x", message="the run run_child failed"))
    error = play.state.error
    assert error is not None
    assert (error.category, error.code, error.step) == ("http.500", "x", "sub")
    assert not out(made).children_cancelled, "what is over need not be cancelled"


@pytest.mark.req("EXEC-7.sub-flow-fails")
def test_a_retried_sub_flow_is_another_run_and_the_end_of_the_first_no_news() -> None:
    play = Play(flow(sub(retry=RETRIED)))
    began(play)
    ended(play, failure=Failure(category="timeout", message="late"))
    assert play.of("sub") is StepStatus.RETRYING
    play.next_timer()
    began(play, run_id="run_child_2")
    assert not ended(play, 1, number=1).rows
    ended(play, 2)
    assert play.out("sub") == 2


@pytest.mark.req("EXEC-7.cancel-child")
@pytest.mark.parametrize("started", [True, False])
def test_a_cancelled_run_cancels_its_sub_flows_also_one_that_is_being_started(started: bool) -> None:
    play = Play(flow(sub()))
    if started:
        began(play)
    assert out(play.give(inp.CancelRun())).children_cancelled == [Child("sub", 0, 1)]


@pytest.mark.req("EXEC-7.cancel-child")
@pytest.mark.parametrize("limit", [Timeout(attempt_seconds=5.0), Timeout(total_seconds=5.0)])
def test_a_step_whose_time_is_over_cancels_its_sub_flow(limit: Timeout) -> None:
    play = Play(flow(sub(timeout=limit)))
    began(play)
    assert play.state.next_due() == NOW + 5_000
    assert out(play.next_timer()).children_cancelled == [Child("sub", 0, 1)]
    assert play.status is RunStatus.FAILED
    assert not ended(play, 1).rows


def test_a_try_whose_time_is_over_cancels_its_sub_flow_and_the_next_try_starts_another() -> None:
    play = Play(flow(sub(timeout=Timeout(attempt_seconds=5.0), retry=RETRIED)))
    began(play)
    assert out(play.next_timer()).children_cancelled == [Child("sub", 0, 1)]
    play.next_timer()
    began(play, run_id="run_child_2")
    assert out(play.give(inp.CancelRun())).children_cancelled == [Child("sub", 0, 2)]


@pytest.mark.req("EXEC-7.no-wait")
def test_a_sub_flow_that_is_not_waited_for_is_left_alone() -> None:
    play = Play(flow(sub(params={"flow": "other", "wait": False}), step("after")))
    play.ok("sub", {"run_id": "run_child"})
    assert not out(play.give(inp.CancelRun())).children_cancelled
    assert play.out("sub") == {"run_id": "run_child"}


def test_a_sub_flow_that_cannot_be_started_fails_its_step_and_is_not_cancelled() -> None:
    play = Play(flow(sub(on_error=on_error(step("tell", "log", params={"message": "m"})))))
    made = play.bad("sub", "validation", "there is no flow other")
    assert play.of("sub") is StepStatus.RECOVERED
    assert not out(made).children_cancelled


def test_under_the_sequential_strategy_a_sub_flow_keeps_its_turn() -> None:
    play = Play(flow(parallel("p", {"a": [sub()], "b": [step("other")]}), strategy="sequential"))
    began(play)
    assert play.of("other") is StepStatus.READY
    ended(play, 1)
    assert play.active == ["other"]


@pytest.mark.req("DUR-1.sub-flow")
def test_a_crash_while_a_sub_flow_is_started_leads_to_the_same_child() -> None:
    play = Play(flow(sub(), sub("next")))
    made = play.crash()
    assert [(one.address, one.tries) for one in made.start] == [("sub", 1)]
    began(play)
    assert not play.crash().rows, "what waits needs nothing from a new host"
    ended(play, 1)
    assert play.active == ["next"]


# ---------------------------------------------------------------- events


def wait_event(id: str = "w", name: str = "paid", **settings: Any) -> Step:
    params = {"event": name, **{key: settings.pop(key) for key in ("where", "buffer") if key in settings}}
    return step(id, "wait", params=params, **settings)


def arrive(play: Play, data: Any = None, *, id: str = "evt_1", address: str = "w", **more: Any) -> Decision:
    one = play.step(address)
    more.setdefault("at", play.now)
    return play.give(inp.EventArrived(one.id, one.generation, id, more.pop("name", "paid"), data=data, **more))


@pytest.mark.req("EXEC-9.wait-event")
def test_a_step_takes_the_event_that_it_waits_for() -> None:
    play = Play(flow(wait_event()))
    assert (play.status, play.state.next_due()) == (RunStatus.WAITING, None)
    assert "waiting for the event `paid`" in play.why()
    assert not arrive(play, 1, name="refunded").rows
    made = arrive(play, {"id": 3})
    assert play.out("w") == {"id": 3}
    assert out(made).waits_closed == [(play.step("w").id, 0)]


@pytest.mark.req("EXEC-9.wait-event")
def test_a_step_takes_only_an_event_for_which_its_condition_holds() -> None:
    play = Play(flow(wait_event(where="$.id == inputs.n and event.name == 'paid'")), {"n": 3})
    assert not arrive(play, {"id": 4}).rows
    assert not arrive(play, 17, id="evt_2").rows
    arrive(play, {"id": 3}, id="evt_3")
    assert play.status is RunStatus.SUCCEEDED


@pytest.mark.req("EXEC-9.wait-event")
def test_an_event_of_an_odd_shape_is_not_taken_and_the_log_says_so() -> None:
    play = Play(flow(wait_event(where="$.amount > 3")))
    made = arrive(play, {"amount": "much"})
    assert not made.rows
    assert "the event paid (evt_1) was not taken: where" in out(made).remarks[0][1]
    arrive(play, {"amount": 4}, id="evt_2")
    assert play.status is RunStatus.SUCCEEDED


@pytest.mark.req("EXEC-9.wait-event-buffer")
def test_events_before_the_wait_count_as_far_back_as_its_buffer() -> None:
    play = Play(flow(wait_event(buffer="5m")))
    assert not arrive(play, 1, at=NOW - 300_001).rows
    arrive(play, 2, at=NOW - 300_000)
    assert play.out("w") == 2


@pytest.mark.req("EXEC-9.wait-event-timeout")
def test_a_wait_for_an_event_ends_with_its_time() -> None:
    play = Play(flow(wait_event(timeout=Timeout(attempt_seconds=60.0))))
    assert play.step("w").until == NOW + 60_000
    made = play.next_timer()
    assert play.of("w") is StepStatus.TIMED_OUT
    assert out(made).waits_closed == [(play.step("w").id, 0)]
    assert not arrive(play, 1).rows


@pytest.mark.req("EXEC-9.wait-event")
def test_one_event_is_taken_once_by_the_turns_of_a_loop_and_by_each_of_two_steps() -> None:
    play = Play(flow(repeat("loop", wait_event(buffer="5m"), max=2)))
    arrive(play, 1, address="loop[0].w")
    assert not arrive(play, 1, address="loop[1].w").rows
    arrive(play, 2, id="evt_2", address="loop[1].w")
    assert play.status is RunStatus.SUCCEEDED
    play = Play(flow(parallel("p", {"a": [wait_event("w")], "b": [wait_event("v")]})))
    arrive(play, 1)
    arrive(play, 1, address="v")
    assert play.status is RunStatus.SUCCEEDED


@pytest.mark.req("EXEC-9.emit")
def test_an_event_is_decided_with_its_step_and_has_the_same_id_each_time() -> None:
    made: list[Any] = []
    emitting = flow(step("go"), step("e", "emit", params={"event": "paid.{{ inputs.n }}", "data": "$go"}))
    play, other = Play(emitting, {"n": 3}), Play(emitting, {"n": 3})
    for one in (other, play):
        made.append(out(one.ok("go", {"x": 1})).emitted[0])
    assert made[0] == made[1]
    assert (made[0].name, made[0].data, made[0].id[:4]) == ("paid.3", {"x": 1}, "evt_")
    assert play.out("e") == {"id": made[0].id, "event": "paid.3"}


def test_each_item_of_a_loop_sends_an_event_of_its_own() -> None:
    play = Play(flow(step("go"), foreach("each", "$go", step("e", "emit", params={"event": "x", "data": "$item"}))))
    assert len({one.id for one in out(play.ok("go", [1, 2, 3])).emitted}) == 3


@pytest.mark.req("EXEC-9.emit")
def test_an_event_without_a_name_fails_its_step() -> None:
    play = Play(flow(step("e", "emit", params={"event": "$inputs.none"})))
    assert play.state.error is not None
    assert "an event's name" in play.state.error.message


@pytest.mark.req("EXEC-9.emit")
def test_an_event_is_sent_although_its_step_has_a_finally() -> None:
    steps = [step("go"), step("e", "emit", params={"event": "x"}, finally_=final(step("close"))), step("b")]
    play = Play(flow(*steps))
    sent = out(play.ok("go")).emitted
    assert ([one.name for one in sent], play.active) == (["x"], ["e.finally.close"])
    assert out(play.ok("e.finally.close")).emitted == []
    assert play.out("e") == {"id": sent[0].id, "event": "x"}


@pytest.mark.req("EXEC-9.emit")
def test_an_event_whose_step_fails_is_not_sent() -> None:
    play = Play(flow(step("e", "emit", params={"event": "x"}, output="{{ 1 / 0 }}", finally_=final(step("close")))))
    assert play.active == ["e.finally.close"]
    assert out(play.ok("e.finally.close")).emitted == []
    assert play.status == "failed"


@pytest.mark.req("EXEC-9.wait-event")
@pytest.mark.parametrize("first", ["w", "e"])
def test_of_what_a_run_sends_to_itself_a_wait_takes_what_came_after_it_began(first: str) -> None:
    waiting, sending = step("w", "wait", params={"event": "x"}), step("e", "emit", params={"event": "x"})
    steps = [step("go"), *((waiting, sending) if first == "w" else (sending, waiting))]
    play = Play(flow(root=graph(steps, [f"go>{one.id}" for one in steps[1:]])))
    sent = out(play.ok("go")).emitted[0]
    one = play.step("w")
    play.give(inp.EventArrived(one.id, one.generation, sent.id, "x", sent.at, source="run_1"))
    assert play.of("w") == ("succeeded" if first == "w" else "waiting")


# ---------------------------------------------------------------- answers to the caller


@pytest.mark.req("EXEC-9.respond")
def test_the_caller_is_answered_once_and_the_run_goes_on() -> None:
    answer = {"status": 201, "headers": {"x-n": 3}, "body": {"id": "$inputs.n"}}
    play = Play(flow(step("go"), step("r", "respond", params=answer), step("more"), step("again", "respond")), {"n": 3})
    assert out(play.ok("go")).responded
    assert play.state.response == {"status": 201, "headers": {"x-n": "3"}, "body": {"id": 3}}
    assert play.active == ["more"]
    assert not out(play.ok("more")).responded
    assert "had its answer already" in play.why("again")
    assert play.folded().response == play.state.response


@pytest.mark.parametrize("params", [{"status": 99}, {"status": "$inputs"}, {"headers": 3}, {"headers": {"x": [1]}}])
def test_an_answer_that_no_caller_could_get_fails_its_step(params: dict[str, Any]) -> None:
    play = Play(flow(step("r", "respond", params=params)))
    assert (play.status, play.state.response) == (RunStatus.FAILED, None)


# ---------------------------------------------------------------- approvals


def approve(need: int = 1, **settings: Any) -> Step:
    params = {key: settings.pop(key) for key in ("remind", "to", "message") if key in settings}
    callback = Callback(uses=need, expires_seconds=3600.0, **settings)
    return step("ask", "approve", params=params, callback=callback)


def says(decision: str, by: str | None = None, **more: Any) -> dict[str, Any]:
    return {"decision": decision, **({} if by is None else {"by": by}), **more}


@pytest.mark.req("CALL-1.approve")
def test_a_decision_is_the_output_with_who_and_when() -> None:
    play = Play(flow(approve(to=["group:finance"], message="pay {{ inputs.n }}?")), {"n": 3})
    assert play.step("ask").answer == {"to": ["group:finance"], "message": "pay 3?"}
    assert "waiting for the decision of a person of group:finance" in play.why()
    play.call_back("ask", says("approve", "ann", amount=4))
    out = play.out("ask")
    assert (out["approved"], out["by"], out["amount"], out["at"]) == (True, "ann", 4, "2027-01-15T08:00:00.000Z")
    assert play.closed == [("ask", "used")]


@pytest.mark.req("CALL-1.approve-n-of-m")
def test_so_many_people_as_are_needed_must_approve_each_counted_once() -> None:
    play = Play(flow(approve(need=2)))
    play.call_back("ask", says("approve", "ann"))
    assert "(1 of 2 approved)" in play.why()
    with pytest.raises(ConflictError, match="ann has decided"):
        play.call_back("ask", says("reject", "ann"))
    play.crash()
    play.call_back("ask", {"approved": True, "by": "bob"})
    assert [(one["by"], one["decision"]) for one in play.out("ask")["decisions"]] == [
        ("ann", "approve"),
        ("bob", "approve"),
    ]


@pytest.mark.req("CALL-1.approve-n-of-m")
def test_the_first_rejection_rejects() -> None:
    play = Play(flow(approve(need=3)))
    play.call_back("ask", says("approve", "ann"))
    play.call_back("ask", says("reject", "bob", comment="too much"))
    assert (play.status, play.out("ask")["approved"]) == (RunStatus.SUCCEEDED, False)
    with pytest.raises(ConflictError):
        play.call_back("ask", says("approve", "cy"))


@pytest.mark.parametrize("payload", [None, 3, {}, {"decision": "maybe"}, {"decision": "approve", "approved": False}])
def test_what_is_no_decision_is_refused(payload: Any) -> None:
    play = Play(flow(approve()))
    with pytest.raises(ConflictError, match="decision: approve"):
        play.call_back("ask", payload)
    assert play.of("ask") is StepStatus.WAITING


@pytest.mark.req("CALL-1.approve-timeout")
@pytest.mark.parametrize("verdict", ["approve", "reject"])
@pytest.mark.parametrize("inside", [True, False])
def test_when_nobody_decides_in_time_the_flow_s_word_is_recorded_as_such(verdict: Any, inside: bool) -> None:
    asked = approve(need=2, on_timeout=verdict)
    if not inside:
        asked = step("ask", "approve", callback=asked.callback, timeout=Timeout(attempt_seconds=60.0))
    play = Play(flow(asked))
    play.call_back("ask", says("approve", "ann"))
    play.next_timer()
    out = play.out("ask")
    assert (out["approved"], out["timed_out"], out["by"], len(out["decisions"])) == (
        verdict == "approve",
        True,
        None,
        1,
    )
    assert f"`on_timeout: {verdict}`" in play.why("ask")
    assert play.closed == [("ask", "expired")]


@pytest.mark.req("CALL-1.approve-timeout")
def test_without_a_word_for_it_an_approval_that_nobody_gives_fails() -> None:
    play = Play(flow(approve()))
    play.next_timer()
    assert (play.of("ask"), play.status) == (StepStatus.TIMED_OUT, RunStatus.FAILED)


@pytest.mark.req("CALL-1.approve-remind")
def test_people_are_reminded_until_the_time_is_over() -> None:
    play = Play(flow(approve(remind=1500.0, to=["ann"])))
    first, second = play.next_timer(), play.next_timer()
    told: list[Any] = [out(one).emitted[0].data for one in (first, second)]
    assert [one["number"] for one in told] == [1, 2]
    assert out(first).emitted[0].name == "segue.approval.reminder"
    assert told[0]["to"] == ["ann"]
    assert play.state.next_due() == NOW + 3_600_000, "no reminder comes after the end"
    play.call_back("ask", says("approve"))
    assert play.status is RunStatus.SUCCEEDED


@pytest.mark.req("EXEC-9.respond")
def test_what_an_output_transformation_gives_is_not_the_answer() -> None:
    answer = {"status": 202, "body": "hi"}
    play = Play(flow(step("go"), step("r", "respond", params=answer, output="$.status"), step("b")))
    assert out(play.ok("go")).responded
    assert (play.state.response, play.out("r")) == ({"status": 202, "body": "hi"}, 202)


@pytest.mark.req("EXEC-9.respond")
def test_the_caller_does_not_wait_for_the_finally_of_the_answer() -> None:
    steps = [step("go"), step("r", "respond", params={"body": 1}, output="$.body", finally_=final(step("close")))]
    play = Play(flow(*steps))
    assert out(play.ok("go")).responded
    assert (play.state.response, play.active) == ({"status": 200, "body": 1}, ["r.finally.close"])
    play.run()
    assert play.outputs == 1
