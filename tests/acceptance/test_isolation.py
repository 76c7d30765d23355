"""Every route of the application, as nobody, a viewer, a member of another workspace, and with dead keys.

The walk takes its routes from the application, so one that is added later is walked, too. Ids in paths are parameters
that end in `_id`, and names of things are those of `NAMED`; a path with one that `seed` does not make fails the walk
until it is made there, and so does a WebSocket that nobody here opens.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from acceptance.api_support import Served, ShiftedClock, problem, serve
from segue.access.principal import PERMISSIONS, ROLES, Principal
from segue.api.routing import ANYBODY, PERMISSION

pytestmark = pytest.mark.anyio

PASSWORD = "four lanterns over the quay"
CANARY, OTHER = "zanzibarine", "yttriumine"
"""In every name of the default workspace, of the other one, and nowhere else."""
FLOW = """
flow: {word}
trigger: {{webhook: {{auth: none, methods: [POST]}}}}
steps: [{{say: {{set: {{word: {word}}}}}}}]
"""
ID = re.compile(r"\b[a-z]{3}_[0-9a-hjkmnp-tv-z]{26}\b")
PUBLIC = re.compile(
    r"/health/(live|ready)|/api/v1/(login|setup)|/api/v1/oidc/\w+|/api/v1/orchestrator/callback/\{token\}.*"
    r"|/hooks/.*"
)
"""What is open to everybody on purpose: a new one of these is a decision, not an accident."""
HIDDEN = {"/", "/login", "/setup", "/assets/{name}", "/openapi.json"}
"""Routes outside of the document; none of them holds a workspace's data."""
SOCKETS = {"/api/v1/runs/{run_id}/socket", "/api/v1/live"}
"""The WebSockets that `test_no_stream_of_another_workspace_can_be_opened` opens."""
LIST_OF_EVENTS = "/api/v1/live/events"
OUTSIDE = {"node_id", "scenario_id", "workflow_id"}
"""Ids of something within a run, or of an outside system: none of a workspace's own."""
NAMED = {
    "/api/v1/secrets/{name}": "secret", "/api/v1/connections/{name}": "connection",
    "/api/v1/connections/{name}/check": "connection", "/api/v1/steps/{name}": "saved step",
    "/api/v1/roles/{name}": "role",
}  # fmt: skip
"""Paths of things that have a name and no id, and under which word `seed` tells the name."""
SIGNING_OUT = {"POST /api/v1/logout", "DELETE /api/v1/sessions"}
"""They end what the walker goes with, and nothing else."""
FREE = "x"
"""For parameters that are no ids of their own: steps and numbers within something that has an id, and the like."""
FREE_PATHS = re.compile(
    r".*/providers/\{provider\}(/\w+|/workflows/\{workflow_id\}/preview)|/api/v1/flags/\{name\}|/api/v1/flow-tags/\{tag\}"
)
"""Paths whose parameters are none of a workspace's own: outside systems, switches, which all have, and tags, which are
words.
"""


class Operation(NamedTuple):
    method: str
    path: str
    permission: str | None
    is_public: bool
    has_body: bool

    @property
    def parameters(self) -> list[str]:
        return re.findall(r"\{(\w+)\}", self.path)

    def at(self, ids: dict[str, str]) -> str:
        if self.path in NAMED:
            ids = ids | {"name": ids.get(NAMED[self.path], FREE)}
        return re.sub(r"\{(\w+)\}", lambda found: ids.get(found[1], FREE), self.path)


def routes_of(app: Any) -> Iterator[Any]:
    """All routes, also those of routers within routers."""
    for route in app.routes:
        inner = getattr(route, "original_router", None)
        if inner is None:
            yield route
        else:
            yield from routes_of(inner)


@pytest.fixture
def clock() -> ShiftedClock:
    return ShiftedClock()


@pytest.fixture
async def served(tmp_path: Path, clock: ShiftedClock) -> AsyncGenerator[Served]:
    folder = tmp_path / "flows"
    folder.mkdir()
    (folder / "one.yaml").write_text(FLOW.format(word=CANARY), encoding="utf-8")
    async with serve(f"sqlite:///{tmp_path / 'x.db'}", folders=(folder,), clock=clock) as found:
        yield found


