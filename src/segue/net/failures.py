"""Every way a call can fail, told once (statuses: `segue.net.statuses`): category, code, whether the request may have
been sent, and what to do.

| what happened | category | code | sent | | --- | --- | --- | --- | | the request cannot be written | validation |
bad_url, bad_method, bad_header, bad_params, bad_body, bad_limit | no | | the body is larger than may be sent |
validation | request_too_large | no | | the policy refuses the address | validation | egress_refused | no (yes after a
redirect) | | no address for the name | dns | name_not_resolved | no | | refused, unreachable, reset while connecting |
connection | connection_failed | no | | no connection in time | timeout | connect_timeout | no | | certificate,
handshake | tls | certificate_invalid, tls_failed | no | | no whole answer in time | timeout | timeout | as far as it
came | | closed or broken before the whole answer | connection | connection_lost | yes | | the answer is not HTTP |
connection | invalid_response | yes | | body larger than allowed, or wrongly compressed | validation | body_too_large,
body_undecodable | yes | | redirects without end or to no URL | validation | too_many_redirects, bad_redirect | yes | |
status 429 | rate_limit | http_429 | yes | | another status ≥ 400 | http.<status> | http_<status> | yes |
"""

from __future__ import annotations

import os

from aiohttp import (
    ClientConnectorCertificateError,
    ClientConnectorDNSError,
    ClientConnectorError,
    ClientError,
    ClientPayloadError,
    ClientResponseError,
    ClientSSLError,
    ConnectionTimeoutError,
    InvalidURL,
)
from aiohttp.http_exceptions import ContentEncodingError

from segue.net.egress import EgressRefusal
from segue.net.errors import EgressRefusedError, HttpFailure
from segue.net.transport import Exchange


def failure_of(error: ClientError | OSError, exchange: Exchange, call: str) -> HttpFailure:
    """The failure that an exception of aiohttp stands for. `call` is `METHOD url`, already masked."""
    if exchange.refusal is not None and exchange.sockets_opened == 0:
        return refused(exchange.refusal, exchange, call)
    category, code, why = _classify(error)
    advice = {
        "dns": "Check the host's name and this machine's DNS.",
        "tls": "Check the certificate and that the port speaks TLS.",
        "timeout": "Check that the host answers, or raise the connect timeout.",
        "validation": "Correct the request or the server.",
    }.get(category, "Check that the service runs and can be reached from here.")
    return HttpFailure(f"{call} failed: {why}. {advice}", category=category, code=code, sent=exchange.ever_sent)


def refused(refusal: EgressRefusal, exchange: Exchange, call: str) -> EgressRefusedError:
    """The failure of a call that the egress policy stopped. The resolved address is not told: it is the network's
    secret.
    """
    return EgressRefusedError(
        f"{call} is not allowed: {refusal.reason}. {refusal.remedy}",
        sent=exchange.ever_sent,
        details={"host": exchange.host, "reason": refusal.reason},
    )


def timed_out(exchange: Exchange, call: str, timeout_seconds: float) -> HttpFailure:
    """The failure of a call that had no whole answer within its total time."""
    where = "while waiting for the answer" if exchange.ever_sent else "before the request could be sent"
    return HttpFailure(
        f"{call} took longer than {timeout_seconds:g} s and was given up {where}. "
        "Raise the timeout if the service is slow.",
        category="timeout",
        code="timeout",
        sent=exchange.ever_sent,
    )


def _classify(error: ClientError | OSError) -> tuple[str, str, str]:
    match error:
        case ConnectionTimeoutError():
            return "timeout", "connect_timeout", "no connection in time"
        case ClientConnectorDNSError():
            return "dns", "name_not_resolved", f"the name {error.host} cannot be resolved"
        case ClientConnectorCertificateError():
            return "tls", "certificate_invalid", f"the certificate of {error.host} is not trusted ({_tls_words(error)})"
        case ClientSSLError():
            return "tls", "tls_failed", f"no TLS connection ({_tls_words(error)})"
        case ClientConnectorError():
            return "connection", "connection_failed", f"no connection ({_os_words(error.os_error)})"
        case InvalidURL():
            return "validation", "bad_url", "the URL's host cannot be used"
        case ClientPayloadError() if _is_encoding_error(error):
            return "validation", "body_undecodable", "the body is not compressed as its Content-Encoding says"
        case ClientResponseError():
            return (
                "connection",
                "invalid_response",
                f"the answer is not HTTP that we can read ({_first_line(error.message)})",
            )
        case ClientPayloadError():
            return "connection", "connection_lost", "the connection ended in the middle of the answer"
        case _:
            return "connection", "connection_lost", "the connection was closed before an answer came"


def _is_encoding_error(error: BaseException) -> bool:
    cause = error.__cause__ or error.__context__
    return isinstance(cause, ContentEncodingError) or "Can not decode content-encoding" in str(error)


def _first_line(text: str) -> str:
    # The parser's complaint; the lines below it quote the answer, which may hold a secret.
    return text.partition("\n")[0].rstrip(":")[:100]


def _os_words(error: OSError) -> str:
    # The system's words for the number: asyncio's own contain the address that a name resolved to.
    return os.strerror(error.errno) if error.errno else type(error).__name__


def _tls_words(error: BaseException) -> str:
    cause = getattr(error, "certificate_error", None) or getattr(error, "os_error", None) or error
    words = getattr(cause, "verify_message", None) or getattr(cause, "reason", None) or type(cause).__name__
    return str(words)
