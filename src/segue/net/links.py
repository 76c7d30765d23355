"""A connection as requests use it: its address, and how it says who asks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

from segue.net.errors import HttpFailure, invalid_request
from segue.net.messages import Auth, HttpRequest
from segue.net.origins import origin_of


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Link:
    """What a connection adds to a request. `values` are its secrets, to be hidden and to stay with its origin."""

    name: str
    base_url: str
    auth: Auth | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    query: Mapping[str, str] = field(default_factory=dict[str, str])
    secret_headers: frozenset[str] = frozenset()
    values: tuple[str, ...] = ()
    renew: Callable[[], Awaitable[Link]] | None = None
    """The same link with a new token, where the one that it has was fetched and may have been withdrawn."""

    @property
    def origin(self) -> str:
        """Where the secrets may be sent; empty: anywhere."""
        return (origin_of(self.base_url) or "") if self.base_url else ""

    def applied(self, request: HttpRequest) -> HttpRequest:
        """The request through the connection: an address without a host is below the connection's; what the request
        says itself counts before what the connection says. Raises HttpFailure (validation, auth).
        """
        url = joined(self.base_url, request.url, self.name)
        if self.origin and origin_of(url) != self.origin:
            message = f"the connection {self.name!r} is for {self.origin}; its credentials are not sent elsewhere"
            raise HttpFailure(message, category="auth", code="foreign_origin", sent=False)
        if self.auth is not None and request.auth is not None:
            raise invalid_request(f"auth is given, and the connection {self.name!r} has its own", code="bad_header")
        own = {name.lower() for name in request.headers}
        added = {name: value for name, value in self.headers.items() if name.lower() not in own}
        return replace(
            request, url=url, auth=request.auth or self.auth, headers={**added, **request.headers},
            params={**self.query, **request.params}, secret_headers=request.secret_headers | self.secret_headers,
            # An address with a key in it would be handed on with a redirect.
            follow_redirects=request.follow_redirects and not self.query,
        )  # fmt: skip


def joined(base: str, url: str, name: str) -> str:
    """An address below a connection's, or a whole one. Raises HttpFailure for a part without a base."""
    if urlsplit(url).scheme:
        return url
    if not base:
        message = f"the connection {name!r} has no base_url, so that {url[:100]!r} leads nowhere: write a whole address"
        raise invalid_request(message, code="bad_url")
    if url.startswith("//"):
        raise invalid_request("an address that begins with // is another host's", code="bad_url")
    return f"{base.rstrip('/')}/{url.lstrip('/')}" if url and not url.startswith("?") else f"{base}{url}"
