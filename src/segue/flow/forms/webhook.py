"""Reads document A's RemoteWebhook node: a plain request, or a provider's workflow that is started and asked about."""

from __future__ import annotations

from typing import Any, Final

from segue.flow.document import Node
from segue.flow.forms.leaves import Parts
from segue.flow.forms.modifiers import read_composites
from segue.flow.forms.node_settings import Made, Settings, step_of
from segue.flow.http_params import read_http
from segue.flow.model import Poll, RawMap
from segue.flow.reader import Reader, first_of
from segue.flow.verbs import HTTP_KEYS

_WEBHOOK_KEYS: Final = frozenset(
    ("provider", "workflowId", "workflowName", "connectionId", "scenarioId", "zapId", "successCondition",
     "failureCondition", "statusUrl", "pollingUrl", "wait")
)  # fmt: skip
_PLAIN_PROVIDERS: Final = frozenset(("", "webhook", "http", "custom", "generic"))


def read_webhook(reader: Reader, node: Node, settings: Settings) -> Made:
    """Document A's RemoteWebhook: an HTTP call, or a provider's workflow if it is polled for or has no address."""
    own = settings.rest
    provider = (own.get("provider") or Node()).text or ""
    poll, callback = read_composites(reader, settings.own, settings.path)
    if poll is not None:
        poll = _webhook_poll(reader, settings, poll, provider)
    has_url = bool((own.get("url") or Node()).text)
    params_from = {key: child for key, child in own.items() if key not in _WEBHOOK_KEYS}
    if provider.lower() in _PLAIN_PROVIDERS or (has_url and poll is None):
        params = read_http(reader, settings.view(params_from), settings.path)
        if "method" not in own:
            params["method"] = "POST"
        return Made(step_of(reader, node, settings, Parts("http", params, poll=poll, callback=callback)), node)
    params = {}
    if has_url:
        params = read_http(reader, settings.view(params_from), settings.path)
        if "method" not in own:
            params["method"] = "POST"
    else:
        params = _webhook_body(reader, settings, params_from)
    for key in ("workflowId", "scenarioId", "zapId", "connectionId"):
        if (child := own.get(key)) and not child.is_null:
            params[key] = child.plain()
    use = f"{provider.lower()}.execute"
    return Made(step_of(reader, node, settings, Parts("call", params, use=use, poll=poll, callback=callback)), node)


def _webhook_body(reader: Reader, settings: Settings, own: dict[str, Node]) -> RawMap:
    reader.check_keys(own, {*HTTP_KEYS}, "the node")
    params: RawMap = {}
    for spelling, child in own.items():
        key = HTTP_KEYS.get(spelling)
        if key is not None and not child.is_null and child.text != "":
            name = "json" if spelling == "bodyTemplate" else key.name
            params[name] = child.plain()
            reader.place(settings.path, f"params.{name}", child)
    return params


def _webhook_poll(reader: Reader, settings: Settings, poll: Poll, provider: str) -> Poll:
    """How document A polls: an address of its own, or what the provider knows how to ask."""
    fields: dict[str, Any] = {}
    for key, field in (("successCondition", "success_condition"), ("failureCondition", "failure_condition")):
        if (node := settings.rest.get(key)) and node.text:
            fields[field] = reader.expression(node, key)
            reader.place(settings.path, f"poll.{field}", node)
    url = first_of(settings.rest, "statusUrl", "pollingUrl")
    if url is not None and url.text:
        fields["use"], fields["params"] = "http", {"method": "GET", "url": url.text}
    elif provider.lower() in _PLAIN_PROVIDERS:
        reader.missing(settings.node, "a node that polls without a provider", "statusUrl")
    base = {name: getattr(poll, name) for name in poll.__struct_fields__}
    return Poll(**{**base, **fields})
