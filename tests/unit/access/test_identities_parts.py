"""People, keys, roles and workspaces over tables in memory, with a hasher that costs little and a clock by hand."""

from __future__ import annotations

import pytest
from argon2 import PasswordHasher

from segue.access.errors import PasswordRefusedError, WeakPasswordError
from segue.access.identities import NOWHERE, Identities
from segue.access.limits import Rate, TooManyRequestsError
from segue.access.passwords import Passwords
from segue.access.principal import ROLES
from segue.api.access import Access
from segue.api.errors import UnauthenticatedError
from segue.api.gate import ADDRESS_RATE, Gate
from segue.errors import ConflictError, GoneError, InvalidInputError, NotFoundError
from segue.store.sqlite_tables import MemoryTables

pytestmark = pytest.mark.anyio

PASSWORD = "four lanterns over the quay"
HOUR = 3_600_000


class World:
    """Identities of one server."""

    now = 1_700_000_000_000
    seconds = 0.0

    def __init__(self) -> None:
        cheap = Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
        tables = MemoryTables()
        self.all = Identities(tables, lambda: self.now, passwords=cheap, clock=lambda: self.seconds)
        self.elsewhere = Identities(tables, lambda: self.now, passwords=cheap, clock=lambda: self.seconds)

    async def owner(self) -> str:
        return (await self.all.accounts.make_owner("olga@example.org", "Olga", PASSWORD)).id


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.req("ACC-1.password")
async def test_only_the_right_password_of_a_living_account_lets_in(world: World) -> None:
    owner, accounts = await world.owner(), world.all.accounts
    assert await accounts.sign_in(" OLGA@example.org", PASSWORD) == owner
    assert await accounts.sign_in("olga@example.org", PASSWORD + "x") is None
    assert await accounts.sign_in("nobody@example.org", PASSWORD) is None
    # Composed and decomposed letters are the same password from different keyboards.
    await accounts.change_password(owner, PASSWORD, "cafe\u0301 under the bridge")
    assert await accounts.sign_in("olga@example.org", "caf\u00e9 under the bridge") == owner
    with pytest.raises(PasswordRefusedError):
        await accounts.change_password(owner, PASSWORD, "another one of mine")
    with pytest.raises(WeakPasswordError):
        await accounts.change_password(owner, "caf\u00e9 under the bridge", "short")
    with pytest.raises(ConflictError):
        await world.owner()
    for email, name in (("no address", "x"), ("a@b@c", "x"), ("a@b", ""), ("a@b", "x" * 101), ("a@b", "\x1b[2J")):
        with pytest.raises(InvalidInputError):
            await world.all.members.add("default", email, name, "viewer")


@pytest.mark.req("ACC-1.password-reset")
async def test_a_link_sets_one_password_within_its_time(world: World) -> None:
    await world.owner()
    accounts = world.all.accounts
    member, is_new = await world.all.members.add("default", "max@example.org", "Max", "viewer")
    assert is_new
    assert await accounts.sign_in("max@example.org", PASSWORD) is None
    token, until = await accounts.new_link(member.account.id)
    with pytest.raises(WeakPasswordError):
        await accounts.use_link(token, "max@example.org")
    assert (await accounts.use_link(token, PASSWORD)).has_password
    with pytest.raises(NotFoundError):
        await accounts.use_link(token, PASSWORD)
    token, until = await accounts.new_link(member.account.id)
    world.now = until
    with pytest.raises(GoneError):
        await accounts.use_link(token, PASSWORD)


@pytest.mark.req("ACC-1.session")
async def test_a_session_ends_idle_at_its_end_and_when_it_is_closed(world: World) -> None:
    owner, sessions = await world.owner(), world.all.sessions
    token = await sessions.open(owner, "127.0.0.1", "a browser")
    found = await world.all.by_session(token, None)
    assert found is not None
    assert (found.id, found.workspace, found.permissions, found.is_browser) == (owner, "default", ROLES["owner"], True)
    with pytest.raises(NotFoundError):
        await world.all.by_session(token, "wsp_other")
    world.now += 23 * HOUR
    world.all.forget()
    assert await world.all.by_session(token, None) is not None
    world.now += 25 * HOUR
    world.all.forget()
    assert await world.all.by_session(token, None) is None
    assert await sessions.list_of(owner) == []
    token = await sessions.open(owner, "127.0.0.1", "a browser")
    assert await world.all.by_session(token, None) is not None
    await sessions.close(token)
    assert await world.all.by_session(token, None) is None


