"""The HTTP door of a hosting process: a socket bound at once, the API behind it as soon as it is wanted.

Binding is cheap and settles the address, so callback addresses can be given out from the first step on; whoever
connects before the API is loaded (half a second) waits in the socket's queue. `segue run` and `segue serve` open the
same door.
"""

from __future__ import annotations

import asyncio
import importlib.util
import secrets
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final

from segue.errors import EngineError, StoreUnavailableError

if TYPE_CHECKING:
    from segue.bootstrap import Host
    from segue.cli.door_api import ApiServer

LOOPBACK: Final = "127.0.0.1"
ON_THIS_MACHINE: Final = {"0.0.0.0": LOOPBACK, "::": "::1"}  # noqa: S104 - looked up, not bound
"""How this machine's own programs reach a server that listens at every address."""
TOKEN_BYTES: Final = 32
BACKLOG: Final = 1024
GRACE_SECONDS: Final = 2
"""How long requests that are being answered may take when the door closes."""
POLL_SECONDS: Final = 0.005
_NEEDED: Final = ("fastapi", "uvicorn")


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicAddress:
    """How others than this machine reach a server."""

    url: str | None = None
    """`https://segue.example.org`: what a proxy with TLS serves; None if there is none."""
    allowed_hosts: tuple[str, ...] = ()
    """Further names under which requests may come."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses and networks of the proxy; none: it is on this machine."""
    identity_rate: str | None = None
    """How often one identity may ask, as `segue.access.limits.Rate.parse` reads it; None: the default."""
    address_rate: str | None = None
    """The same for one address without an identity."""


class Door:
    """A bound socket, and the API served on it once `open` was called. Belongs to one event loop."""

    def __init__(self, bound: socket.socket, public: PublicAddress | None = None) -> None:
        self._socket = bound
        bound_to, port = bound.getsockname()[:2]
        self.port: int = port
        self._bound_to = str(bound_to)
        host = ON_THIS_MACHINE.get(self._bound_to, self._bound_to)
        self._public = public
        self.address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        self.token = secrets.token_urlsafe(TOKEN_BYTES)
        self.engine_only = False
        """Whether it serves document B's engine contract alone."""
        self.grpc_port: int | None = None
        """Where that contract is served over gRPC as well; 0: at any port, which stands here once the door is open."""
        self._server: ApiServer | None = None
        self._serving: asyncio.Task[None] | None = None
        self._opening: asyncio.Task[None] | None = None

    @staticmethod
    def bind(host: str = LOOPBACK, port: int = 0, public: PublicAddress | None = None) -> Door:
        """Bind and listen. `public`: how others reach it. Raises OSError if the port is taken."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        bound = socket.socket(family, socket.SOCK_STREAM)
        try:
            # Not SO_REUSEPORT: two servers must never share a port without knowing.
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind((host, port))
            bound.listen(BACKLOG)
            bound.setblocking(False)
        except OSError:
            bound.close()
            raise
        return Door(bound, public)

    @property
    def told_address(self) -> str:
        """The address that others are told: for callbacks, and for people."""
        return self.address if self._public is None or self._public.url is None else self._public.url

    @property
    def grpc_address(self) -> str | None:
        """Where gRPC is served, if it is."""
        if self.grpc_port is None:
            return None
        host = f"[{self._bound_to}]" if ":" in self._bound_to else self._bound_to
        return f"grpc://{host}:{self.grpc_port}"

    @property
    def link(self) -> str | None:
        """The address that opens the page once; None if others reach this server, who sign in."""
        return f"{self.address}/?token={self.token}" if self._public is None or self._public.url is None else None

    async def setup_link(self) -> str | None:
        """Where the owner of a new server is made; None if it has one. Only once the door is open."""
        assert self._server is not None
        token = await self._server.setup_token()
        return None if token is None else f"{self.address}/setup#{token}"

    @property
    def is_open(self) -> bool:
        """Whether the API answers."""
        return self._server is not None and self._server.started

    async def open(self, host: Host, folders: Sequence[Path] = ()) -> None:
        """Load the API, serve it, and say in the host lock where this host is reached. Safe to repeat."""
        if self._opening is None:
            self._opening = asyncio.create_task(self._open(host, folders))
        await asyncio.shield(self._opening)

    async def close(self) -> None:
        """Let the requests that are being answered end, then close the socket. Safe to repeat."""
        if self._opening is not None and not self._opening.done():
            self._opening.cancel()
        if self._server is not None and self._serving is not None:
            self._server.stop()
            await self._server.close_grpc(GRACE_SECONDS)
            await asyncio.gather(self._serving, return_exceptions=True)
        with suppress(OSError):
            self._socket.close()

    async def _open(self, host: Host, folders: Sequence[Path]) -> None:
        # In a thread, since it takes half a second, in which steps go on.
        api = await asyncio.to_thread(import_module, "segue.cli.door_api")
        server: ApiServer = api.api_server(
            host, folders, self.token, public=self._public or PublicAddress(), grace_seconds=GRACE_SECONDS,
            engine_only=self.engine_only,
        )  # fmt: skip
        self._server = server
        self._serving = asyncio.create_task(server.serve(sockets=[self._socket]))
        while not server.started:
            if self._serving.done():
                self._serving.result()
                raise EngineError("the HTTP API could not be started")
            await asyncio.sleep(POLL_SECONDS)
        if self.grpc_port is not None:
            self.grpc_port = await server.open_grpc(self._bound_to, self.grpc_port)
        lock = getattr(host.store, "host_lock", None)
        if lock is not None:
            try:
                lock.publish(self.address, self.token)
            except StoreUnavailableError:
                # The disk is full. The door is open all the same; only other commands do not find it.
                return


def has_api() -> bool:
    """Whether what the API needs (the extra `server`) is installed."""
    return all(importlib.util.find_spec(name) is not None for name in _NEEDED)
