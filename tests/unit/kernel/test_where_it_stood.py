"""Laws over a catalogue of flows: going back leads to where the run stood, a replay to the same place, and a journal
that is cut off anywhere to the same end.
"""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from segue.errors import ConflictError
from segue.kernel import events as ev
from segue.kernel import inputs as inp
from segue.kernel.kept import fit, record
from segue.kernel.rewind import has_name, plan_rewind, steps_at
from segue.kernel.status import RunStatus
from unit.kernel.builders import NOW, Play, flow, step
from unit.kernel.catalogue import ALL, CASES, RACES, Case, begin, forward, stand, to_the_end, while_in_flight

OF_RUN = ("status", "phase", "outputs", "error", "vars", "active", "flow_error", "recovered", "stopped_by")
OF_STEPS = ("status", "output", "items", "keys", "tolerated", "open_blocks", "edges_live", "undone")


def called_in(play: Play) -> list[str]:
    """The calls of a run to which it can go back."""
    return [address for address in play.order if play.has(address) and has_name(play.step(address))]


def told(play: Play) -> dict[str, Any]:
    """What came of a run, however often its calls were made."""
    whole = stand(play)
    steps = {address: {name: _told(one[name]) for name in OF_STEPS} for address, one in whole["steps"].items()}
    return {**{name: _told(whole[name]) for name in OF_RUN}, "steps": steps}


def _told(value: Any) -> Any:
    return msgspec.structs.replace(value, attempt=None) if isinstance(value, ev.Failure) else value


# ---------------------------------------------------------------- going back


@pytest.mark.req("DUR-3.rewind")
@pytest.mark.parametrize("name", CASES)
def test_going_back_to_a_call_leads_to_where_the_run_stands_while_that_is_in_flight(name: str) -> None:
    case = CASES[name]
    play = to_the_end(case, begin(case))
    ended = stand(play)
    for address in called_in(play):
        play = to_the_end(case, begin(case))
        play.give(inp.RewindRun((address,)))
        assert stand(play) == stand(while_in_flight(case, address)), f"back to {address}"
        assert stand(to_the_end(case, play)) == ended, f"from {address} on"


@pytest.mark.req("BAR-1.replay")
@pytest.mark.parametrize("name", CASES)
def test_a_replay_from_a_call_calls_what_a_rewind_to_it_calls_and_ends_the_same(name: str) -> None:
    case = CASES[name]
    ended = to_the_end(case, begin(case))
    for address in called_in(ended):
        kept, dropped = fit(record(ended.state, plan_rewind(ended.state, steps_at(ended.state, [address]))), ended.plan)
        assert dropped == []
        new = Play(ended.plan, dict(case.inputs), kept=kept)
        old = to_the_end(case, begin(case))
        old.give(inp.RewindRun((address,)))
        assert_same(told(new), told(old), f"replay from {address}")
        assert_same(told(to_the_end(case, new)), told(to_the_end(case, old)), f"the end of a replay from {address}")


def assert_same(new: dict[str, Any], old: dict[str, Any], what: str) -> None:
    """Steps of handlers and `finally` blocks whose step is kept are not in the new run."""
    found = dict(old["steps"])
    kept = {address: found.pop(address) for address in list(found) if address not in new["steps"]}
    assert new == {**old, "steps": found}, what
    assert {one["status"] for one in kept.values()} <= {"succeeded"}, what


@pytest.mark.req("DUR-3.retry")
@pytest.mark.parametrize("name", [name for name in (*ALL, *RACES) if "undone" not in name and "cleans up" not in name])
def test_a_run_that_is_cancelled_at_any_moment_and_retried_ends_as_if_it_had_not_been(name: str) -> None:
    case = {**ALL, **RACES}[name]
    ended = told(to_the_end(case, begin(case)))
    count = 0
    while True:
        play = begin(case)
        if not all(forward(case, play) for _ in range(count)) or play.state.ended:
            break
        count += 1
        if play.state.phase != "steps":
            continue
        play.give(inp.CancelRun("enough", force=True))
        while not play.state.ended:
            play.run()
        assert play.status is RunStatus.CANCELLED
        play.give(inp.RetryRun())
        assert told(to_the_end(case, play)) == ended, f"cancelled at moment {count}"
    assert count > 1


