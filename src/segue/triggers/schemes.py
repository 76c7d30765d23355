"""How senders sign their webhooks, as data: one record a scheme, one engine for all (`segue.triggers.signatures`).

Sources: the Standard Webhooks specification; the senders' own documentation and SDKs (Stripe, GitHub, Slack, Shopify,
Retell, HighLevel). The page `docs/triggers.md` prints the table from these records.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal

Algorithm = Literal["hmac-sha1", "hmac-sha256", "hmac-sha512", "ed25519"]
Encoding = Literal["hex", "base64", "base64url"]
KeyForm = Literal["text", "base64", "hex", "whsec", "public"]
"""How a secret's text becomes the key's bytes. `text`: as it stands; `whsec`: base64 behind `whsec_`, 24 to 64 bytes;
`public`: an Ed25519 public key as PEM, hex or base64, with or without `whpk_`.
"""
TimeUnit = Literal["s", "ms", "rfc3339"]

TOLERANCE_SECONDS: Final = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """One form of signature in the header: what it begins with, how it is made, and how the key is read."""

    prefix: str = ""
    algorithm: Algorithm = "hmac-sha256"
    encoding: Encoding = "hex"
    key: KeyForm = "text"


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """Where the time of signing stands: a header of its own, a part of the signature's header, or a field of the body;
    it is always under the signature.
    """

    header: str | None = None
    prefix: str | None = None
    field: str | None = None
    unit: TimeUnit = "s"
    tolerance_seconds: int = TOLERANCE_SECONDS
    """How far it may be from our clock, in either direction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a word about the message stands: a header, a field of the body (`event.type`), the address's query."""

    header: str | None = None
    field: str | None = None
    query: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheme:
    """One way of signing. `signed` is the template of the signed bytes, of `{body}`, `{time}` and `{id}`."""

    name: str
    title: str
    header: str
    """Holds the signature, or several of them."""
    proofs: tuple[Proof, ...]
    separator: str | None = None
    """Between the parts of the header; None: it is one signature."""
    signed: str = "{body}"
    time: Moment | None = None
    id: Source | None = None
    """What tells a repeated delivery from a new one. None: the hash of signature and body."""
    event: Source | None = None
    """What the sender calls the kind of its message."""


STANDARD: Final = Scheme(
    name="standard",
    title="Standard Webhooks",
    header="webhook-signature",
    separator=" ",
    proofs=(
        Proof(prefix="v1,", encoding="base64", key="whsec"),
        Proof(prefix="v1a,", algorithm="ed25519", encoding="base64", key="public"),
    ),
    signed="{id}.{time}.{body}",
    time=Moment(header="webhook-timestamp"),
    id=Source(header="webhook-id"),
    event=Source(field="type"),
)
STRIPE: Final = Scheme(
    name="stripe",
    title="Stripe",
    header="stripe-signature",
    separator=",",
    proofs=(Proof(prefix="v1="),),
    signed="{time}.{body}",
    time=Moment(prefix="t="),
    id=Source(field="id"),
    event=Source(field="type"),
)
GITHUB: Final = Scheme(
    name="github",
    title="GitHub",
    header="x-hub-signature-256",
    proofs=(Proof(prefix="sha256="),),
    id=Source(header="x-github-delivery"),
    event=Source(header="x-github-event"),
)
SLACK: Final = Scheme(
    name="slack",
    title="Slack",
    header="x-slack-signature",
    proofs=(Proof(prefix="v0="),),
    signed="v0:{time}:{body}",
    time=Moment(header="x-slack-request-timestamp"),
    id=Source(field="event_id"),
    event=Source(field="event.type"),
)
SHOPIFY: Final = Scheme(
    name="shopify",
    title="Shopify",
    header="x-shopify-hmac-sha256",
    proofs=(Proof(encoding="base64"),),
    id=Source(header="x-shopify-webhook-id"),
    event=Source(header="x-shopify-topic"),
)
RETELL: Final = Scheme(
    name="retell",
    title="Retell AI",
    header="x-retell-signature",
    separator=",",
    proofs=(Proof(prefix="d="),),
    signed="{body}{time}",
    time=Moment(prefix="v=", unit="ms"),
    event=Source(field="event"),
)
HIGHLEVEL: Final = Scheme(
    name="highlevel",
    title="HighLevel",
    header="x-ghl-signature",
    proofs=(Proof(algorithm="ed25519", encoding="base64", key="public"),),
    time=Moment(field="timestamp", unit="rfc3339"),
    id=Source(field="webhookId"),
    event=Source(field="type"),
)
HMAC: Final = Scheme(
    name="hmac",
    title="HMAC with settings of your own",
    header="x-signature",
    proofs=(Proof(),),
    event=Source(field="type"),
)
SCHEMES: Final = {scheme.name: scheme for scheme in (STANDARD, STRIPE, GITHUB, SLACK, SHOPIFY, RETELL, HIGHLEVEL, HMAC)}
"""By the name that a flow writes under `auth`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HmacSettings:
    """What a flow may set of the scheme `hmac`."""

    header: str = "x-signature"
    prefix: str = ""
    algorithm: Algorithm = "hmac-sha256"
    encoding: Encoding = "hex"
    key: KeyForm = "text"
    separator: str | None = None
    signed: str = "{body}"
    time_header: str | None = None
    time_unit: TimeUnit = "s"
    tolerance_seconds: int = TOLERANCE_SECONDS
    id_header: str | None = None
    id_field: str | None = None


def hmac_scheme(settings: HmacSettings) -> Scheme:
    """The scheme `hmac` with these settings."""
    time = None
    if settings.time_header is not None:
        time = Moment(
            header=settings.time_header.lower(), unit=settings.time_unit, tolerance_seconds=settings.tolerance_seconds
        )
    source = None
    if settings.id_header is not None or settings.id_field is not None:
        header = None if settings.id_header is None else settings.id_header.lower()
        source = Source(header=header, field=None if header is not None else settings.id_field)
    proof = Proof(
        prefix=settings.prefix, algorithm=settings.algorithm, encoding=settings.encoding, key=settings.key
    )  # fmt: skip
    return replace(
        HMAC, header=settings.header.lower(), separator=settings.separator, proofs=(proof,), signed=settings.signed,
        time=time, id=source,
    )  # fmt: skip
