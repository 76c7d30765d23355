"""Every transition of the two state tables is taken by drawn flows in drawn circumstances, from fixed seeds.

`make sim` shows the table of how often each was. A transition that nothing takes is either one that no test covers or
one that cannot happen; the second kind does not belong in the tables.
"""

from __future__ import annotations

import pytest

from segue.flow.model import Callback, Fallback, Limits, Poll, Retry, Timeout
from segue.kernel import events as ev
from segue.kernel import inputs as inp
from segue.kernel.plan import compile_plan
from segue.testing.transitions import ALL_TRANSITIONS, Transition, TransitionsTaken
from unit.kernel.builders import Play, final, flow, parallel, repeat, step
from unit.kernel.generated import INPUTS, Chaos, seeded_flow

SEEDS = 2_000
ELSEWHERE = {
    Transition("step", "running", "BlocksKept"): "a replayed run: tests/unit/kernel/test_replay.py",
}


def _drawn(seed: int) -> Play:
    play = Play(compile_plan(seeded_flow(seed)), INPUTS, seed=f"{seed:x}", check=False)
    chaos = Chaos(play, seed)
    for _ in range(60):
        if play.state.ended:
            break
        chaos.one()
    chaos.to_the_end()
    chaos.undo()
    for _ in range(20):
        if play.state.ended:
            break
        chaos.one()
    chaos.to_the_end()
    return play


def _loop_out_of_time_with_a_branch_left() -> Play:
    """Between two turns of a loop its time runs out, while a branch of the last turn still goes on and cleans up."""
    close = final(step("close"))
    body = parallel("p", {"x": [step("a")], "y": [step("b", finally_=close)]}, join="any")
    play = Play(flow(repeat("loop", body, max=3, every="1m", timeout=Timeout(total_seconds=5))))
    play.ok("loop[0].a")
    assert play.of("loop") == "waiting"
    play.later(5_000)
    assert (play.of("loop"), play.active) == ("running", ["loop[0].b.finally.close"])
    return play.run()


def _loop_out_of_time_for_one_try() -> Play:
    """Between two turns of a loop the time of this try runs out, and the loop is tried again from its first turn."""
    again = Retry(max_attempts=2, initial_delay_seconds=1)
    play = Play(flow(repeat("loop", step("a"), max=2, every="1m", retry=again, timeout=Timeout(attempt_seconds=5))))
    play.ok("loop[0].a")
    play.later(5_000)
    assert play.of("loop") == "retrying"
    return play.run()


def _ending_while_paused() -> Play:
    """The last failure comes while the run is paused, and what is cancelled for it cleans up after the pause."""
    close = final(step("close"))
    play = Play(flow(parallel("p", {"x": [step("a")], "y": [step("b", finally_=close)]}, join="any"), step("c")))
    play.ok("a")
    play.give(inp.PauseRun())
    play.bad("c", "validation")
    play.give(inp.ResumeRun())
    return play.run()


def _with_the_outside() -> list[Play]:
    """A sub-flow, an event, a person who is reminded: what drawn flows do not have."""
    child = Play(flow(step("sub", "flow", params={"flow": "other"})))
    child.give(inp.ChildBegan(child.step("sub").id, 1, "run_child", "other"))
    child.give(inp.CancelRun())
    paid = Play(flow(step("w", "wait", params={"event": "paid"})))
    one = paid.step("w")
    paid.give(inp.EventArrived(one.id, one.generation, "evt_1", "paid", at=paid.now, data=1))
    asked = Play(flow(step("ask", "approve", params={"remind": 60.0}, callback=Callback(expires_seconds=100.0))))
    asked.next_timer()
    return [child, paid, asked.run()]


def _queued() -> list[Play]:
    """Runs that wait for a slot: one is cancelled, one goes on waiting for another reason, one is not to wait."""
    plays = [Play(flow(step("a")), queued=ev.RunQueued(reason="1 of 1 slots are taken"), check=False) for _ in range(3)]
    plays[0].give(inp.CancelRun())
    plays[1].give(inp.QueueOn(ev.RunQueued(reason="2 of 2 slots are taken")))
    plays[1].give(inp.BeginQueued())
    plays[2].give(inp.SkipQueued("no slot"))
    return plays


def _with_slots() -> list[Play]:
    """Steps whose attempts are counted over all runs, and one that falls back."""
    one_at_once = Limits(concurrency=1)
    again = Retry(max_attempts=2, initial_delay_seconds=1)
    tried = Play(flow(step("a", limits=one_at_once, retry=again)), check=False)
    tried.give(inp.SlotGiven(tried.step("a").id))
    tried.bad("a")
    tried.next_timer()
    job = step("a", limits=one_at_once, callback=Callback(expires_seconds=9), fallback=(Fallback(use="b"),))
    unanswered = Play(flow(job), check=False)
    unanswered.give(inp.SlotGiven(unanswered.step("a").id))
    unanswered.ok("a")
    unanswered.later(9_000)
    unanswered.give(inp.SlotGiven(unanswered.step("a").id))
    skipped = Play(flow(step("a", limits=one_at_once)), check=False)
    skipped.give(inp.SlotRefused(skipped.step("a").id, "skip", "no slot"))
    asked = Play(
        flow(step("p", "poll", use="x", poll=Poll(success_condition="false"), limits=one_at_once)), check=False
    )
    asked.give(inp.SlotGiven(asked.step("p").id))
    asked.ok("p", {})
    asked.next_timer()
    other = Play(flow(step("a", fallback=(Fallback(use="b"),))))
    other.bad("a", "validation")
    return [tried, unanswered.run(), skipped, asked, other.run()]


def _going_back() -> list[Play]:
    """Runs that are rewound in every state, and two whose last events were set aside."""
    plays = [Play(flow(step("a"), step("b"), timeout_seconds=60.0)) for _ in range(8)]
    for play in plays:
        play.ok("a", 1)
    plays[0].ok("b")
    plays[1].bad("b", "validation")
    plays[2].give(inp.CancelRun())
    plays[3].later(60_000)
    plays[5].give(inp.PauseRun())
    for play in plays[:6]:
        play.give(inp.RewindRun(("a",), by="tester"))
    plays[7].give(inp.PauseRun())
    for play in plays[6:]:
        play.give(inp.GoOn(1))
    return plays


@pytest.mark.req("BAR-4.transitions")
def test_every_transition_is_taken() -> None:
    taken = TransitionsTaken()
    named = (_loop_out_of_time_with_a_branch_left(), _loop_out_of_time_for_one_try(), _ending_while_paused())
    for play in (*named, *_with_the_outside(), *_queued(), *_with_slots(), *_going_back(), *map(_drawn, range(SEEDS))):
        taken.add(play.plan, "run_1", play.journal())
    print(f"\n{taken.table()}")
    assert set(taken.counts) <= ALL_TRANSITIONS
    assert set(taken.missing()) == set(ELSEWHERE)
