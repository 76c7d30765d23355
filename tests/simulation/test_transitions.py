"""Every transition of the two state tables is taken by drawn flows in drawn circumstances, from fixed seeds.

`make sim` shows the table of how often each was. A transition that nothing takes is either one that no test covers or
one that cannot happen; the second kind does not belong in the tables.
"""

from __future__ import annotations

import pytest

from segue.flow.model import Callback, Retry, Timeout
from segue.kernel import inputs as inp
from segue.kernel.plan import compile_plan
from segue.testing.transitions import ALL_TRANSITIONS, Transition, TransitionsTaken
from unit.kernel.builders import Play, final, flow, parallel, repeat, step
from unit.kernel.generated import INPUTS, Chaos, seeded_flow

SEEDS = 2_000
ELSEWHERE = {
    Transition("run", "queued", "CancelRequested"): "a run that is queued: tests/unit/kernel/test_tables.py",
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


@pytest.mark.req("BAR-4.transitions")
def test_every_transition_is_taken() -> None:
    taken = TransitionsTaken()
    named = (_loop_out_of_time_with_a_branch_left(), _loop_out_of_time_for_one_try())
    for play in (*named, *_with_the_outside(), *map(_drawn, range(SEEDS))):
        taken.add(play.plan, "run_1", play.journal())
    print(f"\n{taken.table()}")
    assert set(taken.counts) <= ALL_TRANSITIONS
    assert set(taken.missing()) == set(ELSEWHERE)
