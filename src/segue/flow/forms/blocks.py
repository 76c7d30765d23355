"""Reads the verbs that hold steps: parallel, race, conditional, switch, foreach, repeat, try."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from msgspec import structs

from segue.flow import codes
from segue.flow.document import Node, join_path
from segue.flow.forms.leaves import Parts
from segue.flow.forms.modifiers import is_handler_map, read_join
from segue.flow.model import Block, JsonValue, RawMap
from segue.flow.nearest import nearest
from segue.flow.policies import read_categories
from segue.flow.reader import Reader, as_expression, first_of
from segue.flow.verbs import VERBS, keys_of

ReadBlock = Callable[[Reader, Node, str, str], Block]
"""(reader, node, label, path) → the block."""

BLOCK_VERBS: Final = frozenset(("parallel", "race", "conditional", "if", "switch", "foreach", "repeat", "try"))
MAX_ROUNDS: Final = 1_000_000
_FAIL: Final = {"fast": "fast", "wait": "wait"}


def read_block_verb(reader: Reader, verb: str, entries: dict[str, Node], path: str, read_block: ReadBlock) -> Parts:
    """The parts of a step whose verb holds steps; its keys stand nested or on the step's own level."""
    read: dict[str, Callable[[Reader, dict[str, Node], str, ReadBlock], Parts]] = {
        "parallel": _parallel, "race": _race, "conditional": _conditional, "if": _conditional,
        "switch": _switch, "foreach": _foreach, "repeat": _repeat, "try": _try,
    }  # fmt: skip
    inner, place = _inner(reader, verb, entries, path)
    if inner is None:
        return Parts("conditional")
    own = place if verb == "if" else join_path(path, verb)
    if verb == "try":
        _guards(reader, inner, entries, own)
    return read[verb](reader, inner, own, read_block)


_FOR_A_GROUP: Final = frozenset(
    ("retry", "retryAttempts", "on_error", "onError", "timeout", "default", "compensate", "when")
)
"""Modifiers that make sense of steps that are put together and no more."""

_MAIN_KEY: Final = {
    "parallel": "branches", "race": "branches", "if": "if", "switch": "on", "foreach": "items", "repeat": "do",
    "try": "do",
}  # fmt: skip


def _inner(reader: Reader, verb: str, entries: dict[str, Node], path: str) -> tuple[dict[str, Node] | None, str]:
    """The verb's keys, from inside its map and from beside it."""
    node = entries[verb]
    known = keys_of((*VERBS[verb].keys, *VERBS[verb].beside))
    beside = {key: child for key, child in entries.items() if key in keys_of(VERBS[verb].beside)}
    if verb == "if":
        return {"if": node, **beside}, path
    is_nested = node.entries is not None and (verb not in ("parallel", "race") or _has_settings(node, known))
    if not is_nested:
        if verb == "conditional":
            reader.wrong_type(node, "conditional", "a map with `if`, `then` and `else`")
            return None, path
        if node.is_null and verb != "switch" and _MAIN_KEY[verb] in beside:
            return beside, path
        return {_MAIN_KEY[verb]: node, **beside}, path
    inner = dict(node.entries or {})
    inner = reader.check_keys(inner, known, verb)
    for key, child in beside.items():
        if key in inner:
            reader.problem(codes.DUPLICATE_KEY, child, f"`{key}` stands in `{verb}` and beside it", at_key=True)
        else:
            inner[key] = child
    return inner, path


def _has_settings(node: Node, known: dict[str, object] | object) -> bool:
    """Whether a map under `parallel` is its settings, rather than branches by name."""
    entries = node.entries or {}
    settings = [key for key in entries if key in ("join", "limit", "fail")]
    if "branches" in entries or len(settings) == len(entries):
        return True
    return bool(settings) and any(nearest(key, ("branches",)) for key in entries)


def _parallel(reader: Reader, inner: dict[str, Node], path: str, read_block: ReadBlock) -> Parts:
    params: RawMap = {"join": "all", "fail": "fast"}
    if join := inner.get("join"):
        params["join"] = read_join(reader, join) or "all"
        reader.place(path, "params.join", join)
    if limit := inner.get("limit"):
        params["limit"] = _count(reader, limit, "limit", path, 10_000)
    if fail := inner.get("fail"):
        params["fail"] = reader.choice(fail, "fail", _FAIL) or "fast"
    parts = Parts("parallel", {key: value for key, value in params.items() if value is not None})
    branches = inner.get("branches")
    if branches is None or branches.is_null or not (branches.items or branches.entries):
        reader.problem(codes.EMPTY_BLOCK, branches, "`parallel` has no branches", path=path, at_key=True)
        return parts
    parts.blocks = _branches(reader, branches, _place_of(branches, path), read_block)
    return parts


