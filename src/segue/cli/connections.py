"""`segue connection`: what is needed to reach other systems, kept once for all flows of a workspace.

The commands go through the API (`segue.cli.through_api`). Values of secret fields are read from stdin or asked for,
never taken from the command line, which other users of the machine can see.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from getpass import getpass
from types import MappingProxyType
from typing import Annotated, Any, Final
from urllib.parse import quote

import typer

from segue.cli.errors import FAILED, SUCCEEDED
from segue.cli.options import DatabaseOption, JsonOption, WorkspaceOption
from segue.cli.through_api import ask, ask_all, tell
from segue.errors import RequestError

_PATH: Final = "/api/v1/connections"
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The connection's name.")]
FieldOption = Annotated[
    list[str] | None,
    typer.Option("--field", "-f", metavar="NAME=VALUE", help="A field that may be seen, such as base_url. Repeatable."),
]
SecretOption = Annotated[
    list[str] | None,
    typer.Option(
        "--secret", "-s", metavar="NAME",
        help="A field that may not be seen, such as token. Its value is asked for, or is the next line of stdin. "
        "Repeatable.",
    ),
]  # fmt: skip


def connection_add(
    name: NameArgument,
    field: FieldOption = None,
    secret: SecretOption = None,
    workspace: WorkspaceOption = "default",
    json: JsonOption = False,
    database: DatabaseOption = None,
) -> int:
    """Make a connection. Its secret fields are encrypted and sent to the origin of `base_url` only."""
    body = {"name": name, "fields": _fields(field), "secret_fields": _secrets(secret)}
    made = ask(database, workspace, "POST", _PATH, body)
    return tell(made, json=json, text=_lines(made))


def connection_set(
    name: NameArgument,
    field: FieldOption = None,
    secret: SecretOption = None,
    workspace: WorkspaceOption = "default",
    json: JsonOption = False,
    database: DatabaseOption = None,
) -> int:
    """Put fields into a connection; the others stay. For `base_url` at another origin give all secret fields anew."""
    body = {"fields": _fields(field), "secret_fields": _secrets(secret)}
    if not any(body.values()):
        raise RequestError("nothing is to be changed: give --field NAME=VALUE or --secret NAME")
    changed = ask(database, workspace, "PATCH", _of(name), body)
    return tell(changed, json=json, text=_lines(changed))


def connection_list(
    workspace: WorkspaceOption = "default", json: JsonOption = False, database: DatabaseOption = None
) -> int:
    """List the connections of a workspace, with what the last check of each said."""
    found = ask_all(database, workspace, _PATH, "connections")
    lines = [f"{one['name']}  {one['status']}  {one['fields'].get('base_url', one['adapter'])}" for one in found]
    return tell({"connections": found}, json=json, text="\n".join(lines) or "no connections")


def connection_show(
    name: NameArgument,
    workspace: WorkspaceOption = "default",
    json: JsonOption = False,
    database: DatabaseOption = None,
) -> int:
    """Show a connection: its fields (secret ones as `***`), the last check, and the flows that name it."""
    found = ask(database, workspace, "GET", _of(name))
    return tell(found, json=json, text=_lines(found))


def connection_check(
    name: NameArgument,
    workspace: WorkspaceOption = "default",
    json: JsonOption = False,
    database: DatabaseOption = None,
) -> int:
    """Try a connection: ask `check_path` below its `base_url` with its credentials. Exit code 1 if that fails."""
    found = ask(database, workspace, "POST", f"{_of(name)}/check")
    tell(found, json=json, text=f"{name}: {_checked(found)}")
    return SUCCEEDED if found["status"] == "ok" else FAILED


def connection_remove(
    name: NameArgument,
    workspace: WorkspaceOption = "default",
    json: JsonOption = False,
    database: DatabaseOption = None,
) -> int:
    """Forget a connection. Steps that still ask for it fail."""
    ask(database, workspace, "DELETE", _of(name))
    return tell({"name": name, "removed": True}, json=json, text=f"{name} is removed")


connection: Final[Mapping[str, Callable[..., int]]] = MappingProxyType(
    {
        "add": connection_add, "set": connection_set, "list": connection_list, "show": connection_show,
        "check": connection_check, "remove": connection_remove,
    }
)  # fmt: skip
"""Connections: make, change, list, show, try and forget them."""


def _of(name: str) -> str:
    return f"{_PATH}/{quote(name, safe='')}"


def _fields(given: list[str] | None) -> dict[str, str]:
    fields: dict[str, str] = {}
    for pair in given or ():
        name, found, value = pair.partition("=")
        if not found or not name:
            raise RequestError(f"--field {pair!r}: write NAME=VALUE")
        fields[name] = value
    return fields


def _secrets(names: list[str] | None) -> dict[str, str]:
    """A value for each name. Raises RequestError for one that did not come."""
    values: dict[str, str] = {}
    for name in names or ():
        if "=" in name:
            message = "write the name alone; the value is asked for, or read from stdin, where nobody else sees it"
            raise RequestError(f"--secret {name.partition('=')[0]}=…: {message}")
        values[name] = getpass(f"Value of {name}: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\r\n")
        if not values[name]:
            raise RequestError(f"no value came on stdin for the field {name!r}; nothing is changed")
    return values


def _lines(one: dict[str, Any]) -> str:
    fields = one["fields"] | one["secret_fields"]
    used = ", ".join(one["used_by"] or ()) or "no flow" if one["used_by"] is not None else None
    lines = [f"{one['name']}  {_checked(one)}", *(f"  {name}: {value}" for name, value in fields.items())]
    return "\n".join(lines if used is None else [*lines, f"  used by {used}"])


def _checked(one: dict[str, Any]) -> str:
    said = "" if one["check_message"] is None else f": {one['check_message']}"
    return f"{one['status']}{said}"
