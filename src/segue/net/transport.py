"""The part that touches sockets: name resolution, the egress check of each connection, and whether anything was sent.

aiohttp asks its resolver only for names, so a literal `http://127.0.0.1` would pass a check there. Its
`socket_factory` is called for every connection with the very address that is connected to next: the check stands
there. A kept connection is used again only for the same host, port and scheme, for which the same policy already said
yes.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from aiohttp import ClientConnectionError, ClientTimeout, TCPConnector
from aiohttp.abc import AbstractResolver, ResolveResult

from segue.net.egress import EgressPolicy, EgressRefusal
from segue.net.limits import HttpLimits

if TYPE_CHECKING:
    from aiohttp import ClientRequest
    from aiohttp.client_proto import ResponseHandler
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace


RESOLVER_THREADS_MAX: Final = 16
_AddressInfo: TypeAlias = tuple[int, int, int, str, tuple[object, ...]]
"""As getaddrinfo gives it: family, type, protocol, canonical name, socket address."""


class Resolver(Protocol):
    """Turns a host name into addresses."""

    async def resolve(self, host: str) -> Sequence[str]:
        """Numeric addresses of `host`, best first. Raises OSError if there are none."""
        ...


class SystemResolver:
    """The operating system's own (`/etc/hosts`, DNS, …), asked in threads of its own.

    The event loop's shared threads are few (6 on two cores), and a lookup that hangs cannot be ended: a dead name
    server would stop everything else that runs there.
    """

    def __init__(self, threads_max: int = RESOLVER_THREADS_MAX) -> None:
        self._threads = ThreadPoolExecutor(max_workers=threads_max, thread_name_prefix="segue-dns")

    def close(self) -> None:
        """Take no more questions. Does not wait for those that hang."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def resolve(self, host: str) -> Sequence[str]:
        """Numeric addresses as getaddrinfo (RFC 6724) orders them."""
        ask = partial(socket.getaddrinfo, host, None, type=socket.SOCK_STREAM)
        answers = await asyncio.get_running_loop().run_in_executor(self._threads, ask)
        return [str(sockaddr[0]) for _, _, _, _, sockaddr in answers]


@dataclass(kw_only=True, slots=True)
class Exchange:
    """What is known of one call while it goes on; failures are told from it."""

    host: str = ""
    scheme: str = ""
    ever_sent: bool = False
    """A connection was handed over for writing at least once, so that the other side may have seen a request."""
    connects: int = 0
    """Connections asked for by the current request (not counting earlier redirects)."""
    is_fresh: bool = False
    """The current request's connection was made for it, not taken from the pool."""
    is_answered: bool = False
    refusal: EgressRefusal | None = None
    sockets_opened: int = 0

    def begin(self, host: str, scheme: str) -> None:
        """Start of one request of the call: the first, one after a redirect, or one sent again."""
        self.host, self.scheme = host, scheme
        self.connects = self.sockets_opened = 0
        self.is_fresh = self.is_answered = False
        self.refusal = None


CURRENT_EXCHANGE: ContextVar[Exchange] = ContextVar("segue_http_exchange")


class _PolicyRefusedConnectionError(OSError):
    """Tells aiohttp to give this address up; what was refused and why stands in the exchange."""


class SegueConnector(TCPConnector):
    """aiohttp's connector with our egress rule, and with the exchange of the calling task kept up to date."""

    def __init__(
        self, *, policy: EgressPolicy, resolver: Resolver, limits: HttpLimits, ssl_context: ssl.SSLContext | None
    ) -> None:
        super().__init__(  # pyright: ignore[reportUnknownMemberType] - aiohttp leaves socket addresses untyped
            resolver=_BoundedResolver(resolver, limits.resolve_timeout_seconds),
            socket_factory=self._open_socket,
            use_dns_cache=limits.resolve_cache_seconds > 0,
            ttl_dns_cache=limits.resolve_cache_seconds,
            limit=limits.connections_max,
            limit_per_host=limits.connections_per_host_max,
            keepalive_timeout=limits.keepalive_seconds,
            ssl=ssl_context or True,
        )
        self._policy = policy

    async def connect(
        self,
        req: ClientRequest,
        traces: list[Trace],
        timeout: ClientTimeout,  # noqa: ASYNC109 - aiohttp's signature
    ) -> Connection:
        """A connection for `req`; from here on the exchange counts as sent."""
        exchange = CURRENT_EXCHANGE.get()
        exchange.connects += 1
        if exchange.connects > 1:
            # aiohttp sends idempotent requests again by itself when a connection breaks. Whether to is the client's
            # to say.
            raise ClientConnectionError("the connection was closed before an answer came")
        connection = await super().connect(req, traces, timeout)
        exchange.ever_sent = True
        return connection

    async def _create_connection(
        self,
        req: ClientRequest,
        traces: list[Trace],
        timeout: ClientTimeout,  # noqa: ASYNC109 - aiohttp's signature
    ) -> ResponseHandler:
        CURRENT_EXCHANGE.get().is_fresh = True
        return await super()._create_connection(req, traces, timeout)

    def _open_socket(self, info: _AddressInfo) -> socket.socket:
        family, kind, protocol, _, address = info
        exchange = CURRENT_EXCHANGE.get()
        refusal = self._policy.refusal(host=exchange.host, address=str(address[0]), scheme=exchange.scheme)
        if refusal is not None:
            exchange.refusal = refusal
            raise _PolicyRefusedConnectionError(refusal.reason)
        exchange.sockets_opened += 1
        return socket.socket(family=family, type=kind, proto=protocol)


class _BoundedResolver(AbstractResolver):
    """Our resolver port in aiohttp's shape, with a time limit: aiohttp's own covers the handshake only."""

    def __init__(self, resolver: Resolver, timeout_seconds: float) -> None:
        self._resolver = resolver
        self._timeout_seconds = timeout_seconds

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        try:
            async with asyncio.timeout(self._timeout_seconds):
                addresses = await self._resolver.resolve(host)
        except TimeoutError as error:
            raise socket.gaierror(socket.EAI_AGAIN, f"no answer within {self._timeout_seconds:g} s") from error
        except UnicodeError as error:  # a label that is too long: Python's own encoding of names says it so
            raise socket.gaierror(socket.EAI_NONAME, "not a host name") from error
        if not addresses:
            raise socket.gaierror(socket.EAI_NONAME, "no address")
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        """Nothing is held open."""
