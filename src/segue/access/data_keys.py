"""The keys that a workspace's values are sealed with in journals: rows of the database, each sealed under the key ring.

A journal is never rewritten, so it must not hang on a key that is changed now and then. Its values hang on a data key,
and changing the ring's key seals the data keys anew, which are a handful of rows.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import os
import time
from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec

from segue.access.keyring import KEY_BYTES, Key, KeyRing
from segue.access.vault import Context, UnsealError, Vault
from segue.errors import EngineError
from segue.store.tables import Row, Sql, Tables

KIND: Final = "data key"
SERVER: Final = ""
"""The workspace of the server's own key."""
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class _SealedKey(NamedTuple):
    """A row that was not opened so far, and the ring's key that opens it."""

    context: Context
    sealed: bytes
    key: Key


class DataKeys:
    """The data keys of one database, in memory once `open` was called. Is the engine's `Sealing`."""

    def __init__(self, tables: Tables, vault: Vault, new_id: Callable[[int], str]) -> None:
        """`new_id` makes an id of the time in milliseconds since the epoch."""
        self._tables = tables
        self._vault = vault
        self._new_id = new_id
        self._rows: dict[str, list[_SealedKey]] = {}
        self._keys: dict[str, list[Key]] = {}
        """Of the workspaces whose keys were needed so far; the rows of the others stay sealed."""
        self._vaults: dict[str, Vault] = {}
        self._making = asyncio.Lock()

    @property
    def server_key(self) -> bytes | None:
        """What callback tokens are made with; None before `open`. Raises UnsealError if it was changed."""
        keys = self._keys_of(SERVER)
        return keys[0].secret if keys else None

    async def open(self) -> None:
        """Load all keys. Raises UnsealError if the ring has not the key that one of them is sealed with."""
        for row in await self._tables.ask(_rows):
            self._add(row)
        if SERVER not in self._rows:
            # The oldest key of the ring: what tokens were made with before this row was there.
            await self._make(SERVER, self._vault.ring.keys[-1].secret)

    async def look(self) -> None:
        """Load the keys that there are, as far as they can be opened: for a process that only reads."""
        for row in await self._tables.ask(_rows):
            try:
                self._add(row)
            except UnsealError:
                continue  # what it would open is shown as `***` all the same

    async def ready(self, workspace: str) -> None:
        """Returns when the workspace has a key, which is on disk. Raises StoreUnavailableError."""
        if workspace in self._rows:
            return
        async with self._making:
            if workspace not in self._rows:
                await self._make(workspace, os.urandom(KEY_BYTES))

    def sealer(self, workspace: str) -> WorkspaceSealer:
        """Seals and opens this workspace's values."""
        return WorkspaceSealer(workspace, self.vault_of)

    def vault_of(self, workspace: str) -> Vault:
        """Raises EngineError if the workspace has no key in memory."""
        found = self._vaults.get(workspace)
        if found is None:
            keys = self._keys_of(workspace)
            if not keys:
                raise EngineError(f"no key is loaded for sealed values of the workspace {workspace!r}")
            found = self._vaults[workspace] = Vault(KeyRing(keys))
        return found

    async def _make(self, workspace: str, secret: bytes) -> None:
        now = time.time_ns() // 1_000_000
        context = Context(KIND, workspace, self._new_id(now))
        sealed = self._vault.seal(context, secret)
        await self._tables.change(
            lambda sql: sql.run("INSERT INTO data_key VALUES (?, ?, ?, ?)", context.id, workspace, sealed, now)
        )
        self._rows[workspace], self._keys[workspace] = [], [Key.of(secret)]

    def _add(self, row: Row) -> None:
        key_id, workspace, sealed = row
        context = Context(KIND, workspace, key_id)
        # The ring's key is looked up at once, so that a host without it does not begin, and held: a rotation drops it.
        found = _SealedKey(context, sealed, self._vault.key_of(context, sealed))
        rows = self._rows.setdefault(workspace, [])
        if found not in rows:
            rows.append(found)

    def _keys_of(self, workspace: str) -> list[Key]:
        keys = self._keys.get(workspace)
        if keys is None and (rows := self._rows.get(workspace)):
            opened = [Key.of(Vault(KeyRing([row.key])).open(row.context, row.sealed)) for row in rows]
            keys = self._keys[workspace] = list(dict.fromkeys(opened))
        return keys or []


class WorkspaceSealer:
    """Is the expressions' `Sealer`: a value is JSON, sealed in its workspace and written in base64."""

    def __init__(self, workspace: str, vault_of: Callable[[str], Vault]) -> None:
        self._context = Context("value", workspace, "")
        self._vault_of = vault_of

    def seal(self, plain: object) -> str:
        """The value as a text. Raises EngineError if there is no key."""
        return base64.b64encode(self._vault_of(self._context.workspace).seal(self._context, _encode(plain))).decode()

    def open(self, sealed: str) -> object:
        """The value. Raises EngineError if its key is not there, UnsealError if it was changed."""
        try:
            data = base64.b64decode(sealed, validate=True)
        except binascii.Error:
            raise UnsealError("a sealed value is no base64: it was changed") from None
        return _decode(self._vault_of(self._context.workspace).open(self._context, data))


def _rows(sql: Sql) -> list[Row]:
    return sql.rows("SELECT id, workspace, sealed FROM data_key ORDER BY created_at DESC, id DESC")