@pytest.mark.req("ACC-1.revoked-at-once")
async def test_what_is_revoked_stops_here_at_once_and_elsewhere_within_seconds(world: World) -> None:
    key, token = await world.all.keys.create("default", "ci", ["run:read"], account_id=None)
    for identities in (world.all, world.elsewhere):
        assert await identities.by_key(token, None) is not None
    await world.all.keys.revoke("default", key.id, None)
    assert await world.all.by_key(token, None) is None
    assert await world.elsewhere.by_key(token, None) is not None
    world.seconds += 3.1
    assert await world.elsewhere.by_key(token, None) is None


@pytest.mark.req("ACC-1.keys", "ACC-2.flow-grants")
async def test_a_key_has_what_it_was_given_and_its_person_still_has(world: World) -> None:
    await world.owner()
    member, _ = await world.all.members.add("default", "max@example.org", "Max", "viewer")
    user = member.account.id
    await world.all.grants.put("default", "f", "user", user, ["run:create"])
    every = ["run:admin", "flow:read", "workspace:admin"]
    _, wide = await world.all.keys.create("default", "wide", every, account_id=user)
    _, narrow = await world.all.keys.create("default", "narrow", every, account_id=user, flows=["f", "g"])
    found = await world.all.by_key(wide, "default")
    assert found is not None
    assert found.permissions == {"run:read", "flow:read", "workspace:read"}
    assert found.may("run:create", "f")
    assert not found.may("run:create", "g")
    found = await world.all.by_key(narrow, None)
    assert found is not None
    assert found.permissions == {"workspace:read"}
    assert found.may("run:create", "f")
    assert found.may("run:read", "g")
    assert not found.may("run:read", "h")
    with pytest.raises(NotFoundError):
        await world.all.by_key(narrow, "wsp_other")
    await world.all.members.remove("default", user)
    assert await world.all.by_key(wide, None) is None


@pytest.mark.req("ACC-2.roles")
async def test_roles_and_grants_are_checked_before_they_are_kept(world: World) -> None:
    await world.owner()
    roles, grants = world.all.roles, world.all.grants
    for name, permissions in (("Bad Name", ["run:read"]), ("ok", []), ("ok", ["run:fly"])):
        with pytest.raises(InvalidInputError):
            await roles.put("default", name, permissions)
    with pytest.raises(ConflictError):
        await roles.put("default", "owner", ["run:read"])
    with pytest.raises(NotFoundError):
        await roles.delete("default", "auditor")
    await roles.put("default", "auditor", ["run:read"])
    assert [one.name for one in await roles.list_of("default")][-1] == "auditor"
    assert (await roles.list_of("other"))[-1].is_built_in
    for kind, subject, permissions in (
        ("user", "usr_x", ["run:read"]), ("key", "key_x", ["run:read"]), ("role", "none", ["run:read"]),
        ("role", "auditor", ["workspace:read"]),
    ):  # fmt: skip
        with pytest.raises((NotFoundError, InvalidInputError)):
            await grants.put("default", "f", kind, subject, permissions)  # pyright: ignore[reportArgumentType]
    first = await grants.put("default", "f", "role", "auditor", ["run:update"])
    again = await grants.put("default", "f", "role", "auditor", ["run:create"])
    assert (again.id, again.permissions) == (first.id, ("run:create",))
    assert (await grants.page("default", "f", 10, None)).items == (again,)
    with pytest.raises(NotFoundError):
        await grants.delete("other", first.id)
    await grants.delete("default", first.id)


