"""`segue engine`: document B's engine contract alone, for a gateway on another machine or in another process."""

from __future__ import annotations

import errno
import os
from typing import Annotated, Final

import typer

from segue.cli.database import database_url
from segue.cli.errors import FAILED, SUCCEEDED, notice
from segue.cli.loop import run_async
from segue.cli.options import ActionsOption, DatabaseOption, JsonOption
from segue.errors import RequestError

ENGINE_PORT: Final = 8081
GRACE_SECONDS: Final = 10.0
LOOPBACK_HOSTS: Final = ("127.0.0.1", "::1", "localhost")


def engine(
    host: Annotated[str, typer.Option("--host", help="The address to listen at; of this machine only.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", "-p", min=0, max=65535, help="0: any free one.")] = ENGINE_PORT,
    token: Annotated[
        str | None,
        typer.Option("--token", envvar="SEGUE_ENGINE_TOKEN", help="What callers must send; printed if left out."),
    ] = None,
    local: Annotated[bool, typer.Option("--local", help="Steps may call addresses of this machine.")] = False,
    actions: ActionsOption = None,
    log_level: Annotated[str, typer.Option("--log-level", help="debug, info, warning or error.")] = "info",
    json: JsonOption = False,
    database: DatabaseOption = None,
) -> int:
    """Serve only `POST /v1/execute`, `GET /v1/runs/{id}` and health, and carry out runs, until Ctrl-C or SIGTERM.

    A gateway hands its runs to it when SEGUE_ENGINE_URL names its address and SEGUE_ENGINE_TOKEN its token. With --json
    one object is printed once it answers: {address, token, database, pid}.
    """
    from segue.observe.logs import LEVELS, configure_logging

    if log_level not in LEVELS:
        raise typer.BadParameter(f"use one of {', '.join(LEVELS)}", param_hint="--log-level")
    if host not in LOOPBACK_HOSTS:
        raise RequestError(f"--host {host}: the engine serves this machine only; put a proxy with TLS before it")
    configure_logging(json=json, level=log_level)
    address = "127.0.0.1" if host == "localhost" else host
    return run_async(
        _serve(address, port, token, list(actions or ()), database_url(database), local=local, json=json),
        is_server=True,
    )


async def _serve(
    address: str, port: int, token: str | None, sources: list[str], url: str, *, local: bool, json: bool
) -> int:
    from segue.cli.actions import sources_of
    from segue.cli.door import Door
    from segue.cli.hosting import host_for_server
    from segue.cli.interrupt import Interrupts
    from segue.net.egress import ALLOW_SETTING, EgressPolicy, parse_allow

    egress = EgressPolicy.server(parse_allow(os.environ.get(ALLOW_SETTING, "")), loopback=local)
    try:
        door = Door.bind(address, port)
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        notice(f"port {port} is taken; name another one with --port" if taken else f"cannot listen: {error.strerror}")
        return FAILED
    door.engine_only = True
    is_given = token is not None
    door.token = token or door.token
    named, _ = sources_of(sources, None)
    try:
        hosting = await host_for_server(url, egress=egress, sources=named, beside=[], door=door)
    except BaseException:
        await door.close()
        raise
    with Interrupts() as interrupts:
        try:
            await hosting.begin()
            await door.open(hosting.host)
            _tell(door.address, None if is_given else door.token, url, json=json)
            await interrupts.wait()
            notice(f"stopping: what is in flight may end within {GRACE_SECONDS:g} s; once more stops at once")
        finally:
            await hosting.close(grace_seconds=GRACE_SECONDS)
    return SUCCEEDED


def _tell(address: str, token: str | None, url: str, *, json: bool) -> None:
    if json:
        from segue.cli.output import print_json

        print_json({"address": address, "token": token, "database": url, "pid": os.getpid()})
        return
    print(f"Segue's engine is running: {address}", flush=True)
    if token is not None:
        print(f"Callers send this token: {token}", flush=True)
