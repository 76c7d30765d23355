"""Secrets from outside: who may use the server's own, and what a store that speaks Vault's API answers."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from segue.access.outside import VaultStore
from segue.engine.secrets import ResolvedSecret, SecretResolver
from segue.errors import NotFoundError, RequestError, SegueError, StepError

pytestmark = [pytest.mark.anyio, pytest.mark.req("ACC-4.outside")]

ACCOUNT = {"VAULT_ADDR": "https://vault.test:8200/", "VAULT_TOKEN": "the-token", "VAULT_NAMESPACE": "team"}


class Store:
    """Answers one thing and keeps what it was asked."""

    def __init__(self, status: int, body: Any = None) -> None:
        self.status, self.body, self.asked = status, body, []

    async def request(self, request: Any) -> Any:
        self.asked.append(request)
        return SimpleNamespace(status=self.status, body=self.body)


def store_of(outside: Store, account: dict[str, str] | None = None) -> VaultStore:
    return VaultStore(lambda: outside, ACCOUNT if account is None else account)  # type: ignore[arg-type]


async def test_a_field_is_read_by_the_published_api() -> None:
    outside = Store(200, {"data": {"data": {"key": "value"}, "metadata": {"version": 3}}})
    assert await store_of(outside).field("secret/pay ments/live#key") == "value"
    asked = outside.asked[0]
    assert asked.url == "https://vault.test:8200/v1/secret/data/pay%20ments/live"
    assert asked.headers["X-Vault-Token"] == "the-token"
    assert asked.headers["X-Vault-Namespace"] == "team"
    assert asked.follow_redirects is False


@pytest.mark.parametrize(
    ("status", "body", "error", "words"),
    [
        (404, {"errors": []}, NotFoundError, "nothing at secret/app"),
        (403, {"errors": ["permission denied"]}, StepError, "does not let this server read"),
        (503, None, StepError, "answered 503"),
        (200, {"data": {"data": {"other": "canary"}}}, NotFoundError, "no field 'key'"),
        (200, {"data": {"data": {"key": ["canary"]}}}, RequestError, "is no text"),
        (200, "canary", NotFoundError, "no field"),
    ],
)
async def test_what_cannot_be_had_is_told_without_what_is_there(
    status: int, body: Any, error: type[SegueError], words: str
) -> None:
    with pytest.raises(error, match=words) as told:
        await store_of(Store(status, body)).field("secret/app#key")
    assert "canary" not in str(told.value)
    assert "the-token" not in str(told.value)


@pytest.mark.parametrize("place", ["", "secret", "secret/app", "secret#key", "secret/../sys#key", "secret//app#key"])
async def test_what_names_no_field_is_not_asked_for(place: str) -> None:
    outside = Store(200)
    with pytest.raises(RequestError, match="write vault:"):
        await store_of(outside).field(place)
    assert outside.asked == []


async def test_a_server_without_an_account_says_so(tmp_path: Path) -> None:
    for account in (
        {},
        {"VAULT_ADDR": "https://vault.test"},
        {**ACCOUNT, "VAULT_TOKEN": "", "VAULT_TOKEN_FILE": "/no"},
    ):
        with pytest.raises(RequestError, match="VAULT_"):
            await store_of(Store(200), account).field("secret/app#key")
    file = tmp_path / "token"
    file.write_text("from a file\n")
    outside = Store(200, {"data": {"data": {"key": "value"}}})
    await store_of(outside, {**ACCOUNT, "VAULT_TOKEN": "", "VAULT_TOKEN_FILE": str(file)}).field("secret/app#key")
    assert outside.asked[0].headers["X-Vault-Token"] == "from a file"


class Clock:
    at = 1_000.0

    def __call__(self) -> float:
        return self.at


class Kept:
    """The part of Vault's API that is used, as its documentation has it: mounts, KV 1 and 2, AppRole, renewal."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.mounts = {"kv": ("2", {"app": {"key": "second"}}), "old": ("1", {"app": {"key": "first"}})}
        self.tokens: dict[str, float] = {}
        self.asked: list[str] = []
        self.logins = 0
        self.sealed = False

    async def request(self, request: Any) -> Any:
        path, token = request.url.partition("/v1/")[2], request.headers.get("X-Vault-Token")
        self.asked.append(f"{request.method} {path}")
        return SimpleNamespace(**dict(zip(("status", "body"), self.answer(path, token, request.json), strict=True)))

    def answer(self, path: str, token: str | None, body: Any) -> tuple[int, Any]:
        if self.sealed:
            return 503, {"errors": ["Vault is sealed"]}
        if path == "auth/approle/login":
            if body != {"role_id": "role", "secret_id": "canary-id"}:
                return 400, {"errors": ["invalid role or secret ID canary-id"]}
            self.logins += 1
            token = f"s.{self.logins}"
        elif self.tokens.get(token or "", 0) <= self.clock.at:
            return 403, {"errors": ["permission denied"]}
        if path.startswith("auth/"):
            assert token is not None
            self.tokens[token] = self.clock.at + 90
            return 200, {"auth": {"client_token": token, "lease_duration": 90, "renewable": True}}
        if path.startswith("sys/internal/ui/mounts/"):
            version = self.mounts[path.rpartition("/")[2]][0]
            return 200, {
                "data": {"type": "kv", "path": "x/", "options": {"version": version} if version == "2" else None}
            }
        mount, _, inner = path.partition("/")
        version, secrets = self.mounts[mount]
        found = secrets.get(inner.removeprefix("data/") if version == "2" else inner)
        if found is None or (version == "2" and not inner.startswith("data/")):
            return 404, {"errors": []}
        return 200, {"data": {"data": found, "metadata": {}} if version == "2" else found}


