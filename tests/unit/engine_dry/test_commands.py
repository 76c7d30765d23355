"""`segue plan` and `segue test`: exit codes, what is printed, JSON and JUnit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from segue.cli.app import run_command

FLOW = """\
flow: pay
inputs: {amount: number}
secrets: {token: {from: env:NO_SUCH_VARIABLE}}
steps:
  - charge:
      http: {url: https://example.com/charge, headers: {authorization: $secrets.token}, json: {a: $inputs.amount}}
  - big: {log: big, when: $inputs.amount > 100}
outputs: {id: $charge.body.id}
"""
TESTS = """\
tests:
  - {name: small, inputs: {amount: 3}, mocks: {charge: {body: {id: c1}}}, expect: {outputs: {id: c1}}}
"""


def command(*arguments: str | Path) -> int:
    with pytest.raises(SystemExit) as ended:
        run_command([str(one) for one in arguments])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def printed(capsys: pytest.CaptureFixture[str]) -> str:
    """What stands on stdout, with its lines as long as they are."""
    return capsys.readouterr().out


def parsed(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


@pytest.mark.req("FLOW-9.command")
def test_plan_shows_what_would_be_sent_with_its_assumptions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path, "pay.yaml", FLOW)
    assert command("plan", file, "--input", "amount=3") == 0
    text = printed(capsys)
    assert "would send POST https://example.com/charge  [keyed]" in text
    assert '"headers":{"authorization":"***"},"json":{"a":3' in text
    assert "assumes an empty answer" in text
    assert "– big  would be skipped" in text
    assert "would end as succeeded" in text


@pytest.mark.req("FLOW-9.command")
def test_plan_takes_mocks_and_gives_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path, "pay.yaml", FLOW)
    mocks = written(tmp_path, "mocks.yaml", "charge: {status: 503}\n")
    given = ["plan", file, "-i", "amount=3", "--json"]
    assert command(*given, "--mocks", mocks) == 1
    failed = parsed(capsys)
    assert (failed["ok"], failed["error"]["category"], failed["problems"][0]["line"]) == (False, "http.503", 6)
    assert command(*given, "--mocks", mocks, "-m", 'charge={"body": {"id": "c1"}}') == 0
    assert parsed(capsys)["outputs"] == {"id": "c1"}


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        (FLOW, [], "amount: is required"),
        (FLOW, ["-i", "amount=3", "-m", "chrge=1"], 'did you mean "charge"?'),
        (FLOW, ["-i", "amount=3", "-m", 'charge={"error": "tmeout"}'], "is no category"),
        (FLOW, ["-i", "amount=3", "-m", "charge"], "write STEP=JSON"),
        (FLOW, ["-i", "amount=3", "--now", "soon"], "is no moment"),
        (FLOW.replace("$inputs.amount >", "$imputs.amount >"), ["-i", "amount=3"], "imputs"),
    ],
)
@pytest.mark.req("FLOW-9.command")
def test_what_cannot_be_planned_is_told_and_ends_with_2(
    text: str, options: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("plan", written(tmp_path, "pay.yaml", text), *options) == 2
    assert said in capsys.readouterr().err


@pytest.mark.req("FLOW-10.command")
def test_a_folders_tests_are_run_with_those_in_files_of_their_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written(tmp_path, "pay.yaml", FLOW + TESTS)
    written(tmp_path, "notes.yaml", "this: is no flow\n")
    written(tmp_path, "pay.test.yaml", "- {name: large, inputs: {amount: 300}, expect: {logs: [big]}}\n")
    (tmp_path / "more").mkdir()
    more = "flow: ../pay.yaml\ntests: [{name: more, inputs: {amount: 1}}]\n"
    other = written(tmp_path / "more", "other.test.yaml", more)
    assert command("test", tmp_path, "--json", "--coverage-min", "100") == 0
    found = parsed(capsys)
    assert [one["name"] for one in found["flows"][0]["tests"]] == ["small", "more", "large"]
    assert (found["ok"], found["passed"], found["coverage"]["branch_percent"]) == (True, 3, 100.0)
    assert command("test", other) == 0
    assert "✓ more" in printed(capsys)


@pytest.mark.req("FLOW-10.command")
def test_a_failing_test_shows_expected_and_actual_and_ends_with_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(
        tmp_path, "pay.yaml", FLOW + TESTS.replace("{id: c1}}\n", "{id: c2}}\n").replace("{id: c1}}}, ", "{id: c3}}}, ")
    )
    junit = tmp_path / "out" / "junit.xml"
    assert command("test", file, "--junit", junit) == 1
    text = printed(capsys)
    assert "✗ small" in text
    assert f"({file}:10)" in text
    assert 'expected "c1"' in text
    assert 'actual   "c3"' in text
    assert "not covered: steps[1].big: when: met (line 7)" in text
    suite = ET.parse(junit).getroot()[0]
    assert (suite.get("name"), suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("pay", "1", "1", "0")
    failure = suite[0][0]
    assert (suite[0].get("name"), suite[0].get("line"), failure.tag) == ("small", "10", "failure")
    assert failure.get("message") == 'outputs.id: expected "c1", actual "c3"'


@pytest.mark.req("BAR-21.command")
def test_too_little_coverage_ends_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path, "pay.yaml", FLOW + TESTS)
    assert command("test", file, "--coverage-min", "50") == 0
    assert command("test", file, "--coverage-min", "51") == 1
    assert "the coverage is below 51 %" in printed(capsys)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (FLOW + TESTS.replace("charge:", "chrge:"), 'did you mean "charge"?'),
        (FLOW.replace("http:", "htpp:") + TESTS, "htpp"),
        (FLOW, "there are no tests"),
    ],
)
@pytest.mark.req("FLOW-10.command")
def test_tests_that_cannot_be_run_end_with_2(
    text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    junit = tmp_path / "junit.xml"
    assert command("test", written(tmp_path, "pay.yaml", text), "--junit", junit) == 2
    out = capsys.readouterr()
    assert said in out.out + out.err
    assert not junit.exists() or ET.parse(junit).getroot()[0].get("errors") == "1"


@pytest.mark.req("FLOW-10.command")
def test_what_could_not_be_tested_is_not_said_to_have_passed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written(tmp_path, "odd.yaml", FLOW + "tests: [{name: odd, inputs: {amount: 3}, mocks: {chrage: {}}}]\n")
    assert command("test", tmp_path) == 2
    assert "0 tests, 1 file cannot be tested;" in printed(capsys)
    written(tmp_path, "pay.yaml", FLOW + TESTS)
    assert command("test", tmp_path) == 2
    assert "1 test, 1 file cannot be tested;" in printed(capsys)


def test_a_file_of_tests_without_its_flow_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("test", written(tmp_path, "lost.test.yaml", "- {}\n")) == 2
    assert "there is no flow lost.yaml beside it" in capsys.readouterr().err


@pytest.mark.req("BAR-2.command")
def test_a_run_is_recorded_as_a_test_that_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "flow: f\ninputs: {n: integer}\nsteps: [{a: {set: {x: $inputs.n}}}, {b: {log: b, when: $a.x > 9}}]\n"
    file, database = written(tmp_path, "f.yaml", text), tmp_path / "segue.db"
    assert command("run", file, "-i", "n=3", "--database", database) == 0
    capsys.readouterr()
    assert command("record", "--name", "as it was", "--database", database) == 0
    test = written(tmp_path, "f.test.yaml", printed(capsys))
    assert "b: skipped" in test.read_text(encoding="utf-8")
    assert command("test", file) == 0
    assert "✓ as it was" in printed(capsys)


LOOP = """\
flow: loop
trigger: {webhook: true, when: $data.count > 0, inputs: {count: $data.count}}
inputs: {count: integer}
secrets: {token: {from: env:NO_SUCH_VARIABLE}}
steps:
  - each:
      foreach: "{{ range(inputs.count) }}"
      do:
        - late: {log: "the seventh", when: $item == 6}
        - send: {http: {method: POST, url: https://example.com/x, headers: {authorization: $secrets.token}}}
  - bye: {log: bye}
"""


@pytest.mark.req("BAR-5.loops")
def test_plan_folds_items_of_a_loop_that_go_alike_and_shows_the_one_that_does_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path, "loop.yaml", LOOP)
    assert command("plan", file, "--trigger", '{"body": {"count": 20}}') == 0
    text = printed(capsys)

    assert "trigger (webhook): would start a run" in text
    assert text.count("would send POST") == 3
    assert "✓ each[6].late  would log (info): the seventh" in text
    assert "… 17 more items alike" in text
    assert text.index("each[0].send") < text.index("each[1].late") < text.index("alike") < text.index("bye")
    assert "20 calls would go out: http" in text
    assert "secret token from env:NO_SUCH_VARIABLE: read by send" in text
    assert "access to example.com" in text


def test_plan_says_that_a_trigger_starts_no_run_and_how_to_give_missing_inputs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path, "loop.yaml", LOOP)
    event = written(tmp_path, "event.json", '{"body": {"count": 0}}')
    assert command("plan", file, "--trigger", event) == 1
    text = printed(capsys)
    assert "would start no run" in text
    assert "would end" not in text

    assert command("plan", file) == 2
    assert "--input count=…, or let samples stand in with --samples" in capsys.readouterr().err
    assert command("plan", file, "--samples") == 0
    assert 'assumes sample inputs: {"count":' in printed(capsys)
    assert command("plan", file, "--trigger", "[1]") == 2


@pytest.mark.req("BAR-5.unbound")
def test_plan_passes_data_on_where_an_adapter_is_not_there_yet(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "flow: f\nsteps:\n  - ask: {call: crm.find, params: {id: 7}}\n  - tell: {log: $ask.name}\n"
    file = written(tmp_path, "f.yaml", text)
    assert command("plan", file, "-m", 'ask={"name": "Ada"}') == 0
    shown = capsys.readouterr()
    assert "nothing is known by `crm.find`: a real run would refuse it" in shown.out
    assert "would log (info): Ada" in shown.out
    assert "FLW012" in shown.err
    assert "a real run is refused" in shown.err
