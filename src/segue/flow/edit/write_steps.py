"""Steps of the model as a careful person would write them: shorthands, `needs` only where the order does not say it."""

from __future__ import annotations

import re
from typing import Final

from segue.errors import RequestError
from segue.flow.edit.write import PlainKey
from segue.flow.edit.write_policies import (
    approval_value,
    call_entries,
    callback_value,
    duration_text,
    expression_value,
    http_value,
    poll_value,
    retry_value,
    sharing_entries,
    timeout_entries,
)
from segue.flow.model import Block, Handler, JsonValue, Poll, RawMap, Step, walk
from segue.flow.verbs import MODIFIERS, VERBS, keys_of

_SETTINGS: Final = frozenset(("join", "limit", "fail", "branches"))
_NO_NAMES: Final = frozenset((*VERBS, *MODIFIERS, "name", "id", "params", "action"))
_BESIDE_ANY: Final = frozenset(key for verb in VERBS.values() for key in keys_of(verb.beside))
_LOG_KEYS: Final = frozenset(("message", "level", "data"))


class StepWriter:
    """Writes the steps of one flow. `definitions` gathers the groups of steps that only a definition can say.

    Raises RequestError for what no text says: a branch without steps, an edge that carries a condition, …
    """

    def __init__(self, blocks: tuple[Block, ...], *, named: bool) -> None:
        self.definitions: RawMap = {}
        self._named = named
        """Whether every step is written with its name, also those whose name a reading would give them."""
        self._words = {word for block in blocks for step in walk(block) for word in (step.id, step.use) if word}

    def block(self, block: Block) -> list[JsonValue]:
        """A block's steps in order."""
        if not block.steps:
            raise RequestError(f'the block "{block.label}" has no steps, which no text can say; take it out')
        odd = next((edge for edge in block.edges if edge.label is not None or edge.when is not None), None)
        if odd is not None:
            raise RequestError(
                f"the edge from {odd.source} to {odd.target} carries a label or a condition; only a graph can say that"
            )
        sources: dict[str, list[str]] = {step.id: [] for step in block.steps}
        for edge in block.edges:
            if edge.source not in sources or edge.target not in sources:
                raise RequestError(f"the edge from {edge.source} to {edge.target} does not stay in its block")
            sources[edge.target].append(edge.source)
        before: list[str] = []
        items: list[JsonValue] = []
        for step in block.steps:
            needs = sources[step.id]
            items.append(self.step(step, None if needs == before else [*needs]))
            before = [step.id]
        return items

    def step(self, step: Step, needs: list[JsonValue] | None) -> JsonValue:
        """A step as an item of a list: a name, or a map."""
        entries = self.body(step)
        if needs is not None:
            entries["needs"] = needs[0] if len(needs) == 1 else needs
        verb = next(iter(entries))
        if self._is_numbered(step, verb):
            return entries
        if len(entries) == 1 and verb in ("call", "use"):
            use = entries[verb]
            if isinstance(use, str) and self._is_bare(step, use):
                return use
            if step.id not in _NO_NAMES and not step.id.startswith("x-") and use not in VERBS:
                return {step.id: use}
        is_odd = step.id in _NO_NAMES or step.id in _BESIDE_ANY or step.id.startswith("x-") or not step.id.strip()
        return {"id": step.id, **entries} if is_odd else {step.id: entries}

    def body(self, step: Step) -> RawMap:
        """A step's keys: the verb first, then its modifiers."""
        verb = self._verb(step)
        for key, value in self.modifiers(step).items():
            if key in verb:
                raise RequestError(f"{step.id}: `{key}` would be said twice")
            verb[key] = value
        return verb

    def _is_numbered(self, step: Step, verb: str) -> bool:
        """Whether a reading would number this step, so that it needs no name."""
        word = "conditional" if verb == "if" else verb
        is_kind = verb in VERBS and verb not in ("call", "use", "adapter")
        return not self._named and is_kind and re.fullmatch(rf"{word}_[1-9][0-9]{{0,3}}", step.id) is not None

    def _is_bare(self, step: Step, use: str) -> bool:
        return use.rpartition(".")[2] == step.id and use == use.strip() and use not in VERBS and step.id != ""

    # -- verbs

    def _verb(self, step: Step) -> RawMap:
        kind = step.kind
        if kind in ("start", "branch"):
            raise RequestError(f"{step.id} is a {kind} node, which only a graph can say")
        if kind in ("call", "http"):
            entries = (
                call_entries(step.use or step.id, step.params) if kind == "call" else {"http": http_value(step.params)}
            )
            if step.poll is not None:
                entries["poll"] = {**_asked(step.poll), **poll_value(step.poll)}
            if step.callback is not None:
                entries["wait"] = {"callback": callback_value(step.callback)}
            return entries
        if kind == "poll":
            asked: RawMap = {"http": http_value(step.params)} if step.use == "http" else {}
            asked = asked or call_entries(step.use or "", step.params)
            return {"poll": {**asked, **poll_value(step.poll or Poll())}}
        if kind == "approve" and step.callback is not None:
            return {"approve": approval_value(step.params, step.callback)}
        if kind == "wait" and step.callback is not None:
            return {"wait": {"callback": callback_value(step.callback)}}
        if step.blocks or kind in ("parallel", "conditional", "switch", "foreach", "repeat", "try"):
            return self._block_verb(step)
        return {kind: _leaf_value(step)}

    def _block_verb(self, step: Step) -> RawMap:
        blocks = {block.label: block for block in step.blocks}
        if len(blocks) != len(step.blocks):
            raise RequestError(f"two branches of {step.id} have the same name; no text can say that")
        params = step.params
        if step.kind == "parallel":
            return self._parallel(step)
        if step.kind == "conditional":
            return self._conditional(step)
        if step.kind == "switch":
            return {"switch": self._switch(step)}
        if step.kind == "try":
            return self._try(step, blocks)
        keys = ("items", "as", "index", "key", "limit", "tolerate", "aggregate") if step.kind == "foreach" else (
            "while", "until", "every", "within", "max")  # fmt: skip
        value: RawMap = {}
        for key in keys:
            found = params.get(key)
            if found is None or (key == "max" and found == 100 and {"while", "until", "within"} & set(params)):
                continue
            value[key] = (
                duration_text(found) if key in ("every", "within") and isinstance(found, (int, float)) else found
            )
        return {step.kind: {**value, "do": self._inner(blocks, "do", step)}}

    def _inner(self, blocks: dict[str, Block], label: str, step: Step) -> list[JsonValue]:
        if label not in blocks:
            raise RequestError(f"{step.id} has no `{label}`, which no text can say")
        return self.block(blocks[label])

    def _parallel(self, step: Step) -> RawMap:
        params = step.params
        verb = "race" if params.get("join") == "first" else "parallel"
        settings = {
            key: params[key]
            for key, usual in (("join", "first" if verb == "race" else "all"), ("limit", None), ("fail", "fast"))
            if params.get(key) != usual and key in params
        }
        if not step.blocks:
            raise RequestError(f"{step.id} has no branches, which no text can say; take it out")
        branches: JsonValue
        if [block.label for block in step.blocks] == _list_labels(step.blocks):
            lists = [self.block(block) for block in step.blocks]
            branches = [steps[0] if len(steps) == 1 else steps for steps in lists]
        else:
            branches = {block.label: self.block(block) for block in step.blocks}
        is_plain = not settings and (isinstance(branches, list) or not _SETTINGS & set(branches))
        return {verb: branches if is_plain else {"branches": branches, **settings}}

    def _conditional(self, step: Step) -> RawMap:
        blocks = list(step.blocks)
        first = blocks.pop(0) if blocks and blocks[0].label == "then" else None
        if first is None or first.when is None:
            raise RequestError(f"{step.id} has no condition, which no text can say")
        last = blocks.pop() if blocks and blocks[-1].label == "else" else None
        value: RawMap = {"if": expression_value(first.when)}
        if first.steps or last is None:
            value["then"] = self.block(first)
        others: list[JsonValue] = []
        for number, block in enumerate(blocks, 1):
            if block.label != f"elif:{number}" or block.when is None:
                raise RequestError(f'{step.id} has a branch "{block.label}", which no text can say')
            others.append({"if": expression_value(block.when), "then": self.block(block)})
        if others:
            value["elif"] = others
        if last is not None:
            value["else"] = self.block(last)
        return value

    def _switch(self, step: Step) -> RawMap:
        cases: RawMap = {}
        value: RawMap = {"on": step.params.get("on"), "cases": cases}
        for block in step.blocks:
            if block.label == "default" and block.case is None:
                value["default"] = self.block(block)
                continue
            text = block.label.removeprefix("case:")
            if isinstance(block.case, str) and (text != block.case or text == block.label):
                raise RequestError(f'{step.id} has a branch "{block.label}", which no text can say')
            cases[text if isinstance(block.case, str) else PlainKey(text)] = self.block(block)
        return value

    def _try(self, step: Step, blocks: dict[str, Block]) -> RawMap:
        if set(blocks) == {"do"}:
            # A group that guards nothing: what a definition that is a list is read as.
            name = step.id
            while name in self.definitions or (name in self._words and name != step.id) or not name.isidentifier():
                name = f"{re.sub(r'[^A-Za-z0-9_]', '_', name)}_steps"
            self.definitions[name] = self.block(blocks["do"])
            return {"use": name}
        value: RawMap = {"do": self._inner(blocks, "do", step)}
        catches: list[JsonValue] = [
            {"match": [*block.match], "do": self.block(block)} if block.match else {"do": self.block(block)}
            for block in step.blocks
            if block.label == "catch" or block.label.startswith("catch:")
        ]
        if len(catches) == 1 and not blocks["catch"].match:
            value["catch"] = self.block(blocks["catch"])
        elif catches:
            value["catch"] = catches[0] if len(catches) == 1 else catches
        if "finally" in blocks:
            value["finally"] = self.block(blocks["finally"])
        return {"try": value}

    # -- modifiers

    def modifiers(self, step: Step) -> RawMap:
        """A step's keys beside its verb."""
        entries: RawMap = {}
        if step.when is not None:
            entries["when"] = expression_value(step.when)
        if step.join != "all":
            entries["join"] = step.join
        if step.timeout is not None:
            entries.update(timeout_entries(step.timeout))
        if step.retry is not None:
            entries["retry"] = retry_value(step.retry)
        entries.update({key: getattr(step, key) for key in ("default", "mock") if getattr(step, f"has_{key}")})
        if step.output is not None:
            entries["output"] = step.output
        if step.on_error:
            entries["on_error"] = self._handlers(step)
        for key, block in (("finally", step.finally_), ("compensate", step.compensate)):
            if block is not None:
                entries[key] = self.block(block)
        plain = ("priority", "idempotency", "at_most_once", "disabled")
        entries.update({key: found for key in plain if (found := getattr(step, key))})
        entries.update(sharing_entries(step))
        entries.update({key: value for key, value in step.extras.items() if key in MODIFIERS})
        entries.update({key: text for key in ("title", "notes") if (text := getattr(step, key)) is not None})
        return entries

    def _handlers(self, step: Step) -> JsonValue:
        if len(step.on_error) == 1 and not step.on_error[0].match and step.on_error[0].then == "continue":
            return self.block(step.on_error[0].block)
        handlers: list[JsonValue] = [self._handler(handler) for handler in step.on_error]
        return handlers[0] if len(handlers) == 1 else handlers

    def _handler(self, handler: Handler) -> RawMap:
        value: RawMap = {}
        if handler.match:
            value["match"] = handler.match[0] if len(handler.match) == 1 else [*handler.match]
        if handler.block.steps:
            value["do"] = self.block(handler.block)
        if handler.then != "continue" or "do" not in value:
            value["then"] = handler.then
        return value


