"""Commands for who may do what: `key`, `user`, `workspace`.

They go through the API (`segue.cli.through_api`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import quote

import typer

from segue.cli.errors import notice
from segue.cli.options import DatabaseOption, JsonOption, WorkspaceOption
from segue.cli.through_api import LIST_MAX, ask, tell, through_api

if TYPE_CHECKING:
    from segue.client.remote import RemoteHost

RoleOption = Annotated[str, typer.Option("--role", help="owner, editor, operator, viewer, or one of the workspace's.")]


def key_create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the key is for.")],
    allow: Annotated[
        list[str], typer.Option("--allow", "-a", metavar="PERMISSION", help="Such as run:create. Repeatable.")
    ],
    flow: Annotated[list[str] | None, typer.Option("--flow", help="Only this flow and its runs. Repeatable.")] = None,
    expires: Annotated[str | None, typer.Option("--expires", metavar="DURATION", help="Such as 90d.")] = None,
    workspace: WorkspaceOption = "default",
    json: JsonOption = False,
    database: DatabaseOption = None,
) -> int:
    """Make a key for a program. It is printed once and kept nowhere."""
    body = {"name": name, "permissions": allow, "flows": flow, "expires_in": expires, "for_workspace": True}
    made = ask(database, workspace, "POST", "/api/v1/keys", {k: v for k, v in body.items() if v is not None})
    if not json:
        notice(f"{made['key']['id']} ({name}); this is the only time that it is shown")
    return tell(made, json=json, text=made["token"])


def key_list(workspace: WorkspaceOption = "default", json: JsonOption = False, database: DatabaseOption = None) -> int:
    """List the keys of a workspace, the newest first."""
    found = ask(database, workspace, "GET", f"/api/v1/keys?limit={LIST_MAX}")
    lines = [
        f"{one['id']}  {one['start']}…  {_state(one)}  {' '.join(one['permissions'])}  {one['name']}"
        for one in found["keys"]
    ]
    return tell(found, json=json, text="\n".join(lines) or "no keys")


def key_revoke(
    key: Annotated[str, typer.Argument(metavar="KEY", help="A key's id.")],
    workspace: WorkspaceOption = "default",
    json: JsonOption = False,
    database: DatabaseOption = None,
) -> int:
    """Let a key in no more, at once."""
    ask(database, workspace, "DELETE", f"/api/v1/keys/{quote(key, safe='')}")
    return tell({"id": key, "revoked": True}, json=json, text=f"{key} is revoked")


def user_add(
    email: Annotated[str, typer.Argument(metavar="EMAIL")],
    name: Annotated[str | None, typer.Option("--name", help="Left out: the address.")] = None,
    role: RoleOption = "viewer",
    workspace: WorkspaceOption = "default",
    json: JsonOption = False,
    database: DatabaseOption = None,
) -> int:
    """Take a person into a workspace. For one who is new, the link with which a password is set is printed."""
    body = {"email": email, "role": role} | ({} if name is None else {"name": name})

    async def add(remote: RemoteHost) -> dict[str, Any]:
        return await remote.ask("POST", "/api/v1/users", dict[str, Any], json=body)

    made = through_api(database, workspace, add, at_rest=lambda made: _open_later(made["link"]))
    link = made["link"]
    if link is None:
        return tell(made, json=json, text=f"{made['user']['id']} is a member; the person has an account already")
    if not json:
        notice(f"{made['user']['id']} sets a password at this address, once, until {link['expires_at']}:")
    return tell(made, json=json, text=link["url"])


def user_list(workspace: WorkspaceOption = "default", json: JsonOption = False, database: DatabaseOption = None) -> int:
    """List the members of a workspace."""
    found = ask(database, workspace, "GET", f"/api/v1/users?limit={LIST_MAX}")
    lines = [
        f"{one['id']}  {one['role']}{'  disabled' if one['disabled'] else ''}  {one['email']}  {one['name']}"
        for one in found["users"]
    ]
    return tell(found, json=json, text="\n".join(lines) or "no users")


def user_reset_password(
    user: Annotated[str, typer.Argument(metavar="USER", help="A user's id or e-mail address.")],
    workspace: WorkspaceOption = "default",
    json: JsonOption = False,
    database: DatabaseOption = None,
) -> int:
    """Print a link with which a member of a workspace sets a new password, once; the owner, too."""
    from segue.errors import NotFoundError

    async def reset(remote: RemoteHost) -> dict[str, Any]:
        user_id, cursor = user, ""
        while "@" in user_id:
            page = await remote.ask("GET", f"/api/v1/users?limit={LIST_MAX}{cursor}", dict[str, Any])
            user_id = next((one["id"] for one in page["users"] if one["email"] == user.lower()), user)
            if "@" in user_id and page["next_cursor"] is None:
                raise NotFoundError(f"no member of the workspace {workspace} has the address {user}")
            cursor = f"&cursor={page['next_cursor']}"
        return await remote.ask("POST", f"/api/v1/users/{user_id}/password-link", dict[str, Any])

    link = through_api(database, workspace, reset, at_rest=_open_later)
    if not json:
        notice(f"a new password is set at this address, once, until {link['expires_at']}:")
    return tell(link, json=json, text=link["url"])


def _open_later(link: dict[str, Any] | None) -> None:
    """Give a link the address of the server that is still to be started."""
    from segue.cli.serve import DEFAULT_PORT

    if link is not None:
        base = os.environ.get("SEGUE_PUBLIC_URL") or f"http://127.0.0.1:{DEFAULT_PORT}"
        link["url"] = base.rstrip("/") + link["url_path"]
        notice("nobody runs this database now: the link opens once `segue serve` does, with the address that it prints")


def workspace_create(
    name: Annotated[str, typer.Argument(metavar="NAME")], json: JsonOption = False, database: DatabaseOption = None
) -> int:
    """Make a workspace; its id is printed."""
    made = ask(database, "default", "POST", "/api/v1/workspaces", {"name": name})
    return tell(made, json=json, text=made["id"])


def workspace_archive(
    workspace: Annotated[str, typer.Argument(metavar="ID", help="A workspace's id.")],
    json: JsonOption = False,
    database: DatabaseOption = None,
) -> int:
    """Close a workspace to everybody. Nothing in it is lost, and runs under way go on to their end."""
    return _set_archived(workspace, True, json=json, database=database)


def workspace_restore(
    workspace: Annotated[str, typer.Argument(metavar="ID", help="A workspace's id.")],
    json: JsonOption = False,
    database: DatabaseOption = None,
) -> int:
    """Open an archived workspace again."""
    return _set_archived(workspace, False, json=json, database=database)


def _set_archived(workspace: str, is_archived: bool, *, json: bool, database: str | None) -> int:
    path = f"/api/v1/workspaces/{quote(workspace, safe='')}"
    changed = ask(database, "default", "PATCH", path, {"archived": is_archived})
    return tell(changed, json=json, text=f"{changed['id']} is {'archived' if is_archived else 'open'}")


def workspace_list(json: JsonOption = False, database: DatabaseOption = None) -> int:
    """List all workspaces."""
    found = ask(database, "default", "GET", "/api/v1/workspaces")
    lines = [f"{one['id']}{'  archived' if one['archived'] else ''}  {one['name']}" for one in found["workspaces"]]
    return tell(found, json=json, text="\n".join(lines))


key: Final[Mapping[str, Callable[..., int]]] = MappingProxyType(
    {"create": key_create, "list": key_list, "revoke": key_revoke}
)
"""Keys of programs: make, list and revoke them."""
user: Final[Mapping[str, Callable[..., int]]] = MappingProxyType(
    {"add": user_add, "list": user_list, "reset-password": user_reset_password}
)
"""People: take them in, list them, give them a new password."""
workspace: Final[Mapping[str, Callable[..., int]]] = MappingProxyType(
    {"create": workspace_create, "list": workspace_list, "archive": workspace_archive, "restore": workspace_restore}
)
"""Workspaces: make, list, close and open them."""


def _state(one: dict[str, Any]) -> str:
    if one["revoked_at"] is not None:
        return "revoked"
    return "for ever" if one["expires_at"] is None else f"until {one['expires_at']}"
