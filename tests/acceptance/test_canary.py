"""One canary in every kind of secret and connection: it goes through a whole server, over restarts, and is found in no
file, answer, stream or log line of it, in no usual encoding, and in no piece of eight characters or more.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import sqlite3
import zlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse

from acceptance.api_support import Receiver, Served, events, list_files, problem, receiver, serve
from segue.observe.logs import configure_logging

pytestmark = [pytest.mark.anyio, pytest.mark.req("ACC-4.canary", "BAR-17.canary")]

KINDS = ("env", "file", "secret", "connection", "vault")
CANARIES = {kind: f"{kind[:2]}9-{hashlib.sha256(kind.encode()).hexdigest()[:9]}/kA+7=qZ" for kind in KINDS}
SENSITIVE = {"user": "ada", "note": "nothing secret"}


def forms(secret: str) -> list[str]:
    raw = secret.encode()
    encoded = [base64.b64encode(raw).decode().rstrip("="), base64.urlsafe_b64encode(raw).decode().rstrip("=")]
    return [secret, *encoded, raw.hex(), raw.hex().upper(), quote(secret, safe="")]


def pieces() -> set[bytes]:
    return {
        form[at : at + 8].encode()
        for secret in CANARIES.values() for form in forms(secret) for at in range(len(form) - 7)
    }  # fmt: skip


PIECES = pieces()


def found_in(data: bytes) -> list[bytes]:
    return sorted(piece for piece in PIECES if piece in data)


def found_on_disk(folder: Path) -> dict[str, list[bytes]]:
    """Every byte of the database's files, and what is compressed in them."""
    found = {path.name: found_in(path.read_bytes()) for path in list_files(folder)}
    with sqlite3.connect(f"file:{folder / 'runs.db'}?mode=ro", uri=True) as database:
        for number, (data,) in enumerate(database.execute("SELECT data FROM blob")):
            found[f"blob {number}"] = found_in(zlib.decompress(data))
    assert any(name.startswith("blob") for name in found), "the flow made a payload large enough for a blob"
    return {name: pieces for name, pieces in found.items() if pieces}


