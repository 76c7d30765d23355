"""An OpenID provider vouches: a real one for signing in, and our own keys for all that tokens can get wrong."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import socket
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import msgspec
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from acceptance.api_support import Served, problem, running, serve
from acceptance.openid_provider import CLIENT_SECRET, OpenIdProvider, openid_provider
from segue.access import oidc
from segue.access.accounts import Accounts
from segue.access.oidc import OidcProvider, OidcSettings
from segue.bootstrap import Host
from segue.errors import RequestError
from segue.net.egress import EgressPolicy

pytestmark = pytest.mark.anyio

ROLES = {"admins": "owner", "people": "viewer"}


def settings(issuer: str, **more: Any) -> OidcSettings:
    given: dict[str, Any] = {
        "client_id": "segue",
        "client_secret": "quay",
        "audience": "segue-api",
        "roles": ROLES,
        **more,
    }
    return OidcSettings(issuer=issuer, **given)


# ---------------------------------------------------------------- signing in at a real provider

PEOPLE = {
    "ada": {"name": "Ada", "email": "ada@example.org", "email_verified": True, "roles": ["people"]},
    "eve": {"name": "Eve", "email": "eve@example.org", "email_verified": True, "roles": ["others"]},
}
Providing = Callable[[Accounts, Host], OidcProvider]


@pytest.fixture
async def provider() -> AsyncGenerator[OpenIdProvider]:
    async with openid_provider(PEOPLE) as found:
        yield found


@pytest.fixture
async def served(provider: OpenIdProvider) -> AsyncGenerator[Served]:
    given = settings(provider.url, client_secret=CLIENT_SECRET)
    async with serve(provider=lambda accounts, host: OidcProvider(given, accounts, host.http.get)) as found:
        provider.register(f"{found.url}/api/v1/oidc/callback")
        yield found


async def there(served: Served, client: httpx2.AsyncClient, provider: OpenIdProvider, who: str = "ada") -> httpx2.URL:
    """Sign in at the provider: where it sends the browser back to."""
    provider.sign_in_as(who)
    begun = await client.get("/api/v1/oidc/login")
    assert begun.status_code == 303, begun.text
    async with httpx2.AsyncClient(trust_env=False) as browser:
        agreed = await browser.get(begun.headers["location"])
    assert agreed.status_code == 302, agreed.text
    return httpx2.URL(agreed.headers["location"])


@pytest.mark.req("ACC-1.oidc")
async def test_a_person_signs_in_through_the_provider(served: Served, provider: OpenIdProvider) -> None:
    async with served.anyone() as client:
        ways = (await client.get("/api/v1/login")).json()
        assert ways == {"has_owner": False, "provider": "OpenID", "provider_path": "/api/v1/oidc/login"}
        begun = await client.get("/api/v1/oidc/login")
        asked = parse_qs(urlsplit(begun.headers["location"]).query)
        assert asked["code_challenge_method"] == ["S256"]
        assert asked["response_type"] == ["code"]
        assert asked["redirect_uri"] == [f"{served.url}/api/v1/oidc/callback"]

        back = await there(served, client, provider)
        answer = await client.get(back)
        assert answer.status_code == 200, answer.text
        assert 'content="0;url=/"' in answer.text
        me = (await client.get("/api/v1/me")).json()
        assert (me["kind"], me["name"], me["workspace"]) == ("user", "Ada", "default")
        assert "run:read" in me["permissions"]
        assert "run:create" not in me["permissions"]
        problem(await client.get(back), 401, "sign-in-refused")
    async with served.anyone() as again:
        await again.get(await there(served, again, provider))
        assert (await again.get("/api/v1/me")).json()["id"] == me["id"]


@pytest.mark.req("ACC-1.oidc")
async def test_who_has_no_role_here_is_not_let_in(served: Served, provider: OpenIdProvider) -> None:
    async with served.anyone() as client:
        problem(await client.get(await there(served, client, provider, "eve")), 401, "sign-in-refused")
        problem(await client.get("/api/v1/me"), 401, "unauthenticated")
    assert (await served.get("/api/v1/users"))["users"] == []


@pytest.mark.req("ACC-1.oidc-state")
async def test_an_answer_of_the_provider_is_good_for_the_browser_that_asked(
    served: Served, provider: OpenIdProvider
) -> None:
    async with served.anyone() as client, served.anyone() as other:
        back = await there(served, client, provider)
        problem(await other.get(back), 401, "sign-in-refused")
        forged = back.copy_set_param("state", "x")
        problem(await client.get(forged), 401, "sign-in-refused")
        foreign = (await there(served, client, provider)).copy_set_param("iss", "https://evil.example")
        problem(await client.get(foreign), 401, "sign-in-refused")
        wrong = (await there(served, client, provider)).copy_set_param("code", "x")
        problem(await client.get(wrong), 401, "sign-in-refused")
        problem(await client.get("/api/v1/oidc/callback?error=access_denied"), 401, "unauthenticated")


@pytest.mark.req("ACC-1.oidc")
async def test_an_address_that_somebody_has_already_gives_nobody_that_account(
    served: Served, provider: OpenIdProvider
) -> None:
    made = await served.client.post("/api/v1/users", json={"email": "ada@example.org", "role": "owner"})
    async with served.anyone() as client:
        await client.get(await there(served, client, provider))
        me = (await client.get("/api/v1/me")).json()
    assert me["id"] != made.json()["user"]["id"]
    assert "workspace:admin" not in me["permissions"]


@pytest.mark.req("ACC-1.oidc-pkce")
async def test_a_code_without_its_verifier_and_a_code_used_twice_are_refused_by_the_provider(
    served: Served, provider: OpenIdProvider
) -> None:
    async with served.anyone() as client:
        back = await there(served, client, provider)
        code = back.params["code"]
        assert (await client.get(back)).status_code == 200
        replayed = (await there(served, client, provider)).copy_set_param("code", code)
        problem(await client.get(replayed), 401, "sign-in-refused")
        assert provider.refused == ["invalid_grant"]
        # A code that somebody else's sign-in got: its verifier is not ours.
        stolen = (await there(served, client, provider)).params["code"]
        mine = (await there(served, client, provider)).copy_set_param("code", stolen)
        problem(await client.get(mine), 401, "sign-in-refused")
        assert provider.refused == ["invalid_grant"] * 2


@pytest.mark.req("ACC-1.oidc")
async def test_a_wrong_client_secret_is_refused_by_the_provider() -> None:
    async with openid_provider(PEOPLE) as provider:
        given = settings(provider.url, client_secret="a-secret-that-is-another-one")
        async with serve(provider=lambda accounts, host: OidcProvider(given, accounts, host.http.get)) as served:
            provider.register(f"{served.url}/api/v1/oidc/callback")
            async with served.anyone() as client:
                problem(await client.get(await there(served, client, provider)), 401, "sign-in-refused")
                assert provider.refused


async def test_without_a_provider_there_is_no_such_sign_in() -> None:
    async with serve() as served, served.anyone() as client:
        problem(await client.get("/api/v1/oidc/login"), 404, "not-found")


# ---------------------------------------------------------------- tokens


class Issuer:
    """A provider's documents, over HTTP, with keys that the test holds."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.keys = {"one": RSAKey.generate_key(2048, {"kid": "one", "use": "sig", "alg": "RS256"})}
        self.asked = 0
        self.broken = False
        self.id_token = ""
        """What the token endpoint gives for any code."""
        self.padding = ""
        self.redirects = False
        self.silent = False
        self.paths: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive)
        self.paths.append(request.url.path)
        if self.silent:
            await asyncio.Event().wait()
        if self.redirects and request.url.path == "/keys":
            await RedirectResponse(f"{self.url}/elsewhere", 302)(scope, receive, send)
            return
        if request.url.path == "/token" and not self.broken:
            answer = {"access_token": "x", "token_type": "Bearer", "id_token": self.id_token, "padding": self.padding}
            await Response(msgspec.json.encode(answer), media_type="application/json")(scope, receive, send)
            return
        if self.broken:
            await Response(b"no", 500)(scope, receive, send)
            return
        if request.url.path == "/keys":
            self.asked += 1
            content: Any = KeySet(list(self.keys.values())).as_dict(private=False)
        else:
            content = {"padding": self.padding, "issuer": self.url, "jwks_uri": f"{self.url}/keys"}
            content |= {f"{name}_endpoint": f"{self.url}/{name}" for name in ("authorization", "token")}
        await Response(msgspec.json.encode(content), media_type="application/json")(scope, receive, send)

    def claims(self, **more: Any) -> dict[str, Any]:
        now = int(time.time())
        usual = {"iss": self.url, "aud": "segue-api", "sub": "robot", "iat": now, "exp": now + 600, "roles": ["people"]}
        return {name: value for name, value in (usual | more).items() if value is not None}

    def token(self, key: str = "one", header: dict[str, Any] | None = None, **claims: Any) -> str:
        return jwt.encode({"alg": "RS256", "kid": key, **(header or {})}, self.claims(**claims), self.keys[key])


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def issued(
    clock: Clock | None = None, egress: EgressPolicy | None = None, **more: Any
) -> AsyncGenerator[tuple[Issuer, Served]]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        found = Issuer(f"http://127.0.0.1:{listener.getsockname()[1]}")

        def provider(accounts: Accounts, host: Host) -> OidcProvider:
            return OidcProvider(settings(found.url, **more), accounts, host.http.get, clock=clock or time.monotonic)

        async with running(found, listener), serve(provider=provider, egress=egress) as served:
            yield found, served


