"""Requests that are sent again: `Idempotency-Key` on every POST that changes something.

A start of a run keeps its key with the run (`segue.api.starts`); all others keep their answer under it. Keys of runs
and keys of everything else are counted apart.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from functools import wraps
from inspect import Parameter, signature
from typing import Any, Final, cast

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from segue.access.kept_answers import KeptAnswer, KeptAnswers
from segue.access.principal import Principal
from segue.api.documented import errors_of
from segue.api.errors import BadBodyError, InFlightError, KeyReusedError
from segue.errors import ConflictError

KEY_LENGTH_MAX: Final = 255
REPLAYED: Final = "idempotency-replayed"
"""The header of an answer that was kept."""
WHY: Final = "x-segue-repeats"
"""Stands in the OpenAPI document at a POST that takes no key: why a second one does no harm."""
WITH_THE_RUN: Final = "the key is kept with the run that was started"
CHANGES_NOTHING: Final = "it changes nothing"
KEY_PARAMETER: Final[dict[str, Any]] = {
    "parameters": [
        {
            "name": "Idempotency-Key", "in": "header", "required": False,
            "schema": {"type": "string", "minLength": 1, "maxLength": KEY_LENGTH_MAX},
            "description": "The same key and request within 24 hours: the same answer, and nothing is done twice.",
        }
    ]
}  # fmt: skip
"""How the header stands in the OpenAPI document."""
_NOT_KEPT: Final = frozenset(("content-length", "set-cookie"))
"""Headers that belong to one sending of an answer."""
_canonical: Final = msgspec.json.Encoder(order="sorted").encode
Endpoint = Callable[..., Awaitable[Response]]


class InFlight:
    """The keys whose requests are being answered by this process."""

    def __init__(self) -> None:
        self._held: set[tuple[str, ...]] = set()

    @contextmanager
    def hold(self, *key: str) -> Generator[None]:
        """Hold a key while its request is answered. Raises InFlightError if another request holds it."""
        if key in self._held:
            raise InFlightError("a request with this idempotency key is being answered; ask again in a moment")
        self._held.add(key)
        try:
            yield
        finally:
            self._held.discard(key)


class Once:
    """Carries a request with a key out once, for all routes of one server. Belongs to the server's event loop."""

    def __init__(self, kept: KeptAnswers) -> None:
        self._kept = kept
        self._in_flight = InFlight()

    async def answer(self, request: Request, make: Callable[[], Awaitable[Response]]) -> Response:
        """What `make` answers, or what it answered when this key came first. An answer of 2xx is kept; what was refused
        may be tried again under its key.

        Raises BadBodyError for a key that is none, KeyReusedError, InFlightError, ConflictError for a request that was
        cut off, and what `make` raises.
        """
        key = idempotency_key(request.headers, None)
        if key is None:
            return await make()
        principal = cast("Principal", request.scope["segue.principal"])
        mine = principal.workspace, principal.id, key
        with self._in_flight.hold(*mine):
            digest = await _digest(request)
            claim = await self._kept.claim(*mine, digest)
            if claim.is_mine:
                return await self._first(mine, make)
        if claim.digest != digest:
            raise KeyReusedError("the idempotency key was used for another request; use a new key")
        if claim.answer is None:
            raise ConflictError(
                "the request with this idempotency key was cut off when the server stopped, and may have been carried"
                " out; look whether it was, and use a new key if not"
            )
        headers = {**dict(claim.answer.headers), REPLAYED: "true"}
        return Response(claim.answer.body, claim.answer.status, headers)

    async def _first(self, mine: tuple[str, str, str], make: Callable[[], Awaitable[Response]]) -> Response:
        try:
            given = await make()
        except Exception:
            await self._kept.release(*mine)
            raise
        if not 200 <= given.status_code < 300:
            await self._kept.release(*mine)
            return given
        headers = tuple((name, value) for name, value in given.headers.items() if name not in _NOT_KEPT)
        await self._kept.keep(*mine, KeptAnswer(given.status_code, headers, bytes(given.body)))
        return given


def once(endpoint: Endpoint) -> Endpoint:
    """The endpoint, carried out once for each idempotency key."""
    given = signature(endpoint)
    takes_request = "request" in given.parameters

    @wraps(endpoint)
    async def carried_out(**named: Any) -> Response:
        request: Request = named["request"] if takes_request else named.pop("request")
        return await cast("Once", request.app.state.once).answer(request, lambda: endpoint(**named))

    if not takes_request:
        asked = Parameter("request", Parameter.KEYWORD_ONLY, annotation=Request)
        shown = given.replace(parameters=[*given.parameters.values(), asked])
        carried_out.__dict__["__signature__"] = shown  # what FastAPI asks a function for
    return carried_out


def with_key(extra: Mapping[str, Any]) -> dict[str, Any]:
    """The `openapi_extra` of a route that takes a key."""
    return {**extra, "parameters": [*extra.get("parameters", ()), *KEY_PARAMETER["parameters"]]}


def key_refusals() -> dict[int | str, dict[str, Any]]:
    """What a route answers to a key that is none, that is in flight, or that was another request's."""
    return errors_of(400, 409, 422)


def idempotency_key(headers: Mapping[str, str], in_body: str | None) -> str | None:
    """The key of a request: from the body, `Idempotency-Key` or `x-idempotency-key`. Raises BadBodyError if they
    differ or one is too long.
    """
    given = {in_body} if in_body is not None else set[str]()
    for name in ("idempotency-key", "x-idempotency-key"):
        value = headers.get(name)
        if value is not None:
            # The draft standard writes it as a quoted string.
            quoted = len(value) > 1 and value[0] == value[-1] == '"'
            given.add(value[1:-1] if quoted else value)
    if len(given) > 1:
        raise BadBodyError("the request brings two different idempotency keys")
    key = given.pop() if given else None
    if key is not None and not 0 < len(key) <= KEY_LENGTH_MAX:
        raise BadBodyError(f"an idempotency key has 1 to {KEY_LENGTH_MAX} characters")
    return key


async def _digest(request: Request) -> str:
    """What makes two requests the same one: where they go, what they change, and what they bring (of JSON, what it
    means).
    """
    body = await request.body()
    with suppress(msgspec.MsgspecError, RecursionError):  # what is no JSON is compared by its bytes
        body = _canonical(msgspec.json.decode(body))
    where = request.method, request.scope["path"], sorted(request.query_params.multi_items())
    return hashlib.sha256(_canonical((*where, request.headers.get("if-match"))) + b"\n" + body).hexdigest()
