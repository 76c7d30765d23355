"""Reads the verbs that hold no steps of their own: calls, requests, polls, waits, values, log lines and endings."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from segue.flow import codes
from segue.flow.approval import DECISION_FIELDS, decision_schema
from segue.flow.document import Node
from segue.flow.durations import MAX_BUFFER_SECONDS
from segue.flow.forms.mapping import read_mappings
from segue.flow.forms.modifiers import read_composites
from segue.flow.http_params import read_http
from segue.flow.inputs_schema import schema_of_value
from segue.flow.model import Block, Callback, JsonValue, Poll, RawMap, StepKind
from segue.flow.policies import read_callback, read_poll
from segue.flow.reader import Reader, first_of
from segue.flow.verbs import HTTP_KEYS, POLL_CALL_KEYS, VERBS, keys_of

_INSTANT = re.compile(r"\d{4}-\d{2}-\d{2}(?:[Tt ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:[Zz]|[+-]\d{2}:?\d{2})?)?\Z")
_ON_APPROVAL_TIMEOUT = {"approve": "approve", "reject": "reject", "fail": "fail"}
_LEVELS = {"debug": "debug", "info": "info", "warn": "warn", "warning": "warn", "error": "error"}
_LOG_MAP_KEYS = frozenset(("message", "level", "data"))
_FAIL_KEYS = frozenset(("message", "code", "data", "category"))


class Parts:
    """What a verb gives to its step."""

    def __init__(self, kind: StepKind, params: RawMap | None = None, **fields: Any) -> None:
        self.kind: StepKind = kind
        self.params: RawMap = {} if params is None else params
        self.blocks: tuple[Block, ...] = ()
        self.fields: dict[str, Any] = {key: value for key, value in fields.items() if value is not None}
        self.extras: RawMap = {}


def is_composite_key(key: str) -> bool:
    """Whether the key, a verb by itself, stands beside a call as its second half."""
    return key in ("wait", "poll")


def read_leaf_verb(
    reader: Reader, verb: str, entries: dict[str, Node], path: str, *, use: str | None, id: str
) -> Parts:
    """The parts of a step with the given verb. `use` is the name it uses if it was written without a verb."""
    if verb in ("use", "call", "adapter", "python"):
        return _call(reader, verb, entries, path, use, id)
    return _READERS[verb](reader, entries[verb], entries, path)


def _call(reader: Reader, verb: str, entries: dict[str, Node], path: str, use: str | None, id: str) -> Parts:
    params_node = entries.get("params")
    if use is None:
        use, params_node = _target(reader, verb, entries, params_node, id, path)
    params = _params(reader, params_node, path)
    poll, callback = read_composites(reader, entries, path)
    return Parts("call", params, use=use, poll=poll, callback=callback)


def _target(
    reader: Reader, verb: str, entries: dict[str, Node], params: Node | None, id: str, path: str
) -> tuple[str, Node | None]:
    node = entries[verb]
    reader.place(path, "use", node)
    if verb == "python" and node.entries is not None:
        inner = reader.check_keys(node.entries, ("function", "name", "params"), "python")
        found = first_of(inner, "function", "name")
        if found is None:
            reader.missing(node, "python", "function")
            return id, params
        return reader.name(found, "function") or id, node.entries.get("params", params)
    if verb != "adapter":
        return reader.name(node, verb) or id, params
    adapter = reader.name(node, "adapter") or id
    action = entries.get("action")
    if action is not None and not action.is_null:
        reader.place(path, "use.action", action)
        return f"{adapter}.{reader.name(action, 'action') or '*'}", params
    return f"{adapter}.*", params


def _params(reader: Reader, node: Node | None, path: str, what: str = "params") -> RawMap:
    if node is None or node.is_null:
        return {}
    entries = reader.map_of(node, what)
    if entries is None:
        return {}
    for key, child in entries.items():
        reader.place(path, f"params.{key}", child)
    reader.place(path, "params", node)
    return {key: child.plain() for key, child in entries.items()}


def _http(reader: Reader, node: Node, entries: dict[str, Node], path: str) -> Parts:
    poll, callback = read_composites(reader, entries, path)
    return Parts("http", read_http(reader, node, path), poll=poll, callback=callback)


def _poll(reader: Reader, node: Node, entries: dict[str, Node], path: str) -> Parts:
    """`poll: {call: …}` or `poll: {url: …}`: what is called, how often, until when."""
    inner = reader.map_of(node, "poll")
    if inner is None:
        return Parts("poll", use="http", poll=Poll())
    poll = read_poll(reader, node, path, known=frozenset(HTTP_KEYS))
    if poll.success_condition is None:
        reader.missing(node, "poll", "success_condition")
    call = [key for key in ("call", "use", "adapter") if key in inner]
    if call:
        use, params_node = _target(reader, call[0], inner, inner.get("params"), "poll", path)
        return Parts("poll", _params(reader, params_node, path), use=use, poll=poll)
    if "http" in inner:
        return Parts("poll", read_http(reader, inner["http"], path), use="http", poll=poll)
    if "url" in inner:
        beside = frozenset(inner) - frozenset(HTTP_KEYS)
        return Parts("poll", read_http(reader, node, path, beside=beside), use="http", poll=poll)
    reader.problem(
        codes.MISSING_KEY, node, "poll needs what is called", at_key=True,
        suggestion=f"add one of {', '.join(key for key in POLL_CALL_KEYS if key not in ('params', 'action'))}, url",
    )  # fmt: skip
    return Parts("poll", use="http", poll=poll)


def _wait(reader: Reader, node: Node, entries: dict[str, Node], path: str) -> Parts:
    if node.entries is None:
        return Parts("wait", {"duration": _delay(reader, node, path)})
    inner = node.entries
    known = keys_of(VERBS["wait"].keys)
    inner = reader.check_keys(inner, known, "wait")
    kinds = [key for key in ("for", "duration", "until", "callback", "event") if key in inner]
    if not kinds:
        reader.missing(node, "wait", "for, until, callback or event")
        return Parts("wait", {"duration": 0.0})
    if len(kinds) > 1:
        message = f"`{kinds[0]}` and `{kinds[1]}`: a step waits for one thing"
        reader.problem(codes.CONFLICT, inner[kinds[1]], message, at_key=True)
    kind = kinds[0]
    if kind == "callback":
        return Parts("wait", {"callback": True}, callback=read_callback(reader, inner[kind], path))
    if kind == "until":
        return Parts("wait", {"until": _until(reader, inner[kind], path)})
    if kind == "event":
        return Parts("wait", _event(reader, inner, path))
    return Parts("wait", {"duration": _delay(reader, inner[kind], path)})


def _event(reader: Reader, inner: dict[str, Node], path: str) -> RawMap:
    """What event is waited for."""
    name = inner["event"]
    reader.place(path, "params.event", name)
    params: RawMap = {"event": reader.text(name, "event") if name.text is None else name.text}
    if (where := inner.get("where")) is not None:
        params["where"] = reader.expression(where, "where")
        reader.place(path, "params.where", where)
    if (buffer := inner.get("buffer")) is not None:
        params["buffer"] = reader.duration(buffer, "buffer", maximum=MAX_BUFFER_SECONDS)
    return {key: value for key, value in params.items() if value is not None}


def _delay(reader: Reader, node: Node, path: str) -> JsonValue:
    """Seconds; or, if it is computed, the value as written."""
    text = node.text
    if text is not None and (text.startswith("$") or "{{" in text):
        reader.place(path, "params.duration", node)
        return text
    return reader.duration(node, "wait") or 0.0


def _until(reader: Reader, node: Node, path: str) -> JsonValue:
    """A time as text, or an expression (a condition place) as a computed value."""
    text = node.text
    if text is not None and _INSTANT.match(text.strip()):
        return text.strip()
    expression = reader.expression(node, "until")
    reader.place(path, "params.until", node)
    return None if expression is None else "{{ " + expression + " }}"


def _set(reader: Reader, node: Node, entries: dict[str, Node], path: str) -> Parts:
    return Parts("set", _params(reader, node, path, "set"))


def _map(reader: Reader, node: Node, entries: dict[str, Node], path: str) -> Parts:
    mappings = node if node.items is not None else node.get("mappings")
    if mappings is not None and mappings.items is not None:
        if node.entries is not None:
            reader.check_keys(node.entries, ("mappings",), "map")
        return Parts("map", {"value": read_mappings(reader, mappings, path)})
    reader.place(path, "params.value", node)
    return Parts("map", {"value": node.plain()})


def _log(reader: Reader, node: Node, entries: dict[str, Node], path: str) -> Parts:
    if node.entries is None or not set(node.entries) <= _LOG_MAP_KEYS or "message" not in node.entries:
        if node.is_null:
            reader.missing(node, "log", "message")
        reader.place(path, "params.message", node)
        return Parts("log", {"message": node.plain(), "level": "info"})
    inner = node.entries
    params: RawMap = {"level": "info"}
    for key in ("message", "data"):
        if key in inner:
            params[key] = inner[key].plain()
            reader.place(path, f"params.{key}", inner[key])
    if "level" in inner:
        params["level"] = reader.choice(inner["level"], "level", _LEVELS) or "info"
    return Parts("log", params)


def _return(reader: Reader, node: Node, entries: dict[str, Node], path: str) -> Parts:
    reader.place(path, "params.value", node)
    return Parts("return", {"value": node.plain()})


def _fail(reader: Reader, node: Node, entries: dict[str, Node], path: str) -> Parts:
    if node.entries is None:
        if node.is_null:
            return Parts("fail", {})
        reader.place(path, "params.message", node)
        return Parts("fail", {"message": reader.text(node, "fail")})
    reader.check_keys(node.entries, _FAIL_KEYS, "fail")
    return Parts("fail", _params(reader, node, path))


def _stop(reader: Reader, node: Node, entries: dict[str, Node], path: str) -> Parts:
    reader.place(path, "params.reason", node)
    return Parts("stop", {} if node.is_null or node.scalar is True else {"reason": node.plain()})


def _flow(reader: Reader, node: Node, entries: dict[str, Node], path: str) -> Parts:
    inner = (
        node.entries if node.entries is not None else {"flow": node, **_beside(entries, "version", "inputs", "wait")}
    )
    known = keys_of(VERBS["flow"].keys)
    inner = reader.check_keys(inner, known, "flow")
    params: RawMap = {}
    for spelling, child in inner.items():
        key = known.get(spelling)
        if key is not None and not child.is_null:
            name = "base_url" if key.name == "baseURL" else key.name
            params[name] = reader.boolean(child, name) if name == "wait" else child.plain()
            reader.place(path, f"params.{name}", child)
    if not params.get("flow"):
        reader.missing(node, "flow", "flow")
    return Parts("flow", params)


def _beside(entries: dict[str, Node], *keys: str) -> dict[str, Node]:
    return {key: entries[key] for key in keys if key in entries}


def with_own_timeout(verb: str, entries: dict[str, Node]) -> dict[str, Node]:
    """The step's keys, with those in its `approve` that were written beside it and can only mean the decision: how long
    it may take, and what is decided then.
    """
    approve = entries.get("approve")
    if verb != "approve" or approve is None or approve.entries is None:
        return entries
    inner = dict(approve.entries)
    for key, child in entries.items():
        is_time = key == "timeout" and child.entries is None and not child.is_null
        is_verdict = key in ("on_timeout", "onTimeout") and child.text in ("approve", "reject")
        if (is_time and "timeout" not in inner) or (is_verdict and first_of(inner, "on_timeout", "onTimeout") is None):
            inner[key] = child
    if len(inner) == len(approve.entries):
        return entries
    made = Node(entries=inner, start=approve.start, end=approve.end)
    made.parent, made.key = approve.parent, approve.key
    made.key_start, made.key_end = approve.key_start, approve.key_end
    moved = inner.keys() - approve.entries.keys()
    return {key: made if key == "approve" else child for key, child in entries.items() if key not in moved}


def _approve(reader: Reader, node: Node, entries: dict[str, Node], path: str) -> Parts:
    inner = reader.map_of(node, "approve") or {}
    inner = reader.check_keys(inner, keys_of(VERBS["approve"].keys), "approve")
    params: RawMap = {}
    settings: dict[str, Any] = {}
    for key, child in inner.items():
        reader.place(path, f"params.{key}", child)
        if key == "timeout":
            settings["expires_seconds"] = reader.duration(child, key, minimum=1)
        elif key == "remind":
            params[key] = reader.duration(child, key, minimum=1)
        elif key == "form":
            settings[key] = schema_of_value(reader, child, key)
        elif key == "need":
            settings["uses"] = reader.integer(child, key, minimum=1, maximum=1_000)
        elif key in ("on_timeout", "onTimeout"):
            settings["on_timeout"] = reader.choice(child, "on_timeout", _ON_APPROVAL_TIMEOUT)
        elif key == "to":
            params[key] = list(reader.names(child, key))
        else:
            params[key] = child.plain()
    settings = {key: value for key, value in settings.items() if value is not None}
    schema = decision_schema(settings.get("form"), settings.get("uses", 1))
    if schema is None:
        fields = settings["form"]["properties"]
        taken = ", ".join(f"`{name}`" for name in DECISION_FIELDS if name in fields)
        message = f"the form cannot ask for {taken}: every answer to `approve` says so by itself"
        reader.problem(codes.CONFLICT, inner["form"], message, at_key=True)
    return Parts("approve", params, callback=Callback(schema=schema, **settings))


def _emit(reader: Reader, node: Node, entries: dict[str, Node], path: str) -> Parts:
    """`emit: order.paid`, or `emit: {event: order.paid, data: …}`."""
    if node.entries is None:
        reader.place(path, "params.event", node)
        return Parts("emit", {"event": reader.name(node, "emit")})
    inner = node.entries
    reader.check_keys(inner, keys_of(VERBS["emit"].keys), "emit")
    params: RawMap = {}
    for name, spellings in (("event", ("event", "name")), ("data", ("data",))):
        if (child := first_of(inner, *spellings)) is not None:
            params[name] = child.plain()
            reader.place(path, f"params.{name}", child)
    if not params.get("event"):
        reader.missing(node, "emit", "event", path=path)
    return Parts("emit", params)


def _plain_map(kind: StepKind) -> Callable[[Reader, Node, dict[str, Node], str], Parts]:
    def read(reader: Reader, node: Node, entries: dict[str, Node], path: str) -> Parts:
        if node.entries is not None:
            reader.check_keys(node.entries, keys_of(VERBS[kind].keys), kind)
        return Parts(kind, _params(reader, node, path))

    return read


_READERS: dict[str, Callable[[Reader, Node, dict[str, Node], str], Parts]] = {
    "http": _http,
    "poll": _poll,
    "wait": _wait,
    "set": _set,
    "map": _map,
    "log": _log,
    "return": _return,
    "fail": _fail,
    "stop": _stop,
    "flow": _flow,
    "approve": _approve,
    "emit": _emit,
    "respond": _plain_map("respond"),
}
