"""One file, one host: commands beside each other, the local HTTP door, `serve`, changing runs with and without one."""

from __future__ import annotations

import json
import re
import signal
import socket
import sqlite3
import stat
import urllib.error
import urllib.request
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from acceptance.cli_support import ACTIONS, Commands, Running, Terminal, wait_until
from segue.store.host_lock import HostInfo, read_host

ASK = """
flow: ask
steps:
  - first: {call: demo.echo, params: {value: 1}}
  - ask: {wait: {callback: {expires: 1h}}}
  - after: {set: {got: $ask.ok}}
outputs: {got: $after.got}
"""
HELD = """
flow: held
inputs: {file: string}
steps:
  - held: {call: demo.until, params: {file: $inputs.file}}
  - after: {set: {x: 1}}
outputs: {x: $after.x}
"""
QUICK = "flow: quick\nsteps:\n  - one: {set: {x: 1}}\noutputs: {x: $one.x}\n"
CALLBACK = r"POST (http://127\.0\.0\.1:\d+/api/v1/orchestrator/callback/\S+)"


@pytest.fixture
def commands(tmp_path: Path) -> Commands:
    found = Commands(tmp_path)
    found.write("actions.py", ACTIONS)
    found.write("ask.yaml", ASK)
    found.write("held.yaml", HELD)
    found.write("quick.yaml", QUICK)
    return found


