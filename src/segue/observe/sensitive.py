"""The tables behind masking: which names hold secrets, how a secret looks once encoded, what personal data looks
like.

Names are compared without case, `-`, `_`, `.` and blanks, so `X-API-Key`, `x_api_key` and `xApiKey` are one name. The
tables name what HTTP (RFC 9110 and 6265), OAuth 2.0 (RFC 6749), the cloud providers' signed requests and common
configuration files call a secret; a caller adds its own names to a `Masker`, never to these tables.
"""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Callable, Iterator
from re import Pattern
from typing import Final
from urllib.parse import quote, quote_plus

# Whole names that are sensitive, normalised by `normalise_name`.
SENSITIVE_NAMES: Final[frozenset[str]] = frozenset({
    # headers
    "authorization", "proxyauthorization", "cookie", "setcookie", "xapikey", "apikey", "xauthtoken", "xaccesstoken",
    "xcsrftoken", "xxsrftoken", "xamzsecuritytoken", "xgoogapikey", "ocpapimsubscriptionkey", "xsignature",
    "xhubsignature", "xhubsignature256", "stripesignature", "xslacksignature", "xvaulttoken", "privatetoken",
    "xn8napikey",
    # fields and query parameters
    "token", "password", "passwd", "pwd", "passphrase", "passcode", "pin", "otp", "secret", "credential",
    "credentials", "auth", "accesskey", "accesskeyid", "awsaccesskeyid", "secretkey", "privatekey", "signingkey",
    "encryptionkey", "masterkey", "subscriptionkey", "sharedaccesskey", "connectionstring", "dsn", "jwt", "bearer",
    "sessionid", "sid", "sig", "signature", "clientassertion", "codeverifier", "refreshtoken", "accesstoken",
    "idtoken", "clientsecret", "xamzsignature", "xamzcredential", "xgoogsignature", "xgoogcredential", "cvv", "cvc",
    "ssn",
})  # fmt: skip

# A name is sensitive too if it ends so: `stripe_secret_key`, `db_password`, `githubToken`.
SENSITIVE_ENDINGS: Final[tuple[str, ...]] = (
    "password", "passwd", "passphrase", "secret", "secretkey", "token", "apikey", "privatekey", "accesskey",
    "credentials",
)  # fmt: skip

# Names that end like a secret and are none: cursors of paged answers. Hiding them would hide why a loop does not end.
NOT_SENSITIVE_NAMES: Final[frozenset[str]] = frozenset({
    "pagetoken", "nextpagetoken", "prevpagetoken", "previouspagetoken", "nexttoken", "continuationtoken",
    "nextcontinuationtoken", "synctoken", "nextsynctoken", "cancellationtoken",
})  # fmt: skip

# Shorter values are not looked for: hiding every "1" or "abc" of a text would destroy it and protect nothing.
VALUE_LENGTH_MIN: Final = 4
# Values from this length on are also looked for in lower and upper case.
CASED_LENGTH_MIN: Final = 8
# A piece of base64 cut from a longer text must be this long to be the secret's own and not chance.
BASE64_PIECE_LENGTH_MIN: Final = 8
# Lines of a many-line secret (a PEM key) are looked for one by one from this length on.
LINE_LENGTH_MIN: Final = 16

_PAIR = re.compile(r"..")
_PERCENT = re.compile(r"%[0-9A-F]{2}")
_SEPARATORS = str.maketrans("", "", "-_. ")


def normalise_name(name: str) -> str:
    """`X-Api-Key` → `xapikey`: the form in which names are compared."""
    return name.translate(_SEPARATORS).lower()


def forms_of(value: str) -> Iterator[str]:
    """Every text under which the secret `value` is looked for: itself, URL-encoded, JSON-escaped (also twice, as in a
    log line of JSON), as Python
    and HTML write it, in hexadecimal digits, base64 (RFC 4648).

    Base64 is also looked for inside a longer encoded text, at each of the three alignments, as in `Basic
    <user:password>`: only the characters that depend on the secret alone are kept. Forms may repeat; the caller makes
    a set of them.
    """
    yield value
    if len(value) >= CASED_LENGTH_MIN:
        for cased in (value.lower(), value.upper()):  # a host's name, a method
            yield from (cased, quote(cased, safe=""), quote(cased), quote(cased, safe="").lower())
    for encoded in (quote(value, safe=""), quote(value), quote_plus(value)):
        yield encoded
        yield _PERCENT.sub(lambda match: match[0].lower(), encoded)
    yield from _json_forms(value)
    yield repr(value)[1:-1]
    yield html.escape(value)
    yield html.escape(value, quote=False)
    yield from _hex_forms(value.encode())
    yield from _base64_forms(value.encode())
    for line in value.splitlines():
        if LINE_LENGTH_MIN <= len(line.strip()) < len(value):
            yield line.strip()


