"""A POST that is sent again with its `Idempotency-Key` is not carried out again. Over HTTP, in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, Final

import pytest

from acceptance.api_support import Served, ShiftedClock, problem, serve
from segue.access.kept_answers import KEY_SECONDS, KeptAnswers
from segue.api.documented import document
from segue.api.repeats import REPLAYED, WHY
from segue.flows.service import StoredFlows
from segue.store.tables import Sql

pytestmark = pytest.mark.anyio
FLOW: Final = "flow: {id}\nsteps:\n  - a: {{set: {{x: 1}}}}\n"


@pytest.fixture
async def served() -> AsyncGenerator[Served]:
    async with serve() as found:
        yield found


async def post(served: Served, path: str, key: str, body: Any = None, **more: Any) -> Any:
    headers = {"idempotency-key": key, **more.pop("headers", {})}
    return await served.client.post(path, json=body, headers=headers, **more)


@pytest.mark.req("API-1.idempotency-table")
async def test_every_post_takes_a_key_or_says_why_a_second_one_is_harmless(served: Served) -> None:
    posts = {
        path: one["post"] for path, one in document(served.app)["paths"].items() if "post" in one
    }  # fmt: skip
    takes = {
        path
        for path, one in posts.items()
        if any(given["name"] == "Idempotency-Key" for given in one.get("parameters", ()))
    }
    says = {path for path, one in posts.items() if len(one.get(WHY, "")) > 5}
    assert sorted(set(posts) - takes - says) == []
    for path in takes:
        assert {"400", "409", "422"} <= set(posts[path]["responses"]), path
    # What has an identity and changes something takes a key; these are all that do not.
    assert sorted(path for path in says - takes if posts[path].get("security") != []) == [
        "/api/v1/check", "/api/v1/flows/{flow_id}/plan", "/api/v1/flows/{flow_id}/tests",
        "/api/v1/orchestrator/providers/n8n/workflows/{workflow_id}/execute",
    ]  # fmt: skip


@pytest.mark.req("API-1.idempotency-create")
async def test_the_same_request_with_its_key_gets_the_same_answer(served: Served) -> None:
    body = {"text": FLOW.format(id="one")}
    first = await post(served, "/api/v1/flows", "k-1", body)
    again = await post(served, "/api/v1/flows", "k-1", body)
    assert (first.status_code, again.status_code) == (201, 201)
    assert (again.json(), again.headers["location"]) == (first.json(), "/api/v1/flows/one")
    assert (again.headers["etag"], again.headers[REPLAYED]) == (first.headers["etag"], "true")
    assert REPLAYED not in first.headers
    # The draft standard writes a key as a quoted string, and JSON means the same however it is written.
    written = b' {"text" : ' + __import__("json").dumps(body["text"]).encode() + b"}"
    headers = {"idempotency-key": '"k-1"', "content-type": "application/json"}
    assert (await served.client.post("/api/v1/flows", content=written, headers=headers)).json() == first.json()


@pytest.mark.req("API-1.idempotency-reused")
async def test_a_key_belongs_to_one_request(served: Served) -> None:
    await post(served, "/api/v1/flows", "k", {"text": FLOW.format(id="one")})
    other = await post(served, "/api/v1/flows", "k", {"text": FLOW.format(id="two")})
    problem(other, 422, "idempotency-key-reused")
    problem(await post(served, "/api/v1/flows/one/clone", "k"), 422, "idempotency-key-reused")
    problem(await served.client.get("/api/v1/flows/two"), 404, "not-found")
    problem(await post(served, "/api/v1/flows", "x" * 256, {"name": "x"}), 400, "bad-body")
    problem(await post(served, "/api/v1/flows", "", {"name": "x"}), 400, "bad-body")
    two = {"x-idempotency-key": "b"}
    problem(await post(served, "/api/v1/flows", "a", {"name": "x"}, headers=two), 400, "bad-body")


@pytest.mark.req("API-1.idempotency-refused")
async def test_what_was_refused_may_be_tried_again_under_its_key(served: Served) -> None:
    problem(await post(served, "/api/v1/flows", "k", {"text": 1}), 422, "invalid-request")
    assert (await post(served, "/api/v1/flows", "k", {"text": FLOW.format(id="one")})).status_code == 201


@pytest.mark.req("API-1.idempotency-24h")
async def test_a_key_is_free_again_after_a_day() -> None:
    clock = ShiftedClock()
    async with serve(clock=clock) as served:
        await post(served, "/api/v1/flows", "k", {"text": FLOW.format(id="one")})
        clock.shift_ms = KEY_SECONDS * 1000 - 1000
        other = {"text": FLOW.format(id="two")}
        problem(await post(served, "/api/v1/flows", "k", other), 422, "idempotency-key-reused")
        clock.shift_ms += 2000
        assert (await post(served, "/api/v1/flows", "k", other)).status_code == 201
        rows = await served.host.tables.ask(lambda sql: sql.rows("SELECT id FROM kept_answer"))
        assert len(rows) == 1


@pytest.mark.req("API-1.idempotency-in-flight")
async def test_while_the_first_is_answered_the_second_is_told_to_wait(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()
    create = StoredFlows.create

    async def slow(self: StoredFlows, *given: Any, **named: Any) -> Any:
        begun.set()
        await go_on.wait()
        return await create(self, *given, **named)

    monkeypatch.setattr(StoredFlows, "create", slow)
    body = {"text": FLOW.format(id="one")}
    first = asyncio.create_task(post(served, "/api/v1/flows", "k", body))
    await begun.wait()
    told = await post(served, "/api/v1/flows", "k", body)
    assert problem(told, 409, "in-flight")
    assert told.headers["retry-after"]
    go_on.set()
    assert (await first).status_code == 201
    assert (await post(served, "/api/v1/flows", "k", body)).status_code == 201


@pytest.mark.req("API-1.idempotency-cut-off")
async def test_a_request_that_was_cut_off_is_not_carried_out_again(served: Served) -> None:
    body = {"text": FLOW.format(id="one")}
    await post(served, "/api/v1/flows", "k", body)
    await served.host.tables.change(lambda sql: sql.run("UPDATE kept_answer SET sealed = NULL"))
    assert "cut off" in problem(await post(served, "/api/v1/flows", "k", body), 409, "conflict")["detail"]


@pytest.mark.req("API-1.idempotency-owner", "ACC-1")
async def test_a_key_is_its_senders_own_and_answers_with_secrets_are_kept_encrypted(served: Served) -> None:
    wanted = {"name": "ci", "permissions": ["flow:read", "flow:create"]}
    made = await post(served, "/api/v1/keys", "k", wanted)
    token = made.json()["token"]
    assert made.status_code == 201
    assert (await post(served, "/api/v1/keys", "k", wanted)).json() == made.json()
    assert len((await served.get("/api/v1/keys"))["keys"]) == 1

    def kept(sql: Sql) -> list[bytes]:
        return [row[0] for row in sql.rows("SELECT sealed FROM kept_answer")]

    assert all(token.encode() not in sealed for sealed in await served.host.tables.ask(kept))
    async with served.anyone(authorization=f"Bearer {token}") as other:
        answer = await other.post("/api/v1/keys", json=wanted, headers={"idempotency-key": "k"})
        assert token not in answer.text
        created = await other.post("/api/v1/flows", json={"name": "mine"}, headers={"idempotency-key": "k"})
        assert created.status_code == 201


@pytest.mark.req("API-1.idempotency-rights")
async def test_a_kept_answer_is_not_told_to_who_may_not_ask_any_more(served: Served) -> None:
    key = (await served.client.post("/api/v1/keys", json={"name": "ci", "permissions": ["flow:create"]})).json()
    async with served.anyone(authorization=f"Bearer {key['token']}", **{"idempotency-key": "k"}) as other:
        assert (await other.post("/api/v1/flows", json={"name": "mine"})).status_code == 201
        assert (await served.client.delete(f"/api/v1/keys/{key['key']['id']}")).status_code == 204
        assert (await other.post("/api/v1/flows", json={"name": "mine"})).status_code == 401


@pytest.mark.req("API-1.idempotency-rotation", "ACC-4")
async def test_kept_answers_outlive_a_change_of_the_key_ring(served: Served) -> None:
    first = await post(served, "/api/v1/flows", "k", {"text": FLOW.format(id="one")})
    kept = KeptAnswers(served.host.tables, served.host.vault, served.host.engine.now)
    claim = await kept.claim("default", "nobody", "k", "d")
    assert claim.is_mine
    await kept.release("default", "nobody", "k")
    assert (await kept.claim("default", "nobody", "k", "d")).is_mine
    again = await post(served, "/api/v1/flows", "k", {"text": FLOW.format(id="one")})
    assert again.json() == first.json()


@pytest.mark.req("API-1.idempotency-everywhere")
async def test_nothing_is_made_twice_whatever_is_made(served: Served) -> None:
    await post(served, "/api/v1/flows", "f", {"text": FLOW.format(id="one")})
    await post(served, "/api/v1/flows/one/versions", "v", {"publish": True})
    for path, body, listed, field in (
        ("/api/v1/flows/one/clone", None, "/api/v1/flows", "flows"),
        ("/api/v1/templates", {"id": "t", "name": "T", "text": FLOW.format(id="t")}, "/api/v1/templates", "templates"),
        ("/api/v1/schedules", {"flow": "one", "cron": "0 8 * * *"}, "/api/v1/schedules", "schedules"),
        ("/api/v1/triggers", {"flow": "one", "kind": "event", "settings": {"event": "e"}}, "/api/v1/triggers",
         "triggers"),
        ("/api/v1/workspaces", {"name": "Team"}, "/api/v1/workspaces", "workspaces"),
    ):  # fmt: skip
        before = len((await served.get(listed))[field])
        first, again = await post(served, path, path, body), await post(served, path, path, body)
        assert (first.status_code, first.text) == (again.status_code, again.text), path
        assert first.is_success, first.text
        assert len((await served.get(listed))[field]) == before + 1, path


@pytest.mark.req("API-1.idempotency-runs", "EXEC-6")
async def test_a_second_chance_is_taken_once(served: Served) -> None:
    run_id = await served.start(FLOW.format(id="one"))
    await served.until(run_id)
    path = f"/api/v1/runs/{run_id}/replay"
    first, again = await post(served, path, "k"), await post(served, path, "k")
    assert first.json()["run_id"] == again.json()["run_id"]
    told = {await_id["id"] for await_id in (await served.get("/api/v1/runs"))["runs"]}
    assert told == {run_id, first.json()["run_id"]}
    events = [await post(served, "/api/v1/events", "e", {"event": "paid", "data": 1}) for _ in range(2)]
    assert events[0].json() == events[1].json()
