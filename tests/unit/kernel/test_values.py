"""What expressions see, and that they see the same again."""

from __future__ import annotations

from typing import Any

import pytest

from segue.flow.model import Retry
from segue.kernel import inputs as inp
from segue.kernel.scope import SeededImpure, step_scope
from unit.kernel.builders import Play, flow, foreach, graph, on_error, parallel, repeat, seq, step


def params(play: Play, address: str, text: Any) -> Any:
    """What an attempt of the step would compute now, as a host does it."""
    from segue.expr import compile_value, to_json

    one = play.step(address)
    impure = SeededImpure(play.state.seed, f"{one.id}.params", one.started_at or 0)
    return to_json(compile_value(text).evaluate(step_scope(play.state, one), impure))


@pytest.mark.req("EXEC-9.set")
def test_set_gives_its_map_and_sets_variables() -> None:
    play = Play(
        flow(
            step("s", "set", params={"n": "{{ vars.n + 1 }}", "m": 2}),
            step("t", "set", params={"n": "{{ vars.n * 10 }}"}),
            vars={"n": 1},
        )
    )
    assert (play.out("s"), play.state.vars) == ({"n": 2, "m": 2}, {"n": 20, "m": 2})


@pytest.mark.req("EXEC-8.map")
def test_map_gives_its_value_or_its_object() -> None:
    assert Play(flow(step("m", "map", params={"value": [1, "$inputs.x"]})), {"x": 2}).outputs == [1, 2]
    assert Play(flow(step("m", "map", params={"name": "$inputs.x"})), {"x": 2}).outputs == {"name": 2}


@pytest.mark.req("EXEC-9.log")
def test_log_gives_its_line_with_a_level() -> None:
    assert Play(flow(step("l", "log", params={"message": "n is {{ inputs.n }}"})), {"n": 1}).outputs == {
        "message": "n is 1",
        "level": "info",
    }


@pytest.mark.req("DUR-5.same-params")
def test_a_retry_computes_the_same_values_although_another_branch_changed_variables_meanwhile() -> None:
    slow = step("slow", retry=Retry(max_attempts=3, jitter="none"))
    play = Play(
        flow(parallel("p", {"x": [slow], "y": [step("quick"), step("s", "set", params={"n": 2})]}), vars={"n": 1})
    )
    text = {"n": "$vars.n", "seen": "$quick.body", "all": "{{ steps.quick ?? 'none' }}"}
    first = params(play, "slow", text)
    assert first == {"n": 1, "seen": None, "all": "none"}
    play.ok("quick", {"body": 5})
    assert play.state.vars == {"n": 2}
    play.bad("slow")
    play.next_timer()
    assert params(play, "slow", text) == first
    play.crash()
    assert params(play, "slow", text) == first


@pytest.mark.req("DUR-5.same-params")
def test_a_retry_sees_a_running_loop_as_it_was_when_the_step_began() -> None:
    slow = step("slow", retry=Retry(max_attempts=3, jitter="none"))
    play = Play(flow(parallel("p", {"x": [slow], "y": [foreach("each", [1, 2, 3], step("w"), limit=1)]})))
    text = {"each": "$steps.each"}
    first = params(play, "slow", text)
    play.ok("each[0].w", "done")
    assert params(play, "slow", text) == first
    play.run({"w": 1, "slow": 2})
    assert play.status == "succeeded"


@pytest.mark.req("DUR-5.same-params")
def test_uuid_random_and_now_of_an_attempt_are_the_same_for_all_its_attempts() -> None:
    text = {"id": "{{ uuid() }}", "r": "{{ random() }}", "at": "{{ now() }}", "two": "{{ [uuid(), uuid()] }}"}
    play = Play(flow(step("a", retry=Retry(max_attempts=2, jitter="none"))))
    first = params(play, "a", text)
    play.bad("a")
    play.next_timer()
    assert params(play, "a", text) == first
    assert first["two"][0] != first["two"][1]
    assert 0 <= first["r"] < 1


@pytest.mark.req("DUR-1.replay-same-values")
def test_values_that_pure_steps_drew_are_in_the_journal_and_differ_by_run_and_step() -> None:
    plan = flow(step("a", "map", params={"value": "{{ uuid() }}"}), step("b", "map", params={"value": "{{ uuid() }}"}))
    one, other = Play(plan, seed="aa"), Play(plan, seed="bb")
    drawn = {play.out(name) for play in (one, other) for name in "ab"}
    assert len(drawn) == 4
    assert one.folded().nodes[0].output == one.out("a")


@pytest.mark.req("DUR-1.replay-same-values")
def test_the_same_seed_draws_the_same_values() -> None:
    plan = flow(step("a", "map", params={"value": "{{ [uuid(), random(), now()] }}"}))
    assert Play(plan, seed="aa").outputs == Play(plan, seed="aa").outputs


