"""`segue run` as a shell sees it: exit codes, JSON, progress, inputs, actions, stopping and going on."""

from __future__ import annotations

import json
import random
import signal
from pathlib import Path

import pytest

from acceptance.cli_support import ACTIONS, Commands, Terminal
from segue import __version__

GREET = """
flow: greet
inputs:
  name: {type: string, default: world}
  times: {type: integer, default: 1}
  loud: {type: boolean, default: false}
steps:
  - hello: {set: {text: "Hello {{ inputs.name }}", times: $inputs.times, loud: $inputs.loud}}
outputs: {text: $hello.text, times: $hello.times, loud: $hello.loud}
"""
FAILING = """
flow: failing
steps:
  - first: {set: {x: 1}}
  - broken: {call: demo.fail, params: {message: "the paper is out"}}
  - never: {set: {x: 2}}
"""
RECOVERING = """
flow: recovering
steps:
  - broken:
      call: demo.fail
      on_error: [{instead: {set: {x: 7}}}]
outputs: {x: $broken.x}
"""
RETRYING = """
flow: retrying
steps:
  - flaky: {call: demo.flaky, retry: {attempts: 3, initial_delay: 50ms}}
"""
HELD = """
flow: held
inputs: {file: string}
steps:
  - first: {set: {x: 1}}
  - held: {call: demo.until, params: {file: $inputs.file}}
  - last: {set: {x: 2}}
"""
TIMED = """
flow: timed
timeout: 300ms
steps:
  - long: {wait: 1h}
"""


@pytest.fixture
def commands(tmp_path: Path) -> Commands:
    found = Commands(tmp_path)
    found.write("actions.py", ACTIONS)
    return found


@pytest.fixture
def greet(commands: Commands) -> Commands:
    commands.write("greet.yaml", GREET)
    return commands


# ---------------------------------------------------------------- exit codes and what is printed


@pytest.mark.req("OBS-5.exit-codes", "OPS-1.run")
def test_a_run_that_succeeds_ends_with_0_and_prints_its_outputs(greet: Commands) -> None:
    answer = greet.segue("run", "greet.yaml")
    assert answer.code == 0
    assert "✓ hello" in answer.out
    assert "✓ succeeded" in answer.out
    assert json.loads(answer.out[answer.out.index("{") :]) == {"text": "Hello world", "times": 1, "loud": False}


@pytest.mark.req("OBS-5.json")
def test_json_is_all_that_stdout_has(greet: Commands) -> None:
    answer = greet.segue("run", "greet.yaml", "--json")
    result = answer.json
    assert answer.code == 0
    assert result["run_id"].startswith("run_")
    assert (result["status"], result["outputs"]["text"]) == ("succeeded", "Hello world")
    step = result["steps"]["hello"]
    assert set(step) == {"status", "output", "attempts", "error", "reason"}
    assert (step["status"], step["output"]["text"], step["error"]) == ("succeeded", "Hello world", None)


@pytest.mark.req("OBS-5.exit-codes")
def test_a_run_that_fails_ends_with_1_and_says_why(commands: Commands) -> None:
    commands.write("failing.yaml", FAILING)
    answer = commands.segue("run", "failing.yaml")
    assert answer.code == 1
    assert "✗ broken  failed with validation: the paper is out" in answer.out
    assert "never" not in answer.out
    result = commands.segue("run", "failing.yaml", "--json").json
    assert result["status"] == "failed"
    assert result["steps"]["broken"]["error"]["message"] == "the paper is out"
    assert result["steps"]["broken"]["attempts"] == 1


@pytest.mark.req("OBS-5.exit-codes")
def test_a_run_that_recovers_ends_with_0(commands: Commands) -> None:
    commands.write("recovering.yaml", RECOVERING)
    answer = commands.segue("run", "recovering.yaml", "--json")
    assert (answer.code, answer.json["status"], answer.json["recovered"]) == (0, "succeeded", True)
    assert answer.json["steps"]["broken"]["status"] == "recovered"
    assert answer.json["outputs"] == {"x": 7}


