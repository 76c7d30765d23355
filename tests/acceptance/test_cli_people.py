"""`segue key`, `user` and `workspace`, on a database at rest and through the host that runs it."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from acceptance.cli_support import Commands


@pytest.fixture
def commands(tmp_path: Path) -> Commands:
    return Commands(tmp_path)


@pytest.mark.req("ACC-1.keys", "ACC-3.workspaces")
def test_keys_users_and_workspaces_are_made_at_rest_and_while_the_server_runs(commands: Commands) -> None:
    there = commands.segue("workspace", "create", "Ships").out.strip()
    made = commands.segue("key", "create", "ci", "--allow", "run:read", "--workspace", there, "--expires", "90d")
    token = made.out.strip()
    assert token.startswith("sgk_")
    assert token not in made.err
    added = commands.segue("user", "add", "Olga@example.org", "--role", "owner", "--json").json
    assert added["user"]["email"] == "olga@example.org"
    assert added["link"]["url"] == "http://127.0.0.1:8080" + added["link"]["url_path"]
    assert added["link"]["url_path"].startswith("/setup#")

    with commands.started("serve", "--port", "0", "--json") as server:
        told = json.loads(server.wait_for(r"(\{.*\})")[1])
        assert told["setup"] is None, "the server has an owner"
        request = urllib.request.Request(f"{told['address']}/api/v1/me", headers={"authorization": f"Bearer {token}"})
        with urllib.request.urlopen(request) as answer:
            me = json.load(answer)
        assert (me["kind"], me["workspace"], me["permissions"]) == ("key", there, ["run:read"])
        listed = commands.segue("key", "list", "--workspace", there)
        assert token not in listed.out
        assert me["id"] in listed.out
        assert "no keys" in commands.segue("key", "list").out
        reset = commands.segue("user", "reset-password", "olga@example.org")
        assert reset.out.startswith(f"{told['address']}/setup#")
        assert commands.segue("key", "revoke", me["id"], "--workspace", there).code == 0
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(request)
    unknown = commands.segue("key", "revoke", "key_x")
    assert unknown.code != 0
    assert "no key has the id 'key_x'" in unknown.err


@pytest.mark.req("ACC-3.archived")
def test_commands_say_that_a_workspace_is_archived_and_bring_it_back(commands: Commands) -> None:
    there = commands.segue("workspace", "create", "Ships").out.strip()
    assert commands.segue("workspace", "archive", there).out == f"{there} is archived\n"
    for command in (("key", "list"), ("secret", "list"), ("flows",)):
        refused = commands.segue(*command, "--workspace", there)
        assert refused.code == 1, command
        assert f"the workspace {there!r} is archived; `segue workspace restore {there}`" in refused.err, command
    assert commands.segue("workspace", "restore", there).out == f"{there} is open\n"
    assert commands.segue("key", "list", "--workspace", there).out == "no keys\n"


@pytest.mark.req("ACC-1.first-owner")
def test_a_server_without_an_owner_prints_where_one_is_made(commands: Commands) -> None:
    with commands.started("serve", "--port", "0") as server:
        server.wait_for(r"the owner is made at http://127\.0\.0\.1:\d+/setup#[\w-]{43}")


@pytest.mark.req("ACC-5.command-line")
def test_a_secret_whose_value_did_not_come_stays_as_it_is(commands: Commands) -> None:
    answer = commands.segue("secret", "set", "stripe", stdin="\n")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err == "segue: no value came on stdin for the secret 'stripe'; nothing is changed\n"
