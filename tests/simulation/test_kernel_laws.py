"""Laws of the kernel over drawn flows, outcomes and interleavings.

`Play.verify` holds three of them after every decision: the fold of the journal is the live state, all counters are what
counting anew gives, and every state has its reason (so no run waits for nothing). `decide` may raise nothing but
ConflictError, as anything else ends the test. A failing example becomes a named test in `tests/unit/kernel`.
"""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from tests.examples import examples

from segue.flow.model import Flow
from segue.kernel import inputs as inp
from segue.kernel.kept import record
from segue.kernel.plan import Plan, compile_plan
from segue.kernel.rewind import RewindPlan, has_name, plan_rewind
from segue.kernel.status import RunStatus, StepStatus
from unit.kernel.builders import Play, blocks_of
from unit.kernel.generated import INPUTS, Chaos, check_journal, flows, seeded_flow

SEEDS = some.integers(0, 2**32)


@pytest.mark.req("DUR-1.fold")
@pytest.mark.req("DUR-1.no-step-twice")
@pytest.mark.req("BAR-4.code")
@given(made=flows(), seed=SEEDS)
@settings(max_examples=examples(150))
def test_whatever_happens_in_whatever_order_a_run_comes_to_its_end(made: Flow, seed: int) -> None:
    come_to_an_end(made, seed)


@pytest.mark.req("DUR-1.fold")
@pytest.mark.req("DUR-1.no-step-twice")
@pytest.mark.parametrize("first", range(0, 300, 50))
def test_larger_flows_come_to_their_end_too(first: int) -> None:
    for seed in range(first, first + 50):
        come_to_an_end(seeded_flow(seed), seed)


def come_to_an_end(made: Flow, seed: int) -> None:
    play = Play(compile_plan(made), INPUTS, seed=f"{seed:x}")
    chaos = Chaos(play, seed)
    for _ in range(60):
        if play.state.ended:
            break
        chaos.one()
    chaos.to_the_end()
    if not seed % 3:
        chaos.undo()
        for _ in range(10):
            if not play.state.ended:
                chaos.one()
        chaos.to_the_end()
    check_journal(play)
    if play.status is RunStatus.SUCCEEDED and play.state.stopped_by is None:
        open_blocks = [block for block in blocks_of(play.state) if not block.closed]
        assert not [one.address for block in open_blocks for one in block.nodes if one.status is StepStatus.PENDING]


@pytest.mark.req("DUR-3.rewind")
@pytest.mark.req("DUR-3.retry")
@given(made=flows(), seed=SEEDS)
@settings(max_examples=100)
def test_a_run_may_be_rewound_at_any_moment_to_any_step(made: Flow, seed: int) -> None:
    rewound_at_will(made, seed)


@pytest.mark.req("DUR-3.rewind")
@pytest.mark.req("DUR-3.retry")
@pytest.mark.parametrize("first", range(0, 60, 20))
def test_larger_runs_too(first: int) -> None:
    for seed in range(first, first + 20):
        rewound_at_will(seeded_flow(seed), seed)


def rewound_at_will(made: Flow, seed: int) -> None:
    """`Play.verify` holds after each input that the journal folds to the live state, with all counters right."""
    play = Play(compile_plan(made), INPUTS, seed=f"{seed:x}")
    chaos = Chaos(play, seed)
    for _ in range(70):
        if chaos.random.random() < 0.12 or (play.state.ended and chaos.random.random() < 0.5):
            chaos.rewind()
        elif not play.state.ended:
            chaos.one()
        chaos.check_kept()
    chaos.to_the_end()
    chaos.check_kept()
    check_journal(play)


@pytest.mark.req("BAR-1.replay")
@pytest.mark.parametrize("first", range(0, 60, 20))
def test_a_replay_with_nothing_changed_gives_the_same_and_calls_nothing_that_is_kept(first: int) -> None:
    for seed in range(first, first + 20):
        plan = compile_plan(seeded_flow(seed, odd=False))
        old = Play(plan, INPUTS, check=False)
        driven(old, seed, frozenset())
        if old.status is RunStatus.TIMED_OUT:  # the run's own time is not kept
            continue
        whole = Play(plan, INPUTS, kept=record(old.state, RewindPlan()))
        driven(whole, seed, frozenset())
        assert whole.status is old.status
        cut_off = [one for one in old.state.standing if one.status is StepStatus.CANCELLED or one.undone is not None]
        if not cut_off:
            assert (whole.outputs, whole.state.vars) == (old.outputs, old.state.vars)
            assert not [address for address in whole.order if "on_error" not in address and "finally" not in address]
        chosen = random.Random(seed).choice([one for one in old.state.standing if has_name(one)])
        kept = record(old.state, plan_rewind(old.state, [chosen]))
        partly = Play(plan, INPUTS, kept=kept)
        driven(partly, seed, frozenset())
        ended = {address for address, one in kept.items() if one.status in ("succeeded", "recovered", "skipped")}
        called = {one.address for one in partly.state.standing if one.plan.is_action and one.attempt}
        called -= {one.address for one in partly.state.standing if one.generation or one.reason or one.error}
        assert not called & ended


