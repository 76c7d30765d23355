"""Callbacks: one answer counts, the others change nothing and say why."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from acceptance.api_support import Served, ShiftedClock, list_files, problem, receiver, serve
from segue.engine.port import AttemptContext
from segue.steps.python import python_action

pytestmark = pytest.mark.anyio

WAIT = "flow: waiting\nsteps:\n  - answer: {wait: {callback: {expires: 1h}}}\noutputs: {got: $answer}\n"
TYPED = """\
flow: typed
steps:
  - answer:
      wait:
        callback:
          expires: 1h
          schema: {type: object, properties: {approved: {type: boolean}, by: {type: string}}, required: [approved]}
outputs: {got: $answer}
"""


@pytest.fixture(params=["memory", "sqlite"])
async def served(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Served]:
    async with serve("memory:" if request.param == "memory" else f"sqlite:///{tmp_path / 'runs.db'}") as found:
        yield found


@pytest.mark.req("CALL-2.resume", "ACC-1.public-by-choice")
@pytest.mark.parametrize(
    ("content", "kind", "payload"),
    [
        (b'{"approved": true, "n": [1, 2.5, null]}', "application/json", {"approved": True, "n": [1, 2.5, None]}),
        (b'"yes"', "application/vnd.x+json; charset=utf-8", "yes"),
        (b"", None, None),
        (b"a=1&b=x+y&a=2&c=", "application/x-www-form-urlencoded", {"a": ["1", "2"], "b": "x y", "c": ""}),
        ("schön".encode(), "text/plain; charset=utf-8", "schön"),
    ],
)
async def test_an_answer_resumes_the_run_with_its_payload(
    served: Served, content: bytes, kind: str | None, payload: Any
) -> None:
    run_id = await served.start(WAIT)
    url = await served.callback_url(run_id)
    async with served.anyone() as outside:
        answer = await outside.post(url, content=content, headers={} if kind is None else {"content-type": kind})
    assert (answer.status_code, answer.json()) == (200, {"runId": run_id, "status": "accepted"})
    assert (await served.until(run_id))["outputs"] == {"got": payload}


@pytest.mark.req("CALL-2.double")
async def test_a_second_answer_changes_nothing_and_says_so(served: Served) -> None:
    run_id = await served.start(WAIT)
    url = await served.callback_url(run_id)
    answers = await asyncio.gather(*(served.client.post(url, json=number) for number in range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 7
    first = next(number for number, answer in enumerate(answers) if answer.status_code == 200)
    problem(await served.client.post(url, json="late"), 409, "conflict")
    assert (await served.until(run_id))["outputs"] == {"got": first}


@pytest.mark.req("CALL-2.distinct-answers")
async def test_unknown_used_and_cancelled_tokens_have_answers_of_their_own(served: Served) -> None:
    for token in ("unknown", "x" * 2000, "%2e%2e", "a b"):
        problem(await served.client.post(f"/api/v1/orchestrator/callback/{token}"), 404, "not-found")
    run_id = await served.start(WAIT)
    url = await served.callback_url(run_id)
    await served.client.post(f"/api/v1/runs/{run_id}/cancel")
    found = problem(await served.client.post(url, json=1), 409, "conflict")
    assert "does not wait" in found["detail"]
    assert url.rpartition("/")[2] not in str(found)
    problem(await served.client.get(url), 409, "conflict")


@pytest.mark.req("CALL-2.late")
async def test_a_late_answer_is_gone_and_changes_nothing() -> None:
    clock = ShiftedClock()
    async with serve(clock=clock) as served:
        run_id = await served.start(WAIT)
        url = await served.callback_url(run_id)
        clock.shift_ms = 3_600_001
        found = problem(await served.client.post(url, json=1), 410, "gone")
        assert "expired" in found["detail"]
        problem(await served.client.get(url), 410, "gone")
        assert (await served.show(run_id))["outputs"] is None


@pytest.mark.req("CALL-5.early")
async def test_an_answer_that_comes_before_the_step_waits_is_kept(served: Served) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()
    early: list[int] = []

    async def start_job(context: AttemptContext) -> str:
        async with served.anyone() as outside:
            early.append((await outside.post(context.callback_url or "", json={"fast": True})).status_code)
        begun.set()
        await go_on.wait()
        return "started"

    served.host.actions.add(python_action(start_job, threads=lambda: served.host.threads))
    run_id = await served.start(
        "flow: early\nsteps:\n  - job: {use: start_job, wait: {callback: {expires: 1h}}}\noutputs: {got: $job}\n"
    )
    await begun.wait()
    assert early == [200]
    assert (await served.show(run_id))["status"] == "running"
    go_on.set()
    assert (await served.until(run_id))["outputs"] == {"got": {"fast": True}}


@pytest.mark.req("CALL-2.asking")
async def test_asking_what_a_callback_is_changes_nothing(served: Served) -> None:
    run_id = await served.start(WAIT)
    url = await served.callback_url(run_id)
    async with served.anyone() as outside:
        for _ in range(2):
            shown = (await outside.get(url)).json()
            assert (shown["flow"], shown["step"], shown["status"]) == ("waiting", "answer", "open")
            assert shown["expires_at"].endswith("Z")
            assert "POST" in shown["how"]
    assert (await served.show(run_id))["status"] == "waiting"


@pytest.mark.req("CALL-3.schema")
async def test_an_answer_that_does_not_fit_is_refused_and_may_be_sent_again(served: Served) -> None:
    run_id = await served.start(TYPED)
    url = await served.callback_url(run_id)
    found = problem(await served.client.post(url, json={"approved": "maybe", "by": 7}), 422, "invalid-input")
    assert {error["path"] for error in found["errors"]} == {"approved", "by"}
    problem(await served.client.post(url), 422, "invalid-input")
    problem(await served.client.post(url, content=b"{", headers={"content-type": "application/json"}), 400, "bad-body")
    problem(await served.client.post(url, content=b"x", headers={"content-type": "image/png"}), 415, "unsupported-type")
    shown = (await served.get(f"/api/v1/runs/{run_id}/callbacks"))["callbacks"][0]
    assert shown["schema"]["required"] == ["approved"]
    assert (await served.client.post(url, json={"approved": True})).status_code == 200
    assert (await served.until(run_id))["outputs"] == {"got": {"approved": True}}


@pytest.mark.req("CALL-1.several")
async def test_each_of_several_waits_has_an_address_of_its_own(served: Served) -> None:
    flow = (
        "flow: two\nsteps:\n  - both:\n      parallel:\n"
        "        - [{left: {wait: {callback: {expires: 1h}}}}]\n        - [{right: {wait: {callback: {uses: 2}}}}]\n"
    )
    run_id = await served.start(flow)
    await served.until(run_id, "waiting")
    found = {one["step"]: one for one in (await served.get(f"/api/v1/runs/{run_id}/callbacks"))["callbacks"]}
    left, right = (next(one for step, one in found.items() if step.endswith(name)) for name in ("left", "right"))
    assert left["url"] != right["url"]
    assert (right["uses"], right["received"]) == (2, 0)
    assert (await served.client.post(right["url"], json=1)).status_code == 200
    assert (await served.client.post(left["url"], json=1)).status_code == 200
    after = (await served.get(f"/api/v1/runs/{run_id}/callbacks"))["callbacks"]
    assert [(one["step"], one["received"]) for one in after] == [(right["step"], 1)]
    assert (await served.client.post(right["url"], json=2)).status_code == 200
    assert (await served.until(run_id))["status"] == "succeeded"


@pytest.mark.req("CALL-1.hash")
async def test_addresses_are_shown_to_those_with_an_identity_only(served: Served, tmp_path: Path) -> None:
    run_id = await served.start(WAIT)
    token = (await served.callback_url(run_id)).rpartition("/")[2]
    assert token not in str(await served.show(run_id))
    assert token not in str(await served.get(f"/api/v1/runs/{run_id}/logs"))
    async with served.anyone() as outside:
        problem(await outside.get(f"/api/v1/runs/{run_id}/callbacks"), 401, "unauthenticated")
        problem(await outside.post(f"/api/v1/orchestrator/callback/{run_id}", json=1), 401, "unauthenticated")
    for path in list_files(tmp_path):
        assert token.encode() not in path.read_bytes()


@pytest.mark.req("CALL-2.resume", "BAR-7.start-and-wait")
async def test_an_outside_job_gets_its_address_and_answers_later(served: Served) -> None:
    async with receiver() as job:
        flow = {
            "flow": "job",
            "steps": [
                {
                    "start": {
                        "http": {
                            "method": "POST",
                            "url": f"{job.url}/start",
                            "json": {"answer_to": "{{ self.callback_url }}"},
                        },
                        "wait": {"callback": {"expires": "1h"}},
                    }
                }
            ],
            "outputs": {"got": "$start"},
        }
        answer = await served.client.post("/api/v1/check", json={"flow": flow})
        assert answer.json()["ok"], answer.text
        run_id = await served.start(flow)
        url = await served.callback_url(run_id)
        assert job.got[0][:2] == ("POST", "/start")
        assert (await served.client.post(url, json={"done": 1})).status_code == 200
        assert (await served.until(run_id))["outputs"] == {"got": {"done": 1}}
