"""Every state says why (BAR-4). The driver of all kernel tests asks every step of every state; here the words count."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from segue.errors import JournalCorruptError
from segue.flow.model import Callback, Retry, Timeout
from segue.kernel import inputs as inp
from segue.kernel import reasons, step_reasons
from segue.kernel.apply import fold
from segue.kernel.plan import NodePlan
from segue.kernel.reason_codes import MEANINGS, ReasonCode
from segue.kernel.reasons import explain_quarantined, explain_run, explain_step
from segue.kernel.status import RunStatus, StepStatus
from segue.kernel.step_reasons import explain_unopened
from segue.kernel.tables_doc import states_page
from unit.kernel.builders import (
    NOW,
    Play,
    conditional,
    flow,
    foreach,
    graph,
    on_error,
    parallel,
    seq,
    step,
    switch,
    try_,
)

pytestmark = pytest.mark.req("BAR-4.code")


def unopened(play: Play, id: str) -> tuple[str, str]:
    node: NodePlan = next(one for one in play.plan.nodes if one.step.id == id)
    reason = explain_unopened(node, play.state)
    return reason.code.value, reason.sentence


@pytest.mark.req("BAR-4.docs")
def test_the_page_of_states_is_current() -> None:
    page = Path(__file__).parents[3] / "docs" / "states.md"
    assert page.read_text(encoding="utf-8") == states_page(), "run: python -m segue.kernel.tables_doc > docs/states.md"


def test_every_code_has_a_meaning_and_a_stable_form() -> None:
    assert set(MEANINGS) == set(ReasonCode)
    assert all(re.fullmatch(r"(run|step)(-[a-z]+)+", code.value) for code in ReasonCode)
    assert all(meaning.endswith(".") for meaning in MEANINGS.values())


def test_every_code_is_given_somewhere() -> None:
    text = "".join(Path(str(one.__file__)).read_text(encoding="utf-8") for one in (reasons, step_reasons))
    assert [code for code in ReasonCode if not re.search(rf"\bR\.{code.name}\b", text)] == []


@pytest.mark.parametrize("status", list(RunStatus))
def test_every_status_of_a_run_has_a_reason(status: RunStatus) -> None:
    play = Play(flow(step("a")))
    play.state.set_status(status)
    assert explain_run(play.state, NOW).sentence


@pytest.mark.parametrize("status", list(StepStatus))
def test_every_status_of_a_step_has_a_reason_even_in_a_state_that_cannot_be(status: StepStatus) -> None:
    play = Play(flow(step("a"), step("b")))
    for one in play.state.nodes:
        one.status = status
        assert explain_step(play.state, one, NOW).sentence


def test_every_past_state_has_reasons() -> None:
    plan = flow(
        step("a", retry=Retry(max_attempts=2)),
        parallel("p", {"x": [step("b", on_error=on_error(step("h")))], "y": [step("c")]}),
        conditional("k", ("$a", [step("t")]), (None, [step("e")])),
        foreach("each", [1, 2], step("w")),
        step("hook", callback=Callback()),
        finally_=seq(step("f"), label="finally"),
    )
    play = Play(plan)
    play.bad("a")
    play.next_timer()
    play.ok("a", True)
    play.bad("b")
    play.run()
    for count in range(len(play.rows) + 1):
        state = fold(play.plan, "run_1", play.journal(count))
        assert explain_run(state, NOW).sentence
        for one in state.nodes:
            assert explain_step(state, one, NOW).sentence
        for node in play.plan.nodes:
            assert explain_unopened(node, state).sentence


def test_a_sentence_is_one_line_of_lower_case_facts_without_a_full_stop() -> None:
    play = Play(flow(step("a", retry=Retry(max_attempts=2)), step("b")))
    for sentence in (play.why(), play.why("a"), play.why("b")):
        assert "\n" not in sentence
        assert not sentence.endswith(".")


def test_steps_of_blocks_that_were_never_opened_say_why() -> None:
    play = Play(
        flow(
            conditional("c", ("$inputs.x", [step("t")]), (None, [step("e")])),
            switch("s", "1", {1: [step("one")], 2: [step("two")]}),
            foreach("none", [], step("w")),
            try_("t2", [step("d")], [step("caught")], [step("fin")]),
            step("a", on_error=on_error(step("h"))),
            on_error_block=seq(step("top"), label="on_error"),
            finally_=seq(step("last"), label="finally"),
        ),
        {"x": False},
    )
    assert unopened(play, "t") == ("step-branch-not-taken", "not run: `c` took `else`: `then` did not hold")
    assert unopened(play, "two")[0] == "step-not-reached-yet"
    assert unopened(play, "h") == ("step-handler-not-needed", "runs only if `a` fails")
    assert unopened(play, "top") == ("step-handler-not-needed", "runs only if an error reaches the top")
    assert unopened(play, "last") == ("step-not-reached-yet", "runs at the end of the run")
    play.run()
    assert unopened(play, "two") == ("step-branch-not-taken", "not run: `s` took `case:1`")
    assert unopened(play, "w") == ("step-no-items", "not run: `none` had nothing to loop over")
    assert unopened(play, "caught") == ("step-handler-not-needed", "not needed: `t2` ended as succeeded")
    assert unopened(play, "h") == ("step-handler-not-needed", "not needed: `a` ended as succeeded")
    assert unopened(play, "top") == ("step-handler-not-needed", "not needed: no error reached the top")


def test_a_step_deep_in_a_block_that_was_not_reached_says_where_it_stands() -> None:
    play = Play(flow(step("a"), parallel("p", {"x": [foreach("each", [1], step("w"))]})))
    assert unopened(play, "w") == ("step-not-reached-yet", "stands in `each`: not reached yet: `p` has not begun")
    play.bad("a")
    assert unopened(play, "w") == ("step-not-reached", "stands in `each`: not reached: `p` was not reached")


def test_a_branch_that_waits_for_a_limit_says_so() -> None:
    play = Play(flow(parallel("p", {"x": [step("a")], "y": [step("b")]}, limit=1)))
    assert unopened(play, "b") == ("step-waiting-slot", "waits until an open branch of `p` ends (1 under way)")


def test_a_step_behind_an_untaken_path_says_which_branch_was_taken() -> None:
    choices = [{"label": "yes", "when": "true"}, {"label": "no", "when": None}]
    root = graph([step("k", "branch", params={"branches": choices}), step("y"), step("n")], ["k>y:yes", "k>n:no"])
    assert Play(flow(root=root)).why("n") == "skipped: no path to it was taken (after `k`): `k` took `yes`"


def test_a_pending_step_names_what_it_waits_for() -> None:
    play = Play(flow(root=graph([step("a"), step("b"), step("j")], ["a>j", "b>j"])))
    play.ok("a")
    assert play.why("j") == "waits for `b`"
    play.bad("b")
    assert play.why("j") == "not reached: the run ended first (failed)"


def test_a_step_whose_sibling_failed_within_a_block_that_is_handled_is_not_reached() -> None:
    play = Play(flow(try_("t", [step("a"), step("b")], [step("c")])))
    play.bad("a")
    assert play.why("b") == "not reached: `a` failed first"


@pytest.mark.parametrize(
    ("category", "action"),
    [
        ("http.401", "check the connection's credentials"),
        ("dns", "check the host name in the step's address"),
        ("http.500", "mend the cause, then `segue retry run_1`"),
    ],
)
def test_a_failure_says_what_helps(category: str, action: str) -> None:
    play = Play(flow(step("a")))
    play.bad("a", category)
    assert explain_step(play.state, play.step("a"), NOW).action == action
    assert explain_run(play.state, NOW).action == "mend the cause, then `segue retry run_1`"


def test_a_run_that_waits_for_several_steps_names_the_first_that_is_due() -> None:
    root = graph(
        [
            step("w", "wait", params={"duration": "2h"}),
            step("v", "wait", params={"duration": "1h"}),
            step("h", "wait", callback=Callback()),
        ],
        [],
    )
    play = Play(flow(root=root))
    assert play.why() == "`v`: waiting until 2027-01-15T09:00:00Z; 2 other steps wait too"
    assert explain_run(play.state, play.now).code == "run-waiting-time"


def test_waiting_runs_have_the_code_of_what_they_wait_for() -> None:
    cases = {
        "run-waiting-callback": step("a", "wait", callback=Callback()),
        "run-waiting-time": step("a", "wait", params={"duration": "1h"}),
    }
    for code, one in cases.items():
        play = Play(flow(one))
        assert explain_run(play.state, play.now).code == code
    play = Play(flow(step("a", retry=Retry(max_attempts=2))))
    play.bad("a")
    assert explain_run(play.state, play.now).code == "run-waiting-retry"


def test_a_step_that_lost_its_host_after_a_retry_counts_the_losses() -> None:
    play = Play(flow(step("a", retry=Retry(max_attempts=3, jitter="none"))))
    play.bad("a")
    play.next_timer()
    play.crash()
    assert play.why("a").endswith("; its host stopped once during earlier attempts")


def test_a_recovered_run_names_what_was_recovered() -> None:
    play = Play(flow(step("a", timeout=Timeout(total_seconds=1, on_timeout="continue"))))
    play.later(1_000)
    assert play.why() == "ended well; 1 step failed and recovered: `a`"


def test_a_paused_step_that_is_due_says_that_the_pause_holds_it() -> None:
    play = Play(flow(step("a", retry=Retry(max_attempts=2, jitter="none"))))
    play.bad("a")
    play.give(inp.PauseRun())
    play.later(5_000)
    reason = explain_step(play.state, play.step("a"), play.now)
    assert (reason.code, reason.action) == ("step-held-by-pause", "segue resume run_1")


@pytest.mark.req("DUR-6.error")
def test_a_quarantined_run_says_up_to_where_its_journal_is_good() -> None:
    reason = explain_quarantined(
        "run_1", JournalCorruptError("the journal of run run_1 does not fold", last_valid_seq=7)
    )
    assert (reason.code, "(7)" in (reason.action or "")) == ("run-quarantined", True)


@pytest.mark.req("BAR-4.what-happened")
def test_what_ended_well_after_its_host_had_stopped_says_so() -> None:
    play = Play(flow(step("a"), step("b")))
    play.crash()
    play.ok("a")
    play.ok("b")
    assert play.why("a").endswith("made again under the same key after its host had stopped once")
    assert play.why() == "ended well: 2 steps; taken over once after its host had stopped"
