"""What callers get of identities. Times are RFC 3339 (UTC); no secret is in any of them but one that was just made."""

from __future__ import annotations

from typing import Final

import msgspec

from segue.access import records
from segue.engine.views import rfc3339


class Ways(msgspec.Struct, frozen=True, kw_only=True):
    """How people sign in here; nobody does before it has an owner. `provider`: the name of an OpenID provider, whose
    sign-in begins at `provider_path`.
    """

    has_owner: bool
    provider: str | None = None
    provider_path: str | None = None


class Me(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks, in which workspace, and what that one may do there. `kind`: user, key or server."""

    kind: str
    id: str
    name: str
    workspace: str
    permissions: list[str]
    grants: dict[str, list[str]]
    flags: dict[str, bool]


class User(msgspec.Struct, frozen=True, kw_only=True):
    """A member of a workspace."""

    id: str
    email: str
    name: str
    role: str
    has_password: bool
    disabled: bool
    member_since: str
    last_login_at: str | None


class UserList(msgspec.Struct, frozen=True, kw_only=True):
    """Members, the newest first."""

    users: list[User]
    next_cursor: str | None = None


class PasswordLink(msgspec.Struct, frozen=True, kw_only=True):
    """An address with which a person sets a password, once. Give it to that person only. `url` is the whole address, as
    this server was asked or, behind a proxy, as others reach it.
    """

    url: str
    url_path: str
    expires_at: str


class NewUser(msgspec.Struct, frozen=True, kw_only=True):
    """A new member; with a link if the person is new to this server."""

    user: User
    link: PasswordLink | None = None


class SessionItem(msgspec.Struct, frozen=True, kw_only=True):
    """A browser in which you have signed in."""

    id: str
    created_at: str
    last_used_at: str
    expires_at: str
    address: str
    agent: str
    current: bool
    """Whether this is the one that asks."""


class SessionList(msgspec.Struct, frozen=True, kw_only=True):
    """Your sessions, the newest first."""

    sessions: list[SessionItem]


class KeyItem(msgspec.Struct, frozen=True, kw_only=True):
    """A program's key. `user_id` null: it belongs to the workspace. `flows` null: all."""

    id: str
    name: str
    start: str
    user_id: str | None
    permissions: list[str]
    flows: list[str] | None
    created_at: str
    expires_at: str | None
    last_used_at: str | None
    revoked_at: str | None


class KeyList(msgspec.Struct, frozen=True, kw_only=True):
    """Keys, the newest first."""

    keys: list[KeyItem]
    next_cursor: str | None = None


class NewKey(msgspec.Struct, frozen=True, kw_only=True):
    """A new key with its text, which is shown this once."""

    key: KeyItem
    token: str


class RoleItem(msgspec.Struct, frozen=True, kw_only=True):
    """A role and what it may do."""

    name: str
    permissions: list[str]
    built_in: bool


class RoleList(msgspec.Struct, frozen=True, kw_only=True):
    """The built-in roles, then the workspace's own."""

    roles: list[RoleItem]


class GrantItem(msgspec.Struct, frozen=True, kw_only=True):
    """What a user, a key (by id) or a role (by name) may do with one flow."""

    id: str
    flow_id: str
    subject_kind: str
    subject: str
    permissions: list[str]
    created_at: str


class GrantList(msgspec.Struct, frozen=True, kw_only=True):
    """Grants, the newest first."""

    grants: list[GrantItem]
    next_cursor: str | None = None


class WorkspaceItem(msgspec.Struct, frozen=True, kw_only=True):
    """A workspace."""

    id: str
    name: str
    created_at: str
    archived: bool


class WorkspaceList(msgspec.Struct, frozen=True, kw_only=True):
    """The workspaces that you can work in."""

    workspaces: list[WorkspaceItem]


class FlagItem(msgspec.Struct, frozen=True, kw_only=True):
    """A switch: what counts here, and what server and workspace have set (null: nothing)."""

    name: str
    on: bool
    server: bool | None
    workspace: bool | None


class FlagList(msgspec.Struct, frozen=True, kw_only=True):
    """All switches."""

    flags: list[FlagItem]


IDENTITY_ANSWERS: Final[tuple[type[msgspec.Struct], ...]] = (
    Ways, Me, User, UserList, PasswordLink, NewUser, SessionItem, SessionList, KeyItem, KeyList, NewKey, RoleItem,
    RoleList, GrantItem, GrantList, WorkspaceItem, WorkspaceList, FlagItem, FlagList,
)  # fmt: skip


def when(at: int) -> str:
    """A time as answers write it."""
    return rfc3339(at) or ""


def user_of(member: records.Member) -> User:
    """A member as answers show one."""
    account = member.account
    return User(
        id=account.id, email=account.email, name=account.name, role=member.role, has_password=account.has_password,
        disabled=account.disabled_at is not None, member_since=when(member.since),
        last_login_at=rfc3339(account.login_at),
    )  # fmt: skip


def session_of(session: records.Session, current: str | None = None) -> SessionItem:
    """A session as answers show one."""
    return SessionItem(
        id=session.id, created_at=when(session.created_at), last_used_at=when(session.used_at),
        expires_at=when(session.expires_at), address=session.address, agent=session.agent,
        current=session.id == current,
    )  # fmt: skip


def key_of(key: records.Key) -> KeyItem:
    """A key as answers show one."""
    return KeyItem(
        id=key.id, name=key.name, start=key.start, user_id=key.account_id, permissions=list(key.permissions),
        flows=None if key.flows is None else list(key.flows), created_at=when(key.created_at),
        expires_at=rfc3339(key.expires_at), last_used_at=rfc3339(key.used_at), revoked_at=rfc3339(key.revoked_at),
    )  # fmt: skip


def role_of(role: records.Role) -> RoleItem:
    """A role as answers show one."""
    return RoleItem(name=role.name, permissions=list(role.permissions), built_in=role.is_built_in)


def grant_of(grant: records.Grant) -> GrantItem:
    """A grant as answers show one."""
    return GrantItem(
        id=grant.id, flow_id=grant.flow_id, subject_kind=grant.subject_kind, subject=grant.subject,
        permissions=list(grant.permissions), created_at=when(grant.created_at),
    )  # fmt: skip


def workspace_of(workspace: records.Workspace) -> WorkspaceItem:
    """A workspace as answers show one."""
    return WorkspaceItem(
        id=workspace.id, name=workspace.name, created_at=when(workspace.created_at),
        archived=workspace.archived_at is not None,
    )  # fmt: skip


def flag_of(flag: records.Flag) -> FlagItem:
    """A switch as answers show one."""
    return FlagItem(name=flag.name, on=flag.is_on, server=flag.server, workspace=flag.workspace)
