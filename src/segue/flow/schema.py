"""The JSON Schema (draft 2020-12) of flows, for editors: made of the tables of `segue.flow.verbs`.

`segue schema` prints it, and `docs/flow.schema.json` holds it. It describes every form a flow file may have. A step is
told apart as the reader does it: a text is a name; a map with a verb is a step without a name (or with `name:`); any
other map names its step with its one own key.
"""

from __future__ import annotations

import json
from typing import Final

from segue.flow.model import JsonValue, RawMap
from segue.flow.schema_parts import a_map, any_of, example_value, having, key_schema, keys_map, ref, value_defs
from segue.flow.verbs import FLOW_KEYS, HTTP_KEYS, MODIFIERS, POLL_CALL_KEYS, POLL_KEYS, VERBS, Key, Verb

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_CALLS: Final = ("call", "use", "adapter", "python", "http")
_COMPOSITES: Final = ("wait", "poll")
_WIDTH: Final = 118
_WRAPPERS: Final = ("definition", "graph", "dag", "metadata", "viewport", "settings", "idempotencyKey", "runId")


def flow_schema() -> RawMap:
    """The schema of a flow file in any of its forms."""
    properties: RawMap = {spelling: key_schema(key, spelling, "flow") for spelling, key in FLOW_KEYS.items()}
    properties |= dict.fromkeys(_WRAPPERS, True)
    properties["definition"] = {"description": "Document B's and D's wrapper around steps or tasks.", **ref("wrapped")}
    return {
        "$schema": DIALECT,
        "title": "Segue flow",
        "description": "A flow of Segue: what should happen, step by step.",
        **a_map(properties),
        "anyOf": [having(key) for key in ("steps", "tasks", "nodes", "definition", "graph", "dag")],
        "$defs": {**value_defs(), **_step_defs(), **_form_defs()},
    }


def _step_defs() -> RawMap:
    modifiers: RawMap = {spelling: key_schema(key, spelling, "step") for spelling, key in MODIFIERS.items()}
    spelled_out: RawMap = {"if": _is_spelled_out(), "then": ref("body_map"), "else": ref("keyed")}
    return {
        "modifiers": {"properties": modifiers},
        "defaults": keys_map(MODIFIERS),
        "steps": {
            "description": "Steps in order, or one step.",
            "if": {"type": "array"},
            "then": {"type": "array", "items": ref("step"), "minItems": 1},
            "else": ref("step"),
        },
        "step": {
            "description": "A name, exactly one verb, and modifiers.",
            "if": {"type": "string"},
            "then": ref("bare"),
            "else": {
                "type": "object",
                "if": {"type": "object", **having("type", properties={"type": {"type": "string"}})},
                "then": ref("typed"),
                "else": {"if": _has_empty_name(), "then": ref("forgotten"), "else": spelled_out},
            },
        },
        "bare": {
            "description": "A name that is used: a definition, an action, a saved step; or `stop`, `return`.",
            "type": "string",
            "minLength": 1,
            "not": {"enum": [name for name in VERBS if name not in ("stop", "return")]},
        },
        "keyed": _keyed(),
        "body": {
            "description": "What a named step does: the name that it uses, or a verb with its modifiers.",
            "if": {"type": ["string", "null"]},
            "else": ref("body_map"),
        },
        "body_map": _body_map(),
        "forgotten": a_map(_step_words(), others=ref("body")),
        "unnamed_verb": a_map(_step_words()),
        **{f"step_{name}": _verb_step(verb) for name, verb in VERBS.items()},
        **{f"verb_{name}": _verb_value(verb) for name, verb in VERBS.items()},
    }


def _is_spelled_out() -> RawMap:
    """Whether a map holds its step's verb or name on its own level."""
    verbs: list[JsonValue] = [having(name) for name in VERBS]
    names = (having(key, properties={key: {"type": "string"}}) for key in ("name", "id"))
    return {"type": "object", **any_of(*verbs, *names)}


def _has_empty_name() -> RawMap:
    """Whether an unknown key has nothing behind it, as in `- charge:` with the keys beside instead of inside it."""
    words = (
        *MODIFIERS,
        *VERBS,
        *(key for verb in VERBS.values() for row in verb.beside for key in (row.name, *row.also)),
    )
    known: RawMap = dict.fromkeys((*words, "name", "id", "params", "action"), True)
    filled = a_map(known, others={"not": {"type": "null"}})
    return {"type": "object", "not": filled}


def _names() -> RawMap:
    return {
        "name": {"description": "The step's name.", **ref("text")},
        "id": {"description": "The step's name.", **ref("text")},
    }


