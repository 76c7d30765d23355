"""Commands that change runs: `cancel`, `pause`, `resume`, `callback`, `emit`.

They go through the host that runs the database. If there is none they keep the change themselves and carry nothing
out: what follows from it begins with the next `segue run --continue` or `segue serve`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from segue.cli.database import database_url
from segue.cli.errors import SUCCEEDED, notice
from segue.cli.loop import run_async
from segue.cli.options import DatabaseOption, JsonOption, RunArgument
from segue.errors import RequestError

if TYPE_CHECKING:
    from segue.cli.desk import Desk

ReasonOption = Annotated[str | None, typer.Option("--reason", "-r", help="Why; kept with the run.")]


ForceOption = Annotated[bool, typer.Option("--force", help="Cut off `finally` steps and compensations, too.")]


def cancel(
    run: RunArgument,
    reason: ReasonOption = None,
    force: ForceOption = False,
    json: JsonOption = False,
    database: DatabaseOption = None,
) -> int:
    """Cancel a run: no step is begun, what is in flight is cut off, what was done is undone, `finally` steps run."""
    return change(run, lambda desk, run_id: desk.cancel(run_id, reason, force=force), json=json, database=database)


def pause(
    run: RunArgument, reason: ReasonOption = None, json: JsonOption = False, database: DatabaseOption = None
) -> int:
    """Pause a run: no new step is begun until `segue resume`; what is in flight ends and is kept."""
    return change(run, lambda desk, run_id: desk.pause(run_id, reason), json=json, database=database)


def resume(run: RunArgument, json: JsonOption = False, database: DatabaseOption = None) -> int:
    """Let a paused run go on."""
    return change(run, lambda desk, run_id: desk.resume(run_id), json=json, database=database)


def callback(
    token: Annotated[str, typer.Argument(metavar="TOKEN", help="The token, or the whole callback address.")],
    data: Annotated[
        str | None, typer.Option("--data", help="The payload: JSON, @FILE, or - for stdin. Default: null.")
    ] = None,
    json: JsonOption = False,
    database: DatabaseOption = None,
) -> int:
    """Answer a step that waits for a callback."""
    payload = payload_of(data)
    # A whole address is pasted more easily than its last part.
    token = token.rstrip("/").rpartition("/")[2]

    async def deliver(desk: Desk) -> str:
        return await desk.callback(token, payload)

    return _changed(deliver, json=json, database=database)


def emit(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The event's name, such as order.paid.")],
    data: Annotated[
        str | None, typer.Option("--data", help="The event's body: JSON, @FILE, or - for stdin. Default: null.")
    ] = None,
    id: Annotated[
        str | None, typer.Option("--id", metavar="ID", help="An id of your own: sent again, it changes nothing.")
    ] = None,
    json: JsonOption = False,
    database: DatabaseOption = None,
) -> int:
    """Send an event to all steps that wait for one of this name."""
    from segue.cli.hosting import desk_for_changing, with_desk
    from segue.cli.output import print_json
    from segue.cli.remote_desk import RemoteDesk

    body, url = payload_of(data), database_url(database)

    async def send(desk: Desk) -> tuple[str, bool]:
        return await desk.publish(name, body, id), isinstance(desk, RemoteDesk)

    async def apply() -> int:
        event, is_hosted = await with_desk(lambda: desk_for_changing(url), send)
        if json:
            print_json({"id": event, "event": name})
        else:
            print(f"{name} is sent: {event}")
        if not is_hosted:
            notice("kept; nobody runs this database now: `segue run --continue` delivers it")
        return SUCCEEDED

    return run_async(apply())


def change(run: str, make: Callable[[Desk, str], Awaitable[None]], *, json: bool, database: str | None) -> int:
    """Make one change to a run, and say how the run is then."""

    async def work(desk: Desk) -> str:
        from segue.cli.desk import find_run

        run_id = await find_run(desk, run)
        await make(desk, run_id)
        return run_id

    return _changed(work, json=json, database=database)


def _changed(work: Callable[[Desk], Awaitable[str]], *, json: bool, database: str | None) -> int:
    from segue.cli.hosting import desk_for_changing, desk_for_reading, with_desk
    from segue.cli.output import print_json

    url = database_url(database)

    async def apply() -> int:
        run_id, is_hosted = await with_desk(lambda: desk_for_changing(url), _noting_host(work))
        # Looked at anew: with its last run the host may have ended, too.
        view = (await with_desk(lambda: desk_for_reading(url), lambda desk: desk.show(run_id))).view
        if json:
            print_json({"run_id": run_id, "status": view.status, "reason": view.reason})
        else:
            print(f"{run_id} is {view.status}: {view.reason}")
        if not is_hosted and view.status in {"queued", "running"}:
            notice("kept; nobody runs this database now: `segue run --continue` goes on with it")
        return SUCCEEDED

    return run_async(apply())


def _noting_host(work: Callable[[Desk], Awaitable[str]]) -> Callable[[Desk], Awaitable[tuple[str, bool]]]:
    """The work's run, and whether a host carries it out."""

    async def noting(desk: Desk) -> tuple[str, bool]:
        from segue.cli.remote_desk import RemoteDesk

        return await work(desk), isinstance(desk, RemoteDesk)

    return noting


def payload_of(data: str | None) -> Any:
    """JSON that was written on the command line, in a file (`@FILE`) or on stdin. Raises RequestError."""
    import msgspec

    from segue.cli.flow_file import read_bytes

    if data is None:
        return None
    content = data.encode()
    if data == "-" or data.startswith("@"):
        content = read_bytes(data.removeprefix("@"), "payload")
    try:
        return msgspec.json.decode(content)
    except msgspec.MsgspecError as error:
        raise RequestError(f"--data is not JSON: {error}; text is written with its quotes: '\"text\"'") from error