async def operations(served: Served) -> list[Operation]:
    document = await served.get("/openapi.json")
    return [
        Operation(method.upper(), path, one.get(PERMISSION), one.get("security") == [], "requestBody" in one)
        for path, methods in document["paths"].items()
        for method, one in methods.items()
    ]


async def sign_up(
    served: Served, name: str, role: str, inside: dict[str, str], stack: AsyncExitStack
) -> tuple[str, httpx2.AsyncClient]:
    """A member, and a browser in which that one has signed in."""
    email = f"{name.replace('_', '-')}@example.org"
    made = await served.client.post("/api/v1/users", json={"email": email, "name": name, "role": role}, headers=inside)
    assert made.status_code == 201, made.text
    browser = await stack.enter_async_context(served.anyone(origin=served.url, **inside))
    body = {"token": made.json()["link"]["url_path"].partition("#")[2], "password": PASSWORD}
    assert (await browser.post("/api/v1/setup", json=body)).status_code == 200
    return made.json()["user"]["id"], browser


async def key_of(served: Served, permissions: list[str], inside: dict[str, str], **more: Any) -> tuple[str, str]:
    body = {"name": "a key", "permissions": permissions, "for_workspace": True, **more}
    made = await served.client.post("/api/v1/keys", json=body, headers=inside)
    assert made.status_code == 201, made.text
    return made.json()["key"]["id"], made.json()["token"]


def word_of(workspace: str) -> str:
    return CANARY if workspace == "default" else OTHER


async def seed(served: Served, workspace: str, stack: AsyncExitStack) -> dict[str, str]:
    """One of everything in a workspace: ids by the names that parameters of paths have."""
    inside = {"x-segue-workspace": workspace}

    async def post(path: str, body: dict[str, Any], status: int = 201) -> dict[str, Any]:
        answer = await served.client.post(path, json=body, headers=inside)
        assert answer.status_code == status, f"{path}: {answer.text}"
        return answer.json()

    word = word_of(workspace)
    flow_id, flow = word, FLOW.format(word=word)
    if workspace != "default":
        # The folder with the first flow belongs to the default workspace; here one is kept.
        await post("/api/v1/flows", {"text": flow})
        version = (await post(f"/api/v1/flows/{flow_id}/versions", {}))["number"]
        await post(f"/api/v1/flows/{flow_id}/versions/{version}/publish", {}, 200)
    started = await post("/api/v1/runs", {"flow": flow})
    await served.host.engine.wait(started["run_id"])
    user, browser = await sign_up(served, f"{word}-of-{workspace}", "owner", inside, stack)
    sessions = (await browser.get("/api/v1/sessions")).json()["sessions"]
    assert (await served.client.put(
        f"/api/v1/roles/{word}", json={"permissions": ["flow:read"]}, headers=inside
    )).status_code == 200  # fmt: skip
    grant = {"flow_id": flow_id, "subject_kind": "user", "subject": user, "permissions": ["flow:read"]}
    mark = workspace.replace("_", "-")
    template = {"id": f"{word}-of-{mark}", "name": word, "text": flow}
    schedule = {"flow": flow_id, "every": "1h", "name": word}
    found = {
        "schedule_id": (await post("/api/v1/schedules", schedule))["id"],
        "template_id": (await post("/api/v1/templates", template))["id"],
        "run_id": started["run_id"],
        "other_id": started["run_id"],
        "flow_id": flow_id,
        "user_id": user,
        "session_id": sessions[0]["id"],
        "key_id": (await key_of(served, ["run:read"], inside, name=word))[0],
        "grant_id": (await post("/api/v1/grants", grant, 200))["id"],
        "workspace_id": workspace,
    }
    for path, body in (
        (f"/api/v1/secrets/{word}", {"value": f"{word} is secret"}),
        (f"/api/v1/steps/{word}", {"body": f"log: {word}"}),
    ):
        put = await served.client.put(path, json=body, headers=inside)
        assert put.status_code in (200, 201), f"{path}: {put.text}"
    connection = {
        "name": word, "adapter": "make", "fields": {"base_url": f"https://{word}.example"},
        "secret_fields": {"api_key": word},
    }  # fmt: skip
    await post("/api/v1/connections", connection)
    providers = (await served.client.get("/api/v1/orchestrator/connections", headers=inside)).json()
    found |= {"connection_id": providers[0]["id"], **dict.fromkeys(set(NAMED.values()), word)}
    triggers = (await served.client.get("/api/v1/triggers", headers=inside)).json()["triggers"]
    hook = next(one for one in triggers if one["kind"] == "webhook")
    async with served.anyone() as sender:
        taken = await sender.post(hook["address"], json={"word": word})
    assert taken.status_code == 202, taken.text
    await served.host.engine.wait(taken.json()["run_id"])
    found |= {"trigger_id": hook["id"], "delivery_id": taken.json()["delivery_id"]}
    await post(f"/api/v1/triggers/{hook['id']}/capture", {"count": 2}, 200)
    async with served.anyone() as sender:
        assert (await sender.post(hook["address"], json={"word": word})).json()["run_id"] is None
    return found


