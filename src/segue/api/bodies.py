"""What callers send, and how it is read: strict JSON, not nested without end, checked against a model."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, TypeAlias, TypeVar, cast
from urllib.parse import parse_qsl

import msgspec
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request

from segue.api.errors import BadBodyError, InvalidRequestError, TooLargeError, UnsupportedTypeError
from segue.flow.model import JsonValue
from segue.flow.nearest import did_you_mean
from segue.triggers.incoming import Content

JSON_DEPTH_MAX: Final = 100
FORM_FIELDS_MAX: Final = 1_000
KEY_LENGTH_MAX: Final = 255
CURSOR: Final = r"^[^0-9]*(?:[0-9]{1,18}(?:[^0-9]+|$))*$"
"""Whatever a store makes of it: numbers in it fit 64 bits."""
INT64_MIN: Final = -(2**63)
INT64_MAX: Final = 2**63 - 1
_SENTENCES: Final = {
    "model_type": "this is no JSON object",
    "dict_type": "this is no JSON object",
    "list_type": "this is no list",
    "string_type": "this is no text",
    "bool_type": "this is neither true nor false",
    "missing": "is required",
}
"""Pydantic's kinds of errors whose own words name Python's types or this program's classes."""
_LONG_NUMBER: Final = re.compile(rb"\d{19}")

M = TypeVar("M", bound=BaseModel)
JsonObject: TypeAlias = dict[str, Any]
Key: TypeAlias = Annotated[str, Field(min_length=1, max_length=KEY_LENGTH_MAX)]


class Body(BaseModel):
    """Base of all bodies: unknown fields and values of another type are refused."""

    model_config = ConfigDict(strict=True, extra="forbid")


Version: TypeAlias = Annotated[
    str | None, Field(max_length=100, description="The number of a version; left out: the published one.")
]
Draft: TypeAlias = Annotated[bool, Field(description="Run the draft of a stored flow.")]


Labels: TypeAlias = Annotated[
    dict[str, str], Field(description="What the run is found by (`?label=name:value`): at most 32 short texts.")
]
Metadata: TypeAlias = Annotated[JsonObject, Field(description="Kept with the run and shown with it: at most 16 KiB.")]


class StartRun(Body):
    """Start a run of a flow that is sent along, or of one of the workspace."""

    flow: str | JsonObject | None = Field(None, description="The flow: YAML or JSON text, or its parsed document.")
    flow_id: str | None = Field(None, min_length=1, max_length=300, description="The id of a flow of the workspace.")
    version: Version = None
    draft: Draft = False
    file: str | None = Field(None, max_length=300, description="A file name for messages.")
    inputs: JsonObject = Field(default_factory=dict)
    labels: Labels = Field(default_factory=dict[str, str])
    metadata: Metadata = Field(default_factory=dict[str, Any])
    idempotency_key: Key | None = Field(None, description="The same key and body within 24 hours: the same run.")
    start_at: str | None = Field(
        None, max_length=60, description="When it is to begin: an RFC 3339 time with its zone. Until then it is queued."
    )
    start_in: str | None = Field(
        None, max_length=60, description="After how long it is to begin: `90s`, `2h`, `PT30M`. Not beside `start_at`."
    )


class RunFlow(Body):
    """Run a flow of the workspace."""

    version: Version = None
    draft: Draft = False
    inputs: JsonObject = Field(default_factory=dict)
    labels: Labels = Field(default_factory=dict[str, str])
    metadata: Metadata = Field(default_factory=dict[str, Any])
    idempotency_key: Key | None = Field(None, description="The same key and body within 24 hours: the same run.")


class SendEvent(Body):
    """An event for steps that wait for one of its name."""

    event: str = Field(min_length=1, max_length=200, description="Its name, such as order.paid.")
    data: Any = Field(None, description="Its body.")
    id: str | None = Field(None, min_length=1, max_length=200, description="The same id again changes nothing.")


class CallbackTest(Body):
    """A payload to try a callback with."""

    payload: Any = None
    dry_run: bool = Field(False, description="Only say whether it would be taken; nothing is sent or used up.")


class CheckFlow(Body):
    """Check a flow without running it."""

    flow: str | JsonObject
    file: str | None = Field(None, max_length=300)