class Echo(Receiver):
    """Gives back what it was sent, and behaves as a secret store under /v1/."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive)
        body = (await request.body()).decode()
        self.got.append((request.method, request.url.path, dict(request.headers), body.encode()))
        if request.url.path == "/v1/kv/data/team/app":
            right = request.headers.get("x-vault-token") == "the server's token"
            data = {"data": {"data": {"key": CANARIES["vault"]}, "metadata": {"version": 1}}}
            answer = JSONResponse(data if right else {"errors": ["denied"]}, 200 if right else 403)
        elif request.url.path == "/refuse":
            answer = JSONResponse({"message": f"no entry with {body}", "sent": dict(request.headers)}, 403)
        else:
            answer = JSONResponse(
                {"sent": body, "headers": dict(request.headers), "filler": "x" * 400_000, **SENSITIVE}
            )
        await answer(scope, receive, send)


@asynccontextmanager
async def echo() -> AsyncGenerator[Echo]:
    async with receiver() as plain:
        found = Echo(plain.url)
        plain.__class__ = Echo
        plain.got = found.got
        found.url = plain.url
        yield found


async def keep_all(served: Served, outside: str) -> None:
    kept = await served.client.put("/api/v1/secrets/own", json={"value": CANARIES["secret"], "note": "a note"})
    assert kept.status_code == 201, kept.text
    made = await served.client.post(
        "/api/v1/connections",
        json={
            "name": "shop", "fields": {"base_url": outside}, "secret_fields": {"token": CANARIES["connection"]},
        },
    )  # fmt: skip
    assert made.status_code == 201, made.text


def flow(outside: str, file: Path) -> dict[str, Any]:
    sources = {
        "env": "env:CANARY_KEY", "file": f"file:{file}", "secret": "secret:own", "connection": "connection:shop.token",
        "vault": "vault:kv/team/app#key",
    }  # fmt: skip
    sent = {name: f"$secrets.{name}" for name in sources}
    return {
        "flow": "canary",
        "secrets": sources,
        "steps": [
            {"ask": {"http": {"method": "POST", "url": f"{outside}/echo", "json": sent, "headers": {
                "Authorization": "Bearer {{ secrets.secret }}", "X-Sig": "{{ hmac(secrets.env, 'x', 'sha256') }}",
            }}}},
            {"made": {"set": {
                "auth": "Bearer {{ ask.body.headers.authorization }}", "all": "$ask.body",
                "part": "{{ substring(ask.body.sent, 3, 30) }}", "b64": "{{ base64(ask.body.sent) }}",
            }}},
            {"tell": {"log": {"message": "got {{ ask.body.sent }}", "data": {"all": "$made"}}}},
            {"each": {"foreach": "{{ [made.part, made.b64] }}", "do": [
                {"again": {"http": {"method": "POST", "url": f"{outside}/echo", "json": {"x": "$item"}}}},
            ]}},
            {"rest": {"wait": {"callback": {"expires": "1h"}}}},
            {"refused": {"http": {"method": "POST", "url": f"{outside}/refuse", "json": {"x": "$made.all.sent"}}}},
        ],
        "outputs": {"made": "$made"},
    }  # fmt: skip


async def everything(served: Served, run_id: str) -> dict[str, str]:
    """All answers that tell of the run, of secrets and of connections."""
    one = f"/api/v1/runs/{run_id}"
    paths = [one, *(f"{one}/{end}" for end in ("logs", "why", "callbacks", "journal", "children"))]
    paths += [f"{one}/steps/{step}/data" for step in ("ask", "made", "tell", "refused")]
    paths += [f"{one}/steps/{step}" for step in ("ask", "made", "tell", "refused")]
    paths += ["/api/v1/runs", f"/v1/runs/{run_id}", "/api/v1/secrets", "/api/v1/secrets/own", "/api/v1/connections"]
    paths += ["/api/v1/connections/shop", "/api/v1/encryption", "/metrics", "/openapi.json"]
    return {path: (await served.client.get(path)).text for path in paths}


@pytest.fixture
def logged() -> Any:
    lines = StringIO()
    configure_logging(json=True, level="debug", stream=lines)
    yield lines
    root = logging.getLogger()
    for handler in [one for one in root.handlers if type(one).__name__ == "_SegueHandler"]:
        root.removeHandler(handler)


async def test_a_canary_in_every_kind_of_secret_is_used_and_never_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logged: StringIO
) -> None:
    data, file = tmp_path / "data", tmp_path / "secret.txt"
    data.mkdir()
    file.write_text(CANARIES["file"])
    database = f"sqlite:///{data / 'runs.db'}"
    monkeypatch.setenv("CANARY_KEY", CANARIES["env"])
    monkeypatch.setenv("VAULT_TOKEN", "the server's token")
    async with echo() as outside:
        monkeypatch.setenv("VAULT_ADDR", outside.url)
        async with serve(database) as served:
            await keep_all(served, outside.url)
            run_id = await served.start(flow(outside.url, file))
            url = await served.callback_url(run_id)
            seen = await everything(served, run_id)
        # A new host goes on with what is sealed.
        async with serve(database) as served:
            token = url.rpartition("/")[2]
            answered = await served.client.post(f"/api/v1/orchestrator/callback/{token}", json={"ok": True})
            assert answered.status_code == 200, answered.text
            view = await served.until(run_id)
            assert view["status"] == "failed"
            assert view["error"]["status"] == 403
            seen |= {f"{path} at the end": text for path, text in (await everything(served, run_id)).items()}
            stream = [event async for event in events(served.client, run_id)]
            seen["stream"] = json.dumps([event.data for event in stream])
            rotated = await served.client.post("/api/v1/encryption/rotate")
            assert rotated.status_code == 200, rotated.text
            seen["rotated"] = rotated.text
    first = json.loads(outside_bodies(outside, "/echo")[0])
    assert first == CANARIES, "the other side was sent all of them"
    sent = json.dumps(CANARIES, separators=(",", ":"))
    items = [json.loads(body)["x"] for body in outside_bodies(outside, "/echo")[1:]]
    assert items == [sent[3:30], base64.b64encode(sent.encode()).decode()]
    assert json.loads(outside_bodies(outside, "/refuse")[0])["x"] == sent
    assert "***" in seen[f"/api/v1/runs/{run_id}"]
    assert "nothing secret" in seen[f"/api/v1/runs/{run_id}"]
    leaks = {where: found for where, text in seen.items() if (found := found_in(text.encode()))}
    assert leaks == {}
    assert found_in(logged.getvalue().encode()) == []
    assert found_on_disk(data) == {}


def outside_bodies(outside: Receiver, path: str) -> list[str]:
    return [body.decode() for _, where, _, body in outside.got if where == path]


@pytest.mark.req("ACC-6.credentials")
async def test_a_connections_token_is_sent_to_its_own_origin_only(tmp_path: Path) -> None:
    async with receiver() as own, receiver() as foreign, serve(f"sqlite:///{tmp_path / 'runs.db'}") as served:
        await keep_all(served, own.url)
        secrets = {"token": "connection:shop.token"}
        ways: list[dict[str, Any]] = [
            {"headers": {"X-Key": "$secrets.token"}}, {"auth": {"bearer": "$secrets.token"}},
            {"query": {"key": "{{ base64(secrets.token) }}"}}, {"json": {"deep": ["$secrets.token"]}, "method": "POST"},
        ]  # fmt: skip
        for way in ways:
            steps = [{"s": {"http": {"url": f"{foreign.url}/", **way}}}]
            view = await served.until(await served.start({"secrets": secrets, "steps": steps}))
            assert view["status"] == "failed"
            assert "may not be sent to" in view["error"]["message"]
            steps = [{"s": {"http": {"url": f"{own.url}/", **way}}}]
            assert (await served.until(await served.start({"secrets": secrets, "steps": steps})))[
                "status"
            ] == "succeeded"
        assert foreign.got == []
        assert len(own.got) == len(ways)


@pytest.mark.req("ACC-4.api")
async def test_secrets_and_connections_are_managed_over_the_api(tmp_path: Path) -> None:
    async with receiver() as outside, serve(f"sqlite:///{tmp_path / 'runs.db'}") as served:
        client = served.client
        await keep_all(served, outside.url)
        first = await client.get("/api/v1/secrets/own")
        assert first.json()["value"] == "***"
        assert first.headers["etag"] == '"1"'
        stale = await client.put("/api/v1/secrets/own", json={"value": "x"}, headers={"if-match": '"7"'})
        assert stale.status_code == 412
        again = await client.put("/api/v1/secrets/own", json={"value": "x"}, headers={"if-match": '"1"'})
        assert (again.status_code, again.json()["version"]) == (200, 2)
        assert [one["name"] for one in (await served.get("/api/v1/secrets"))["secrets"]] == ["own"]
        problem(await client.put("/api/v1/secrets/9", json={"value": "x"}), 400, "bad-request")
        problem(await client.put("/api/v1/secrets/a", json={"value": ""}), 422, "invalid-request")
        problem(await client.get("/api/v1/secrets/none"), 404, "not-found")
        shop = await served.get("/api/v1/connections/shop")
        assert shop["secret_fields"] == {"token": "***"}
        checked = await client.post("/api/v1/connections/shop/check")
        assert checked.json()["status"] == "ok", checked.text
        moved = await client.patch("/api/v1/connections/shop", json={"fields": {"base_url": "http://127.0.0.1:9"}})
        assert problem(moved, 400, "bad-request")["detail"].startswith("the address is of another origin")
        both = {"fields": {"base_url": "http://127.0.0.1:9"}, "secret_fields": {"token": "new"}}
        assert (await client.patch("/api/v1/connections/shop", json=both)).json()["version"] == 2
        failing = (await client.post("/api/v1/connections/shop/check")).json()
        assert failing["status"] == "failing"
        assert (await client.delete("/api/v1/connections/shop")).status_code == 204
        assert (await client.delete("/api/v1/secrets/own")).status_code == 204
        problem(await client.delete("/api/v1/secrets/own"), 404, "not-found")
        for path in ("/api/v1/secrets", "/api/v1/connections/shop", "/api/v1/encryption"):
            async with served.anyone() as anyone:
                assert (await anyone.get(path)).status_code == 401
