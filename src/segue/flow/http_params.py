"""One shape for the parameters of HTTP requests, whatever document the spelling comes from.

Normal form: `method url headers query json body form auth connection follow_redirects max_bytes expect`. The step's own
`timeout` and `retry` are modifiers, not parameters.
"""

from __future__ import annotations

import re
from typing import Final

from segue.flow import codes
from segue.flow.document import Node
from segue.flow.model import JsonValue, RawMap
from segue.flow.nearest import suggested
from segue.flow.reader import Reader
from segue.flow.verbs import HTTP_KEYS

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_BODY_KEYS = ("json", "body", "form", "multipart")
_REQUEST_LINE = re.compile(r"(?:(?P<method>[A-Za-z]+)\s+)?(?P<url>\S.*)\Z", re.DOTALL)


def read_http(reader: Reader, node: Node, path: str, *, beside: frozenset[str] = frozenset()) -> RawMap:
    """The parameters of `http: {…}`, `http: GET https://…`, or a canvas node's settings.

    `beside` are keys of the same map that the caller reads itself (timeout, retry, conditions, …).
    """
    if node.text is not None:
        return _request_line(reader, node, node.text, path)
    entries = reader.map_of(node, "http")
    if entries is None:
        return {}
    entries = reader.check_keys(entries, {*HTTP_KEYS, *beside}, "http")
    params: RawMap = {}
    for spelling, child in entries.items():
        key = HTTP_KEYS.get(spelling)
        if key is None or spelling in beside:
            continue
        name = _body_name(spelling, child) if spelling == "bodyTemplate" else key.name
        if child.is_null and name not in ("json", "body"):
            continue
        if name in params:
            reader.problem(codes.CONFLICT, child, f"`{spelling}` says the same as `{name}`", at_key=True)
            continue
        value = _value(reader, child, name)
        if value is not None or name in ("json", "body"):
            params[name] = value
            reader.place(path, f"params.{name}", child)
    return _finish(reader, node, params, path)


def _finish(reader: Reader, node: Node, params: RawMap, path: str) -> RawMap:
    bodies = [name for name in params if name in _BODY_KEYS]
    if len(bodies) > 1:
        second = reader.document.places.get((path, f"params.{bodies[1]}"), node)
        message = f"a request has one body; `{bodies[0]}` and `{bodies[1]}` are given"
        reader.problem(codes.CONFLICT, second, message, at_key=True)
    if not params.get("url"):
        reader.missing(node, "http", "url")
    params.setdefault("method", "POST" if bodies else "GET")
    return params


def _value(reader: Reader, node: Node, name: str) -> JsonValue:
    if name == "method":
        word = reader.text(node, "method")
        if word is None or "{{" in word or word.startswith("$"):
            return word
        if word.upper() not in METHODS:
            _no_method(reader, node, word, "")
            return None
        return word.upper()
    if name == "url":
        return reader.text(node, "url")
    if name in ("headers", "query", "form", "multipart", "auth"):
        if node.text is not None and (node.text.startswith("$") or "{{" in node.text):
            return node.text
        return reader.raw_map(node, name)
    if name == "follow_redirects":
        return reader.boolean(node, name)
    if name == "max_bytes":
        return reader.integer(node, name, minimum=1, maximum=2**40)
    return node.plain()


def _body_name(spelling: str, node: Node) -> str:
    """Document A's `bodyTemplate` holds JSON as a rule: a map or a lone template is sent as JSON, other text as it
    is.
    """
    del spelling
    text = node.text
    if text is None:
        return "json"
    stripped = text.strip()
    return "json" if stripped.startswith("{{") and stripped.endswith("}}") else "body"


def _request_line(reader: Reader, node: Node, line: str, path: str) -> RawMap:
    found = _REQUEST_LINE.match(line.strip())
    method, url = (found["method"], found["url"]) if found else (None, "")
    reader.place(path, "params.url", node)
    if method is not None and method.upper() not in METHODS:
        _no_method(reader, node, method, line.strip()[len(method) :])
    return {"method": (method or "GET").upper(), "url": url}


def _no_method(reader: Reader, node: Node, word: str, rest: str) -> None:
    """Report what is no method; `rest` is what stands behind it in the value."""
    hint = reader.did_you_mean(word, METHODS)
    patch = None if hint is None else reader.word_patch(node, suggested(hint) + rest)
    message = f'"{word[:20]}" is no HTTP method; known: {", ".join(METHODS)}'
    reader.problem(codes.NOT_ALLOWED, node, message, suggestion=hint, patch=patch)
