"""A workspace's people, roles, grants and switches; and the workspaces themselves.

The default workspace is the server's own: who may manage it manages the server, with its accounts, workspaces and
switches. What a route does to another workspace it does not tell from what does not exist.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from segue.access.identities import Identities
from segue.access.principal import DEFAULT_WORKSPACE, Principal
from segue.access.resting import SERVER
from segue.api.access import Access
from segue.api.answers import answer
from segue.api.bodies import read_model
from segue.api.documented import answers_with, body_of, errors_of
from segue.api.errors import ForbiddenError, InvalidRequestError
from segue.api.identities import LIST_MAX, refuse_stronger
from segue.api.identity_answers import (
    FlagList,
    GrantItem,
    GrantList,
    NewUser,
    PasswordLink,
    RoleItem,
    RoleList,
    User,
    UserList,
    WorkspaceItem,
    WorkspaceList,
    flag_of,
    grant_of,
    role_of,
    user_of,
    when,
    workspace_of,
)
from segue.api.identity_bodies import (
    ChangeUser,
    ChangeWorkspace,
    CreateWorkspace,
    InviteUser,
    PutFlag,
    PutGrant,
    PutRole,
)
from segue.api.routing import ANYBODY, Routes, principal_of, refuse_unless
from segue.errors import NotFoundError

Limit = Annotated[int, Query(ge=1, le=LIST_MAX)]
Cursor = Annotated[str | None, Query(max_length=100)]
_READ: Final = "workspace:read"
_MANAGE: Final = "workspace:admin"
_BODY: Final = (400, 413, 415, 422)
_NOTHING: Final[dict[int | str, dict[str, Any]]] = {204: {"description": "Done"}, **errors_of(404, 409)}


class WorkspaceRoutes:
    """`/api/v1/{users,roles,grants,workspaces,flags}`."""

    def __init__(self, access: Access, identities: Identities) -> None:
        self._access = access
        self._identities = identities

    def router(self) -> Routes:
        """The routes."""
        router = Routes(prefix="/api/v1", tags=["access"])
        self._add_people(router)
        self._add_rights(router)
        add = router.add
        add("/workspaces", self.workspaces, needs=ANYBODY, responses=answers_with(200, WorkspaceList))
        add(
            "/workspaces", self.create_workspace, method="POST", needs=_MANAGE, status_code=201,
            extra=body_of(CreateWorkspace), responses=answers_with(201, WorkspaceItem, *_BODY),
        )  # fmt: skip
        add(
            "/workspaces/{workspace_id}", self.change_workspace, method="PATCH", needs=_MANAGE,
            extra=body_of(ChangeWorkspace), responses=answers_with(200, WorkspaceItem, 404, 409, *_BODY),
        )  # fmt: skip
        add("/flags", self.flags, needs=_READ, responses=answers_with(200, FlagList))
        add(
            "/flags/{name}", self.put_flag, method="PUT", needs=_MANAGE, extra=body_of(PutFlag),
            responses=answers_with(200, FlagList, 404, *_BODY),
        )  # fmt: skip
        return router

    def _add_people(self, router: Routes) -> None:
        add = router.add
        add("/users", self.users, needs=_READ, responses=answers_with(200, UserList, 422))
        add(
            "/users", self.invite, method="POST", needs=_MANAGE, status_code=201, extra=body_of(InviteUser),
            responses=answers_with(201, NewUser, 409, *_BODY),
        )  # fmt: skip
        add("/users/{user_id}", self.user, needs=_READ, responses=answers_with(200, User, 404))
        add(
            "/users/{user_id}", self.change_user, method="PATCH", needs=_MANAGE, extra=body_of(ChangeUser),
            responses=answers_with(200, User, 404, 409, *_BODY),
        )  # fmt: skip
        add("/users/{user_id}", self.remove_user, method="DELETE", needs=_MANAGE, status_code=204, responses=_NOTHING)
        add(
            "/users/{user_id}/password-link", self.password_link, method="POST", needs=_MANAGE, status_code=201,
            responses=answers_with(201, PasswordLink, 404),
        )  # fmt: skip

    def _add_rights(self, router: Routes) -> None:
        add = router.add
        add("/roles", self.roles, needs=_READ, responses=answers_with(200, RoleList))
        add(
            "/roles/{name}", self.put_role, method="PUT", needs=_MANAGE, extra=body_of(PutRole),
            responses=answers_with(200, RoleItem, 409, *_BODY),
        )  # fmt: skip
        add("/roles/{name}", self.delete_role, method="DELETE", needs=_MANAGE, status_code=204, responses=_NOTHING)
        add("/grants", self.grants, needs=_READ, responses=answers_with(200, GrantList, 422))
        add(
            "/grants", self.put_grant, method="POST", needs=_MANAGE, extra=body_of(PutGrant),
            responses=answers_with(200, GrantItem, 404, *_BODY),
        )  # fmt: skip
        add(
            "/grants/{grant_id}", self.delete_grant, method="DELETE", needs=_MANAGE, status_code=204,
            responses=_NOTHING,
        )  # fmt: skip

    # ------------------------------------------------------------ people

    async def users(self, request: Request, limit: Limit = 50, cursor: Cursor = None) -> Response:
        """The members of the workspace."""
        page = await self._identities.members.page(principal_of(request).workspace, limit, cursor)
        return answer(UserList(users=[user_of(one) for one in page.items], next_cursor=page.cursor))

    async def invite(self, request: Request) -> Response:
        """Take a person in. One who is new to this server is answered with a one-time link, with which that person sets
        a password. So is one who joins the default workspace with an account that another workspace has made: whoever
        made it may know its password, so that one counts no more.
        """
        principal = principal_of(request)
        body = await read_model(request, InviteUser)
        await self._refuse_stronger_role(principal, body.role)
        member, is_new = await self._identities.members.add(
            principal.workspace, body.email, body.name or body.email, body.role
        )
        account_id = member.account.id
        is_foreign = not is_new and principal.workspace == DEFAULT_WORKSPACE
        needs_link = is_new or (is_foreign and await self._identities.accounts.renew(account_id))
        link = await self._link(request, account_id) if needs_link else None
        return answer(NewUser(user=user_of(member), link=link), 201)

    async def user(self, user_id: str, request: Request) -> Response:
        """A member of the workspace."""
        return answer(user_of(await self._identities.members.get(principal_of(request).workspace, user_id)))

    async def change_user(self, user_id: str, request: Request) -> Response:
        """Give a member another role; or, where the server is managed, disable the account."""
        principal = principal_of(request)
        body = await read_model(request, ChangeUser)
        members = self._identities.members
        member = await members.get(principal.workspace, user_id)
        await self._refuse_stronger_role(principal, member.role)
        if body.role is not None:
            await self._refuse_stronger_role(principal, body.role)
            await members.put_role(principal.workspace, user_id, body.role)
        if body.disabled is not None:
            _refuse_unless_server(principal)
            await self._identities.accounts.set_disabled(user_id, disabled=body.disabled)
        return answer(user_of(await members.get(principal.workspace, user_id)))

    async def remove_user(self, user_id: str, request: Request) -> Response:
        """Let a person into this workspace no more; the account and other workspaces stay."""
        principal = principal_of(request)
        member = await self._identities.members.get(principal.workspace, user_id)
        await self._refuse_stronger_role(principal, member.role)
        await self._identities.members.remove(principal.workspace, user_id)
        return Response(status_code=204)

    async def password_link(self, user_id: str, request: Request) -> Response:
        """A one-time link with which a person sets a new password. Only where the server is managed, or for the
        server's own token in any workspace: with it one could become that person everywhere.
        """
        principal = principal_of(request)
        member = await self._identities.members.get(principal.workspace, user_id)
        if principal.kind != "server":
            _refuse_unless_server(principal)
        await self._refuse_stronger_role(principal, member.role)
        return answer(await self._link(request, user_id), 201)

    async def _link(self, request: Request, account_id: str) -> PasswordLink:
        token, until = await self._identities.accounts.new_link(account_id)
        path = f"/setup#{token}"
        base = self._access.public_url or str(request.base_url)
        return PasswordLink(url=base.rstrip("/") + path, url_path=path, expires_at=when(until))

    async def _refuse_stronger_role(self, principal: Principal, role: str) -> None:
        refuse_stronger(principal, await self._identities.roles.permissions_of(principal.workspace, role))

    async def _refuse_stronger_than_known(self, principal: Principal, role: str) -> None:
        """Nobody changes for others what they may not do. A built-in or unknown role is told by who keeps them."""
        known = await self._identities.roles.list_of(principal.workspace)
        found = next((one for one in known if one.name == role and not one.is_built_in), None)
        if found is not None:
            refuse_stronger(principal, found.permissions)

    # ------------------------------------------------------------ rights

    async def roles(self, request: Request) -> Response:
        """The roles of the workspace."""
        found = await self._identities.roles.list_of(principal_of(request).workspace)
        return answer(RoleList(roles=[role_of(one) for one in found]))

    async def put_role(self, name: str, request: Request) -> Response:
        """Make a role of the workspace's own, or change it for all who have it."""
        principal = principal_of(request)
        body = await read_model(request, PutRole)
        refuse_stronger(principal, body.permissions)
        await self._refuse_stronger_than_known(principal, name)
        return answer(role_of(await self._identities.roles.put(principal.workspace, name, body.permissions)))

    async def delete_role(self, name: str, request: Request) -> Response:
        """Delete a role that no member has."""
        principal = principal_of(request)
        await self._refuse_stronger_than_known(principal, name)
        await self._identities.roles.delete(principal.workspace, name)
        return Response(status_code=204)

    async def grants(
        self,
        request: Request,
        flow: Annotated[str | None, Query(description="Only of this flow.", max_length=300)] = None,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> Response:
        """What users, keys and roles may do with single flows."""
        page = await self._identities.grants.page(principal_of(request).workspace, flow, limit, cursor)
        return answer(GrantList(grants=[grant_of(one) for one in page.items], next_cursor=page.cursor))

    async def put_grant(self, request: Request) -> Response:
        """Let a user, a key or a role do something with one flow, in place of what it was granted there before."""
        principal = principal_of(request)
        body = await read_model(request, PutGrant)
        refuse_stronger(principal, body.permissions)
        made = await self._identities.grants.put(
            principal.workspace, body.flow_id, body.subject_kind, body.subject, body.permissions
        )
        return answer(grant_of(made))

    async def delete_grant(self, grant_id: str, request: Request) -> Response:
        """Take a grant back."""
        await self._identities.grants.delete(principal_of(request).workspace, grant_id)
        return Response(status_code=204)

    # ------------------------------------------------------------ workspaces and switches

    async def workspaces(self, request: Request) -> Response:
        """The workspaces that you can work in; all, for who manages the server."""
        principal = principal_of(request)
        parts = self._identities.workspaces
        if _is_server(principal):
            found = await parts.list_all()
        elif principal.kind == "user":
            found = await parts.list_of(principal.id)
        else:
            found = [await parts.get(principal.workspace)]
        return answer(WorkspaceList(workspaces=[workspace_of(one) for one in found]))

    async def create_workspace(self, request: Request) -> Response:
        """Make a workspace and become its owner."""
        principal = principal_of(request)
        _refuse_unless_server(principal)
        body = await read_model(request, CreateWorkspace)
        owner = principal.id if principal.kind == "user" else None
        return answer(workspace_of(await self._identities.workspaces.create(body.name, owner)), 201)

    async def change_workspace(self, workspace_id: str, request: Request) -> Response:
        """Rename a workspace, close it to everybody, or open it again."""
        principal = principal_of(request)
        if workspace_id != principal.workspace and not _is_server(principal):
            raise NotFoundError(f"no workspace has the id {workspace_id!r}")
        body = await read_model(request, ChangeWorkspace)
        if body.name is None and body.archived is None:
            raise InvalidRequestError("nothing is to be changed", [("", "send `name` or `archived`")])
        parts = self._identities.workspaces
        changed = await parts.get(workspace_id)
        if body.archived is not None:
            _refuse_unless_server(principal)
            changed = await parts.set_archived(workspace_id, archived=body.archived)
        if body.name is not None:
            changed = await parts.rename(workspace_id, body.name)
        return answer(workspace_of(changed))

    async def flags(self, request: Request) -> Response:
        """All switches, as they count in the workspace."""
        return answer(await self._flags(principal_of(request)))

    async def put_flag(self, name: str, request: Request) -> Response:
        """Set a switch of the workspace or of the server. What the server switches off no workspace switches on."""
        principal = principal_of(request)
        body = await read_model(request, PutFlag)
        where = principal.workspace
        if body.scope == "server":
            _refuse_unless_server(principal)
            where = SERVER
        await self._identities.workspaces.set_flag(where, name, body.on)
        return answer(await self._flags(principal))

    async def _flags(self, principal: Principal) -> FlagList:
        found = await self._identities.workspaces.flags_of(principal.workspace)
        return FlagList(flags=[flag_of(one) for one in found])


def _is_server(principal: Principal) -> bool:
    """Whether it manages the whole server."""
    return principal.workspace == DEFAULT_WORKSPACE and principal.may(_MANAGE)


def _refuse_unless_server(principal: Principal) -> None:
    refuse_unless(principal, _MANAGE)
    if not _is_server(principal):
        raise ForbiddenError("only who manages the default workspace may do this: it is the server's own")