@pytest.mark.req("DUR-1.replay-same-values")
def test_uuids_are_of_version_four() -> None:
    import uuid

    made = uuid.UUID(SeededImpure("ab", "x", 0).uuid())
    assert (made.version, made.variant) == (4, uuid.RFC_4122)


@pytest.mark.req("DUR-2.names")
def test_special_names_are_in_scope() -> None:
    value = {
        "id": "$run.id",
        "flow": "$run.flow",
        "began": "$run.started_at",
        "me": "$self.path",
        "env": "$env.STAGE",
        "t": "$trigger.kind",
    }
    play = Play(flow(step("a", "map", params={"value": value}), env={"STAGE": "test"}), trigger={"kind": "manual"})
    assert play.outputs == {
        "id": "run_1", "flow": "f", "began": "2027-01-15T08:00:00.000Z", "me": "a", "env": "test", "t": "manual",
    }  # fmt: skip


@pytest.mark.req("ACC-4.never-in-journal")
@pytest.mark.parametrize("place", [{"params": {"x": "$secrets.key"}}, {"when": "$secrets.key == 'x'"}])
def test_secrets_are_no_name_where_a_decision_would_journal_them(place: dict[str, Any]) -> None:
    play = Play(flow(step("a", "set", **place), secrets={"key": {"from": "env:KEY"}}))
    assert (play.status, play.of("a")) == ("failed", "failed")


@pytest.mark.req("FLOW-5.unbound")
def test_an_unknown_name_fails_the_step_with_that_name() -> None:
    play = Play(flow(step("a", "map", params={"value": "$nobody"})))
    assert (play.status, "nobody" in (play.state.error.message if play.state.error else "")) == ("failed", True)


@pytest.mark.req("DUR-2.names")
def test_the_outputs_of_unfinished_steps_are_null() -> None:
    play = Play(flow(root=graph([step("slow"), step("see", "map", params={"value": "{{ slow ?? 'not yet' }}"})], [])))
    assert play.out("see") == "not yet"


@pytest.mark.req("DUR-2.names")
def test_a_handlers_error_is_out_of_scope_after_it() -> None:
    play = Play(
        flow(step("a", on_error=on_error(step("h"))), step("b", "map", params={"value": "{{ error ?? 'none' }}"}))
    )
    play.bad("a")
    play.ok("a.on_error.h")
    assert play.out("b") == "none"


@pytest.mark.req("DUR-2.names")
def test_a_loops_names_are_out_of_scope_after_it() -> None:
    plan = flow(
        foreach("each", [1], step("w", "map", params={"value": "$item"})),
        step("b", "map", params={"value": "{{ item ?? 'none' }}"}),
    )
    assert Play(plan).outputs == "none"


@pytest.mark.req("DUR-2.names")
def test_edge_conditions_see_the_variables_that_their_step_set() -> None:
    from segue.flow.model import Edge

    root = graph([step("s", "set", params={"n": 5}), step("big")], [Edge("s", "big", when="$vars.n > 1")])
    assert Play(flow(root=root, vars={"n": 0})).active == ["big"]


@pytest.mark.req("DUR-2.names")
def test_bare_handler_names_used_twice_are_scoped_to_their_steps() -> None:
    plan = flow(step("a", on_error=on_error(step("h"))), step("b", on_error=on_error(step("h"))))
    play = Play(plan)
    play.bad("a")
    play.ok("a.on_error.h", 1)
    play.bad("b")
    play.ok("b.on_error.h", 2)
    assert (play.out("a"), play.out("b")) == (1, 2)


@pytest.mark.req("DUR-2.names")
def test_a_repeats_steps_see_the_data_that_flowed_into_it() -> None:
    play = Play(
        flow(step("a", "map", params={"value": 7}), repeat("r", step("w", "map", params={"value": "$data"}), max=1))
    )
    assert play.outputs == 7


@pytest.mark.req("DUR-2.names")
def test_data_of_a_branchs_first_step_is_what_flowed_into_its_owner() -> None:
    inner = step("c", "conditional", blocks=(seq(step("w", "map", params={"value": "$data"}), label="else"),))
    assert Play(flow(step("a", "map", params={"value": 7}), inner)).outputs == 7


@pytest.mark.req("DUR-2.past")
def test_a_prefix_of_the_journal_folds_to_the_state_after_it() -> None:
    from segue.kernel.apply import fold

    play = Play(flow(step("a"), foreach("each", [1, 2], step("w")), step("b")))
    states: list[tuple[int, list[str]]] = [(len(play.rows), play.active)]
    while not play.state.ended:
        one = next(iter(play.state.active.values()))
        play.give(inp.AttemptEnded(one.id, one.attempt, 1))
        states.append((len(play.rows), play.active))
    for count, active in states:
        past = fold(play.plan, "run_1", play.journal(count))
        assert [one.address for one in past.active.values()] == active
