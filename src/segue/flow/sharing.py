"""Reads what a flow or a step shares with others: `limits`, `cache`, `fallback`, `runs_on`, in all their spellings."""

from __future__ import annotations

import re
from typing import Any, Final

from segue.flow import codes
from segue.flow.document import Node
from segue.flow.durations import parse_duration
from segue.flow.model import Cache, Fallback, Limits
from segue.flow.reader import Reader, first_of
from segue.flow.verbs import CACHE_KEYS, FALLBACK_KEYS, FLOW_LIMIT_KEYS, LIMIT_KEYS

MAX_CONCURRENCY: Final = 100_000
MAX_RATE: Final = 100_000
_ON_FULL: Final = {"queue": "queue", "skip": "skip", "replace": "replace", "reject": "reject"}
_RATE: Final = re.compile(r"(\d{1,6})\s*(?:/|per )\s*(\d.*|ms|s|sec|second|m|min|minute|h|hour|d|day)\Z")
_UNITS: Final = {"second": "s", "minute": "m", "hour": "h", "day": "d"}


def read_limits(reader: Reader, node: Node, path: str) -> Limits | None:
    """A step's `{concurrency, key, on_full, rate}`; None if nothing is limited."""
    entries = None if node.is_null else reader.map_of(node, "limits")
    if entries is None:
        return None
    entries = reader.check_keys(entries, LIMIT_KEYS, "limits")
    if not entries.keys() & {"concurrency", "rate"}:
        reader.missing(node, "limits", "concurrency")
    return _limits(reader, entries, path)


def read_flow_limits(reader: Reader, node: Node) -> tuple[Limits | None, int | None]:
    """The limits of a flow's runs, and how many steps of one run may be in flight at once."""
    entries = None if node.is_null else reader.map_of(node, "limits")
    if entries is None:
        return None, None
    entries = reader.check_keys(entries, FLOW_LIMIT_KEYS, "limits")
    if not entries.keys() & {"concurrency", "rate", "steps"}:
        reader.missing(node, "limits", "concurrency")
    steps = entries.get("steps")
    at_once = None if steps is None else reader.integer(steps, "limits.steps", minimum=1, maximum=MAX_CONCURRENCY)
    return _limits(reader, entries, ""), at_once


def _limits(reader: Reader, entries: dict[str, Node], path: str) -> Limits | None:
    fields: dict[str, Any] = {}
    if found := entries.get("concurrency"):
        fields["concurrency"] = reader.integer(found, "limits.concurrency", minimum=1, maximum=MAX_CONCURRENCY)
    if found := entries.get("rate"):
        fields["rate_count"], fields["rate_seconds"] = read_rate(reader, found)
    if found := entries.get("key"):
        fields["key"] = reader.expression(found, "limits.key")
        reader.place(path, "limits.key", found)
    if found := first_of(entries, "on_full", "onFull"):
        fields["on_full"] = reader.choice(found, "limits.on_full", _ON_FULL)
    kept = {key: value for key, value in fields.items() if value is not None}
    return Limits(**kept) if "concurrency" in kept or "rate_count" in kept else None


def read_rate(reader: Reader, node: Node, what: str = "limits.rate") -> tuple[int | None, float | None]:
    """`10/s`, `100/5m`: so many begun within any stretch of that length."""
    found = parse_rate(node.text or "")
    if found is not None:
        return found
    hint = "write a number and a length of time, such as 10/s, 100/m or 1000/12h"
    reader.problem(codes.NOT_ALLOWED, node, f"{what}: {node.kind_name()} is no rate", suggestion=hint)
    return None, None


def parse_rate(text: str) -> tuple[int, float] | None:
    """How many within how many seconds; None if the text is no rate."""
    found = _RATE.match(text.strip())
    if found is None:
        return None
    length = _UNITS.get(found[2], found[2])
    seconds = parse_duration(length if length[0].isdigit() else f"1{length}")
    count = int(found[1])
    return (count, seconds) if seconds and 0 < count <= MAX_RATE else None


def read_cache(reader: Reader, node: Node, path: str) -> Cache | None:
    """`1h`, or `{ttl, key}`."""
    if node.is_null or node.scalar is False:
        return None
    if node.entries is None:
        seconds = reader.duration(node, "cache", minimum=0.001)
        return None if seconds is None else Cache(seconds=seconds)
    entries = reader.check_keys(node.entries, CACHE_KEYS, "cache")
    ttl = first_of(entries, "ttl", "for")
    if ttl is None:
        reader.missing(node, "cache", "ttl")
        return None
    seconds = reader.duration(ttl, f"cache.{ttl.key}", minimum=0.001)
    key = entries.get("key")
    text = None if key is None else reader.expression(key, "cache.key")
    if key is not None:
        reader.place(path, "cache.key", key)
    return None if seconds is None else Cache(seconds=seconds, key=text)


def read_fallback(reader: Reader, node: Node, path: str) -> tuple[Fallback, ...]:
    """A name, a call with parameters of its own, or a list of both: tried one after the other."""
    nodes = [node] if node.items is None else node.items
    found = (_fallback(reader, child, path, number) for number, child in enumerate(nodes) if not child.is_null)
    return tuple(one for one in found if one is not None)


def _fallback(reader: Reader, node: Node, path: str, number: int) -> Fallback | None:
    if node.entries is None:
        use = reader.name(node, "fallback")
        return None if use is None else Fallback(use=use)
    entries = reader.check_keys(node.entries, FALLBACK_KEYS, "fallback")
    named = first_of(entries, "call", "use", "python")
    adapter, action = entries.get("adapter"), entries.get("action")
    if named is not None:
        use = reader.name(named, str(named.key))
    elif adapter is not None:
        name = reader.name(adapter, "adapter")
        use = None if name is None else f"{name}.{'*' if action is None else reader.name(action, 'action')}"
    else:
        reader.missing(node, "fallback", "call")
        return None
    params = entries.get("params")
    if params is None or use is None:
        return None if use is None else Fallback(use=use)
    reader.place(path, f"fallback.{number}", params)
    return Fallback(use=use, params=reader.raw_map(params, "params"))


def read_labels(reader: Reader, node: Node) -> tuple[str, ...]:
    """`runs_on`: all labels that a host must have."""
    return tuple(dict.fromkeys(reader.names(node, "runs_on")))
