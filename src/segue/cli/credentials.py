"""`segue secret` and `segue keys`: what is kept encrypted in a database, and the keys that it is encrypted with.

The commands go through the API (`segue.cli.through_api`). A value is read from stdin or asked for, never taken from the
command line, which other users of the machine can see.
"""

from __future__ import annotations

import sys
from getpass import getpass
from typing import Annotated, Any, Literal
from urllib.parse import quote

import typer

from segue.cli.errors import SUCCEEDED
from segue.cli.options import DatabaseOption, JsonOption, WorkspaceOption
from segue.cli.output import counted
from segue.cli.through_api import ask, ask_all, tell
from segue.errors import RequestError


def secret(
    action: Annotated[Literal["set", "list", "delete"], typer.Argument(help="What to do.")],
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="The secret's name.", show_default=False)] = None,
    note: Annotated[str | None, typer.Option("--note", help="What it is for; anyone may see it.")] = None,
    workspace: WorkspaceOption = "default",
    json: JsonOption = False,
    database: DatabaseOption = None,
) -> int:
    """Keep secrets for flows: `set` reads the value from stdin or asks for it, `list` shows names, `delete` forgets."""
    if action == "list":
        return _listed(workspace, json=json, database=database)
    if name is None:
        raise RequestError(f"name the secret: segue secret {action} NAME")
    path = f"/api/v1/secrets/{quote(name, safe='')}"
    if action == "delete":
        ask(database, workspace, "DELETE", path)
        return SUCCEEDED
    value = _value(name)
    if not value:
        raise RequestError(f"no value came on stdin for the secret {name!r}; nothing is changed")
    body = {"value": value} if note is None else {"value": value, "note": note}
    found = ask(database, workspace, "PUT", path, body)
    return tell(found, json=json, text=f"{found['name']}: version {found['version']} is kept")


def keys(
    action: Annotated[Literal["list", "rotate"], typer.Argument(help="What to do.")] = "list",
    json: JsonOption = False,
    database: DatabaseOption = None,
) -> int:
    """The keys that secrets are encrypted with: `rotate` encrypts all with a new one and drops the old ones."""
    if action == "list":
        found = ask(database, "default", "GET", "/api/v1/encryption")
        return tell(found["keys"], json=json, text="\n".join(map(_key_line, found["keys"])))
    done = ask(database, "default", "POST", "/api/v1/encryption/rotate")
    words = f"{counted(done['resealed'], 'row')} encrypted with the key {done['active']} now"
    if done["dropped"]:
        words += f"; dropped: {', '.join(done['dropped'])}"
    if done["unused"]:
        words += f"; nothing needs these any more, take them out of SEGUE_KEYS: {', '.join(done['unused'])}"
    return tell(done, json=json, text=words)


def _key_line(key: dict[str, Any]) -> str:
    state = "active" if key["active"] else "old" if key["known"] else "MISSING"
    return f"{key['id']}  {state:7}  {counted(key['rows'], 'row')}"


def _listed(workspace: str, *, json: bool, database: str | None) -> int:
    found = ask_all(database, workspace, "/api/v1/secrets", "secrets")
    width = max((len(one["name"]) for one in found), default=0)
    lines = [_secret_line(one, width) for one in found]
    return tell(found, json=json, text="\n".join(lines) or "no secrets")


def _secret_line(one: dict[str, Any], width: int) -> str:
    used = "never used" if one["used_at"] is None else f"used {one['used_at']}"
    said = f"version {one['version']}, set {one['updated_at']}, {used}  {one['note']}"
    return f"{one['name']:{width}}  {said}".rstrip()


def _value(name: str) -> str:
    if sys.stdin.isatty():
        return getpass(f"Value of {name}: ")
    try:
        return sys.stdin.buffer.read().decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise RequestError(f"the value of {name!r} is no UTF-8 text") from None