@pytest.mark.req("OBS-5.exit-codes", "TIME-2.run")
def test_a_run_that_times_out_ends_with_1(commands: Commands) -> None:
    commands.write("timed.yaml", TIMED)
    answer = commands.segue("run", "timed.yaml", "--json")
    assert (answer.code, answer.json["status"]) == (1, "timed_out")


@pytest.mark.req("OBS-5.exit-codes")
def test_a_run_that_is_cancelled_ends_with_1(commands: Commands) -> None:
    commands.write("timed.yaml", TIMED.replace("300ms", "1h"))
    answer = commands.segue("run", "timed.yaml", "--timeout", "200ms", "--json")
    assert (answer.code, answer.json["status"]) == (1, "cancelled")
    assert "--timeout" in answer.json["steps"]["long"]["reason"]


@pytest.mark.req("OBS-5.exit-codes", "FLOW-5.places")
def test_a_flow_with_mistakes_ends_with_2_and_shows_each_with_its_line(commands: Commands) -> None:
    commands.write("bad.yaml", "flow: bad\nsteps:\n  - one: {call: demo.eco}\n  - two: {set: {x: $onne.value}}\n")
    answer = commands.segue("run", "bad.yaml", "--json")
    assert (answer.code, answer.out) == (2, "")
    assert "--> bad.yaml:3:17" in answer.err
    assert "3 |   - one: {call: demo.eco}\n  |                 ^^^^^^^^" in answer.err
    assert 'help: did you mean "one"?' in answer.err
    assert "bad.yaml cannot be run: 2 errors" in answer.err
    assert not commands.database.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gone.yaml"], "there is no file gone.yaml"),
        (["."], ". is a folder"),
        (["greet.yaml", "--input", "times=many"], 'times: "many" is not of type "integer"'),
        (["greet.yaml", "--input", "nam=x"], 'nam: is not declared; did you mean "name"?'),
        (["greet.yaml", "--input", "name"], "write NAME=VALUE"),
        (["greet.yaml", "--inputs", "gone.json"], "there is no file gone.json"),
        (["greet.yaml", "--inputs", "list.yaml"], "the inputs of list.yaml are a map"),
        (["greet.yaml", "--timeout", "5"], "did you mean 5s?"),
        (["greet.yaml", "--actions", "gone.py"], "gone.py (--actions)"),
        (["greet.yaml", "--actions", "broken.py"], "broken.py, line 2 cannot be loaded: NameError"),
        (["greet.yaml", "--actions", "none.py"], "none.py has no actions"),
        (["greet.yaml", "--continue"], "not both of them"),
        ([], "name a flow's FILE, or --continue"),
        (["--continue", "--input", "a=1"], "--continue starts no run"),
    ],
)
@pytest.mark.req("OBS-5.exit-codes")
def test_what_cannot_be_used_ends_with_2_and_one_clear_line(
    greet: Commands, arguments: list[str], message: str
) -> None:
    greet.write("list.yaml", "[1, 2]")
    greet.write("broken.py", "import segue\nundefined_name\n")
    greet.write("none.py", "x = 1\n")
    answer = greet.segue("run", *arguments)
    assert (answer.code, answer.out) == (2, "")
    assert message in answer.err
    assert "Traceback" not in answer.err
    assert not greet.database.exists()


def test_debugging_adds_where_an_error_was_raised(greet: Commands) -> None:
    answer = greet.segue("run", "gone.yaml", env={"SEGUE_DEBUG": "1"})
    assert answer.code == 2
    assert "Traceback" in answer.err


# ---------------------------------------------------------------- inputs, actions, keys


@pytest.mark.req("FLOW-12.command-line")
def test_inputs_are_read_by_their_declared_type(greet: Commands) -> None:
    answer = greet.segue("run", "greet.yaml", "-i", "name=7", "-i", "times=7", "-i", "loud=yes", "--json")
    assert answer.json["outputs"] == {"text": "Hello 7", "times": 7, "loud": True}


