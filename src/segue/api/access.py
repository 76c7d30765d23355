"""The door's own secrets and names: the printed token, one-time links of it, and which hosts and origins are ours.

The server prints an address with a link token. Opening it once makes a session (a cookie); programs of this machine
send the server's token as `Authorization: Bearer …`. All is compared in constant time and kept in memory only, hashed.
People and keys with names of their own: `segue.access.identities`, asked by `segue.api.gate`.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final
from urllib.parse import urlsplit

from segue.api.errors import ForbiddenError, MisdirectedError

TOKEN_BYTES: Final = 32
LINK_SECONDS: Final = 10 * 60.0
"""How long a further link can be used. The first one, which is printed at the start, stays until it is used."""
SESSION_SECONDS: Final = 7 * 86_400.0
MAX_SESSIONS: Final = 100
MAX_LINKS: Final = 100
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
LOOPBACK_NAMES: Final = frozenset({"127.0.0.1", "localhost", "::1"})
_HTTP_PORT: Final = 80
_THIS_MACHINE: Final = (ip_network("127.0.0.0/8"), ip_network("::1"))


class Access:
    """The identities of one server process. Belongs to one event loop."""

    def __init__(
        self,
        token: str | None = None,
        *,
        allowed_hosts: Iterable[str] = (),
        public_url: str | None = None,
        trusted_proxies: Iterable[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`token`: the secret of programs and of the first link; a random one if none is given. `allowed_hosts`: names
        under which the server is reached besides the address it is bound to (`segue.example.org`, with `:port` if
        only that port is right). `public_url`: the https address under which a proxy with TLS serves this server to
        others; the printed token opens no browser then. `trusted_proxies`: addresses or networks of that proxy, whose
        word for the caller's address and scheme counts; if none is named, one on this machine. `clock` gives seconds.
        Raises ValueError for what is no network.
        """
        if token is not None and not token:
            raise ValueError("the token is empty; leave it out for a random one")
        self.token = token or secrets.token_urlsafe(TOKEN_BYTES)
        self._digest = _digest(self.token)
        public = () if public_url is None else (urlsplit(public_url).netloc,)
        self._allowed_hosts = frozenset(host.lower() for host in (*allowed_hosts, *public))
        self.public_url = public_url
        self._proxies = [ip_network(one) for one in trusted_proxies] or list(_THIS_MACHINE)
        self._clock = clock
        self._links: OrderedDict[bytes, float | None] = OrderedDict()
        if public_url is None:
            self._links[self._digest] = None
        self._sessions: OrderedDict[bytes, float] = OrderedDict()
        self._setup: bytes | None = None

    # ------------------------------------------------------------ identity

    def open_setup(self) -> str:
        """A token with which the owner of a new server is made; an earlier one stops working."""
        token = secrets.token_urlsafe(TOKEN_BYTES)
        self._setup = _digest(token)
        return token

    def is_setup(self, token: str) -> bool:
        """Whether this is the token with which the owner is made."""
        return self._setup is not None and hmac.compare_digest(_digest(token), self._setup)

    def close_setup(self) -> None:
        """The owner has been made."""
        self._setup = None

    def new_link_token(self) -> str:
        """A further token for `/?token=…`: good for one browser, within ten minutes."""
        token = secrets.token_urlsafe(TOKEN_BYTES)
        self._links[_digest(token)] = self._clock() + LINK_SECONDS
        while len(self._links) > MAX_LINKS:
            self._links.popitem(last=False)
        return token

    def open_session(self, link_token: str) -> str | None:
        """Use up a link: the value of the new session's cookie, or None if the link is unknown, used or too old."""
        digest = _digest(link_token)
        if digest not in self._links:
            return None
        until = self._links.pop(digest)
        now = self._clock()
        if until is not None and until < now:
            return None
        value = secrets.token_urlsafe(TOKEN_BYTES)
        self._sessions[_digest(value)] = now + SESSION_SECONDS
        while len(self._sessions) > MAX_SESSIONS:
            self._sessions.popitem(last=False)
        return value

    def has_session(self, value: str | None) -> bool:
        """Whether a cookie's value is a living session."""
        until = None if value is None else self._sessions.get(_digest(value))
        return until is not None and until > self._clock()

    def is_server_token(self, token: str) -> bool:
        """Whether this is the token that the server printed, or wrote down for the command line."""
        return hmac.compare_digest(_digest(token), self._digest)

    def close_session(self, value: str) -> None:
        """End a session that a link has opened. Safe to repeat."""
        self._sessions.pop(_digest(value), None)

    # ------------------------------------------------------------ origin

    def check_host(self, host: str | None, server: tuple[str, int | None] | None) -> None:
        """The `Host` header must name this server, or a foreign name may have been pointed here (DNS rebinding).
        `server` is the socket's own address. Raises MisdirectedError.
        """
        if not host or not self._is_own_host(host.lower(), server):
            raise MisdirectedError(f"this server is not {host!r}; ask it under the address that it printed")

    def _is_own_host(self, host: str, server: tuple[str, int | None] | None) -> bool:
        if host in self._allowed_hosts:
            return True
        try:
            parts = urlsplit(f"//{host}")
            name, port = parts.hostname or "", parts.port
        except ValueError:
            return False
        if parts.path or parts.query or parts.fragment or parts.username is not None:
            return False
        if name in self._allowed_hosts:
            return True
        if server is None or (port or _HTTP_PORT) != server[1]:
            return False
        address = server[0].lower().removeprefix("::ffff:")
        if name in LOOPBACK_NAMES and address in LOOPBACK_NAMES:
            return True
        # Whoever serves others serves them under names that were said.
        return name == address and self.public_url is None

    def check_transport(self, headers: Mapping[str, str], client: tuple[str, int] | None) -> None:
        """Others speak to this server through the proxy with TLS only. Raises ForbiddenError.

        A proxy that says nothing of `X-Forwarded-Proto` is refused, too: passwords must not travel unencrypted because
        somebody typed http. So is the word of anybody who is not the proxy.
        """
        if self.public_url is None:
            return
        is_https = headers.get("x-forwarded-proto", "").strip().lower() == "https"
        if is_https and client is not None and self._is_proxy(client[0]):
            return
        name = urlsplit(f"//{headers.get('host', '')}").hostname
        if name not in LOOPBACK_NAMES or client is None or client[0] not in LOOPBACK_NAMES:
            raise ForbiddenError(f"this server is reached at {self.public_url}; plain http is not answered")

    def address_of(self, headers: Mapping[str, str], client: tuple[str, int] | None) -> str:
        """The caller's address: the peer's; behind a trusted proxy the last of `X-Forwarded-For` that is no such proxy.
        What stands further left anybody can have written.
        """
        peer = "" if client is None else client[0]
        if self.public_url is None or not self._is_proxy(peer):
            return peer
        found = peer
        for told in reversed(headers.get("x-forwarded-for", "").split(",")):
            try:
                found = str(ip_address(told.strip()))
            except ValueError:
                break
            if not self._is_proxy(found):
                break
        return found

    def _is_proxy(self, address: str) -> bool:
        try:
            found = ip_address(address)
        except ValueError:
            return False
        mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
        return any((mapped or found) in network for network in self._proxies)

    @property
    def has_tls(self) -> bool:
        """Whether browsers reach this server by https."""
        return self.public_url is not None

    def check_origin(self, headers: Mapping[str, str]) -> None:
        """A page of another origin may not speak to this server. Raises ForbiddenError."""
        origin = headers.get("origin")
        if origin is not None and origin != self.public_url and not is_own_origin(origin, headers.get("host", "")):
            raise ForbiddenError("the request comes from a page of another origin")

    def check_same_origin(self, method: str, headers: Mapping[str, str]) -> None:
        """What a session may do must come from our own page (cross-site request forgery). Raises ForbiddenError."""
        site = headers.get("sec-fetch-site")
        if site is not None and site not in ("same-origin", "none"):
            raise ForbiddenError("the request comes from a page of another origin")
        if method not in SAFE_METHODS and "origin" not in headers and site != "same-origin":
            raise ForbiddenError("a request with a session must say by `Origin` that it is from our own page")


def is_own_origin(origin: str, host: str) -> bool:
    """Whether an `Origin` header is that of the server under `host`."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(host) and parts.netloc.lower() == host.lower()


def cookie_name(host: str) -> str:
    """Cookies know no ports: two servers on one machine need two names."""
    _, _, port = host.rpartition(":")
    return f"segue_session_{port}" if port.isascii() and port.isdigit() else "segue_session"


def _digest(value: str) -> bytes:
    return hashlib.sha256(value.encode("utf-8", "surrogateescape")).digest()
