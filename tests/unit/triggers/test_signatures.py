"""Signed webhooks: frozen vectors, messages signed by the senders' own packages, and bytes that were touched."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from segue.triggers import schemes
from segue.triggers.schemes import SCHEMES, HmacSettings, Scheme, hmac_scheme
from segue.triggers.signatures import Message, Secret, Verdict, verify

NOW = 1_700_000_000_000
SECONDS = NOW // 1000
BODY = '{"id":"evt_1","type":"invoice.paid","event_id":"Ev1","webhookId":"wh_1","name":"Zoë\\r\\n"}'.encode()
SHARED = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
PRIVATE = Ed25519PrivateKey.from_private_bytes(b"7" * 32)
PUBLIC = PRIVATE.public_key().public_bytes_raw()
Headers = list[tuple[str, str]]


def mac(key: bytes, signed: bytes) -> bytes:
    return hmac.new(key, signed, hashlib.sha256).digest()


def dated_body() -> bytes:
    return BODY[:-1] + b',"timestamp":"' + datetime.fromtimestamp(SECONDS, UTC).isoformat().encode() + b'"}'


def sent(name: str, body: bytes, at: int = SECONDS, secret: str = "s3cret") -> tuple[Headers, str]:
    """Headers that a sender of the kind would send, and the secret: written by hand from the providers' pages."""
    text = secret.encode()
    match name:
        case "standard":
            key = base64.b64decode(SHARED.removeprefix("whsec_"))
            proof = base64.b64encode(mac(key, b"msg_1.%d.%s" % (at, body))).decode()
            return [
                ("Webhook-Id", "msg_1"),
                ("webhook-timestamp", f"{at}"),
                ("webhook-signature", f"v1,{proof}"),
            ], SHARED
        case "standard-ed25519":
            proof = base64.b64encode(PRIVATE.sign(b"msg_1.%d.%s" % (at, body))).decode()
            key = "whpk_" + base64.b64encode(PUBLIC).decode()
            return [("webhook-id", "msg_1"), ("webhook-timestamp", f"{at}"), ("webhook-signature", f"v1a,{proof}")], key
        case "stripe":
            return [("stripe-signature", f"t={at},v1={mac(text, b'%d.%s' % (at, body)).hex()}")], secret
        case "github":
            return [("x-hub-signature-256", f"sha256={mac(text, body).hex()}"), ("x-github-delivery", "g-1")], secret
        case "slack":
            proof = mac(text, b"v0:%d:%s" % (at, body)).hex()
            return [("x-slack-signature", f"v0={proof}"), ("x-slack-request-timestamp", f"{at}")], secret
        case "shopify":
            proof = base64.b64encode(mac(text, body)).decode()
            return [("x-shopify-hmac-sha256", proof), ("x-shopify-webhook-id", "sh-1")], secret
        case "retell":
            ms = at * 1000
            return [("x-retell-signature", f"v={ms},d={mac(text, b'%s%d' % (body, ms)).hex()}")], secret
        case "highlevel":
            proof = base64.b64encode(PRIVATE.sign(body)).decode()
            return [("x-ghl-signature", proof)], PUBLIC.hex()
        case _:
            return [("x-signature", mac(text, body).hex())], secret


KINDS = ("standard", "standard-ed25519", "stripe", "github", "slack", "shopify", "retell", "highlevel", "hmac")
DATED = ("standard", "standard-ed25519", "stripe", "slack", "retell", "highlevel")
IDS = {
    "standard": "msg_1", "standard-ed25519": "msg_1", "stripe": "evt_1", "github": "g-1", "slack": "Ev1",
    "shopify": "sh-1", "highlevel": "wh_1",
}  # fmt: skip


def body_for(kind: str) -> bytes:
    return dated_body() if kind == "highlevel" else BODY


def scheme_of(kind: str) -> Scheme:
    return SCHEMES[kind.partition("-")[0]]


def judge(kind: str, headers: Headers, secret: str, body: bytes, now: int = NOW) -> Verdict:
    return verify(scheme_of(kind), [Secret(secret)], Message(headers, body), now)


@pytest.mark.req("TRIG-1.kinds")
@pytest.mark.parametrize("kind", KINDS)
def test_a_message_signed_as_its_sender_says_is_taken_with_its_id(kind: str) -> None:
    body = body_for(kind)
    headers, secret = sent(kind, body)

    verdict = judge(kind, headers, secret, body)

    assert verdict.accepted, verdict
    assert verdict.id == IDS.get(kind, verdict.id)
    assert verdict.id is not None