def post(url: str, body: Any, token: str | None = None) -> tuple[int, Any]:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    if token is not None:
        request.add_header("authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def published(commands: Commands) -> HostInfo:
    """Where the running host is reached, once it says so."""
    found: list[HostInfo] = []

    def there() -> bool:
        info = read_host(commands.database)
        if info is not None and info.address is not None:
            found.append(info)
        return bool(found)

    wait_until(there, lambda: "an address in the host lock")
    return found[0]


def serving(server: Running) -> re.Match[str]:
    return server.wait_for(r"Segue is running: (http://127\.0\.0\.1:(\d+)/\?token=(\S+))")


# ---------------------------------------------------------------- callbacks and the local door


@pytest.mark.req("CALL-1.command-line", "CALL-2.resumes")
def test_a_run_that_waits_tells_its_address_and_goes_on_with_the_answer(commands: Commands) -> None:
    with commands.started("run", "ask.yaml") as run:
        url = run.wait_for(CALLBACK)[1]
        assert published(commands).address == url.partition("/api")[0]
        assert stat.S_IMODE((commands.folder / "segue.db.host").stat().st_mode) == 0o600
        assert post(url, {"ok": 5})[0] == 200
        answer = run.finish()
    assert answer.code == 0
    assert '"got": 5' in answer.out
    assert read_host(commands.database) is None


@pytest.mark.req("CALL-1.command-line", "OBS-5.json")
def test_with_json_the_address_is_told_on_stderr(commands: Commands) -> None:
    with commands.started("run", "ask.yaml", "--json") as run:
        url = run.wait_for(CALLBACK)[1]
        assert run.out == ""
        assert post(url, {"ok": True})[0] == 200
        assert run.finish().json["outputs"] == {"got": True}


@pytest.mark.req("CALL-1.command-line", "OBS-5.live-progress")
def test_the_address_stands_below_its_step_on_a_terminal(commands: Commands) -> None:
    with Terminal(commands, "run", "ask.yaml") as terminal:
        terminal.wait_for(r"… ask  waiting for callback of `ask`")
        token = terminal.wait_for(r"segue callback --data '\{\}' (.*\S)")[1]
        assert commands.segue("callback", "--data", '{"ok": 3}', *token.split()).code == 0
        assert terminal.finish() == 0
        assert "✓ ask" in terminal.text


@pytest.mark.req("CALL-2.command-line", "TIME-4.rest")
def test_a_callback_is_kept_while_nobody_runs_the_database(commands: Commands) -> None:
    with commands.started("run", "ask.yaml") as run:
        token = run.wait_for(r"segue callback --data '\{\}' (.*\S)")[1]
        run.send(signal.SIGTERM)
        run.finish()
    assert commands.segue("run", "--continue").out == "nothing to go on with\n", "a run that waits is at rest"
    told = commands.segue("callback", "--data", '{"ok": 9}', "--json", *token.split())
    assert (told.code, told.json["status"]) == (0, "running")
    assert "nobody runs this database now" in told.err
    again = commands.segue("callback", *token.split())
    assert (again.code, "has been used already" in again.err) == (1, True)
    goes_on = commands.segue("run", "--continue", "--json")
    assert goes_on.json["runs"][0]["outputs"] == {"got": 9}


@pytest.mark.req("CALL-2.command-line")
def test_a_callback_takes_its_data_from_a_file_or_stdin_and_an_address_for_its_token(commands: Commands) -> None:
    commands.write("answer.json", '{"ok": [1]}')
    for given, stdin in (("@answer.json", ""), ("-", '{"ok": [1]}')):
        with commands.started("run", "ask.yaml") as run:
            url = run.wait_for(CALLBACK)[1]
            assert commands.segue("callback", url, "--data", given, stdin=stdin).code == 0
            assert '"got": [\n    1\n  ]' in run.finish().out


@pytest.mark.req("CALL-2.command-line")
def test_a_callback_that_cannot_be_delivered_says_why(commands: Commands) -> None:
    assert commands.segue("run", "quick.yaml").code == 0
    unknown = commands.segue("callback", "no-such-token")
    assert (unknown.code, "no callback has this token" in unknown.err) == (1, True)
    wrong = commands.segue("callback", "x", "--data", "{not json")
    assert (wrong.code, "--data is not JSON" in wrong.err) == (2, True)


# ---------------------------------------------------------------- two commands on one file


@pytest.mark.req("OPS-1.one-host")
def test_a_second_command_goes_through_the_first_ones_door(commands: Commands) -> None:
    gate = commands.folder / "gate"
    with commands.started("run", "held.yaml", "-i", f"file={gate}") as first:
        first.wait_for("▸ held")
        published(commands)
        second = commands.segue("run", "quick.yaml", "--json")
        assert (second.code, second.json["outputs"], second.err) == (0, {"x": 1}, "")
        assert [run["flow"] for run in commands.runs()] == ["quick", "held"]
        gate.touch()
        assert first.finish().code == 0


@pytest.mark.req("OPS-1.one-host")
def test_commands_that_begin_at_once_all_end_well(commands: Commands) -> None:
    started = [commands.started("run", "quick.yaml", "--json") for _ in range(4)]
    running = [one.__enter__() for one in started]
    answers = [one.finish() for one in running]
    for one in started:
        one.__exit__(None, None, None)
    assert [answer.code for answer in answers] == [0] * 4, [answer.err for answer in answers]
    assert len({answer.json["run_id"] for answer in answers}) == 4
    assert [run["status"] for run in commands.runs()] == ["succeeded"] * 4


@pytest.mark.req("OPS-1.one-host", "DUR-1.takeover")
def test_a_run_whose_host_goes_away_goes_on_where_it_is_followed(commands: Commands) -> None:
    gates = [commands.folder / "one", commands.folder / "two"]
    with commands.started("run", "held.yaml", "-i", f"file={gates[0]}") as first:
        first.wait_for("▸ held")
        published(commands)
        with commands.started("run", "held.yaml", "-i", f"file={gates[1]}", "--json") as second:
            wait_until(lambda: len(commands.runs()) == 2)
            first.send(signal.SIGKILL)
            second.wait_for("taking up 2 interrupted runs")
            for gate in gates:
                gate.touch()
            answer = second.finish()
    assert (answer.code, answer.json["status"], answer.json["outputs"]) == (0, "succeeded", {"x": 1})
    assert "going on another way" in answer.err
    assert [run["status"] for run in commands.runs()] == ["succeeded"] * 2, "each was started once, and ended"


@pytest.mark.req("OPS-1.one-host")
def test_the_first_command_ends_what_others_handed_to_it(commands: Commands) -> None:
    gates = [commands.folder / "one", commands.folder / "two"]
    with commands.started("run", "held.yaml", "-i", f"file={gates[0]}", "--json") as first:
        published(commands)
        kept = commands.segue("run", "held.yaml", "-i", f"file={gates[1]}", "--detach").out.strip()
        gates[0].touch()
        wait_until(lambda: first.out.endswith("\n"))
        assert first.process.poll() is None
        gates[1].touch()
        answer = first.finish()
    assert answer.json["status"] == "succeeded"
    assert f"{kept} (held) succeeded" in answer.err


# ---------------------------------------------------------------- changing runs


@pytest.mark.req("DUR-4.command-line")
def test_a_run_is_paused_resumed_and_cancelled_through_its_host(commands: Commands) -> None:
    gate = commands.folder / "gate"
    with commands.started("run", "held.yaml", "-i", f"file={gate}") as run:
        run.wait_for("▸ held")
        published(commands)
        assert commands.segue("pause", "last").code == 0
        gate.touch()
        wait_until(lambda: commands.segue("show", "--json").json["steps"][0]["status"] == "succeeded")
        shown = commands.segue("show", "--json").json
        assert (shown["status"], shown["steps"][1]["status"]) == ("paused", "ready")
        assert commands.segue("resume", "last").code == 0
        assert run.finish().code == 0
    over = commands.segue("cancel", "last")
    assert (over.code, "is over already" in over.err) == (1, True)


@pytest.mark.req("DUR-4.command-line")
def test_a_cancelled_run_ends_the_command_that_follows_it_with_1(commands: Commands) -> None:
    with commands.started("run", "ask.yaml") as run:
        run.wait_for(CALLBACK)
        answer = commands.segue("cancel", "last", "--reason", "a mistake", "--json")
        assert answer.code == 0
        ended = run.finish()
    assert ended.code == 1
    assert "cancelled: a mistake" in ended.out


@pytest.mark.req("DUR-4.command-line")
def test_changes_without_a_host_are_kept_and_begin_nothing(commands: Commands) -> None:
    run_id = commands.segue("run", "held.yaml", "-i", "file=gate", "--detach").out.strip()
    assert commands.segue("pause", run_id).code == 0
    assert commands.runs()[0]["status"] == "paused"
    assert commands.segue("run", "--continue").out == "nothing to go on with\n"
    resumed = commands.segue("resume", run_id)
    assert (resumed.code, "nobody runs this database now" in resumed.err) == (0, True)
    shown = commands.segue("show", "--json").json
    assert (shown["steps"][0]["status"], shown["steps"][0]["attempts"]) == ("ready", 0)
    assert commands.segue("cancel", run_id).code == 0
    assert commands.runs()[0]["status"] == "cancelled"
    assert commands.segue("resume", run_id).code == 1


# ---------------------------------------------------------------- serve


@pytest.mark.req("OPS-1.serve", "ACC-1.safe-by-default")
def test_serve_prints_its_address_carries_out_runs_and_stops_in_order(commands: Commands) -> None:
    commands.segue("run", "held.yaml", "-i", "file=gate", "--detach")
    with commands.started("serve", "--port", "0", "--flows", ".") as server:
        _, port, token = serving(server).groups()
        assert "taking up 1 interrupted run" in server.err
        address = f"http://127.0.0.1:{port}"
        assert published(commands).address == address
        assert post(f"{address}/api/v1/runs", {"flow_id": "quick"})[0] == 401
        assert post(f"{address}/api/v1/runs", {"flow_id": "quick"}, token)[0] == 201
        assert commands.segue("run", "quick.yaml").code == 0
        (commands.folder / "gate").touch()
        wait_until(lambda: {run["status"] for run in commands.runs()} == {"succeeded"})
        server.send(signal.SIGTERM)
        answer = server.finish()
    assert answer.code == 0
    assert len(answer.out.splitlines()) == 1
    assert token not in answer.err
    assert read_host(commands.database) is None


@pytest.mark.req("OPS-1.serve", "API-7.actions")
def test_serve_uses_the_actions_beside_its_flows(commands: Commands) -> None:
    folder = commands.folder / "offered"
    folder.mkdir()
    (folder / "actions.py").write_text(ACTIONS, "utf-8")
    (folder / "echo.yaml").write_text("flow: echo\nsteps: [{say: {call: demo.echo, params: {value: 3}}}]", "utf-8")
    with commands.started("serve", "--port", "0", "--flows", "offered") as server:
        _, port, token = serving(server).groups()
        assert f"using the actions of {folder / 'actions.py'}" in server.err
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/api/v1/flows/echo", headers={"Authorization": f"Bearer {token}"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert json.loads(answer.read())["problems"] == []
        server.send(signal.SIGTERM)
        assert server.finish().code == 0


def test_serve_tells_programs_where_it_is(commands: Commands) -> None:
    with commands.started("serve", "--port", "0", "--json") as server:
        server.wait_for(r"\}\n")
        told = json.loads(server.out)
        assert told["url"] == f"{told['address']}/?token={told['token']}"
        assert told["pid"] == server.process.pid
        server.send(signal.SIGINT)
        assert server.finish().code == 0


def test_the_token_is_another_one_each_time(commands: Commands) -> None:
    tokens: set[str] = set()
    for _ in range(2):
        with commands.started("serve", "--port", "0") as server:
            tokens.add(serving(server)[3])
    assert len(tokens) == 2
    assert all(len(token) >= 43 for token in tokens)


@pytest.mark.req("OPS-1.serve")
def test_a_port_that_is_taken_is_said_or_passed_over(commands: Commands) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        answer = commands.segue("serve", "--port", str(port))
        assert (answer.code, answer.out) == (1, "")
        assert f"port {port} is taken" in answer.err
    assert not commands.database.exists()


@pytest.mark.req("ACC-1.safe-by-default")
@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ((), "served only behind a proxy with TLS"),
        (("--public-url", "http://segue.example.org"), "write it as https://"),
        (("--public-url", "https://segue.example.org/x"), "without a path"),
        (("--public-url", "https://segue.example.org", "--dev"), "--dev is for one person"),
        (("--public-url", "https://segue.example.org"), "name the proxy with --trusted-proxy"),
        (("--public-url", "https://segue.example.org", "--trusted-proxy", "the proxy"), "an address or a network"),
        (("--trusted-proxy", "10.0.0.7"), "say with --public-url"),
        (("--rate-limit", "fast"), "--rate-limit: 'fast' is no rate"),
        (
            ("--public-url", "https://segue.example.org", "--trusted-proxy", "10.0.0.7", "--port", "0"),
            "has no owner yet",
        ),
    ],
)
def test_serve_lets_nobody_else_in_without_tls_and_an_owner(
    commands: Commands, options: tuple[str, ...], fault: str
) -> None:
    answer = commands.segue("serve", "--host", "0.0.0.0", *options)
    assert (answer.code, answer.out) == (2, "")
    assert fault in answer.err