class Reason(Body):
    """Why a run is paused or undone."""

    reason: str | None = Field(None, max_length=1_000)


class Rewind(Reason):
    """Which steps a run goes back to."""

    to: list[str] = Field(min_length=1, max_length=1_000, description="Addresses of steps: `charge`, `each[3].enrich`.")
    compensate: bool = Field(False, description="Undo first what is taken back; only of a run that is over.")


class NewRunBody(Reason):
    """What of a new run is to be other than in the run that it comes from."""

    version: str | None = Field(None, max_length=300, description="A kept version's number, or `latest`.")
    flow: str | JsonObject | None = Field(None, description="A version that is sent along: text or document.")
    flow_id: str | None = Field(None, min_length=1, max_length=300, description="The flow as the library has it.")
    file: str | None = Field(None, max_length=300, description="A file name for messages.")
    inputs: JsonObject | None = Field(None, description="In place of the old run's inputs.")
    outputs: JsonObject | None = Field(None, description="In place of recorded outputs of kept steps, by address.")


class Replay(NewRunBody):
    """From which steps a new run goes on."""

    from_: list[str] = Field(
        default_factory=list[str], alias="from", max_length=1_000, description="Addresses; empty: from the beginning."
    )


class Fork(NewRunBody):
    """As of which event a new run begins."""

    at: int | None = Field(None, ge=0, description="The event's number; left out: the last one.")


class Cancellation(Reason):
    """Why a run is cancelled, and how."""

    force: bool = Field(False, description="Cut off `finally` steps and compensations, too.")


class RunsMeant(Body):
    """Which runs a bulk operation is for; as the list's filters."""

    status: list[str] = Field(default_factory=list[str], max_length=20, description="Left out: those it can be for.")
    flow: str | None = Field(None, max_length=300)
    version: str | None = Field(None, max_length=300, description="Of `flow`.")
    trigger: str | None = Field(None, max_length=100)
    parent: str | None = Field(None, max_length=100)
    since: str | None = Field(None, max_length=60, description="RFC 3339: accepted at this time or later.")
    until: str | None = Field(None, max_length=60, description="RFC 3339: accepted before this time.")
    q: str | None = Field(None, max_length=200, description="The beginning of an id, or a text in the error.")
    label: list[str] = Field(default_factory=list[str], max_length=32, description="`name:value`; all of them.")


class BulkRuns(Reason):
    """One word for many runs."""

    action: Literal["cancel", "retry", "pause", "resume"]
    where: RunsMeant
    dry_run: bool = Field(False, description="Only count them (up to 10,000).")
    limit: int = Field(100, ge=1, le=500, description="Runs a call.")
    cursor: str | None = Field(None, max_length=100, pattern=CURSOR)


MODELS: Final[tuple[type[BaseModel], ...]] = (
    StartRun, RunFlow, SendEvent, CallbackTest, CheckFlow, Reason, Cancellation, Rewind, Replay, Fork, BulkRuns,
)  # fmt: skip


async def read_model(request: Request, model: type[M], *, optional: bool = False) -> M:
    """The body as `model`; an absent one counts as `{}` if `optional`. Raises BadBodyError, UnsupportedTypeError,
    InvalidRequestError.
    """
    body = await request.body()
    return fitted(model, {} if optional and not body else _json_of(request, body))


def fitted(model: type[M], value: object) -> M:
    """What was sent as `model`. Raises InvalidRequestError with every mistake."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        errors = error.errors(include_url=False, include_input=False, include_context=False)
        details = list(dict.fromkeys(_detail(model, one["loc"], one["type"], one["msg"]) for one in errors))
        path, sentence = details[0]
        raise InvalidRequestError(f"the body does not fit: {f'{path}: ' if path else ''}{sentence}", details) from None


def _detail(model: type[BaseModel], loc: tuple[int | str, ...], kind: str, said: str) -> tuple[str, str]:
    """Path and sentence, in words that name nothing of this program's inside."""
    # Behind the name of a field that takes two types stands which of them did not fit.
    names = [str(part) for part in loc if part != "str" and not str(part).startswith("dict[")]
    sentence = _SENTENCES.get(kind, said)
    if kind == "extra_forbidden":
        known = [field.alias or name for name, field in model.model_fields.items()]
        hint = did_you_mean(names[-1], known) or f"known: {', '.join(known)}"
        sentence = f"is no field of this request; {hint}"
    return ".".join(names), sentence


