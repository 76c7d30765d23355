"""How a webhook behaves, read from its trigger's settings once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, cast

from segue.errors import RequestError
from segue.flow.model import JsonValue, RawMap
from segue.flow.sharing import parse_rate
from segue.flow.trigger_keys import ANSWER_SECONDS_MAX, ANSWERS, BODY_BYTES_MAX, ENCODINGS, WEBHOOK_METHODS
from segue.kernel.durations import InvalidDuration, milliseconds_of
from segue.triggers.auth import Auth, read_auth
from segue.triggers.schemes import Source

Answer = Literal["now", "flow", "result"]
"""`now`: 202 with the run's id. `flow`: what its `respond` step says. `result`: how it ended."""
METHODS: Final = WEBHOOK_METHODS
ANSWER_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Computed:
    """A value over `$trigger` and `$data` that deliveries of one message have in common."""

    written: JsonValue


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSettings:
    """What a webhook takes and how it answers."""

    auth: Auth
    methods: frozenset[str]
    events: frozenset[str]
    """Kinds of messages that start runs, as the sender calls them; empty: all."""
    answer: Answer = "now"
    answer_seconds: float = ANSWER_SECONDS
    dedupe: Source | Computed | Literal[False] | None = None
    """Where the sender's id stands; None: as its scheme says; False: no delivery is held for a repetition."""
    schema: RawMap | None = None
    """What the body must fit, beside the flow's inputs."""
    challenge: Source | None = None
    """What is sent back as it came, before any run, to prove that the address is ours."""
    rate: tuple[int, float] | None = None
    """How many deliveries within how many seconds."""
    max_bytes: int | None = None
    content_types: tuple[str, ...] = ()
    """What bodies may be: `application/json`, `text/*`; empty: anything."""
    encodings: frozenset[str] = frozenset()
    """Content-Encodings that are taken."""

    def takes(self, content_type: str) -> bool:
        """Whether a body may be of this type."""
        group = content_type.partition("/")[0] + "/*"
        return not self.content_types or any(one in (content_type, group, "*/*") for one in self.content_types)


def read_webhook_settings(settings: Mapping[str, JsonValue]) -> WebhookSettings:
    """Raises RequestError for what is no setting of a webhook."""
    auth = read_auth(settings)
    methods = frozenset(one.upper() for one in _words(settings, "methods", "method")) or frozenset(("POST",))
    unknown = sorted(methods - set(METHODS))
    if unknown:
        raise RequestError(f"a webhook takes the methods {', '.join(METHODS)}, not {unknown[0]}")
    answer = ANSWERS.get(str(settings.get("respond", settings.get("response", settings.get("mode", "now")))).lower())
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
        schema=schema, auth=auth, methods=methods,
        events=frozenset(one for one in _words(settings, "events", "event") if one != "received"),
        answer=cast("Answer", answer), answer_seconds=min(seconds, ANSWER_SECONDS_MAX),
        dedupe=_dedupe(settings.get("dedupe")), challenge=_source(settings.get("challenge"), "challenge"),
        rate=_rate(settings.get("rate")), max_bytes=_bytes(settings.get("max_bytes")),
        content_types=tuple(one.lower() for one in _words(settings, "content_types")),
        encodings=_encodings(settings),
    )  # fmt: skip


def _words(settings: Mapping[str, JsonValue], *keys: str) -> list[str]:
    written = next((settings[key] for key in keys if settings.get(key) is not None), None)
    return [str(one) for one in (written if isinstance(written, list) else [] if written is None else [written])]


def _encodings(settings: Mapping[str, JsonValue]) -> frozenset[str]:
    found = frozenset(one.lower() for one in _words(settings, "encodings"))
    if found - set(ENCODINGS):
        raise RequestError(f"a webhook's `encodings` are {', '.join(ENCODINGS)}")
    return found


def _rate(written: JsonValue) -> tuple[int, float] | None:
    if written is None:
        return None
    found = parse_rate(str(written))
    if found is None:
        raise RequestError("a webhook's `rate` is a number and a length of time, such as 100/m")
    return found


def _bytes(written: JsonValue) -> int | None:
    if written is None:
        return None
    if isinstance(written, bool) or not isinstance(written, int) or not 1 <= written <= BODY_BYTES_MAX:
        raise RequestError(f"a webhook's `max_bytes` is a number of bytes, up to {BODY_BYTES_MAX:,}")
    return written


def _dedupe(written: JsonValue) -> Source | Computed | Literal[False] | None:
    if written is False:
        return False
    if isinstance(written, str) and written.lstrip().startswith(("$", "{{")):
        return Computed(written)
    return _source(written, "dedupe")


def _source(written: JsonValue, name: str) -> Source | None:
    if written is None:
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
