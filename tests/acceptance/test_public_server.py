"""A server behind a proxy with TLS: what is answered to whom, and what a browser is given."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from acceptance.api_support import TOKEN, Served, problem, serve

pytestmark = pytest.mark.anyio

URL = "https://segue.example.org"
PROXIED = {"host": "segue.example.org", "x-forwarded-proto": "https", "x-forwarded-for": "203.0.113.9, 198.51.100.7"}
OWNER = {"email": "olga@example.org", "name": "Olga", "password": "four lanterns over the quay"}


@pytest.fixture
async def served() -> AsyncGenerator[Served]:
    async with serve(public_url=URL) as found:
        yield found


@pytest.mark.req("ACC-1.safe-by-default", "ACC-7.host")
async def test_others_are_answered_through_the_proxy_only(served: Served) -> None:
    async with served.anyone() as client:
        assert (await client.get("/login", headers=PROXIED)).status_code == 200
        plain = {name: value for name, value in PROXIED.items() if name != "x-forwarded-proto"}
        problem(await client.get("/login", headers=plain), 403, "forbidden")
        problem(await client.get("/login", headers={**PROXIED, "x-forwarded-proto": "http"}), 403, "forbidden")
        problem(await client.get("/login", headers={**PROXIED, "host": "evil.example"}), 421, "misdirected")
        # The command line on this machine goes straight to it with the token of the lock file; no link opens a browser.
        assert (await served.client.get("/api/v1/me")).status_code == 200
        assert (await client.get(f"/?token={TOKEN}")).status_code == 401


@pytest.mark.req("ACC-1.session", "ACC-7.csrf")
async def test_a_browser_gets_a_secure_cookie_and_its_own_address_is_kept(served: Served) -> None:
    async with served.anyone(**PROXIED) as client:
        body = {"token": served.access.open_setup(), **OWNER}
        foreign = await client.post("/api/v1/setup", json=body, headers={"origin": "https://evil.example"})
        problem(foreign, 403, "forbidden")
        made = await client.post("/api/v1/setup", json=body, headers={"origin": URL})
        assert made.status_code == 200
        cookie = made.headers["set-cookie"].lower()
        for part in ("secure", "httponly", "samesite=strict"):
            assert part in cookie
        value = made.headers["set-cookie"].partition(";")[0]
        listed = await client.get("/api/v1/sessions", headers={"cookie": value})
        assert listed.json()["sessions"][0]["address"] == "198.51.100.7"
