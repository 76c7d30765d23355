"""What callers get about secrets and connections, and what they send. A secret's value goes in and never out."""

from __future__ import annotations

from typing import Final

import msgspec
from pydantic import BaseModel, Field

from segue.access.connections import Connection
from segue.access.secrets import VALUE_BYTES_MAX, Secret
from segue.api.bodies import Body
from segue.engine.views import rfc3339
from segue.observe.masking import DEFAULT_MASKER, MASK


class SecretItem(msgspec.Struct, frozen=True, kw_only=True):
    """A secret without its value. `version` counts its values and is its ETag; `used_at` is right to a minute.
    `used_by` are flows whose drafts name it, where one secret is shown.
    """

    name: str
    note: str
    version: int
    value: str = MASK
    created_at: str
    updated_at: str
    updated_by: str
    used_at: str | None
    used_by: list[str] | None = None


class SecretList(msgspec.Struct, frozen=True, kw_only=True):
    """One page, by name."""

    secrets: list[SecretItem]
    next_cursor: str | None = None


class ConnectionItem(msgspec.Struct, frozen=True, kw_only=True):
    """A connection; its secret fields are `***`. They are sent to `origin` only, if it has one. `status` is what the
    last check said: unchecked, ok or failing.
    """

    name: str
    adapter: str
    version: int
    fields: dict[str, str]
    secret_fields: dict[str, str]
    origin: str | None
    status: str
    checked_at: str | None
    check_message: str | None
    created_at: str
    updated_at: str
    updated_by: str
    used_at: str | None
    used_by: list[str] | None = None


class ConnectionList(msgspec.Struct, frozen=True, kw_only=True):
    """One page, by name."""

    connections: list[ConnectionItem]
    next_cursor: str | None = None


class EncryptionKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key of the key ring by its id. `rows` are sealed with it; one that is not `known` is missing."""

    id: str
    active: bool
    known: bool
    rows: int


class Encryption(msgspec.Struct, frozen=True, kw_only=True):
    """The key ring."""

    keys: list[EncryptionKey]


class KeysRotated(msgspec.Struct, frozen=True, kw_only=True):
    """What a rotation did: how many rows were sealed anew, which keys left the key file, and which keys the environment
    gives without need.
    """

    active: str
    resealed: int
    dropped: list[str]
    unused: list[str]


class SecretValue(Body):
    """A secret's value."""

    value: str = Field(min_length=1, max_length=VALUE_BYTES_MAX)
    note: str | None = Field(None, max_length=500, description="What it is for. Anyone may see it.")


class CreateConnection(Body):
    """A new connection. Secret fields are encrypted, sent to the origin of the field `base_url` only, never shown."""

    name: str = Field(min_length=1, max_length=100)
    adapter: str = Field("http", min_length=1, max_length=100)
    fields: dict[str, str] = Field(default_factory=dict[str, str])
    secret_fields: dict[str, str] = Field(default_factory=dict[str, str])


class ChangeConnection(Body):
    """Fields to put in; null takes one away; those that are not named stay."""

    fields: dict[str, str | None] = Field(default_factory=dict[str, str | None])
    secret_fields: dict[str, str | None] = Field(default_factory=dict[str, str | None])


CREDENTIAL_ANSWERS: Final[tuple[type[msgspec.Struct], ...]] = (
    SecretItem, SecretList, ConnectionItem, ConnectionList, EncryptionKey, Encryption, KeysRotated,
)  # fmt: skip
CREDENTIAL_MODELS: Final[tuple[type[BaseModel], ...]] = (SecretValue, CreateConnection, ChangeConnection)


def secret_item(found: Secret, used_by: list[str] | None = None) -> SecretItem:
    """The secret as answers show it."""
    return SecretItem(
        name=found.name, note=DEFAULT_MASKER.mask_text(found.note), version=found.version,
        created_at=rfc3339(found.created_at) or "", updated_at=rfc3339(found.updated_at) or "",
        updated_by=found.updated_by, used_at=rfc3339(found.used_at), used_by=used_by,
    )  # fmt: skip


def connection_item(found: Connection, used_by: list[str] | None = None) -> ConnectionItem:
    """The connection as answers show it: also a field that was put in as none of the secret ones is masked if its name
    or grammar says that it is one.
    """
    fields = DEFAULT_MASKER.mask_json(found.fields)
    return ConnectionItem(
        name=found.name, adapter=found.adapter, version=found.version,
        fields=fields, secret_fields=dict.fromkeys(found.secret_fields, MASK),  # pyright: ignore[reportArgumentType]
        origin=found.origin or None, status=found.status, checked_at=rfc3339(found.checked_at),
        check_message=found.check_message, created_at=rfc3339(found.created_at) or "",
        updated_at=rfc3339(found.updated_at) or "", updated_by=found.updated_by, used_at=rfc3339(found.used_at),
        used_by=used_by,
    )  # fmt: skip
