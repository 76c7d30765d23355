"""The corpus of broken flows (`tests/broken_flows`): the checker says of each exactly what its author ought to see."""

from __future__ import annotations

import re

import pytest
from scripts import broken_flows
from scripts.broken_flows import Case, Expected

from segue.expr import CODES as EXPRESSION_CODES
from segue.flow import codes

CASES = broken_flows.cases()
EVALUATED_ONLY = {"EXP010", "EXP101", "EXP107", "EXP203"}
"""What no text of a flow can do wrong: conditions that are no text are refused before (FLW015), unknown names are
FLW031, and what is too large is known at run time."""


def identified(case: Case) -> str:
    return f"{case.file}:{case.line} {case.title}"


def expected_of(case: Case) -> list[Expected]:
    return [
        Expected(one.code, one.severity or codes.CODES[one.code[:6]].severity, one.place, one.path, one.patch)
        for one in case.expected
    ]


@pytest.mark.req("FLOW-5.corpus", "FLOW-5.all_at_once", "FLOW-5.place", "BAR-8.corpus")
@pytest.mark.parametrize("case", CASES, ids=identified)
def test_a_broken_flow_gives_what_its_author_ought_to_see(case: Case) -> None:
    found = [broken_flows.seen(problem) for problem in broken_flows.problems_of(case.text, runnable=case.is_for_run)]
    assert sorted(found, key=str) == sorted(expected_of(case), key=str)
    assert case.expected, "a case without a problem shows nothing"


@pytest.mark.req("FLOW-5.fix", "BAR-8.repairs")
@pytest.mark.parametrize("case", [case for case in CASES if case.is_repaired], ids=identified)
def test_a_repairable_flow_is_without_problems_after_the_repair_and_keeps_its_comments(case: Case) -> None:
    mended = broken_flows.mended(case)
    left = [str(one) for one in broken_flows.problems_of(mended, runnable=case.is_for_run)]
    assert left == []
    assert re.findall(r"#[^\n]*", mended) == re.findall(r"#[^\n]*", case.text)


@pytest.mark.req("BAR-8.repairs")
@pytest.mark.parametrize(
    "case", [case for case in CASES if not case.is_repaired and any(one.patch is not None for one in case.expected)],
    ids=identified,
)  # fmt: skip
def test_what_can_be_repaired_is_repaired_and_the_rest_stays(case: Case) -> None:
    left = {one.code for one in broken_flows.problems_of(broken_flows.mended(case), runnable=case.is_for_run)}
    assert left == {one.code[:6] for one in case.expected if one.patch is None}


@pytest.mark.req("FLOW-5.codes", "BAR-13.every-code-has-a-broken-flow")
def test_every_code_of_the_checker_is_in_the_corpus() -> None:
    shown = {one.code[:6] for case in CASES for one in case.expected}
    assert set(codes.CODES) - shown == set()


@pytest.mark.req("FLOW-5.codes")
def test_every_code_of_expressions_that_a_text_can_have_is_in_the_corpus() -> None:
    shown = {one.code[7:] for case in CASES for one in case.expected if "/" in one.code}
    assert set(EXPRESSION_CODES) - shown == EVALUATED_ONLY


@pytest.mark.req("BAR-8.share")
def test_more_than_half_of_the_corpus_is_repaired() -> None:
    repaired, count = broken_flows.share_repaired(CASES)
    assert count >= 200
    assert repaired / count > 0.5


def test_titles_say_apart_what_the_cases_are() -> None:
    titles = [case.title for case in CASES]
    assert sorted({title for title in titles if titles.count(title) > 1}) == []


@pytest.mark.req("FLOW-5.sentence")
@pytest.mark.parametrize("case", CASES, ids=identified)
def test_sentences_are_short_and_speak_of_the_flow(case: Case) -> None:
    for problem in broken_flows.problems_of(case.text, runnable=case.is_for_run):
        assert 10 < len(problem.message) < 260, problem.message
        assert not re.search(r"Traceback|object at 0x|NoneType|<class|dict_keys", str(problem))
        assert problem.suggestion is None or 3 < len(problem.suggestion) < 420
