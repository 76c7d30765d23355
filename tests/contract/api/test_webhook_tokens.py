"""Webhooks whose senders show a JSON Web Token, with the issuer's keys had by their address."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from joserfc import jws
from joserfc.jwk import KeySet, OKPKey, RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from acceptance.api_support import Served, ShiftedClock, problem, running, serve

pytestmark = [pytest.mark.anyio]


@dataclass
class Issuer:
    """An issuer with its keys at an address of this machine."""

    port: int = 0
    keys: list[Any] = field(default_factory=list)
    asked: int = 0
    is_down: bool = False

    async def show(self, request: Request) -> Response:
        self.asked += 1
        if self.is_down:
            return Response("down", 503)
        return JSONResponse(KeySet(self.keys).as_dict(private=False))


@dataclass
class World:
    served: Served
    issuer: Issuer
    clock: ShiftedClock

    async def send(self, token: str) -> Any:
        async with self.served.anyone() as sender:
            headers = {"authorization": f"Bearer {token}"}
            return await sender.post("/hooks/default/told", json={"a": 1}, headers=headers)

    def token(self, key: Any, algorithm: str, **claims: Any) -> str:
        now = self.clock.now() // 1000
        body = {"iss": "https://issuer.example.com", "aud": "segue", "iat": now, "exp": now + 300} | claims
        header = {"alg": algorithm} | ({"kid": key.kid} if key.kid else {})
        return jws.serialize_compact(header, json.dumps(body).encode(), key, algorithms=[algorithm])


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    issuer, clock = Issuer(), ShiftedClock()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        issuer.port = int(listener.getsockname()[1])
        folder = tmp_path / "flows"
        folder.mkdir()
        auth = (
            f"{{type: jwt, jwks: 'http://127.0.0.1:{issuer.port}/keys', issuer: 'https://issuer.example.com', "
            "audience: segue, algorithms: [RS256, Ed25519]}"
        )
        text = f"flow: told\ntrigger: {{webhook: {{auth: {auth}}}}}\nsteps: [{{say: {{set: {{a: 1}}}}}}]\n"
        (folder / "told.yaml").write_text(text, encoding="utf-8")
        async with (
            running(Starlette(routes=[Route("/keys", issuer.show)]), listener),
            serve(f"sqlite:///{tmp_path / 'x.db'}", folders=(folder,), clock=clock) as served,
        ):
            yield World(served, issuer, clock)


def _part(header: dict[str, str]) -> str:
    return base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode()


def rsa(kid: str) -> RSAKey:
    return RSAKey.generate_key(2048, {"kid": kid}, private=True)


@pytest.mark.req("TRIG-1.issuer-keys")
async def test_an_issuer_may_change_its_keys_and_be_away_for_a_while(world: World) -> None:
    old, new, other = rsa("old"), OKPKey.generate_key("Ed25519", {"kid": "new"}, private=True), rsa("other")
    world.issuer.keys = [old]
    assert (await world.send(world.token(old, "RS256", jti="one"))).status_code == 202
    assert (await world.send(world.token(old, "RS256", jti="two"))).status_code == 202
    assert world.issuer.asked == 1

    world.issuer.keys = [new]
    problem(await world.send(world.token(new, "Ed25519", jti="three")), 403, "bad-signature")
    assert world.issuer.asked == 1, "keys were just had, so nobody is asked for a name that may be made up"
    world.clock.shift_ms += 31_000
    assert (await world.send(world.token(new, "Ed25519", jti="three"))).status_code == 202
    problem(await world.send(world.token(old, "RS256", jti="four")), 403, "bad-signature")
    for number in range(5):
        problem(await world.send(world.token(other, "RS256", jti=f"x{number}")), 403, "bad-signature")
    assert world.issuer.asked == 2

    world.issuer.is_down = True
    world.clock.shift_ms += 3_600_000
    assert (await world.send(world.token(new, "Ed25519", jti="five"))).status_code == 202
    world.clock.shift_ms += 24 * 3_600_000
    answer = await world.send(world.token(new, "Ed25519", jti="six"))
    problem(answer, 503, "secret-unavailable")
    assert int(answer.headers["retry-after"]) > 0
    world.issuer.is_down = False
    world.clock.shift_ms += 31_000
    assert (await world.send(world.token(new, "Ed25519", jti="six"))).status_code == 202


@pytest.mark.req("TRIG-1.issuer-keys", "TRIG-1.refused")
async def test_algorithms_are_those_of_the_webhook_whatever_a_token_says(world: World) -> None:
    key = rsa("one")
    world.issuer.keys = [key]
    good = world.token(key, "RS256", jti="good")
    assert (await world.send(good)).status_code == 202
    repeated = await world.send(good)
    assert repeated.status_code == 202, "the token's id is the delivery's"
    runs = (await world.served.get("/api/v1/runs?flow=told"))["runs"]
    assert len(runs) == 1

    head, body, proof = good.split(".")
    none = _part({"alg": "none", "kid": "one"})
    secret, signed = key.as_pem(private=False), f"{_part({'alg': 'HS256', 'kid': 'one'})}.{body}"
    digest = hmac.new(secret, signed.encode(), hashlib.sha256).digest()
    confused = f"{signed}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"
    for bad in (
        f"{none}.{body}.", f"{none}.{body}.{proof}", f"{head}.{body}.", f"{head}.{body}", "x",
        confused, world.token(key, "PS256"), world.token(key, "RS512"),
        world.token(key, "RS256", aud="others"), world.token(key, "RS256", iss="https://else.example.com"),
        world.token(key, "RS256", exp=world.clock.now() // 1000 - 61),
        world.token(key, "RS256", nbf=world.clock.now() // 1000 + 120),
        world.token(key, "RS256", iat=world.clock.now() // 1000 + 120),
    ):  # fmt: skip
        problem(await world.send(bad), 403, "bad-signature")
    assert world.issuer.asked == 1
