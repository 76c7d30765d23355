"""Credentials stay with their origin: a connection's secret is sent nowhere but to the connection's own address."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from segue.errors import TerminalError
from segue.net.messages import HttpRequest
from segue.net.origins import origin_of
from segue.observe.masking import Masker


def held(request: HttpRequest, params: Mapping[str, Any], bound: tuple[tuple[str, str], ...]) -> HttpRequest:
    """The request, of which no redirect takes a bound secret elsewhere.

    Raises TerminalError (auth) if a secret of `bound` (value and origin) is in its parameters, in any usual form, and
    it goes to another origin.
    """
    used = [(value, origin) for value, origin in bound if _holds(params, value)]
    for _, origin in used:
        if origin_of(request.url) != origin:
            where = origin_of(request.url) or "elsewhere"
            message = f"http: a secret of a connection to {origin} may not be sent to {where}"
            raise TerminalError(message, category="auth", code="foreign_origin")
    if not used:
        return request
    values = [value for value, _ in used]
    headers = {name for name, value in request.headers.items() if any(_holds(value, one) for one in values)}
    elsewhere = {name: value for name, value in params.items() if name not in ("headers", "auth")}
    if any(_holds(elsewhere, value) for value in values):
        # A redirect may repeat address and body whole.
        return replace(request, follow_redirects=False)
    return replace(request, secret_headers=request.secret_headers | headers)


def _holds(value: object, secret: str) -> bool:
    searched = Masker(values=(secret,))
    return searched.holds_value(value)
