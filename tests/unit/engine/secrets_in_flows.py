"""Random expressions over planted secrets, and what must not be found of them in anything that is shown."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from hypothesis import strategies as st

SECRETS: Final = {"token": "Zx9-canary/kA+7=qv", "key": "päss\"w&rd 'Tz4'"}
DECLARED: Final = {name: {"from": f"env:PLANTED_{name.upper()}"} for name in SECRETS}
ENVIRONMENT: Final = {f"PLANTED_{name.upper()}": value for name, value in SECRETS.items()}
PIECE_LENGTH: Final = 8


@dataclass(frozen=True)
class Written:
    """An expression. `tainted`: it reads a secret. `whole`: a secret stands in its value as it is, or encoded once."""

    text: str
    tainted: bool
    whole: bool = True


_SECRET = st.sampled_from([
    Written("secrets.token", tainted=True), Written("secrets['key']", tainted=True),
])  # fmt: skip
_PLAIN = st.sampled_from([
    Written("'plain'", tainted=False), Written("inputs.who", tainted=False), Written("string(7)", tainted=False),
])  # fmt: skip
_ENCODED = ("base64({})", "base64Url({})", "hex({})", "urlEncode({})", "toJson({{'k': {}}})", "escapeHtml({})")
_DERIVED = (
    "upper({})", "substring({} + '.........', 0, 9)", "substring({} + '............', 3, 12)", "sha256({})", "md5({})",
    "hmac({}, 'x', 'sha256')", "replace({}, 'a', 'o')", "[{}].map(one, upper(one))[0]", "string(size({}))",
    "truncate({}, 10)", "reverse({})",
)  # fmt: skip


def _joined(parts: tuple[Written, Written]) -> Written:
    one, other = parts
    whole = all(part.whole or not part.tainted for part in parts)
    return Written(f"({one.text} + '|' + {other.text})", tainted=one.tainted or other.tainted, whole=whole)


def _chosen(parts: tuple[Written, Written]) -> Written:
    one, other = parts
    whole = all(part.whole or not part.tainted for part in parts)
    text = f"(size(inputs.who) > 3 ? {one.text} : {other.text})"
    return Written(text, tainted=one.tainted or other.tainted, whole=whole)


def _wrapped(part: Written, form: str, *, whole: bool) -> Written:
    return Written(form.format(part.text), tainted=part.tainted, whole=whole)


_texts = st.recursive(_SECRET | _PLAIN, lambda inner: st.tuples(inner, inner).map(_joined), max_leaves=3)
_once = _texts | st.builds(_wrapped, _texts, st.sampled_from(_ENCODED), whole=st.just(True))
expressions = st.recursive(
    _once,
    lambda inner: (
        st.builds(_wrapped, inner, st.sampled_from(_ENCODED + _DERIVED), whole=st.just(False))
        | st.tuples(inner, inner).map(_chosen)
        | st.builds(_wrapped, inner, st.sampled_from(["[{}, 'z'][0]", "{{'a': {}}}.a"]), whole=st.just(False))
    ),
    max_leaves=4,
)
"""Expressions whose value is a text."""


def _collected(part: Written, form: str) -> Written:
    return Written(form.format(part.text), tainted=part.tainted, whole=part.whole)


values = expressions | st.builds(
    _collected, expressions, st.sampled_from(["[{}]", "{{'n': {{'k': [1, {}]}}}}", "[1, 2].map(i, string(i) + {})"])
)
"""Expressions whose value is a text, a list or a map."""


@dataclass(frozen=True)
class Parameter:
    """One parameter as written, and what a dry run shows of it (None: not said here, since nothing in it is secret)."""

    raw: Any
    tainted: bool
    whole: bool
    shown: Any


def _alone(part: Written) -> Parameter:
    return Parameter(f"{{{{ {part.text} }}}}", part.tainted, part.whole, "***" if part.tainted else None)


def _in_text(part: Written) -> Parameter:
    raw = f"before {{{{ {part.text} }}}} after"
    return Parameter(raw, part.tainted, part.whole, "before *** after" if part.tainted else None)


def _nested(part: Parameter) -> Parameter:
    shown = {"list": [1, {"deep": part.shown}]} if part.tainted else None
    return Parameter({"list": [1, {"deep": part.raw}]}, part.tainted, part.whole, shown)


_alone_or_inside = st.builds(_alone, values) | st.builds(_in_text, values)
parameters = st.dictionaries(
    st.sampled_from(["one", "two", "three"]), _alone_or_inside | st.builds(_nested, _alone_or_inside), min_size=1
)


def forms(secret: str) -> list[str]:
    """The secret, and its common encodings, written here once more: the code's own table is what is tested."""
    raw = secret.encode()
    encoded = [base64.b64encode(raw).decode().rstrip("="), base64.urlsafe_b64encode(raw).decode().rstrip("=")]
    return [secret, *encoded, raw.hex(), raw.hex().upper(), quote(secret, safe="")]


def whole_leaks(text: str) -> list[str]:
    """The forms of planted secrets that are in the text."""
    return [form for secret in SECRETS.values() for form in forms(secret) if form in text]


def leaks(text: str) -> list[str]:
    """Pieces of planted secrets, of eight characters and more, in whatever form."""
    found: list[str] = []
    for secret in SECRETS.values():
        for form in forms(secret):
            pieces = (form[at : at + PIECE_LENGTH] for at in range(len(form) - PIECE_LENGTH + 1))
            found += [piece for piece in pieces if piece in text]
    return found
