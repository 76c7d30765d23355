"""The keys of triggers in tables: what the reader takes, the published schema and the reference all come from here.

Every key that stands here has its effect (`segue.triggers`); what does not stand here is refused by its name.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from segue.flow.verbs import Key

_WHEN: Final = Key(
    name="when", type="expression", doc="The condition under which a run begins.", example="$data.total > 10"
)
_INPUTS: Final = Key(
    name="inputs", type="value",
    doc="What the run's inputs are made of; left out: the body's fields of the same names.", example="{id: $data.id}",
)  # fmt: skip
_NAME: Final = Key(
    name="name", type="name", doc="Tells several triggers of a flow apart.", example="orders", also=("id",)
)
_ENABLED: Final = Key(name="enabled", type="bool", doc="false: it rests.", example="true")
_COMMON: Final = (_WHEN, _INPUTS, _NAME, _ENABLED)

WEBHOOK_KEYS: Final = (
    Key(name="auth", type="value", doc="How senders prove themselves: a kind, or a map with its settings.",
        example="stripe", also=("provider",)),
    Key(name="secret", type="names", doc="Where the sender's secret stands; left out: the trigger keeps its own.",
        example="$secrets.hook"),
    Key(name="path", type="name", doc="The address' last part, in place of the unguessable one.", example="orders"),
    Key(name="methods", type="names", doc="What is taken: GET, HEAD, POST, PUT, PATCH, DELETE; POST unless said.",
        example="[POST, PUT]", also=("method",)),
    Key(name="events", type="names", doc="Kinds of messages that start runs; left out: all.",
        example="[invoice.paid]", also=("event",)),
    Key(name="respond", type="text", doc="now (202 at once), flow (its `respond` step) or result (its end).",
        example="flow", also=("response", "mode")),
    Key(name="timeout", type="duration", doc="How long `respond` waits, at most 5m.", example="10s"),
    Key(name="schema", type="map", doc="The JSON Schema that a body must fit.", example="{type: object}"),
    Key(name="dedupe", type="value",
        doc="What two deliveries of one message have in common: {header: …}, {field: …}, {query: …}, a value of "
        "`$data` or `$trigger`; false: nothing is held for a repetition.", example="{field: id}"),
    Key(name="challenge", type="value", doc="What is sent back to prove that the address is ours.",
        example="{field: challenge}"),
    Key(name="rate", type="text", doc="Deliveries within any stretch of time; what is more gets 429.",
        example="100/m"),
    Key(name="max_bytes", type="int", doc="The largest body, up to 10 MiB; 1 MiB unless said.", example="65536"),
    Key(name="content_types", type="names", doc="What bodies may be; left out: anything.",
        example="[application/json]"),
    Key(name="encodings", type="names", doc="Content-Encodings that are taken: gzip, deflate.", example="[gzip]"),
    *_COMMON,
)  # fmt: skip
CRON_KEYS: Final = (
    Key(name="timezone", type="name", doc="The time zone of `cron`, and of times without one.",
        example="Europe/Berlin"),
    Key(name="catch_up", type="value", doc="Of times missed: none, last (unless said), all, or how many.",
        example="last"),
    Key(name="overlap", type="text", doc="With the run before still under way: allow (unless said), skip, queue, or "
        "cancel that run.", example="skip"),
    Key(name="jitter", type="duration", doc="Spreads the beginning over this much time.", example="5m"),
    Key(name="from", type="text", doc="No run before.", example="2027-01-01T00:00:00Z"),
    Key(name="until", type="text", doc="No run after.", example="2027-12-31T00:00:00Z"),
    *_COMMON,
)  # fmt: skip
EVENT_KEYS: Final = (
    Key(name="source", type="names", doc="Whose events count: flows whose steps emit them, or `api` for what comes "
        "from outside; left out: all.", example="billing"),
    *_COMMON,
)  # fmt: skip
FLOW_KEYS: Final = (
    Key(name="on", type="names", doc="succeeded (unless said), failed, cancelled, timed_out or any.",
        example="[failed, timed_out]"),
    *_COMMON,
)  # fmt: skip
MAIN_KEYS: Final = MappingProxyType({
    "webhook": Key(name="webhook", type="value", doc="A sender's HTTP request. Its settings stand below or beside.",
                   example="{auth: github}"),
    "cron": Key(name="cron", type="text", doc="Minute, hour, day, month, weekday; or @daily and its kin.",
                example='"0 9 * * 1-5"'),
    "every": Key(name="every", type="duration", doc="Each time that so much time has passed, at least 1s.",
                 example="15m"),
    "at": Key(name="at", type="text", doc="One moment.", example="2027-01-01T09:00:00+01:00"),
    "event": Key(name="event", type="name", doc="An event of this name.", example="order.paid"),
    "flow": Key(name="flow", type="name", doc="The end of a run of this flow.", example="invoice"),
    "manual": Key(name="manual", type="value", doc="A person or a program starts runs.", example="{}"),
})  # fmt: skip
"""What makes a trigger one of its kind."""
KIND_OF: Final = MappingProxyType(
    {"webhook": "webhook", "cron": "cron", "every": "cron", "at": "cron", "event": "event", "flow": "flow",
     "manual": "manual"}
)  # fmt: skip
"""The kind of a trigger that has this main key."""
KEYS_OF: Final = MappingProxyType({
    "webhook": WEBHOOK_KEYS, "cron": CRON_KEYS, "event": EVENT_KEYS, "flow": FLOW_KEYS, "manual": (_NAME,),
})  # fmt: skip

WEBHOOK_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
ENCODINGS: Final = ("gzip", "deflate")
ANSWERS: Final = MappingProxyType({
    "now": "now", "immediately": "now", "accepted": "now", "flow": "flow", "respond": "flow", "response": "flow",
    "result": "result", "last": "result",
})  # fmt: skip
ANSWER_SECONDS_MAX: Final = 300.0
BODY_BYTES: Final = 1024 * 1024
"""The largest body unless the webhook or the server says otherwise."""
BODY_BYTES_MAX: Final = 10 * 1024 * 1024
EVERY_LEAST_SECONDS: Final = 1.0
CATCH_UP_MAX: Final = 1_000
CATCH_UP: Final = MappingProxyType({"none": 0, "skip": 0, "last": 1, "once": 1, "all": CATCH_UP_MAX})
OVERLAPS: Final = MappingProxyType(
    {"allow": "allow", "skip": "skip", "queue": "queue", "cancel": "cancel", "replace": "cancel"}
)
ENDS: Final = MappingProxyType({
    "succeeded": frozenset(("succeeded",)),
    "completed": frozenset(("succeeded",)),
    "failed": frozenset(("failed", "timed_out")),
    "timed_out": frozenset(("timed_out",)),
    "cancelled": frozenset(("cancelled",)),
    "ended": frozenset(("succeeded", "failed", "timed_out", "cancelled")),
    "any": frozenset(("succeeded", "failed", "timed_out", "cancelled")),
})  # fmt: skip
"""What `on:` may say, and the statuses that it means."""

SIGNED_KINDS: Final = ("standard", "stripe", "github", "slack", "shopify", "retell", "highlevel")
AUTH_KINDS: Final = (*SIGNED_KINDS, "hmac", "token", "jwt", "none")
AUTH_ALIASES: Final = MappingProxyType({
    "standard-webhooks": "standard", "standard_webhooks": "standard", "gohighlevel": "highlevel", "ghl": "highlevel",
    "bearer": "token", "signature": "hmac",
})  # fmt: skip
AUTH_TYPE_KEYS: Final = ("type", "kind", "scheme")
_TOLERANCE: Final = Key(name="tolerance", type="duration", doc="How far clocks may be apart.", example="5m")
_HEADER: Final = Key(name="header", type="name", doc="Where it stands.", example="x-signature")
_PREFIX: Final = Key(name="prefix", type="text", doc="What stands before it there.", example="sha256=")
AUTH_KEYS: Final = MappingProxyType({
    **{kind: (_TOLERANCE,) for kind in ("standard", "stripe", "slack", "retell", "highlevel")},
    **{kind: () for kind in ("github", "shopify", "none")},
    "hmac": (
        _HEADER, _PREFIX,
        Key(name="algorithm", type="text", doc="hmac-sha1, hmac-sha256, hmac-sha512 or ed25519.",
            example="hmac-sha256"),
        Key(name="encoding", type="text", doc="hex, base64 or base64url.", example="hex"),
        Key(name="key", type="text", doc="What the secret's text is: text, base64, hex, whsec or public.",
            example="text"),
        Key(name="separator", type="text", doc="Between several signatures.", example="','"),
        Key(name="signed", type="text", doc="The signed bytes, of {body}, {time} and {id}.",
            example="'{time}.{body}'"),
        Key(name="time_header", type="name", doc="Where the time of signing stands.", example="x-timestamp"),
        Key(name="time_unit", type="text", doc="s, ms or rfc3339.", example="s"),
        _TOLERANCE,
        Key(name="id_header", type="name", doc="The header of a message's id.", example="x-id"),
        Key(name="id_field", type="name", doc="The body's field of a message's id.", example="id"),
    ),
    "token": (_HEADER, _PREFIX, Key(name="query", type="name", doc="In the address' query.", example="token")),
    "jwt": (
        _HEADER, _PREFIX,
        Key(name="issuer", type="name", doc="Who must have issued it.", example="https://issuer.example.com"),
        Key(name="audience", type="name", doc="Whom it must be for.", example="segue"),
        Key(name="algorithms", type="names", doc="Those that are taken, of one family.", example="[RS256]"),
        Key(name="jwks", type="value", doc="The issuer's key set, or the https address of it.",
            example="https://issuer.example.com/jwks.json"),
        _TOLERANCE,
    ),
})  # fmt: skip
"""The settings of each kind under `auth`, beside `type` and `secret`."""
AUTH_WORDS: Final = MappingProxyType({
    "algorithm": ("hmac-sha1", "hmac-sha256", "hmac-sha512", "ed25519"),
    "encoding": ("hex", "base64", "base64url"),
    "key": ("text", "base64", "hex", "whsec", "public"),
    "time_unit": ("s", "ms", "rfc3339"),
})  # fmt: skip
PUBLIC_ALGORITHMS: Final = ("RS256", "PS256", "ES256", "EdDSA", "Ed25519")
SHARED_ALGORITHMS: Final = ("HS256", "HS384", "HS512")
SECRET_PLACES: Final = ("env:", "file:", "secret:", "connection:", "vault:")
