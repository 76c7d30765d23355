"""Labels and metadata of runs, and searching for runs by what they failed with. Over HTTP."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import pytest

from acceptance.api_support import Served, problem, serve

pytestmark = pytest.mark.anyio

FINE: Final = "flow: fine\nsteps: [{log: hi}]\n"
BAD: Final = "flow: bad\ninputs: {why: string}\nsteps:\n  - {fail: {code: no, message: '{{ inputs.why }}'}}\n"


@pytest.fixture(params=["file", "memory"])
async def served(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Served]:
    async with serve("memory:" if request.param == "memory" else f"sqlite:///{tmp_path / 'x.db'}") as found:
        yield found


async def ids(served: Served, query: str) -> list[str]:
    """The runs of a list, read in pages of two."""
    found: list[str] = []
    cursor = ""
    while True:
        page = await served.get(f"/api/v1/runs?limit=2&{query}{cursor}")
        found += [run["id"] for run in page["runs"]]
        if page["next_cursor"] is None:
            return found
        cursor = f"&cursor={page['next_cursor']}"


@pytest.mark.req("API-2.metadata", "EXEC-6.labels")
async def test_a_run_is_found_by_its_labels_and_shows_its_metadata(served: Served) -> None:
    made: list[str] = []
    for number in range(5):
        labels = {"team": "a" if number % 2 else "b", "env": "prod"}
        metadata = {"ticket": number, "password": "hunter22"}
        made.append(await served.start(FINE, labels=labels, metadata=metadata))
    made.append(await served.start(FINE))
    for run_id in made:
        await served.until(run_id)
    newest = made[::-1]
    assert await ids(served, "label=env:prod") == newest[1:]
    assert await ids(served, "label=team:a") == [newest[2], newest[4]]
    assert await ids(served, "label=team:a&label=env:prod&sort=created_at") == [made[1], made[3]]
    assert await ids(served, "label=team:a&label=env:test") == []
    assert await ids(served, "label=team%3Aa&status=succeeded&flow=fine&trigger=api") == [newest[2], newest[4]]
    assert await ids(served, "label=team:a&status=failed") == []
    assert await ids(served, f"label=team:a&q={made[1]}") == [made[1]]
    shown = await served.show(made[1])
    assert (shown["labels"], shown["metadata"]) == ({"team": "a", "env": "prod"}, {"ticket": 1, "password": "***"})
    assert (await served.get(f"/api/v1/runs/{made[1]}?at=0"))["labels"] == {"team": "a", "env": "prod"}
    listed = {run["id"]: run["labels"] for run in (await served.get("/api/v1/runs"))["runs"]}
    assert (listed[made[0]], listed[made[5]]) == ({"team": "b", "env": "prod"}, {})


@pytest.mark.req("EXEC-6.labels")
async def test_labels_that_cannot_be_are_told_with_their_place(served: Served) -> None:
    async def errors(**body: Any) -> list[str]:
        answer = await served.client.post("/api/v1/runs", json={"flow": FINE, **body})
        return [one["path"] for one in problem(answer, 422, answer.json()["type"].rpartition(":")[2])["errors"]]

    assert await errors(labels={"a b": "x", "ok": ""}) == ["labels.a b", "labels.ok"]
    assert await errors(labels={"a": "x" * 201}) == ["labels.a"]
    assert await errors(labels={f"l{number}": "x" for number in range(33)}) == ["labels"]
    assert await errors(labels={"a": 1}) == ["labels.a"]
    assert await errors(metadata={"a": "x" * 17_000}) == ["metadata"]
    for query in ("label=x", "label=:x", "label=a b:c", "&".join(f"label=l{number}:x" for number in range(33))):
        answer = await served.client.get(f"/api/v1/runs?{query}")
        assert problem(answer, 422, answer.json()["type"].rpartition(":")[2])
    assert await ids(served, "label=a%3A%22%27%25%3A") == []


@pytest.mark.req("EXEC-6.labels", "API-1.idempotency")
async def test_labels_belong_to_what_makes_two_requests_the_same(served: Served) -> None:
    body = {"flow": FINE, "labels": {"a": "b"}, "idempotency_key": "k"}
    first = (await served.client.post("/api/v1/runs", json=body)).json()
    again = (await served.client.post("/api/v1/runs", json=body)).json()
    assert (again["run_id"], again["repeated"]) == (first["run_id"], True)
    other = await served.client.post("/api/v1/runs", json={**body, "labels": {"a": "c"}})
    problem(other, 422, "idempotency-key-reused")


@pytest.mark.req("EXEC-6.labels")
async def test_many_runs_are_meant_by_their_label_at_once(served: Served) -> None:
    waiting = "flow: waits\nsteps: [{wait: 1h}]\n"
    mine = [await served.start(waiting, labels={"batch": "1"}) for _ in range(2)]
    other = await served.start(waiting)
    body = {"action": "cancel", "where": {"label": ["batch:1"]}}
    told = (await served.client.post("/api/v1/runs/bulk", json=body)).json()
    assert {one["run_id"] for one in told["outcomes"]} == set(mine)
    for run_id in mine:
        assert (await served.until(run_id))["status"] == "cancelled"
    assert (await served.show(other))["status"] != "cancelled"


@pytest.mark.req("API-2.metadata")
async def test_document_a_takes_metadata_beside_the_inputs(served: Served) -> None:
    await served.client.post("/api/v1/flows", json={"text": FINE})
    body = {"inputs": {}, "metadata": {"ticket": 7}}
    started = await served.client.post("/api/v1/orchestrator/fine/run", json=body)
    assert started.status_code == 201, started.text
    shown = await served.get(f"/api/v1/orchestrator/fine/runs/{started.json()['id']}")
    assert shown["metadata"]["ticket"] == 7


@pytest.mark.req("OPS-4.search")
async def test_failures_are_found_by_a_part_of_their_text(served: Served) -> None:
    texts = ["Timeout after 30s", 'the "quoted" part', "50% of it * failed", "Grüße aus Köln", "timeout again"]
    made = [await served.start(BAD, {"why": text}) for text in texts]
    fine = await served.start(FINE)
    for run_id in (*made, fine):
        await served.until(run_id)
    assert await ids(served, "q=timeout") == [made[4], made[0]]
    assert await ids(served, "q=TIMEOUT&sort=created_at") == [made[0], made[4]]
    assert await ids(served, "q=imeou&status=failed&flow=bad") == [made[4], made[0]]
    assert await ids(served, "q=timeout&status=succeeded") == []
    assert await ids(served, 'q="quoted"') == [made[1]]
    assert await ids(served, "q=50%25 of it *") == [made[2]]
    assert await ids(served, "q=aus Köln") == [made[3]]
    for odd in ('"', "' OR 1=1 --", "NEAR(", "*", "a AND", "\x01", "%00abc", "error:x", "((((", "-x-", "😀😀😀"):
        answer = await served.client.get("/api/v1/runs", params={"q": odd})
        assert answer.status_code in (200, 422), (odd, answer.text)
    problem(await served.client.get("/api/v1/runs?q=ab"), 422, "invalid-request")
    # Taken up again and ended well, a run is no failure any more.
    found = await served.get("/api/v1/runs?q=timeout&limit=1")
    more = await served.get(f"/api/v1/runs?q=timeout&limit=1&cursor={found['next_cursor']}")
    assert [one["id"] for one in (*found["runs"], *more["runs"])] == [made[4], made[0]]
    assert all(first >= second for first, second in pairwise(await ids(served, "q=timeout")))
