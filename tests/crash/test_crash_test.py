"""`segue crash-test`: every example passes, and what is wrong (in a flow, in an engine) is found and told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.crash

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
ALL = os.environ.get("SEGUE_CRASH") == "all"
SAMPLE_KILLS = 40
"""At random moments, of flows with more kill points than that, unless all are asked for (`make crash`)."""


def _examples() -> list[Path]:
    return sorted(path for path in EXAMPLES.iterdir() if path.suffix in (".yaml", ".json"))


@dataclass
class Ended:
    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.out)


def crash_test(file: Path | str, *options: str, planted: str = "") -> Ended:
    """The command in a process of its own; `planted` is Python that breaks something first."""
    program = f"{planted}\nimport sys; from segue.cli import main; main(sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", program, "crash-test", str(file), *options],
        capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    return Ended(done.returncode, done.stdout, done.stderr)


@pytest.mark.req("BAR-3", "DUR-1.kill", "DUR-5.same-key")
@pytest.mark.parametrize("file", _examples(), ids=lambda path: path.name)
def test_every_example_outlives_a_kill_at_every_journal_write(file: Path) -> None:
    if ALL:
        tested = crash_test(file, "--json")
        random = crash_test(file, "--json", "--kills", "200")
    else:
        tested = crash_test(file, "--json", *(("-k", "asked until") if file.stem == "poll-status" else ()))
        random = crash_test(file, "--json", "--kills", str(SAMPLE_KILLS))
    for one in (tested, random):
        assert one.code == 0, one.out + one.err
        assert one.json["ok"]
        assert not one.json["findings"]
    every = tested.json
    assert every["kills"] >= 3 * every["writes"] > 0
    assert all(scenario["kills"] >= 3 * scenario["writes"] for scenario in every["scenarios"])


FLOW = """
flow: pay
inputs: {order: {type: string, default: A-1}}
steps:
  - reserve: {http: {method: POST, url: "https://stock.example.com/reserve", json: {order: $inputs.order}}}
  - think: {wait: 3d}
  - charge:
      http: {method: POST, url: "https://pay.example.com/charge", json: {order: $inputs.order, id: "{{ uuid() }}"}}
      %s
  - signed: {wait: {callback: {expires: 30d}}}
outputs: {paid: $charge.status, signed: $signed}
tests:
  - name: paid and signed
    mocks: {charge: {status: 201}, signed: {output: {by: Ada}, after: 2d}}
  - name: never signed
    mocks: {signed: {no_answer: true}}
    expect: {status: failed, error: timeout}
"""


@pytest.fixture
def flow(tmp_path: Path) -> Path:
    path = tmp_path / "pay.yaml"
    path.write_text(FLOW % "idempotency: keyed", "utf-8")
    return path


@pytest.mark.req("BAR-3", "TIME-1.restart")
def test_waits_of_days_and_callbacks_are_tested_in_seconds(flow: Path) -> None:
    tested = crash_test(flow, "--json").json
    assert tested["ok"]
    assert [one["status"] for one in tested["scenarios"]] == ["succeeded", "failed"]
    assert set(tested["repeated"]) == {"reserve", "charge"}


@pytest.mark.req("BAR-3", "BAR-15")
def test_an_unsafe_step_that_nobody_handles_is_named_with_what_to_do(flow: Path) -> None:
    flow.write_text(FLOW % "idempotency: unsafe", "utf-8")
    tested = crash_test(flow, "-k", "paid")
    assert tested.code == 1
    assert "killed while `charge` was in flight, the run ends as failed instead of succeeded" in tested.out
    assert "`idempotency: keyed`" in tested.out
    assert {one["kind"] for one in crash_test(flow, "-k", "paid", "--json").json["findings"]} == {"unsafe"}


@pytest.mark.req("BAR-3", "BAR-15")
def test_an_unsafe_step_whose_handler_knows_what_to_do_passes(flow: Path) -> None:
    handler = "idempotency: unsafe\n      on_error: [{look: {http: {url: 'https://pay.example.com/charge'}}}]"
    flow.write_text((FLOW % handler).replace("{paid: $charge.status, signed: $signed}", "{signed: $signed}"), "utf-8")
    tested = crash_test(flow, "-k", "paid", "--json")
    assert tested.code == 0, tested.out


MISTAKES = {
    "an effect before its commit": (
        """
from segue.engine.committing import Committing
own = Committing.commit_of
def early(self, run, decision):
    for step in decision.start:
        self._effects.launch(run, step, step.attempt)
    return own(self, run, decision)
Committing.commit_of = early
""",
        {"lost", "twice"},
    ),
    "interrupted attempts forgotten": (
        """