async def ask(client: httpx2.AsyncClient, operation: Operation, ids: dict[str, str]) -> httpx2.Response:
    if operation.path == LIST_OF_EVENTS:
        return await _begun(client)
    return await client.request(
        operation.method, operation.at(ids), json={} if operation.has_body else None, headers={"if-match": "*"}
    )


async def _begun(client: httpx2.AsyncClient) -> httpx2.Response:
    """What a stream without an end begins with."""
    told = b""
    async with client.stream("GET", LIST_OF_EVENTS) as answer, asyncio.timeout(10):
        async for part in answer.aiter_raw():
            told += part
            if answer.status_code != 200 or b"data: " in told:
                break
    return httpx2.Response(answer.status_code, headers=answer.headers, content=told)


@pytest.mark.req("ACC-1.every-route", "ACC-2.every-route")
async def test_every_route_says_what_it_needs(served: Served) -> None:
    found = await operations(served)
    assert len(found) > 60
    for one in found:
        if one.is_public:
            assert PUBLIC.fullmatch(one.path), f"{one.method} {one.path} is open to everybody: is that meant?"
        else:
            assert one.permission == ANYBODY or one.permission in PERMISSIONS, f"{one.method} {one.path} needs nothing"
    paths = {one.path for one in found}
    every = list(routes_of(served.app))
    assert {route.path for route in every if hasattr(route, "methods")} - paths == HIDDEN
    assert {route.path for route in every if not hasattr(route, "methods")} == SOCKETS, "open the new one below"


@pytest.mark.req("ACC-3.every-route")
async def test_every_path_says_whose_thing_it_names(served: Served) -> None:
    for one in await operations(served):
        loose = [name for name in one.parameters if not name.endswith("_id")]
        within = [name for name in one.parameters if name.endswith("_id") and name not in OUTSIDE]
        known = one.is_public or one.path in NAMED or FREE_PATHS.fullmatch(one.path) is not None
        assert known or within or not loose, f"{one.path}: put {loose} into NAMED and seed(), or into FREE_PATHS"


@pytest.mark.req("ACC-1.every-route")
async def test_nobody_and_dead_keys_get_in_nowhere(served: Served, clock: ShiftedClock) -> None:
    inside = {"x-segue-workspace": "default"}
    every = [f"{resource}:admin" for resource in ("flow", "run", "connection", "workspace")]
    revoked_id, revoked = await key_of(served, every, inside)
    _, expired = await key_of(served, every, inside, expires_in="1h")
    async with served.anyone(authorization=f"Bearer {revoked}") as client:
        assert (await client.get("/api/v1/users")).status_code == 200
    assert (await served.client.delete(f"/api/v1/keys/{revoked_id}")).status_code == 204
    clock.shift_ms = 3_601_000
    for headers in ({}, {"authorization": f"Bearer {revoked}"}, {"authorization": f"Bearer {expired}"}):
        async with served.anyone(**headers) as client:
            for one in await operations(served):
                if not one.is_public:
                    problem(await ask(client, one, {}), 401, "unauthenticated")