async def read_payload(request: Request) -> JsonValue:
    """A callback's payload: JSON, a form's fields as a map, text as a string, nothing as null."""
    body = await request.body()
    if not body:
        return None
    kind = content_type(request.headers)
    if kind == "application/x-www-form-urlencoded":
        return _form(body)
    if kind == "text/plain":
        return _text(body)
    return cast("JsonValue", _json_of(request, body))


def read_content(kind: str, body: bytes) -> Content:
    """The body of a webhook by its content type: JSON, a form as a map, text as it stands, anything else as base64.
    `kind` has its parameters where they are needed to read it.

    Raises BadBodyError, TooLargeError for one that is not what it says.
    """
    if not body:
        return Content(None)
    if kind == "application/json" or kind.endswith("+json"):
        return Content(cast("JsonValue", parse_json(body)))
    if kind == "application/x-www-form-urlencoded":
        return Content(_form(body))
    if kind.startswith("multipart/form-data"):
        from segue.api.multipart import read_multipart  # noqa: PLC0415 - few webhooks load the parser of mails

        return Content(read_multipart(kind, body))
    if kind.startswith("text/") or kind == "application/xml" or kind.endswith("+xml"):
        return Content(_text(body))
    if not kind:
        try:
            return Content(cast("JsonValue", parse_json(body)))
        except BadBodyError:
            pass  # it did not say that it was JSON
    return Content(base64.b64encode(body).decode(), is_base64=True)


def content_type(headers: Mapping[str, str]) -> str:
    """The media type without parameters, lower case."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def _json_of(request: Request, body: bytes) -> object:
    kind = content_type(request.headers)
    if kind not in ("", "application/json") and not kind.endswith("+json"):
        raise UnsupportedTypeError(f"send the body as application/json, not {kind!r}")
    return parse_json(body)


def parse_json(body: bytes) -> object:
    """JSON (RFC 8259) of at most 100 levels. Raises BadBodyError, TooLargeError."""
    if not body:
        raise BadBodyError("the body is empty; JSON is needed")
    try:
        value: object = msgspec.json.decode(body)
    except RecursionError:
        raise TooLargeError(f"the JSON nests deeper than {JSON_DEPTH_MAX} levels") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BadBodyError(f"the body is not JSON: {error}") from None
    # Few bodies have so many brackets or so long a number, so few are walked.
    if body.count(b"{") + body.count(b"[") > JSON_DEPTH_MAX or _LONG_NUMBER.search(body) is not None:
        _refuse_odd(value)
    return value


def _refuse_odd(value: object) -> None:
    """Nested too deep, or with an integer that no 64 bits hold: both are refused before anything is kept."""
    level = [value]
    for _ in range(JSON_DEPTH_MAX + 1):
        inner: list[object] = []
        for one in level:
            if isinstance(one, dict):
                inner += cast("dict[str, object]", one).values()
            elif isinstance(one, list):
                inner += cast("list[object]", one)
            elif isinstance(one, int) and not INT64_MIN <= one <= INT64_MAX:
                raise BadBodyError(f"the number {str(one)[:30]} does not fit 64 bits; send it as text")
        if not inner:
            return
        level = inner
    raise TooLargeError(f"the JSON nests deeper than {JSON_DEPTH_MAX} levels")


def _form(body: bytes) -> JsonValue:
    try:
        pairs = parse_qsl(_text(body), keep_blank_values=True, max_num_fields=FORM_FIELDS_MAX)
    except ValueError as error:
        raise BadBodyError(f"the form cannot be read: {error}") from None
    fields: dict[str, JsonValue] = {}
    for name, value in pairs:
        if name not in fields:
            fields[name] = value
            continue
        earlier = fields[name]
        fields[name] = [*earlier, value] if isinstance(earlier, list) else [earlier, value]
    return fields


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise BadBodyError("the body is not UTF-8 text") from None
