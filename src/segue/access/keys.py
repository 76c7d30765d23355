"""Keys of programs: shown once, kept as a hash, bound to one workspace, and no stronger than who made them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from segue.access.accounts import checked_name
from segue.access.paging import AFTER_ALL, Page, page_of
from segue.access.principal import PERMISSIONS
from segue.access.records import Key
from segue.access.tokens import KEY_PREFIX, SHOWN_LENGTH, digest_of, new_token
from segue.engine.ids import new_run_id
from segue.errors import InvalidInputError, NotFoundError
from segue.store.tables import Row, Tables

USED_STEP_MS: Final = 60_000
_COLUMNS: Final = (
    "id, name, start, account_id, permissions, flows, created_at, expires_at, used_at, revoked_at, workspace"
)
_decode = msgspec.json.Decoder(list[str]).decode


class Keys:
    """The keys of one server. `changed` is called after one was revoked."""

    def __init__(self, tables: Tables, now: Callable[[], int], changed: Callable[[], None]) -> None:
        self._tables = tables
        self._now = now
        self._changed = changed

    async def create(
        self,
        workspace: str,
        name: str,
        permissions: Sequence[str],
        *,
        account_id: str | None,
        flows: Sequence[str] | None = None,
        expires_at: int | None = None,
    ) -> tuple[Key, str]:
        """A new key, and its text, which nobody can be told again. Raises InvalidInputError."""
        check_permissions(permissions)
        name, now = checked_name(name), self._now()
        if expires_at is not None and expires_at <= now:
            raise InvalidInputError("the key would have expired already", [("expires_at", "lies in the past")])
        token = new_token(KEY_PREFIX)
        key = Key(
            id=new_run_id(now, prefix="key_"), name=name, start=token[:SHOWN_LENGTH], account_id=account_id,
            permissions=tuple(sorted(set(permissions))),
            flows=None if flows is None else tuple(dict.fromkeys(flows)),
            created_at=now, expires_at=expires_at, used_at=None, revoked_at=None,
        )  # fmt: skip
        values = (
            key.id, workspace, digest_of(token), key.start, name, account_id, _text(key.permissions),
            None if key.flows is None else _text(key.flows), now, expires_at,
        )  # fmt: skip
        await self._tables.change(
            lambda sql: sql.run(
                "INSERT INTO api_key(id, workspace, hash, start, name, account_id, permissions, flows, created_at,"
                " expires_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                *values,
            )
        )
        return key, token

    async def page(self, workspace: str, account_id: str | None, limit: int, cursor: str | None) -> Page[Key]:
        """Keys of a workspace, the newest first; with an `account_id` only that person's."""
        where, values = _own(workspace, account_id)
        rows = await self._tables.ask(
            lambda sql: sql.rows(
                f"SELECT {_COLUMNS} FROM api_key WHERE id < ? AND {where} ORDER BY id DESC LIMIT ?",  # noqa: S608
                cursor or AFTER_ALL,
                *values,
                limit + 1,
            )
        )
        return page_of([_key(row) for row in rows], limit, lambda key: key.id)

    async def revoke(self, workspace: str, key_id: str, account_id: str | None) -> None:
        """Let it in no more; with an `account_id` only if it is that person's. Raises NotFoundError."""
        now = self._now()
        where, values = _own(workspace, account_id)
        done = await self._tables.change(
            lambda sql: sql.run(
                f"UPDATE api_key SET revoked_at = coalesce(revoked_at, ?) WHERE id = ? AND {where}",  # noqa: S608
                now,
                key_id,
                *values,
            )
        )
        self._changed()
        if not done:
            raise NotFoundError(f"no key has the id {key_id!r}")

    async def find(self, token: str) -> tuple[Key, str] | None:
        """The living key of this text, and its workspace; notes that it was used."""
        digest, now = digest_of(token), self._now()
        row = await self._tables.ask(
            lambda sql: sql.row(f"SELECT {_COLUMNS} FROM api_key WHERE hash = ?", digest)  # noqa: S608 - constant
        )
        if row is None:
            return None
        key = _key(row)
        if key.revoked_at is not None or (key.expires_at is not None and key.expires_at <= now):
            return None
        if key.used_at is None or key.used_at <= now - USED_STEP_MS:
            await self._tables.change(lambda sql: sql.run("UPDATE api_key SET used_at = ? WHERE hash = ?", now, digest))
        return key, str(row[10])


def check_permissions(permissions: Sequence[str]) -> None:
    """Raises InvalidInputError for none at all, or for one that is unknown."""
    unknown = [one for one in permissions if one not in PERMISSIONS]
    if unknown or not permissions:
        message = f"{unknown[0][:50]!r} is no permission" if unknown else "name at least one permission"
        raise InvalidInputError(f"{message}; they are written as flow:read, run:create, …", [("permissions", message)])


def _own(workspace: str, account_id: str | None) -> tuple[str, list[str]]:
    if account_id is None:
        return "workspace = ?", [workspace]
    return "workspace = ? AND account_id = ?", [workspace, account_id]


def _text(values: Sequence[str]) -> str:
    return msgspec.json.encode(values).decode()


def _key(row: Row) -> Key:
    return Key(
        id=row[0], name=row[1], start=row[2], account_id=row[3], permissions=tuple(_decode(row[4])),
        flows=None if row[5] is None else tuple(_decode(row[5])), created_at=row[6], expires_at=row[7], used_at=row[8],
        revoked_at=row[9],
    )  # fmt: skip