def _asked(poll: Poll) -> RawMap:
    """What a call that starts a job is asked with, if that is another call."""
    if poll.use is None:
        return {}
    return {"http": http_value(poll.params)} if poll.use == "http" else call_entries(poll.use, poll.params)


def _list_labels(blocks: tuple[Block, ...]) -> list[str]:
    """The labels that branches get if they are written as a list."""
    labels: list[str] = []
    for number, block in enumerate(blocks, 1):
        label = block.steps[0].id if len(block.steps) == 1 else f"branch_{number}"
        labels.append(f"{label}_{number}" if label in labels else label)
    return labels


def _leaf_value(step: Step) -> JsonValue:
    """What stands behind a verb that holds no steps."""
    params, kind = step.params, step.kind
    if kind == "flow":
        return params["flow"] if set(params) == {"flow"} else params
    if kind == "wait":
        return _wait_value(params)
    if kind in ("map", "return"):
        return params.get("value")
    if kind == "log":
        is_short = params.get("level") == "info" and "data" not in params
        message = params.get("message")
        is_map = isinstance(message, dict) and set(message) <= _LOG_KEYS and "message" in message
        if is_short and not is_map:
            return message
        return params if params.get("level") != "info" else {key: params[key] for key in params if key != "level"}
    if kind == "fail":
        return (
            params["message"] if set(params) == {"message"} and isinstance(params["message"], str) else params or None
        )
    if kind == "stop":
        return params.get("reason", True)
    return params


def _wait_value(params: RawMap) -> JsonValue:
    duration, until = params.get("duration"), params.get("until")
    if isinstance(duration, (int, float)):
        return duration_text(duration)
    if duration is not None:
        return duration
    if isinstance(until, str):
        inside = re.fullmatch(r"\{\{ (.*) \}\}", until, re.DOTALL)
        return {"until": inside[1] if inside else until}
    if isinstance(buffer := params.get("buffer"), (int, float)):
        return {**params, "buffer": duration_text(buffer)}
    return params
