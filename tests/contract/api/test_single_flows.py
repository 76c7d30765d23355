"""A key for single flows: each list has just what is of them, and nothing else is reached, whatever the way."""

from __future__ import annotations

import asyncio
import io
import zipfile
from collections.abc import AsyncGenerator
from typing import Any

import httpx2
import msgspec
import pytest
from websockets.asyncio.client import connect

from acceptance.api_support import Served, problem, serve

pytestmark = pytest.mark.anyio

MINE, OTHER = "mine", "other"
FLOW = """
flow: {0}
tags: [of-{0}, shared]
trigger: {{webhook: {{auth: none, methods: [POST]}}}}
steps: [{{answer: {{wait: {{callback: {{expires: 1h, correlate: same}}}}}}}}]
"""
ALL = [f"{resource}:{action}" for resource in ("flow", "run") for action in ("read", "create", "update", "execute")]


class Two:
    """Two flows, a run, a schedule and a delivery of each; and a program that is for one of them only."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.runs: dict[str, str] = {}
        self.schedules: dict[str, str] = {}
        self.deliveries: dict[str, str] = {}
        self.program: httpx2.AsyncClient

    async def make(self) -> None:
        post = self.served.client.post
        for flow in (MINE, OTHER):
            await post("/api/v1/flows", json={"text": FLOW.format(flow)})
            number = (await post(f"/api/v1/flows/{flow}/versions", json={})).json()["number"]
            await post(f"/api/v1/flows/{flow}/versions/{number}/publish", json={})
            made = await post("/api/v1/schedules", json={"flow": flow, "every": "1h"})
            self.schedules[flow] = made.json()["id"]
            self.runs[flow] = (await post("/api/v1/runs", json={"flow_id": flow})).json()["run_id"]
            await self.served.until(self.runs[flow], "waiting")
            triggers = (await self.served.get(f"/api/v1/triggers?flow={flow}&kind=webhook"))["triggers"]
            taken = await post(triggers[0]["address"], json={})
            self.deliveries[flow] = taken.json()["delivery_id"]
            await self.served.client.post(f"/api/v1/runs/{taken.json()['run_id']}/cancel")
            await self.served.until(taken.json()["run_id"], "cancelled")
        self.program = await self.key()

    async def key(self, *permissions: str, flows: tuple[str, ...] = (MINE,)) -> httpx2.AsyncClient:
        body = {"name": "one flow", "permissions": list(permissions) or ALL, "flows": list(flows)}
        made = await self.served.client.post("/api/v1/keys", json=body)
        return self.served.anyone(authorization=f"Bearer {made.json()['token']}")

    async def get(self, path: str) -> Any:
        answer = await self.program.get(path)
        assert answer.status_code == 200, f"{path}: {answer.text}"
        return answer.json()


@pytest.fixture
async def two() -> AsyncGenerator[Two]:
    async with serve() as served:
        made = Two(served)
        await made.make()
        async with made.program:
            yield made


@pytest.mark.req("ACC-2.single-flows")
@pytest.mark.parametrize(
    ("path", "field", "of"),
    [
        ("/api/v1/runs", "runs", "flow"), ("/api/v1/runs?status=waiting,cancelled", "runs", "flow"),
        ("/api/v1/runs?since=2020-01-01T00:00:00Z", "runs", "flow"), ("/api/v1/flows", "flows", "id"),
        ("/api/v1/flows?q=shared", "flows", "id"), ("/api/v1/flows?q=answer", "flows", "id"),
        ("/api/v1/flows?tag=shared", "flows", "id"), ("/api/v1/triggers", "triggers", "flow"),
        ("/api/v1/schedules", "schedules", "flow"), ("/api/v1/deliveries", "deliveries", "flow"),
        ("/api/v1/orchestrator", None, "id"),
    ],
)  # fmt: skip
async def test_a_list_has_what_is_of_its_flows(two: Two, path: str, field: str | None, of: str) -> None:
    async def flows(client: httpx2.AsyncClient) -> list[str]:
        found = (await client.get(path)).json()
        return [one[of] for one in (found if field is None else found[field])]

    assert set(await flows(two.served.client)) == {MINE, OTHER}
    assert set(await flows(two.program)) == {MINE}


@pytest.mark.req("ACC-2.single-flows")
@pytest.mark.parametrize("path", ["/api/v1/runs", "/api/v1/triggers", "/api/v1/schedules"])
async def test_a_list_of_one_flow_is_refused_only_for_another_flow(two: Two, path: str) -> None:
    assert (await two.get(f"{path}?flow={MINE}")) != {}
    problem(await two.program.get(f"{path}?flow={OTHER}"), 403, "forbidden")
    problem(await two.program.get(f"{path}?flow=none"), 403, "forbidden")


@pytest.mark.req("ACC-2.single-flows")
async def test_pages_of_a_list_are_whole(two: Two) -> None:
    for _ in range(3):
        for flow in (MINE, OTHER):
            await two.served.start(FLOW.format(flow))
    seen: list[str] = []
    path = "/api/v1/runs?limit=2"
    while path:
        page = await two.get(path)
        assert {run["flow"] for run in page["runs"]} == {MINE}
        seen += [run["id"] for run in page["runs"]]
        path = f"/api/v1/runs?limit=2&cursor={page['next_cursor']}" if page["next_cursor"] else ""
    assert len(seen) == len(set(seen)) == 5


@pytest.mark.req("ACC-2.single-flows")
async def test_tags_and_exports_are_of_its_flows(two: Two) -> None:
    assert (await two.get("/api/v1/flow-tags"))["tags"] == [
        {"tag": "of-mine", "flows": 1}, {"tag": "shared", "flows": 1},
    ]  # fmt: skip
    archive = zipfile.ZipFile(io.BytesIO((await two.program.get("/api/v1/flow-export")).content))
    assert archive.namelist() == ["mine.yaml"]
    problem(await two.program.get(f"/api/v1/flow-export?id={OTHER}"), 403, "forbidden")


@pytest.mark.req("ACC-2.single-flows")
async def test_one_thing_is_refused_by_its_flow(two: Two) -> None:
    for path in (
        f"/api/v1/runs/{{{0}}}", f"/api/v1/runs/{{{0}}}/logs", f"/api/v1/runs/{{{0}}}/callbacks",
        f"/api/v1/schedules/{{{1}}}", f"/api/v1/schedules/{{{1}}}/fires", f"/api/v1/deliveries/{{{2}}}",
        f"/api/v1/runs/{two.runs[MINE]}/compare/{{{0}}}",
    ):  # fmt: skip
        mine, other = (
            path.replace("{0}", two.runs[flow]).replace("{1}", two.schedules[flow]).replace("{2}", two.deliveries[flow])
            for flow in (MINE, OTHER)
        )
        assert (await two.program.get(mine)).status_code == 200, mine
        problem(await two.program.get(other), 403, "forbidden")
    problem(await two.program.post(f"/api/v1/schedules/{two.schedules[OTHER]}/run"), 403, "forbidden")
    assert (await two.program.post(f"/api/v1/schedules/{two.schedules[MINE]}/run")).status_code == 201
    problem(await two.program.post(f"/api/v1/deliveries/{two.deliveries[OTHER]}/replay"), 403, "forbidden")
    assert (await two.program.post(f"/api/v1/deliveries/{two.deliveries[MINE]}/replay")).status_code == 201
    for path in ("/api/v1/schedules", "/api/v1/triggers"):
        body = {"every": "2h"} if path.endswith("schedules") else {"kind": "event", "settings": {"event": "x"}}
        problem(await two.program.post(path, json={"flow": OTHER, **body}), 403, "forbidden")
        assert (await two.program.post(path, json={"flow": MINE, **body})).status_code == 201


@pytest.mark.req("ACC-2.single-flows")
async def test_a_bulk_operation_reaches_runs_of_its_flows(two: Two) -> None:
    counted = await two.program.post("/api/v1/runs/bulk", json={"action": "cancel", "where": {}, "dry_run": True})
    assert counted.json()["count"] == 1
    refused = await two.program.post("/api/v1/runs/bulk", json={"action": "cancel", "where": {"flow": OTHER}})
    problem(refused, 403, "forbidden")
    done = await two.program.post("/api/v1/runs/bulk", json={"action": "cancel", "where": {}})
    assert [one["run_id"] for one in done.json()["outcomes"]] == [two.runs[MINE]]
    assert (await two.served.show(two.runs[OTHER]))["status"] == "waiting"


@pytest.mark.req("ACC-2.single-flows")
async def test_it_starts_its_flows_and_no_text_of_its_own(two: Two) -> None:
    assert (await two.program.post("/api/v1/runs", json={"flow_id": MINE})).status_code == 201
    for body in ({"flow_id": OTHER}, {"flow": FLOW.format(MINE)}):
        problem(await two.program.post("/api/v1/runs", json=body), 403, "forbidden")
        problem(await two.program.post("/api/v1/runs?wait=0", json=body), 403, "forbidden")
        for kind in ("replay", "fork"):
            problem(await two.program.post(f"/api/v1/runs/{two.runs[MINE]}/{kind}", json=body), 403, "forbidden")
    problem(await two.program.post("/v1/runs", json={"graph": {"nodes": [], "edges": []}}), 403, "forbidden")
    problem(await two.program.post(f"/api/v1/flows/{MINE}/clone", json={"id": "third"}), 403, "forbidden")
    problem(await two.program.post(f"/api/v1/flows/{MINE}/clone"), 403, "forbidden")
    problem(await two.program.post("/api/v1/events", json={"event": "x"}), 403, "forbidden")


@pytest.mark.req("ACC-2.single-flows")
async def test_who_may_change_runs_starts_no_other_flow_by_changing_them(two: Two) -> None:
    made = await two.served.client.post("/api/v1/keys", json={"name": "mender", "permissions": ["run:update"]})
    async with two.served.anyone(authorization=f"Bearer {made.json()['token']}") as mender:
        path = f"/api/v1/runs/{two.runs[MINE]}/replay"
        problem(await mender.post(path, json={"flow": "flow: any\nsteps: [{log: x}]"}), 403, "forbidden")
        problem(await mender.post(path, json={"flow_id": OTHER}), 403, "forbidden")
        assert (await mender.post(path)).status_code == 201


@pytest.mark.req("ACC-2.single-flows")
async def test_a_callback_by_correlation_is_found_among_its_flows(two: Two) -> None:
    path = "/api/v1/callbacks?correlate=same"
    problem(await two.served.client.post(path, json=1), 409, "conflict")
    problem(await two.program.post(f"{path}&flow={OTHER}", json=1), 403, "forbidden")
    taken = await two.program.post(path, json=1)
    assert taken.status_code == 200, taken.text
    assert taken.json()["runId"] == two.runs[MINE]
    problem(await two.program.post(path, json=1), 404, "not-found")
    token = (await two.served.callback_url(two.runs[OTHER])).rpartition("/")[2]
    zap = await two.program.post("/api/v1/orchestrator/providers/zapier/callback", json={"token": token, "data": 1})
    problem(zap, 403, "forbidden")


@pytest.mark.req("ACC-2.single-flows", "API-6.many")
async def test_a_live_list_tells_of_its_flows(two: Two) -> None:
    headers = {"authorization": two.program.headers["authorization"]}
    url = f"ws://127.0.0.1:{two.served.port}/api/v1/live"
    async with connect(url, proxy=None, additional_headers=headers) as live, asyncio.timeout(10):
        begun = msgspec.json.decode(await live.recv())
        assert {run["flow"] for run in begun["data"]} == {MINE}
        await two.served.client.post(f"/api/v1/runs/{two.runs[OTHER]}/cancel")
        await two.served.client.post(f"/api/v1/runs/{two.runs[MINE]}/cancel")
        while (told := msgspec.json.decode(await live.recv()))["data"]["id"] != two.runs[MINE]:
            assert told["data"]["flow"] == MINE


@pytest.mark.req("ACC-2.single-flows")
async def test_a_key_of_flows_that_are_not_there_sees_empty_lists_and_one_without_the_right_is_refused(
    two: Two,
) -> None:
    async with await two.key(flows=("none",)) as nothing, await two.key("run:create") as blind:
        for path, field in (("/api/v1/runs", "runs"), ("/api/v1/flows", "flows"), ("/api/v1/deliveries", "deliveries")):
            assert (await nothing.get(path)).json()[field] == []
            problem(await blind.get(path), 403, "forbidden")