@pytest.mark.req("ACC-3.archive", "ACC-9.flags")
async def test_an_archived_workspace_is_closed_and_a_switch_of_the_server_wins(world: World) -> None:
    owner, parts = await world.owner(), world.all.workspaces
    made = await parts.create("Ships", owner)
    _, token = await world.all.keys.create(made.id, "ci", ["run:read"], account_id=None)
    assert (await parts.rename(made.id, "Boats")).name == "Boats"
    assert [one.id for one in await parts.list_of(owner)] == ["default", made.id]
    assert await world.all.by_key(token, None) is not None
    await parts.set_archived(made.id, archived=True)
    assert await world.all.by_key(token, None) is None
    assert not await world.all.has_workspace(made.id)
    await parts.set_archived(made.id, archived=False)
    assert await world.all.has_workspace(made.id)
    with pytest.raises(ConflictError):
        await parts.set_archived("default", archived=True)
    with pytest.raises(InvalidInputError):
        await parts.create("\n", owner)

    assert await world.all.is_on(made.id, "orchestrator")
    await parts.set_flag("", "orchestrator", is_on=False)
    await parts.set_flag(made.id, "orchestrator", is_on=True)
    assert not await world.all.is_on(made.id, "orchestrator")
    await parts.set_flag("", "orchestrator", is_on=None)
    assert await world.all.is_on(made.id, "orchestrator")
    with pytest.raises(NotFoundError):
        await parts.set_flag("", "unknown", is_on=True)


@pytest.mark.req("ACC-1.oidc-roles")
async def test_a_providers_person_is_known_by_issuer_and_subject(world: World) -> None:
    owner, accounts = await world.owner(), world.all.accounts
    here = ("https://id.example.org", "42")
    assert await accounts.of_provider(*here, "olga@example.org", "Olga?", None) is None
    found = await accounts.of_provider(*here, "olga@example.org", "Olga?", "editor")
    assert found not in (None, owner)
    assert await accounts.of_provider(*here, "new@example.org", "X", None) == found
    assert await accounts.of_provider("https://other.example", "42", "z@example.org", "Z", "viewer") != found
    assert (await world.all.members.get("default", str(found))).role == "editor"
    await accounts.of_provider(*here, "new@example.org", "X", "viewer")
    assert (await world.all.members.get("default", str(found))).role == "viewer"
    await accounts.set_disabled(str(found), disabled=True)
    assert await accounts.of_provider(*here, "new@example.org", "X", "owner") is None
    await world.all.members.remove("default", str(found))
    await accounts.set_disabled(str(found), disabled=False)
    principal = await world.all.by_account(str(found), None)
    assert principal is not None
    assert (principal.workspace, principal.permissions) == (NOWHERE, frozenset())


@pytest.mark.req("ACC-7.rate-limit")
async def test_each_key_and_each_address_elsewhere_has_its_rate(world: World) -> None:
    access = Access("printed")
    gate = Gate(access, world.all, identity_rate=Rate(0.001, 2), address_rate=Rate(0.001, 2))
    tokens = [(await world.all.keys.create("default", "ci", ["run:read"], account_id=None))[1] for _ in range(2)]
    for token in tokens:
        headers = {"authorization": f"Bearer {token}"}
        for _ in range(2):
            assert (await gate.identify(headers, {}, "192.0.2.1")).kind == "key"
        with pytest.raises(TooManyRequestsError):
            await gate.identify(headers, {}, "192.0.2.1")
    for _ in range(2):
        with pytest.raises(UnauthenticatedError):
            await gate.identify({"authorization": "Bearer x"}, {}, "192.0.2.2")
    with pytest.raises(TooManyRequestsError):
        await gate.identify({"authorization": "Bearer x"}, {}, "192.0.2.2")
    gate.admit_anyone("127.0.0.1")
    gate.admit_anyone("127.0.0.1")
    with pytest.raises(TooManyRequestsError):
        gate.admit_anyone("127.0.0.1")
    uncounted = Gate(access, world.all, identity_rate=Rate(0.001, 2))
    for _ in range(ADDRESS_RATE.burst + 1):
        uncounted.admit_anyone("127.0.0.1")
    for _ in range(5):
        assert (await gate.identify({"authorization": "Bearer printed"}, {}, "127.0.0.1")).kind == "server"


@pytest.mark.req("ACC-1.safe-by-default")
async def test_the_printed_link_opens_nothing_where_others_are_served() -> None:
    access = Access("printed", public_url="https://segue.example.org")
    assert access.open_session("printed") is None
    assert access.is_server_token("printed")
    assert not access.is_setup("x")
