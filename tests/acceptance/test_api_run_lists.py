"""Runs in numbers: found by what they are, told together, and looked into."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from acceptance.api_support import Served, problem, serve

pytestmark = pytest.mark.anyio

OK = "flow: good\nversion: 1.0.0\nsteps:\n  - one: {set: {n: $inputs.n}}\ninputs: {n: {type: integer, default: 1}}\n"
NEWER = OK.replace("1.0.0", "2.0.0").replace("{n: $inputs.n}", "{n: '{{ inputs.n + 1 }}', more: [1, 2]}")
BAD = "flow: bad\nsteps:\n  - one: {fail: {code: broken, message: The printer is on fire}}\n"
WAIT = "flow: waits\nsteps:\n  - answer: {wait: {callback: {expires: 1h}}}\n"


@pytest.fixture(params=["memory", "sqlite"])
async def served(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Served]:
    async with serve("memory:" if request.param == "memory" else f"sqlite:///{tmp_path / 'runs.db'}") as found:
        yield found


async def ended(served: Served, flow: str, **inputs: Any) -> str:
    run_id = await served.start(flow, inputs)
    await served.until(run_id)
    return run_id


@pytest.mark.req("UI-5.filters", "API-1.pagination")
async def test_runs_are_found_by_version_time_error_and_id(served: Served) -> None:
    first, second, bad = await ended(served, OK), await ended(served, NEWER), await ended(served, BAD)

    async def ids(query: str) -> list[str]:
        return [run["id"] for run in (await served.get(f"/api/v1/runs?{query}"))["runs"]]

    assert await ids("flow=good&version=2.0.0") == [second]
    assert await ids("q=PRINTER") == [bad]
    assert await ids(f"q={first}") == [first]
    assert await ids(f"q={first[:14]}") != []
    assert await ids("trigger=api&status=succeeded") == [second, first]
    assert await ids("trigger=schedule") == []
    assert await ids("sort=created_at") == [first, second, bad]
    assert await ids("until=2020-01-01T00:00:00Z") == []
    assert await ids("since=2020-01-01T00:00:00Z&flow=bad") == [bad]
    page = await served.get("/api/v1/runs?sort=created_at&limit=2")
    assert [run["id"] for run in page["runs"]] == [first, second]
    assert await ids(f"sort=created_at&limit=2&cursor={page['next_cursor']}") == [bad]


@pytest.mark.req("API-1.errors")
@pytest.mark.parametrize(
    ("query", "field"), [("version=1", "version"), ("since=yesterday", "since"), ("status=ok", "status")]
)
async def test_a_filter_that_cannot_be_is_named(served: Served, query: str, field: str) -> None:
    found = problem(await served.client.get(f"/api/v1/runs?{query}"), 422, "invalid-request")
    assert [one["path"] for one in found["errors"]] == [field]


@pytest.mark.req("DUR-4.bulk")
async def test_many_runs_are_cancelled_by_filter_page_by_page_and_once(served: Served) -> None:
    waiting = [await served.start(WAIT) for _ in range(5)]
    for run_id in waiting:
        await served.until(run_id, "waiting")
    other = await ended(served, OK)
    body = {"action": "cancel", "where": {"flow": "waits"}, "limit": 2, "reason": "tidying up"}

    async def bulk(**more: Any) -> Any:
        answer = await served.client.post("/api/v1/runs/bulk", json={**body, **more})
        assert answer.status_code == 200, answer.text
        return answer.json()

    counted = await bulk(dry_run=True)
    assert (counted["count"], counted["more"], counted["outcomes"]) == (5, False, [])
    done, cursor = [], None
    while True:
        page = await bulk(**({} if cursor is None else {"cursor": cursor}))
        assert page["count"] <= 2
        done += [(one["run_id"], one["outcome"]) for one in page["outcomes"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert done == [(run_id, "done") for run_id in waiting]
    again = await bulk(where={"flow": "waits", "status": ["cancelled"]}, limit=10)
    assert {one["outcome"] for one in again["outcomes"]} == {"unchanged"}
    assert (await served.show(waiting[0]))["status"] == "cancelled"
    assert (await served.show(other))["status"] == "succeeded"


@pytest.mark.req("DUR-4.bulk", "DUR-3.bulk")
async def test_bulk_tells_for_each_run_what_became_of_it(served: Served) -> None:
    bad, good = await ended(served, BAD), await ended(served, OK)
    answer = await served.client.post(
        "/api/v1/runs/bulk", json={"action": "cancel", "where": {"status": ["failed", "succeeded"]}}
    )
    outcomes = {one["run_id"]: one for one in answer.json()["outcomes"]}
    assert {run_id: one["outcome"] for run_id, one in outcomes.items()} == {bad: "refused", good: "refused"}
    assert "is over already" in outcomes[bad]["reason"]
    retried = await served.client.post("/api/v1/runs/bulk", json={"action": "retry", "where": {"flow": "bad"}})
    assert [one["outcome"] for one in retried.json()["outcomes"]] == ["done"]
    problem(await served.client.post("/api/v1/runs/bulk", json={"action": "cancel"}), 422, "invalid-request")


@pytest.mark.req("BAR-19.first-difference", "BAR-19.fields")
async def test_two_runs_are_compared_field_by_field(served: Served) -> None:
    first, same, other = await ended(served, OK), await ended(served, OK), await ended(served, NEWER)
    alike = await served.get(f"/api/v1/runs/{first}/compare/{same}")
    assert (alike["same"], alike["first_difference"], alike["same_version"]) == (True, None, True)
    found = await served.get(f"/api/v1/runs/{first}/compare/{other}")
    assert (found["same"], found["same_version"], found["first_difference"]) == (False, False, "one")
    assert found["steps"][0]["output"] == [
        {"path": "n", "kind": "changed", "a": 1, "b": 2},
        {"path": "more", "kind": "only_in_b", "a": None, "b": [1, 2]},
    ]
    assert found["steps"][0]["a_ms"] is not None
    problem(await served.client.get(f"/api/v1/runs/{first}/compare/run_none"), 404, "not-found")


SECRET = """\
flow: secretive
secrets: {token: {from: "env:CANARY_OF_THE_TEST"}}
steps:
  - one: {set: {city: Paris, password: "hush"}}
  - two: {log: "for {{ data.city }}"}
  - three: {http: {method: GET, url: "$inputs.url", headers: {authorization: "Bearer {{ secrets.token }}"}}}
