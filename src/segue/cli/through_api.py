"""Commands that go through the API, since there is one way to do what they do.

They speak to the API of the host that runs the database. If there is none, this process hosts it for a moment, carries
nothing out, and speaks to its own API.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from segue.cli.database import database_url
from segue.cli.errors import SUCCEEDED, notice
from segue.cli.loop import run_async
from segue.observe.terminal import printable

if TYPE_CHECKING:
    from segue.client.remote import RemoteHost

LIST_MAX: Final = 200


def ask(
    database: str | None, workspace: str, method: str, path: str, body: object = None, *, starts: bool = False
) -> dict[str, Any]:
    """One request. `starts`: it starts something, which nobody carries out while no host runs the database."""

    async def ask(remote: RemoteHost) -> dict[str, Any]:
        if body is not None:
            return await remote.ask(method, path, dict[str, Any], json=body)
        return await remote.ask(method, path, dict[str, Any]) if method != "DELETE" else await _nothing(remote, path)

    return through_api(database, workspace, ask, starts=starts)


async def _nothing(remote: RemoteHost, path: str) -> dict[str, Any]:
    await remote.ask("DELETE", path, type(None))
    return {}


def ask_all(database: str | None, workspace: str, path: str, name: str) -> list[dict[str, Any]]:
    """All pages of a list, one after the other. `name`: under what the answers hold their items."""

    async def work(remote: RemoteHost) -> dict[str, Any]:
        found: list[dict[str, Any]] = []
        cursor: str | None = ""
        while cursor is not None:
            page = await remote.ask("GET", f"{path}?limit={LIST_MAX}&cursor={quote(cursor)}", dict[str, Any])
            found, cursor = found + page[name], page["next_cursor"]
        return {name: found}

    return through_api(database, workspace, work)[name]


def through_api(
    database: str | None,
    workspace: str,
    work: Callable[[RemoteHost], Awaitable[dict[str, Any]]],
    *,
    starts: bool = False,
    at_rest: Callable[[dict[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """Several requests, and what comes of them. `at_rest` gets that if no host runs the database: there is no server at
    the address that was asked once this command has ended.
    """
    found: dict[str, Any] = {}

    async def do() -> int:
        async with _api(database_url(database), workspace) as (remote, is_hosted):
            found.update(await work(remote))
        if not is_hosted and at_rest is not None:
            at_rest(found)
        if starts and not is_hosted:
            notice("kept; nobody runs this database now: `segue serve` or `segue run --continue` carries it out")
        return SUCCEEDED

    run_async(do())
    return found


@asynccontextmanager
async def _api(url: str, workspace: str) -> AsyncGenerator[tuple[RemoteHost, bool]]:
    """The API of the host that runs the database (and whether there is one), or of this process for a moment."""
    from segue.cli.door import Door
    from segue.cli.hosting import Hosting, host_or_remote
    from segue.client.remote import RemoteHost

    found = await host_or_remote(url, door=Door.bind())
    if not isinstance(found, Hosting):
        await found.close()
        async with found.within(workspace) as remote:
            yield remote, True
        return
    try:
        await found.host.engine.open(adopt=False)
        assert found.door is not None
        await found.door.open(found.host)
        async with RemoteHost(found.door.address, found.door.token, workspace=workspace) as remote:
            yield remote, False
    finally:
        await found.close(grace_seconds=0)


def tell(value: dict[str, Any] | list[dict[str, Any]], *, json: bool, text: str) -> int:
    """Print what was asked for: as JSON, or the text."""
    if json:
        from segue.cli.output import print_json

        print_json(value)
    else:
        print(printable(text), flush=True)
    return SUCCEEDED
