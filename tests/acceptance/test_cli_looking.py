"""`segue check`, `fix`, `runs`, `show`, `why` and `logs` as a shell sees them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from acceptance.cli_support import ACTIONS, Commands, wait_until
from segue.store.host_lock import read_host

FLOW = """
flow: mixed
steps:
  - first: {call: demo.echo, params: {value: 1}}
  - choose:
      conditional:
        if: $first.value == 2
        then: [{yes: {set: {x: 1}}}]
        else: [{no: {call: demo.flaky, params: {failures: 1}, retry: {attempts: 2, initial_delay: 20ms}}}]
  - told: {log: {level: warning, message: "look here", data: {n: 3}}}
outputs: {value: $first.value}
"""
FAILING = "flow: failing\nsteps:\n  - broken: {call: demo.fail}\n  - after: {set: {x: 1}}\n"
BAD = """flow: bad
steps:
  - one: {call: demo.eco}
  - zwei: {set: {ä漢字: $onne.value}}
  - drei: {wait: 5}
"""


@pytest.fixture
def commands(tmp_path: Path) -> Commands:
    found = Commands(tmp_path)
    found.write("actions.py", ACTIONS)
    return found


@pytest.fixture
def ran(commands: Commands) -> Commands:
    commands.write("mixed.yaml", FLOW)
    commands.write("failing.yaml", FAILING)
    assert commands.segue("run", "mixed.yaml").code == 0
    assert commands.segue("run", "failing.yaml").code == 1
    return commands


def files_of(commands: Commands) -> dict[str, bytes]:
    """The database as it lies on the disk."""
    names = ("segue.db", "segue.db.key", "segue.db.host")
    return {name: (commands.folder / name).read_bytes() for name in names}


# ---------------------------------------------------------------- check and fix


@pytest.mark.req("FLOW-5.command-line")
def test_check_ends_with_0_for_a_flow_without_errors(commands: Commands) -> None:
    commands.write("mixed.yaml", FLOW)
    answer = commands.segue("check", "mixed.yaml")
    assert (answer.code, answer.out) == (0, "mixed.yaml: mixed is fine, 5 steps\n")
    assert commands.segue("check", "mixed.yaml", "--json").json == {
        "file": "mixed.yaml", "flow": "mixed", "ok": True, "problems": [],
    }  # fmt: skip


@pytest.mark.req("FLOW-5.command-line")
def test_of_a_long_line_check_shows_the_part_around_the_mistake(commands: Commands) -> None:
    commands.write(
        "long.yaml", f"flow: long\nsteps:\n  - say: {{log: '{'x' * 3000}', tmieout: 5s, id: '{'y' * 3000}'}}\n"
    )
    shown = commands.segue("check", "long.yaml").out.splitlines()
    line = next(place for place, text in enumerate(shown) if "tmieout" in text and text.startswith("3 |"))
    assert len(shown[line]) < 180
    column = shown[line].index("tmieout")
    assert (shown[line + 1].index("^"), shown[line + 1].strip(" |")) == (column, "^" * len("tmieout"))


@pytest.mark.req("FLOW-5.tests", "FLOW-10.checked")
def test_check_reads_the_tests_in_a_flow_and_in_the_file_beside_it(commands: Commands) -> None:
    commands.write("mixed.yaml", FLOW + "tests: [{name: one, mocks: {frist: 1}}]\n")
    commands.write("mixed.test.yaml", "tests: [{name: two, expect: {not_called: [secnd]}}]\n")
    answer = commands.segue("check", "mixed.yaml", "--json")
    assert answer.code == 1
    assert [(one["code"], one["file"], one["line"], one["path"]) for one in answer.json["problems"]] == [
        ("FLW025", "mixed.yaml", 12, "tests[0].mocks.frist"),
        ("FLW025", "mixed.test.yaml", 1, "tests[0].expect.not_called[0]"),
    ]
    fixed = commands.segue("fix", "mixed.yaml", "--write", "--json")
    assert (fixed.code, fixed.json["fixed"]) == (0, 1)


@pytest.mark.req("FLOW-5.flows", "EXEC-7.checked")
def test_check_knows_the_flows_beside_a_file_and_what_they_take(commands: Commands) -> None:
    commands.write("bill.yaml", "flow: invoice\ninputs: {order: string}\nsteps: [{log: $inputs.order}]\n")
    commands.write(
        "order.yaml",
        "flow: order\nsteps:\n  - a: {flow: invoice, inputs: {ordr: A-1}}\n  - b: {flow: invioce}\n  - invoice\n",
    )
    answer = commands.segue("check", "order.yaml", "--json").json
    assert [(one["code"], one["line"], one["column"]) for one in answer["problems"]] == [
        ("FLW035", 3, 33), ("FLW014", 4, 15), ("FLW035", 5, 5),
    ]  # fmt: skip


@pytest.mark.req("FLOW-5.command-line")
def test_check_takes_several_files_and_folders(commands: Commands) -> None:
    (commands.folder / "flows").mkdir()
    commands.write("flows/one.yaml", "flow: one\nsteps: [{log: x}]\n")
    commands.write("flows/two.yaml", "flow: two\nsteps: [{lgo: [x]}]\n")
    commands.write("flows/notes.yaml", "just: notes\n")
    answer = commands.segue("check", "flows", "--json")
    assert answer.code == 1
    assert [(one["file"], one["ok"]) for one in answer.json["files"]] == [
        ("flows/one.yaml", True), ("flows/two.yaml", False),
    ]  # fmt: skip


@pytest.mark.req("FLOW-5.command-line", "FLOW-5.places")
def test_check_ends_with_1_and_shows_every_mistake_with_a_caret(commands: Commands) -> None:
    commands.write("bad.yaml", BAD)
    answer = commands.segue("check", "bad.yaml")
    assert answer.code == 1
    assert answer.out.endswith("bad.yaml: 3 errors\n")
    shown = answer.out.splitlines()
    place = shown.index(" --> bad.yaml:4:23 (steps[1].zwei.set.ä漢字)")
    line, carets = shown[place + 2 : place + 4]
    assert line == "4 |   - zwei: {set: {ä漢字: $onne.value}}"
    # Two columns each for the wide letters: the carets stand below the reference as a terminal shows it.
    assert carets == "  | " + " " * 24 + "^" * len("$onne.value")
    assert "= `segue fix` mends this" in answer.out


@pytest.mark.req("FLOW-5.command-line")
def test_problems_are_data_too(commands: Commands) -> None:
    commands.write("bad.yaml", BAD)
    answer = commands.segue("check", "bad.yaml", "--json")
    problems = answer.json["problems"]
    assert (answer.code, answer.json["ok"]) == (1, False)
    assert {problem["severity"] for problem in problems} == {"error"}
    assert (problems[0]["code"], problems[0]["line"], problems[0]["column"]) != (None, None, None)
    assert all(problem["code"].startswith("FLW") for problem in problems)


@pytest.mark.req("FLOW-5.unbound")
def test_a_name_that_nobody_knows_is_a_warning_when_checked_and_an_error_when_run(commands: Commands) -> None:
    commands.write("unbound.yaml", "flow: unbound\nsteps:\n  - one: no_such_thing\n")
    checked = commands.segue("check", "unbound.yaml")
    assert (checked.code, "warning[" in checked.out) == (0, True)
    assert commands.segue("run", "unbound.yaml").code == 2


def test_what_is_no_yaml_at_all_has_a_place(commands: Commands) -> None:
    commands.write("torn.yaml", "flow: torn\nsteps: [\n")
    answer = commands.segue("check", "torn.yaml")
    assert answer.code == 1
    assert "--> torn.yaml:" in answer.out


@pytest.mark.req("BAR-8.fix")
def test_fix_shows_a_diff_and_writes_only_when_asked(commands: Commands) -> None:
    path = commands.write("bad.yaml", BAD)
    path.chmod(0o640)
    shown = commands.segue("fix", "bad.yaml")
    assert "-  - one: {call: demo.eco}" in shown.out
    assert "+  - one: {call: demo.echo}" in shown.out
    assert path.read_text(encoding="utf-8") == BAD
    written = commands.segue("fix", "bad.yaml", "--write", "--json")
    assert written.json["written"] is True
    mended = path.read_text(encoding="utf-8")
    assert mended == written.json["text"] != BAD
    assert path.stat().st_mode & 0o777 == 0o640
    assert "demo.echo" in mended
    assert "$one.value" in mended
    again = commands.segue("fix", "bad.yaml")
    assert "nothing to mend" in again.out


# ---------------------------------------------------------------- runs, show, why, logs


@pytest.mark.req("OBS-5.runs")
def test_runs_are_listed_newest_first_and_filtered(ran: Commands) -> None:
    listed = ran.segue("runs").out.splitlines()
    assert [line.split()[1:3] for line in listed[1:]] == [["failing", "failed"], ["mixed", "succeeded"]]
    assert [run["flow"] for run in ran.segue("runs", "--status", "failed", "--json").json["runs"]] == ["failing"]
    assert [run["flow"] for run in ran.segue("runs", "--flow", "mixed", "--json").json["runs"]] == ["mixed"]
    one = ran.segue("runs", "--limit", "1")
    assert len(one.out.splitlines()) == 2
    assert "there are more" in one.err
    wrong = ran.segue("runs", "--status", "faild")
    assert wrong.code == 2
    assert "is not a state of a run" in " ".join(wrong.err.split())


@pytest.mark.req("OBS-5.show")
def test_a_run_is_shown_with_its_steps(ran: Commands) -> None:
    run = ran.runs()[1]
    answer = ran.segue("show", run["id"])
    assert answer.code == 0
    words = [line.split() for line in answer.out.splitlines()]
    assert ["first", "✓", "succeeded", "1"] in [line[:4] for line in words]
    assert any(line[:3] == ["yes", "–", "skipped"] for line in words)
    assert any(line[:4] == ["no", "✓", "succeeded", "2"] for line in words)
    shown = ran.segue("show", run["id"], "--json").json
    assert (shown["id"], shown["status"], shown["outputs"]) == (run["id"], "succeeded", {"value": 1})


@pytest.mark.req("OBS-5.abbreviated")
def test_a_run_is_named_by_a_part_of_its_id(ran: Commands) -> None:
    newest, oldest = (run["id"] for run in ran.runs())
    for part in ("last", newest, newest[-8:], newest.removeprefix("run_")):
        assert ran.segue("show", part, "--json").json["id"] == newest
    assert ran.segue("show", oldest[-8:], "--json").json["id"] == oldest
    unclear = ran.segue("show", "run_")
    assert (unclear.code, "fits 2 runs" in unclear.err) == (2, True)
    unknown = ran.segue("show", "nothing-like-it")
    assert (unknown.code, unknown.out) == (1, "")
    assert "no run has the id 'nothing-like-it'" in unknown.err


@pytest.mark.req("BAR-4.command-line")
def test_why_tells_every_step_or_one(ran: Commands) -> None:
    answer = ran.segue("why", "last")
    assert "failed: `broken` failed with validation: it is broken" in answer.out
    assert "not reached" in answer.out
    run = ran.runs()[1]["id"]
    one = ran.segue("why", run, "no")
    assert "attempt 2 of 2" in one.out
    assert "first" not in one.out
    told = ran.segue("why", run, "--json").json
    assert set(told["steps"]["yes"]) == {"status", "reason", "reason_code", "action"}
    wrong = ran.segue("why", run, "frist")
    assert (wrong.code, "did you mean 'first'?" in wrong.err) == (1, True)


@pytest.mark.req("OBS-1.command-line")
def test_logs_are_filtered_by_level_and_step(ran: Commands) -> None:
    run = ran.runs()[1]["id"]
    whole = ran.segue("logs", run).out
    assert "run accepted" in whole
    assert "attempt number 1" in whole
    warnings = ran.segue("logs", run, "--level", "warning").out
    assert "look here" in warnings
    assert "run accepted" not in warnings
    lines = [json.loads(line) for line in ran.segue("logs", run, "--step", "no", "--json").out.splitlines()]
    assert {line["step"] for line in lines} == {"no"}
    assert [line["msg"] for line in lines if line["msg"].startswith("attempt number")] == [
        "attempt number 1", "attempt number 2",
    ]  # fmt: skip
    assert ran.segue("logs", run, "--level", "loud").code == 2


@pytest.mark.req("OBS-5.follow-logs")
def test_logs_follow_a_run_that_another_process_carries_out(commands: Commands) -> None:
    commands.write("held.yaml", "flow: held\nsteps:\n  - held: {call: demo.until, params: {file: gate}}\n")
    with commands.started("run", "held.yaml") as run:
        run.wait_for("▸ held")
        with commands.started("logs", "last", "--follow") as logs:
            logs.wait_for("held started")
            (commands.folder / "gate").touch()
            answer = logs.finish()
        assert answer.code == 0
        assert answer.out.count("held started") == 1
        assert answer.out.rstrip().endswith("run succeeded")
        assert run.finish().code == 0


@pytest.mark.req("OPS-1.looking-changes-nothing")
def test_looking_takes_no_lock_and_writes_nothing(ran: Commands) -> None:
    assert ran.segue("run", "mixed.yaml", "--detach").code == 0
    before = files_of(ran)
    for command in (["runs"], ["show"], ["why"], ["logs"]):
        assert ran.segue(*command).code == 0
    assert files_of(ran) == before
    assert not (ran.folder / "segue.db-wal").exists() or not (ran.folder / "segue.db-wal").stat().st_size
    assert read_host(ran.database) is None
    assert ran.runs()[0]["status"] == "running", "what was interrupted is not taken up by looking at it"


def test_a_database_that_is_not_there_is_not_made_by_looking(commands: Commands) -> None:
    for command in (["runs"], ["show"], ["why"], ["logs"], ["cancel", "last"], ["callback", "token"]):
        answer = commands.segue(*command)
        assert answer.code == 1
        assert "there is no database at" in answer.err
    assert not commands.database.exists()


def test_the_database_of_another_program_is_left_alone(commands: Commands) -> None:
    import sqlite3

    with sqlite3.connect(commands.database) as other:
        other.execute("CREATE TABLE theirs (x)")
    other.close()
    for command in (["runs"], ["run", "--continue"]):
        answer = commands.segue(*command)
        assert answer.code == 3
        assert "is the database of another program" in answer.err


def test_a_run_that_another_process_carries_out_can_be_looked_at(commands: Commands) -> None:
    commands.write("held.yaml", "flow: held\nsteps:\n  - held: {call: demo.until, params: {file: gate}}\n")
    with commands.started("run", "held.yaml") as run:
        run.wait_for("▸ held")
        # Before its door is open at the file itself, then through the door.
        assert commands.segue("show", "--json").json["steps"][0]["status"] == "running"
        wait_until(lambda: (info := read_host(commands.database)) is not None and info.address is not None)
        assert commands.segue("show", "--json").json["steps"][0]["status"] == "running"
        assert "held" in commands.segue("why").out
        assert "held started" in commands.segue("logs").out
        (commands.folder / "gate").touch()
        assert run.finish().code == 0
