"""Documents made to be slow or deep are refused within their bounds."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from tests.unit.flow.kit import CATALOGUE, codes_of

from segue.flow import check_flow, read_document, read_flow

SECONDS_MAX = 10.0
"""Far above what these take (under two seconds here), far below what they took without bounds (minutes)."""


def codes_in_time(text: str) -> set[str]:
    start = time.perf_counter()
    result = read_flow(text)
    problems = list(result.problems)
    if result.flow is not None:
        problems += check_flow(result.flow, CATALOGUE, runnable=True, document=result.document)
    assert time.perf_counter() - start < SECONDS_MAX
    assert len(problems) <= 1_000
    return {problem.code for problem in problems}


@pytest.mark.req("FLOW-5.bounded")
@pytest.mark.parametrize(
    ("text", "code"),
    [
        (json.dumps({"steps": ["a"], **{f"k{n}": 1 for n in range(50_000)}}), "FLW010"),
        (json.dumps({"steps": [{"log": f"$nobody{n}"} for n in range(2_000)]}), "FLW031"),
        (json.dumps({"steps": [f"nobody_{n}" for n in range(19_000)]}), "FLW037"),
        (json.dumps({"steps": [{f"s{n}": {"log": 1, "needs": [f"s{n + 1}"]}} for n in range(1_900)]}), "FLW025"),
        (json.dumps({"nodes": [{"id": str(n), "type": "ErrorBoundary"} for n in range(2_000)], "edges": []}), "FLW003"),
        ("flow: x\nsteps:\n  - log: '" + "{{ " * 50_000 + "'", "FLW030"),
        ("a: " + "{{ " * 50_000, "FLW003"),
        ("flow: x\nsteps:\n  - log: '" + "{{ a }} " * 8_000 + "'", "FLW031"),
        ("steps: [" + "{{ x }}, " * 20_000 + "]", "FLW004"),
    ],
    ids=["keys", "names", "steps", "needs", "containers", "open", "templates", "unknown", "many"],
)
def test_many_mistakes_do_not_take_long(text: str, code: str) -> None:
    assert code in codes_in_time(text)


def test_nesting_is_bounded_where_the_text_does_not_nest() -> None:
    lines = ["flow: x", "definitions:", "  d0: {log: x}"]
    lines += [f"  d{n}: {{parallel: [d{n - 1}]}}" for n in range(1, 300)]
    assert "FLW003" in codes_of("\n".join([*lines, "steps: [d299]"]))
    chained = [f"  d{n}: {{use: d{n - 1}}}" for n in range(1, 300)]
    assert "FLW003" in codes_of("\n".join(["flow: x", "definitions:", "  d0: {log: x}", *chained, "steps: [d299]"]))
    tasks: list[dict[str, Any]] = [
        {"id": f"c{n}", "condition": "true", "thenTasks": [f"c{n + 1}"]} for n in range(2_000)
    ]
    result = read_document({"tasks": [*tasks, {"id": "c2000", "agent_type": "a", "action": "b"}]})
    assert "FLW003" in {problem.code for problem in result.problems}
    nodes = [{"id": f"n{n}", "type": "foreach", "data": {"items": "[1]"}, "parentId": f"n{n - 1}"} for n in range(60)]
    assert "FLW003" in {problem.code for problem in read_document({"nodes": nodes, "edges": []}).problems}
