"""Reads what starts runs: `trigger:` and `triggers:` of a flow, and the settings of triggers that are made beside one.

What is accepted here has its effect (`segue.triggers`); everything else is reported by its name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final, cast

from segue.flow import codes
from segue.flow.cron import cron_mistake
from segue.flow.document import Node
from segue.flow.forms.webhook_auth import check_auth, check_secret
from segue.flow.model import JsonValue, RawMap, Trigger
from segue.flow.nearest import nearest, suggested, synonym_of
from segue.flow.problems import Problem
from segue.flow.reader import Reader
from segue.flow.sharing import read_rate
from segue.flow.tree import tree_of
from segue.flow.trigger_keys import (
    ANSWER_SECONDS_MAX,
    ANSWERS,
    BODY_BYTES_MAX,
    CATCH_UP,
    CATCH_UP_MAX,
    ENCODINGS,
    ENDS,
    EVERY_LEAST_SECONDS,
    KEYS_OF,
    KIND_OF,
    MAIN_KEYS,
    OVERLAPS,
    WEBHOOK_METHODS,
)

_PATH: Final = re.compile(r"/?[A-Za-z0-9._~-]{1,100}/?\Z")
_CONTENT_TYPE: Final = re.compile(r"[a-z0-9!#$&^_.+-]{1,100}/(?:\*|[a-z0-9!#$&^_.+-]{1,100})\Z")
_NAMES_MAX: Final = 100
_EVENT_LENGTH_MAX: Final = 200
_SOURCES: Final = ("header", "field", "query")


def read_triggers(reader: Reader, node: Node) -> tuple[Trigger, ...]:
    """One trigger or a list of them."""
    found: list[Trigger] = []
    names: set[str] = set()
    for child in [node] if node.items is None else node.items:
        trigger = None if child.is_null else _trigger(reader, child, len(found))
        if trigger is None:
            continue
        name = trigger.settings.get("name")
        if isinstance(name, str) and name in names:
            reader.problem(codes.CONFLICT, child, f'two triggers are called "{name[:60]}"')
        names.add(str(name))
        found.append(trigger)
    return tuple(found)


def problems_of_settings(kind: str, settings: Mapping[str, JsonValue]) -> tuple[Trigger | None, list[Problem]]:
    """The trigger of settings that stand in no flow, and everything that is wrong with them."""
    main = next((key for key in MAIN_KEYS if KIND_OF[key] == kind and key in settings), kind)
    document, problems = tree_of({main: None, **settings} if kind in ("webhook", "manual") else dict(settings))
    if document is None:
        return None, problems
    reader = Reader(document)
    trigger = _trigger(reader, document.root, 0)
    return trigger, [*problems, *reader.problems]


def _trigger(reader: Reader, node: Node, number: int) -> Trigger | None:
    span = reader.document.span(node)
    if node.text is not None:
        kind, _, event = node.text.partition(".")
        if kind == "webhook":
            settings: RawMap = {"events": [event]} if event not in ("", "received") else {}
            return Trigger(kind="webhook", settings=settings, span=span)
        if kind == "manual" and not event:
            return Trigger(kind="manual", span=span)
        if event:
            return Trigger(kind="event", settings={"event": node.text}, span=span)
    entries = node.entries
    found = [key for key in entries or () if key in MAIN_KEYS]
    if entries is not None and not found:
        entries = _with_kind(reader, entries)
        found = [key for key in entries if key in MAIN_KEYS]
    if entries is None or not found:
        _no_trigger(reader, node)
        return None
    if len(found) > 1:
        message = f"`{found[0]}` and `{found[1]}`: a trigger is of one kind"
        hint = "write a list: `triggers: [{…}, {…}]`"
        reader.problem(codes.CONFLICT, entries[found[1]], message, at_key=True, suggestion=hint)
        entries = {key: child for key, child in entries.items() if key not in found[1:]}
    return _of_kind(reader, node, found[0], entries, number)


def _of_kind(reader: Reader, node: Node, main: str, entries: dict[str, Node], number: int) -> Trigger:
    """The trigger of one kind, its settings on one level with the kind or below it."""
    kind, own = KIND_OF[main], entries[main]
    beside = {key: child for key, child in entries.items() if key != main}
    if own.entries is not None:
        for key in own.entries.keys() & beside.keys():
            reader.problem(codes.CONFLICT, beside[key], f"`{key}` stands below `{main}` and beside it", at_key=True)
        beside = {**own.entries, **beside}
        own = _moved_up(beside, main) or own
    beside = reader.check_keys(beside, _spellings(kind), f"a {kind} trigger")
    settings: RawMap = {}
    _main_value(reader, main, own, settings)
    when = None
    for spelling, child in beside.items():
        key = _canonical(kind, spelling)
        if key is None or child.is_null:
            continue
        if key in settings or (key == "when" and when is not None):
            reader.problem(codes.CONFLICT, child, f"`{spelling}` says the same as `{key}`", at_key=True)
            continue
        reader.place("", f"triggers[{number}].{key}", child)
        if key == "when":
            when = reader.expression(child, "when")
        else:
            settings[key] = _SETTINGS.get(key, _plain)(reader, child, key)
    settings = {key: value for key, value in settings.items() if value is not None or key == main}
    if kind == "cron":
        _check_schedule(reader, main, settings, {**beside, main: own})
    return Trigger(kind=kind, settings=settings, when=when, span=reader.document.span(node))  # pyright: ignore[reportArgumentType]


def _moved_up(beside: dict[str, Node], main: str) -> Node | None:
    """`cron: {cron: …}`, `cron: {schedule: …}`, `event: {name: …}`: what makes the trigger stands below its kind."""
    for spelling in (main, "schedule") if main == "cron" else (main,):
        if spelling in beside:
            return beside.pop(spelling)
    return None


def _spellings(kind: str) -> dict[str, str]:
    return {spelling: key.name for key in KEYS_OF[kind] for spelling in (key.name, *key.also)}


def _canonical(kind: str, spelling: str) -> str | None:
    return _spellings(kind).get(spelling)


def _main_value(reader: Reader, main: str, node: Node, settings: RawMap) -> None:
    """What the trigger's own key says: a cron line, a name, nothing."""
    if main in ("webhook", "manual"):
        is_plain = node.is_null or node.scalar is True or node.entries is not None or node.text == "received"
        if not is_plain:
            hint = None if main == "manual" else "write `{path: …}` for its address, `{events: […]}` for its messages"
            reader.wrong_type(node, main, "a map of its settings", hint)
    elif main == "cron":
        settings["cron"] = (node.text or "").strip()
        _check_cron(reader, node)
    elif main == "every":
        settings["every"] = _duration(reader, node, "every", least=EVERY_LEAST_SECONDS)
    elif main == "at":
        settings["at"] = node.plain()
    else:
        name = _one_name(reader, node, main)
        settings[main] = name


