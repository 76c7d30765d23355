"""`segue secret` and `segue keys`: what is kept encrypted in a database, and the keys that it is encrypted with.

A value is read from stdin or asked for, never taken from the command line, which other users of the machine can see.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from getpass import getpass
from types import NoneType
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar
from urllib.parse import quote

import typer

from segue.cli.database import database_url
from segue.cli.errors import SUCCEEDED
from segue.cli.loop import run_async
from segue.cli.options import DatabaseOption, JsonOption, WorkspaceOption
from segue.cli.output import counted
from segue.errors import RequestError

if TYPE_CHECKING:
    from segue.access.credentials import Credentials
    from segue.api.credential_answers import EncryptionKey, KeysRotated, SecretItem
    from segue.client.remote import RemoteHost

T = TypeVar("T")
_BY = "command line"


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
    chosen = name
    if action == "delete":
        _with_keeper(lambda keeper: keeper.delete(chosen), database, workspace)
        return SUCCEEDED
    value = _value(chosen)
    if not value:
        raise RequestError(f"no value came on stdin for the secret {name!r}; nothing is changed")
    found = _with_keeper(lambda keeper: keeper.put(chosen, value, note), database, workspace)
    _print(found, f"{found.name}: version {found.version} is kept", json=json)
    return SUCCEEDED


def keys(
    action: Annotated[Literal["list", "rotate"], typer.Argument(help="What to do.")] = "list",
    json: JsonOption = False,
    database: DatabaseOption = None,
) -> int:
    """The keys that secrets are encrypted with: `rotate` encrypts all with a new one and drops the old ones."""
    if action == "list":
        found = _with_keeper(lambda keeper: keeper.keys(), database)
        if json:
            from segue.cli.output import print_json

            print_json(found)
            return SUCCEEDED
        for key in found:
            state = "active" if key.active else "old" if key.known else "MISSING"
            print(f"{key.id}  {state:7}  {counted(key.rows, 'row')}")
        return SUCCEEDED
    done = _with_keeper(lambda keeper: keeper.rotate(), database)
    words = f"{counted(done.resealed, 'row')} encrypted with the key {done.active} now"
    if done.dropped:
        words += f"; dropped: {', '.join(done.dropped)}"
    if done.unused:
        words += f"; nothing needs these any more, take them out of SEGUE_KEYS: {', '.join(done.unused)}"
    _print(done, words, json=json)
    return SUCCEEDED


def _listed(workspace: str, *, json: bool, database: str | None) -> int:
    found = _with_keeper(lambda keeper: keeper.all(), database, workspace)
    if json:
        from segue.cli.output import print_json

        print_json(found)
        return SUCCEEDED
    width = max((len(one.name) for one in found), default=0)
    for one in found:
        used = "never used" if one.used_at is None else f"used {one.used_at}"
        print(f"{one.name:{width}}  version {one.version}, set {one.updated_at}, {used}  {one.note}".rstrip())
    return SUCCEEDED


def _value(name: str) -> str:
    if sys.stdin.isatty():
        return getpass(f"Value of {name}: ")
    try:
        return sys.stdin.buffer.read().decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise RequestError(f"the value of {name!r} is no UTF-8 text") from None


def _print(record: object, words: str, *, json: bool) -> None:
    from segue.cli.output import print_json

    if json:
        print_json(record)
    else:
        print(words)


class _Here:
    """The credentials of a database that this process hosts."""

    def __init__(self, held: Credentials, workspace: str) -> None:
        self._held = held
        self._workspace = workspace

    async def all(self) -> list[SecretItem]:
        from segue.api.credential_answers import secret_item

        found: list[SecretItem] = []
        while page := await self._held.secrets.all(self._workspace, after=found[-1].name if found else ""):
            found += [secret_item(one) for one in page]
        return found

    async def put(self, name: str, value: str, note: str | None) -> SecretItem:
        from segue.api.credential_answers import secret_item

        found, _ = await self._held.secrets.put(self._workspace, name, value, by=_BY, note=note)
        return secret_item(found)

    async def delete(self, name: str) -> None:
        await self._held.secrets.delete(self._workspace, name)

    async def keys(self) -> list[EncryptionKey]:
        from segue.access.rotation import usage
        from segue.api.credential_answers import EncryptionKey

        found = await usage(self._held.tables, self._held.vault.ring)
        return [EncryptionKey(id=one.id, active=one.active, known=one.known, rows=one.rows) for one in found]

    async def rotate(self) -> KeysRotated:
        from segue.access.rotation import rotate
        from segue.api.credential_answers import KeysRotated

        done = await rotate(self._held.tables, self._held.vault, self._held.key_file)
        return KeysRotated(
            active=done.active, resealed=done.resealed, dropped=list(done.dropped), unused=list(done.unused)
        )


class _There:
    """The same through the host that runs the database."""

    def __init__(self, remote: RemoteHost) -> None:
        self._remote = remote

    async def all(self) -> list[SecretItem]:
        from segue.api.credential_answers import SecretList

        found: list[SecretItem] = []
        cursor: str | None = ""
        while cursor is not None:
            page = await self._remote.ask("GET", "/api/v1/secrets", SecretList, query=[("cursor", cursor)])
            found, cursor = found + page.secrets, page.next_cursor
        return found

    async def put(self, name: str, value: str, note: str | None) -> SecretItem:
        from segue.api.credential_answers import SecretItem

        body = {"value": value} if note is None else {"value": value, "note": note}
        return await self._remote.ask("PUT", f"/api/v1/secrets/{quote(name, safe='')}", SecretItem, json=body)

    async def delete(self, name: str) -> None:
        await self._remote.ask("DELETE", f"/api/v1/secrets/{quote(name, safe='')}", NoneType)

    async def keys(self) -> list[EncryptionKey]:
        from segue.api.credential_answers import Encryption

        return (await self._remote.ask("GET", "/api/v1/encryption", Encryption)).keys

    async def rotate(self) -> KeysRotated:
        from segue.api.credential_answers import KeysRotated

        return await self._remote.ask("POST", "/api/v1/encryption/rotate", KeysRotated)


@asynccontextmanager
async def _keeper(url: str, workspace: str) -> AsyncGenerator[_Here | _There]:
    from segue.cli.hosting import Hosting, host_or_remote, open_workspace

    found = await host_or_remote(url)
    if not isinstance(found, Hosting):
        await found.close()
        async with found.within(workspace) as there:
            yield _There(there)
        return
    try:
        await found.host.engine.open(adopt=False)
        await open_workspace(found.host, workspace)
        yield _Here(found.host.credentials, workspace)
    finally:
        await found.close(grace_seconds=0)


def _with_keeper(work: Callable[[_Here | _There], Awaitable[T]], database: str | None, workspace: str = "default") -> T:
    async def do() -> T:
        async with _keeper(database_url(database), workspace) as keeper:
            return await work(keeper)

    return run_async(do())
