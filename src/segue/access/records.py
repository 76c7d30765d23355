"""What is told of identities. None of it holds a secret. Times are milliseconds since the epoch (UTC)."""

from __future__ import annotations

import msgspec


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """A person, known to the whole server."""

    id: str
    email: str
    name: str
    has_password: bool
    created_at: int
    login_at: int | None
    disabled_at: int | None


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """A person in one workspace."""

    account: Account
    role: str
    since: int


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """A browser in which a person has signed in."""

    id: str
    created_at: int
    used_at: int
    expires_at: int
    address: str
    agent: str


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """A program's key. `start`: its first letters; `account_id` None: it belongs to the workspace itself."""

    id: str
    name: str
    start: str
    account_id: str | None
    permissions: tuple[str, ...]
    flows: tuple[str, ...] | None
    created_at: int
    expires_at: int | None
    used_at: int | None
    revoked_at: int | None


class Role(msgspec.Struct, frozen=True, kw_only=True):
    """A role's name and what it may do. A built-in one is the same in every workspace."""

    name: str
    permissions: tuple[str, ...]
    is_built_in: bool


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """What a user, a key or a role may do with one flow, beyond what it may do anyway."""

    id: str
    flow_id: str
    subject_kind: str
    subject: str
    permissions: tuple[str, ...]
    created_at: int


class Workspace(msgspec.Struct, frozen=True, kw_only=True):
    """A workspace: what is in one is unknown in all others."""

    id: str
    name: str
    created_at: int
    archived_at: int | None


class Flag(msgspec.Struct, frozen=True, kw_only=True):
    """A switch. `is_on` is what counts here; `server` and `workspace` what was set there (None: nothing)."""

    name: str
    is_on: bool
    server: bool | None
    workspace: bool | None
