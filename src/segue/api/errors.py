"""Errors as HTTP tells them: problem details (RFC 9457), made from one table of error class to status.

What is not in the table is our own mistake: the caller gets a 500 with the request id and nothing from inside.
"""

from __future__ import annotations

import math
from http import HTTPStatus
from typing import Any, ClassVar, Final, NamedTuple

import msgspec
from fastapi.routing import iter_route_contexts
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from segue.access.errors import PasswordRefusedError, ProviderUnavailableError, TokenRefusedError
from segue.access.limits import TooManyRequestsError
from segue.errors import (
    ConflictError,
    EngineError,
    GoneError,
    InvalidFlowError,
    InvalidInputError,
    JournalCorruptError,
    LimitReachedError,
    NotFoundError,
    RequestError,
    SecretUnavailableError,
    SignatureError,
    StaleError,
    StoreInUseError,
    StoreUnavailableError,
)
from segue.flow.problems import Problem
from segue.observe.masking import DEFAULT_MASKER, MASK
from segue.triggers.errors import (
    BadContentError,
    EncodingNotTakenError,
    FlowUnusableError,
    MethodNotTakenError,
    RestingError,
    TooManyBytesError,
    TooOftenError,
    TypeNotTakenError,
)

PROBLEM_TYPE: Final = "application/problem+json"
TYPE_PREFIX: Final = "urn:segue:problem:"
RETRY_AFTER_SECONDS: Final = 1


class UnauthenticatedError(RequestError):
    """No identity, or one that is not known."""


class ForbiddenError(RequestError):
    """A request that a foreign page may have made, or that this identity may not make."""


class FeatureOffError(RequestError):
    """Something that was switched off for this workspace or the whole server."""


class MisdirectedError(RequestError):
    """The `Host` header names another server (RFC 9110, section 15.5.20)."""


class BadBodyError(RequestError):
    """A body that cannot be read at all."""


class PreconditionRequiredError(RequestError):
    """A change that does not say which state it was made for (RFC 6585, section 3)."""


class TooLargeError(RequestError):
    """A body above the limit."""


class TooSlowError(RequestError):
    """A body that did not come in time."""


class UnsupportedTypeError(RequestError):
    """A body of a content type that is not read here."""


class InvalidRequestError(InvalidInputError):
    """A body or query that is readable but not what the route takes."""


class KeyReusedError(RequestError):
    """An idempotency key that came with another request before."""


class InFlightError(ConflictError):
    """A request with the same idempotency key is being answered right now."""


class NotAvailableError(RequestError):
    """Something that this server has not got: the message says what is missing, and what would bring it."""


class BusyError(EngineError):
    """More open streams than this server keeps."""


class ClosingError(EngineError):
    """The server is being stopped."""


class QuarantinedError(EngineError):
    """A run that is set aside; `last_valid_event` is the last one that folds."""

    category: ClassVar[str] = "internal"

    def __init__(self, message: str, *, run_id: str, last_valid_event: int) -> None:
        super().__init__(message)
        self.run_id = run_id
        self.last_valid_event = last_valid_event


class Row(NamedTuple):
    """How one class of errors is told. The first row that fits an error counts."""

    error: type[Exception]
    status: int
    slug: str
    title: str
    retry_after: bool = False