@pytest.mark.req("FLOW-12.command-line")
def test_inputs_come_from_a_file_or_stdin_and_single_ones_win(greet: Commands) -> None:
    greet.write("in.yaml", "name: Ada\ntimes: 3\n")
    answer = greet.segue("run", "greet.yaml", "--inputs", "in.yaml", "--input", "times=4", "--json")
    assert answer.json["outputs"] == {"text": "Hello Ada", "times": 4, "loud": False}
    answer = greet.segue("run", "greet.yaml", "--inputs", "-", "--json", stdin='{"name": "Bob"}')
    assert answer.json["outputs"]["text"] == "Hello Bob"


def test_a_flow_comes_from_stdin(commands: Commands) -> None:
    answer = commands.segue("run", "-", "--json", stdin=GREET)
    assert answer.json["outputs"]["text"] == "Hello world"


@pytest.mark.req("API-7.actions-file")
def test_actions_beside_the_flow_are_used_and_said_so(commands: Commands) -> None:
    commands.write("retrying.yaml", RETRYING)
    answer = commands.segue("run", "retrying.yaml")
    assert f"using the actions of {commands.folder / 'actions.py'}" in answer.err
    assert answer.code == 0


@pytest.mark.req("API-7.actions-file")
def test_actions_come_from_files_and_modules(commands: Commands) -> None:
    (commands.folder / "actions.py").rename(commands.folder / "mine.py")
    commands.write("retrying.yaml", RETRYING)
    for named in ("mine.py", "mine"):
        answer = commands.segue("run", "retrying.yaml", "--actions", named, "--json")
        assert (answer.code, answer.err) == (0, "")
        assert answer.json["steps"]["flaky"]["attempts"] == 3


@pytest.mark.req("DUR-5.start-key")
def test_a_key_used_before_gives_the_run_of_then(greet: Commands) -> None:
    first = greet.segue("run", "greet.yaml", "--idempotency-key", "k1", "--json").json
    again = greet.segue("run", "greet.yaml", "--idempotency-key", "k1", "--json")
    assert again.json["run_id"] == first["run_id"]
    assert "was used before" in again.err
    other = greet.segue("run", "greet.yaml", "--idempotency-key", "k1", "--input", "name=x")
    assert other.code == 1
    assert "was used for another request" in other.err
    assert len(greet.runs()) == 1


# ---------------------------------------------------------------- progress


@pytest.mark.req("OBS-5.plain-progress")
def test_progress_is_plain_lines_where_no_terminal_is(commands: Commands) -> None:
    commands.write("retrying.yaml", RETRYING.replace("50ms", "1s, jitter: none, backoff: constant"))
    answer = commands.segue("run", "retrying.yaml")
    assert "\x1b" not in answer.out + answer.err
    lines = [line.strip() for line in answer.out.splitlines()]
    assert any(line.startswith("↻ flaky  attempt 1 of 3 failed with http.503: not yet; next try at") for line in lines)
    assert any(line.startswith("✓ flaky  at attempt 3") for line in lines)


@pytest.mark.req("OBS-5.live-progress")
def test_progress_is_one_list_on_a_terminal(commands: Commands) -> None:
    commands.write("held.yaml", HELD)
    gate = commands.folder / "gate"
    with Terminal(commands, "run", "held.yaml", "-i", f"file={gate}") as terminal:
        terminal.wait_for(r"held  started")
        assert "✓ first" in terminal.text
        assert "· last  waits for `held`" in terminal.text
        gate.touch()
        assert terminal.finish() == 0
    last = terminal.text[terminal.text.rindex("✓ first") :]
    assert "✓ held" in last
    assert "✓ last" in last
    assert "✓ succeeded" in last
    assert terminal.raw.endswith("\n")
    assert terminal.raw.count("\x1b[?25l") == terminal.raw.count("\x1b[?25h") == 1, "the cursor is hidden, then shown"


# ---------------------------------------------------------------- stopping and going on


