"""What a run that a webhook starts knows as `$trigger`."""

from __future__ import annotations

from segue.errors import RequestError
from segue.flow.model import RawMap
from segue.triggers.bearers import TokenScheme
from segue.triggers.body import Body
from segue.triggers.deliveries import HEADERS_MAX, Delivery
from segue.triggers.errors import BadContentError, TooManyBytesError
from segue.triggers.incoming import Content, Incoming
from segue.triggers.records import TriggerRow
from segue.triggers.webhook_settings import WebhookSettings


def event_of(row: TriggerRow, settings: WebhookSettings, incoming: Incoming, delivery: Delivery, sent: Body) -> RawMap:
    """The event of a request, without what proves its sender. Raises TooManyBytesError, BadContentError."""
    try:
        body = sent.content()
    except TooManyBytesError:
        raise
    except RequestError as error:
        raise BadContentError(error.message) from error
    proofs = settings.auth.secret_headers
    headers: RawMap = {}
    for name, value in incoming.headers[:HEADERS_MAX]:
        key = name.lower()
        if key not in proofs:
            headers[key] = f"{headers[key]}, {value}" if key in headers else value
    hidden = settings.auth.scheme.query if isinstance(settings.auth.scheme, TokenScheme) else None
    query: RawMap = {name: value for name, value in incoming.query if name != hidden}
    return made_event(row, delivery, body, headers, query)


def made_event(row: TriggerRow, delivery: Delivery, body: Content, headers: RawMap, query: RawMap) -> RawMap:
    """The event of a delivery, whose body was read."""
    event: RawMap = {
        "kind": "webhook", "name": row.name, "method": delivery.method, "headers": headers, "query": query,
        "content_type": delivery.content_type.partition(";")[0], "delivery": delivery.id, "body": body.value,
    }  # fmt: skip
    return event | {"encoding": "base64"} if body.is_base64 else event
