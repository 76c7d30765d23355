"""Reads what may stand on any step beside its verb: conditions, policies, handlers, names for people."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal

from msgspec import structs

from segue.flow import codes
from segue.flow.document import Node, join_path
from segue.flow.forms.effects import check_effects
from segue.flow.http_params import read_http
from segue.flow.model import Block, Callback, Handler, Poll, RawMap, Retry, Timeout
from segue.flow.policies import (
    OnTimeout,
    read_callback,
    read_categories,
    read_duration,
    read_on_timeout,
    read_poll,
    read_retry,
    read_timeout,
)
from segue.flow.reader import Reader, first_of
from segue.flow.sharing import read_cache, read_fallback, read_labels, read_limits
from segue.flow.verbs import VERBS

ReadBlock = Callable[[Node, str, str], Block]
"""(node, label, path) → the block: handlers hold steps, so the form's own block reader is passed in."""

_IDEMPOTENCY: Final = {"safe": "safe", "keyed": "keyed", "unsafe": "unsafe"}
_THEN: Final = {"continue": "continue", "fail": "fail", "retry": "retry"}
_HANDLER_KEYS = frozenset(("match", "do", "then", "steps"))


def read_modifiers(reader: Reader, entries: dict[str, Node], path: str, read_block: ReadBlock) -> dict[str, Any]:
    """The fields of `Step` for the modifiers in `entries`; other keys are not looked at."""
    fields: dict[str, Any] = {}
    if when := entries.get("when"):
        fields["when"] = reader.expression(when, "when")
        reader.place(path, "when", when)
    check_effects(reader, entries)
    fields["retry"] = _retry(reader, entries)
    fields["timeout"] = _timeout(reader, entries)
    for field in ("default", "mock"):
        if field in entries:
            fields[field], fields[f"has_{field}"] = entries[field].plain(), True
            reader.place(path, field, entries[field])
    if output := entries.get("output"):
        fields["output"] = output.plain()
        reader.place(path, "output", output)
    fields.update(_handlers(reader, entries, path, read_block))
    fields.update(_scheduling(reader, entries, path))
    for field in ("title", "notes"):
        if (text := entries.get(field)) and not text.is_null:
            fields[field] = reader.text(text, field)
    fields.update(_sharing(reader, entries, path))
    return {key: value for key, value in fields.items() if value is not None or key in ("default", "mock")}


def _sharing(reader: Reader, entries: dict[str, Node], path: str) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if limits := entries.get("limits"):
        fields["limits"] = read_limits(reader, limits, path)
    if cache := entries.get("cache"):
        fields["cache"] = read_cache(reader, cache, path)
    if fallback := entries.get("fallback"):
        fields["fallback"] = read_fallback(reader, fallback, path)
    if runs_on := first_of(entries, "runs_on", "runsOn"):
        fields["runs_on"] = read_labels(reader, runs_on)
    return fields


def _handlers(reader: Reader, entries: dict[str, Node], path: str, read_block: ReadBlock) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if handler := first_of(entries, "on_error", "onError"):
        fields["on_error"] = read_handlers(reader, handler, path, read_block)
    for key, field in (("finally", "finally_"), ("compensate", "compensate")):
        if (block := entries.get(key)) and not block.is_null:
            fields[field] = read_block(block, key, join_path(path, key))
    return fields


def _scheduling(reader: Reader, entries: dict[str, Node], path: str) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if join := entries.get("join"):
        fields["join"] = read_join(reader, join)
        reader.place(path, "join", join)
    if priority := entries.get("priority"):
        fields["priority"] = reader.integer(priority, "priority", minimum=-1_000_000)
    if idempotency := entries.get("idempotency"):
        fields["idempotency"] = reader.choice(idempotency, "idempotency", _IDEMPOTENCY)
    for field in ("at_most_once", "disabled"):
        if flag := entries.get(field):
            fields[field] = reader.boolean(flag, field)
    return fields


def read_join(reader: Reader, node: Node) -> Literal["all", "any", "first"] | int | None:
    """`all`, `any`, `first` or a number of live inputs."""
    if isinstance(node.scalar, int):
        return reader.integer(node, "join", minimum=1, maximum=10_000)
    words: dict[str, Literal["all", "any", "first"]] = {"all": "all", "any": "any", "first": "first"}
    return reader.choice(node, "join", words)


def _retry(reader: Reader, entries: dict[str, Node]) -> Retry | None:
    """`retry`, or document A's `retryAttempts` with `retryDelay`."""
    retry = entries.get("retry")
    attempts, delay = entries.get("retryAttempts"), entries.get("retryDelay")
    if retry is not None:
        if attempts is not None:
            reader.problem(codes.CONFLICT, attempts, "`retryAttempts` says the same as `retry`", at_key=True)
        return read_retry(reader, retry)
    if attempts is None:
        return None
    count = reader.integer(attempts, "retryAttempts", minimum=0, maximum=1_000)
    seconds = read_duration(reader, delay) if delay is not None else None
    if not count:
        return None
    return Retry(max_attempts=count) if seconds is None else Retry(max_attempts=count, initial_delay_seconds=seconds)