def _place_of(branches: Node, path: str) -> str:
    """Where branches stand: below the verb, under its `branches`, or under `branches` beside it."""
    if branches.key != "branches" or branches.parent is None:
        return path
    return join_path(path if branches.parent.key in ("parallel", "race") else path.rpartition(".")[0], "branches")


def _branches(reader: Reader, node: Node, path: str, read_block: ReadBlock) -> tuple[Block, ...]:
    if node.entries is not None:
        return tuple(read_block(reader, child, name, join_path(path, name)) for name, child in node.entries.items())
    blocks: list[Block] = []
    taken: set[str] = set()
    for index, item in enumerate(node.items or []):
        block = read_block(reader, item, "branch", join_path(path, index))
        label = block.steps[0].id if len(block.steps) == 1 else f"branch_{index + 1}"
        if label in taken:
            label = f"{label}_{index + 1}"
        taken.add(label)
        blocks.append(Block(label=label, steps=block.steps, edges=block.edges, span=block.span))
    return tuple(blocks)


def _race(reader: Reader, inner: dict[str, Node], path: str, read_block: ReadBlock) -> Parts:
    parts = _parallel(reader, inner, path, read_block)
    parts.params["join"] = "first"
    return parts


def _conditional(reader: Reader, inner: dict[str, Node], path: str, read_block: ReadBlock) -> Parts:
    parts = Parts("conditional")
    condition = inner.get("if")
    if condition is None:
        reader.missing(None, "conditional", "if", path=path)
    blocks = [_branch(reader, inner, "then", condition, path, read_block)]
    if others := inner.get("elif"):
        items = [others] if others.items is None else others.items
        for index, item in enumerate(items, 1):
            blocks.append(_elif(reader, item, index, path, read_block))
    if "else" in inner and not inner["else"].is_null:
        blocks.append(read_block(reader, inner["else"], "else", join_path(path, "else")))
    parts.blocks = tuple(block for block in blocks if block is not None)
    return parts


def _branch(
    reader: Reader, inner: dict[str, Node], key: str, condition: Node | None, path: str, read_block: ReadBlock
) -> Block | None:
    when = reader.expression(condition, "if") if condition is not None else None
    if condition is not None:
        reader.place(path, "then.when", condition)
    if key not in inner:
        if "else" not in inner:
            reader.missing(None, "conditional", "then", path=path)
        return Block(label="then", when=when or "false")
    block = read_block(reader, inner[key], "then", join_path(path, key))
    return Block(label="then", steps=block.steps, edges=block.edges, span=block.span, when=when or "false")


def _elif(reader: Reader, item: Node, index: int, path: str, read_block: ReadBlock) -> Block | None:
    entries = reader.map_of(item, "elif")
    if entries is None:
        return None
    entries = reader.check_keys(entries, ("if", "then"), "elif")
    label = f"elif:{index}"
    condition, then = entries.get("if"), entries.get("then")
    if condition is None or then is None:
        reader.missing(item, "elif", "if" if condition is None else "then")
        return None
    reader.place(path, f"{label}.when", condition)
    block = read_block(reader, then, label, join_path(path, label))
    when = reader.expression(condition, "if")
    return Block(label=label, steps=block.steps, edges=block.edges, span=block.span, when=when or "false")


def _switch(reader: Reader, inner: dict[str, Node], path: str, read_block: ReadBlock) -> Parts:
    parts = Parts("switch")
    on = inner.get("on")
    if on is None or on.is_null:
        reader.missing(None, "switch", "on", path=path)
    else:
        parts.params["on"] = reader.expression(on, "on")
        reader.place(path, "params.on", on)
    cases = inner.get("cases")
    if cases is not None and not cases.is_null and cases.entries is None:
        reader.wrong_type(cases, "cases", "a map of values and their steps", "write `cases: {bug: [triage]}`")
    elif cases is None or not cases.entries:
        reader.missing(None, "switch", "cases", path=path)
    blocks: list[Block] = []
    for text, child in ((cases.entries if cases is not None else None) or {}).items():
        block = read_block(reader, child, f"case:{text}", join_path(path, "cases", text))
        case = _case_value(text, reader, child)
        blocks.append(Block(label=block.label, steps=block.steps, edges=block.edges, span=block.span, case=case))
    if "default" in inner and not inner["default"].is_null:
        blocks.append(read_block(reader, inner["default"], "default", join_path(path, "default")))
    parts.blocks = tuple(blocks)
    return parts