@pytest.mark.req("DUR-1.graceful", "OBS-5.interrupt")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stop_lets_attempts_end_and_keeps_the_run(commands: Commands, number: signal.Signals, code: int) -> None:
    commands.write("held.yaml", HELD)
    gate = commands.folder / "gate"
    with commands.started("run", "held.yaml", "-i", f"file={gate}") as run:
        run.wait_for("▸ held")
        run.send(number)
        run.wait_for("1 in flight may end within 10 s")
        gate.touch()
        answer = run.finish()
    assert answer.code == code
    assert "is kept; go on with `segue run --continue`" in answer.err
    shown = commands.segue("show", "--json").json
    assert [(step["id"], step["status"]) for step in shown["steps"]] == [
        ("first", "succeeded"), ("held", "succeeded"), ("last", "ready"),
    ]  # fmt: skip
    goes_on = commands.segue("run", "--continue", "--json")
    assert (goes_on.code, goes_on.json["runs"][0]["status"]) == (0, "succeeded")
    assert goes_on.json["runs"][0]["steps"]["held"]["attempts"] == 1


@pytest.mark.req("OBS-5.interrupt")
def test_a_second_stop_ends_at_once(commands: Commands) -> None:
    commands.write("held.yaml", HELD)
    with commands.started("run", "held.yaml", "-i", f"file={commands.folder / 'gate'}") as run:
        run.wait_for("▸ held")
        run.send(signal.SIGINT)
        run.wait_for("may end within")
        run.send(signal.SIGINT)
        assert run.finish().code == 130
    assert commands.runs()[0]["status"] == "running"


@pytest.mark.slow
@pytest.mark.req("DUR-1.graceful", "OBS-5.interrupt")
def test_a_function_that_does_not_end_in_time_is_left_and_called_again(commands: Commands) -> None:
    commands.write("held.yaml", HELD)
    gate = commands.folder / "gate"
    with commands.started("run", "held.yaml", "-i", f"file={gate}") as run:
        run.wait_for("▸ held")
        run.send(signal.SIGINT)
        assert run.finish().code == 130, "after the time that is given, and not when the function ends, which is never"
    gate.touch()
    result = commands.segue("run", "--continue", "--json").json["runs"][0]
    assert (result["status"], result["steps"]["held"]["attempts"]) == ("succeeded", 2)


@pytest.mark.req("DUR-1.continue")
def test_continue_without_anything_to_go_on_with_starts_nothing(greet: Commands) -> None:
    answer = greet.segue("run", "--continue")
    assert (answer.code, answer.out) == (0, "nothing to go on with\n")
    assert greet.runs() == []


@pytest.mark.req("DUR-1.continue")
def test_continue_ends_with_1_if_a_run_failed(commands: Commands) -> None:
    commands.write("failing.yaml", FAILING)
    assert commands.segue("run", "failing.yaml", "--detach").code == 0
    answer = commands.segue("run", "--continue")
    assert answer.code == 1
    assert "taking up 1 interrupted run: run_" in answer.err
    assert "(failing)" in answer.err
    assert "✗ failed" in answer.out


@pytest.mark.req("DUR-1.continue")
def test_another_run_takes_up_what_was_interrupted_and_ends_by_its_own_outcome(greet: Commands) -> None:
    greet.write("failing.yaml", FAILING)
    kept = greet.segue("run", "failing.yaml", "--detach").out.strip()
    answer = greet.segue("run", "greet.yaml", "--json")
    assert (answer.code, answer.json["status"]) == (0, "succeeded")
    assert f"taking up 1 interrupted run: {kept} (failing)" in answer.err
    assert f"{kept} (failing) failed: " in answer.err


@pytest.mark.req("OBS-5.detach")
def test_detach_keeps_the_run_and_begins_nothing(commands: Commands) -> None:
    commands.write("retrying.yaml", RETRYING)
    answer = commands.segue("run", "retrying.yaml", "--detach")
    run_id = answer.out.strip()
    assert "nobody runs this database now: `segue run --continue` carries it out" in answer.err
    shown = commands.segue("show", "--json").json
    assert (shown["id"], shown["steps"][0]["status"], shown["steps"][0]["attempts"]) == (run_id, "ready", 0)
    assert commands.segue("run", "retrying.yaml", "--detach", "--json").json.keys() == {"run_id"}


