"""All that a host keeps encrypted, in one place: for wiring, and for whoever changes the keys."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from segue.access.checks import tried
from segue.access.connections import Connection, Connections
from segue.access.data_keys import DataKeys
from segue.access.keyring import KeyFile
from segue.access.links import ConnectionLinks
from segue.access.secrets import Secrets
from segue.access.vault import Vault
from segue.engine.ids import WORKSPACE
from segue.engine.secrets import OWN_PREFIX, kind_of
from segue.errors import NotFoundError
from segue.store.tables import Tables

if TYPE_CHECKING:
    from segue.net.client import HttpClient

USED_BY_MAX: Final = 200


@dataclass(frozen=True, slots=True)
class Credentials:
    """The parts, over one database and one key ring."""

    vault: Vault
    data_keys: DataKeys
    secrets: Secrets
    connections: Connections
    links: ConnectionLinks
    tables: Tables
    client: Callable[[], HttpClient]
    key_file: KeyFile | None
    """Where the ring comes from; None if the environment gives it, or if it ends with the process."""

    @staticmethod
    def over(
        tables: Tables,
        vault: Vault,
        key_file: KeyFile | None,
        client: Callable[[], HttpClient],
        new_id: Callable[[str, int], str],
    ) -> Credentials:
        """`new_id` makes an id of a prefix and the time in milliseconds since the epoch."""
        connections = Connections(tables, vault, lambda now: new_id("con_", now))
        return Credentials(
            vault,
            DataKeys(tables, vault, lambda now: new_id("dk_", now)),
            Secrets(tables, vault, lambda now: new_id("sec_", now)),
            connections,
            ConnectionLinks(connections, client),
            tables,
            client,
            key_file,
        )

    async def used_by(self, workspace: str, source: str) -> list[str]:
        """Ids of stored flows whose drafts name a source (`secret:NAME`, `connection:NAME.`), at most some hundred."""
        rows = await self.tables.ask(
            lambda sql: sql.rows(
                "SELECT id, draft FROM flow WHERE workspace = ? AND state <> 'deleted' AND instr(draft, ?) > 0 "
                "ORDER BY id LIMIT ?",
                workspace,
                source,
                USED_BY_MAX,
            )
        )
        whole = re.compile(re.escape(source) + r"(?![A-Za-z0-9_-])") if not source.endswith(".") else None
        return [row[0] for row in rows if whole is None or whole.search(row[1])]

    async def values(self, workspace: str) -> list[str]:
        """Every secret value that the workspace keeps. Raises UnsealError."""
        return [*await self.secrets.values(workspace), *await self.connections.values(workspace)]

    async def missing(self, workspace: str, sources: Sequence[str]) -> list[str]:
        """Those of the sources (`secret:NAME`, `connection:NAME.field`, `env:NAME`) that are not there. Files and
        outside stores are not asked.
        """
        return [source for source in sources if not await self._has(workspace, source)]

    async def _has(self, workspace: str, source: str) -> bool:
        kind, place = kind_of(source)
        try:
            if kind == "secret":
                await self.secrets.get(workspace, place)
            elif kind == "connection":
                name, dot, field = place.rpartition(".")
                found = await self.connections.get(workspace, name if dot else field)
                return not dot or field in found.fields or field in found.secret_fields
        except NotFoundError:
            return False
        if kind == "env" and workspace == WORKSPACE:  # what the server's environment has is nothing for the others
            return place in os.environ and not place.upper().startswith(OWN_PREFIX)
        return True

    async def check(self, workspace: str, name: str) -> Connection:
        """Try a connection with its credentials, and keep what came of it. Raises NotFoundError."""
        ok, message = await tried(self.connections, self.links, self.client, workspace, name)
        return await self.connections.checked(workspace, name, ok=ok, message=message)
