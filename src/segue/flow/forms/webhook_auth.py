"""Reads what a webhook asks of its senders: `auth:` and `secret:`."""

from __future__ import annotations

import re
from typing import Final, cast

from segue.flow import codes
from segue.flow.document import Node
from segue.flow.model import JsonValue, RawMap
from segue.flow.nearest import suggested
from segue.flow.reader import Reader
from segue.flow.trigger_keys import (
    AUTH_ALIASES,
    AUTH_KEYS,
    AUTH_KINDS,
    AUTH_TYPE_KEYS,
    AUTH_WORDS,
    PUBLIC_ALGORITHMS,
    SECRET_PLACES,
    SHARED_ALGORITHMS,
)

_HEADER: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}\Z")
_OF_FLOW: Final = re.compile(r"\$secrets\.[A-Za-z_]\w*\Z")
_PLACEHOLDER: Final = re.compile(r"\{(\w*)\}")
_HEADERS: Final = ("header", "time_header", "id_header")
_JWKS_ADDRESS: Final = re.compile(r"https?://[^\s@#]+\Z")


def check_auth(reader: Reader, node: Node, key: str) -> JsonValue:
    """A kind's name, or a map with `type` and its settings."""
    if node.entries is None:
        return node.text if _kind(reader, node) is not None else None
    named = next((node.entries[word] for word in AUTH_TYPE_KEYS if word in node.entries), None)
    if named is None:
        reader.missing(node, "auth", "type")
        return node.plain()
    kind = _kind(reader, named)
    if kind is None:
        return node.plain()
    known = [one.name for one in AUTH_KEYS[kind]]
    extra = () if kind == "none" else ("secret",)
    entries = reader.check_keys(node.entries, (*AUTH_TYPE_KEYS, *extra, *known), f"`auth` of the kind {kind}")
    for name, child in entries.items():
        if not child.is_null and name in (*known, *extra):
            _setting(reader, name, child)
    if kind == "hmac":
        _check_template(reader, node, entries)
    elif kind == "jwt":
        _check_token(reader, node, entries)
    elif kind == "token" and "query" in entries and entries.keys() & {"header", "prefix"}:
        message = "a token stands in a header or in the query, not in both"
        reader.problem(codes.CONFLICT, entries["query"], message, at_key=True)
    return node.plain()


def check_secret(reader: Reader, node: Node, key: str) -> JsonValue:
    """Where the secret stands, or a list while one replaces the other. A secret's own text is refused."""
    for child in [node] if node.items is None else node.items:
        place = child.get("from") if child.entries is not None else child
        text = "" if place is None else place.text or ""
        if text.startswith(SECRET_PLACES) or _OF_FLOW.match(text):
            if _OF_FLOW.match(text):
                reader.document.places.setdefault(("", f"secret of {child.path()}"), child)
            continue
        reader.problem(
            codes.NOT_ALLOWED, child, "a webhook's `secret` is a place, not the secret: a flow is read by many",
            suggestion="write $secrets.name, secret:NAME, env:NAME or file:PATH, or leave it out to have one generated",
        )  # fmt: skip
    return node.plain()


def _kind(reader: Reader, node: Node) -> str | None:
    word = (node.text or "").lower()
    kind = AUTH_ALIASES.get(word, word)
    if kind in AUTH_KINDS:
        return kind
    hint = reader.did_you_mean(word, AUTH_KINDS) if word else None
    patch = None if hint is None else reader.word_patch(node, suggested(hint))
    message = f"auth is one of {', '.join(AUTH_KINDS)}, not {node.kind_name()}"
    reader.problem(codes.NOT_ALLOWED, node, message, suggestion=hint, patch=patch)
    return None