@pytest.mark.req("BAR-10.rewind")
@pytest.mark.parametrize("first", range(0, 120, 40))
def test_a_rewind_that_undoes_first_comes_to_its_end(first: int) -> None:
    begun = 0
    for seed in range(first, first + 40):
        play = Play(compile_plan(seeded_flow(seed)), INPUTS, seed=f"{seed:x}")
        Chaos(play, seed).to_the_end()
        addresses = [one.address for one in play.state.standing if has_name(one)]
        if not addresses:
            continue
        play.give(inp.RewindRun((random.Random(seed).choice(addresses),), compensate=True))
        begun += play.state.phase == "compensation"
        if play.state.active and seed % 2:
            play.crash()
        Chaos(play, seed + 1).to_the_end()
    assert begun


@pytest.mark.req("DUR-6.rollback")
@pytest.mark.parametrize("first", range(0, 60, 20))
def test_a_journal_that_is_cut_off_anywhere_goes_on_from_there(first: int) -> None:
    for seed in range(first, first + 20):
        rows = journal_of(seed)
        for count in random.Random(seed).sample(range(2, len(rows) + 1), min(5, len(rows) - 1)):
            go_on_from(seed, count)


@pytest.mark.req("DUR-6.rollback")
@pytest.mark.parametrize(
    ("seed", "count"),
    [
        (9, 29),  # what had made the run fail was acted upon again while that was being undone
        (164, 13),  # a `stop` had ended the run, and nobody knew
        (390, 33),
        (415, 26),  # what had ended in a try was acted upon in the next one
        (607, 76),
        (682, 25),  # in the undoing of an earlier try
        (1283, 91),  # in a try after a handler
        (2168, 20),  # the timer that it was about was due
        (2239, 28),
        (3567, 80),  # some of what a block cancelled as it closed was cancelled, and some not
        (3597, 11),
    ],
)
def test_a_cut_that_once_left_a_run_behind_does_no_more(seed: int, count: int) -> None:
    go_on_from(seed, count)


def journal_of(seed: int) -> list[Any]:
    play = Play(compile_plan(seeded_flow(seed)), INPUTS, seed=f"{seed:x}", check=False)
    chaos = Chaos(play, seed)
    for _ in range(50):
        if play.state.ended:
            break
        chaos.one()
    return list(play.rows)


def go_on_from(seed: int, count: int) -> None:
    """Cut the journal off after so many events, and play on."""
    rows = journal_of(seed)
    cut = Play(compile_plan(seeded_flow(seed)), INPUTS, seed=f"{seed:x}", check=False)
    cut.rows, cut.now = rows[:count], max(row.at for row in rows)
    cut.state, cut.check = cut.folded(), True
    if cut.state.ended:
        return
    cut.give(inp.GoOn(set_aside=len(rows) - count))
    if cut.state.active:
        cut.crash()
    Chaos(cut, seed).to_the_end()


@pytest.mark.req("DUR-1.same-outputs")
@given(made=flows(odd=False), seed=SEEDS, data=some.data())
@settings(max_examples=examples(100))
def test_a_crash_at_any_commit_leads_to_the_same_end(made: Flow, seed: int, data: some.DataObject) -> None:
    plan = compile_plan(made)
    calm = Play(plan, INPUTS, check=False)
    commits = driven(calm, seed, frozenset())
    same_end_after(plan, calm, seed, frozenset(data.draw(some.sets(some.integers(0, commits), min_size=1, max_size=4))))


@pytest.mark.req("DUR-1.same-outputs")
@pytest.mark.parametrize("first", range(0, 120, 40))
def test_a_crash_at_each_commit_of_larger_flows_leads_to_the_same_end(first: int) -> None:
    for seed in range(first, first + 40):
        plan = compile_plan(seeded_flow(seed, odd=False))
        calm = Play(plan, INPUTS, check=False)
        commits = driven(calm, seed, frozenset())
        for at in range(0, commits, max(1, commits // 8)):
            same_end_after(plan, calm, seed, frozenset({at}))
        same_end_after(plan, calm, seed, frozenset(range(0, commits, 3)))


def same_end_after(plan: Plan, calm: Play, seed: int, crashes: frozenset[int]) -> None:
    crashed = Play(plan, INPUTS, check=False)
    driven(crashed, seed, crashes)
    crashed.verify()
    check_journal(crashed)
    assert crashed.statuses() == calm.statuses()
    assert _told(crashed) == _told(calm)


def _told(play: Play) -> Any:
    """What a run tells of its end, without the numbers of attempts: a lost attempt counts among those."""
    error = None if play.state.error is None else msgspec.to_builtins(play.state.error)
    return _without_attempts([play.status, play.outputs, play.state.vars, error, play.state.stopped_by])


def _without_attempts(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_attempts(item) for key, item in value.items() if key != "attempt"}
    return [_without_attempts(item) for item in value] if isinstance(value, list) else value


def driven(play: Play, seed: int, crashes: frozenset[int]) -> int:
    """To the end in one fixed order, the host killed after each commit in `crashes`. How many commits it took."""
    world = Chaos(play, seed)
    for number in range(5_000):
        if number in crashes and not play.state.ended:
            play.crash()
        if play.state.ended:
            return number
        if play.state.active:
            world.end(min(play.state.active.values(), key=lambda active: active.id))
        else:
            play.next_timer()
    raise AssertionError(f"still {play.status}")