def _one_name(reader: Reader, node: Node, what: str) -> str:
    if node.items is not None:
        message = f"a trigger waits for one {what}, not for a list"
        hint = f"write one trigger for each: `triggers: [{{{what}: a}}, {{{what}: b}}]`"
        reader.problem(codes.WRONG_TYPE, node, message, suggestion=hint)
        return ""
    name = (reader.name(node, what) or "").strip()
    if len(name) > _EVENT_LENGTH_MAX:
        reader.problem(codes.NOT_ALLOWED, node, f"{what} is longer than {_EVENT_LENGTH_MAX} characters")
    return name


# ---------------------------------------------------------------- kinds and slips


def _with_kind(reader: Reader, entries: dict[str, Node]) -> dict[str, Node]:
    """The keys of a trigger whose kind is misspelt (reported) or has another tool's name, with its right name."""
    for key, child in entries.items():
        word = synonym_of(key, MAIN_KEYS) or nearest(key, MAIN_KEYS)
        if word is not None:
            reader.problem(
                codes.UNKNOWN_KEY, child, f'a trigger has no kind "{key[:60]}"', at_key=True,
                suggestion=f'did you mean "{word}"?', patch=reader.key_patch(child, word),
            )  # fmt: skip
            return {(word if other == key else other): node for other, node in entries.items()}
    return entries


def _no_trigger(reader: Reader, node: Node) -> None:
    hint = reader.did_you_mean(node.text, ("manual", "webhook.received", "webhook")) if node.text else None
    patch = None if hint is None else reader.word_patch(node, suggested(hint))
    reader.problem(
        codes.BAD_TRIGGER, node, f"{node.kind_name()} is no trigger",
        suggestion=hint or codes.CODES[codes.BAD_TRIGGER].cause, patch=patch,
    )  # fmt: skip


