"""How a webhook behaves, read from its trigger's settings once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, cast

from segue.errors import RequestError
from segue.flow.model import JsonValue, RawMap
from segue.kernel.durations import InvalidDuration, milliseconds_of
from segue.triggers.auth import Auth, read_auth
from segue.triggers.schemes import Source

Answer = Literal["now", "flow", "result"]
"""`now`: 202 with the run's id. `flow`: what its `respond` step says. `result`: how it ended."""
METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")
ANSWER_SECONDS: Final = 30.0
ANSWER_SECONDS_MAX: Final = 300.0
_ANSWERS: Final[Mapping[str, Answer]] = {
    "now": "now", "immediately": "now", "accepted": "now", "flow": "flow", "respond": "flow", "response": "flow",
    "result": "result", "last": "result",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSettings:
    """What a webhook takes and how it answers."""

    auth: Auth
    methods: frozenset[str]
    events: frozenset[str]
    """Kinds of messages that start runs, as the sender calls them; empty: all."""
    answer: Answer = "now"
    answer_seconds: float = ANSWER_SECONDS
    dedupe: Source | None = None
    """Where the sender's id stands, if its scheme does not say."""
    schema: RawMap | None = None
    """What the body must fit, beside the flow's inputs."""
    challenge: Source | None = None
    """What is sent back as it came, before any run, to prove that the address is ours."""


def read_webhook_settings(settings: Mapping[str, JsonValue]) -> WebhookSettings:
    """Raises RequestError for what is no setting of a webhook."""
    auth = read_auth(settings)
    written = settings.get("methods", settings.get("method", ["POST"]))
    methods = frozenset(str(one).upper() for one in (written if isinstance(written, list) else [written]))
    unknown = sorted(methods - set(METHODS))
    if unknown:
        raise RequestError(f"a webhook takes the methods {', '.join(METHODS)}, not {unknown[0]}")
    named = settings.get("events", settings.get("event"))
    events = [] if named in (None, "received") else named if isinstance(named, list) else [named]
    answer = _ANSWERS.get(str(settings.get("respond", settings.get("mode", "now"))).lower())
    if answer is None:
        raise RequestError("a webhook's `respond` is now, flow or result")
    seconds = ANSWER_SECONDS
    if (timeout := settings.get("timeout")) is not None:
        try:
            seconds = milliseconds_of(timeout) / 1000
        except InvalidDuration as error:
            raise RequestError(f"a webhook's `timeout`: {error}") from error
    schema = settings.get("schema")
    if schema is not None and not isinstance(schema, dict):
        raise RequestError("a webhook's `schema` is a JSON Schema: a map")
    return WebhookSettings(
        schema=schema,
        auth=auth, methods=methods, events=frozenset(str(one) for one in events), answer=answer,
        answer_seconds=min(seconds, ANSWER_SECONDS_MAX), dedupe=_source(settings.get("dedupe"), "dedupe"),
        challenge=_source(settings.get("challenge"), "challenge"),
    )  # fmt: skip


def _source(written: JsonValue, name: str) -> Source | None:
    if written is None or written is False:
        return None
    if isinstance(written, dict) and len(written) == 1:
        (where, place), *_ = cast("dict[str, object]", written).items()
        if isinstance(place, str):
            match where:
                case "header":
                    return Source(header=place.lower())
                case "field":
                    return Source(field=place)
                case "query":
                    return Source(query=place)
                case _:
                    pass
    raise RequestError(f"a webhook's `{name}` is {{header: …}}, {{field: …}} or {{query: …}}")