@pytest.mark.req("OPS-1.settings")
@pytest.mark.parametrize("name", ["http://x/y", "me@host"])
def test_what_is_no_name_in_the_allowed_hosts_is_refused_at_the_start(commands: Commands, name: str) -> None:
    answer = commands.segue("serve", "--port", "0", env={"SEGUE_ALLOWED_HOSTS": f"segue.local, {name}"})
    assert (answer.code, answer.out) == (2, "")
    assert f"SEGUE_ALLOWED_HOSTS: '{name}' is no name" in answer.err


@pytest.mark.req("OPS-1.one-host")
def test_a_second_server_on_one_database_is_refused(commands: Commands) -> None:
    with commands.started("serve", "--port", "0") as server:
        serving(server)
        answer = commands.segue("serve", "--port", "0")
        assert answer.code == 3
        assert f"is run by process {server.process.pid} at http://127.0.0.1:" in answer.err
        going_on = commands.segue("run", "--continue")
        assert (going_on.code, "its runs are going on there" in going_on.err) == (0, True)


@pytest.mark.req("ACC-6.server-egress")
def test_a_servers_flows_may_not_call_this_machine_unless_it_is_allowed(commands: Commands) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    commands.write("call.yaml", f'flow: call\nsteps:\n  - get: {{http: {{url: "http://127.0.0.1:{port}/"}}}}\n')
    with commands.started("serve", "--port", "0") as server:
        serving(server)
        answer = commands.segue("run", "call.yaml", "--json")
        assert answer.code == 1
        assert "SEGUE_EGRESS_ALLOW" in answer.json["steps"]["get"]["error"]["message"]
    with commands.started("serve", "--port", "0", env={"SEGUE_EGRESS_ALLOW": "127.0.0.1"}) as server:
        serving(server)
        answer = commands.segue("run", "call.yaml", "--json")
        assert answer.json["steps"]["get"]["error"]["category"] == "connection"
    wrong = commands.segue("serve", "--port", "0", env={"SEGUE_EGRESS_ALLOW": "http://x/"})
    assert (wrong.code, "SEGUE_EGRESS_ALLOW" in wrong.err) == (2, True)