VECTORS: list[tuple[Scheme, str, Headers, bytes, str | None]] = [
    # GitHub's documentation, "Validating webhook deliveries": its own test values.
    (
        schemes.GITHUB, "It's a Secret to Everybody",
        [("X-Hub-Signature-256", "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17")],
        b"Hello, World!", None,
    ),
    # Standard Webhooks' own example (its specification's repository; the sender's clock read 1614265330).
    (
        schemes.STANDARD, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        [
            ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"), ("webhook-timestamp", "1614265330"),
            ("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
        ],
        b'{"test": 2432232314}', "msg_p5jXN8AQM9LWM0D4loKWxJek",
    ),
    # Slack's documentation, "Verifying requests from Slack": its own example.
    (
        schemes.SLACK, "8f742231b10e8888abcd99yyyzzz85a5",
        [
            ("X-Slack-Request-Timestamp", "1531420618"),
            ("X-Slack-Signature", "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"),
        ],
        b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V"
        b"&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
        b"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
        b"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c", None,
    ),
]  # fmt: skip


@pytest.mark.req("TRIG-1.vectors")
@pytest.mark.parametrize(("scheme", "secret", "headers", "body", "id"), VECTORS, ids=[one[0].name for one in VECTORS])
def test_the_senders_published_examples_are_taken(
    scheme: Scheme, secret: str, headers: Headers, body: bytes, id: str | None
) -> None:
    stamp = next((int(value) for name, value in headers if name.lower().endswith("timestamp")), SECONDS)

    verdict = verify(scheme, [Secret(secret)], Message(headers, body), stamp * 1000)

    assert verdict.accepted, verdict
    assert id in (None, verdict.id)


def by_stripe(body: bytes) -> tuple[Headers, str]:
    import stripe

    header = stripe.WebhookSignature.generate_signature_header(body.decode(), "whsec_abc", SECONDS)
    return [("Stripe-Signature", header)], "whsec_abc"


def by_slack(body: bytes) -> tuple[Headers, str]:
    from slack_sdk.signature import SignatureVerifier

    proof = SignatureVerifier("8f74").generate_signature(timestamp=str(SECONDS), body=body)
    assert proof is not None
    return [("X-Slack-Signature", proof), ("X-Slack-Request-Timestamp", str(SECONDS))], "8f74"


def by_standard(body: bytes) -> tuple[Headers, str]:
    from standardwebhooks.webhooks import Webhook

    proof = Webhook(SHARED).sign("msg_1", datetime.fromtimestamp(SECONDS, UTC), body.decode())
    return [("webhook-id", "msg_1"), ("webhook-timestamp", str(SECONDS)), ("webhook-signature", proof)], SHARED


def by_retell(body: bytes) -> tuple[Headers, str]:
    from retell.lib import webhook_auth

    header = webhook_auth.symmetric["sign"](body.decode(), "key_1", NOW)
    return [("x-retell-signature", str(header))], "key_1"


@pytest.mark.req("TRIG-1.vendors")
@pytest.mark.parametrize(
    ("kind", "sign"),
    [("stripe", by_stripe), ("slack", by_slack), ("standard", by_standard), ("retell", by_retell)],
)
@pytest.mark.parametrize("body", [BODY, b"", "ü\r\n\u2028 {}".encode(), b'{"a": 1}\n'])
def test_what_the_senders_own_package_signs_is_taken(
    kind: str, sign: Callable[[bytes], tuple[Headers, str]], body: bytes
) -> None:
    headers, secret = sign(body)

    assert judge(kind, headers, secret, body).accepted
    assert not judge(kind, headers, secret, body + b" ").accepted


@pytest.mark.req("TRIG-1.vendors")
@pytest.mark.parametrize("body", [BODY, b"", "ü\r\n\u2028 {}".encode(), b'{"a": 1}\n'])
def test_github_and_shopify_have_no_package_that_signs_bodies_so_their_recipes_are_followed_by_hand(
    body: bytes,
) -> None:
    """GitHub: HMAC-SHA256 in hex behind `sha256=`; Shopify: HMAC-SHA256 in base64 (its package signs sign-ins only).
    Both sign the body alone.
    """
    digest = hmac.new(b"hush", body, hashlib.sha256).digest()
    made = {
        schemes.GITHUB: ("X-Hub-Signature-256", f"sha256={digest.hex()}"),
        schemes.SHOPIFY: ("X-Shopify-Hmac-SHA256", base64.b64encode(digest).decode()),
    }
    for scheme, header in made.items():
        for secrets in (["hush"], ["other", "hush"], ["hush", "new"]):
            active = [Secret(one) for one in secrets]
            assert verify(scheme, active, Message([header], body), NOW).accepted
            assert not verify(scheme, active, Message([header], body + b" "), NOW).accepted
        assert not verify(scheme, [Secret("other")], Message([header], body), NOW).accepted


@pytest.mark.req("TRIG-1.vendors")
def test_what_we_hold_for_signed_the_senders_own_packages_hold_for_signed() -> None:
    import stripe
    from retell.lib import webhook_auth
    from slack_sdk.signature import Clock, SignatureVerifier

    class Then(Clock):
        def now(self) -> float:
            return SECONDS

    headers, secret = sent("stripe", BODY)
    assert stripe.WebhookSignature.verify_header(BODY.decode(), headers[0][1], secret, tolerance=None)
    headers, secret = sent("slack", BODY)
    assert SignatureVerifier(secret, Then()).is_valid_request(BODY, dict(headers))
    headers, secret = sent("retell", BODY)
    assert webhook_auth.symmetric["verify"](BODY.decode(), secret, headers[0][1], {"timestamp": NOW})  # pyright: ignore[reportCallIssue]


@pytest.mark.req("TRIG-1.touched")
@given(kind=st.sampled_from(KINDS), where=st.integers(0), bit=st.integers(0, 7))
def test_a_message_of_which_one_bit_of_the_body_is_changed_is_refused(kind: str, where: int, bit: int) -> None:
    body = body_for(kind)
    headers, secret = sent(kind, body)
    touched = bytearray(body)
    touched[where % len(body)] ^= 1 << bit

    assert not judge(kind, headers, secret, bytes(touched)).accepted


UNSIGNED = {"x-github-delivery", "x-shopify-webhook-id"}
"""Their senders sign the body alone."""


@pytest.mark.req("TRIG-1.touched")
@given(kind=st.sampled_from(KINDS), which=st.integers(0), where=st.integers(0), bit=st.integers(0, 6))
def test_a_message_of_which_one_bit_of_a_signed_header_is_changed_is_refused(
    kind: str, which: int, where: int, bit: int
) -> None:
    body = body_for(kind)
    headers, secret = sent(kind, body)
    signed = [index for index, (name, _) in enumerate(headers) if name not in UNSIGNED]
    index = signed[which % len(signed)]
    name, value = headers[index]
    place = where % len(value)
    headers[index] = (name, value[:place] + chr(ord(value[place]) ^ 1 << bit) + value[place + 1 :])

    assert not judge(kind, headers, secret, body).accepted


@pytest.mark.req("TRIG-1.touched")
@pytest.mark.parametrize("kind", KINDS)
@given(text=st.text(max_size=200))
def test_whatever_stands_in_the_headers_is_refused_without_an_error(kind: str, text: str) -> None:
    headers, secret = sent(kind, BODY)

    assert not judge(kind, [(name, text) for name, _ in headers], secret, BODY).accepted


@pytest.mark.req("TRIG-1.replay")
@pytest.mark.parametrize("kind", DATED)
@pytest.mark.parametrize(
    ("off", "reason"), [(0, "ok"), (300, "ok"), (-300, "ok"), (301, "too-old"), (-301, "too-new"), (86_400, "too-old")]
)
def test_the_time_of_signing_may_be_five_minutes_off_in_either_direction(kind: str, off: int, reason: str) -> None:
    body = body_for(kind)
    headers, secret = sent(kind, body)

    assert judge(kind, headers, secret, body, NOW + off * 1000).reason == reason


@pytest.mark.req("TRIG-1.rotation")
@pytest.mark.parametrize("kind", ["stripe", "github", "retell"])
def test_an_old_secret_counts_until_it_retires(kind: str) -> None:
    headers, secret = sent(kind, BODY, secret="old")
    both = [Secret("new"), Secret(secret, retire_at=NOW + 1)]
    message = Message(headers, BODY)

    assert verify(scheme_of(kind), both, message, NOW).accepted
    assert (
        verify(scheme_of(kind), [Secret("new"), Secret(secret, retire_at=NOW)], message, NOW).reason == "bad-signature"
    )
    assert verify(scheme_of(kind), [], message, NOW).reason == "no-secret"


@pytest.mark.req("TRIG-1.rotation")
def test_one_good_signature_among_several_is_enough() -> None:
    headers, secret = sent("standard", BODY)
    several = [*headers[:2], ("webhook-signature", f"v1,{'A' * 43}= v2,what v1a,zzz {headers[2][1]}")]
    assert judge("standard", several, secret, BODY).accepted

    headers, secret = sent("stripe", BODY)
    good = headers[0][1]
    assert judge("stripe", [("stripe-signature", f"{good},v1={'0' * 64},v0=1")], secret, BODY).accepted
    only_test = [("stripe-signature", good.replace("v1=", "v0="))]
    assert judge("stripe", only_test, secret, BODY).reason == "bad-format"


@pytest.mark.req("TRIG-1.strict")
@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_or_doubled_signature_header_is_refused(kind: str) -> None:
    body = body_for(kind)
    headers, secret = sent(kind, body)
    name = scheme_of(kind).header
    kept = [one for one in headers if one[0].lower() != name]

    assert judge(kind, kept, secret, body).reason == "no-signature"
    assert judge(kind, [*headers, *headers], secret, body).reason == "bad-format"


@pytest.mark.req("TRIG-1.keys")
def test_stripe_and_standard_webhooks_read_the_same_secret_differently() -> None:
    headers, _ = sent("stripe", BODY, secret=SHARED)
    assert judge("stripe", headers, SHARED, BODY).accepted
    headers, _ = sent("stripe", BODY, secret=base64.b64decode(SHARED[6:]).decode())
    assert not judge("stripe", headers, SHARED, BODY).accepted
    headers, secret = sent("standard", BODY)
    assert not judge("standard", headers, "whsec_" + base64.b64encode(b"short").decode(), BODY).accepted
    assert judge("standard", headers, secret.removeprefix("whsec_"), BODY).accepted


@pytest.mark.req("TRIG-1.keys")
def test_a_public_key_is_read_as_pem_hex_or_base64() -> None:
    body = dated_body()
    headers, _ = sent("highlevel", body)
    pem = PRIVATE.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    for written in (pem, PUBLIC.hex(), base64.b64encode(PUBLIC).decode()):
        assert judge("highlevel", headers, written, body).accepted
    assert not judge("highlevel", headers, "00" * 32, body).accepted


@pytest.mark.req("TRIG-1.hmac")
def test_an_hmac_of_ones_own_says_where_everything_stands() -> None:
    settings = HmacSettings(
        header="X-Proof", prefix="sig=", algorithm="hmac-sha512", encoding="base64", key="hex",
        signed="{time}|{id}|{body}", time_header="X-Time", time_unit="ms", tolerance_seconds=10, id_header="X-Id",
    )  # fmt: skip
    proof = base64.b64encode(hmac.new(b"\x01\x02", b"%d|7|%s" % (NOW, BODY), hashlib.sha512).digest()).decode()
    headers = [("X-Proof", f"sig={proof}"), ("X-Time", str(NOW)), ("X-Id", "7")]
    scheme = hmac_scheme(settings)

    assert verify(scheme, [Secret("0102")], Message(headers, BODY), NOW + 10_000) == Verdict("ok", "7")
    assert verify(scheme, [Secret("0102")], Message(headers, BODY), NOW + 10_001).reason == "too-old"


@pytest.mark.req("TRIG-1.dedupe")
def test_without_an_id_signature_and_body_are_the_id() -> None:
    headers, secret = sent("retell", BODY)
    later, _ = sent("retell", BODY, at=SECONDS + 1)

    first, second = judge("retell", headers, secret, BODY), judge("retell", later, secret, BODY)

    assert first.id == judge("retell", headers, secret, BODY).id
    assert first.id != second.id


@pytest.mark.req("TRIG-1.hmac", "TRIG-1.dedupe")
@pytest.mark.parametrize("encoding", ["hex", "base64", "base64url"])
def test_a_digest_has_the_texts_of_its_encoding_and_all_are_one_delivery(encoding: schemes.Encoding) -> None:
    digest = hmac.new(b"key", BODY, hashlib.sha256).digest()
    plain, url = base64.b64encode(digest).decode(), base64.urlsafe_b64encode(digest).decode()
    texts = {
        "hex": [digest.hex(), digest.hex().upper()], "base64": [plain], "base64url": [url, url.rstrip("=")],
    }[encoding]  # fmt: skip
    scheme = hmac_scheme(HmacSettings(encoding=encoding))

    def judged(text: str) -> Verdict:
        return verify(scheme, [Secret("key")], Message([("x-signature", text)], BODY), NOW)

    verdicts = [judged(text) for text in texts]
    assert all(one.accepted for one in verdicts)
    assert len({one.id for one in verdicts}) == 1
    for text in (texts[0] + "=", texts[0][:-2], " " + texts[0], texts[0] + "\n", texts[0][:-1] + "!"):
        assert not judged(text).accepted


def test_a_secret_is_not_shown() -> None:
    assert "s3cret" not in repr(Secret("s3cret"))
    assert json.loads(BODY)["id"] == "evt_1"