@pytest.mark.req("TIME-4.rest")
def test_continue_leaves_runs_that_wait_for_long_at_rest(commands: Commands) -> None:
    commands.write("long.yaml", "flow: long\nsteps:\n  - first: {set: {x: 1}}\n  - nap: {wait: 90d}\n")
    commands.segue("run", "long.yaml", "--detach")
    answer = commands.segue("run", "--continue", "--json")
    assert answer.code == 0
    assert answer.json["runs"][0]["status"] == "waiting"
    assert "waiting until" in answer.json["runs"][0]["steps"]["nap"]["reason"]


# ---------------------------------------------------------------- the database


def test_the_database_is_in_the_data_folder_unless_named(greet: Commands) -> None:
    environment = {"SEGUE_DATABASE": ""}
    assert greet.segue("run", "greet.yaml", env=environment).code == 0
    kept = greet.folder / "data" / "segue" / "segue.db"
    assert kept.is_file()
    assert kept.parent.stat().st_mode & 0o777 == 0o700
    assert greet.segue("runs", "--json", env=environment).json["runs"][0]["flow"] == "greet"


def test_an_address_and_memory_are_databases_too(greet: Commands) -> None:
    assert greet.segue("run", "greet.yaml", "--database", f"sqlite:///{greet.folder}/other.db").code == 0
    assert (greet.folder / "other.db").is_file()
    assert greet.segue("run", "greet.yaml", "--database", "memory:").code == 0
    assert not greet.database.exists()


@pytest.mark.parametrize(
    ("command", "database", "message"),
    [
        (["run", "greet.yaml"], "text.db", "is not a SQLite database"),
        (["runs"], "text.db", "is not a SQLite database"),
        (["cancel", "last"], "text.db", "is not a SQLite database"),
        (["run", "greet.yaml"], ".", "is a folder; name a file"),
        (["runs"], ".", "is a folder; name a file"),
        (["run", "greet.yaml"], "no/such/folder/x.db", "does not exist"),
        (["run", "greet.yaml"], "mysql://x/y", "is not the address of a store"),
        (["runs"], "postgresql://user:secret@host/x", "does not run on PostgreSQL yet"),
    ],
)
@pytest.mark.req("OPS-1.clear-errors")
def test_a_database_that_cannot_be_used_is_said_in_one_line(
    greet: Commands, command: list[str], database: str, message: str
) -> None:
    greet.write("text.db", "This is no database at all, but a text of some length. " * 20)
    answer = greet.segue(*command, "--database", database)
    assert answer.code in (2, 3)
    assert answer.out == ""
    assert message in answer.err.splitlines()[-1]
    assert "secret" not in answer.err
    assert "Traceback" not in answer.err
    assert not list(greet.folder.rglob("*.key")), "nothing is made beside what is somebody else's"


@pytest.mark.req("OPS-1.clear-errors", "DUR-1.disk-full")
def test_a_full_disk_is_said_and_nothing_is_claimed(greet: Commands) -> None:
    assert greet.segue("run", "greet.yaml").code == 0
    greet.write("big.yaml", "flow: big\ninputs: {text: string}\nsteps:\n  - one: {set: {x: $inputs.text}}\n")
    # A file may not grow beyond what it has: what a full disk does to the database, for this process only.
    limit = (greet.folder / "segue.db").stat().st_size // 512 + 64
    greet.write("in.json", json.dumps({"text": random.Random(1).randbytes(1_500_000).hex()}))
    answer = greet.shell(f'ulimit -f {limit}; exec "$@"', "run", "big.yaml", "--inputs", "in.json")
    assert answer.code == 3
    assert "Traceback" not in answer.err
    assert [run["flow"] for run in greet.runs()] == ["greet"]


