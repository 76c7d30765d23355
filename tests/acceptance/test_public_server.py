"""A server behind a proxy with TLS: what is answered to whom, and what a browser is given."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from acceptance.api_support import TOKEN, Served, problem, serve
from segue.api.access import Access
from segue.api.errors import ForbiddenError

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


@pytest.mark.req("ACC-7.hsts")
async def test_browsers_are_told_to_stay_with_https(served: Served) -> None:
    async with served.anyone(**PROXIED) as client:
        for path in ("/login", "/api/v1/me", "/assets/page.css", "/none"):
            answer = await client.get(path)
            assert answer.headers["strict-transport-security"] == "max-age=31536000"


@pytest.mark.req("ACC-7.trusted-proxy")
async def test_only_a_trusted_proxy_is_believed() -> None:
    def client(*proxies: str) -> Access:
        return Access("t", public_url=URL, trusted_proxies=proxies)

    told = {"x-forwarded-for": "192.0.2.1, 203.0.113.9, 10.0.0.8", "x-forwarded-proto": "https"}
    inside, outside = ("10.0.0.7", 1), ("198.51.100.1", 1)
    access = client("10.0.0.0/24", "2001:db8::7")
    assert access.address_of(told, inside) == "203.0.113.9"
    assert access.address_of(told, ("::ffff:10.0.0.7", 1)) == "203.0.113.9"
    assert access.address_of(told, outside) == "198.51.100.1"
    assert access.address_of({}, inside) == "10.0.0.7"
    assert access.address_of({"x-forwarded-for": "nonsense"}, inside) == "10.0.0.7"
    assert client().address_of(told, ("127.0.0.1", 1)) == "10.0.0.8"
    assert Access("t").address_of(told, ("127.0.0.1", 1)) == "127.0.0.1"
    access.check_transport({"host": "segue.example.org", **told}, inside)
    with pytest.raises(ForbiddenError):
        access.check_transport({"host": "segue.example.org", **told}, outside)
