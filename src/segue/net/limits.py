"""The bounds of the HTTP client, each with the reason for its number."""

from __future__ import annotations

from typing import Final

import msgspec

MEBIBYTE: Final = 1024 * 1024
# Longer ones are refused by nearly every server (8 KiB is common); beyond this it is a body in the wrong place.
URL_LENGTH_MAX: Final = 16 * 1024
HEADERS_MAX: Final = 100
HEADER_LENGTH_MAX: Final = 16 * 1024


class HttpLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What a client allows. Times in seconds, sizes in bytes. A request may ask for less or more time, and for a
    smaller or larger answer up to `response_bytes_ceiling`.
    """

    connect_timeout_seconds: float = 5.0
    """For one TCP and TLS handshake; a name with several addresses may take several."""
    resolve_timeout_seconds: float = 5.0
    resolve_cache_seconds: int = 10
    """How long an answer of the resolver is used again; 0 asks each time. The egress rule is asked in any case."""
    total_timeout_seconds: float = 30.0
    response_bytes_max: int = 10 * MEBIBYTE
    response_bytes_ceiling: int = 100 * MEBIBYTE
    """What a request can raise `response_bytes_max` to: bodies are held in memory."""
    request_bytes_max: int = 10 * MEBIBYTE
    redirects_max: int = 10
    """As curl and browsers have it between 10 and 50; more is a loop."""
    connections_max: int = 256
    connections_per_host_max: int = 64
    keepalive_seconds: float = 4.0
    """Below the 5 s after which Node.js and uvicorn close an idle connection, so that we close first and lose no
    request to that race."""