inputs: {url: string}
"""


@pytest.mark.req("UI-5.data", "ACC-4.canary")
async def test_a_step_shows_what_went_in_and_out_but_no_secret(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY_OF_THE_TEST", "canary-5f1c9e77")
    run_id = await served.start(SECRET, {"url": f"{served.url}/health/live"})
    await served.until(run_id)
    one = await served.get(f"/api/v1/runs/{run_id}/steps/one")
    assert one["output"] == {"city": "Paris", "password": "***"}
    assert one["data"] == {"url": f"{served.url}/health/live"}
    two = await served.get(f"/api/v1/runs/{run_id}/steps/two")
    assert two["data"] == {"city": "Paris", "password": "***"}
    three = await served.get(f"/api/v1/runs/{run_id}/steps/three")
    assert three["params"]["method"] == "GET"
    assert three["params"]["headers"] == {"authorization": "***"}
    journal = await served.get(f"/api/v1/runs/{run_id}/journal?limit=1000")
    assert "canary-5f1c9e77" not in str([one, two, three, journal])
    problem(await served.client.get(f"/api/v1/runs/{run_id}/steps/none"), 404, "not-found")


@pytest.mark.req("DUR-2.journal")
async def test_the_journal_is_read_in_pages(served: Served) -> None:
    run_id = await ended(served, OK)
    whole = await served.get(f"/api/v1/runs/{run_id}/journal")
    assert [event["seq"] for event in whole["events"]] == list(range(len(whole["events"])))
    assert whole["events"][0]["kind"] == "RunAccepted"
    assert "seed" not in whole["events"][0]["data"]
    assert whole["next_after"] is None
    seen, after = [], -1
    while after is not None:
        page = await served.get(f"/api/v1/runs/{run_id}/journal?limit=2&after={after}")
        seen += page["events"]
        after = page["next_after"]
    assert seen == whole["events"]


@pytest.mark.req("EXEC-7.children")
async def test_sub_flows_stand_under_the_run_that_started_them(tmp_path: Path) -> None:
    (tmp_path / "inner.yaml").write_text("flow: inner\nsteps:\n  - a: {log: x}\n")
    outer = "flow: outer\nsteps:\n  - down: {flow: inner}\n"
    async with serve(folders=(tmp_path,)) as served:
        served.host.library.add_folder(tmp_path)
        run_id = await served.start(outer)
        view = await served.until(run_id)
        assert view["status"] == "succeeded", view
        children = (await served.get(f"/api/v1/runs/{run_id}/children"))["runs"]
        assert [(one["flow"], one["parent"]) for one in children] == [("inner", run_id)]
        assert children[0]["id"] == view["steps"][0]["child"]