@pytest.mark.slow
@pytest.mark.req("OPS-1.clear-errors")
def test_an_embedded_host_without_an_address_is_waited_for_in_vain(greet: Commands) -> None:
    program = (
        "import asyncio, segue\n"
        f"async def main():\n    async with segue.Segue('sqlite:///{greet.database}'):\n"
        "        print('open', flush=True)\n        await asyncio.sleep(600)\n"
        "asyncio.run(main())\n"
    )
    greet.segue("run", "greet.yaml")
    with greet.program(program) as host:
        host.wait_for("open")
        answer = greet.segue("run", "greet.yaml")
        assert answer.code == 3
        assert f"waiting for process {host.process.pid}" in answer.err
        assert "is run by process" in answer.err
        # Looking needs nobody's leave.
        assert greet.runs()[0]["flow"] == "greet"


# ---------------------------------------------------------------- the command itself


def test_the_version_is_told(commands: Commands) -> None:
    assert commands.segue("--version").out == f"segue {__version__}\n"


def test_every_command_explains_itself(commands: Commands) -> None:
    from segue.cli.app import COMMANDS

    listed = commands.segue("--help")
    assert listed.code == 0
    for name in COMMANDS:
        assert f" {name} " in listed.out
    answer = commands.segue("run", "--help")
    assert answer.code == 0
    assert "--continue" in answer.out


def test_an_unknown_command_or_option_ends_with_2(commands: Commands) -> None:
    assert commands.segue("rnu").code == 2
    answer = commands.segue("run", "--no-such-option")
    assert answer.code == 2
    assert "No such option" in answer.err


def test_a_reader_that_goes_away_is_no_error(greet: Commands) -> None:
    greet.write("in.json", json.dumps({"name": "x" * 500_000}))
    assert greet.segue("run", "greet.yaml", "--inputs", "in.json").code == 0
    answer = greet.shell('{ "$@"; echo "code $?" >&2; } | head -c 5', "show", "--json")
    assert (answer.out, answer.err) == ('{"id"', "code 141\n")


LIMITED = """
flow: limited
limits: {concurrency: 1, on_full: %s}
inputs: {file: string}
steps:
  - held: {call: demo.until, params: {file: $inputs.file}}
"""


@pytest.mark.req("TIME-6.cli")
def test_a_run_can_begin_later(greet: Commands) -> None:
    answer = greet.segue("run", "greet.yaml", "--in", "2h")
    assert answer.code == 0
    run_id = answer.out.strip()
    why = greet.segue("why", run_id)
    assert "accepted and kept: it begins at" in why.out
    at = greet.segue("run", "greet.yaml", "--at", "2000-01-01T00:00:00Z", "--json")
    assert at.code == 0
    for wrong in (["--in", "5"], ["--at", "tomorrow"], ["--in", "1h", "--at", "2030-01-01T00:00:00Z"]):
        assert greet.segue("run", "greet.yaml", *wrong).code == 2
    assert greet.segue("run", "--continue").code == 0
    assert [one["status"] for one in greet.segue("runs", "--json").json["runs"]] == ["succeeded", "queued"]


@pytest.mark.req("EXEC-5.on-full")
def test_a_run_that_a_limit_refuses_ends_with_1_and_one_that_is_skipped_too(commands: Commands) -> None:
    commands.write("actions.py", ACTIONS)
    commands.write("reject.yaml", LIMITED % "reject")
    commands.write("skip.yaml", (LIMITED % "skip").replace("flow: limited", "flow: other"))
    given = ("--actions", "actions.py", "-i", f"file={commands.folder / 'go'}")
    for name, word in (("reject.yaml", "1 of 1 slots of `limited` are taken"), ("skip.yaml", "cancelled")):
        assert commands.segue("run", name, "--detach", *given).code == 0
        second = commands.segue("run", name, *given, "--timeout", "5s") if name == "reject.yaml" else None
        if second is not None:
            assert second.code == 1
            assert word in second.err
    skipped = commands.segue("run", "skip.yaml", "--detach", *given)
    assert skipped.code == 0
    assert "skipped: 1 of 1 slots of `other` are taken" in commands.segue("why", skipped.out.strip()).out
