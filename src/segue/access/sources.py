"""The kinds of secrets that the service keeps or fetches, as sources for the engine's resolver."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segue.access.connections import Connections
from segue.access.outside import VaultStore
from segue.access.secrets import Secrets
from segue.engine.secrets import ResolvedSecret, SecretSource
from segue.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping


class _Kept:
    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets

    async def find(self, workspace: str, place: str) -> ResolvedSecret:
        return ResolvedSecret(await self._secrets.value(workspace, place))


class _Field:
    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    async def find(self, workspace: str, place: str) -> ResolvedSecret:
        name, _, field = place.rpartition(".")
        if not name or not field:
            raise RequestError(f"{place[:200]!r} names no field of a connection; write connection:NAME.field")
        found = await self._connections.field(workspace, name, field)
        return ResolvedSecret(found.value, found.origin)


class _Outside:
    def __init__(self, store: VaultStore) -> None:
        self._store = store

    async def find(self, workspace: str, place: str) -> ResolvedSecret:
        del workspace  # whose flows may ask at all, the resolver has decided
        return ResolvedSecret(await self._store.field(place))


def sources_of(secrets: Secrets, connections: Connections, store: VaultStore) -> Mapping[str, SecretSource]:
    """By kind."""
    return {"secret": _Kept(secrets), "connection": _Field(connections), "vault": _Outside(store)}