def _case_value(text: str, reader: Reader, child: Node) -> JsonValue:
    """The literal a case stands for: an unquoted `3` or `true` is that value, anything else is text."""
    source = reader.document.text
    is_quoted = source is not None and child.key_start >= 0 and source[child.key_start] in "\"'"
    if is_quoted or source is None:
        return text
    words: dict[str, JsonValue] = {"true": True, "false": False, "null": None}
    if text in words:
        return words[text]
    if text.removeprefix("-").isdecimal() and len(text) < 19:
        return int(text)
    return text


def _foreach(reader: Reader, inner: dict[str, Node], path: str, read_block: ReadBlock) -> Parts:
    parts = Parts("foreach", foreach_params(reader, inner, path))
    parts.blocks = _body(reader, inner, path, "foreach", read_block)
    return parts


def foreach_params(reader: Reader, inner: dict[str, Node], path: str) -> RawMap:
    """The parameters of a fan-out, without its body."""
    params: RawMap = {}
    items = first_of(inner, "items", "inputData")
    if items is None or items.is_null:
        reader.missing(None, "foreach", "items", path=path)
    elif items.items is not None or items.entries is not None:
        params["items"] = as_expression(items.plain())
    else:
        params["items"] = reader.expression(items, "items")
        reader.place(path, "params.items", items)
    for key in ("as", "index"):
        if node := inner.get(key):
            name = reader.name(node, key)
            if name is not None and not name.isidentifier():
                better = re.sub(r"\W+", "_", name).strip("_")
                text = reader.document.text or ""
                patch = reader.value_patch(node, better) if better.isidentifier() and text.count(name) == 1 else None
                message = f'"{name[:60]}" is no name; use letters, digits and underscores'
                reader.problem(codes.BAD_NAME, node, message, patch=patch)
            params[key] = name
            reader.place(path, f"params.{key}", node)
    for key, spellings in (("key", ("key",)), ("aggregate", ("aggregate", "aggregator"))):
        if node := first_of(inner, *spellings):
            params[key] = reader.expression(node, key)
            reader.place(path, f"params.{key}", node)
    if limit := first_of(inner, "limit", "concurrency"):
        params["limit"] = _count(reader, limit, "limit", path, 10_000)
    tolerate = _tolerate(reader, inner)
    if isinstance(tolerate, str) and tolerate not in ("all", "collect") and not tolerate.endswith("%"):
        reader.place(path, "params.tolerate", inner["tolerate"])
    if tolerate is not None:
        params["tolerate"] = tolerate
    return {key: value for key, value in params.items() if value is not None}


def _count(reader: Reader, node: Node, what: str, path: str, maximum: int) -> JsonValue:
    """A whole number above 0, or an expression that gives one when the step starts."""
    is_computed = node.text is not None and not node.text.strip().isdecimal()
    reader.place(path, f"params.{what}", node)
    return reader.expression(node, what) if is_computed else reader.integer(node, what, minimum=1, maximum=maximum)


def _tolerate(reader: Reader, inner: dict[str, Node]) -> JsonValue:
    """A count, a share such as `10%`, `all`, `collect`, or an expression (`$…` or `{{ … }}`) that gives one of them."""
    node = first_of(inner, "on_item_error", "onItemError")
    if node is not None:
        word = reader.choice(node, "on_item_error", {"fail": "fail", "continue": "continue", "collect": "collect"})
        if "tolerate" in inner:
            reader.problem(codes.CONFLICT, node, "`on_item_error` says the same as `tolerate`", at_key=True)
        return {"fail": 0, "continue": "all", "collect": "collect"}.get(word or "")
    node = inner.get("tolerate")
    if node is None:
        return None
    text = (node.text or "").strip()
    if text in ("all", "collect"):
        return text
    if text.endswith("%") and text[:-1].strip().isdecimal() and int(text[:-1]) <= 100:
        return f"{int(text[:-1])}%"
    if text.startswith(("$", "{{")):
        return reader.expression(node, "tolerate")
    if node.text is not None:
        hint = "write a number, `10%`, `all`, `collect` or `$inputs.most`"
        reader.problem(
            codes.NOT_ALLOWED, node, f'tolerate: "{text[:40]}" is neither a count nor a share', suggestion=hint
        )
        return None
    return reader.integer(node, "tolerate")


