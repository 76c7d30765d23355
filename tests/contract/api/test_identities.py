"""People, keys, roles, grants, workspaces and switches: who may do what, and from when on not any more."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest

from acceptance.api_support import Served, ShiftedClock, problem, serve
from segue.access.errors import WeakPasswordError
from segue.access.passwords import check_password

pytestmark = pytest.mark.anyio

PASSWORD = "four lanterns over the quay"
OTHER = "seven herons in the reeds"
HELLO = "flow: hello\nsteps:\n  - log: hello\n"
OWNER = {"email": "Olga@Example.org", "name": "Olga", "password": PASSWORD}


@pytest.fixture
def clock() -> ShiftedClock:
    return ShiftedClock()


@pytest.fixture
async def served(clock: ShiftedClock) -> AsyncGenerator[Served]:
    async with serve(clock=clock) as found:
        yield found


@asynccontextmanager
async def browser(served: Served, email: str, password: str = PASSWORD) -> AsyncGenerator[httpx2.AsyncClient]:
    """A browser in which somebody has signed in."""
    async with served.anyone(origin=served.url) as client:
        answer = await client.post("/api/v1/login", json={"email": email, "password": password})
        assert answer.status_code == 200, answer.text
        yield client


async def make_owner(served: Served) -> str:
    async with served.anyone() as client:
        answer = await client.post("/api/v1/setup", json={"token": served.access.open_setup(), **OWNER})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["id"])


async def make_user(served: Served, email: str, role: str, **headers: str) -> str:
    """A member with the usual password."""
    made = await served.client.post("/api/v1/users", json={"email": email, "role": role}, headers=headers)
    assert made.status_code == 201, made.text
    token = made.json()["link"]["url_path"].partition("#")[2]
    async with served.anyone() as client:
        answer = await client.post("/api/v1/setup", json={"token": token, "password": PASSWORD})
        assert answer.status_code == 200, answer.text
    return str(made.json()["user"]["id"])


async def make_key(served: Served, permissions: list[str], **more: Any) -> tuple[str, httpx2.AsyncClient]:
    headers = more.pop("headers", {})
    body = {"name": "ci", "permissions": permissions, **more}
    made = await served.client.post("/api/v1/keys", json=body, headers=headers)
    assert made.status_code == 201, made.text
    return made.json()["key"]["id"], served.anyone(authorization=f"Bearer {made.json()['token']}")


@pytest.mark.req("ACC-1.first-owner")
async def test_the_first_link_makes_the_owner_and_works_once(served: Served) -> None:
    token = served.access.open_setup()
    async with served.anyone() as client:
        problem(await client.post("/api/v1/setup", json={"token": "x", **OWNER}), 404, "not-found")
        weak = await client.post("/api/v1/setup", json={"token": token, **OWNER, "password": "olga example.org"})
        assert "others try first" in problem(weak, 422, "password-refused")["detail"]
        made = await client.post("/api/v1/setup", json={"token": token, **OWNER})
        assert made.status_code == 200
        me = (await client.get("/api/v1/me")).json()
        assert (me["kind"], me["name"], me["workspace"]) == ("user", "Olga", "default")
        assert "workspace:admin" in me["permissions"]
        problem(await client.post("/api/v1/setup", json={"token": token, **OWNER}), 404, "not-found")
        late = {"token": served.access.open_setup(), **OWNER}
        problem(await client.post("/api/v1/setup", json=late), 409, "conflict")
        assert (await client.get("/api/v1/login")).json()["has_owner"]


@pytest.mark.req("ACC-1.password", "ACC-1.session")
async def test_people_sign_in_and_out_by_cookie(served: Served) -> None:
    await make_owner(served)
    async with browser(served, "olga@example.org") as client:
        cookie = next(iter(client.cookies.jar))
        assert cookie.has_nonstandard_attr("HttpOnly")
        assert str(cookie.get_nonstandard_attr("SameSite")).lower() == "strict"
        assert (await client.get("/")).status_code == 200
        listed = (await client.get("/api/v1/sessions")).json()["sessions"]
        assert len(listed) == 2
        assert (cookie.value or "") not in str(listed)
        assert (await client.post("/api/v1/logout")).status_code == 204
    async with served.anyone(origin=served.url) as again:
        again.cookies.jar.set_cookie(cookie)
        problem(await again.get("/api/v1/me"), 401, "unauthenticated")
        assert "Sign in" in (await again.get("/")).text


@pytest.mark.req("ACC-1.no-enumeration")
async def test_a_wrong_password_is_answered_as_an_unknown_address(served: Served) -> None:
    await make_owner(served)
    async with served.anyone() as client:
        found = []
        for email in ("olga@example.org", "nobody@example.org"):
            answer = await client.post("/api/v1/login", json={"email": email, "password": "wrong wrong wrong"})
            details = problem(answer, 401, "unauthenticated")
            found.append({key: details[key] for key in ("type", "title", "detail")})
        assert found[0] == found[1]


@pytest.mark.req("ACC-7.rate-limit", "ACC-1.lock-out")
async def test_guessing_passwords_gets_ever_slower(served: Served) -> None:
    await make_owner(served)
    async with served.anyone() as client:
        for email in ("olga@example.org", "nobody@example.org"):
            wrong = {"email": email, "password": "wrong wrong wrong"}
            for _ in range(5):
                problem(await client.post("/api/v1/login", json=wrong), 401, "unauthenticated")
            slower = await client.post("/api/v1/login", json=wrong)
            problem(slower, 429, "too-many-requests")
            assert int(slower.headers["retry-after"]) == 1


@pytest.mark.req("ACC-7.csrf")
async def test_a_foreign_page_can_sign_nobody_in(served: Served) -> None:
    await make_owner(served)
    async with served.anyone() as client:
        body = {"email": "olga@example.org", "password": PASSWORD}
        for headers in ({"origin": "http://evil.example"}, {"sec-fetch-site": "cross-site"}):
            problem(await client.post("/api/v1/login", json=body, headers=headers), 403, "forbidden")
    async with browser(served, "olga@example.org") as client:
        del client.headers["origin"]
        problem(await client.post("/api/v1/logout"), 403, "forbidden")


@pytest.mark.req("ACC-1.password")
async def test_a_new_password_ends_the_sessions_and_the_old_one(served: Served) -> None:
    await make_owner(served)
    async with browser(served, "olga@example.org") as first, browser(served, "olga@example.org") as second:
        wrong = {"old_password": "not the old one", "password": OTHER}
        problem(await first.post("/api/v1/me/password", json=wrong), 422, "password-refused")
        right = {"old_password": PASSWORD, "password": OTHER}
        assert (await first.post("/api/v1/me/password", json=right)).status_code == 204
        for client in (first, second):
            problem(await client.get("/api/v1/me"), 401, "unauthenticated")
    async with browser(served, "olga@example.org", OTHER):
        pass
    async with served.anyone() as client:
        answer = await client.post("/api/v1/login", json={"email": "olga@example.org", "password": PASSWORD})
        problem(answer, 401, "unauthenticated")


@pytest.mark.req("ACC-1.password-reset")
async def test_a_password_link_works_once_and_for_three_days(served: Served, clock: ShiftedClock) -> None:
    owner = await make_owner(served)
    links = [(await served.client.post(f"/api/v1/users/{owner}/password-link")).json()["url_path"] for _ in range(2)]
    old, new = (link.partition("#")[2] for link in links)
    async with served.anyone() as client:
        body = {"password": OTHER}
        problem(await client.post("/api/v1/setup", json={"token": old, **body}), 404, "not-found")
        clock.shift_ms = 73 * 3_600_000
        problem(await client.post("/api/v1/setup", json={"token": new, **body}), 410, "gone")
        clock.shift_ms = 71 * 3_600_000
        assert (await client.post("/api/v1/setup", json={"token": new, **body})).status_code == 200
        problem(await client.post("/api/v1/setup", json={"token": new, **body}), 404, "not-found")


@pytest.mark.req("ACC-1.session")
async def test_sessions_end_when_idle_and_after_two_weeks(served: Served, clock: ShiftedClock) -> None:
    await make_owner(served)
    async with browser(served, "olga@example.org") as idle, browser(served, "olga@example.org") as busy:
        for _ in range(20):
            clock.shift_ms += 20 * 3_600_000
            served.identities.forget()
            answer = await busy.get("/api/v1/me")
            if answer.status_code == 401:
                break
        assert clock.shift_ms == pytest.approx(14 * 86_400_000, abs=20 * 3_600_000)
        problem(await idle.get("/api/v1/me"), 401, "unauthenticated")


@pytest.mark.req("ACC-1.session")
async def test_a_person_ends_a_session_of_another_browser(served: Served) -> None:
    await make_owner(served)
    async with browser(served, "olga@example.org") as first, browser(served, "olga@example.org") as second:
        newest = (await first.get("/api/v1/sessions")).json()["sessions"][0]["id"]
        assert (await second.get("/api/v1/me")).status_code == 200
        assert (await first.delete(f"/api/v1/sessions/{newest}")).status_code == 204
        problem(await second.get("/api/v1/me"), 401, "unauthenticated")
        assert (await first.get("/api/v1/me")).status_code == 200


@pytest.mark.req("ACC-1.keys")
async def test_a_key_does_what_it_was_made_for_until_it_is_revoked(served: Served) -> None:
    key, client = await make_key(served, ["run:create", "run:read"])
    async with client:
        started = await client.post("/api/v1/runs", json={"flow": HELLO})
        assert started.status_code == 201
        problem(await client.get("/api/v1/flows"), 403, "forbidden")
        problem(await client.post(f"/api/v1/runs/{started.json()['run_id']}/cancel"), 403, "forbidden")
        listed = (await served.get("/api/v1/keys"))["keys"]
        assert [one["id"] for one in listed] == [key]
        assert listed[0]["last_used_at"] is not None
        assert len(listed[0]["start"]) == 12
        assert (await served.client.delete(f"/api/v1/keys/{key}")).status_code == 204
        problem(await client.get("/api/v1/runs"), 401, "unauthenticated")
    stored = await served.host.tables.ask(lambda sql: sql.rows("SELECT * FROM api_key"))
    assert "sgk_" + "x" * 9 not in str(stored)
    assert str(client.headers["authorization"]).removeprefix("Bearer ") not in str(stored)


@pytest.mark.req("ACC-1.keys")
async def test_a_key_expires(served: Served, clock: ShiftedClock) -> None:
    _, client = await make_key(served, ["run:read"], expires_in="2h")
    async with client:
        assert (await client.get("/api/v1/runs")).status_code == 200
        clock.shift_ms = 7_201_000
        served.identities.forget()
        problem(await client.get("/api/v1/runs"), 401, "unauthenticated")
    late = {"name": "x", "permissions": ["run:read"], "expires_at": "2020-01-01T00:00:00Z"}
    problem(await served.client.post("/api/v1/keys", json=late), 422, "invalid-request")


@pytest.mark.req("ACC-2.escalation")
async def test_nobody_gives_away_more_than_they_have(served: Served) -> None:
    await make_owner(served)
    editor = await make_user(served, "ed@example.org", "editor")
    async with browser(served, "ed@example.org") as client:
        body = {"name": "x", "permissions": ["workspace:admin"]}
        problem(await client.post("/api/v1/keys", json=body), 403, "forbidden")
        problem(await client.patch(f"/api/v1/users/{editor}", json={"role": "owner"}), 403, "forbidden")
        problem(await client.post("/api/v1/users", json={"email": "x@y.z", "role": "viewer"}), 403, "forbidden")
        own = {"name": "mine", "permissions": ["run:admin"], "for_workspace": True}
        problem(await client.post("/api/v1/keys", json=own), 403, "forbidden")
    manager = {"permissions": ["workspace:admin", "flow:read"]}
    assert (await served.client.put("/api/v1/roles/manager", json=manager)).status_code == 200
    await make_user(served, "max@example.org", "manager")
    async with browser(served, "max@example.org") as client:
        stronger = {"email": "x@y.z", "role": "owner"}
        problem(await client.post("/api/v1/users", json=stronger), 403, "forbidden")
        problem(await client.put("/api/v1/roles/mine", json={"permissions": ["run:admin"]}), 403, "forbidden")
        grant = {"flow_id": "f", "subject_kind": "role", "subject": "manager", "permissions": ["run:admin"]}
        problem(await client.post("/api/v1/grants", json=grant), 403, "forbidden")
        problem(await client.patch(f"/api/v1/users/{editor}", json={"role": "viewer"}), 403, "forbidden")


@pytest.mark.req("ACC-1.keys", "ACC-2.roles")
async def test_a_persons_key_loses_what_the_person_loses(served: Served) -> None:
    await make_owner(served)
    user = await make_user(served, "ed@example.org", "editor")
    async with browser(served, "ed@example.org") as client:
        body = {"name": "mine", "permissions": ["run:admin"]}
        token = (await client.post("/api/v1/keys", json=body)).json()["token"]
    async with served.anyone(authorization=f"Bearer {token}") as program:
        assert (await program.post("/api/v1/runs", json={"flow": HELLO})).status_code == 201
        await served.client.patch(f"/api/v1/users/{user}", json={"role": "viewer"})
        problem(await program.post("/api/v1/runs", json={"flow": HELLO}), 403, "forbidden")
        assert (await program.get("/api/v1/runs")).status_code == 200
        assert (await served.client.patch(f"/api/v1/users/{user}", json={"disabled": True})).status_code == 200
        problem(await program.get("/api/v1/runs"), 401, "unauthenticated")


@pytest.mark.req("ACC-2.roles")
async def test_a_role_of_the_workspaces_own_counts_at_once_when_it_changes(served: Served) -> None:
    await make_owner(served)
    assert (await served.client.put("/api/v1/roles/auditor", json={"permissions": ["run:read"]})).status_code == 200
    user = await make_user(served, "audra@example.org", "auditor")
    async with browser(served, "audra@example.org") as client:
        assert (await client.get("/api/v1/runs")).status_code == 200
        problem(await client.get("/api/v1/flows"), 403, "forbidden")
        await served.client.put("/api/v1/roles/auditor", json={"permissions": ["flow:read"]})
        problem(await client.get("/api/v1/runs"), 403, "forbidden")
        assert (await client.get("/api/v1/flows")).status_code == 200
    problem(await served.client.delete("/api/v1/roles/auditor"), 409, "conflict")
    assert (await served.client.delete(f"/api/v1/users/{user}")).status_code == 204
    assert (await served.client.delete("/api/v1/roles/auditor")).status_code == 204
    problem(await served.client.put("/api/v1/roles/owner", json={"permissions": ["run:read"]}), 409, "conflict")


@pytest.mark.req("ACC-2.flow-grants")
async def test_a_grant_opens_one_flow_and_its_runs(served: Served) -> None:
    await make_owner(served)
    user = await make_user(served, "vic@example.org", "viewer")
    mine, other = await served.start(HELLO), await served.start(HELLO.replace("hello\n", "other\n", 1))
    grant = {"flow_id": "hello", "subject_kind": "user", "subject": user, "permissions": ["run:update"]}
    made = await served.client.post("/api/v1/grants", json=grant)
    assert made.status_code == 200, made.text
    async with browser(served, "vic@example.org") as client:
        assert (await client.post(f"/api/v1/runs/{mine}/undo")).status_code != 403
        problem(await client.post(f"/api/v1/runs/{other}/undo"), 403, "forbidden")
        assert (await served.client.delete(f"/api/v1/grants/{made.json()['id']}")).status_code == 204
        problem(await client.post(f"/api/v1/runs/{mine}/undo"), 403, "forbidden")


@pytest.mark.req("ACC-2.flow-grants")
async def test_a_key_for_one_flow_sees_only_its_runs(served: Served) -> None:
    mine, other = await served.start(HELLO), await served.start(HELLO.replace("hello\n", "other\n", 1))
    _, client = await make_key(served, ["run:read"], flows=["hello"])
    async with client:
        assert (await client.get(f"/api/v1/runs/{mine}")).status_code == 200
        problem(await client.get(f"/api/v1/runs/{other}"), 403, "forbidden")
        assert [run["id"] for run in (await client.get("/api/v1/runs")).json()["runs"]] == [mine]


@pytest.mark.req("ACC-3.workspaces")
async def test_members_work_in_their_workspaces_and_know_of_no_other(served: Served) -> None:
    await make_owner(served)
    async with browser(served, "olga@example.org") as olga:
        there = (await olga.post("/api/v1/workspaces", json={"name": "Ships"})).json()["id"]
        here, inside = {"x-segue-workspace": "default"}, {"x-segue-workspace": there}
        await make_user(served, "sam@example.org", "editor", **inside)
        run = await served.start(HELLO)
        async with browser(served, "sam@example.org") as sam:
            assert (await sam.get("/api/v1/me")).json()["workspace"] == there
            assert [one["id"] for one in (await sam.get("/api/v1/workspaces")).json()["workspaces"]] == [there]
            problem(await sam.get("/api/v1/runs", headers=here), 404, "not-found")
            problem(await sam.get(f"/api/v1/runs/{run}"), 404, "not-found")
            assert (await sam.get("/api/v1/runs")).json()["runs"] == []
            own = (await sam.post("/api/v1/runs", json={"flow": HELLO})).json()["run_id"]
            assert [one["id"] for one in (await olga.get("/api/v1/runs", headers=inside)).json()["runs"]] == [own]
            assert [one["id"] for one in (await olga.get("/api/v1/runs")).json()["runs"]] == [run]
            problem(await olga.get(f"/api/v1/runs/{own}", headers=here), 404, "not-found")
            renamed = await olga.patch(f"/api/v1/workspaces/{there}", json={"name": "Boats", "archived": True})
            assert renamed.json() == renamed.json() | {"name": "Boats", "archived": True}
            problem(await sam.get("/api/v1/runs", headers=inside), 404, "not-found")
            assert (await sam.get("/api/v1/me")).json()["workspace"] == ""
            problem(await sam.get("/api/v1/runs"), 403, "forbidden")


@pytest.mark.req("ACC-3.idempotency", "ACC-3.events")
async def test_keys_of_requests_and_events_are_apart_by_workspace(served: Served) -> None:
    there = (await served.client.post("/api/v1/workspaces", json={"name": "Ships"})).json()["id"]
    inside = {"x-segue-workspace": there}
    body = {"flow": HELLO, "idempotency_key": "one"}
    first = await served.client.post("/api/v1/runs", json=body)
    second = await served.client.post("/api/v1/runs", json=body, headers=inside)
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json()["run_id"] != second.json()["run_id"]
    wait = "flow: w\nsteps:\n  - got: {wait: {event: paid}}\n"
    run = await served.start(wait)
    await served.until(run, "waiting")
    event = {"event": "paid", "id": "shop-1", "data": 1}
    assert (await served.client.post("/api/v1/events", json=event, headers=inside)).status_code == 202
    assert (await served.show(run))["status"] == "waiting"
    assert (await served.client.post("/api/v1/events", json=event)).status_code == 202
    assert (await served.until(run))["status"] == "succeeded"


@pytest.mark.req("ACC-2.last-owner")
async def test_the_last_owner_stays(served: Served) -> None:
    owner = await make_owner(served)
    path = f"/api/v1/users/{owner}"
    problem(await served.client.patch(path, json={"role": "viewer"}), 409, "conflict")
    problem(await served.client.patch(path, json={"disabled": True}), 409, "conflict")
    problem(await served.client.delete(path), 409, "conflict")
    assert (await served.get(path))["role"] == "owner"
    second = await make_user(served, "second@example.org", "owner")
    assert (await served.client.patch(path, json={"role": "viewer"})).status_code == 200
    problem(await served.client.patch(f"/api/v1/users/{second}", json={"role": "viewer"}), 409, "conflict")


@pytest.mark.req("ACC-9.flags")
async def test_the_orchestrator_is_switched_off_for_a_workspace_and_for_all(served: Served) -> None:
    run = await served.start(HELLO)
    for scope in ("workspace", "server"):
        off = await served.client.put("/api/v1/flags/orchestrator", json={"on": False, "scope": scope})
        assert off.json()["flags"][0]["on"] is False
        for method, path in (("GET", "/api/v1/runs"), ("GET", f"/api/v1/runs/{run}"), ("GET", "/api/v1/flows")):
            problem(await served.client.request(method, path), 403, "feature-off")
        problem(await served.client.post("/api/v1/runs", json={"flow": HELLO}), 403, "feature-off")
        assert (await served.get("/api/v1/me"))["flags"] == {"orchestrator": False}
        on = await served.client.put("/api/v1/flags/orchestrator", json={"on": True, "scope": "workspace"})
        assert on.json()["flags"][0]["on"] is (scope == "workspace")
        await served.client.put("/api/v1/flags/orchestrator", json={"on": None, "scope": scope})
        assert (await served.client.get("/api/v1/runs")).status_code == 200
    problem(await served.client.put("/api/v1/flags/other", json={"on": True}), 404, "not-found")


@pytest.mark.req("ACC-1.keys", "API-1.pages")
async def test_lists_of_identities_have_pages(served: Served) -> None:
    made = [(await make_key(served, ["run:read"]))[0] for _ in range(5)]
    found: list[str] = []
    cursor = None
    while True:
        query = {"limit": 2} if cursor is None else {"limit": 2, "cursor": cursor}
        page = (await served.client.get("/api/v1/keys", params=query)).json()
        found += [one["id"] for one in page["keys"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert sorted(found, reverse=True) == found
    assert set(found) == set(made)


@pytest.mark.parametrize(
    ("password", "is_taken"),
    [
        ("short", False), ("aaaaaaaaaaaaaaaa", False), ("password123456", True), ("passwordpas", False),
        ("password1234", False), ("olga@example.org", False), ("olga@example.org plus more words", True),
        (PASSWORD, True), ("пароль из слов", True), ("x" * 300, False), ("12345678901234", False),
    ],
)  # fmt: skip
@pytest.mark.req("ACC-1.password")
def test_passwords_that_others_try_first_are_refused(password: str, is_taken: bool) -> None:
    if is_taken:
        check_password(password, ("olga@example.org", "Olga"))
    else:
        with pytest.raises(WeakPasswordError, match="password"):
            check_password(password, ("olga@example.org", "Olga"))


@pytest.mark.req("ACC-1.sign-out-everywhere")
async def test_a_person_signs_out_everywhere_or_everywhere_else(served: Served) -> None:
    await make_owner(served)
    await make_user(served, "max@example.org", "viewer")
    email = "olga@example.org"
    async with browser(served, email) as one, browser(served, email) as two, browser(served, "max@example.org") as max_:
        listed = (await one.get("/api/v1/sessions")).json()["sessions"]
        assert [session["current"] for session in listed].count(True) == 1
        assert (await one.delete("/api/v1/sessions?others=true")).status_code == 204
        problem(await two.get("/api/v1/me"), 401, "unauthenticated")
        assert [session["current"] for session in (await one.get("/api/v1/sessions")).json()["sessions"]] == [True]
        async with browser(served, email) as three:
            assert (await one.delete("/api/v1/sessions")).status_code == 204
            assert not list(one.cookies.jar)
            problem(await three.get("/api/v1/me"), 401, "unauthenticated")
        assert (await max_.get("/api/v1/me")).status_code == 200
    problem(await served.client.delete("/api/v1/sessions"), 403, "forbidden")


@pytest.mark.req("ACC-1.recovery")
async def test_who_runs_the_server_helps_a_member_of_any_workspace_in_again(served: Served) -> None:
    await make_owner(served)
    two = (await served.client.post("/api/v1/workspaces", json={"name": "Two"})).json()["id"]
    user = await make_user(served, "max@example.org", "owner", **{"x-segue-workspace": two})
    path = f"/api/v1/users/{user}/password-link"
    link = await served.client.post(path, headers={"x-segue-workspace": two})
    assert link.status_code == 201, link.text
    async with browser(served, "max@example.org") as client:
        problem(await client.post(path), 403, "forbidden")
    token = link.json()["url_path"].partition("#")[2]
    async with served.anyone() as client:
        body = {"token": token, "password": OTHER}
        assert (await client.post("/api/v1/setup", json=body)).status_code == 200
        problem(await client.post("/api/v1/setup", json=body), 404, "not-found")
    async with browser(served, "max@example.org", OTHER) as client:
        assert (await client.get("/api/v1/me")).json()["workspace"] == two


@pytest.mark.req("ACC-2.no-escalation")
async def test_nobody_takes_from_others_what_they_may_not_do_themselves(served: Served) -> None:
    role = "/api/v1/roles/strong"
    await served.client.put("/api/v1/roles/clerk", json={"permissions": ["workspace:admin"]})
    await served.client.put(role, json={"permissions": ["run:admin", "workspace:read"]})
    await make_user(served, "carl@example.org", "clerk")
    async with browser(served, "carl@example.org") as clerk:
        problem(await clerk.put(role, json={"permissions": ["workspace:read"]}), 403, "forbidden")
        problem(await clerk.delete(role), 403, "forbidden")
        own = await clerk.put("/api/v1/roles/reader", json={"permissions": ["workspace:read"]})
        assert own.status_code == 200
        assert (await clerk.delete("/api/v1/roles/reader")).status_code == 204


@pytest.mark.req("ACC-1.no-planted-accounts")
async def test_a_password_that_another_workspace_has_set_opens_nothing_in_the_default_one(served: Served) -> None:
    two = (await served.client.post("/api/v1/workspaces", json={"name": "Two"})).json()["id"]
    planted = await make_user(served, "chief@example.org", "viewer", **{"x-segue-workspace": two})
    async with browser(served, "chief@example.org") as thief:
        made = await served.client.post("/api/v1/users", json={"email": "chief@example.org", "role": "owner"})
        assert made.json()["user"]["id"] == planted
        problem(await thief.get("/api/v1/me"), 401, "unauthenticated")
        again = await thief.post("/api/v1/login", json={"email": "chief@example.org", "password": PASSWORD})
        problem(again, 401, "unauthenticated")
    async with served.anyone() as client:
        body = {"token": made.json()["link"]["url_path"].partition("#")[2], "password": OTHER}
        assert (await client.post("/api/v1/setup", json=body)).status_code == 200
    async with browser(served, "chief@example.org", OTHER) as client:
        assert (await client.get("/api/v1/me")).status_code == 200


@pytest.mark.req("ACC-1.names")
async def test_names_hold_nothing_that_cannot_be_seen_and_addresses_no_look_alikes(served: Served) -> None:
    for name in ("a\u202eb", "a\x00", "\u200b", "  "):
        body = {"name": name, "permissions": ["run:read"]}
        problem(await served.client.post("/api/v1/keys", json=body), 422, "invalid-input")
    for email in ("\uff42@x.org", "b@x\uff0eorg", "b@x.org\u200b", "b@\u2460.org"):
        body = {"email": email, "role": "viewer"}
        problem(await served.client.post("/api/v1/users", json=body), 422, "invalid-input")
    late = {"name": "k", "permissions": ["run:read"], "expires_in": "-1h"}
    assert (
        "when the key expires"
        in problem(await served.client.post("/api/v1/keys", json=late), 400, "bad-request")["detail"]
    )


@pytest.mark.req("ACC-2.permissions")
async def test_what_is_no_permission_is_told_as_that_and_not_as_one_that_the_asker_lacks(served: Served) -> None:
    body = {"name": "ci", "permissions": ["nope"], "for_workspace": True}
    found = problem(await served.client.post("/api/v1/keys", json=body), 422, "invalid-input")
    assert "'nope' is no permission" in found["detail"]


@pytest.mark.req("API-1.methods")
async def test_a_method_that_a_path_does_not_take_is_told_with_all_that_it_takes(served: Served) -> None:
    answer = await served.client.delete("/api/v1/runs")
    assert problem(answer, 405, "method-not-allowed")["detail"] == "this path takes GET, POST"
    assert answer.headers["allow"] == "GET, POST"