# ---------------------------------------------------------------- a journal that was cut off


def cut(case: Case, whole: Play, count: int) -> Play | None:
    """The run of its first events; None if it has not begun, or is over."""
    play = begin(case)
    play.check = False
    play.rows, play.now = whole.rows[:count], max((row.at for row in whole.rows[:count]), default=NOW)
    play.state, play.check = play.folded(), True
    return None if play.state.root is None or play.state.ended else play


def go_on(play: Play, whole: Play) -> None:
    play.give(inp.GoOn(set_aside=len(whole.rows) - len(play.rows), by="tester", reason="it was torn"))
    if play.state.active:
        play.crash()


def assert_goes_on(case: Case, whole: Play) -> None:
    for count in range(len(whole.rows)):
        play = cut(case, whole, count)
        if play is not None:
            go_on(play, whole)
            assert told(to_the_end(case, play)) == told(whole), f"cut off after {count} events"


@pytest.mark.req("DUR-6.rollback")
@pytest.mark.parametrize("name", ALL)
def test_a_journal_that_is_cut_off_after_any_event_leads_to_the_same_end(name: str) -> None:
    assert_goes_on(ALL[name], to_the_end(ALL[name], begin(ALL[name])))


@pytest.mark.req("DUR-6.rollback")
@pytest.mark.parametrize("name", ALL)
def test_a_journal_that_is_cut_off_while_the_run_is_being_ended_leads_to_its_end(name: str) -> None:
    case = ALL[name]
    for count in range(4):
        whole = begin(case)
        if not all(forward(case, whole) for _ in range(count)) or whole.state.ended:
            return
        first = len(whole.rows)
        whole.give(inp.CancelRun("enough"))
        to_the_end(case, whole)
        for at in range(first + 1, len(whole.rows)):
            play = cut(case, whole, at)
            if play is not None:
                go_on(play, whole)
                to_the_end(case, play)
                assert (play.status, play.state.error) == (whole.status, whole.state.error), at
                assert {
                    a: s for a, s in play.statuses().items() if s != "cancelled"
                }.items() <= whole.statuses().items()


@pytest.mark.req("DUR-6.rollback")
@pytest.mark.parametrize("name", RACES)
def test_a_race_whose_journal_is_cut_off_after_any_event_comes_to_its_end(name: str) -> None:
    case = RACES[name]
    whole = to_the_end(case, begin(case))
    for count in range(len(whole.rows)):
        play = cut(case, whole, count)
        if play is not None:
            go_on(play, whole)
            assert (to_the_end(case, play).status, play.outputs) == (whole.status, whole.outputs)


@pytest.mark.req("DUR-6.rollback")
def test_events_that_were_set_aside_are_told_with_who_did_it_and_why() -> None:
    whole = Play(flow(step("a"), step("b")))
    whole.ok("a")
    play = cut(Case(whole.plan.flow), whole, len(whole.rows) - 1)
    assert play is not None
    made = play.give(inp.GoOn(set_aside=1, by="tester", reason="it was torn"))
    assert made.rows[0].event == ev.RolledBack(set_aside=1, by="tester", reason="it was torn")
    assert play.active == ["b"]


@pytest.mark.req("DUR-6.rollback")
def test_of_a_run_that_had_only_been_accepted_nothing_can_go_on() -> None:
    whole = Play(flow(step("a")))
    play = Play(whole.plan, check=False)
    play.rows = whole.rows[:1]
    play.state = play.folded()
    with pytest.raises(
        ConflictError, match="nothing of run run_1 was decided but its acceptance: start the flow again"
    ):
        play.give(inp.GoOn(set_aside=2))


@pytest.mark.req("DUR-6.rollback")
def test_a_run_that_is_over_has_nothing_left_to_decide() -> None:
    play = Play(flow(step("a"))).run()
    assert play.give(inp.GoOn(set_aside=1)).rows == []
