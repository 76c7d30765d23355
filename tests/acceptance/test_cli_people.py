"""`segue key`, `user`, `workspace` and `connection`, on a database at rest and through the host that runs it."""

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


@pytest.mark.req("ACC-5.command-line")
def test_secrets_are_kept_listed_and_forgotten_and_their_keys_rotated(commands: Commands) -> None:
    assert commands.segue("secret", "list").out == "no secrets\n"
    kept = commands.segue("secret", "set", "stripe", "--note", "test account", stdin="canary-value\n")
    assert kept.out == "stripe: version 1 is kept\n"
    listed = commands.segue("secret", "list")
    assert (listed.out.startswith("stripe  version 1, set 20"), "test account" in listed.out) == (True, True)
    assert [one["value"] for one in commands.segue("secret", "list", "--json").json] == ["***"]
    before = commands.segue("keys", "--json").json
    rotated = commands.segue("keys", "rotate").out
    assert f"dropped: {before[0]['id']}" in rotated
    assert before[0]["id"] not in commands.segue("keys").out
    odd = commands.segue("secret", "set", "a b", stdin="v")
    assert (odd.code, "a name is a letter or _, then up to 99" in odd.err) == (2, True), odd.err
    assert commands.segue("secret", "delete", "stripe").code == 0
    again = commands.segue("secret", "delete", "stripe")
    assert (again.code, "there is no secret 'stripe'" in again.err) == (1, True)


@pytest.mark.req("ACC-5.connections")
def test_connections_are_made_tried_changed_and_removed(commands: Commands) -> None:
    made = commands.segue(
        "connection", "add", "shop", "--field", "base_url=http://127.0.0.1:9/api", "--secret", "token",
        stdin="canary-token\n",
    )  # fmt: skip
    assert made.out == "shop  unchecked\n  base_url: http://127.0.0.1:9/api\n  token: ***\n"
    assert commands.segue("connection", "list").out == "shop  unchecked  http://127.0.0.1:9/api\n"
    tried = commands.segue("connection", "check", "shop")
    assert (tried.code, tried.out.startswith("shop: failing: connection")) == (1, True), tried.out
    again = commands.segue("connection", "add", "shop")
    assert (again.code, "shop" in again.err) == (1, True)
    moved = commands.segue("connection", "set", "shop", "--field", "base_url=http://127.0.0.1:8")
    assert moved.code == 2, "the secret would go to another origin"
    assert "token" in moved.err
    assert commands.segue("connection", "set", "shop", "--secret", "token", stdin="other\n").code == 0
    assert commands.segue("connection", "show", "shop", "--json").json["version"] == 2
    assert commands.segue("connection", "remove", "shop").out == "shop is removed\n"
    assert commands.segue("connection", "list").out == "no connections\n"


@pytest.mark.req("ACC-5.connections")
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--secret", "token=abc"), "--secret token=…: write the name alone"),
        (("--secret", "token"), "no value came on stdin for the field 'token'; nothing is changed"),
        (("--field", "base_url"), "--field 'base_url': write NAME=VALUE"),
    ],
)
def test_a_connections_secret_is_never_on_the_command_line(
    commands: Commands, options: tuple[str, ...], said: str
) -> None:
    refused = commands.segue("connection", "add", "shop", *options, stdin="")
    assert (refused.code, said in refused.err) == (2, True), refused.err
    assert "abc" not in refused.err
