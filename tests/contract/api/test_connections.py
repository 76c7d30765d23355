"""Connections: tried out with their credentials, used by steps, and seen nowhere."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from tests.canaries import Canaries

from acceptance.api_support import Receiver, Served, receiver, serve

pytestmark = pytest.mark.anyio

SECRET = f"cn9-{hashlib.sha256(b'connection').hexdigest()[:12]}/kA+7=qZ"
BASIC = base64.b64encode(f"ada:{SECRET}".encode()).decode()
QUOTED = base64.b64encode(f"client:{quote(SECRET, safe='')}".encode()).decode()


class Service(Receiver):
    """Wants one of several credentials, and gives back all that it is sent."""

    tokens = 0
    lasts = 3600
    revoked: frozenset[str] = frozenset()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive)
        body = await request.body()
        self.got.append((request.method, request.url.path, dict(request.headers), body))
        await self._answer(request, body)(scope, receive, send)

    def _answer(self, request: Request, body: bytes) -> Response:
        headers, path = request.headers, request.url.path
        told = {"headers": dict(headers), "query": str(request.url.query), "body": body.decode()}
        if path == "/token":
            if headers.get("authorization") != f"Basic {QUOTED}":
                return JSONResponse({"error": "invalid_client", "error_description": SECRET}, 401)
            self.tokens += 1
            return JSONResponse({"access_token": self.token, "token_type": "Bearer", "expires_in": self.lasts})
        if path.startswith("/away"):
            return RedirectResponse(f"http://localhost:{request.url.port}/elsewhere?{request.url.query}", 302)
        good = {f"Bearer {SECRET}", f"Basic {BASIC}"} | ({f"Bearer {self.token}"} if self.tokens else set())
        known = headers.get("authorization") in good - self.revoked or SECRET in (
            headers.get("x-api-key"), headers.get("x-own"), request.query_params.get("api_key"),
        )  # fmt: skip
        return JSONResponse(told, 200 if known else 401)

    @property
    def token(self) -> str:
        return f"fetched-{self.tokens}-{SECRET[::-1]}"


@asynccontextmanager
async def service() -> AsyncGenerator[Service]:
    async with receiver() as plain:
        plain.__class__ = Service
        yield plain  # type: ignore[misc]


KINDS: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "bearer": ({}, {"token": SECRET}),
    "basic": ({"username": "ada"}, {"password": SECRET}),
    "header": ({}, {"api_key": SECRET}),
    "named": ({"header_name": "X-Own", "auth": "header"}, {"key": SECRET}),
    "query": ({"auth": "query"}, {"api_key": SECRET}),
    "own": ({"header.X-Other": "seen"}, {"header.X-Own": SECRET}),
    "oauth2": ({"client_id": "client", "token_url": "BASE/token", "scope": "read"}, {"client_secret": SECRET}),
}


async def made(served: Served, name: str, url: str, fields: dict[str, str], secrets: dict[str, str]) -> Any:
    fields = {"base_url": f"{url}/api", **{key: value.replace("BASE", url) for key, value in fields.items()}}
    answer = await served.client.post(
        "/api/v1/connections", json={"name": name, "fields": fields, "secret_fields": secrets}
    )
    assert answer.status_code == 201, answer.text
    return answer.json()


async def check(served: Served, name: str) -> tuple[str, str | None]:
    answer = await served.client.post(f"/api/v1/connections/{name}/check")
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert Canaries([SECRET]).found_in(answer.content) == []
    return found["status"], found["check_message"]


@pytest.mark.req("ACC-4.connections", "PROV-9.connection")
@pytest.mark.parametrize("kind", KINDS)
async def test_each_kind_of_credentials_is_tried_used_by_steps_and_seen_nowhere(tmp_path: Path, kind: str) -> None:
    fields, secrets = KINDS[kind]
    async with service() as outside, serve(f"sqlite:///{tmp_path / 'runs.db'}") as served:
        await made(served, "shop", outside.url, fields, secrets)
        assert await check(served, "shop") == ("ok", None)
        step = {"http": {"connection": "shop", "url": "/orders", "method": "POST", "json": {"n": 1}}}
        flow = {"flow": "uses", "steps": [{"ask": step}, {"again": {"http": {"connection": "shop", "url": "x?a=$1",
                "method": "POST", "json": {"all": "$ask.body"}}}}], "outputs": {"all": "$ask"}}  # fmt: skip
        run_id = await served.start(flow)
        view = await served.until(run_id)
        assert view["status"] == "succeeded", view
        asked = [one for one in outside.got if one[1] == "/api/orders"]
        assert len(asked) == 1
        (again,) = [one for one in outside.got if one[1] == "/api/x"]
        told = json.loads(again[3])["all"]
        sent = SECRET if kind != "oauth2" else outside.token
        is_basic = kind == "basic"
        assert (BASIC if is_basic else sent) in unquote(json.dumps(told)), "later steps compute with what came back"
        assert outside.tokens == (1 if kind == "oauth2" else 0), "a token is fetched once"
        canaries = Canaries([SECRET, SECRET[::-1]])
        for path in ("", "/logs", "/journal", "/steps/ask/data", "/why"):
            shown = await served.client.get(f"/api/v1/runs/{run_id}{path}")
            assert canaries.found_in(shown.content) == [], path
        assert canaries.found_in((await served.client.get("/api/v1/connections")).content) == []
    assert canaries.found_on_disk(tmp_path) == {}


@pytest.mark.req("ACC-4.connections")
async def test_a_check_says_what_is_wrong_without_the_secret(tmp_path: Path) -> None:
    async with service() as outside, serve(f"sqlite:///{tmp_path / 'runs.db'}") as served:
        wrong = "wrong-" + SECRET[::-1]
        await made(served, "bad", outside.url, {}, {"token": wrong})
        status, message = await check(served, "bad")
        assert (status, message) == ("failing", "auth: the address answered 401: it does not accept these credentials")
        await made(served, "lacks", outside.url, {"auth": "basic", "username": "ada"}, {"token": SECRET})
        lacks = "the connection 'lacks' lacks the field 'password', which auth basic needs"
        assert (await check(served, "lacks"))[1] == lacks
        await made(served, "odd", outside.url, {"auth": "magic"}, {})
        assert "auth is one of bearer, basic" in ((await check(served, "odd"))[1] or "")
        oauth = {"client_id": "client", "token_url": "BASE/token"}
        await made(served, "oauth", outside.url, oauth, {"client_secret": wrong})
        oauth_says = (await check(served, "oauth"))[1] or ""
        assert oauth_says.startswith("auth: the connection 'oauth' got no token, since its token_url answered 401")
        assert "(invalid_client); check client_id, client_secret and scope" in oauth_says
        closed = await served.client.post("/api/v1/connections", json={
            "name": "closed", "fields": {"base_url": "http://127.0.0.1:1", "auth": "query", "query_name": "k"},
            "secret_fields": {"api_key": SECRET}})  # fmt: skip
        assert closed.status_code == 201
        assert ((await check(served, "closed"))[1] or "").startswith("connection: ")
        named = {"base_url": "http://no-such-name.invalid", "check_path": "/x"}
        await served.client.post("/api/v1/connections", json={"name": "named", "fields": named})
        assert (await check(served, "named"))[1] != ""
        plain = {"base_url": f"https://127.0.0.1:{outside.url.rpartition(':')[2]}"}
        await served.client.post("/api/v1/connections", json={"name": "plain", "fields": plain})
        assert ((await check(served, "plain"))[1] or "").startswith("tls: ")
        await made(served, "status", outside.url, {"check_path": "/me", "check_status": "204, 3xx"}, {"token": SECRET})
        assert (await check(served, "status"))[1] == "http.200: it answered 200, not 204, 3xx"
        await made(served, "typo", outside.url, {"check_status": "fine"}, {"token": SECRET})
        assert "is no status" in ((await check(served, "typo"))[1] or "")


@pytest.mark.req("ACC-6.credentials")
async def test_a_connections_credentials_stay_with_its_origin(tmp_path: Path) -> None:
    async with service() as outside, service() as foreign, serve(f"sqlite:///{tmp_path / 'runs.db'}") as served:
        await made(served, "shop", outside.url, {"auth": "query"}, {"api_key": SECRET})
        for url in (
            f"{foreign.url}/x",
            f"//127.0.0.1:{foreign.url.rpartition(':')[2]}/x",
            f"http://localhost{outside.url[16:]}/x",
        ):
            run_id = await served.start({"steps": [{"s": {"http": {"connection": "shop", "url": url}}}]})
            view = await served.until(run_id)
            assert view["status"] == "failed", url
        assert foreign.got == []
        view = await served.until(
            await served.start({"steps": [{"s": {"http": {"connection": "shop", "url": "../away"}}}]})
        )
        assert Canaries([SECRET]).found_in(json.dumps(view).encode()) == []
        assert [one for one in outside.got if one[1] == "/elsewhere"] == []
        moved = await served.client.patch("/api/v1/connections/shop", json={"fields": {"token_url": foreign.url}})
        assert moved.status_code == 400, "nobody has a client's secret sent elsewhere"


@pytest.mark.req("ACC-4.connections")
async def test_a_token_that_is_refused_is_fetched_anew_once_and_a_short_one_each_time(tmp_path: Path) -> None:
    fields, secrets = KINDS["oauth2"]
    async with service() as outside, serve(f"sqlite:///{tmp_path / 'runs.db'}") as served:
        await made(served, "shop", outside.url, fields, secrets)
        flow = {
            "flow": "f",
            "steps": [{"s": {"http": {"connection": "shop", "url": "/x"}}}],
            "outputs": {"s": "$s.status"},
        }
        assert (await served.until(await served.start(flow)))["outputs"] == {"s": 200}
        outside.revoked = frozenset((f"Bearer {outside.token}",))
        assert (await served.until(await served.start(flow)))["outputs"] == {"s": 200}
        assert outside.tokens == 2
        outside.revoked = frozenset((f"Bearer {outside.token}", f"Bearer fetched-3-{SECRET[::-1]}"))
        view = await served.until(await served.start(flow))
        assert (view["status"], view["error"]["status"]) == ("failed", 401)
        assert outside.tokens == 3
        assert Canaries([SECRET, SECRET[::-1]]).found_in(json.dumps(view).encode()) == []
        outside.revoked, outside.lasts = frozenset(), 5
        await served.client.patch("/api/v1/connections/shop", json={"secret_fields": secrets})
        for _ in range(2):
            assert (await served.until(await served.start(flow)))["outputs"] == {"s": 200}
        assert outside.tokens == 5, "a token that ends in a moment is not used again"


@pytest.mark.req("ACC-4.connections")
async def test_a_step_with_a_connection_that_is_not_there_says_so(tmp_path: Path) -> None:
    async with serve(f"sqlite:///{tmp_path / 'runs.db'}") as served:
        view = await served.until(await served.start({"steps": [{"s": {"http": {"connection": "none", "url": "/x"}}}]}))
        assert view["error"]["category"] == "auth"
        assert view["error"]["message"] == "there is no connection 'none' in this workspace"
