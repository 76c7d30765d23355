"""Starting, listing, showing and steering runs over HTTP, on both stores."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from acceptance.api_support import Served, ShiftedClock, has_begun, problem, serve
from segue.kernel import events as ev
from segue.store.port import Commit, JournalRow, RunHead

pytestmark = pytest.mark.anyio

GREET = """\
flow: greet
title: Greet a person
inputs: {name: string, loud: {type: boolean, default: false}}
steps:
  - greeting: {set: {text: "Hello {{ inputs.name }}"}}
  - say: {log: $greeting.text}
outputs: {text: $greeting.text}
"""
WAIT = """\
flow: waiting
steps:
  - first: {log: before}
  - answer: {wait: {callback: {expires: 1h}}}
  - after: {log: done}
"""
BROKEN = """\
flow: broken
steps:
  - one: {log: {message: careful, level: warning}}
  - two: {fail: {code: no_luck, message: it did not work}}
"""


@pytest.fixture(params=["memory", "sqlite"])
async def served(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Served]:
    (tmp_path / "flows").mkdir()
    (tmp_path / "flows" / "greet.yaml").write_text(GREET, encoding="utf-8")
    database = "memory:" if request.param == "memory" else f"sqlite:///{tmp_path / 'runs.db'}"
    async with serve(database, folders=(tmp_path / "flows",)) as found:
        yield found


@pytest.mark.req("API-1.start", "FLOW-12.inputs-checked")
@pytest.mark.parametrize(
    "flow", [{"flow": GREET}, {"flow_id": "greet"}, {"flow_id": "greet.yaml"}], ids=["text", "library", "file"]
)
async def test_a_flow_is_started_and_shown(served: Served, flow: dict[str, Any]) -> None:
    answer = await served.client.post("/api/v1/runs", json={**flow, "inputs": {"name": "Ada"}})
    assert answer.status_code == 201
    started = answer.json()
    assert started["repeated"] is False
    assert answer.headers["location"] == f"/api/v1/runs/{started['run_id']}"
    view = await served.until(started["run_id"])
    assert view["status"] == "succeeded"
    assert view["inputs"] == {"name": "Ada", "loud": False}
    assert view["outputs"] == {"text": "Hello Ada"}
    assert view["trigger"] == "api"
    assert [(step["id"], step["status"]) for step in view["steps"]] == [("greeting", "succeeded"), ("say", "succeeded")]
    assert all(step["reason"] and step["reason_code"] for step in view["steps"])


@pytest.mark.req("API-1.start", "FLOW-3.documents")
async def test_a_parsed_document_is_a_flow_too(served: Served) -> None:
    document = {"flow": "doc", "steps": [{"a": {"set": {"n": "{{ 20 + 1 }}"}}}], "outputs": {"n": "$a.n"}}
    assert (await served.until(await served.start(document)))["outputs"] == {"n": 21}


@pytest.mark.req("API-1.location")
async def test_a_change_of_the_file_is_the_next_run(served: Served, tmp_path: Path) -> None:
    path = tmp_path / "flows" / "greet.yaml"
    for word in ("Hello", "Welcome back,"):
        path.write_text(GREET.replace("Hello", word), encoding="utf-8")
        answer = await served.client.post("/api/v1/runs", json={"flow_id": "greet", "inputs": {"name": "Ada"}})
        assert (await served.until(answer.json()["run_id"]))["outputs"] == {"text": f"{word} Ada"}
    path.write_text("flow: greet\nsteps: [", encoding="utf-8")
    answer = await served.client.post("/api/v1/runs", json={"flow_id": "greet", "inputs": {"name": "Ada"}})
    assert problem(answer, 422, "invalid-flow")["problems"][0]["file"] == "greet.yaml"


@pytest.mark.req("API-1.errors")
async def test_a_text_that_cannot_be_read_has_no_name_to_be_called_by(served: Served) -> None:
    answer = await served.client.post("/api/v1/runs", json={"flow": "flow: a\nsteps:\n\t- x"})
    assert problem(answer, 422, "invalid-flow")["detail"].startswith("the flow has one error; the first: FLW001")


@pytest.mark.req("API-1.pagination", "OBS-1.run-lists")
async def test_runs_are_listed_in_pages_newest_first(served: Served) -> None:
    ids = [await served.start(GREET, {"name": str(number)}) for number in range(7)]
    failed = await served.start(BROKEN)
    for run_id in (*ids, failed):
        await served.until(run_id)
    found: list[str] = []
    cursor: str | None = None
    for _ in range(3):
        query = {"limit": "3"} if cursor is None else {"limit": "3", "cursor": cursor}
        page = (await served.client.get("/api/v1/runs", params=query)).json()
        found += [run["id"] for run in page["runs"]]
        cursor = page["next_cursor"]
    assert found == [failed, *reversed(ids)]
    assert cursor is None

    only = (await served.get("/api/v1/runs?status=failed,cancelled&status=timed_out"))["runs"]
    assert [run["id"] for run in only] == [failed]
    assert only[0]["flow"] == "broken"
    assert "it did not work" in only[0]["error"]
    assert only[0]["duration_ms"] >= 0
    assert len((await served.get("/api/v1/runs?flow=greet"))["runs"]) == 7


@pytest.mark.req("OBS-1.run-logs")
async def test_a_log_is_filtered_by_level_step_and_number(served: Served) -> None:
    run_id = await served.start(BROKEN)
    await served.until(run_id)
    every = (await served.get(f"/api/v1/runs/{run_id}/logs"))["lines"]
    assert [line["ts"] for line in every] == sorted(line["ts"] for line in every)
    assert every[0]["msg"] == "run accepted"
    assert every[-1]["level"] == "error"
    grave = (await served.get(f"/api/v1/runs/{run_id}/logs?level=warning"))["lines"]
    assert {line["level"] for line in grave} == {"warning", "error"}
    assert grave[0]["msg"] == "careful"
    of_step = (await served.get(f"/api/v1/runs/{run_id}/logs?step=two"))["lines"]
    assert of_step
    assert {line["step"] for line in of_step} == {"two"}
    assert (await served.get(f"/api/v1/runs/{run_id}/logs?limit=1"))["lines"] == every[-1:]


@pytest.mark.req("OBS-1.run-logs")
async def test_steps_within_a_step_are_found_with_it(served: Served) -> None:
    loop = "{foreach: {items: '[1, 2]', do: [{note: {log: n}}]}}"
    flow = f"flow: loop\nsteps:\n  - each: {loop}\n  - eachother: {{log: x}}\n"
    run_id = await served.start(flow)
    await served.until(run_id)
    lines = (await served.get(f"/api/v1/runs/{run_id}/logs?step=each"))["lines"]
    assert {"each[0].note", "each[1].note"} <= {line["step"] for line in lines}
    assert "eachother" not in {line["step"] for line in lines}


@pytest.mark.req("BAR-4.api")
async def test_why_says_what_is_and_what_helps(served: Served) -> None:
    run_id = await served.start(WAIT)
    await served.until(run_id, "waiting")
    why = await served.get(f"/api/v1/runs/{run_id}/why")
    assert why["status"] == "waiting"
    assert "answer" in why["sentence"]
    assert why["code"] == "run-waiting-callback"
    assert {step["id"]: step["code"] for step in why["steps"]}["answer"] == "step-waiting-callback"
    one = await served.get(f"/api/v1/runs/{run_id}/why?step=answer")
    assert [step["id"] for step in one["steps"]] == ["answer"]
    assert one["steps"][0]["action"]
    problem(await served.client.get(f"/api/v1/runs/{run_id}/why?step=nope"), 404, "not-found")


@pytest.mark.req("DUR-4.cancel")
async def test_a_run_is_paused_resumed_and_cancelled(served: Served) -> None:
    run_id = await served.start(WAIT)
    await served.until(run_id, "waiting")
    base = f"/api/v1/runs/{run_id}"
    paused = await served.client.post(f"{base}/pause", json={"reason": "lunch"})
    assert (paused.status_code, paused.json()) == (202, {"run_id": run_id, "status": "paused"})
    assert (await served.client.post(f"{base}/pause")).json()["status"] == "paused"
    assert (await served.client.post(f"{base}/resume")).json()["status"] == "waiting"
    problem(await served.client.post(f"{base}/resume"), 409, "conflict")
    problem(await served.client.post(f"{base}/cancel", json={"because": "x"}), 422, "invalid-request")
    assert (await served.client.post(f"{base}/cancel", json={"reason": "no longer needed"})).status_code == 202
    view = await served.until(run_id)
    assert view["status"] == "cancelled"
    assert "no longer needed" in view["reason"]
    problem(await served.client.post(f"{base}/cancel"), 409, "conflict")


@pytest.mark.req("API-1.pagination")
@pytest.mark.parametrize(
    "cursor", ["-", "x-1", "1", "99999999999999999999999-1", "1-99999999999999999999999", "1-1' or 1"]
)
async def test_a_cursor_that_this_server_did_not_make_does_no_harm(served: Served, cursor: str) -> None:
    answer = await served.client.get("/api/v1/runs", params={"cursor": cursor})
    assert answer.status_code in (200, 400, 422), answer.text


# ---------------------------------------------------------------- idempotency


@pytest.mark.req("API-1.idempotency-key")
@pytest.mark.parametrize("where", ["body", "Idempotency-Key", "x-idempotency-key", "quoted"])
async def test_the_same_key_and_body_is_the_same_run(served: Served, where: str) -> None:
    body: dict[str, Any] = {"flow_id": "greet", "inputs": {"name": "Ada"}}
    headers: dict[str, str] = {}
    if where == "body":
        body["idempotency_key"] = "key-1"
    elif where == "quoted":
        headers["idempotency-key"] = '"key-1"'
    else:
        headers[where] = "key-1"
    first = await served.client.post("/api/v1/runs", json=body, headers=headers)
    second = await served.client.post("/api/v1/runs", json=body, headers=headers)
    assert (first.status_code, second.status_code) == (201, 200)
    assert second.json()["run_id"] == first.json()["run_id"]
    assert (first.json()["repeated"], second.json()["repeated"]) == (False, True)
    # Another spelling of the same body, with the key in another place, is the same request too.
    other = await served.client.post(
        "/api/v1/runs", json={"inputs": {"name": "Ada"}, "flow_id": "greet"}, headers={"idempotency-key": "key-1"}
    )
    assert other.json()["run_id"] == first.json()["run_id"]

    changed = {**body, "inputs": {"name": "Eve"}}
    found = problem(
        await served.client.post("/api/v1/runs", json=changed, headers=headers), 422, "idempotency-key-reused"
    )
    assert first.json()["run_id"] in found["detail"]
    assert len((await served.get("/api/v1/runs"))["runs"]) == 1


@pytest.mark.req("API-1.idempotency-key")
async def test_the_same_request_keeps_its_answer_though_the_flow_was_broken_since(
    served: Served, tmp_path: Path
) -> None:
    body = {"flow_id": "greet", "inputs": {"name": "Ada"}, "idempotency_key": "k"}
    first = await served.client.post("/api/v1/runs", json=body)
    (tmp_path / "flows" / "greet.yaml").unlink()
    second = await served.client.post("/api/v1/runs", json=body)
    assert (second.status_code, second.json()["run_id"]) == (200, first.json()["run_id"])
    problem(await served.client.post("/api/v1/runs", json={**body, "idempotency_key": "other"}), 404, "not-found")


@pytest.mark.req("API-1.idempotency-key")
async def test_twenty_requests_at_once_start_one_run(served: Served) -> None:
    body = {"flow": GREET, "inputs": {"name": "Ada"}, "idempotency_key": "burst"}
    answers = await asyncio.gather(*(served.client.post("/api/v1/runs", json=body) for _ in range(20)))
    assert {answer.status_code for answer in answers} <= {200, 201, 409}
    assert sum(answer.status_code == 201 for answer in answers) == 1
    for answer in answers:
        if answer.status_code == 409:
            problem(answer, 409, "in-flight")
            assert answer.headers["retry-after"]
    assert len((await served.get("/api/v1/runs"))["runs"]) == 1


@pytest.mark.req("API-1.idempotency-key")
async def test_two_different_keys_in_one_request_are_refused(served: Served) -> None:
    body = {"flow": GREET, "inputs": {"name": "Ada"}, "idempotency_key": "a"}
    problem(await served.client.post("/api/v1/runs", json=body, headers={"idempotency-key": "b"}), 400, "bad-body")
    answer = await served.client.post("/api/v1/runs", json={"flow": GREET}, headers={"idempotency-key": "k" * 256})
    problem(answer, 400, "bad-body")


@pytest.mark.req("API-1.idempotency-key")
async def test_a_key_may_be_used_anew_after_a_day() -> None:
    clock = ShiftedClock()
    async with serve(clock=clock) as served:
        body = {"flow": GREET, "inputs": {"name": "Ada"}, "idempotency_key": "daily"}
        first = await served.client.post("/api/v1/runs", json=body)
        clock.shift_ms += 23 * 3_600_000
        again = await served.client.post("/api/v1/runs", json=body)
        assert again.json() == {"run_id": first.json()["run_id"], "status": "succeeded", "repeated": True}
        clock.shift_ms += 2 * 3_600_000
        later = await served.client.post("/api/v1/runs", json=body)
        assert later.status_code == 201
        assert later.json()["run_id"] != first.json()["run_id"]


# ---------------------------------------------------------------- when the journal is damaged


@pytest.mark.req("DUR-6.api")
async def test_a_run_whose_journal_does_not_fold_is_told_with_its_last_valid_event(served: Served) -> None:
    run_id = await served.start(WAIT)
    await served.until(run_id, "waiting")
    record = await served.host.engine.record(run_id)
    state = await served.host.engine.state(record)
    impossible = ev.RunResumed()
    row = JournalRow(state.seq, impossible.KIND, -1, served.host.engine.now(), ev.encode(impossible))
    head = RunHead(status="quarantined", started_at=record.started_at, error="its journal does not fold")
    kept: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    served.host.store.commit(
        Commit(run_key=record.key, rows=[row], head=head),
        lambda _, error: kept.set_result(None) if error is None else kept.set_exception(error),
    )
    await kept
    for path in ("", "/logs", "/why", "/callbacks"):
        found = problem(await served.client.get(f"/api/v1/runs/{run_id}{path}"), 500, "run-quarantined")
        assert found["last_valid_event"] == state.seq - 1
        assert found["run_id"] == run_id
    problem(await served.client.get(f"/v1/runs/{run_id}"), 500, "run-quarantined")
    assert (await served.get("/api/v1/runs"))["runs"][0]["status"] == "quarantined"


BOOKED = """\
flow: booked
steps:
  - flight: {set: {booking: F-1}, compensate: [{no_flight: {log: "cancelled {{ output.booking }}"}}]}
  - pay: {log: paid}