def _modifier_refs() -> RawMap:
    return {spelling: {"$ref": f"#/$defs/modifiers/properties/{spelling}"} for spelling in MODIFIERS}


def _keyed() -> RawMap:
    """`- verify: {…}`. Verbs and names never get here, and are listed for the editor's completion."""
    own: RawMap = {"type": "object", "propertyNames": {"enum": [*MODIFIERS, "params", "action"]}}
    return {**a_map(_step_words(), others=ref("body")), "minProperties": 1, "not": own}


def _step_words() -> RawMap:
    verbs: RawMap = {name: ref(f"verb_{name}") for name in VERBS}
    return {**verbs, **_names(), **_modifier_refs(), "params": ref("values"), "action": ref("text")}


def _body_map() -> RawMap:
    """A map with at most one verb; a call may have `wait` or `poll` as its second half."""
    is_call: RawMap = any_of(*(having(name) for name in _CALLS))
    chosen: list[JsonValue] = []
    for name in VERBS:
        condition: RawMap = having(name)
        if name in _COMPOSITES:
            condition["not"] = is_call
        chosen.append({"if": condition, "then": ref(f"step_{name}")})
    verbless: RawMap = {"not": any_of(*(having(name) for name in VERBS))}
    return {"type": "object", "allOf": [*chosen, {"if": verbless, "then": ref("unnamed_verb")}]}


def _verb_step(verb: Verb) -> RawMap:
    """A step with this verb: its keys, modifiers, and a name; other verbs are not known here, so two are refused."""
    beside: RawMap = {
        spelling: key_schema(key, spelling, verb.name) for key in verb.beside for spelling in (key.name, *key.also)
    }
    known: RawMap = {**_modifier_refs(), **_names(), **beside, verb.name: ref(f"verb_{verb.name}")}
    if verb.name in _CALLS:
        callback: RawMap = a_map({"callback": any_of(ref("callback"), {"type": "null"}, {"const": True})})
        known["wait"] = {**callback, "required": ["callback"]}
        known["poll"] = ref("poll")
    return a_map(known, required=[verb.name])


def _verb_value(verb: Verb) -> RawMap:
    schema: RawMap = {"description": verb.doc + ("" if verb.runs else " Read and checked, not run by this engine yet.")}
    schema["examples"] = [_example_of(verb)]
    return {**schema, **_value_of(verb)}


def _example_of(verb: Verb) -> JsonValue:
    return example_value(verb.example.partition(":")[2].strip())


def _table(keys: tuple[Key, ...], group: str, **more: JsonValue) -> RawMap:
    spellings: RawMap = {
        spelling: key_schema(key, spelling, group) for key in keys for spelling in (key.name, *key.also)
    }
    return a_map(spellings, **more)


def _value_of(verb: Verb) -> RawMap:
    """What stands behind the verb: its settings, or the shorthand for the most usual one."""
    name = verb.name
    settings = _table(verb.keys, name)
    if name in ("call", "use", "adapter"):
        return ref("text")
    if name in ("parallel", "race"):
        return _parallel_value(verb)
    if name == "http":
        return ref("http")
    listed: RawMap = {"type": "array", "items": ref("step"), "minItems": 1}
    values: dict[str, RawMap] = {
        "python": any_of(ref("text"), settings),
        "conditional": {**settings, "required": ["if"], "anyOf": [{"required": ["then"]}, {"required": ["else"]}]},
        "if": ref("expression"),
        "switch": any_of({**settings, "required": ["on"]}, ref("expression")),
        "foreach": any_of(settings, ref("expression"), {"type": ["array", "null"]}),
        "repeat": any_of(settings, listed, {"type": ["string", "null"]}),
        "try": any_of(settings, listed, {"type": ["string", "null"]}),
        "poll": _poll_value(),
        "flow": any_of(ref("text"), settings),
        "wait": any_of(ref("duration"), ref("computed"), {**settings, "minProperties": 1}),
        "set": ref("values"),
        "map": _map_value(settings),
        "log": _log_value(settings),
        "fail": any_of({"type": ["string", "number", "boolean", "null"]}, _fail_value(settings)),
        "return": {},
        "stop": {},
    }  # fmt: skip
    return values.get(name, settings)


def _map_value(settings: RawMap) -> RawMap:
    """Pairs of paths, or the object itself."""
    is_settings: RawMap = {"required": ["mappings"], "properties": {"mappings": {"type": "array"}}, "type": "object"}
    plain: RawMap = {"if": {"type": "array"}, "then": ref("mappings")}
    return {"if": is_settings, "then": settings, "else": plain}


