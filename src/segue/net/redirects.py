"""What to send after a redirect (RFC 9110, section 15.4): pure, so that every rule can be tested without a server."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from multidict import CIMultiDict
from yarl import URL

from segue.net.errors import invalid_request
from segue.net.limits import URL_LENGTH_MAX
from segue.net.prepare import PreparedRequest
from segue.observe.masking import DEFAULT_MASKER

REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
# They describe a body that is not sent any more.
_BODY_HEADERS: Final = (
    "Content-Type",
    "Content-Encoding",
    "Content-Language",
    "Content-Location",
    "Digest",
    "Last-Modified",
)


def next_request(request: PreparedRequest, status: int, location: str | None) -> PreparedRequest | None:
    """The request that follows an answer, or None if the answer is the last.

    303 becomes GET (HEAD stays), as does POST after 301 and 302; all else keeps method and body. On the way to
    another origin (scheme, host, port) every secret header is left behind: those the connection filled in, and all
    whose name says so. User information in a location is never used. Raises HttpFailure (`validation`) for a location
    that is no URL.
    """
    if status not in REDIRECTS or not location:
        return None
    url = _target(request.url, location)
    headers = request.headers.copy()
    method, body = request.method, request.body
    if (status == 303 and method != "HEAD") or (status in {301, 302} and method == "POST"):
        method, body = "GET", None
        for name in _BODY_HEADERS:
            headers.popall(name, None)
    if _origin(url) != _origin(request.url):
        headers = _without_secrets(headers, request.secret_headers)
    return replace(request, method=method, url=url, headers=headers, body=body)


def _target(base: URL, location: str) -> URL:
    try:
        if len(location) > URL_LENGTH_MAX:
            raise ValueError("too long")
        url = base.join(URL(location)).with_fragment(None).with_user(None)
        is_http = url.scheme in {"http", "https"} and bool(url.raw_host) and bool(url.port)
    except ValueError as error:
        raise invalid_request(
            "the server redirects to something that is not a URL", code="bad_redirect", sent=True
        ) from error
    if not is_http:
        raise invalid_request(
            f"the server redirects to a {url.scheme!r} URL, not http(s)", code="bad_redirect", sent=True
        )
    return url


def _origin(url: URL) -> tuple[str, str | None, int | None]:
    # yarl's own `origin` takes https://a and https://a:443 for two.
    return url.scheme, url.raw_host, url.port


def _without_secrets(headers: CIMultiDict[str], secret: frozenset[str]) -> CIMultiDict[str]:
    return CIMultiDict(
        (name, value)
        for name, value in headers.items()
        if name.lower() not in secret and not DEFAULT_MASKER.is_sensitive(name) and name.lower() != "host"
    )