TABLE: Final = (
    Row(UnauthenticatedError, 401, "unauthenticated", "Identity needed"),
    Row(ForbiddenError, 403, "forbidden", "Not allowed"),
    Row(PasswordRefusedError, 422, "password-refused", "Password not taken"),
    Row(TokenRefusedError, 401, "sign-in-refused", "The provider's word does not hold"),
    Row(FeatureOffError, 403, "feature-off", "Switched off"),
    Row(RestingError, 403, "feature-off", "Switched off"),
    Row(MisdirectedError, 421, "misdirected", "Not this server"),
    Row(BadBodyError, 400, "bad-body", "Body cannot be read"),
    Row(TooLargeError, 413, "too-large", "Body too large"),
    Row(MethodNotTakenError, 405, "method-not-allowed", "Method not taken here"),
    Row(TypeNotTakenError, 415, "unsupported-type", "Content type not taken here"),
    Row(TooManyBytesError, 413, "too-large", "Body too large"),
    Row(BadContentError, 400, "bad-body", "Body cannot be read"),
    Row(TooOftenError, 429, "too-many-requests", "Too many requests", retry_after=True),
    Row(EncodingNotTakenError, 415, "unsupported-encoding", "Content encoding not read here"),
    Row(TooSlowError, 408, "too-slow", "Body came too slowly"),
    Row(UnsupportedTypeError, 415, "unsupported-type", "Content type not read here"),
    Row(KeyReusedError, 422, "idempotency-key-reused", "Idempotency key used for another request"),
    Row(InFlightError, 409, "in-flight", "The same request is being answered", retry_after=True),
    Row(NotFoundError, 404, "not-found", "Not found"),
    Row(SignatureError, 403, "bad-signature", "Signature missing or wrong"),
    Row(TooManyRequestsError, 429, "too-many-requests", "Too many requests", retry_after=True),
    Row(LimitReachedError, 429, "limit-reached", "The flow takes no further run now", retry_after=True),
    Row(GoneError, 410, "gone", "Expired"),
    Row(StaleError, 412, "stale", "Changed by somebody else since"),
    Row(PreconditionRequiredError, 428, "precondition-required", "If-Match needed"),
    Row(ConflictError, 409, "conflict", "Not possible in this state"),
    Row(InvalidFlowError, 422, "invalid-flow", "The flow has errors"),
    Row(InvalidRequestError, 422, "invalid-request", "The request does not fit this route"),
    Row(InvalidInputError, 422, "invalid-input", "The inputs do not fit"),
    Row(NotAvailableError, 501, "not-available", "This server cannot do that"),
    Row(RequestError, 400, "bad-request", "Request not understood"),
    Row(StoreUnavailableError, 503, "store-unavailable", "The database does not answer", retry_after=True),
    Row(SecretUnavailableError, 503, "secret-unavailable", "A secret cannot be had now", retry_after=True),
    Row(StoreInUseError, 503, "store-in-use", "The database belongs to another process", retry_after=True),
    Row(FlowUnusableError, 503, "flow-unusable", "The flow cannot run as it stands", retry_after=True),
    Row(ProviderUnavailableError, 503, "provider-unavailable", "The OpenID provider does not answer", retry_after=True),
    Row(BusyError, 503, "busy", "Too many open streams", retry_after=True),
    Row(ClosingError, 503, "closing", "The server is being stopped", retry_after=True),
    Row(QuarantinedError, 500, "run-quarantined", "The run is set aside"),
    Row(JournalCorruptError, 500, "run-quarantined", "The run is set aside"),
    Row(TimeoutError, 504, "timeout", "Took too long"),
)


class FlowProblem(msgspec.Struct, frozen=True, kw_only=True):
    """One mistake in a flow, with its place in the text where it has one. Line and column count from 1."""

    code: str
    severity: str
    message: str
    path: str = ""
    file: str | None = None
    line: int | None = None
    column: int | None = None
    suggestion: str | None = None


class FieldError(msgspec.Struct, frozen=True, kw_only=True):
    """One value that does not fit; `path` is `customer.email` or empty for the whole."""

    path: str
    message: str