"""


@pytest.mark.req("BAR-10.undo")
async def test_a_run_that_ended_well_is_undone_and_a_preview_says_what_that_does(served: Served) -> None:
    run_id = await served.start(BOOKED)
    await served.until(run_id, "succeeded")
    base = f"/api/v1/runs/{run_id}"
    assert await served.get(f"{base}/undo") == {"undone_by": ["flight"], "done": [], "kept": [], "unknown": []}
    answer = await served.client.post(f"{base}/undo", json={"reason": "a mistake"})
    assert answer.status_code == 202
    view = await served.until(run_id, "cancelled")
    assert view["reason"] == "cancelled: a mistake; undone: `flight`"
    problem(await served.client.post(f"{base}/undo"), 409, "conflict")
    problem(await served.client.post("/api/v1/runs/run_unknown/undo"), 404, "not-found")


TALLY = """\
flow: tally
version: "1"
steps:
  - first: {set: {n: "{{ inputs.n }}"}}
  - second: {map: {value: "{{ vars.n + 1 }}"}}
  - third: {map: {value: "{{ second.value + 1 }}"}}
"""


@pytest.mark.req("DUR-3.doors", "DUR-2.past")
async def test_a_run_is_rewound_replayed_forked_and_shown_as_it_was(served: Served) -> None:
    run_id = await served.start(TALLY, {"n": 1})
    await served.until(run_id, "succeeded")
    base, client = f"/api/v1/runs/{run_id}", served.client
    answer = await client.post(f"{base}/rewind", json={"to": ["second"], "reason": "to see"})
    assert answer.status_code == 202
    view = await served.until(run_id, "succeeded")
    assert view["outputs"] == {"value": 3}
    assert "rewound to `second` at" in view["reason"]
    assert "by the API (to see): 2 steps taken back" in view["reason"]
    problem(await client.post(f"{base}/rewind", json={"to": ["none"]}), 404, "not-found")
    problem(await client.post(f"{base}/rewind", json={"to": []}), 422, "invalid-request")
    problem(await client.post(f"{base}/retry"), 409, "conflict")
    problem(await client.post(f"{base}/rollback"), 409, "conflict")

    made = (await client.post(f"{base}/replay", json={"from": ["third"], "outputs": {"second": {"value": 40}}})).json()
    assert (made["kept"], made["not_kept"]) == (2, [])
    replayed = await served.until(made["run_id"], "succeeded")
    assert (replayed["outputs"], replayed["origin"]["run_id"], replayed["trigger"]) == ({"value": 41}, run_id, "replay")
    newer = TALLY.replace('"1"', '"2"').replace("second: {map", "second: {set").replace("value + 1", "value * 10")
    answer = await client.post(f"{base}/fork", json={"at": view["last_event"], "flow": newer, "inputs": {"n": 5}})
    assert answer.status_code == 201
    assert answer.headers["location"] == f"/api/v1/runs/{answer.json()['run_id']}"
    assert [one["step"] for one in answer.json()["not_kept"]] == ["second"]
    both = await client.post(f"{base}/fork", json={"flow": newer, "version": "latest"})
    problem(both, 422, "invalid-request")

    past = await served.get(f"{base}?at=1")
    assert (past["last_event"], past["status"]) == (1, "running")
    problem(await client.get(f"{base}?at=999"), 409, "conflict")
    problem(await client.post("/api/v1/runs/run_unknown/replay"), 404, "not-found")


@pytest.mark.req("DUR-6.rollback")
async def test_a_damaged_run_tells_its_last_valid_event_and_is_rolled_back_to_it(served: Served) -> None:
    run_id = await served.start(TALLY, {"n": 1})
    await served.until(run_id, "succeeded")
    engine = served.host.engine
    record = await engine.record(run_id)
    rows = await engine.store.load_journal(record.key)
    damaged = JournalRow(len(rows), 9_999, -1, rows[-1].at, b"?")
    done = asyncio.get_running_loop().create_future()
    engine.store.commit(Commit(run_key=record.key, rows=[damaged]), lambda _, error: done.set_result(error))
    assert await done is None
    found = problem(await served.client.get(f"/api/v1/runs/{run_id}"), 500, "run-quarantined")
    assert found["last_valid_event"] == len(rows) - 1
    rolled = (await served.client.post(f"/api/v1/runs/{run_id}/rollback")).json()
    assert (rolled["set_aside"], rolled["last_valid_event"]) == (1, len(rows) - 1)
    assert (await served.get(f"/api/v1/runs/{run_id}"))["outputs"] == {"value": 3}


@pytest.mark.req("TIME-6.api")
async def test_a_run_can_begin_later(served: Served) -> None:
    run_id = await served.start(GREET, {"name": "Ada"}, start_in="2h")
    shown = await served.show(run_id)
    assert shown["status"] == "queued"
    assert shown["reason"].startswith("accepted and kept: it begins at")
    soon = await served.start(GREET, {"name": "Ada"}, start_in="50ms")
    assert (await served.until(soon))["status"] == "succeeded"
    past = await served.start(GREET, {"name": "Ada"}, start_at="2000-01-01T00:00:00Z")
    assert (await served.until(past))["status"] == "succeeded"
    for wrong in ({"start_in": "5"}, {"start_at": "tomorrow"}, {"start_in": "1h", "start_at": "2030-01-01T00:00:00Z"}):
        answer = await served.client.post("/api/v1/runs", json={"flow": GREET, "inputs": {"name": "Ada"}, **wrong})
        assert answer.status_code == 400
        assert "when the run is to begin" in answer.text or "not both" in answer.text


@pytest.mark.req("EXEC-5.on-full")
async def test_a_start_that_a_limit_refuses_is_told_as_429(served: Served) -> None:
    flow = WAIT.replace("steps:", "limits: {concurrency: 1, on_full: reject}\nsteps:")
    run_id = await served.start(flow)
    answer = await served.client.post("/api/v1/runs", json={"flow": flow})
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) > 0
    told = answer.json()
    assert told["type"] == "urn:segue:problem:limit-reached"
    assert "1 of 1 slots of `waiting` are taken" in told["detail"]
    await served.client.post(f"/api/v1/runs/{run_id}/cancel")
    await served.until(run_id)
    await served.start(flow)


@pytest.mark.req("API-5.wait", "TRIG-1.answer")
async def test_who_waits_for_an_answer_is_not_left_without_one_when_the_server_stops() -> None:
    """Found by fuzzing: it was told as a mistake of ours (500)."""
    async with serve() as served:
        flow = {"flow": "w", "steps": [{"a": {"wait": {"callback": {"expires": "1h"}}}}]}
        asked = asyncio.create_task(served.client.post("/api/v1/runs?wait=60", json={"flow": flow}))
        streams = served.app.state.streams
        await has_begun(lambda: streams.is_waited_for)
        streams.stop()
        answer = await asyncio.wait_for(asked, 10)
        assert answer.status_code == 202, answer.text
        assert answer.headers["location"] == f"/api/v1/runs/{answer.json()['run_id']}"
