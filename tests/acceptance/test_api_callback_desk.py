"""Callbacks as people meet them: the form at their address, the test sender, the code to scan, the history."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import xml.etree.ElementTree as ET
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from acceptance.api_support import Served, ShiftedClock, problem, serve

pytestmark = pytest.mark.anyio

APPROVAL = """\
flow: spend
title: Spend <b>money</b>
inputs: {amount: number}
steps:
  - ask:
      approve:
        to: [group:finance]
        message: "May we spend {{ inputs.amount }}?"
        need: 2
        timeout: 3d
        form:
          type: object
          required: [limit]
          properties:
            limit: {type: integer, title: Limit, minimum: 1}
            reason: {enum: [travel, tools], title: Reason}
outputs: {ok: $ask.approved, limit: $ask.limit, by: $ask.by, comment: $ask.comment}
"""
FREE = "flow: free\nsteps:\n  - answer: {wait: {callback: {expires: 1h}}}\noutputs: {got: $answer}\n"
SIGNED = """\
flow: signed
secrets: {hook: {from: "env:HOOK_OF_THE_TEST"}}
steps:
  - answer:
      wait: {callback: {expires: 1h, signature: {secret: $secrets.hook, header: x-sig, prefix: "sha256="}}}
outputs: {got: $answer}
"""
PAGE = {"accept": "text/html,application/xhtml+xml"}


@pytest.fixture(params=["memory", "sqlite"])
async def served(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Served]:
    async with serve("memory:" if request.param == "memory" else f"sqlite:///{tmp_path / 'runs.db'}") as found:
        yield found


async def sent(browser: httpx2.AsyncClient, url: str, fields: dict[str, Any]) -> httpx2.Response:
    return await browser.post(url, data=fields, headers={"origin": url.partition("/api/")[0]})


@pytest.mark.req("CALL-3.form", "CALL-3.n-of-m", "CALL-2.resume")
async def test_two_people_approve_by_the_form(served: Served) -> None:
    run_id = await served.start(APPROVAL, {"amount": 120})
    url = await served.callback_url(run_id)
    async with served.anyone(**PAGE) as browser:
        page = await browser.get(url)
        assert page.status_code == 200
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert "form-action 'self'" in page.headers["content-security-policy"]
        assert "script-src" not in page.headers["content-security-policy"]
        assert page.headers["referrer-policy"] == "same-origin"
        assert "May we spend 120?" in page.text
        assert "Spend &lt;b&gt;money&lt;/b&gt;" in page.text
        assert "0 of 2 people have approved" in page.text
        wrong = await sent(browser, url, {"decision": "approve", "by": "Ada", "limit": "0"})
        assert wrong.status_code == 422
        assert 'role="alert"' in wrong.text
        assert 'value="Ada"' in wrong.text
        first = await sent(browser, url, {"decision": "approve", "by": "Ada", "limit": "500", "reason": "1"})
        assert (first.status_code, "1 of 2 people have approved" in first.text) == (200, True)
        assert "1 of 2 people have approved (Ada)" in (await browser.get(url)).text
        again = await sent(browser, url, {"decision": "approve", "by": "Ada", "limit": "500"})
        assert again.status_code == 409
        open_now = (await served.get(f"/api/v1/runs/{run_id}/callbacks"))["callbacks"][0]
        assert (open_now["kind"], open_now["uses"], open_now["received"], open_now["decided_by"]) == (
            "approve", 2, 1, ["Ada"],
        )  # fmt: skip
        await sent(browser, url, {"decision": "approve", "by": "Bob", "limit": "400", "comment": "fine"})
        late = await browser.get(url)
    assert (late.status_code, "This has been answered" in late.text) == (409, True)
    view = await served.until(run_id)
    assert view["outputs"] == {"ok": True, "limit": 400, "by": "Bob", "comment": "fine"}


@pytest.mark.req("CALL-3.form")
async def test_a_rejection_needs_none_of_the_form(served: Served) -> None:
    run_id = await served.start(APPROVAL, {"amount": 1})
    url = await served.callback_url(run_id)
    async with served.anyone(**PAGE) as browser:
        answer = await sent(browser, url, {"decision": "reject", "by": "Ada", "limit": "", "comment": "too much"})
    assert (answer.status_code, "Your answer is kept" in answer.text) == (200, True)
    assert (await served.until(run_id))["outputs"]["ok"] is False


@pytest.mark.req("CALL-3.form")
async def test_a_page_of_another_origin_cannot_send_the_form(served: Served) -> None:
    run_id = await served.start(FREE)
    url = await served.callback_url(run_id)
    async with served.anyone(**PAGE) as browser:
        answer = await browser.post(url, data={"answer": "x"}, headers={"origin": "https://elsewhere.example"})
        assert answer.status_code == 403
        given = await sent(browser, url, {"answer": "as <text>"})
        assert given.status_code == 200
        assert (await served.until(run_id))["outputs"] == {"got": "as <text>"}
        unknown = await browser.get("/api/v1/orchestrator/callback/nothing")
        assert (unknown.status_code, "There is nothing here" in unknown.text) == (404, True)


@pytest.mark.req("CALL-2.distinct-answers")
async def test_who_comes_too_late_reads_so(tmp_path: Path) -> None:
    clock = ShiftedClock()
    async with serve(f"sqlite:///{tmp_path / 'runs.db'}", clock=clock) as served:
        run_id = await served.start(FREE.replace("1h", "1d"))
        url = await served.callback_url(run_id)
        clock.shift_ms = 2 * 86_400_000
        async with served.anyone(**PAGE) as browser:
            page = await browser.get(url)
            assert (page.status_code, "This came too late" in page.text) == (410, True)
            assert (await sent(browser, url, {"answer": "x"})).status_code == 410
        history = await served.get(f"/api/v1/runs/{run_id}/callbacks/history")
        assert [(one["taken"], one["code"]) for one in history["signals"]] == [(False, "gone")]


@pytest.mark.req("CALL-4.history")
async def test_what_was_taken_and_what_was_refused_is_remembered(served: Served) -> None:
    run_id = await served.start(
        "flow: typed\nsteps:\n  - answer: {wait: {callback: {expires: 1h, schema: {ok: boolean, password: string}}}}\n"
    )
    url = await served.callback_url(run_id)
    async with served.anyone() as outside:
        problem(await outside.post(url, json={"ok": "maybe"}), 422, "invalid-input")
        assert (await outside.post(url, json={"ok": True, "password": "hush-1234"})).status_code == 200
        problem(await outside.post(url, json={"ok": True}), 409, "conflict")
        problem(await outside.post("/api/v1/orchestrator/callback/unknown", json=1), 404, "not-found")
    path = f"/api/v1/runs/{run_id}/callbacks/history"
    history = (await served.get(path))["signals"]
    assert [(one["taken"], one["code"]) for one in history] == [
        (False, "conflict"), (True, None), (False, "invalid-input"),
    ]  # fmt: skip
    assert history[1]["sender"] == "127.0.0.1"
    assert history[1]["payload"] == '{"ok":true,"password":"***"}'
    assert "hush-1234" not in str(history)
    assert url.rpartition("/")[2] not in str(history)
    pages, cursor = [], ""
    while True:
        page = await served.get(f"{path}?limit=1{cursor}")
        pages += page["signals"]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert pages == history


@pytest.mark.req("CALL-4.history")
async def test_answers_that_come_by_a_correlation_are_remembered_too(served: Served) -> None:
    run_id = await served.start(
        "flow: called\nsteps:\n"
        "  - answer: {wait: {callback: {expires: 1h, correlate: order-7, schema: {ok: boolean}}}}\n"
    )
    path = "/api/v1/callbacks?correlate=order-7"
    problem(await served.client.post(path, json={"ok": "maybe"}), 422, "invalid-input")
    assert (await served.client.post(path, json={"ok": True})).status_code == 200
    problem(await served.client.post(path, json={"ok": True}), 404, "not-found")
    history = (await served.get(f"/api/v1/runs/{run_id}/callbacks/history"))["signals"]
    assert [(one["taken"], one["code"]) for one in history] == [(True, None), (False, "invalid-input")]


@pytest.mark.req("CALL-4.history")
async def test_a_stubborn_sender_does_not_fill_the_database(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("segue.engine.callback_history.KEPT_A_RUN", 5)
    run_id = await served.start(FREE)
    url = await served.callback_url(run_id)
    await served.client.post(url, json=1)
    await asyncio.gather(*(served.client.post(url, json=number) for number in range(12)))
    history = (await served.get(f"/api/v1/runs/{run_id}/callbacks/history"))["signals"]
    assert len(history) == 5


@pytest.mark.req("CALL-4.test-sender", "CALL-3.signature")
async def test_the_test_sender_tries_first_and_signs_as_the_sender_would(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOK_OF_THE_TEST", "hook-secret-77")
    run_id = await served.start(SIGNED)
    url = await served.callback_url(run_id)
    path = f"/api/v1/runs/{run_id}/callbacks/answer/test"
    tried = await served.client.post(path, json={"payload": {"n": 1}, "dry_run": True})
    assert tried.json() == {"taken": True, "dry_run": True, "errors": []}
    problem(await served.client.post(url, content=b"{}", headers={"x-sig": "sha256=00"}), 403, "bad-signature")
    problem(await served.client.post(url, json={}), 403, "bad-signature")
    async with served.anyone(**PAGE) as browser:
        assert "Only a system that signs" in (await browser.get(url)).text
    done = await served.client.post(path, json={"payload": {"n": 1}})
    assert done.json() == {"taken": True, "dry_run": False, "errors": []}
    assert (await served.until(run_id))["outputs"] == {"got": {"n": 1}}
    history = (await served.get(f"/api/v1/runs/{run_id}/callbacks/history"))["signals"]
    assert history[0]["sender"].endswith("(a test)")
    assert "hook-secret-77" not in str(history)
    problem(await served.client.post(path, json={"payload": 1}), 409, "conflict")


@pytest.mark.req("CALL-3.signature")
async def test_a_signed_answer_is_taken(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_OF_THE_TEST", "hook-secret-77")
    run_id = await served.start(SIGNED)
    url = await served.callback_url(run_id)
    body = b'{"n": 2}'
    sign = hmac.new(b"hook-secret-77", body, hashlib.sha256).hexdigest()
    async with served.anyone() as outside:
        headers = {"x-sig": f"sha256={sign}", "content-type": "application/json"}
        assert (await outside.post(url, content=body, headers=headers)).status_code == 200
    assert (await served.until(run_id))["outputs"] == {"got": {"n": 2}}


@pytest.mark.req("CALL-3.signature", "ACC-4.canary")
async def test_a_signature_that_cannot_be_judged_now_may_be_sent_again(served: Served) -> None:
    run_id = await served.start(SIGNED)
    url = await served.callback_url(run_id)
    async with served.anyone() as outside:
        found = problem(await outside.post(url, json={}, headers={"x-sig": "sha256=00"}), 503, "secret-unavailable")
    assert "HOOK_OF_THE_TEST" not in str(found)
    assert (await served.show(run_id))["status"] == "waiting"


@pytest.mark.req("CALL-4.test-sender")
async def test_a_dry_try_tells_every_mistake(served: Served) -> None:
    run_id = await served.start(APPROVAL, {"amount": 1})
    await served.until(run_id, "waiting")
    path = f"/api/v1/runs/{run_id}/callbacks/ask/test"
    tried = (await served.client.post(path, json={"payload": {"decision": "approve"}, "dry_run": True})).json()
    assert tried["taken"] is False
    assert {one["path"] for one in tried["errors"]} >= {"by"}
    problem(await served.client.post(f"/api/v1/runs/{run_id}/callbacks/none/test", json={}), 404, "not-found")


@pytest.mark.req("CALL-4.qr")
async def test_the_address_is_a_code_to_scan(served: Served) -> None:
    run_id = await served.start(FREE)
    await served.until(run_id, "waiting")
    answer = await served.client.get(f"/api/v1/runs/{run_id}/callbacks/answer/qr")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/svg+xml"
    assert ET.fromstring(answer.content).tag.endswith("svg")


@pytest.mark.req("CALL-5.early")
async def test_a_callback_that_comes_before_its_step_waits_is_kept_and_delivered(served: Served) -> None:
    flow = """\
flow: early
steps:
  - first: {wait: {callback: {expires: 1h}}}
  - second: {wait: {event: order.paid, buffer: 1h}}
outputs: {got: $second}
"""
    run_id = await served.start(flow)
    url = await served.callback_url(run_id)
    sent_early = await served.client.post("/api/v1/events", json={"event": "order.paid", "data": {"n": 3}, "id": "e-1"})
    assert sent_early.status_code == 202
    await served.client.post(url, json=None)
    assert (await served.until(run_id))["outputs"] == {"got": {"n": 3}}
