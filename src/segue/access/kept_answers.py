"""Answers that are kept under the idempotency key of their request, so that a request that is sent again is not carried
out again (the IETF's draft "The Idempotency-Key HTTP Header Field").

A key belongs to whoever sent it, in one workspace. It is written down before the request is carried out: of one that
was cut off by the end of the process nobody knows how far it came, and that is what its sender is told.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable
from typing import Final

import msgspec

from segue.access.vault import Context, Vault
from segue.store.tables import Sql, Tables

KEY_SECONDS: Final = 24 * 3600
KIND: Final = "kept answer"
SWEPT_AT_ONCE: Final = 100
"""Rows beyond their time that go with each new one: more than come."""


class KeptAnswer(msgspec.Struct, frozen=True, array_like=True):
    """An answer as it was sent."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a key. `is_mine`: it was free and is the caller's now; else `digest` is that of the request that
    it came with, and `answer` what that one was told (None: it was cut off).
    """

    is_mine: bool
    digest: str
    answer: KeptAnswer | None = None


class KeptAnswers:
    """The answers of all workspaces of one database."""

    def __init__(self, tables: Tables, vault: Vault, now: Callable[[], int]) -> None:
        self._tables = tables
        self._vault = vault
        self._now = now

    async def claim(self, workspace: str, owner: str, key: str, digest: str) -> Claim:
        """Take a key for a request, unless it was taken within the last 24 hours. Raises UnsealError."""
        id, now = _id(workspace, owner, key), self._now()
        since = now - KEY_SECONDS * 1000

        def claim(sql: Sql) -> tuple[str, bytes | None] | None:
            sql.run(
                "DELETE FROM kept_answer WHERE id IN"
                " (SELECT id FROM kept_answer WHERE created_at <= ? ORDER BY created_at LIMIT ?)",
                since, SWEPT_AT_ONCE,
            )  # fmt: skip
            row = sql.row("SELECT digest, sealed FROM kept_answer WHERE id = ? AND created_at > ?", id, since)
            if row is not None:
                return row[0], row[1]
            sql.run(
                "INSERT INTO kept_answer (id, workspace, digest, created_at) VALUES (?, ?, ?, ?) ON CONFLICT (id) DO"
                " UPDATE SET digest = excluded.digest, sealed = NULL, created_at = excluded.created_at",
                id, workspace, digest, now,
            )  # fmt: skip
            return None

        found = await self._tables.change(claim)
        if found is None:
            return Claim(is_mine=True, digest=digest)
        kept, sealed = found
        if sealed is None or kept != digest:
            return Claim(is_mine=False, digest=kept)
        plain = zlib.decompress(self._vault.open(Context(KIND, workspace, id), sealed))
        return Claim(is_mine=False, digest=kept, answer=msgspec.msgpack.decode(plain, type=KeptAnswer))

    async def keep(self, workspace: str, owner: str, key: str, given: KeptAnswer) -> None:
        """Note what the request with this key was told."""
        id = _id(workspace, owner, key)
        plain = zlib.compress(msgspec.msgpack.encode(given))
        sealed = self._vault.seal(Context(KIND, workspace, id), plain)
        await self._tables.change(lambda sql: sql.run("UPDATE kept_answer SET sealed = ? WHERE id = ?", sealed, id))

    async def release(self, workspace: str, owner: str, key: str) -> None:
        """Let the key be free again: its request was refused, so that nothing was done."""
        id = _id(workspace, owner, key)
        await self._tables.change(lambda sql: sql.run("DELETE FROM kept_answer WHERE id = ?", id))


def _id(workspace: str, owner: str, key: str) -> str:
    return hashlib.sha256(msgspec.json.encode((workspace, owner, key))).hexdigest()
