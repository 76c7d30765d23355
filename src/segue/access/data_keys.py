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
from typing import Final

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


class DataKeys:
    """The data keys of one database, in memory once `open` was called. Is the engine's `Sealing`."""

    def __init__(self, tables: Tables, vault: Vault, new_id: Callable[[int], str]) -> None:
        """`new_id` makes an id of the time in milliseconds since the epoch."""
        self._tables = tables
        self._vault = vault
        self._new_id = new_id
        self._keys: dict[str, list[Key]] = {}
        self._vaults: dict[str, Vault] = {}
        self._making = asyncio.Lock()

    @property
    def server_key(self) -> bytes | None:
        """What callback tokens are made with; None before `open`."""
        keys = self._keys.get(SERVER)
        return None if keys is None else keys[0].secret

    async def open(self) -> None:
        """Load all keys. Raises UnsealError if the ring has not the key that one of them is sealed with."""
        for row in await self._tables.ask(_rows):
            self._add(row)
        if SERVER not in self._keys:
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
        if workspace in self._keys:
            return
        async with self._making:
            if workspace not in self._keys:
                await self._make(workspace, os.urandom(KEY_BYTES))

    def sealer(self, workspace: str) -> WorkspaceSealer:
        """Seals and opens this workspace's values."""
        return WorkspaceSealer(workspace, self.vault_of)

    def vault_of(self, workspace: str) -> Vault:
        """Raises EngineError if the workspace has no key in memory."""
        found = self._vaults.get(workspace)
        if found is None:
            keys = self._keys.get(workspace)
            if keys is None:
                raise EngineError(f"no key is loaded for sealed values of the workspace {workspace!r}")
            found = self._vaults[workspace] = Vault(KeyRing(keys))
        return found

    async def _make(self, workspace: str, secret: bytes) -> None:
        now = time.time_ns() // 1_000_000
        key_id = self._new_id(now)

        def change(sql: Sql) -> None:
            sealed = self._vault.seal(Context(KIND, workspace, key_id), secret)
            sql.run("INSERT INTO data_key VALUES (?, ?, ?, ?)", key_id, workspace, sealed, now)

        await self._tables.change(change)
        self._keys[workspace] = [Key.of(secret)]

    def _add(self, row: Row) -> None:
        key_id, workspace, sealed = row
        key = Key.of(self._vault.open(Context(KIND, workspace, key_id), sealed))
        known = self._keys.setdefault(workspace, [])
        if key not in known:
            known.append(key)
            self._vaults.pop(workspace, None)


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