def _log_value(settings: RawMap) -> RawMap:
    """Settings, if there is a message and nothing but settings beside it; else the line itself."""
    names: RawMap = {"enum": ["message", "level", "data"]}
    is_settings: RawMap = {"type": "object", "required": ["message"], "propertyNames": names}
    return {"if": is_settings, "then": settings, "else": {"not": {"type": "null"}}}


def _fail_value(settings: RawMap) -> RawMap:
    properties = settings["properties"]
    assert isinstance(properties, dict)
    return {**settings, "properties": {**properties, "category": ref("text")}}


def _parallel_value(verb: Verb) -> RawMap:
    """A list of branches, a map of branches by name, or settings that hold `branches`."""
    settings = _table(verb.keys, verb.name)
    is_settings: RawMap = any_of(
        {"required": ["branches"]}, {"type": "object", "propertyNames": {"enum": ["join", "limit", "fail"]}}
    )
    by_name: RawMap = {"type": "object", "additionalProperties": ref("steps"), "minProperties": 1}
    return {
        "if": {"type": "object"},
        "then": {"if": is_settings, "then": settings, "else": by_name},
        "else": any_of({"type": "array", "items": ref("steps"), "minItems": 1}, {"type": "null"}),
    }


def _poll_value() -> RawMap:
    schema = keys_map({**HTTP_KEYS, **POLL_KEYS, **POLL_CALL_KEYS})
    called: list[JsonValue] = [having(key) for key in ("call", "use", "adapter", "http", "url")]
    conditions: list[JsonValue] = [having(key) for key in ("success_condition", *POLL_KEYS["success_condition"].also)]
    return {**schema, "allOf": [any_of(*called), any_of(*conditions)]}


def _form_defs() -> RawMap:
    """The documents' own forms: typed steps, tasks, canvas nodes and edges."""
    verbs: RawMap = {name: ref(f"verb_{name}") for name in VERBS}
    typed: RawMap = {"type": {"type": "string"}, "config": True, "data": True, "position": True}
    words: RawMap = {"label": ref("text"), "description": ref("text")}
    task_keys: RawMap = {
        **verbs,
        **_modifier_refs(),
        "dependencies": ref("names"),
        "agent_type": {"description": "The adapter.", **ref("text")},
        "agentType": ref("text"),
        "action": {"description": "The adapter's action.", **ref("text")},
        "parameters": ref("values"),
        "params": ref("values"),
        "type": True,
        "config": True,
        "description": ref("text"),
        "condition": {"description": "A conditional task's condition.", **ref("expression")},
        **{key: ref("names") for key in ("thenTasks", "elseTasks", "then_tasks", "else_tasks")},
        "inputData": {"description": "A fan-out's list."},
        "input_data": True,
        "taskTemplate": {"description": "What is done for each item.", "type": "object"},
        "task_template": {"type": "object"},
        "aggregator": ref("expression"),
        "concurrency": {"type": "integer", "minimum": 1, "default": 5},
        **_names(),
    }
    return {
        "typed": a_map({**_modifier_refs(), **_names(), **typed, **words}),
        "task": a_map(task_keys, anyOf=[{"required": ["id"]}, {"required": ["name"]}]),
        "node": {
            "type": "object",
            "properties": {"id": ref("text"), "type": {"type": "string"}, "data": True, "position": {"type": "object"}},
            "required": ["id"],
        },
        "edge": {
            "type": "object",
            "properties": {"source": ref("text"), "target": ref("text"), "sourceHandle": {"type": ["string", "null"]}},
            "required": ["source", "target"],
        },
        "wrapped": {"type": "object", "properties": {"steps": ref("steps")}},
    }


def schema_text() -> str:
    """The schema as the text of a file; what fits on one line stands on one."""
    return _laid_out(flow_schema(), 0) + "\n"


def _laid_out(value: JsonValue, depth: int) -> str:
    line = json.dumps(value, ensure_ascii=False)
    if len(line) + depth <= _WIDTH or not isinstance(value, (dict, list)):
        return line
    if isinstance(value, dict):
        parts = [f"{json.dumps(key)}: {_laid_out(child, depth + 1)}" for key, child in value.items()]
    else:
        parts = [_laid_out(child, depth + 1) for child in value]
    indent = " " * (depth + 1)
    first, last = ("{", "}") if isinstance(value, dict) else ("[", "]")
    return f"{first}\n{indent}" + f",\n{indent}".join(parts) + f"\n{' ' * depth}{last}"