# ---------------------------------------------------------------- schedules


def _check_cron(reader: Reader, node: Node) -> None:
    mistake = cron_mistake(node.text or "")
    if mistake is not None:
        message, hint, meant = mistake
        patch = None if meant is None else reader.word_patch(node, meant)
        reader.problem(codes.BAD_TRIGGER, node, message, suggestion=hint, patch=patch)


def _check_schedule(reader: Reader, main: str, settings: RawMap, nodes: Mapping[str, Node]) -> None:
    """What of a schedule's settings goes together, and its moments."""
    zoned = "timezone" in settings
    moments: dict[str, datetime] = {}
    for key in ("at", "from", "until"):
        if key in settings and key in nodes:
            found = _moment(reader, nodes[key], key, zoned=zoned)
            if found is not None:
                moments[key] = found
    if main == "at":
        for key in ("from", "until"):
            if key in nodes:
                message = f"`{key}` bounds a schedule that comes again; `at` is one moment"
                reader.problem(codes.CONFLICT, nodes[key], message, at_key=True)
    begin, end = moments.get("from"), moments.get("until")
    if begin is not None and end is not None and (begin.tzinfo is None) == (end.tzinfo is None) and end < begin:
        reader.problem(codes.NOT_ALLOWED, nodes["until"], "`until` is before `from`: no run would ever begin")
    local = [key for key, moment in moments.items() if moment.tzinfo is None]
    if zoned and main != "cron" and not local:
        message = f"`{main}` goes by the time that passes, not by a wall clock: `timezone` would change nothing"
        reader.problem(codes.CONFLICT, nodes["timezone"], message, at_key=True, suggestion="leave it out")


def _moment(reader: Reader, node: Node, what: str, *, zoned: bool) -> datetime | None:
    try:
        found = datetime.fromisoformat(node.text or "")
    except ValueError:
        found = None
    if found is None or (found.tzinfo is None and not zoned):
        hint = "write a date and time with its zone, such as 2027-01-01T09:00:00+01:00, or say `timezone`"
        reader.problem(codes.BAD_TRIGGER, node, f"{what}: {node.kind_name()} is no moment", suggestion=hint)
        return None
    return found


def _timezone(reader: Reader, node: Node, key: str) -> JsonValue:
    from zoneinfo import available_timezones  # noqa: PLC0415 - reads a folder of files; few flows name a time zone

    name = node.text
    if name is not None and (name in available_timezones() or re.match(r"[+-]\d{2}:\d{2}\Z", name)):
        return name
    hint = None if name is None else reader.did_you_mean(name, sorted(available_timezones()))
    patch = None if hint is None else reader.word_patch(node, suggested(hint))
    message = f"{node.kind_name()} is no time zone"
    reader.problem(codes.BAD_TRIGGER, node, message, suggestion=hint or "it looks like Europe/Berlin", patch=patch)
    return None


def _catch_up(reader: Reader, node: Node, key: str) -> JsonValue:
    if isinstance(node.scalar, bool):
        return node.scalar
    if isinstance(node.scalar, int):
        return reader.integer(node, key, minimum=0, maximum=CATCH_UP_MAX)
    return node.text if reader.choice(node, key, CATCH_UP) is not None else None


# ---------------------------------------------------------------- values of settings


def _plain(reader: Reader, node: Node, key: str) -> JsonValue:
    return node.plain()


def _name(reader: Reader, node: Node, key: str) -> JsonValue:
    found = reader.name(node, key)
    if found is not None and len(found) > _NAMES_MAX:
        reader.problem(codes.NOT_ALLOWED, node, f"{key} is longer than {_NAMES_MAX} characters")
    return found


def _flag(reader: Reader, node: Node, key: str) -> JsonValue:
    return reader.boolean(node, key)


def _duration(
    reader: Reader, node: Node, key: str, *, least: float = 0.0, most: float | None = None
) -> str | None:  # fmt: skip
    seconds = reader.duration(node, key, minimum=least) if most is None else reader.duration(
        node, key, minimum=least, maximum=most
    )  # fmt: skip
    return None if seconds is None else node.text or f"{round(seconds * 1000)}ms"


def _answer_time(reader: Reader, node: Node, key: str) -> JsonValue:
    return _duration(reader, node, key, least=0.001, most=ANSWER_SECONDS_MAX)


