"""`segue apply`, `diff` and `flows`: against a database at rest, and through the server that runs it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from acceptance.cli_support import SEGUE

HELLO = "# kept\nflow: hello\ntags: [demo]\nsteps:\n  - say: {log: hi}\n"
CALLER = "flow: caller\nsteps: [hello]\n"


def segue(database: Path, *arguments: str, expect: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*SEGUE, *arguments, "--database", str(database)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == expect, done.stdout + done.stderr
    return done


def as_json(database: Path, *arguments: str, expect: int = 0) -> Any:
    return json.loads(segue(database, *arguments, "--json", expect=expect).stdout)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "flows"
    made.mkdir()
    (made / "hello.yaml").write_text(HELLO, "utf-8")
    (made / "caller.yaml").write_text(CALLER, "utf-8")
    (made / "hello.test.yaml").write_text("flow: hello.yaml\ntests: []\n", "utf-8")
    return made


def outcomes(report: Any) -> list[tuple[str, str]]:
    return [(one["flow"], one["outcome"]) for one in report["files"]]


@pytest.mark.req("FLOW-8.apply", "FLOW-8.diff", "FLOW-8.stable")
def test_a_folder_is_applied_to_a_database_at_rest(tmp_path: Path, folder: Path) -> None:
    database = tmp_path / "s.db"
    before = as_json(database, "diff", str(folder), expect=1)
    assert outcomes(before) == [("caller", "new"), ("hello", "new")]
    assert not database.exists(), "nothing is made by looking"
    done = as_json(database, "apply", str(folder), "-m", "first")
    assert [(one["flow"], one["version"]) for one in done["files"]] == [("caller", "1.0.0"), ("hello", "1.0.0")]
    assert outcomes(as_json(database, "diff", str(folder))) == [("caller", "unchanged"), ("hello", "unchanged")]
    (folder / "hello.yaml").write_text(HELLO.replace("hi", "hello"), "utf-8")
    (folder / "caller.yaml").unlink()
    shown = segue(database, "diff", str(folder), "--prune", expect=1).stdout
    assert "~ hello" in shown
    assert "-  - say: {log: hi}\n" in shown.replace("    -", "-")
    assert "- caller" in shown
    rehearsed = as_json(database, "apply", str(folder), "--prune", "--dry-run")
    assert (rehearsed["applied"], outcomes(rehearsed)) == (False, [("hello", "changed"), ("caller", "removed")])
    segue(database, "apply", str(folder), "--prune")
    listed = as_json(database, "flows")["flows"]
    assert [(one["id"], one["version"]) for one in listed] == [("hello", "1.0.1")]
    assert segue(database, "flows", "export", "hello").stdout == HELLO.replace("hi", "hello"), "byte for byte"
    assert segue(database, "flows", "export", "hello", "--version", "1.0.0").stdout == HELLO
    assert "version 1.0.1" in segue(database, "flows", "show", "hello").stdout
    assert json.loads(segue(database, "flows", "export", "hello", "--format", "json").stdout)["flow"] == "hello"
    segue(database, "flows", "show", "nothing", expect=1)
    segue(database, "flows", "dance", expect=2)


@pytest.mark.req("FLOW-8.apply")
def test_one_bad_file_keeps_all_from_being_applied(tmp_path: Path, folder: Path) -> None:
    database = tmp_path / "s.db"
    (folder / "bad.yaml").write_text("flow: bad\nsteps:\n  - a: {log: $nothing.x}\n", "utf-8")
    refused = segue(database, "apply", str(folder), expect=2).stdout
    assert "! bad" in refused
    assert "nothing is changed: mend these first" in refused
    assert as_json(database, "flows")["flows"] == []
    segue(database, "diff", str(folder), expect=2)
    (folder / "bad.yaml").unlink()
    (folder / "again.yaml").write_text(HELLO, "utf-8")
    assert "is of the flow 'hello', too" in segue(database, "apply", str(folder), expect=2).stdout


@pytest.mark.req("FLOW-8.apply")
def test_a_folder_is_applied_through_the_server_that_runs_the_database(tmp_path: Path, folder: Path) -> None:
    database = tmp_path / "s.db"
    server = subprocess.Popen(
        [*SEGUE, "serve", "--port", "0", "--json", "--database", str(database)],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        assert server.stdout is not None
        assert json.loads(server.stdout.readline())["pid"] == server.pid
        assert outcomes(as_json(database, "diff", str(folder), expect=1)) == [("caller", "new"), ("hello", "new")]
        done = as_json(database, "apply", str(folder))
        assert [(one["flow"], one["version"]) for one in done["files"]] == [("caller", "1.0.0"), ("hello", "1.0.0")]
        listed = as_json(database, "flows", "list", "--tag", "demo")["flows"]
        assert [(one["id"], one["origin"]) for one in listed] == [("hello", "stored")]
        assert segue(database, "flows", "export", "hello").stdout == HELLO
        (folder / "hello.yaml").write_text("flow: hello\nsteps: [{nonsense: 1}]\n", "utf-8")
        refused = as_json(database, "apply", str(folder), expect=2)
        assert (refused["applied"], refused["files"][1]["outcome"]) == (False, "invalid")
    finally:
        server.terminate()
        server.communicate(timeout=30)
    assert [one["id"] for one in as_json(database, "flows")["flows"]] == ["caller", "hello"]


@pytest.mark.req("FLOW-8.apply", "ACC-3.workspaces")
def test_flows_and_secrets_of_another_workspace_are_reached_at_rest(tmp_path: Path, folder: Path) -> None:
    database = tmp_path / "s.db"
    team = as_json(database, "workspace", "create", "Team")["id"]
    as_json(database, "apply", str(folder), "--workspace", team)
    assert as_json(database, "flows")["flows"] == []
    assert [one["id"] for one in as_json(database, "flows", "-w", team)["flows"]] == ["caller", "hello"]
    assert as_json(database, "flows", "show", "hello", "-w", team)["source"] == HELLO
    assert "no workspace" in segue(database, "apply", str(folder), "-w", "wsp_none", expect=1).stderr


@pytest.mark.req("FLOW-8.apply")
def test_every_file_of_a_folder_that_means_to_be_a_flow_is_looked_at(tmp_path: Path, folder: Path) -> None:
    database = tmp_path / "s.db"
    (folder / "nested").mkdir()
    (folder / "nested" / "windows.yml").write_bytes(b"\xef\xbb\xbfflow: windows\r\nsteps: [{log: x}]\r\n")
    (folder / "link.yaml").symlink_to("nested/windows.yml")
    (folder / "round").symlink_to(".")
    (folder / "values.yaml").write_text("replicas: 3\n", "utf-8")
    (folder / "chart.yaml").write_text("{{ if .x }}\nkind: y\n{{ end }}\n", "utf-8")
    names = ["caller", "hello", "windows"]
    assert outcomes(as_json(database, "apply", str(folder))) == [(name, "new") for name in names]
    shown = as_json(database, "flows", "show", "windows")["source"]
    assert shown == "\ufeffflow: windows\r\nsteps: [{log: x}]\r\n"
    # A slip of the pen does not make a flow one that is gone.
    (folder / "hello.yaml").write_text("flow: hello\nsteps:\n  - a: [\n", "utf-8")
    refused = as_json(database, "apply", str(folder), "--prune", expect=2)
    assert ("hello", "invalid") in outcomes(refused)
    assert [one["id"] for one in as_json(database, "flows")["flows"]] == names
    (folder / "hello.yaml").write_bytes(b"flow: h\xff\n")
    assert "hello.yaml is not UTF-8" in segue(database, "diff", str(folder), expect=2).stderr