from segue.engine.loading import Loading
Loading.take_up = lambda self, run: None
""",
        {"end"},
    ),
    "unsafe attempts taken up like all others": (
        """
from segue.engine.attempts import AttemptMaker
from segue.engine.loading import Loading
own = Loading.take_up
def all_of_them(self, run):
    is_unsafe, AttemptMaker.is_unsafe = AttemptMaker.is_unsafe, lambda *_: False
    own(self, run)
    AttemptMaker.is_unsafe = is_unsafe
Loading.take_up = all_of_them
""",
        {"twice"},
    ),
    "commits acknowledged without being written": (
        """
from segue.store.writer import Writer
own, count = Writer.submit, [0]
def lossy(self, commit, done, packed=None):
    count[0] += bool(commit.rows)
    if commit.rows and count[0] == 3:
        self._loop.call_soon(done, commit, None)
    else:
        own(self, commit, done, packed)
Writer.submit = lossy
""",
        {"lost", "end", "twice"},
    ),
    "a new key for every attempt": (
        """
from segue.engine import attempts
from segue.testing.crash import makers
own = attempts.call_of
def fresh(state, step, workspace):
    return own(state, step, workspace) + str(step.attempt)
attempts.call_of = makers.call_of = fresh
""",
        {"twice"},
    ),
}


@pytest.mark.req("BAR-3")
@pytest.mark.parametrize("name", MISTAKES)
def test_planted_mistakes_of_the_engine_are_found(flow: Path, name: str) -> None:
    planted, kinds = MISTAKES[name]
    if "unsafe" in name:
        flow.write_text(FLOW % "idempotency: unsafe", "utf-8")
    tested = crash_test(flow, "-k", "paid", "--json", planted=planted)
    assert tested.code == 1, tested.err
    assert {one["kind"] for one in tested.json["findings"]} & kinds, tested.out


@pytest.mark.req("BAR-3")
def test_the_number_of_the_attempt_in_an_error_is_no_difference(tmp_path: Path) -> None:
    flow: dict[str, Any] = {
        "flow": "edges",
        "nodes": [
            {"id": "ask", "type": "http", "data": {"url": "https://stock.example.com/", "method": "POST"}},
            {"id": "failed", "type": "log", "data": {"message": "{{ error.category }}"}},
            {"id": "handled", "type": "set", "data": {"set": {"said": "$ask"}}},
        ],
        "edges": [
            {"source": "ask", "target": "failed", "sourceHandle": "error"}, {"source": "failed", "target": "handled"},
        ],
        "outputs": {"said": "$handled.said"},
        "tests": [{"name": "no answer", "mocks": {"ask": {"error": "timeout"}}}],
    }  # fmt: skip
    path = tmp_path / "edges.json"
    path.write_text(json.dumps(flow), "utf-8")
    tested = crash_test(path)
    assert "nothing lost, nothing twice" in tested.out, tested.out + tested.err
    assert tested.code == 0


@pytest.mark.req("BAR-3")
def test_what_cannot_be_used_is_told_with_code_2(flow: Path) -> None:
    assert crash_test(flow, "--kills", "3", "--every-write").code == 2
    assert crash_test(flow, "-k", "no such test").code == 2
    assert crash_test(flow, "--mock", "charg=1").code == 2
    assert crash_test(flow, "-i", "order=[]", "--mock", 'charge={"satus": 1}').code == 2
    flow.write_text("flow: x\nsteps:\n  - a: {nonsense: 1, more: 2}\n", "utf-8")
    assert crash_test(flow).code == 2


LIVE = """
flow: live
inputs: {url: string}
steps:
  - first: {http: {method: POST, url: "{{ inputs.url }}/first", json: {n: 1}}}
  - pause: {wait: 1h}
  - second:
      http: {method: POST, url: "{{ inputs.url }}/second?fail=1", json: {n: 2}}
      retry: {attempts: 3, initial_delay: 10ms}
outputs: {first: $first.body.path, second: $second.body.path}
"""


@pytest.mark.req("BAR-3", "DUR-5.same-key")
def test_live_calls_reach_the_real_receiver_once_a_key(tmp_path: Path) -> None:
    from segue.testing.counting_receiver import CountingReceiver

    (file := tmp_path / "live.yaml").write_text(LIVE, "utf-8")
    with CountingReceiver() as receiver:
        tested = crash_test(file, "--live", "--json", "-i", f"url={receiver.url}", "--kills", "6")
        assert tested.code == 0, tested.out + tested.err
        by_key = receiver.requests_by_key()
    assert len(by_key) >= 2 * 2, "the undisturbed run and each killed one have keys of their own"
    assert all(sum(one.effect for one in found) <= 1 for found in by_key.values())