def _timeout(reader: Reader, entries: dict[str, Node]) -> Timeout | None:
    node = entries.get("timeout")
    on_timeout_node = first_of(entries, "on_timeout", "onTimeout")
    timeout = read_timeout(reader, node) if node is not None and not node.is_null else None
    if on_timeout_node is None:
        return timeout
    on_timeout: OnTimeout | None = read_on_timeout(reader, on_timeout_node)
    if on_timeout is None:
        return timeout
    base = timeout or Timeout()
    return Timeout(attempt_seconds=base.attempt_seconds, total_seconds=base.total_seconds, on_timeout=on_timeout)


def read_handlers(reader: Reader, node: Node, path: str, read_block: ReadBlock) -> tuple[Handler, ...]:
    """`on_error`: a list of steps, one step, the map form `{match, do, then}`, or a list of map forms."""
    where = join_path(path, str(node.key))
    if is_handler_map(node):
        return (_handler(reader, node, path, 0, where, read_block),)
    if node.items and all(is_handler_map(item) for item in node.items):
        return tuple(
            _handler(reader, item, path, index, join_path(where, index), read_block)
            for index, item in enumerate(node.items)
        )
    if node.is_null:
        return ()
    if node.text in ("continue", "ignore") and node.text not in reader.definitions:
        hint = "write `{then: continue}`: the step then counts as recovered, with null as its output"
        reader.problem(
            codes.WRONG_TYPE, node, f"on_error is steps or {{match, do, then}}, not {node.kind_name()}",
            suggestion=hint, patch=reader.value_patch(node, "{then: continue}"),
        )  # fmt: skip
        return (Handler(block=Block(label="on_error")),)
    return (Handler(block=read_block(node, "on_error", where)),)


def is_handler_map(node: Node) -> bool:
    """Whether it says what it handles (`{match, do, then}`), rather than being a step: that has a verb or a name."""
    entries = node.entries
    if entries is None or not entries.keys() & {"match", "do", "then"}:
        return False
    return not any(key in VERBS or key in ("name", "id") for key in entries)


def _handler(reader: Reader, node: Node, step: str, index: int, path: str, read_block: ReadBlock) -> Handler:
    entries = reader.check_keys(node.entries or {}, _HANDLER_KEYS, "on_error")
    match = read_categories(reader, entries["match"], "match") if "match" in entries else ()
    then = "continue"
    if "then" in entries:
        node_then = entries["then"]
        reader.place(step, f"on_error[{index}].then", node_then)
        is_computed = (node_then.text or "").strip().startswith(("$", "{{"))
        then = (node_then.text if is_computed else reader.choice(node_then, "then", _THEN)) or then
    do = first_of(entries, "do", "steps")
    block = Block(label="on_error") if do is None else read_block(do, "on_error", join_path(path, str(do.key)))
    return Handler(block=block, match=match, then=then)


def _with_question(reader: Reader, poll: Poll, node: Node, path: str) -> Poll:
    """What the job is asked with, where that is another call than the one that started it."""
    inner = node.entries or {}
    named = first_of(inner, "call", "use")
    params: RawMap = {}
    if named is not None:
        use = reader.name(named, str(named.key)) or ""
    elif "adapter" in inner:
        action = inner.get("action")
        use = f"{reader.name(inner['adapter'], 'adapter')}.{'*' if action is None else reader.name(action, 'action')}"
    elif "http" in inner:
        return structs.replace(poll, use="http", params=read_http(reader, inner["http"], path))
    else:
        return poll
    if (given := inner.get("params")) is not None:
        params = {key: child.plain() for key, child in (reader.map_of(given, "params") or {}).items()}
        reader.place(path, "poll.params", given)
    return structs.replace(poll, use=use, params=params)


def read_composites(reader: Reader, entries: dict[str, Node], path: str) -> tuple[Poll | None, Callback | None]:
    """What makes a call wait for an outside job: `poll`, document A's `enablePolling`, or `wait: {callback}`."""
    poll: Poll | None = None
    callback: Callback | None = None
    if node := entries.get("poll"):
        poll = _with_question(reader, read_poll(reader, node, path), node, path)
    if (flag := entries.get("enablePolling")) and reader.boolean(flag, "enablePolling"):
        if poll is None:
            poll = Poll()
        interval, attempts = entries.get("pollingInterval"), entries.get("maxPollingAttempts")
        seconds = read_duration(reader, interval, minimum=0.001) if interval else None
        count = reader.integer(attempts, "maxPollingAttempts", minimum=1) if attempts else None
        poll = Poll(
            success_condition=poll.success_condition, failure_condition=poll.failure_condition,
            interval_seconds=seconds or poll.interval_seconds, max_attempts=count or poll.max_attempts,
        )  # fmt: skip
    if node := entries.get("wait"):
        inner = node.get("callback")
        if inner is None:
            hint = "write `wait: {callback: {expires: 1h}}`, or make the wait a step of its own"
            reader.problem(
                codes.TWO_VERBS, node, "beside a call, `wait` waits for a callback", suggestion=hint, at_key=True
            )
        else:
            reader.check_keys(node.entries or {}, ("callback",), "wait")
            callback = read_callback(reader, inner, path)
    return poll, callback