def _setting(reader: Reader, name: str, node: Node) -> None:
    if name == "secret":
        check_secret(reader, node, name)
    elif name in AUTH_WORDS:
        reader.choice(node, name, {word: word for word in AUTH_WORDS[name]})
    elif name == "tolerance":
        reader.duration(node, name, maximum=86_400.0)
    elif name in _HEADERS:
        found = reader.name(node, name)
        if found is not None and _HEADER.match(found) is None:
            reader.problem(codes.NOT_ALLOWED, node, f"{name}: {node.kind_name()} is no header's name")
    elif name == "algorithms":
        for child in [node] if node.items is None else node.items:
            reader.choice(child, name, {word: word for word in (*PUBLIC_ALGORITHMS, *SHARED_ALGORITHMS)})
    elif name == "jwks":
        _check_keys(reader, node)
    elif name in ("prefix", "separator"):
        reader.text(node, name)
    else:
        reader.name(node, name)


def _check_template(reader: Reader, node: Node, entries: dict[str, Node]) -> None:
    """The signed bytes hold the body; what is looked at beside it is signed, too."""
    signed = entries.get("signed")
    template = "{body}" if signed is None else signed.text or ""
    held = set(_PLACEHOLDER.findall(template))
    unknown = sorted(held - {"body", "time", "id"})
    if unknown or "body" not in held:
        word = f"{{{unknown[0]}}} is none of {{body}}, {{time}}, {{id}}" if unknown else "{body} is not in it"
        reader.problem(codes.NOT_ALLOWED, signed, f"signed: {word}")
    for name, source in (("time", "time_header"), ("id", "id_header")):
        if name in held and source not in entries:
            reader.missing(node, f"`signed` with {{{name}}}", source)
        if name == "time" and source in entries and name not in held:
            message = "a time that is not signed proves nothing: anybody could change it"
            hint = "put {time} into `signed`, or leave `time_header` out"
            reader.problem(codes.CONFLICT, entries[source], message, at_key=True, suggestion=hint)
    for name in ("time_unit", "tolerance"):
        if name in entries and "time_header" not in entries:
            reader.missing(entries[name], name, "time_header")
    if "id_header" in entries and "id_field" in entries:
        message = "a message's id stands in a header or in the body, not in both"
        reader.problem(codes.CONFLICT, entries["id_field"], message, at_key=True)
    algorithm, key = (str(entries[name].scalar) if name in entries else "" for name in ("algorithm", "key"))
    if (algorithm == "ed25519") != (key == "public"):
        where = entries.get("algorithm" if algorithm == "ed25519" else "key")
        message = "`algorithm: ed25519` goes with `key: public`, and no other with it"
        reader.problem(codes.CONFLICT, where, message)


def _check_token(reader: Reader, node: Node, entries: dict[str, Node]) -> None:
    """One family of algorithms: a public key must never be taken for a shared secret."""
    has_keys = "jwks" in entries
    if has_keys and "secret" in entries:
        message = "a token is proved by the issuer's keys or by a shared secret, not by both"
        reader.problem(codes.CONFLICT, entries["secret"], message, at_key=True)
    named = entries.get("algorithms")
    taken = PUBLIC_ALGORITHMS if has_keys else SHARED_ALGORITHMS
    for child in [] if named is None else [named] if named.items is None else named.items:
        if child.text in (*PUBLIC_ALGORITHMS, *SHARED_ALGORITHMS) and child.text not in taken:
            proof = "the issuer's keys (`jwks`)" if has_keys else "a shared secret"
            message = f"{child.text} does not go with {proof}; known for it: {', '.join(taken)}"
            reader.problem(codes.CONFLICT, child, message)


def _check_keys(reader: Reader, node: Node) -> None:
    if node.text is not None and _JWKS_ADDRESS.match(node.text):
        return
    keys = node.get("keys")
    if keys is None or keys.items is None or not keys.items:
        reader.wrong_type(node, "jwks", "the issuer's JWK set (a map with the list `keys`), or its https address")
        return
    for child in keys.items:
        entries = cast("RawMap", child.plain()) if child.entries is not None else {}
        if entries.get("kty") not in ("RSA", "EC", "OKP"):
            reader.problem(codes.NOT_ALLOWED, child, "a key of `jwks` is a public one: RSA, EC or OKP")
        elif entries.keys() & {"d", "p", "q"}:
            reader.problem(codes.NOT_ALLOWED, child, "a key of `jwks` holds its private part, which nobody may have")