@pytest.mark.req("FLOW-5.places")
def test_mistakes_found_by_a_host_elsewhere_are_shown_with_their_line(commands: Commands) -> None:
    commands.write("bad.yaml", "flow: bad\nsteps:\n  - one: {set: {x: 1}}\n  - two: {set: {y: $onne.x}}\n")
    with commands.started("serve", "--port", "0") as server:
        serving(server)
        answer = commands.segue("run", "bad.yaml")
        assert (answer.code, answer.out) == (2, "")
        assert "--> bad.yaml:4:20" in answer.err
        assert "4 |   - two: {set: {y: $onne.x}}" in answer.err
        wrong = commands.segue("run", "quick.yaml", "-i", "x=1", "-i", "nothing")
        assert wrong.code == 2


@pytest.mark.req("BAR-10.command-line")
def test_a_run_that_ended_well_is_undone_by_a_command_and_the_next_host(commands: Commands) -> None:
    commands.write(
        "booked.yaml",
        "flow: booked\nsteps:\n  - a: {set: {id: 1}, compensate: [{undo_a: {log: 'undid {{ output.id }}'}}]}\n",
    )
    assert commands.segue("run", "booked.yaml").code == 0
    preview = commands.segue("undo", "last", "--preview")
    assert (preview.code, preview.out) == (0, "a: would be undone\n")
    done = commands.segue("undo", "last", "--reason", "a mistake")
    assert done.code == 0
    commands.segue("run", "--continue")
    shown = commands.segue("show", "--json").json
    assert (shown["status"], shown["steps"][0]["undone"]) == ("cancelled", "done")
    again = commands.segue("undo", "last")
    assert (again.code, "nothing to undo" in again.err) == (1, True)