@pytest.mark.req("ACC-2.every-route")
async def test_a_viewer_may_do_what_viewers_may_and_nothing_else(served: Served) -> None:
    async with AsyncExitStack() as stack:
        ids = await seed(served, "default", stack)
        _, viewer = await sign_up(served, "vic", "viewer", {"x-segue-workspace": "default"}, stack)
        may = Principal("user", "", "", "default", ROLES["viewer"]).may
        refused = 0
        for one in await operations(served):
            if one.is_public or one.permission == ANYBODY:
                continue
            answer = await ask(viewer, one, ids)
            if not may(one.permission or ""):
                problem(answer, 403, "forbidden")
                refused += 1
            elif one.method == "GET":
                assert answer.status_code not in (401, 403), f"{one.method} {one.path}: {answer.text}"
        assert refused > 25


async def _shown(client: httpx2.AsyncClient, every: list[Operation], ids: dict[str, str]) -> dict[str, str]:
    """What everything of a workspace looks like to its owner, without what time and looking change."""
    found = {}
    for one in every:
        if (
            one.method == "GET"
            and not one.is_public
            and not one.path.endswith(("/events", "/sessions", "/me", "/health/details"))
        ):
            text = (await ask(client, one, ids)).text
            found[one.path] = re.sub(r'"(last_\w+|updated_at|request_id|used_at)":("[^"]*"|null)', "", text)
    return found


def _reaches(one: Operation, own: dict[str, str], foreign: dict[str, str]) -> Iterator[dict[str, str]]:
    """For each id in the path: that one foreign, the others one's own; and all foreign. Names are foreign ones."""
    if one.path in NAMED:
        yield own | {word: foreign[word] for word in NAMED.values()}
        return
    names = [name for name in one.parameters if name.endswith("_id") and name not in OUTSIDE]
    for name in names:
        yield own | {name: foreign[name]}
    if len(names) > 1:
        yield own | {name: foreign[name] for name in names}


def _leaks(text: str, ids: dict[str, str], secret: dict[str, str]) -> set[str]:
    """What of another workspace is in an answer, besides what was asked for by name."""
    for asked in sorted(ids.values(), key=len, reverse=True):
        text = text.replace(asked, "")
    return {
        value for value in (*secret.values(), word_of(secret["workspace_id"])) if value != "default" and value in text
    }


@pytest.mark.req("ACC-3.streams", "ACC-3.every-route")
@pytest.mark.parametrize("direction", ["from another into the default one", "from the default one into another"])
async def test_no_stream_of_another_workspace_can_be_opened(served: Served, direction: str) -> None:
    async with AsyncExitStack() as stack:
        two = (await served.client.post("/api/v1/workspaces", json={"name": "Two"})).json()["id"]
        here, there = ("default", two) if direction.startswith("from another") else (two, "default")
        secret = await seed(served, here, stack)
        inside = {"x-segue-workspace": there}
        _, browser = await sign_up(served, "stranger", "editor", inside, stack)
        _, token = await key_of(served, ["flow:admin", "run:admin"], inside)
        cookie = "; ".join(f"{one.name}={one.value}" for one in browser.cookies.jar)
        for headers in ({"cookie": cookie, "origin": served.url}, {"authorization": f"Bearer {token}"}):
            for asked, status in ((f"?workspace={here}", 404), (f"?workspace={there}", 404), ("", 404)):
                path = f"/api/v1/runs/{secret['run_id']}"
                async with served.anyone(**headers) as client:
                    problem(await client.get(f"{path}/events{asked}"), status, "not-found")
                with pytest.raises(InvalidStatus) as refused:
                    await connect(
                        f"ws://127.0.0.1:{served.port}{path}/socket{asked}", proxy=None, additional_headers=headers
                    )
                assert refused.value.response.status_code == status
            with pytest.raises(InvalidStatus) as refused:
                await connect(
                    f"ws://127.0.0.1:{served.port}/api/v1/live?workspace={here}", proxy=None, additional_headers=headers
                )
            assert refused.value.response.status_code == 404
            for asked in ("", f"&flow={secret['flow_id']}", f"&parent={secret['run_id']}", "&status=succeeded"):
                address = f"ws://127.0.0.1:{served.port}/api/v1/live?workspace={there}{asked}"
                async with connect(address, proxy=None, additional_headers=headers) as live, asyncio.timeout(10):
                    told = str(await live.recv())
                    foreign = {"flow": FLOW.format(word=word_of(here))}
                    await served.client.post("/api/v1/runs", json=foreign, headers={"x-segue-workspace": here})
                    if not asked:
                        body = {"flow": "flow: own\nsteps: [{log: hi}]"}
                        own = (await served.client.post("/api/v1/runs", json=body, headers=inside)).json()["run_id"]
                        while own not in told:
                            told += str(await live.recv())
                    assert not _leaks(told, {}, secret), told