def _jitter(reader: Reader, node: Node, key: str) -> JsonValue:
    return _duration(reader, node, key, most=86_400.0)


def _path(reader: Reader, node: Node, key: str) -> JsonValue:
    found = reader.name(node, key)
    if found is not None and _PATH.match(found) is None:
        hint = "one part of an address: letters, digits and . _ ~ -"
        reader.problem(codes.NOT_ALLOWED, node, f'path: "{found[:60]}" is no part of an address', suggestion=hint)
        return None
    return found


def _chosen(words: Mapping[str, object]) -> Callable[[Reader, Node, str], JsonValue]:
    def read(reader: Reader, node: Node, key: str) -> JsonValue:
        return node.text if reader.choice(node, key, words) is not None else None

    return read


def _several(words: Mapping[str, str]) -> Callable[[Reader, Node, str], JsonValue]:
    """One word or a list of them; none would be a trigger that takes nothing."""

    def read(reader: Reader, node: Node, key: str) -> JsonValue:
        nodes = [node] if node.items is None else node.items
        if not nodes:
            reader.problem(codes.NOT_ALLOWED, node, f"{key} is empty: nothing would ever fit")
        found = [reader.choice(child, key, words) for child in nodes]
        return cast("JsonValue", [one for one in found if one is not None])

    return read


def _names(reader: Reader, node: Node, key: str) -> JsonValue:
    found = reader.names(node, key)
    if not found and not node.is_null:
        reader.problem(codes.NOT_ALLOWED, node, f"{key} is empty: nothing would ever fit")
    return cast("JsonValue", list(found))


def _content_types(reader: Reader, node: Node, key: str) -> JsonValue:
    found = [one.strip().lower() for one in cast("list[str]", _names(reader, node, key))]
    for one in found:
        if _CONTENT_TYPE.match(one) is None:
            hint = "write it like application/json or text/*"
            reader.problem(codes.NOT_ALLOWED, node, f'{key}: "{one[:60]}" is no media type', suggestion=hint)
    return cast("JsonValue", found)


def _inputs(reader: Reader, node: Node, key: str) -> JsonValue:
    if node.entries is None and not (node.text or "").lstrip().startswith(("$", "{{")):
        reader.wrong_type(node, key, "a map of names and values", "such as `inputs: {id: $data.id}`")
    return node.plain()


def _schema(reader: Reader, node: Node, key: str) -> JsonValue:
    return reader.raw_map(node, key)


def _rate(reader: Reader, node: Node, key: str) -> JsonValue:
    return node.text if read_rate(reader, node, key)[0] is not None else None


def _bytes(reader: Reader, node: Node, key: str) -> JsonValue:
    return reader.integer(node, key, minimum=1, maximum=BODY_BYTES_MAX)


def _source(reader: Reader, node: Node, key: str) -> JsonValue:
    """`{header: …}`, `{field: …}` or `{query: …}`; for `dedupe` a computed value or false, too."""
    if key == "dedupe" and (node.scalar is False or (node.text or "").lstrip().startswith(("$", "{{"))):
        return node.plain()
    entries = node.entries
    if entries is None or len(entries) != 1:
        wanted = "{header: …}, {field: …} or {query: …}"
        reader.wrong_type(node, key, wanted if key != "dedupe" else f"{wanted}, a value such as $data.id, or false")
        return None
    for child in reader.check_keys(entries, _SOURCES, key).values():
        reader.name(child, key)
    return node.plain()


_SETTINGS: Final[Mapping[str, Callable[[Reader, Node, str], JsonValue]]] = {
    "auth": check_auth, "secret": check_secret, "path": _path,
    "methods": _several({spelling: word for word in WEBHOOK_METHODS for spelling in (word, word.lower())}),
    "events": _names, "respond": _chosen(ANSWERS), "timeout": _answer_time, "schema": _schema, "dedupe": _source,
    "challenge": _source, "rate": _rate, "max_bytes": _bytes, "content_types": _content_types,
    "encodings": _several({word: word for word in ENCODINGS}),
    "timezone": _timezone, "catch_up": _catch_up, "overlap": _chosen(OVERLAPS), "jitter": _jitter,
    "source": _names, "on": _several({word: word for word in ENDS}),
    "inputs": _inputs, "name": _name, "enabled": _flag,
}  # fmt: skip
