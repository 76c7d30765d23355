"""`segue trigger`, `schedule`, `delivery` and `event`, on a database at rest and through the host that runs it."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from acceptance.cli_support import Commands

FLOWS = {
    "hooked": """
flow: hooked
triggers:
  - webhook: {auth: none, schema: {type: object}}
    when: $data.n > 1
    inputs: {n: $data.n, who: '{{ trigger.headers["x-who"] ?? "nobody" }}'}
  - {every: 1h, name: hourly, inputs: {n: 0, who: clock}}
  - {event: order.paid, source: api, inputs: {n: $data.total}}
inputs: {n: integer, who: {type: string, default: nobody}}
steps: [{say: {set: {n: $inputs.n, who: $inputs.who}}}]
outputs: "{{ say.n }} {{ say.who }}"
""",
    "nightly": """
flow: nightly
trigger: {cron: "30 2 * * *", timezone: Europe/Berlin}
steps: [{say: {set: {due: $trigger.due}}}]
""",
}


@pytest.fixture
def commands(tmp_path: Path) -> Commands:
    (tmp_path / "flows").mkdir()
    for name, text in FLOWS.items():
        (tmp_path / "flows" / f"{name}.yaml").write_text(text, encoding="utf-8")
    return Commands(tmp_path)


def outputs_of(commands: Commands, run: str) -> object:
    return commands.segue("show", run, "--json").json["outputs"]


@pytest.mark.req("TRIG-2.commands", "TIME-5.commands", "TRIG-1.commands")
def test_triggers_are_looked_at_and_fired_through_the_server_and_at_rest(commands: Commands) -> None:
    with commands.started("serve", "--port", "0", "--json", "--flows", "flows") as server:
        server.wait_for(r"(\{.*\})")
        listed = commands.segue("trigger", "list", "--json").json["triggers"]
        assert {(one["flow"], one["name"]) for one in listed} == {
            ("hooked", "webhook"), ("hooked", "hourly"), ("hooked", "event"), ("nightly", "cron"),
        }  # fmt: skip
        assert len(commands.segue("trigger", "list", "--kind", "cron").out.splitlines()) == 2
        shown = commands.segue("trigger", "show", "hooked/webhook")
        address = next(line for line in shown.out.splitlines() if line.startswith("address: ")).partition(" ")[2]

        run = commands.segue("trigger", "fire", "hooked/webhook", "--data", '{"n": 5}', "--header", "X-Who: me").out
        assert commands.segue("logs", run.strip(), "--follow").code == 0
        assert outputs_of(commands, run.strip()) == "5 me"
        refused = commands.segue("trigger", "fire", "hooked/webhook", "--data", '{"n": 1}')
        assert (refused.code, refused.out) == (1, "")
        assert "`when` does not hold" in refused.err
        assert len(refused.err.strip().splitlines()) == 1

        body = urllib.request.Request(address, b'{"n": 7}', {"content-type": "application/json"})
        with urllib.request.urlopen(body) as answer:
            told = json.load(answer)
        deliveries = commands.segue("delivery", "list", "--trigger", "hooked/webhook", "--json").json["deliveries"]
        assert [(one["id"], one["verdict"]) for one in deliveries] == [(told["delivery_id"], "accepted")]
        assert '{"n": 7}' in commands.segue("delivery", "show", "last").out
        again = commands.segue("delivery", "replay", told["delivery_id"]).out.strip()
        assert commands.segue("logs", again, "--follow").code == 0
        assert outputs_of(commands, again) == "7 nobody"

        assert commands.segue("trigger", "disable", "hooked/webhook").code == 0
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(body)
        assert commands.segue("trigger", "enable", "hooked/webhook").code == 0

        times = commands.segue("schedule", "next", "nightly", "--count", "3").out.splitlines()
        assert len(times) == 3
        assert all("T02:30:00+0" in one for one in times)
        assert "paused" in commands.segue("schedule", "pause", "hooked/hourly").out
        assert "paused" in commands.segue("schedule", "list", "--flow", "hooked").out
        assert "next at" in commands.segue("schedule", "resume", "hooked/hourly").out
        now = commands.segue("schedule", "run-now", "nightly").out.strip()
        assert commands.segue("logs", now, "--follow").code == 0

        sent = commands.segue("event", "send", "order.paid", "--data", '{"total": 9}', "--id", "e1", "--json").json
        assert sent == {"id": sent["id"], "event": "order.paid"}

    kept = commands.segue("trigger", "fire", "hooked/event", "--data", '{"total": 3}')
    assert "nobody runs this database now" in kept.err
    assert commands.segue("run", "--continue").code == 0
    assert outputs_of(commands, kept.out.strip()) == "3 nobody"
    assert commands.segue("schedule", "pause", "nightly").code == 0


@pytest.mark.req("TRIG-2.commands")
def test_what_is_not_there_is_told_in_one_line(commands: Commands) -> None:
    assert commands.segue("trigger", "list").out == "no triggers\n"
    for words, code, text in (
        (("trigger", "show", "none"), 1, "there is no trigger 'none'"),
        (("delivery", "show", "last"), 1, "nothing came to a webhook yet"),
        (("trigger", "list", "--kind", "corn"), 2, "none of webhook, cron"),
        (("event", "send", "a", "--data", "{"), 2, "--data is not JSON"),
        (("trigger", "fire", "none", "--header", "x"), 2, "no NAME:VALUE"),
    ):
        said = commands.segue(*words)
        assert said.code == code, (words, said.err)
        assert text in said.err, (words, said.err)
