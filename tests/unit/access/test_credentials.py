"""Secrets and connections: what is kept, for whom, and that rotation loses nothing wherever it ends."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from segue.access.credentials import Credentials
from segue.access.keyring import Key, KeyFile, KeyRing
from segue.access.rotation import SEALED, rotate, usage
from segue.access.vault import UnsealError, Vault
from segue.engine.ids import new_run_id
from segue.errors import ConflictError, NotFoundError, RequestError, StaleError
from segue.store import tables_of
from segue.store.sqlite import SqliteStore
from segue.store.sqlite_tables import MemoryTables
from segue.store.tables import Sql

pytestmark = [pytest.mark.anyio, pytest.mark.req("ACC-4.kept")]

CANARY = "Zx9-canary/kA+7=qv"


def no_client() -> Any:
    raise AssertionError("nothing is to be sent")


def held(tables: Any = None, ring: KeyRing | None = None, file: KeyFile | None = None) -> Credentials:
    ring = ring or (KeyRing([Key.new()]) if file is None else file.load())
    return Credentials.over(
        tables or MemoryTables(), Vault(ring), file, no_client, lambda prefix, now: new_run_id(now, prefix=prefix)
    )


async def test_a_secret_is_put_changed_listed_and_forgotten() -> None:
    secrets = held().secrets
    first, is_new = await secrets.put("w", "stripe", CANARY, by="Ada", note="live")
    assert (first.version, is_new, first.used_at) == (1, True, None)
    second, is_new = await secrets.put("w", "stripe", "another", by="Bob")
    assert (second.version, is_new, second.note, second.updated_by) == (2, False, "live", "Bob")
    assert await secrets.value("w", "stripe") == "another"
    used = await secrets.get("w", "stripe")
    assert used.used_at is not None
    assert [one.name for one in await secrets.all("w")] == ["stripe"]
    assert CANARY not in repr(used)
    await secrets.delete("w", "stripe")
    with pytest.raises(NotFoundError):
        await secrets.value("w", "stripe")


async def test_what_one_workspace_keeps_another_has_not() -> None:
    kept = held()
    await kept.secrets.put("one", "key", CANARY, by="Ada")
    await kept.connections.create("one", "shop", "http", {}, {"token": CANARY}, by="Ada")
    assert await kept.secrets.all("other") == []
    assert await kept.connections.all("other") == []
    with pytest.raises(NotFoundError):
        await kept.secrets.value("other", "key")
    with pytest.raises(NotFoundError):
        await kept.connections.field("other", "shop", "token")


async def test_a_change_that_was_made_for_an_older_version_is_refused() -> None:
    secrets = held().secrets
    await secrets.put("w", "key", "1", by="Ada", version=0)
    with pytest.raises(StaleError):
        await secrets.put("w", "key", "2", by="Bob", version=0)
    await secrets.put("w", "key", "2", by="Bob", version=1)
    with pytest.raises(StaleError):
        await secrets.delete("w", "key", version=1)


@pytest.mark.parametrize(("name", "value"), [("1x", "v"), ("a b", "v"), ("", "v"), ("ok", ""), ("ok", "x" * 70_000)])
async def test_names_and_values_that_cannot_be_kept_are_refused(name: str, value: str) -> None:
    with pytest.raises(RequestError):
        await held().secrets.put("w", name, value, by="Ada")


async def test_a_connection_keeps_its_secrets_for_its_own_origin() -> None:
    connections = held().connections
    made = await connections.create(
        "w", "shop", "http", {"base_url": "https://api.shop.test/v1", "user": "me"}, {"token": CANARY}, by="Ada"
    )
    assert made.origin == "https://api.shop.test:443"
    assert CANARY not in repr(made)
    field = await connections.field("w", "shop", "token")
    assert (field.value, field.origin) == (CANARY, "https://api.shop.test:443")
    assert (await connections.field("w", "shop", "user")).origin == ""
    with pytest.raises(NotFoundError, match="has: base_url, user, token") as unknown:
        await connections.field("w", "shop", "pass")
    assert CANARY not in str(unknown.value)


async def test_nobody_gets_a_connections_secret_sent_elsewhere_by_changing_its_address() -> None:
    connections = held().connections
    await connections.create("w", "shop", "http", {"base_url": "https://api.shop.test"}, {"token": CANARY}, by="Ada")
    for address in ("https://evil.test", "http://api.shop.test", "https://api.shop.test:8443", None):
        with pytest.raises(RequestError, match="another origin"):
            await connections.update("w", "shop", {"base_url": address}, {}, by="Eve")
    await connections.update("w", "shop", {"base_url": "https://api.shop.test/v2"}, {}, by="Ada")
    moved = await connections.update("w", "shop", {"base_url": "https://b.test"}, {"token": "its own"}, by="Ada")
    assert (moved.version, moved.origin) == (3, "https://b.test:443")
    assert (await connections.field("w", "shop", "token")).value == "its own"


async def test_a_name_that_is_taken_and_fields_that_are_both_are_refused() -> None:
    connections = held().connections
    await connections.create("w", "shop", "http", {}, {}, by="Ada")
    with pytest.raises(ConflictError):
        await connections.create("w", "shop", "http", {}, {}, by="Ada")
    with pytest.raises(RequestError, match="either secret or not"):
        await connections.create("w", "b", "http", {"x": "1"}, {"x": "2"}, by="Ada")
    with pytest.raises(RequestError, match="base_url"):
        await connections.create("w", "b", "http", {"base_url": "ftp://x"}, {}, by="Ada")


async def filled(kept: Credentials, count: int = 250) -> None:
    await kept.data_keys.open()
    await kept.data_keys.ready("w")
    for number in range(count):
        await kept.secrets.put("w", f"s{number}", f"{CANARY}{number}", by="Ada")
    await kept.connections.create("w", "shop", "http", {}, {"token": CANARY}, by="Ada")


async def all_there(kept: Credentials, count: int = 250) -> None:
    for number in range(count):
        assert await kept.secrets.value("w", f"s{number}") == f"{CANARY}{number}"
    assert (await kept.connections.field("w", "shop", "token")).value == CANARY
    await kept.data_keys.open()


@pytest.mark.req("ACC-4.rotation")
async def test_a_rotation_seals_all_anew_and_drops_the_old_key(tmp_path: Path) -> None:
    file = KeyFile(tmp_path / "k")
    tables = MemoryTables()
    kept = held(tables, file=file)
    await filled(kept)
    sealed = kept.data_keys.sealer("w").seal({"deep": [CANARY]})
    before = file.load().active
    done = await rotate(tables, kept.vault, file)
    assert (done.resealed, done.dropped) == (253, (before.name,))
    assert file.load().keys == (kept.vault.ring.active,)
    assert [one.rows for one in await usage(tables, kept.vault.ring)] == [253]
    fresh = held(tables, file=file)
    await all_there(fresh)
    assert fresh.data_keys.sealer("w").open(sealed) == {"deep": [CANARY]}
    assert fresh.data_keys.server_key == before.secret


class Killed(BaseException):
    """The process ends here."""


class Dying:
    """Tables of a process that is killed at its n-th change: before it, or after it was kept."""

    def __init__(self, inner: MemoryTables, changes: int, *, kept: bool) -> None:
        self.inner, self.left, self.kept = inner, changes, kept

    async def ask(self, question: Callable[[Sql], Any]) -> Any:
        return await self.inner.ask(question)

    async def change(self, operation: Callable[[Sql], Any]) -> Any:
        self.left -= 1
        if self.left < 0 and not self.kept:
            raise Killed
        done = await self.inner.change(operation)
        if self.left < 0:
            raise Killed
        return done


@pytest.mark.req("ACC-4.rotation")
@pytest.mark.parametrize("kept_last", [False, True])
@pytest.mark.parametrize("changes", range(8))
async def test_a_rotation_that_is_killed_anywhere_loses_nothing_and_goes_on(
    tmp_path: Path, changes: int, kept_last: bool
) -> None:
    file = KeyFile(tmp_path / "k")
    tables = MemoryTables()
    await filled(held(tables, file=file))
    before = file.load().active
    with pytest.raises(Killed):
        await rotate(Dying(tables, changes, kept=kept_last), Vault(file.load()), file)
    half = held(tables, file=file)
    await all_there(half)
    assert len(file.load().keys) == 2
    new = file.load().active
    done = await rotate(tables, half.vault, file)
    assert (done.active, done.dropped) == (new.name, (before.name,))
    await all_there(held(tables, file=file))


@pytest.mark.req("ACC-4.rotation")
async def test_keys_of_the_environment_are_sealed_over_to_the_first_and_the_others_named() -> None:
    old, new = Key.new(), Key.new()
    tables = MemoryTables()
    await filled(held(tables, KeyRing([old])), 3)
    with pytest.raises(ConflictError, match="SEGUE_KEYS"):
        await rotate(tables, Vault(KeyRing([old])), None)
    done = await rotate(tables, Vault(KeyRing([new, old])), None)
    assert (done.active, done.resealed, done.unused) == (new.name, 6, (old.name,))
    await all_there(held(tables, KeyRing([new])), 3)


@pytest.mark.req("ACC-4.rotation")
async def test_a_rotation_without_a_key_that_rows_need_drops_none(tmp_path: Path) -> None:
    file = KeyFile(tmp_path / "k")
    tables = MemoryTables()
    await filled(held(tables, KeyRing([Key.new()])), 3)
    before = file.load().active
    with pytest.raises(UnsealError, match="SEGUE_KEYS"):
        await rotate(tables, Vault(file.load()), file)
    assert before in file.load().keys
    found = await usage(tables, file.load())
    assert [one.known for one in found] == [True, True, False]


async def test_a_host_does_not_open_with_a_foreign_key(tmp_path: Path) -> None:
    tables = MemoryTables()
    await held(tables, KeyRing([Key.new()])).data_keys.open()
    with pytest.raises(UnsealError, match="not in the key ring"):
        await held(tables, KeyRing([Key.new()])).data_keys.open()


async def test_every_table_with_something_sealed_is_in_the_list(tmp_path: Path) -> None:
    """A new table with a `sealed` column must be rotated with the others."""
    store = SqliteStore(tmp_path / "x.db")
    await store.open()
    try:
        rows = await tables_of(store).ask(
            lambda sql: sql.rows(
                "SELECT m.name FROM sqlite_schema m, pragma_table_info(m.name) c WHERE m.type = 'table' "
                "AND c.name LIKE '%sealed%' AND c.type = 'BLOB' ORDER BY 1"
            )
        )
    finally:
        await store.close()
    named = {found[1] for one in SEALED if (found := re.search(r"FROM (\w+)", one.stale)) is not None}
    assert named == {row[0] for row in rows}
