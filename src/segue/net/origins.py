"""Origins (RFC 6454): scheme, host and port, as one text, so that a credential can be held to one of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from yarl import URL


def origin_of(url: str | URL) -> str | None:
    """`https://api.x.test:443`, the port always written; None for what is no http or https address."""
    from yarl import URL  # noqa: PLC0415 - 10 ms that a start without a call outside need not wait for

    try:
        found = URL(url) if isinstance(url, str) else url
        host, port = found.raw_host, found.port
    except ValueError:
        return None
    if found.scheme not in ("http", "https") or not host or port is None:
        return None
    return f"{found.scheme}://{f'[{host}]' if ':' in host else host.lower()}:{port}"