async def as_bearer(served: Served, token: str) -> httpx2.Response:
    async with served.anyone(authorization=f"Bearer {token}") as client:
        return await client.get("/api/v1/runs")


@pytest.mark.req("ACC-1.oidc-bearer")
async def test_a_program_comes_with_a_token_of_the_provider() -> None:
    async with issued() as (issuer, served):
        assert (await as_bearer(served, issuer.token())).status_code == 200
        assert (await as_bearer(served, issuer.token(aud=["other", "segue-api"]))).status_code == 200
        async with served.anyone(authorization=f"Bearer {issuer.token()}") as client:
            problem(await client.post("/api/v1/runs", json={"flow": "flow: x"}), 403, "forbidden")
        assert len((await served.get("/api/v1/users"))["users"]) == 1


def _part(value: Any) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(value)).rstrip(b"=").decode()


def _hs256(issuer: Issuer) -> str:
    """Signed with the public key as if it were a shared secret. Libraries refuse to make one, so it is made by hand."""
    signed = f"{_part({'alg': 'HS256', 'kid': 'one'})}.{_part(issuer.claims())}"
    digest = hmac.new(issuer.keys["one"].as_pem(private=False), signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


def _signed(issuer: Issuer, kid: str, *, jwk: bool = False, **claims: Any) -> str:
    key = RSAKey.generate_key(2048, {"kid": kid})
    header: dict[str, Any] = {"alg": "RS256", "kid": kid}
    if jwk:
        header["jwk"] = key.as_dict(private=False)
    return jwt.encode(header, issuer.claims(**claims), key)


FAULTS: dict[str, Callable[[Issuer], str]] = {
    "another issuer": lambda it: it.token(iss="https://evil.example"),
    "another audience": lambda it: it.token(aud="other"),
    "no audience": lambda it: it.token(aud=None),
    "expired": lambda it: it.token(exp=int(time.time()) - 120),
    "never expires": lambda it: it.token(exp=None),
    "not yet valid": lambda it: it.token(nbf=int(time.time()) + 600),
    "nobody": lambda it: it.token(sub=None),
    "an ID token": lambda it: it.token(nonce="x"),
    "no role": lambda it: it.token(roles=["others"]),
    "unsigned": lambda it: ".".join((_part({"alg": "none"}), _part(it.claims()), "")),
    "a shared secret": _hs256,
    "another key under a known id": lambda it: _signed(it, "one"),
    "another key of its own": lambda it: _signed(it, "evil", jwk=True),
    "no JWT": lambda it: "a.b.c",
    "long": lambda it: it.token(padding="x" * 20_000),
}


@pytest.mark.req("ACC-1.oidc-bearer")
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_token_that_does_not_hold_is_refused(fault: str) -> None:
    async with issued() as (issuer, served):
        token = FAULTS[fault](issuer)
        answer = await as_bearer(served, token)
        problem(answer, 401, "unauthenticated")
        assert token not in answer.text


@pytest.mark.req("ACC-1.oidc-rotation")
async def test_a_new_key_is_found_and_unknown_ones_are_not_asked_for_again_and_again() -> None:
    clock = Clock()
    async with issued(clock) as (issuer, served):
        assert (await as_bearer(served, issuer.token())).status_code == 200
        issuer.keys["two"] = RSAKey.generate_key(2048, {"kid": "two", "use": "sig", "alg": "RS256"})
        clock.now += 31
        assert (await as_bearer(served, issuer.token("two"))).status_code == 200
        asked = issuer.asked
        for number in range(5):
            await as_bearer(served, _signed(issuer, f"unknown-{number}"))
        assert issuer.asked == asked

        old = issuer.token("one", jti="new")
        del issuer.keys["one"]
        clock.now += 601
        problem(await as_bearer(served, old), 401, "unauthenticated")

        issuer.broken = True
        clock.now += 601
        assert (await as_bearer(served, issuer.token("two", jti="x"))).status_code == 200


@pytest.mark.req("ACC-1.oidc-bearer")
async def test_a_provider_that_never_answered_is_told_apart_from_a_wrong_token() -> None:
    async with issued() as (issuer, served):
        token = issuer.token()
        issuer.broken = True
        problem(await as_bearer(served, token), 503, "provider-unavailable")
        problem(await as_bearer(served, "sgk_wrong"), 401, "unauthenticated")


ID_FAULTS: dict[str, Callable[[Issuer, str], str]] = {
    "another nonce": lambda it, nonce: it.token(aud="segue", nonce="x"),
    "no nonce": lambda it, nonce: it.token(aud="segue"),
    "another audience": lambda it, nonce: it.token(aud="segue-api", nonce=nonce),
    "another issuer": lambda it, nonce: it.token(aud="segue", iss="https://evil.example", nonce=nonce),
    "expired": lambda it, nonce: it.token(aud="segue", exp=int(time.time()) - 120, nonce=nonce),
    "another key": lambda it, nonce: _signed(it, "one", aud="segue", nonce=nonce),
    "none at all": lambda it, nonce: "",
}


async def _back(issuer: Issuer, client: httpx2.AsyncClient, make: Callable[[Issuer, str], str]) -> httpx2.Response:
    """Sign in where the token endpoint gives an ID token that `make` makes for the nonce."""
    begun = await client.get("/api/v1/oidc/login")
    asked = parse_qs(urlsplit(begun.headers["location"]).query)
    issuer.id_token = make(issuer, asked["nonce"][0])
    return await client.get("/api/v1/oidc/callback", params={"state": asked["state"][0], "code": "c"})


@pytest.mark.req("ACC-1.oidc-id-token")
@pytest.mark.parametrize("fault", ID_FAULTS)
async def test_an_id_token_that_was_not_made_for_this_sign_in_is_refused(fault: str) -> None:
    async with issued() as (issuer, served), served.anyone() as client:
        problem(await _back(issuer, client, ID_FAULTS[fault]), 401, "sign-in-refused")
        problem(await client.get("/api/v1/me"), 401, "unauthenticated")
        good = await _back(issuer, client, lambda it, nonce: it.token(aud="segue", nonce=nonce))
        assert good.status_code == 200, good.text


@pytest.mark.req("ACC-6.oidc")
async def test_a_provider_at_an_address_that_is_not_allowed_is_never_asked() -> None:
    async with issued(egress=EgressPolicy.server(())) as (issuer, served), served.anyone() as client:
        problem(await client.get("/api/v1/oidc/login"), 503, "provider-unavailable")
        problem(await as_bearer(served, issuer.token()), 503, "provider-unavailable")
        assert issuer.paths == []


@pytest.mark.req("ACC-6.oidc")
async def test_what_a_provider_answers_is_bounded_and_leads_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oidc, "HTTP_SECONDS", 0.3)
    async with issued() as (issuer, served), served.anyone() as client:
        issuer.padding = "x" * oidc.ANSWER_BYTES_MAX
        problem(await client.get("/api/v1/oidc/login"), 503, "provider-unavailable")
        issuer.padding = ""
        issuer.redirects = True
        problem(await as_bearer(served, issuer.token()), 503, "provider-unavailable")
        assert "/elsewhere" not in issuer.paths
        issuer.redirects = False

        def large(it: Issuer, nonce: str) -> str:
            it.padding = "x" * oidc.ANSWER_BYTES_MAX
            return it.token(aud="segue", nonce=nonce)

        problem(await _back(issuer, client, large), 503, "provider-unavailable")
        issuer.padding = ""

        def broken(it: Issuer, nonce: str) -> str:
            it.broken = True
            return it.token(aud="segue", nonce=nonce)

        problem(await _back(issuer, client, broken), 503, "provider-unavailable")
        issuer.broken = False

        def silent(it: Issuer, nonce: str) -> str:
            it.silent = True
            return it.token(aud="segue", nonce=nonce)

        problem(await _back(issuer, client, silent), 503, "provider-unavailable")


