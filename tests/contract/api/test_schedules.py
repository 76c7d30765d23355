"""Schedules, events and chained flows over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path

import pytest

from acceptance.api_support import Served, problem, serve

pytestmark = [pytest.mark.anyio]

FLOWS = {
    "report": """
flow: report
trigger: {cron: "0 9 * * 1-5", timezone: Europe/Berlin, overlap: skip}
steps: [{say: {set: {kind: $trigger.kind}}}]
outputs: $say.kind
""",
    "paid": """
flow: paid
trigger: {event: order.paid, when: $data.total > 10}
inputs: {total: integer}
steps: [{say: {set: {total: $inputs.total}}}]
outputs: {total: $say.total}
""",
    "after": """
flow: after
trigger: {flow: paid, inputs: {total: $data.total}}
inputs: {total: integer}
steps: [{say: {set: {total: $inputs.total}}}]
outputs: $say.total
""",
}


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    (folder := tmp_path / "flows").mkdir()
    for name, text in FLOWS.items():
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    async with serve(f"sqlite:///{tmp_path / 'x.db'}", folders=(folder,)) as made:
        yield made


@pytest.mark.req("TIME-5.api")
async def test_a_declared_schedule_is_shown_paused_and_run_by_hand(served: Served) -> None:
    (schedule,) = (await served.get("/api/v1/schedules"))["schedules"]
    assert (schedule["flow"], schedule["paused"], schedule["says"]) == ("report", False, "0 9 * * 1-5 (Europe/Berlin)")
    path = f"/api/v1/schedules/{schedule['id']}"
    coming = await served.get(f"{path}/next?count=8")
    local = [datetime.fromisoformat(one) for one in coming["times"]]
    assert [(one.hour, one.minute) for one in local] == [(9, 0)] * 8
    assert all(one.isoweekday() <= 5 for one in local)
    assert schedule["next_at"] == coming["utc"][0]

    paused = await served.client.patch(path, json={"paused": True})
    assert (paused.json()["paused"], paused.json()["next_at"]) == (True, None)
    started = await served.client.post(f"{path}/run")
    assert started.status_code == 201, started.text
    run = await served.until(started.json()["run_id"])
    assert run["outputs"] == "cron"
    (fire,) = (await served.get(f"{path}/fires"))["fires"]
    assert (fire["outcome"], fire["run_id"]) == ("manual", run["id"])
    problem(await served.client.delete(path), 409, "conflict")


@pytest.mark.req("TIME-5.api", "TIME-6.once")
async def test_a_schedule_can_be_made_and_starts_by_itself(served: Served) -> None:
    made = await served.client.post("/api/v1/schedules", json={"flow": "report", "every": "1s", "name": "often"})
    assert made.status_code == 201, made.text
    path = f"/api/v1/schedules/{made.json()['id']}"
    fires: list[dict[str, str]] = []
    async with asyncio.timeout(15):
        while not fires:
            fires = (await served.get(f"{path}/fires"))["fires"]
    run_id = fires[-1]["run_id"]
    assert (await served.until(run_id))["status"] == "succeeded"
    assert (await served.client.delete(path)).status_code == 204
    problem(await served.client.get(path), 404, "not-found")
    problem(await served.client.post("/api/v1/schedules", json={"flow": "report"}), 400, "bad-request")
    for bad in (
        {"cron": "61 * * * *"},
        {"at": "soon"},
        {"every": "1h", "timezone": "UTC"},
        {"every": "1h", "until": "x"},
    ):
        problem(await served.client.post("/api/v1/schedules", json={"flow": "report", **bad}), 422, "invalid-flow")
    past = {"flow": "report", "at": "2020-01-01T00:00:00Z"}
    problem(await served.client.post("/api/v1/schedules", json=past), 400, "bad-request")
    bounded = {"every": "1h", "from": "2027-06-01T00:00:00Z", "until": "2030-01-01T00:00:00Z", "jitter": "1m"}
    made = (await served.client.post("/api/v1/schedules", json={"flow": "report", **bounded})).json()
    assert made["settings"] == bounded
    problem(await served.client.post("/api/v1/schedules", json={"flow": "none", "every": "1h"}), 404, "not-found")


@pytest.mark.req("TRIG-2.events", "EXEC-7.chaining")
async def test_an_event_starts_a_flow_and_its_end_starts_another(served: Served) -> None:
    for total in (5, 50):
        sent = await served.client.post("/api/v1/events", json={"event": "order.paid", "data": {"total": total}})
        assert sent.status_code == 202

    found: list[dict[str, str]] = []
    async with asyncio.timeout(15):
        while not found:
            found = (await served.get("/api/v1/runs?flow=after"))["runs"]
    run = await served.until(found[0]["id"])
    (paid,) = (await served.get("/api/v1/runs?flow=paid"))["runs"]
    assert run["outputs"] == 50
    assert found[0]["trigger"] == "flow"
    assert paid["trigger"] == "event"
