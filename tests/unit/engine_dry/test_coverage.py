"""Coverage: every way that a decision can go, and which of them the tests went."""

from __future__ import annotations

import pytest

from unit.engine_dry.flows import results_of

FLOW = """
flow: f
inputs: {n: integer, ids: {type: array, default: []}}
steps:
  - choose:
      conditional: {if: $inputs.n > 5, then: [{big: {log: b}}], elif: [{if: $inputs.n > 3, then: [{mid: {log: m}}]}]}
  - pick: {switch: {on: $inputs.n, cases: {1: [{one: {log: one}}], 2: [{two: {log: two}}]}}}
  - maybe: {log: maybe, when: $inputs.n == 1}
  - each: {foreach: {items: $inputs.ids, do: [{ask: {call: shop.status, on_error: [{sorry: {log: sorry}}]}}]}}
  - fixed: {foreach: {items: [1, 2], do: [{line: {log: line}}]}}
  - guard: {try: {do: [{risky: {call: shop.status}}], catch: [{caught: {log: caught}}]}}
  - slow: {call: shop.status, timeout: 5s, on_timeout: continue}
on_error: [{last: {log: last}}]
tests:
"""


def missed(tests: str) -> list[tuple[str, str]]:
    coverage = results_of(FLOW + tests).coverage
    return [(one.step.rpartition(".")[2] or "flow", one.name) for one in coverage.branches_missed]


@pytest.mark.req("BAR-21.branches")
def test_every_way_that_no_test_went_is_listed() -> None:
    assert missed("  - {inputs: {n: 9}}\n") == [
        ("choose", "elif:1"), ("choose", "else (none)"), ("pick", "case:1"), ("pick", "case:2"), ("maybe", "when: met"),
        ("each", "items"), ("ask", "on_error"), ("guard", "catch"), ("slow", "on_timeout: continue"),
        ("flow", "on_error"),
    ]  # fmt: skip


@pytest.mark.req("BAR-21.branches")
def test_tests_that_go_every_way_cover_all() -> None:
    tests = """
  - {name: big, inputs: {n: 9}}
  - {name: one, inputs: {n: 1, ids: [7]}}
  - {name: two, inputs: {n: 2, ids: [7]}, mocks: {ask: {error: internal}, risky: {error: internal}}}
  - {name: four, inputs: {n: 4}, mocks: {slow: {no_answer: true}}}
  - {name: bad, inputs: {n: 4}, mocks: {slow: {error: internal}}, expect: {error: internal, logs: [last]}}
"""
    results = results_of(FLOW + tests)
    assert results.passed
    coverage = results.coverage
    assert missed(tests) == []
    assert (coverage.branch_percent, coverage.step_percent, coverage.steps_missed) == (100.0, 100.0, [])
    assert (coverage.branches, coverage.steps) == (14, 17)


@pytest.mark.req("BAR-21.steps")
def test_steps_that_never_ran_are_listed_with_their_line() -> None:
    coverage = results_of(FLOW + "  - {inputs: {n: 9}}\n").coverage
    assert ("mid", 6) in [(one.step.rpartition(".")[2], one.line) for one in coverage.steps_missed]
    assert round(coverage.step_percent) == round(100 * coverage.steps_covered / coverage.steps) < 100


@pytest.mark.req("BAR-21.edges")
def test_conditions_on_a_graphs_edges_count_both_ways() -> None:
    text = """
name: g
nodes:
  - {id: s, type: start}
  - {id: c, type: Condition, data: {condition: "$data.n > 1"}}
  - {id: a, type: http, data: {config: {url: "https://example.com/a"}}}
  - {id: b, type: http, data: {config: {url: "https://example.com/b"}}}
edges:
  - {source: s, target: c}
  - {source: c, target: a, sourceHandle: "then"}
  - {source: c, target: b, sourceHandle: "else"}
tests:
"""
    one = results_of(text + "  - {name: t, inputs: {n: 2}, expect: {calls: {a: 1}, not_called: [b]}}\n")
    assert one.passed, one.tests
    assert one.coverage.branches == 2
    assert one.coverage.branches_covered == 1
    both = results_of(
        text + "  - {name: t, inputs: {n: 2}}\n  - {name: e, inputs: {n: 0}, expect: {not_called: [a]}}\n"
    )
    assert (both.passed, both.coverage.branches_missed) == (True, [])