def _json_forms(value: str) -> Iterator[str]:
    for is_ascii in (True, False):
        once = json.dumps(value, ensure_ascii=is_ascii)[1:-1]
        yield once
        yield once.replace("/", "\\/")
        for is_all_ascii in (True, False):
            yield json.dumps(once, ensure_ascii=is_all_ascii)[1:-1]


def _hex_forms(raw: bytes) -> Iterator[str]:
    for digits in (raw.hex(), raw.hex().upper()):
        yield digits
        pairs = _PAIR.findall(digits)
        yield ":".join(pairs)
        yield "".join(f"%{pair}" for pair in pairs)
        yield "".join(f"\\x{pair}" for pair in pairs)


def _base64_forms(raw: bytes) -> Iterator[str]:
    for alignment in range(3):
        encoded = base64.b64encode(b"\0" * alignment + raw).decode()
        # The first characters also carry bits of what stands before the secret, the last ones of what follows it.
        start = (0, 2, 3)[alignment]
        used_bits = (alignment + len(raw)) * 8
        piece = encoded[start : used_bits // 6]
        if len(piece) >= BASE64_PIECE_LENGTH_MIN:
            yield piece
            yield piece.replace("+", "-").replace("/", "_")
        if alignment == 0:
            whole = encoded.rstrip("=")
            if len(whole) >= BASE64_PIECE_LENGTH_MIN:
                yield whole
                yield whole.replace("+", "-").replace("/", "_")


def _digits(text: str) -> str:
    return "".join(character for character in text if character.isdigit())


# First digits and lengths of the networks' numbers (ISO/IEC 7812-1, and what the networks publish). Without them, one
# in ten times in milliseconds would pass for a card.
_CARD = re.compile(r"4(?:\d{12}|\d{15}|\d{18})|(?:5[0-8]|6\d|2[2-7]|35)\d{14,17}|3[47]\d{13}|3(?:0|6|8)\d{12,17}")


def is_card_number(text: str) -> bool:
    """Whether the digits of `text` are a payment card number: a known beginning, 13 to 19 digits, and a right Luhn sum
    (ISO/IEC 7812-1).
    """
    digits = _digits(text)
    if _CARD.fullmatch(digits) is None:
        return False
    total = 0
    for index, digit in enumerate(reversed(digits)):
        doubled = int(digit) * (2 if index % 2 else 1)
        total += doubled - 9 if doubled > 9 else doubled
    return total % 10 == 0


def is_iban(text: str) -> bool:
    """Whether `text` is an International Bank Account Number: 15 to 34 characters whose check digits are right
    (ISO 13616, ISO 7064 MOD 97-10). Blanks do not count.
    """
    plain = "".join(text.split()).upper()
    if not 15 <= len(plain) <= 34:
        return False
    return int("".join(str(int(character, 36)) for character in plain[4:] + plain[:4])) % 97 == 1


def _is_address(text: str) -> bool:
    from ipaddress import ip_address  # noqa: PLC0415 - few programs ask for this rule

    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _is_phone_number(text: str) -> bool:
    # E.164 allows at most 15 digits; fewer than 8 are more often an amount or an id than a number one can call.
    return 8 <= len(_digits(text)) <= 15


def _always(text: str) -> bool:
    return bool(text)


# Personal data, by rule name: on in log lines, elsewhere if a flow asks for it, since its data is what it works with.
PERSONAL_DATA_RULES: Final[dict[str, tuple[Pattern[str], Callable[[str], bool]]]] = {
    "email": (
        re.compile(r"(?<![\w.+-])[A-Za-z0-9_%+-][\w.%+-]{0,63}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8}"),
        _always,
    ),
    # Only numbers that say they are one: with + and country code, or with separators.
    "phone": (
        re.compile(r"(?<![\w+])(?:\+\d(?:[ ().-]{0,2}\d){6,14}|\(\d{2,5}\)[ -]?\d(?:[ -]?\d){4,10})(?!\w)"),
        _is_phone_number,
    ),
    "card": (re.compile(r"(?<![\w.-])\d(?:[ -]?\d){12,18}(?![\w-])"), is_card_number),
    "iban": (
        re.compile(r"(?<!\w)[A-Z]{2}\d{2}(?:[A-Z0-9]{11,30}|(?: [A-Z0-9]{4}){2,7}(?: [A-Z0-9]{1,3})?)(?!\w)"),
        is_iban,
    ),
    "ip": (re.compile(r"(?<![\w.:])(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9A-Fa-f:]{2,39})(?![\w:])"), _is_address),
}
LOG_RULES: Final = ("card", "email", "iban", "phone")
"""What is hidden in every log line. Addresses of machines are not: one cannot run a server without them."""