class ProblemDetails(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The body of every error (RFC 9457). `problems` come with invalid flows, `errors` with invalid values."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    request_id: str
    problems: list[FlowProblem] | None = None
    errors: list[FieldError] | None = None
    run_id: str | None = None
    last_valid_event: int | None = None


def flow_problem(problem: Problem) -> FlowProblem:
    """A checker's finding as the API shows it."""
    span = problem.span
    return FlowProblem(
        code=problem.code, severity=problem.severity, message=DEFAULT_MASKER.mask_text(problem.message),
        path=problem.path, file=problem.file, line=None if span is None else span.line,
        column=None if span is None else span.column, suggestion=problem.suggestion,
    )  # fmt: skip


def details_of(error: Exception, *, instance: str, request_id: str) -> tuple[ProblemDetails, dict[str, str]]:
    """The problem that tells an error, and the headers that go with it."""
    headers: dict[str, str] = {}
    if isinstance(error, HTTPException):
        headers.update(error.headers or {})
        return _of_http(error, instance, request_id), headers
    row = next((row for row in TABLE if isinstance(error, row.error)), None)
    if row is None:
        detail = f"the server made a mistake; its log says more under the request id {request_id}"
        return _problem(500, "internal", "Internal error", detail, instance, request_id), headers
    if row.retry_after:
        wait = (
            error.retry_after_seconds
            if isinstance(error, TooManyRequestsError | TooOftenError)
            else RETRY_AFTER_SECONDS
        )
        headers["retry-after"] = str(math.ceil(wait))
    if isinstance(error, MethodNotTakenError):
        headers["allow"] = ", ".join(error.methods)
    if isinstance(error, TooManyRequestsError):
        headers |= error.fields
    if isinstance(error, StaleError) and error.revision:
        headers["etag"] = f'"{error.revision}"'
    if row.status == HTTPStatus.UNAUTHORIZED:
        headers["www-authenticate"] = "Bearer"
    return _problem(
        row.status, row.slug, row.title, _detail(error, row), instance, request_id, **_extras(error)
    ), headers


def _detail(error: Exception, row: Row) -> str:
    text = str(error)
    if isinstance(error, InvalidInputError):
        # The sentence quotes the first mistake, which may quote a secret.
        for path, message in error.details:
            text = text.replace(message, _field_error(path, message).message)
    return DEFAULT_MASKER.mask_text(text) or row.title


def _extras(error: Exception) -> dict[str, Any]:
    match error:
        case InvalidFlowError():
            return {"problems": [flow_problem(problem) for problem in error.problems]}
        case InvalidInputError():
            return {"errors": [_field_error(path, message) for path, message in error.details]}
        case QuarantinedError():
            return {"run_id": error.run_id, "last_valid_event": error.last_valid_event}
        case JournalCorruptError():
            return {"last_valid_event": error.last_valid_seq}
        case _:
            return {}


def _field_error(path: str, message: str) -> FieldError:
    """Messages of a validator quote the value: not where the name says that it is a secret."""
    hide = any(DEFAULT_MASKER.is_sensitive(part) for part in path.split("."))
    shown = f"{MASK} does not fit the schema" if hide and message != "is required" else message
    return FieldError(path=path, message=DEFAULT_MASKER.mask_text(shown))


def _of_http(error: HTTPException, instance: str, request_id: str) -> ProblemDetails:
    """An answer of the router itself: no such path, or no such method on it."""
    title = HTTPStatus(error.status_code).phrase
    slug = title.lower().replace(" ", "-")
    allowed = (error.headers or {}).get("Allow")
    detail = "no such path" if error.status_code == HTTPStatus.NOT_FOUND else str(error.detail)
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED and allowed:
        detail = f"this path takes {allowed}"
    return _problem(error.status_code, slug, title, detail, instance, request_id)


def _problem(
    status: int, slug: str, title: str, detail: str, instance: str, request_id: str, **extras: Any
) -> ProblemDetails:
    return ProblemDetails(
        type=TYPE_PREFIX + slug, title=title, status=status, detail=detail, instance=instance, request_id=request_id,
        **extras,
    )  # fmt: skip


def problem_response(error: Exception, *, instance: str, request_id: str) -> Response:
    """The whole answer for an error."""
    details, headers = details_of(error, instance=instance, request_id=request_id)
    return Response(msgspec.json.encode(details), details.status, headers, media_type=PROBLEM_TYPE)


async def on_error(request: Request, error: Exception) -> Response:
    """Starlette's exception handler for every class of the table and for its own exceptions."""
    scope = request.scope
    if isinstance(error, HTTPException) and error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        # The router names the methods of the first route that has the path: there is one route for each method.
        routes = (found.original_route for found in iter_route_contexts(request.app.routes))
        fits = (one for one in routes if isinstance(one, Route) and one.path_regex.match(scope["path"]))
        methods = {method for route in fits for method in route.methods or ()}
        error = HTTPException(error.status_code, headers={"Allow": ", ".join(sorted(methods))})
    return problem_response(error, instance=scope["segue.shown_path"], request_id=scope["segue.request_id"])
