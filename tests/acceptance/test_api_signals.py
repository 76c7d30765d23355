"""Events, callbacks by correlation, answers of runs and sub-flows, over HTTP."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from acceptance.api_support import Served, problem, serve

pytestmark = pytest.mark.anyio

WAITS = """\
flow: waits
inputs: {id: {type: integer, default: 1}}
steps:
  - paid: {wait: {event: order.paid, where: $.id == inputs.id}, timeout: 1h}
outputs: $paid
"""
ANSWERS = """\
flow: answers
inputs: {n: {type: integer, default: 3}}
steps:
  - respond: {status: 201, headers: {x-number: "{{ string(inputs.n) }}", set-cookie: no}, body: {n: $inputs.n}}
  - later: {wait: {callback: {expires: 1h}}}
"""
SIGNED = """\
flow: signed
inputs: {order: {type: string, default: o-1}}
secrets: {hook: {from: "env:PAYMENT_TEST_HOOK"}}
steps:
  - answer:
      wait: {callback: {expires: 1h, correlate: $inputs.order, signature: {secret: $secrets.hook, header: x-sig}}}
outputs: $answer
"""
ASKS = "flow: asks\nsteps:\n  - ok: {approve: {need: 2, form: {amount: number}}}\noutputs: $ok\n"


@pytest.fixture
async def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Served]:
    monkeypatch.setenv("PAYMENT_TEST_HOOK", "s3cret")
    async with serve(f"sqlite:///{tmp_path / 'runs.db'}") as found:
        yield found


@pytest.mark.req("EXEC-9.publish")
async def test_an_event_wakes_the_runs_that_wait_for_it_and_counts_once(served: Served) -> None:
    run_id = await served.start(WAITS)
    body = {"event": "order.paid", "data": {"id": 1, "by": "card"}, "id": "shop-7"}
    for _ in range(2):
        answer = await served.client.post("/api/v1/events", json=body)
        assert (answer.status_code, answer.json()) == (202, {"id": "shop-7"})
    assert (await served.until(run_id))["outputs"] == {"id": 1, "by": "card"}
    problem(await served.client.post("/api/v1/events", json={"event": ""}), 422, "invalid-request")
    async with served.anyone() as outside:
        problem(await outside.post("/api/v1/events", json=body), 401, "unauthenticated")


@pytest.mark.req("EXEC-9.respond")
async def test_a_caller_that_waits_gets_the_run_s_own_answer_while_the_run_goes_on(served: Served) -> None:
    answer = await served.client.post("/api/v1/runs?wait=10", json={"flow": ANSWERS, "inputs": {"n": 7}})
    assert (answer.status_code, answer.json(), answer.headers["x-number"]) == (201, {"n": 7}, "7")
    assert "set-cookie" not in answer.headers, "cookies of this server are its own"
    run = (await served.client.get(answer.headers["location"])).json()
    assert (run["status"], run["response"]["status"]) == ("waiting", 201)


@pytest.mark.req("EXEC-9.respond")
async def test_a_caller_that_waits_in_vain_learns_how_the_run_stands(served: Served) -> None:
    answer = await served.client.post("/api/v1/runs?wait=0.01", json={"flow": WAITS})
    assert (answer.status_code, answer.json()["status"]) == (202, "waiting")
    ended = "flow: ends\nsteps:\n  - done: {set: {x: 1}}\n"
    answer = await served.client.post("/api/v1/runs?wait=10", json={"flow": ended})
    assert (answer.status_code, answer.json()["status"], answer.json()["outputs"]) == (200, "succeeded", {"x": 1})
    problem(await served.client.post("/api/v1/runs?wait=9999", json={"flow": ended}), 422, "invalid-request")


@pytest.mark.req("CALL-1.correlate", "CALL-3.signature")
async def test_a_signed_callback_is_found_by_its_correlation(served: Served) -> None:
    run_id = await served.start(SIGNED)
    body, path = b'{"paid": true}', "/api/v1/callbacks?correlate=o-1&flow=signed"
    good = hmac.new(b"s3cret", body, hashlib.sha256).hexdigest()
    for headers in ({}, {"x-sig": "00" * 32}):
        problem(await served.client.post(path, content=body, headers=headers), 403, "bad-signature")
    problem(await served.client.post("/api/v1/callbacks?correlate=o-2", content=body), 404, "not-found")
    answer = await served.client.post(path, content=body, headers={"x-sig": good})
    assert (answer.status_code, answer.json()["runId"]) == (200, run_id)
    assert (await served.until(run_id))["outputs"] == {"paid": True}


@pytest.mark.req("CALL-1.approve", "CALL-3.payload-schema")
async def test_a_decision_that_does_not_fit_is_told_with_all_its_mistakes(served: Served) -> None:
    run_id = await served.start(ASKS)
    url = await served.callback_url(run_id)
    found = problem(await served.client.post(url, json={"decision": "approve", "amount": "much"}), 422, "invalid-input")
    assert {error["path"] for error in found["errors"]} == {"amount", "by"}
    for name in ("ann", "bob"):
        assert (await served.client.post(url, json={"approved": True, "by": name, "amount": 2})).status_code == 200
    assert (await served.until(run_id))["outputs"]["approved"] is True