@pytest.mark.req("DUR-3.command-line", "DUR-2.past")
def test_a_run_is_retried_rewound_and_replayed_by_commands(commands: Commands) -> None:
    text = (
        "flow: tally\nsteps:\n  - a: {set: {n: 1}}\n  - b: {map: {value: '{{ 6 / inputs.by }}'}}\n  - c: {log: done}\n"
    )
    commands.write("tally.yaml", text)
    assert commands.segue("run", "tally.yaml", "-i", "by=0").code == 1
    done = commands.segue("retry", "last", "--reason", "again")
    assert (done.code, "retried from `b`" in done.out) == (0, True)
    commands.segue("run", "--continue")
    old = commands.segue("show", "--json").json
    assert (old["status"], "by the command line (again)" in old["reason"]) == ("failed", True)
    commands.write("inputs.json", '{"by": 2}')
    made = commands.segue("replay", old["id"], "--from", "b", "--inputs", "inputs.json", "--json").json
    assert (made["kept"], made["not_kept"]) == (1, [])
    commands.segue("run", "--continue")
    assert commands.segue("show", made["run_id"], "--json").json["status"] == "succeeded"
    assert commands.segue("rewind", made["run_id"], "c").code == 0
    commands.segue("run", "--continue")
    assert "rewound to `c`" in commands.segue("why", made["run_id"]).out
    past = commands.segue("show", made["run_id"], "--at", "1", "--json").json
    assert past["last_event"] == 1
    nothing = commands.segue("rollback", made["run_id"])
    assert (nothing.code, "nothing to roll back" in nothing.err) == (1, True)
    assert commands.segue("fork", made["run_id"], "--at", "99").code == 1


@pytest.mark.req("DUR-6.rollback", "DUR-6.clear")
def test_a_run_whose_journal_is_damaged_is_told_and_rolled_back_through_a_host_and_without(commands: Commands) -> None:
    (commands.folder / "flows").mkdir()
    commands.write("flows/two.yaml", "flow: two\nsteps:\n  - a: {set: {n: 1}}\n  - b: {log: hello}\n")
    assert commands.segue("run", "flows/two.yaml").code == 0
    run_id = commands.segue("show", "--json").json["id"]
    with closing(sqlite3.connect(commands.database)) as database, database:
        database.execute("DELETE FROM journal WHERE run_key = 1 AND seq = 3")

    def told() -> None:
        why = commands.segue("why", run_id, "b")
        assert (why.code, "event 3 is missing" in why.out, f"segue rollback {run_id}" in why.out) == (0, True, True)
        assert commands.segue("show", run_id, "--at", "2", "--json").json["last_event"] == 2
        logs = commands.segue("logs", run_id)
        assert (logs.code, "segue show RUN --at 2" in logs.err) == (3, True)

    told()
    with commands.started("serve", "--flows", "flows", "--port", "0", "--json") as server:
        server.wait_for(r"\}\n")
        told()
        done = commands.segue("rollback", run_id)
        assert (done.code, "rolled back to event 2" in done.err) == (0, True)
        wait_until(lambda: commands.segue("show", run_id, "--json").json["status"] == "succeeded")