@pytest.mark.req("ACC-1.oidc-bearer")
async def test_without_an_audience_no_token_of_the_provider_is_taken() -> None:
    async with issued(audience=None) as (issuer, served):
        problem(await as_bearer(served, issuer.token(aud="segue")), 401, "unauthenticated")


@pytest.mark.req("ACC-1.oidc-roles")
async def test_a_changed_role_at_the_provider_counts_with_the_next_token() -> None:
    async with issued(role_claim="realm.roles") as (issuer, served):
        low, high = {"roles": ["people"]}, {"roles": ["people", "admins"]}
        for realm, status in ((low, 403), (high, 404), (low, 404)):
            async with served.anyone(authorization=f"Bearer {issuer.token(realm=realm)}") as client:
                answer = await client.delete("/api/v1/grants/grt_x")
                assert answer.status_code == status, "the last owner stays owner"


@pytest.mark.parametrize(
    "environment",
    [
        {"SEGUE_OIDC_ISSUER": "https://id.example.org"},
        {"SEGUE_OIDC_ISSUER": "https://id.example.org", "SEGUE_OIDC_CLIENT_ID": "x", "SEGUE_OIDC_ROLES": "a"},
        {"SEGUE_OIDC_ISSUER": "https://id.example.org", "SEGUE_OIDC_CLIENT_ID": "x", "SEGUE_OIDC_ROLES": "a=king"},
        {"SEGUE_OIDC_ISSUER": "https://id.example.org", "SEGUE_OIDC_CLIENT_ID": "x", "SEGUE_OIDC_DEFAULT_ROLE": "king"},
        {"SEGUE_OIDC_ISSUER": "http://id.example.org", "SEGUE_OIDC_CLIENT_ID": "x"},
    ],
)
def test_settings_that_cannot_be_meant_are_refused(environment: dict[str, str]) -> None:
    with pytest.raises(RequestError, match="SEGUE_OIDC"):
        OidcSettings.of_environment(environment)
