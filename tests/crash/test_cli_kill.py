"""`kill -9` in the middle of a flow, then `segue run --continue`: nothing lost, nothing done twice under one key."""

from __future__ import annotations

import signal
from collections import Counter
from pathlib import Path

import pytest

from acceptance.cli_support import Commands, Receiver, receiver, wait_until

pytestmark = pytest.mark.crash

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
LIMIT = 3
FLOW = f"""
flow: orders
inputs: {{address: string}}
steps:
  - open: {{http: {{method: POST, url: "{{{{ inputs.address }}}}/open"}}}}
  - items:
      foreach:
        items: [0, 1, 2, 3, 4, 5, 6, 7]
        as: item
        limit: {LIMIT}
        do:
          - send: {{http: {{method: POST, url: "{{{{ inputs.address }}}}/item/{{{{ item }}}}"}}}}
  - pause: {{wait: 300ms}}
  - parallel:
      - mail: {{http: {{method: POST, url: "{{{{ inputs.address }}}}/mail"}}}}
      - ship: {{http: {{method: POST, url: "{{{{ inputs.address }}}}/ship"}}}}
  - close: {{http: {{method: POST, url: "{{{{ inputs.address }}}}/close"}}}}
outputs: {{closed: $close.body.path, items: "{{{{ items.size() }}}}"}}
"""
PATHS = {"/open", *(f"/item/{number}" for number in range(8)), "/mail", "/ship", "/close"}


@pytest.fixture
def commands(tmp_path: Path) -> Commands:
    found = Commands(tmp_path)
    found.write("orders.yaml", FLOW)
    return found


def check_effects(counting: Receiver, kills: int) -> None:
    """Every call took effect, under one key of its own; only those in flight at a kill came a second time."""
    assert set(counting.effects) == PATHS
    assert set(counting.effects.values()) == {1}, counting.effects
    assert len({key for _, key in counting.requests}) == len(PATHS), "no two steps share a key"
    assert len(counting.requests) - len(PATHS) <= kills * LIMIT
    repeated = Counter(path for path, _ in counting.requests)
    assert max(repeated.values()) <= 1 + kills


@pytest.mark.req("DUR-1.kill", "DUR-5.same-key", "DUR-1.continue")
@pytest.mark.parametrize("after", [1, 3, 7, 10, 12])
def test_a_killed_run_goes_on_where_it_was(commands: Commands, after: int) -> None:
    with receiver(delay_seconds=0.1) as counting:
        with commands.started("run", "orders.yaml", "-i", f"address={counting.address}") as run:
            wait_until(lambda: len(counting.requests) >= after)
            run.send(signal.SIGKILL)
            assert run.finish().code == -signal.SIGKILL
        killed = commands.segue("show", "--json").json
        assert killed["status"] == "running"
        done = {step["id"] for step in killed["steps"] if step["status"] == "succeeded" and step["kind"] == "http"}

        answer = commands.segue("run", "--continue", "--json")
        assert "taking up 1 interrupted run: run_" in answer.err
        result = answer.json["runs"][0]
        assert (answer.code, result["run_id"], result["status"]) == (0, killed["id"], "succeeded")
        assert result["outputs"] == {"closed": "/close", "items": 8}
        assert all(result["steps"][step]["attempts"] == 1 for step in done), "what was done is not done again"
        check_effects(counting, kills=1)

        why = commands.segue("why", killed["id"]).out
        assert "ended well" in why
        assert "taken over after its host stopped" in commands.segue("logs", killed["id"]).out
        assert commands.segue("run", "--continue").out == "nothing to go on with\n"
        check_effects(counting, kills=1)


@pytest.mark.req("DUR-1.kill", "BAR-4.command-line")
def test_why_says_what_a_killed_run_is_about_to_do(commands: Commands) -> None:
    with receiver(delay_seconds=5) as counting:
        with commands.started("run", "orders.yaml", "-i", f"address={counting.address}") as run:
            wait_until(lambda: len(counting.requests) == 1)
            run.send(signal.SIGKILL)
            run.finish()
        answer = commands.segue("why", "last", "open")
        assert answer.code == 0
        assert "attempt 1 is in flight" in answer.out
        counting.delay_seconds = 0
        with commands.started("run", "--continue") as going_on:
            assert going_on.finish().code == 0
        check_effects(counting, kills=1)


@pytest.mark.req("DUR-1.kill", "DUR-5.same-key")
def test_a_run_outlives_many_kills(commands: Commands) -> None:
    kills = 4
    with receiver(delay_seconds=0.15) as counting:
        command = ["run", "orders.yaml", "-i", f"address={counting.address}"]
        for _ in range(kills):
            before = len(counting.requests)
            with commands.started(*command) as run:
                wait_until(lambda before=before: len(counting.requests) >= before + 2)
                run.send(signal.SIGKILL)
                run.finish()
            command = ["run", "--continue"]
        answer = commands.segue("run", "--continue", "--json")
        assert (answer.code, answer.json["runs"][0]["status"]) == (0, "succeeded")
        check_effects(counting, kills)


@pytest.mark.req("DUR-1.kill", "OPS-1.serve")
def test_a_killed_server_is_followed_by_another_one(commands: Commands) -> None:
    serve = ("serve", "--port", "0")
    env = {"SEGUE_EGRESS_ALLOW": "127.0.0.1"}
    with receiver(delay_seconds=0.1) as counting:
        with commands.started(*serve, env=env) as server:
            server.wait_for("Segue is running")
            kept = commands.segue("run", "orders.yaml", "-i", f"address={counting.address}", "--detach").out.strip()
            wait_until(lambda: len(counting.requests) >= 4)
            server.send(signal.SIGKILL)
            server.finish()
        with commands.started(*serve, env=env) as server:
            server.wait_for(f"taking up 1 interrupted run: {kept}")
            server.wait_for("Segue is running")
            wait_until(lambda: commands.segue("show", kept, "--json").json["status"] == "succeeded")
        check_effects(counting, kills=1)


@pytest.mark.req("DUR-1.kill", "DUR-1.continue")
def test_the_order_example_goes_on_with_the_actions_that_it_used(commands: Commands) -> None:
    with commands.started("run", str(EXAMPLES / "order.yaml")) as run:
        run.wait_for("▸ reserve  ")
        run.send(signal.SIGKILL)
        run.finish()
    answer = commands.segue("run", "--continue", "--json")
    result = answer.json["runs"][0]
    assert (answer.code, result["status"]) == (0, "succeeded")
    assert (result["outputs"]["customer"], result["outputs"]["paid"]) == ("Ada Lovelace", True)
    assert result["steps"]["look_up"]["attempts"] == 1
