"""Every example checks clean, passes its own tests, and its tests go every way through it."""

from __future__ import annotations

from pathlib import Path

import pytest

from segue.cli.offline import flows_and_tests, load_offline, read_all_tests
from segue.engine.dry_run import dry_run
from segue.engine.flow_test_run import run_tests
from segue.flow import check_flow, read_flow
from segue.flow.catalogue import StaticCatalogue

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
FLOWS = flows_and_tests([EXAMPLES])


def test_all_files_in_the_folder_are_flows_or_tests_of_flows() -> None:
    assert len(FLOWS) >= 8
    known = {*FLOWS, *(file for files in FLOWS.values() for file in files)}
    assert known == {path for path in EXAMPLES.rglob("*") if path.suffix in (".yaml", ".yml", ".json")}


@pytest.mark.parametrize("path", FLOWS, ids=lambda path: path.name)
@pytest.mark.req("FLOW-10.examples")
def test_an_example_has_no_problems(path: Path) -> None:
    assert [str(one) for one in load_offline(str(path), None).problems] == []


@pytest.mark.parametrize("path", FLOWS, ids=lambda path: path.name)
@pytest.mark.req("FLOW-10.examples", "BAR-21.examples")
def test_an_examples_tests_pass_and_cover_every_step_and_branch(path: Path) -> None:
    found = load_offline(str(path), None)
    assert found.flow is not None
    tests, texts = read_all_tests(found, FLOWS[path])
    assert [str(one) for text in texts for one in text.problems] == []
    assert tests, "an example without tests"
    results = run_tests(found.flow, tests, found.actions)
    for result in results.tests:
        assert result.error is None, result.name
        assert result.differences == [], result.name
        assert result.notes == [], result.name
    assert results.coverage.steps_missed == []
    assert results.coverage.branches_missed == []


@pytest.mark.parametrize("path", FLOWS, ids=lambda path: path.name)
@pytest.mark.req("BAR-5.examples")
def test_an_example_can_be_planned_with_its_default_inputs(path: Path) -> None:
    found = load_offline(str(path), None)
    assert found.flow is not None
    given = {"webhook_url": "https://example.com/hook"} if "webhook_url" in str(found.flow.inputs) else {}
    plan = dry_run(found.flow, given, found.actions, document=found.document)
    assert plan.ok, plan.problems
    assert [one for one in plan.problems if one.severity == "error"] == []


def test_an_example_with_a_mistake_is_found() -> None:
    """The check above can fail: a misspelt name in an example is a problem."""
    text = (EXAMPLES / "support-routing.yaml").read_text(encoding="utf-8").replace("- send_sms", "- send_smss")
    result = read_flow(text)
    assert result.flow is not None
    found = check_flow(result.flow, StaticCatalogue(), runnable=False, document=result.document)
    assert [one.suggestion for one in found if one.severity != "note"] == ['did you mean "send_sms"?']