@pytest.mark.req("ACC-3.every-route")
@pytest.mark.parametrize("direction", ["from another into the default one", "from the default one into another"])
async def test_another_workspace_does_not_exist(served: Served, direction: str) -> None:
    async with AsyncExitStack() as stack:
        name = "Two" if direction.startswith("from another") else f"Two {OTHER}"
        made = await served.client.post("/api/v1/workspaces", json={"name": name})
        two = made.json()["id"]
        here, there = ("default", two) if direction.startswith("from another") else (two, "default")
        secret = await seed(served, here, stack)
        every = await operations(served)
        kinds = {name for one in every for name in one.parameters if name.endswith("_id")}
        assert kinds <= {*secret, *OUTSIDE}, "seed() has to make one of each kind"
        inside = {"x-segue-workspace": there}
        role = "owner" if there == two else "editor"
        own_run = (await served.client.post(
            "/api/v1/runs", json={"flow": "flow: own\nsteps: [{log: hi}]"}, headers=inside
        )).json()["run_id"]  # fmt: skip
        await served.host.engine.wait(own_run)
        stranger, browser = await sign_up(served, "stranger", role, inside, stack)
        owns = [f"{resource}:admin" for resource in ("flow", "run", "connection")]
        _, token = await key_of(served, [*owns, "workspace:read"], inside)
        program = await stack.enter_async_context(served.anyone(authorization=f"Bearer {token}"))
        own = {"run_id": own_run, "other_id": own_run, "user_id": stranger, "workspace_id": there}
        faults: list[str] = []
        before = await _shown(_owner(served, here), every, secret)

        for client, rights in ((browser, ROLES[role]), (program, frozenset([*owns, "workspace:read"]))):
            may = Principal("user", "", "", there, rights).may
            for one in every:
                if one.is_public or f"{one.method} {one.path}" in SIGNING_OUT:
                    continue
                label = f"{one.method} {one.path}"
                permitted = may(one.permission or "") or (one.permission == ANYBODY and client is browser)
                # What a body lacks may be said before anything is looked for.
                allowed = {404, 400, 422} if one.has_body else {404}
                for ids in _reaches(one, own, secret):
                    answer = await ask(client, one, ids)
                    # An empty list is what is there of it.
                    if answer.text != "[]" and answer.status_code not in (allowed if permitted else {403, 404}):
                        faults.append(f"{label} {answer.status_code}: {answer.text}")
                    if _leaks(answer.text, ids, secret):
                        faults.append(f"{label} tells: {answer.text}")
                if not one.parameters:
                    answer = await ask(client, one, {})
                    if answer.status_code == 500 or _leaks(answer.text, {}, secret):
                        faults.append(f"{label} tells: {answer.text}")
            answer = await client.get("/api/v1/runs", headers={"x-segue-workspace": here})
            problem(answer, 404, "not-found")
        after = await _shown(_owner(served, here), every, secret)
        assert faults == []
        assert after == before


def _owner(served: Served, workspace: str) -> httpx2.AsyncClient:
    """The server's own token, in a workspace."""
    served.client.headers["x-segue-workspace"] = workspace
    return served.client