def _repeat(reader: Reader, inner: dict[str, Node], path: str, read_block: ReadBlock) -> Parts:
    parts = Parts("repeat", repeat_params(reader, inner, path))
    parts.blocks = _body(reader, inner, path, "repeat", read_block)
    return parts


def repeat_params(reader: Reader, inner: dict[str, Node], path: str) -> RawMap:
    """The parameters of a loop, without its body."""
    params: RawMap = {}
    for key in ("while", "until"):
        if node := inner.get(key):
            params[key] = reader.expression(node, key)
            reader.place(path, f"params.{key}", node)
    if every := inner.get("every"):
        params["every"] = reader.duration(every, "every")
    if within := inner.get("within"):
        params["within"] = reader.duration(within, "within", minimum=0.001)
    if most := inner.get("max"):
        params["max"] = _count(reader, most, "max", path, MAX_ROUNDS)
    if not {"while", "until", "max", "within"} & set(inner):
        reader.problem(
            codes.MISSING_KEY, None, "repeat needs an end", path=path, at_key=True,
            suggestion="add `until`, `while`, `max` or `within`",
        )  # fmt: skip
    params.setdefault("max", 100)
    return {key: value for key, value in params.items() if value is not None}


def _body(reader: Reader, inner: dict[str, Node], path: str, verb: str, read_block: ReadBlock) -> tuple[Block, ...]:
    do = first_of(inner, "do", "steps")
    if do is None:
        reader.missing(None, verb, "do", path=path)
        return ()
    return (read_block(reader, do, "do", join_path(path, "do")),)


def _try(reader: Reader, inner: dict[str, Node], path: str, read_block: ReadBlock) -> Parts:
    parts = Parts("try")
    blocks = list(_body(reader, inner, path, "try", read_block))
    blocks += _catches(reader, inner, path, read_block)
    if (node := inner.get("finally")) and not node.is_null:
        blocks.append(read_block(reader, node, "finally", join_path(path, "finally")))
    parts.blocks = tuple(blocks)
    return parts


def _guards(reader: Reader, inner: dict[str, Node], entries: dict[str, Node], path: str) -> None:
    """A `try` has something to do for its steps: its own `catch` or `finally`, or what holds for all of them."""
    if "do" in inner and inner.keys().isdisjoint(("catch", "finally")) and _FOR_A_GROUP.isdisjoint(entries):
        hint = "add `catch`, `finally`, or what is to hold for its steps together, such as `retry`"
        reader.problem(
            codes.MISSING_KEY, None, "try without `catch` or `finally` guards nothing", suggestion=hint, path=path,
            at_key=True,
        )  # fmt: skip


def _catches(reader: Reader, inner: dict[str, Node], path: str, read_block: ReadBlock) -> list[Block]:
    """`catch`: steps, `{match, do}`, or a list of these; `match` beside it says what plain steps catch."""
    node, match = inner.get("catch"), inner.get("match")
    if node is None or node.is_null:
        return []
    where = join_path(path, "catch")
    if is_handler_map(node):
        if match is not None:
            reader.problem(codes.CONFLICT, match, "`match` stands in `catch` and beside it", at_key=True)
        return [_catch(reader, node, "catch", where, read_block)]
    if match is None and node.items and all(is_handler_map(item) for item in node.items):
        labels = ("catch", *(f"catch:{number}" for number in range(1, len(node.items))))
        return [
            _catch(reader, item, label, join_path(where, index), read_block)
            for index, (item, label) in enumerate(zip(node.items, labels, strict=True))
        ]
    block = read_block(reader, node, "catch", where)
    return [block if match is None else structs.replace(block, match=read_categories(reader, match, "match"))]


def _catch(reader: Reader, node: Node, label: str, path: str, read_block: ReadBlock) -> Block:
    entries = reader.check_keys(node.entries or {}, ("match", "do", "steps"), "catch")
    match = read_categories(reader, entries["match"], "match") if "match" in entries else ()
    do = first_of(entries, "do", "steps")
    block = Block(label=label) if do is None else read_block(reader, do, label, join_path(path, str(do.key)))
    return structs.replace(block, match=match)
