"""A stream that is open ends soon when what allowed it is gone, and says why; no other stream ends with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx2
import msgspec
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from acceptance.api_support import Served, ShiftedClock, has_begun, problem, serve
from segue.api import standing
from segue.client import AsyncClient
from segue.client.records import AccessDeniedError
from segue.store.tables import Sql

pytestmark = pytest.mark.anyio

PASSWORD = "four lanterns over the quay"
WAIT = "flow: {0}\nsteps:\n  - answer: {{wait: {{callback: {{expires: 1h}}}}}}\n"
SECONDS = 5.0
"""How soon a stream has to end."""


@pytest.fixture
def clock() -> ShiftedClock:
    return ShiftedClock()


@pytest.fixture
async def served(clock: ShiftedClock) -> AsyncGenerator[Served]:
    async with serve(clock=clock) as found:
        yield found


class Reader:
    """Somebody who reads all kinds of streams at once."""

    def __init__(self, served: Served, headers: dict[str, str]) -> None:
        self.served = served
        self.headers = headers
        self.client = served.anyone(**headers)

    @asynccontextmanager
    async def reading(self, run_id: str, flow: str = "") -> AsyncGenerator[asyncio.Task[list[Any]]]:
        """All streams of a run, each begun; the task gives what each ended with."""
        begun = [asyncio.Event() for _ in range(4)]
        asked = f"?flow={flow}" if flow else ""
        streams = (
            self._events(f"/api/v1/runs/{run_id}/events", begun[0]),
            self._socket(f"/api/v1/runs/{run_id}/socket", begun[1]),
            self._socket(f"/api/v1/live{asked}", begun[2]),
            self._events(f"/api/v1/live/events{asked}", begun[3]),
        )
        task = asyncio.gather(*streams)
        async with asyncio.timeout(10):
            for event in begun:
                await event.wait()
        try:
            yield task  # pyright: ignore[reportReturnType]
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await self.client.aclose()

    async def _events(self, path: str, begun: asyncio.Event) -> Any:
        last: dict[str, str] = {}
        async with self.client.stream("GET", path, timeout=20) as answer:
            assert answer.status_code == 200, await answer.aread()
            async for line in answer.aiter_lines():
                name, _, value = line.partition(": ")
                last[name] = value
                if name == "data":
                    begun.set()
        return last["event"], msgspec.json.decode(last["data"])

    async def _socket(self, path: str, begun: asyncio.Event) -> Any:
        url = f"ws://127.0.0.1:{self.served.port}{path}"
        async with connect(url, proxy=None, additional_headers=self.headers) as connection:
            return await self._last(connection, begun)

    @staticmethod
    async def _last(connection: ClientConnection, begun: asyncio.Event) -> Any:
        last: Any = None
        try:
            async for text in connection:
                last = msgspec.json.decode(text)
                begun.set()
        except ConnectionClosed:
            pass
        assert connection.close_code == 4401
        return last["event"], last["data"]


async def refused(task: asyncio.Task[list[Any]], slug: str, status: int) -> None:
    async with asyncio.timeout(SECONDS):
        for event, data in await task:
            assert event == "refused", (event, data)
            assert data["type"] == f"urn:segue:problem:{slug}", data
            assert data["status"] == status
            assert data["detail"]
            assert data["request_id"]


async def browser_of(
    served: Served, stack: AsyncExitStack, role: str, workspace: str = "default"
) -> tuple[str, Reader]:
    made = await served.client.post(
        "/api/v1/users", json={"email": "vic@example.org", "role": role}, headers={"x-segue-workspace": workspace}
    )
    token = made.json()["link"]["url_path"].partition("#")[2]
    client = await stack.enter_async_context(served.anyone(origin=served.url))
    answer = await client.post("/api/v1/setup", json={"token": token, "password": PASSWORD})
    cookie = answer.headers["set-cookie"].partition(";")[0]
    headers = {"cookie": cookie, "origin": served.url, "x-segue-workspace": workspace}
    return made.json()["user"]["id"], Reader(served, headers)


async def key_reader(served: Served, **more: Any) -> tuple[str, Reader]:
    body = {"name": "watcher", "permissions": ["run:read"], "for_workspace": True, **more}
    made = (await served.client.post("/api/v1/keys", json=body)).json()
    return made["key"]["id"], Reader(served, {"authorization": f"Bearer {made['token']}"})


async def asked(answer: Awaitable[httpx2.Response]) -> None:
    found = await answer
    assert found.status_code in (200, 201, 204), found.text


Ending = Callable[[Served, str, Reader], Awaitable[None]]


async def _sign_out(served: Served, user: str, reader: Reader) -> None:
    await asked(reader.client.post("/api/v1/logout"))


async def _end_session(served: Served, user: str, reader: Reader) -> None:
    found = (await reader.client.get("/api/v1/sessions")).json()["sessions"]
    async with served.anyone(**reader.headers) as elsewhere:
        await asked(elsewhere.delete(f"/api/v1/sessions/{found[0]['id']}"))


async def _disable(served: Served, user: str, reader: Reader) -> None:
    await asked(served.client.patch(f"/api/v1/users/{user}", json={"disabled": True}))


async def _remove(served: Served, user: str, reader: Reader) -> None:
    await asked(served.client.delete(f"/api/v1/users/{user}"))


async def _demote(served: Served, user: str, reader: Reader) -> None:
    await asked(served.client.put("/api/v1/roles/doorman", json={"permissions": ["workspace:read"]}))
    await asked(served.client.patch(f"/api/v1/users/{user}", json={"role": "doorman"}))


async def _switch_off(served: Served, user: str, reader: Reader) -> None:
    await asked(served.client.put("/api/v1/flags/orchestrator", json={"on": False}))


@pytest.mark.req("ACC-1.open-streams", "ACC-2.open-streams")
@pytest.mark.parametrize(
    ("end", "slug", "status"),
    [
        (_sign_out, "unauthenticated", 401), (_end_session, "unauthenticated", 401),
        (_disable, "unauthenticated", 401), (_remove, "not-found", 404), (_demote, "forbidden", 403),
        (_switch_off, "feature-off", 403),
    ],
)  # fmt: skip
async def test_the_streams_of_a_browser_end_with_what_allowed_them(
    served: Served, end: Ending, slug: str, status: int
) -> None:
    run_id = await served.start(WAIT.format("one"))
    async with AsyncExitStack() as stack:
        user, reader = await browser_of(served, stack, "viewer")
        async with reader.reading(run_id) as task:
            await end(served, user, reader)
            await refused(task, slug, status)


@pytest.mark.req("ACC-3.open-streams")
async def test_the_streams_of_a_workspace_end_when_it_is_archived(served: Served) -> None:
    two = (await served.client.post("/api/v1/workspaces", json={"name": "Two"})).json()["id"]
    inside = {"x-segue-workspace": two}
    started = await served.client.post("/api/v1/runs", json={"flow": WAIT.format("one")}, headers=inside)
    own = Reader(served, {"authorization": served.client.headers["authorization"], **inside})
    async with AsyncExitStack() as stack:
        _, reader = await browser_of(served, stack, "viewer", two)
        async with reader.reading(started.json()["run_id"]) as task, own.reading(started.json()["run_id"]) as other:
            await asked(served.client.patch(f"/api/v1/workspaces/{two}", json={"archived": True}))
            await refused(task, "not-found", 404)
            await refused(other, "not-found", 404)


@pytest.mark.req("ACC-1.open-streams")
async def test_the_streams_of_a_key_end_with_the_key_and_no_others_do(served: Served) -> None:
    run_id = await served.start(WAIT.format("one"))
    key_id, reader = await key_reader(served)
    _, other = await key_reader(served)
    async with reader.reading(run_id) as task, other.reading(run_id) as stays:
        await asked(served.client.delete(f"/api/v1/keys/{key_id}"))
        await refused(task, "unauthenticated", 401)
        assert not stays.done()
        problem(await reader.client.get(f"/api/v1/runs/{run_id}"), 401, "unauthenticated")
        await asked(served.client.post(await served.callback_url(run_id), json=1))
        async with asyncio.timeout(SECONDS):
            await served.until(run_id)


@pytest.mark.req("ACC-1.open-streams")
async def test_the_streams_of_a_key_end_when_it_expires_though_nobody_changes_anything(
    served: Served, clock: ShiftedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standing, "LOOK_SECONDS", 0.05)
    run_id = await served.start(WAIT.format("one"))
    _, reader = await key_reader(served, expires_in="1h")
    async with reader.reading(run_id) as task:
        clock.shift_ms = 3_601_000
        await refused(task, "unauthenticated", 401)


@pytest.mark.req("ACC-2.open-streams")
async def test_the_streams_of_a_grant_end_with_it(served: Served) -> None:
    run_id = await served.start(WAIT.format("one"))
    key_id, reader = await key_reader(served, permissions=["workspace:read"])
    grant = {"flow_id": "one", "subject_kind": "key", "subject": key_id, "permissions": ["run:read"]}
    made = (await served.client.post("/api/v1/grants", json=grant)).json()
    async with reader.reading(run_id, flow="one") as task:
        await asked(served.client.delete(f"/api/v1/grants/{made['id']}"))
        await refused(task, "forbidden", 403)


@pytest.mark.req("ACC-1.open-streams")
async def test_what_another_process_changed_is_found_by_looking(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standing, "LOOK_SECONDS", 0.05)
    run_id = await served.start(WAIT.format("one"))
    key_id, reader = await key_reader(served)

    def revoke(sql: Sql) -> None:
        sql.run("UPDATE api_key SET revoked_at = 1 WHERE id = ?", key_id)

    async with reader.reading(run_id) as task:
        await served.host.tables.change(revoke)
        await refused(task, "unauthenticated", 401)


@pytest.mark.req("ACC-1.open-streams", "API-7.refused")
async def test_the_client_says_that_it_may_read_no_more_instead_of_asking_again(served: Served) -> None:
    run_id = await served.start(WAIT.format("one"))
    key_id, reader = await key_reader(served)
    token = reader.headers["authorization"].removeprefix("Bearer ")
    async with AsyncClient(served.url, token=token) as segue:
        events = segue.events(run_id)
        assert (await anext(events)).kind in ("log", "run")
        await asked(served.client.delete(f"/api/v1/keys/{key_id}"))
        with pytest.raises(AccessDeniedError):
            await asyncio.wait_for(_exhausted(events), SECONDS)


async def _exhausted(events: AsyncGenerator[Any]) -> None:
    async for _ in events:
        pass


@pytest.mark.req("ACC-1.open-streams")
async def test_nobody_is_looked_after_when_nobody_listens(served: Served) -> None:
    run_id = await served.start(WAIT.format("one"))
    _, reader = await key_reader(served)
    held = served.app.state.streams.standings
    async with reader.reading(run_id):
        assert held.watched == 4
    await has_begun(lambda: not held.watched)


@pytest.mark.req("API-6.workspace", "ACC-3.live")
async def test_a_browser_chooses_its_workspace_in_the_address_of_a_stream(served: Served) -> None:
    two = (await served.client.post("/api/v1/workspaces", json={"name": "Two"})).json()["id"]
    inside = {"x-segue-workspace": two}
    run_id = (await served.client.post("/api/v1/runs", json={"flow": WAIT.format("one")}, headers=inside)).json()[
        "run_id"
    ]
    elsewhere = await served.start(WAIT.format("other"))
    path = f"/api/v1/runs/{run_id}/events"
    async with AsyncExitStack() as stack:
        _, reader = await browser_of(served, stack, "viewer", two)
        cookie = {"cookie": reader.headers["cookie"], "origin": served.url}
        async with served.anyone(**cookie) as client:
            async with client.stream("GET", path, params={"workspace": two}) as answer:
                assert answer.status_code == 200
            problem(await client.get(path, params={"workspace": "default"}), 404, "not-found")
            problem(await client.get(f"/api/v1/runs/{elsewhere}/events?workspace=default"), 404, "not-found")
            problem(await client.get(path, params={"workspace": "wsp_none"}), 404, "not-found")
            twice = await client.get(path, params={"workspace": two}, headers={"x-segue-workspace": "default"})
            problem(twice, 422, "invalid-request")
            problem(await client.get(f"{path}?workspace={two}&workspace=default"), 422, "invalid-request")
        async with served.anyone() as client:
            problem(await client.get(path, params={"workspace": two}), 401, "unauthenticated")
        url = f"ws://127.0.0.1:{served.port}"
        for place, kind in (("/api/v1/live", "runs"), (f"/api/v1/runs/{run_id}/socket", "log")):
            address = f"{url}{place}?workspace={two}"
            async with connect(address, proxy=None, additional_headers=cookie) as live, asyncio.timeout(5):
                told = msgspec.json.decode(await live.recv())
                assert told["event"] == kind
                assert kind != "runs" or [one["id"] for one in told["data"]] == [run_id]
    # Elsewhere the query chooses nothing.
    answer = await served.client.get(f"/api/v1/runs?workspace={two}")
    assert [one["id"] for one in answer.json()["runs"]] == [elsewhere]
