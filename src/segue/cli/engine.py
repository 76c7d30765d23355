"""`segue engine`: document B's engine contract alone, for a gateway on another machine or in another process."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Annotated, Final

import typer

from segue.cli.database import database_url
from segue.cli.errors import FAILED, SUCCEEDED, notice
from segue.cli.loop import run_async
from segue.cli.options import ActionsOption, DatabaseOption, JsonOption
from segue.errors import RequestError

if TYPE_CHECKING:
    from segue.cli.door import Door

ENGINE_PORT: Final = 8081
GRACE_SECONDS: Final = 10.0
LOOPBACK_HOSTS: Final = ("127.0.0.1", "::1", "localhost")


def engine(
    host: Annotated[str, typer.Option("--host", help="The address to listen at; of this machine only.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", "-p", min=0, max=65535, help="0: any free one.")] = ENGINE_PORT,
    grpc: Annotated[
        int | None,
        typer.Option(
            "--grpc",
            metavar="PORT",
            min=0,
            max=65535,
            help="Serve the same over gRPC at this port, too; 0: any free one.",
        ),
    ] = None,
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

    A gateway hands its runs to it when SEGUE_ENGINE_URL names its address (`http://…`, or `grpc://…` for the one of
    --grpc) and SEGUE_ENGINE_TOKEN its token. With --json
    one object is printed once it answers: {address, token, database, pid}, and {grpc} with --grpc.
    """
    from segue.observe.logs import LEVELS, configure_logging

    if log_level not in LEVELS:
        raise typer.BadParameter(f"use one of {', '.join(LEVELS)}", param_hint="--log-level")
    if host not in LOOPBACK_HOSTS:
        raise RequestError(f"--host {host}: the engine serves this machine only; put a proxy with TLS before it")
    configure_logging(json=json, level=log_level)
    address = "127.0.0.1" if host == "localhost" else host
    return run_async(
        _serve(address, port, grpc, token, list(actions or ()), database_url(database), local=local, json=json),
        is_server=True,
    )


async def _serve(
    address: str,
    port: int,
    grpc: int | None,
    token: str | None,
    sources: list[str],
    url: str,
    *,
    local: bool,
    json: bool,
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
    door.engine_only, door.grpc_port = True, grpc
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
            _tell(door, None if is_given else door.token, url, json=json)
            await interrupts.wait()
            notice(f"stopping: what is in flight may end within {GRACE_SECONDS:g} s; once more stops at once")
        finally:
            await hosting.close(grace_seconds=GRACE_SECONDS)
    return SUCCEEDED


def _tell(door: Door, token: str | None, url: str, *, json: bool) -> None:
    if json:
        from segue.cli.output import print_json

        told = {"address": door.address, "token": token, "database": url, "pid": os.getpid()}
        print_json(told if door.grpc_address is None else {**told, "grpc": door.grpc_address})
        return
    print(f"Segue's engine is running: {door.address}", flush=True)
    if door.grpc_address is not None:
        print(f"Over gRPC: {door.grpc_address}", flush=True)
    if token is not None:
        print(f"Callers send this token: {token}", flush=True)
