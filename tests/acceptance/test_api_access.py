"""Identity, own host and origin, links and sessions: every door is closed to whoever should not come in."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import httpx2
import pytest

from acceptance.api_support import TOKEN, Served, problem, serve
from segue.api import Access

pytestmark = pytest.mark.anyio

HELLO = "flow: hello\nsteps:\n  - log: hello\n"


@pytest.fixture
async def served() -> AsyncGenerator[Served]:
    async with serve() as found:
        yield found


@asynccontextmanager
async def _browser(served: Served) -> AsyncGenerator[httpx2.AsyncClient]:
    """A client with a session, as the printed link makes one."""
    async with served.anyone() as client:
        answer = await client.get(f"/?token={TOKEN}")
        assert answer.status_code == 303, answer.text
        yield client


@pytest.mark.req("ACC-1.public-by-choice")
async def test_every_route_but_the_public_ones_asks_for_identity(served: Served) -> None:
    async with served.anyone() as client:
        paths = served.app.openapi()["paths"] | {"/openapi.json": {"get": {}}, "/api/v1/nothing-here": {"get": {}}}
        closed = [
            (method, path)
            for path, operations in paths.items()
            for method, operation in operations.items()
            if operation.get("security") != []
        ]
        assert len(closed) > 10
        for method, path in closed:
            answer = await client.request(method.upper(), path.replace("{run_id}", "run_x").replace("{flow_id}", "x"))
            problem(answer, 401, "unauthenticated")
            assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.req("ACC-1.public-by-choice", "OBS-4.health")
async def test_health_and_assets_are_public(served: Served) -> None:
    async with served.anyone() as client:
        assert (await client.get("/health/live")).json() == {"status": "live", "checks": {}}
        ready = await client.get("/health/ready")
        assert ready.json() == {"status": "ready", "checks": {"engine": "ok", "store": "ok"}}
        assert (await client.get("/assets/page.js")).status_code == 200
        problem(await client.get("/assets/index.html"), 404, "not-found")
        problem(await client.get("/assets/..%2Fapi%2Fapp.py"), 404, "not-found")


@pytest.mark.req("ACC-1.token")
@pytest.mark.parametrize("given", ["Bearer wrong", "Bearer", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", "Bearer é"])
async def test_a_wrong_token_is_refused(served: Served, given: str) -> None:
    async with served.anyone() as client:
        answer = await client.get("/api/v1/runs", headers={"authorization": given.encode()})  # type: ignore[dict-item]
        problem(answer, 401, "unauthenticated")
        assert TOKEN not in answer.text


@pytest.mark.req("ACC-1.token")
async def test_a_wrong_token_is_not_overlooked_for_a_session(served: Served) -> None:
    async with _browser(served) as client:
        assert (await client.get("/api/v1/runs")).status_code == 200
        problem(await client.get("/api/v1/runs", headers={"authorization": "Bearer wrong"}), 401, "unauthenticated")


@pytest.mark.req("ACC-1.link")
async def test_the_printed_link_makes_one_session_and_no_second(served: Served) -> None:
    async with _browser(served) as client, served.anyone() as other:
        cookie = next(iter(client.cookies.jar))
        assert cookie.name == f"segue_session_{served.port}"
        assert cookie.has_nonstandard_attr("HttpOnly")
        assert str(cookie.get_nonstandard_attr("SameSite")).lower() == "strict"
        assert TOKEN not in (cookie.value or "")
        assert (await client.get("/")).status_code == 200
        assert (await client.get("/api/v1/runs")).status_code == 200

        again = await other.get(f"/?token={TOKEN}")
        assert again.status_code == 401
        assert again.headers["content-type"].startswith("text/html")
        assert "has been used" in again.text
        problem(await other.get("/api/v1/runs"), 401, "unauthenticated")
        # Whoever has a session already is only led to the page.
        assert (await client.get(f"/?token={TOKEN}")).headers["location"] == "/"
        # The token itself goes on being good for programs.
        assert (await served.client.get("/api/v1/runs")).status_code == 200


@pytest.mark.req("ACC-1.link")
async def test_a_further_link_opens_one_more_browser(served: Served) -> None:
    made = await served.client.post("/api/v1/links")
    assert made.status_code == 201
    path = made.json()["url_path"]
    async with served.anyone() as client, served.anyone() as other:
        assert (await client.get(path)).status_code == 303
        assert (await client.get("/api/v1/runs")).status_code == 200
        assert (await other.get(path)).status_code == 401


def test_links_and_sessions_end_with_their_time() -> None:
    now = 0.0
    access = Access("token", clock=lambda: now)
    link = access.new_link_token()
    late = access.new_link_token()
    session = access.open_session(link)
    assert access.has_session(session)
    now = 601.0
    assert access.open_session(late) is None
    assert access.has_session(session)
    # The printed one waits for its user.
    assert access.open_session("token") is not None
    now = 8 * 86_400.0
    assert not access.has_session(session)


def test_links_and_sessions_are_bounded() -> None:
    access = Access("token")
    first = access.open_session(access.new_link_token())
    for _ in range(100):
        assert access.open_session(access.new_link_token()) is not None
    assert not access.has_session(first)
    links = [access.new_link_token() for _ in range(101)]
    assert access.open_session(links[0]) is None
    assert access.open_session(links[-1]) is not None


def test_an_empty_token_is_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        Access("")


@pytest.mark.req("ACC-7.host")
@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "localhost.evil.example:{port}", "",
     "127.0.0.1:{port}@evil.example", "evil.example#127.0.0.1:{port}", "127.0.0.1:{port}/x", "[::1", "10.0.0.1:{port}"],
)  # fmt: skip
async def test_a_foreign_host_name_is_refused(served: Served, host: str) -> None:
    given = {"host": host.format(port=served.port)}
    problem(await served.client.get("/api/v1/runs", headers=given), 421, "misdirected")
    async with served.anyone() as client:
        problem(await client.get(f"/?token={TOKEN}", headers=given), 421, "misdirected")
        answer = await client.post("/api/v1/orchestrator/callback/abc", headers=given)
        problem(answer, 421, "misdirected")


@pytest.mark.req("ACC-7.host")
@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "localhost:{port}", "LOCALHOST:{port}", "[::1]:{port}"])
async def test_every_name_of_this_machine_is_its_own(served: Served, host: str) -> None:
    answer = await served.client.get("/api/v1/runs", headers={"host": host.format(port=served.port)})
    assert answer.status_code == 200


@pytest.mark.req("ACC-7.host")
async def test_a_name_that_was_allowed_is_answered() -> None:
    async with serve(allowed_hosts=("segue.example.org", "other.example.org:8443")) as served:
        for host, status in (
            ("segue.example.org", 200),
            ("segue.example.org:9999", 200),
            ("other.example.org:8443", 200),
            ("other.example.org", 421),
        ):
            answer = await served.client.get("/api/v1/runs", headers={"host": host})
            assert answer.status_code == status, host


@pytest.mark.req("ACC-7.origin")
@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1", "file://", "http://[", ""])
async def test_a_page_of_another_origin_is_refused(served: Served, origin: str) -> None:
    problem(await served.client.get("/api/v1/runs", headers={"origin": origin}), 403, "forbidden")


@pytest.mark.req("ACC-7.csrf")
async def test_a_session_may_change_something_only_from_our_own_page(served: Served) -> None:
    body = {"flow": HELLO}
    async with _browser(served) as client:
        for headers in (
            {},
            {"origin": "http://evil.example"},
            {"sec-fetch-site": "cross-site"},
            {"sec-fetch-site": "same-site"},
            {"sec-fetch-site": "none"},
            {"sec-fetch-site": "same-site", "origin": served.url},
        ):
            problem(await client.post("/api/v1/runs", json=body, headers=headers), 403, "forbidden")
        assert (await served.get("/api/v1/runs"))["runs"] == []
        for headers in ({"origin": served.url}, {"sec-fetch-site": "same-origin"}):
            answer = await client.post("/api/v1/runs", json=body, headers=headers)
            assert answer.status_code == 201
        # Nor may a foreign page read by embedding.
        problem(await client.get("/api/v1/runs", headers={"sec-fetch-site": "cross-site"}), 403, "forbidden")
    runs = (await served.get("/api/v1/runs"))["runs"]
    assert [run["trigger"] for run in runs] == ["manual", "manual"]


@pytest.mark.req("ACC-7.headers")
async def test_every_answer_has_the_protecting_headers(served: Served) -> None:
    async with served.anyone() as client:
        for path in ("/", "/health/live", "/api/v1/runs", "/assets/page.js", "/api/v1/orchestrator/callback/x"):
            headers = (await client.get(path)).headers
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "no-referrer"
            assert headers["cross-origin-opener-policy"] == "same-origin"
            policy = headers["content-security-policy"]
            assert "frame-ancestors 'none'" in policy
            assert "unsafe" not in policy
            assert policy.startswith("default-src 'none'")


@pytest.mark.req("ACC-1.session")
async def test_a_cookie_that_cannot_be_read_is_no_session(served: Served) -> None:
    async with served.anyone(cookie="a b=c; =; ;;segue_session=[]{}") as client:
        problem(await client.get("/api/v1/runs"), 401, "unauthenticated")
