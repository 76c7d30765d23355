"""Tests of flows beyond plain values: conditions as expected values, tables of cases, tests that are left out."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from segue.engine.flow_test_run import TestResult
from unit.engine_dry.flows import problems_of, results_of
from unit.engine_dry.test_commands import command, written

FLOW = """
flow: f
inputs: {amount: number, who: string?}
secrets: {key: {from: env:NO_SUCH_VARIABLE}}
steps:
  - charge: {call: shop.charge, params: {amount: $inputs.amount, key: $secrets.key}}
  - big: {when: $inputs.amount > 100, log: "large: {{ inputs.amount }}"}
outputs: {id: $charge.id, amount: $inputs.amount, tags: [a, b]}
tests:
"""


def ran(tests: str) -> list[TestResult]:
    return results_of(FLOW + tests).tests


def only(expect: str) -> TestResult:
    tests = f"  - {{inputs: {{amount: 300}}, mocks: {{charge: {{paid: true, id: c-7}}}}, expect: {expect}}}\n"
    (found,) = ran(tests)
    return found


@pytest.mark.req("FLOW-10.matchers")
@pytest.mark.parametrize(
    "expect",
    [
        "{outputs: {id: \"{{ $.startsWith('c-') }}\", tags: '{{ size($) == 2 }}'}}",
        "{outputs: {id: $charge.id, amount: $inputs.amount}}",
        "{outputs: {id: 'c-{{ 3 + 4 }}', amount: '{{ inputs.amount }}'}}",
        "{outputs: '{{ $.amount > 200 and !has($.error) }}'}",
        "{outputs: {nothing: '{{ $ == null }}'}}",
        "{steps: {charge: {output: {id: '{{ $.size() == 3 }}'}}}}",
        "{calls: {charge: {with: {amount: '{{ $ > 1 }}', key: '***'}}}}",
        "{logs: [\"{{ $.matches('^large: [0-9]+$') }}\"]}",
    ],
)
def test_an_expected_value_may_be_computed_or_be_a_condition_on_what_came(expect: str) -> None:
    assert only(expect).differences == []


@pytest.mark.parametrize(
    ("expect", "what", "why"),
    [
        ("{outputs: {id: \"{{ $.startsWith('x') }}\"}}", "outputs.id", None),
        ("{outputs: {amount: '{{ $ + 1 }}'}}", "outputs.amount", "a condition is true or false, not int"),
        ("{outputs: {amount: '{{ $.size() }}'}}", "outputs.amount", "EXP103"),
        ("{outputs: {id: $inputs.amount}}", "outputs.id", "expected is $inputs.amount"),
        ("{outputs: {id: $nobody}}", "outputs.id", "EXP101"),
        ("{outputs: {nothing: '{{ $ != null }}'}}", "outputs.nothing", "there is no such field"),
        ("{logs: [\"{{ $.matches('^small') }}\"]}", "logs[0]", None),
        ("{outputs: {amount: '{{ secrets.key }}'}}", "outputs.amount", "EXP101"),
    ],
)
def test_what_does_not_hold_is_told_with_the_condition_and_the_value(expect: str, what: str, why: str | None) -> None:
    (found,) = only(expect).differences

    assert found.what == what
    assert why is None or (found.why is not None and why in found.why)


@pytest.mark.req("FLOW-10.tables")
def test_a_table_makes_a_test_of_each_row() -> None:
    results = ran("""
  - name: large ones are noted
    cases:
      small: {amount: 5, big: skipped}
      large: {amount: 500, big: succeeded, logs: ["large: 500"]}
    inputs: {amount: $case.amount}
    mocks: {charge: {paid: true, id: "c{{ case.amount }}"}}
    expect:
      outputs: {id: "{{ 'c' + string(case.amount) }}"}
      steps: {big: $case.big}
      logs: "{{ case.logs ?? [] }}"
      that: $outputs.amount == $case.amount
  - name: "the amount {{ $case.amount }}"
    cases: [{amount: 1}, {amount: 2, name: two}, {amount: 3}]
    inputs: {amount: $case.amount}
    mocks: {charge: {paid: true, id: x}}
""")

    assert [(one.name, one.passed, one.differences) for one in results] == [
        ("large ones are noted [small]", True, []),
        ("large ones are noted [large]", True, []),
        ("the amount 1", True, []),
        ("the amount 2", True, []),
        ("the amount 3", True, []),
    ]
    assert [one.line for one in results[:2]] == [13, 14]


def test_a_row_that_is_not_as_expected_is_the_one_that_fails() -> None:
    first, second = ran("""
  - name: free
    cases: [{amount: 1}, {amount: 2}]
    inputs: {amount: $case.amount}
    mocks: {charge: {paid: true, id: x}}
    expect: {outputs: {amount: 1}, that: $case.amount == 1}
""")

    assert first.passed
    assert second.name == "free [amount=2]"
    assert [one.what for one in second.differences] == ["outputs.amount", "that"]


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("cases: 3", "cases is a list of cases, or a map by name, not the number 3"),
        ("cases: []", "there are no cases in the table"),
        ("cases: [{amount: x}], now: '{{ int(case.amount) }}'", "the case amount=x: EXP106"),
        ("cases: [{a: 1}, {a: 2}], expect: {steps: {chrge: succeeded}}", 'no step "chrge"'),
    ],
)
def test_a_mistake_in_a_table_is_told_once_and_at_its_place(table: str, said: str) -> None:
    problems = problems_of(f"{FLOW}  - {{name: t, {table}}}\n")

    assert len(problems) == 1, problems
    assert said in problems[0].message
    assert problems[0].span is not None


SKIPPING = """\
flow: s
inputs: {n: integer}
steps: [a: {log: hi}]
tests:
  - {name: first, inputs: {n: 1}}
  - {name: later, inputs: {n: 1}, skip: waits for the new price list}
  - {name: wrong, inputs: {n: 1}, expect: {status: failed}}
  - {name: last, inputs: {n: 1}}
"""


def test_a_test_that_is_left_out_counts_neither_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path, "s.yaml", SKIPPING)
    junit = tmp_path / "out" / "junit.xml"

    assert command("test", file, "--junit", junit) == 1
    text = capsys.readouterr().out
    assert "– later  waits for the new price list" in text
    assert "4 tests, 1 failed, 1 skipped" in text
    suite = ET.parse(junit).getroot()[0]
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("4", "1", "1")
    assert suite.find("testcase/skipped") is not None

    assert command("test", file, "-k", "later", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["ok"], told["tests"], told["skipped"]) == (True, 1, 1)


def test_fail_fast_stops_at_the_first_failure_and_list_runs_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path, "s.yaml", SKIPPING)

    assert command("test", file, "-x") == 1
    assert "3 tests, 1 failed, 1 skipped, 1 not run" in capsys.readouterr().out
    assert command("test", file, "--list", "-k", "la") == 0
    assert capsys.readouterr().out.splitlines() == [f"{file}: later", f"{file}: last"]
