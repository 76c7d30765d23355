"""Reads one canvas node as a step: document A's and B's node types, verbs, and `adapter.action` types."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from segue.flow import codes
from segue.flow.document import Node, join_path
from segue.flow.forms.blocks import foreach_params, repeat_params
from segue.flow.forms.leaves import Parts
from segue.flow.forms.mapping import read_mappings
from segue.flow.forms.modifiers import read_composites
from segue.flow.forms.node_settings import Made, Settings, step_of
from segue.flow.forms.steps import read_step_body
from segue.flow.forms.webhook import read_webhook
from segue.flow.http_params import read_http
from segue.flow.model import Block, JsonValue, RawMap, Step
from segue.flow.policies import read_callback, read_poll
from segue.flow.reader import Reader, as_expression, first_of
from segue.flow.verbs import HTTP_KEYS, MODIFIERS, VERBS, keys_of

_GENERIC_TYPES: Final = frozenset(
    ("custom", "customnode", "default", "orchestratornode", "step", "node", "action", "task")
)


def read_node(reader: Reader, node: Node, path: str) -> Made | None:
    """The step of a canvas node; None (and a problem) if it cannot be made out."""
    entries = reader.map_of(node, "a node")
    if entries is None:
        return None
    id_node = entries.get("id")
    id = reader.name(id_node, "id") if id_node is not None and not id_node.is_null else None
    if id is None:
        if id_node is None or id_node.is_null:
            reader.missing(node, "a node", "id")
        return None
    written = _type_of(reader, node, entries)
    if written is None:
        return None
    settings = Settings(reader, node, path, id)
    kind = re.sub(r"[^a-z0-9.]", "", written.lower()).removesuffix("node")
    read = _NODE_TYPES.get(kind)
    if read is not None:
        return read(reader, node, settings)
    return _other(reader, node, settings, written)


def _type_of(reader: Reader, node: Node, entries: dict[str, Node]) -> str | None:
    written = entries.get("type")
    data = entries.get("data")
    inner = first_of((data.entries or {}) if data is not None else {}, "type", "nodeType", "kind")
    word = written.text if written is not None else None
    if inner is not None and inner.text and (word is None or word.lower() in _GENERIC_TYPES):
        return inner.text.removesuffix("_node")
    if word:
        return word.removesuffix("_node") or word
    reader.missing(node, "a node", "type")
    return None


def _start(reader: Reader, node: Node, settings: Settings) -> Made:
    return Made(step_of(reader, node, settings, Parts("start")), node)


def _http(reader: Reader, node: Node, settings: Settings) -> Made:
    poll, callback = read_composites(reader, settings.own, settings.path)
    rest = {key: child for key, child in settings.rest.items() if key not in ("wait", "poll")}
    params = read_http(reader, settings.view(rest), settings.path)
    return Made(step_of(reader, node, settings, Parts("http", params, poll=poll, callback=callback)), node)


def _local_flow(reader: Reader, node: Node, settings: Settings) -> Made:
    flow = settings.view({"flow": settings.view(settings.rest), **settings.modifiers})
    return _body(reader, node, settings, flow)


def _mapper(reader: Reader, node: Node, settings: Settings) -> Made:
    mappings = settings.rest.get("mappings")
    if mappings is not None and mappings.items is not None:
        params: RawMap = {"value": read_mappings(reader, mappings, settings.path)}
    else:
        params = {"value": settings.view(settings.rest).plain()}
        reader.place(settings.path, "params.value", settings.source)
    return Made(step_of(reader, node, settings, Parts("map", params)), node)


def _callback(reader: Reader, node: Node, settings: Settings) -> Made:
    # A bare `timeout` of this node says how long the answer may take: nothing else of it takes time.
    source = {
        **settings.rest,
        **{key: child for key, child in settings.modifiers.items() if key in ("timeout", "on_timeout", "onTimeout")},
    }
    for key in ("timeout", "on_timeout", "onTimeout"):
        settings.modifiers.pop(key, None)
    inner = source.get("callback")
    if inner is not None and inner.entries is not None:
        source = {**{key: child for key, child in source.items() if key != "callback"}, **inner.entries}
    callback = read_callback(reader, settings.view(source), settings.path)
    return Made(step_of(reader, node, settings, Parts("wait", {"callback": True}, callback=callback)), node)


def _polling(reader: Reader, node: Node, settings: Settings) -> Made:
    own = {
        key: child
        for key, child in settings.own.items()
        if key not in MODIFIERS or key in ("pollingInterval", "maxPollingAttempts")
    }
    poll = read_poll(reader, settings.view(own), settings.path, known=frozenset(HTTP_KEYS))
    if poll.success_condition is None:
        reader.missing(node, "a polling node", "successCondition")
    call = first_of(own, "call", "use")
    if call is not None:
        params = settings.view((own.get("params") or Node(entries={})).entries or {}).plain()
        use = reader.name(call, "call") or "http"
    else:
        request = {key: child for key, child in own.items() if key in HTTP_KEYS}
        use, params = "http", read_http(reader, settings.view(request), settings.path)
    assert isinstance(params, dict)
    return Made(step_of(reader, node, settings, Parts("poll", params, use=use, poll=poll)), node)


def _parallel(reader: Reader, node: Node, settings: Settings) -> Made:
    """A fork on the canvas: its out-edges are the branches, so the node itself only passes on what flowed in."""
    if "branches" in settings.rest:
        return _body(
            reader, node, settings, settings.view({"parallel": settings.view(settings.rest), **settings.modifiers})
        )
    return Made(step_of(reader, node, settings, Parts("start")), node)


def _condition(reader: Reader, node: Node, settings: Settings) -> Made:
    if first_of(settings.rest, "then", "else", "elif") is not None:
        return _block_verb(reader, node, settings, "conditional")
    choices = first_of(settings.rest, "branches", "conditions")
    if choices is not None and choices.items is not None:
        found = [_choice(reader, item, index, settings.path) for index, item in enumerate(choices.items)]
        branches: list[JsonValue] = [choice for choice in found if choice is not None]
        if all(isinstance(choice, dict) and choice["when"] is not None for choice in branches):
            branches.append({"label": "else", "when": None})
    else:
        condition = first_of(settings.rest, "condition", "if", "expression", "when") or settings.modifiers.pop(
            "when", None
        )
        if condition is None or condition.is_null:
            reader.missing(node, "a condition node", "condition")
            when = "false"
        else:
            when = reader.expression(condition, "condition")
            reader.place(settings.path, "params.branches[0]", condition)
        branches = [{"label": "then", "when": when}, {"label": "else", "when": None}]
    return _branching(reader, node, settings, branches)


def _choice(reader: Reader, item: Node, index: int, path: str) -> dict[str, JsonValue] | None:
    entries = reader.map_of(item, "a branch")
    if entries is None:
        return None
    label = first_of(entries, "label", "name", "id", "handle")
    when = first_of(entries, "when", "condition", "if")
    word = reader.name(label, "label") if label is not None else f"branch_{index + 1}"
    if when is None or when.is_null:
        return {"label": word, "when": None}
    reader.place(path, f"params.branches[{index}]", when)
    return {"label": word, "when": reader.expression(when, "when")}


def _switch(reader: Reader, node: Node, settings: Settings) -> Made:
    cases = settings.rest.get("cases")
    if "default" in settings.own or (cases is not None and cases.entries is not None):
        return _block_verb(reader, node, settings, "switch")
    on = first_of(settings.rest, "on", "value", "expression")
    expression = "null" if on is None else reader.expression(on, "on") or "null"
    if on is None:
        reader.missing(node, "a switch node", "on")
    else:
        reader.place(settings.path, "params.branches[0]", on)
    branches: list[JsonValue] = []
    for case in (cases.items or []) if cases is not None else []:
        value = case.get("value") or case
        branches.append({
            "label": f"case:{value.scalar}", "when": f"({expression}) == {as_expression(value.scalar)}",
        })  # fmt: skip
    if not branches:
        reader.missing(node, "a switch node", "cases")
    branches.append({"label": "default", "when": None})
    return _branching(reader, node, settings, branches)


def _block_verb(reader: Reader, node: Node, settings: Settings, verb: str) -> Made:
    """A node that chooses among steps which stand in its own settings, instead of by its out-edges."""
    keys = keys_of(VERBS[verb].keys)
    own = {key: child for key, child in settings.own.items() if key in keys or key not in MODIFIERS}
    if verb == "conditional" and "if" not in own:
        condition = first_of(own, "condition", "expression") or settings.modifiers.pop("when", None)
        own = {key: child for key, child in own.items() if child is not condition}
        own |= {} if condition is None else {"if": condition}
    rest = {key: child for key, child in settings.modifiers.items() if child not in own.values()}
    return _body(reader, node, settings, settings.view({verb: settings.view(own), **rest}))


def _branching(reader: Reader, node: Node, settings: Settings, branches: list[JsonValue]) -> Made:
    labels = tuple(str(branch["label"]) for branch in branches if isinstance(branch, dict))
    return Made(step_of(reader, node, settings, Parts("branch", {"branches": branches})), node, labels)


def _boundary(reader: Reader, node: Node, settings: Settings) -> Made:
    if first_of(settings.rest, "do", "steps") is not None:
        return _body(reader, node, settings, settings.view({"try": settings.view(settings.rest), **settings.modifiers}))
    parts = Parts("try")
    if match := first_of(settings.rest, "match", "errors"):
        # The handle for errors leads to the steps of this block.
        parts.blocks = (Block(label="catch", match=reader.names(match, "match")),)
    return Made(step_of(reader, node, settings, parts), node, is_container=True)


def _loop(verb: str) -> Callable[[Reader, Node, Settings], Made]:
    def read(reader: Reader, node: Node, settings: Settings) -> Made:
        if first_of(settings.rest, "do", "steps") is not None:
            return _body(
                reader, node, settings, settings.view({verb: settings.view(settings.rest), **settings.modifiers})
            )
        path = join_path(settings.path, verb)
        params = (
            foreach_params(reader, settings.rest, path)
            if verb == "foreach"
            else repeat_params(reader, settings.rest, path)
        )
        parts = Parts("foreach" if verb == "foreach" else "repeat", params)
        return Made(step_of(reader, node, settings, parts), node, is_container=True)

    return read


def _other(reader: Reader, node: Node, settings: Settings, written: str) -> Made | None:
    """A verb of the language, `adapter.action`, or a name to use."""
    rest = settings.rest
    if written in VERBS and written not in ("call", "use", "adapter", "python"):
        value = rest.get(written) if set(rest) == {written} else _single(rest, written)
        return _body(
            reader, node, settings, settings.view({written: value or settings.view(rest), **settings.modifiers})
        )
    if any(key in VERBS for key in rest):
        return _body(reader, node, settings, settings.view({**rest, **settings.modifiers}))
    if written in VERBS:
        reader.problem(codes.NO_VERB, node, f"the node does not say what it calls; add `{written}` to its data")
        return None
    params = rest.get("params") if "params" in rest else settings.view(rest)
    parts_node = settings.view({"use": _text(settings.node, written), "params": params or Node(), **settings.modifiers})
    return _body(reader, node, settings, parts_node)


def _single(rest: dict[str, Node], verb: str) -> Node | None:
    """The value of verbs that take one value, as canvases keep it under a key."""
    if verb in ("wait", "return", "stop") and "value" in rest and len(rest) == 1:
        return rest["value"]
    if verb == "wait" and len(rest) == 1:
        return rest.get("duration")
    return None


def _text(node: Node, word: str) -> Node:
    made = Node(word, start=node.start, end=node.end)
    type_node = node.get("type")
    made.parent, made.key = node, "type"
    if type_node is not None:
        made.start, made.end = type_node.start, type_node.end
    return made


def _body(reader: Reader, node: Node, settings: Settings, body: Node) -> Made:
    step = read_step_body(reader, body, settings.path, settings.id)
    if step is None:
        step = Step(id=settings.id, kind="start", path=settings.path, span=reader.document.span(node))
    fields: dict[str, Any] = {name: getattr(step, name) for name in step.__struct_fields__}
    fields.update(span=reader.document.span(node))
    for key, value in settings.shown.items():
        fields[key] = fields[key] or value
    return Made(Step(**fields), node)


_NODE_TYPES: Final[dict[str, Callable[[Reader, Node, Settings], Made]]] = {
    "start": _start,
    "end": _start,
    "trigger": _start,
    "http": _http,
    "httprequest": _http,
    "remotewebhook": read_webhook,
    "webhook": read_webhook,
    "localflow": _local_flow,
    "datamapper": _mapper,
    "waitforcallback": _callback,
    "polling": _polling,
    "parallel": _parallel,
    "condition": _condition,
    "conditional": _condition,
    "if": _condition,
    "switch": _switch,
    "errorboundary": _boundary,
    "try": _boundary,
    "foreach": _loop("foreach"),
    "repeat": _loop("repeat"),
}