ROLE = {"VAULT_ADDR": "https://vault.test", "VAULT_ROLE_ID": "role", "VAULT_SECRET_ID": "canary-id"}


def kept_of(account: dict[str, str]) -> tuple[Kept, Clock, VaultStore]:
    clock = Clock()
    outside = Kept(clock)
    return outside, clock, VaultStore(lambda: outside, account, clock)  # type: ignore[arg-type,return-value]


async def test_both_versions_of_the_engine_are_read_and_a_mount_is_asked_about_once() -> None:
    outside, _, store = kept_of(ROLE)
    assert await store.field("kv/app#key") == "second"
    for _ in range(2):
        assert await store.field("old/app#key") == "first"
    assert outside.asked == [
        "POST auth/approle/login", "GET kv/data/app", "GET old/data/app", "GET sys/internal/ui/mounts/old",
        "GET old/app", "GET old/app",
    ]  # fmt: skip
    with pytest.raises(NotFoundError, match="nothing at kv/none"):
        await store.field("kv/none#key")


async def test_the_token_of_a_role_is_renewed_before_it_ends_and_asked_for_anew_after() -> None:
    outside, clock, store = kept_of(ROLE)
    for after, logins, last in ((0, 1, "POST auth/approle/login"), (59, 1, None), (5, 1, "POST auth/token/renew-self"),
                                (500, 2, "POST auth/approle/login")):  # fmt: skip
        clock.at += after
        outside.asked.clear()
        assert await store.field("kv/app#key") == "second"
        assert outside.logins == logins
        assert outside.asked[:-1] == ([last] if last else [])
    outside.tokens.clear()  # withdrawn
    assert await store.field("kv/app#key") == "second"
    assert outside.logins == 3


async def test_what_keeps_a_role_out_is_told_without_its_secret() -> None:
    wrong = {**ROLE, "VAULT_SECRET_ID": "canary-wrong"}
    for account, words in ((wrong, "does not know VAULT_ROLE_ID"), (ROLE, "it is sealed")):
        outside, _, store = kept_of(account)
        outside.sealed = account is ROLE
        with pytest.raises(StepError, match=words) as told:
            await store.field("kv/app#key")
        assert "canary" not in str(told.value)


class Anything:
    async def find(self, workspace: str, place: str) -> ResolvedSecret:
        return ResolvedSecret(f"{workspace}/{place}")


@pytest.mark.parametrize("source", ["env:A", "file:/etc/hostname", "vault:a/b#c"])
async def test_only_flows_of_the_default_workspace_use_what_belongs_to_the_server(source: str) -> None:
    resolver = SecretResolver({"A": "1"}, {"vault": Anything()})
    assert await resolver.resolve({"x": source}, "default")
    with pytest.raises(StepError, match="SEGUE_OUTSIDE_SECRETS"):
        await resolver.resolve({"x": source}, "team")
    named = SecretResolver({"A": "1", "SEGUE_OUTSIDE_SECRETS": "other, team"}, {"vault": Anything()})
    assert await named.resolve({"x": source}, "team")


async def test_the_servers_own_keys_are_read_for_nobody(tmp_path: Path) -> None:
    key = tmp_path / "x.db.key"
    key.write_text("canary")
    (tmp_path / "link").symlink_to(key)
    resolver = SecretResolver({"SEGUE_KEY": "canary", "segue_keys": "canary"}, private=[key])
    for source in ("env:SEGUE_KEY", "env:segue_keys", f"file:{key}", f"file:{tmp_path}/link"):
        with pytest.raises(StepError, match="belongs to the server"):
            await resolver.resolve({"x": source}, "default")


@pytest.mark.parametrize(
    ("source", "place"),
    [("connection:shop.token", "shop.token"), ("shop.token", "shop.token"), ("connection.shop.token", "shop.token")],
)
async def test_a_connections_field_is_named_in_three_ways(source: str, place: str) -> None:
    found = await SecretResolver({}, {"connection": Anything()}).resolve({"x": {"from": source}}, "team")
    assert found["x"].value == f"team/{place}"
