"""What callers send about identities."""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias

from pydantic import BaseModel, Field

from segue.api.bodies import Body

Secret: TypeAlias = Annotated[str, Field(min_length=1, max_length=1_000)]
Email: TypeAlias = Annotated[str, Field(min_length=3, max_length=300)]
Name: TypeAlias = Annotated[str, Field(min_length=1, max_length=100)]
Permissions: TypeAlias = Annotated[
    list[str], Field(min_length=1, max_length=50, description="Such as flow:read, run:create, run:admin.")
]
RoleName: TypeAlias = Annotated[str, Field(min_length=1, max_length=50)]


class SetUp(Body):
    """Use a one-time link: make the owner of a new server, or set a password."""

    token: Secret
    password: Secret
    email: Email | None = Field(None, description="Of the owner; not with a link that a person was given.")
    name: Name | None = Field(None, description="Of the owner.")


class SignIn(Body):
    """E-mail address and password."""

    email: Email
    password: Secret


class NewPassword(Body):
    """Change your own password."""

    old_password: Secret
    password: Secret


class InviteUser(Body):
    """Take a person into the workspace."""

    email: Email
    name: Name | None = Field(None, description="Left out: the address.")
    role: RoleName


class ChangeUser(Body):
    """Give a member another role, or (on the whole server) let nobody in under this account."""

    role: RoleName | None = None
    disabled: bool | None = None


class CreateKey(Body):
    """A key for a program."""

    name: Name
    permissions: Permissions
    flows: list[Annotated[str, Field(min_length=1, max_length=300)]] | None = Field(
        None, min_length=1, max_length=100, description="Only these flows and their runs; left out: all."
    )
    expires_at: str | None = Field(None, max_length=60, description="An RFC 3339 time with its zone.")
    expires_in: str | None = Field(None, max_length=60, description="A length of time: `90d`, `12h`.")
    for_workspace: bool = Field(
        False, description="It belongs to the workspace and outlives your membership; needs workspace:admin."
    )


class PutRole(Body):
    """What a role may do."""

    permissions: Permissions


class PutGrant(Body):
    """What a user, a key or a role may do with one flow."""

    flow_id: str = Field(min_length=1, max_length=300)
    subject_kind: Literal["user", "key", "role"]
    subject: str = Field(min_length=1, max_length=100, description="A user's or key's id, or a role's name.")
    permissions: Permissions


class CreateWorkspace(Body):
    """A new workspace."""

    name: Name


class ChangeWorkspace(Body):
    """Rename or archive a workspace."""

    name: Name | None = None
    archived: bool | None = None


class PutFlag(Body):
    """Set a switch; null: as if nobody had set it."""

    on: bool | None
    scope: Literal["workspace", "server"] = "workspace"


IDENTITY_MODELS: Final[tuple[type[BaseModel], ...]] = (
    SetUp, SignIn, NewPassword, InviteUser, ChangeUser, CreateKey, PutRole, PutGrant, CreateWorkspace, ChangeWorkspace,
    PutFlag,
)  # fmt: skip
