"""The part of the public CEL conformance suite that applies; what our stated deviations change is listed by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from segue.expr import evaluate_case

CASES: list[dict[str, Any]] = json.loads(
    (Path(__file__).parent / "data" / "cel_cases.json").read_text(encoding="utf-8")
)["cases"]

DEVIATIONS: dict[str, tuple[int, str]] = {
    "lists/index/index_out_of_bounds": (2, "a missing index is null, where CEL has an error"),
}
"""Case: number of the deviation (as in `segue.expr`), and what differs."""


def case_id(case: dict[str, Any]) -> str:
    return f"{case['file']}/{case['section']}/{case['name']}"


def same(one: Any, other: Any) -> bool:
    """Equal with equal types all the way down: 1 is not 1.0, and not true."""
    if type(one) is not type(other):
        return False
    if isinstance(one, list):
        return len(one) == len(other) and all(same(*pair) for pair in zip(one, other, strict=True))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return repr(one) == repr(other) if isinstance(one, float) else one == other


def conforms(case: dict[str, Any]) -> bool:
    answer = evaluate_case(case["expr"], case["bindings"])
    if case.get("error"):
        return "error" in answer
    return "value" in answer and same(answer["value"], case["value"])


@pytest.mark.req("FLOW-5.expressions")
@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_a_case_of_the_public_suite_passes_unless_a_deviation_is_stated(case: dict[str, Any]) -> None:
    if case_id(case) in DEVIATIONS:
        assert not conforms(case), "this case conforms by now: take it off the list"
    else:
        assert conforms(case), evaluate_case(case["expr"], case["bindings"])


def test_the_list_of_deviations_names_existing_cases_and_stated_deviations_only() -> None:
    known = {case_id(case) for case in CASES}

    assert len(CASES) == len(known) == 509
    assert DEVIATIONS.keys() <= known
    assert all(number in (1, 2, 3, 4) for number, _ in DEVIATIONS.values())
