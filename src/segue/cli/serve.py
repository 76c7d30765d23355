"""`segue serve`: the server of one database, until it is told to stop."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from segue.cli.database import database_url, file_of
from segue.cli.errors import FAILED, SUCCEEDED, notice
from segue.cli.loop import run_async
from segue.cli.options import ActionsOption, DatabaseOption, JsonOption
from segue.errors import RequestError

if TYPE_CHECKING:
    from segue.bootstrap import Host
    from segue.cli.door import Door, PublicAddress

DEFAULT_PORT: Final = 8080
PORTS_TRIED: Final = 20
GRACE_SECONDS: Final = 10.0
HOSTS_SETTING: Final = "SEGUE_ALLOWED_HOSTS"
PROXIES_SETTING: Final = "SEGUE_TRUSTED_PROXIES"
LOOPBACK_HOSTS: Final = ("127.0.0.1", "::1", "localhost")

PublicUrlOption = Annotated[
    str | None,
    typer.Option(
        "--public-url",
        envvar="SEGUE_PUBLIC_URL",
        metavar="URL",
        help="The https address under which a proxy with TLS serves this server to others, who sign in.",
    ),
]
TrustedProxyOption = Annotated[
    list[str] | None,
    typer.Option(
        "--trusted-proxy",
        metavar="ADDRESS",
        help="With --public-url: the proxy's address or network, if it is not on this machine. Its X-Forwarded-For "
        "and X-Forwarded-Proto count, nobody else's. Repeatable; or SEGUE_TRUSTED_PROXIES.",
    ),
]
RateLimitOption = Annotated[
    str | None,
    typer.Option(
        "--rate-limit",
        envvar="SEGUE_RATE_LIMIT",
        metavar="RATE",
        help="Requests a second of one key or person, and at once: 200/1000 is the default.",
    ),
]
AddressRateOption = Annotated[
    str | None,
    typer.Option(
        "--rate-limit-address",
        envvar="SEGUE_RATE_LIMIT_ADDRESS",
        metavar="RATE",
        help="The same for one address without an identity: 50/500 is the default, and does not count this machine.",
    ),
]


def serve(
    host: Annotated[
        str, typer.Option("--host", help="The address to listen at. Others than this machine's: see --public-url.")
    ] = "127.0.0.1",
    port: Annotated[
        int | None,
        typer.Option("--port", "-p", min=0, max=65535, help=f"Default: {DEFAULT_PORT}, or the next free one. 0: any."),
    ] = None,
    public_url: PublicUrlOption = None,
    trusted_proxy: TrustedProxyOption = None,
    rate_limit: RateLimitOption = None,
    rate_limit_address: AddressRateOption = None,
    flows: Annotated[
        list[Path] | None, typer.Option("--flows", metavar="DIR", help="A folder of flows to offer. Repeatable.")
    ] = None,
    actions: ActionsOption = None,
    dev: Annotated[
        bool, typer.Option("--dev", help="For one person trying things: the examples, and flows may call this machine.")
    ] = False,
    log_level: Annotated[str, typer.Option("--log-level", help="debug, info, warning or error.")] = "info",
    json: JsonOption = False,
    database: DatabaseOption = None,
) -> int:
    """Serve the HTTP API and the page at an address of this machine, and carry out runs, until Ctrl-C or SIGTERM.

    The address is printed with a token that opens it; the token is new each time. With --json one object is printed
    once the server answers: {address, url, token, setup, database, pid}.
    """
    from segue.observe.logs import LEVELS, configure_logging

    if log_level not in LEVELS:
        raise typer.BadParameter(f"use one of {', '.join(LEVELS)}", param_hint="--log-level")
    rates = rate_limit or None, rate_limit_address or None
    public = _public(host, public_url, proxies=trusted_proxy or [], rates=rates, dev=dev)
    folders = [folder.absolute() for folder in flows or ()]
    for folder in folders:
        if not folder.is_dir():
            raise RequestError(f"there is no folder {folder} (--flows)")
    sources = list(actions or ())
    if dev:
        folders = _with_examples(folders)
    configure_logging(json=json, level=log_level)
    address = "127.0.0.1" if host == "localhost" else host
    return run_async(
        _serve(address, port, public, folders, sources, database_url(database), dev=dev, json=json), is_server=True
    )


async def _serve(
    address: str,
    port: int | None,
    public: PublicAddress,
    folders: list[Path],
    sources: list[str],
    url: str,
    *,
    dev: bool,
    json: bool,
) -> int:
    from segue.cli.actions import sources_of
    from segue.cli.hosting import host_for_server
    from segue.cli.interrupt import Interrupts
    from segue.net.egress import ALLOW_SETTING, EgressPolicy, parse_allow

    egress = EgressPolicy.server(parse_allow(os.environ.get(ALLOW_SETTING, "")), loopback=dev)
    named, _ = sources_of(sources, None)
    beside: list[str] = []
    for folder in folders:
        found = sources_of(named, folder)[1]
        if found is not None:
            notice(f"using the actions of {found}")
            beside.append(found)
    door = _bound(address, port, public)
    if door is None:
        return FAILED
    try:
        hosting = await host_for_server(url, egress=egress, sources=named, beside=beside, door=door)
    except BaseException:
        await door.close()
        raise
    with Interrupts() as interrupts:
        try:
            if address not in LOOPBACK_HOSTS:
                await _refuse_without_owner(hosting.host)
            await hosting.begin()
            await door.open(hosting.host, folders)
            await hosting.host.flows.settle()
            await hosting.host.triggers.begin()
            _tell(door, url, await door.setup_link(), json=json)
            await interrupts.wait()
            notice(f"stopping: what is in flight may end within {GRACE_SECONDS:g} s; once more stops at once")
        finally:
            await hosting.close(grace_seconds=GRACE_SECONDS)
    return SUCCEEDED


def _public(
    host: str, public_url: str | None, *, proxies: list[str], rates: tuple[str | None, str | None], dev: bool
) -> PublicAddress:
    """How others reach the server. Raises RequestError for what would let them in unencrypted."""
    from urllib.parse import urlsplit

    from segue.access.limits import Rate
    from segue.cli.door import PublicAddress

    for option, rate in zip(("--rate-limit", "--rate-limit-address"), rates, strict=True):
        try:
            Rate.parse(rate or "1")
        except RequestError as error:
            raise RequestError(f"{option}: {error.message}") from None
    proxies = proxies or os.environ.get(PROXIES_SETTING, "").replace(",", " ").split()
    if proxies and public_url is None:
        raise RequestError("--trusted-proxy says who is believed; say with --public-url what the proxy serves, too")
    _check_networks(proxies)

    names = tuple(os.environ.get(HOSTS_SETTING, "").replace(",", " ").split())
    for one in names:
        if "/" in one or "@" in one:
            raise RequestError(
                f"{HOSTS_SETTING}: {one!r} is no name; write names as in https://NAME, such as segue.local"
            )
    url = None if public_url is None else public_url.rstrip("/")
    if url is not None:
        parts = urlsplit(url)
        if parts.scheme != "https" or not parts.netloc or parts.path or parts.query or "@" in parts.netloc:
            raise RequestError(f"--public-url {public_url}: write it as https://segue.example.org, without a path")
    if host not in LOOPBACK_HOSTS:
        if url is None:
            raise RequestError(
                f"--host {host}: others than this machine are served only behind a proxy with TLS; say its https "
                "address with --public-url (or SEGUE_PUBLIC_URL)"
            )
        if dev:
            raise RequestError(f"--host {host}: --dev is for one person on this machine; leave one of them out")
        if not proxies:
            raise RequestError(
                f"--host {host}: name the proxy with --trusted-proxy (or {PROXIES_SETTING}), such as 10.0.0.7 or "
                "10.0.0.0/24; what others say of themselves is not believed"
            )
    return PublicAddress(
        url=url, allowed_hosts=names, trusted_proxies=tuple(proxies), identity_rate=rates[0], address_rate=rates[1]
    )


def _check_networks(proxies: list[str]) -> None:
    from ipaddress import ip_network

    for one in proxies:
        try:
            ip_network(one)
        except ValueError as error:
            raise RequestError(f"--trusted-proxy {one}: write an address or a network, such as 10.0.0.7") from error


async def _refuse_without_owner(host: Host) -> None:
    from segue.access.identities import Identities

    if not await Identities(host.tables, host.engine.now).accounts.exists_owner():
        raise RequestError(
            "this server has no owner yet: start it once without --host and open the address that it prints, or use "
            "`segue user add --role owner`"
        )


def _bound(address: str, port: int | None, public: PublicAddress) -> Door | None:
    """The socket at the port, or at the next free one if none was named."""
    from segue.cli.door import Door

    wanted = DEFAULT_PORT if port is None else port
    last = wanted if port is not None else wanted + PORTS_TRIED
    for number in range(wanted, last + 1):
        try:
            door = Door.bind(address, number, public)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                notice(f"cannot listen at {address}:{number}: {error.strerror}")
                return None
            continue
        if number != wanted:
            notice(f"port {wanted} is taken; using {number}")
        return door
    ports = f"port {wanted} is" if port is not None else f"the ports {wanted} to {last} are"
    notice(f"{ports} taken; end what listens there, or name another one with --port")
    return None


def _tell(door: Door, url: str, setup: str | None, *, json: bool) -> None:
    if json:
        from segue.cli.output import print_json

        print_json(
            {"address": door.address, "url": door.link or door.told_address, "token": door.token, "setup": setup,
             "database": url, "pid": os.getpid()}
        )  # fmt: skip
    else:
        print(f"Segue is running: {door.link or door.told_address}", flush=True)
        if setup is not None:
            notice(f"nobody signs in here yet; the owner is made at {setup}")
        path = file_of(url)
        notice(f"database {path or url}; stop with Ctrl-C")


def _with_examples(folders: list[Path]) -> list[Path]:
    """The examples of the checkout, too, if this is one."""
    examples = Path(__file__).resolve().parents[3] / "examples"
    return [*folders, examples] if examples.is_dir() and examples not in folders else folders
