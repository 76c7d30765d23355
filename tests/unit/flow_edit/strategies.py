"""Flow texts as people write them, and worse: every verb and modifier in every shape, with comments, odd quoting, block
scalars, anchors, CRLF, a byte order mark, tabs where they are legal, and letters from everywhere.

`flow_texts()` gives texts that read without errors. They are made from a number (a seed) and a size, so that a failing
example is two numbers.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from hypothesis import strategies as st

from segue.flow import ReadResult, read_flow

JSON = Any
"""What a document holds; here also the two marks for anchors and aliases."""

_PLAIN = re.compile(r"[A-Za-z_$/äé中][\wäé中 ./$()'\"+=<>?;^~%|&*!-]*[\w)äé中]\Z|[A-Za-z]\Z")
_WORDS = {"null", "true", "false", "Null", "True", "False", "NULL", "TRUE", "FALSE"}
_TEXTS = (
    "plain", "NO", "on", "22:22", "it's", 'say "hi"', "käse", "中文 text", "emoji 🎉", "a: b", "# no comment", "- dash",
    "null", "true", "12", "1e3", "0x1f", " lead", "trail ", "$$5", "$5 off", "*star", "&and", "!bang", "%pct", "@at",
    "`tick`", "{brace", "[bracket", "a, b", "x #y", "tab\there", "back\\slash", "", "~", "?", "-", ":", "a:", "=", "<<",
    "two\nlines", "two\nlines\n", "\n lead\n", "line\n\n\nend", "sep\u2028arator", "\u00a0nbsp", "nul\x00",
    "{{ 1 + 1 }}", "sum {{ 1 + 2 }} of", "2024-01-01", "'", '"', "''", "# c\n# d", "a\tb\n\tc\n",
)  # fmt: skip


class Anchored:
    """A value with an anchor."""

    def __init__(self, name: str, value: JSON) -> None:
        self.name = name
        self.value = value


class Alias:
    """`*name`."""

    def __init__(self, name: str) -> None:
        self.name = name


class Maker:
    """Makes the tree of one flow."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.count = 0
        self.anchors = 0
        self.last_anchor: str | None = None
        self.names: list[str] = []

    def name(self) -> str:
        self.count += 1
        self.names.append(self.rng.choice(("step", "do_it", "Größe", "x", "send_mail")) + str(self.count))
        return self.names[-1]

    def text(self) -> str:
        return self.rng.choice(_TEXTS)

    def value(self, depth: int = 2) -> JSON:
        rng = self.rng
        kind = rng.randrange(10)
        if kind < 5 or depth == 0:
            return self.text()
        if kind == 5:
            return rng.choice((0, 1, -7, 2**40, 1.5, -0.25, 1e20, True, False, None))
        if kind < 8:
            return {self.key(): self.value(depth - 1) for _ in range(rng.randrange(4))}
        return [self.value(depth - 1) for _ in range(rng.randrange(4))]

    def key(self) -> str:
        return self.rng.choice(("a", "b", "to", "Content-Type", "with space", "ö", "n:o", "1", "true", "q'q", "k\tt"))

    def params(self) -> JSON:
        made: JSON = {self.key(): self.value() for _ in range(self.rng.randrange(1, 4))}
        if self.rng.random() < 0.1 and self.last_anchor is not None:
            return Alias(self.last_anchor)
        if self.rng.random() < 0.15:
            self.anchors += 1
            name = f"p{self.anchors}"
            made = Anchored(name, made)
            self.last_anchor = name
        return made

    def modifiers(self, depth: int, *, is_try: bool = False, is_block: bool = False) -> dict[str, JSON]:
        rng = self.rng
        known: dict[str, JSON] = {
            "when": "1 < 2", "timeout": rng.choice(("30s", {"attempt": "5s", "total": "1m"})),
            "retry": rng.choice((3, {"attempts": 2, "backoff": "linear", "initial_delay": "1s"})),
            "default": self.value(1), "priority": rng.randrange(20), "idempotency": "unsafe", "at_most_once": True,
            "output": "$", "mock": self.value(1), "disabled": rng.choice((True, False)), "title": "A title: é",
            "notes": "several\nlines", "limits": {"rate": "10/s"}, "cache": {"for": "1h"}, "runs_on": "gpu",
            "fallback": ["other"], "x-note": self.value(1),
        }  # fmt: skip
        taken = ("default",) if is_block else ()
        found = {key: known[key] for key in rng.sample(sorted(known), rng.choice((0, 0, 1, 2, 3))) if key not in taken}
        if depth and rng.random() < 0.2:
            form = rng.randrange(4)
            # A step with `do` or `then` on its own level is taken for the map form of a handler.
            steps = [
                self.name() if isinstance(step, dict) and not {"do", "then", "match"}.isdisjoint(step) else step
                for step in self.steps(depth - 1, 2)
            ]
            found["on_error"] = steps
            if form == 1:
                found["on_error"] = steps[0]
                self.last_anchor = None
            elif form == 2:
                found["on_error"] = {"match": ["timeout"], "do": steps, "then": "fail"}
            elif form == 3:
                found["on_error"] = [{"match": "timeout", "do": steps}, {"do": self.steps(0, 1)}]
        if depth and rng.random() < 0.1 and not is_try:
            found["finally"] = self.steps(depth - 1, 2)
        if depth and rng.random() < 0.05:
            found["compensate"] = self.steps(0, 1)
        return found

    def leaf(self) -> dict[str, JSON]:
        rng = self.rng
        choices: list[Callable[[], dict[str, JSON]]] = [
            lambda: {"call": "crm.update", "params": self.params()},
            lambda: {"use": "crm.find"},
            lambda: {"adapter": "iam", "action": "verify", "params": self.params()},
            lambda: {"adapter": "iam"},
            lambda: {"http": {"method": "POST", "url": "https://example.com/ä?x=1#y", "json": self.value()}},
            lambda: {"poll": {"call": "shop.status", "success_condition": "$.state == 'done'", "interval": "2s"}},
            lambda: {"flow": "invoice", "inputs": {"order": "x"}},
            lambda: {"wait": "3h"},
            lambda: {"wait": {"callback": {"expires": "1h"}}},
            lambda: {"approve": {"to": ["group:finance"], "form": {"amount": "number"}, "timeout": "2d"}},
            lambda: {"set": {"total": self.value(1)}},
            lambda: {"map": {"name": self.text()}},
            lambda: {"log": "done: it"},
            lambda: {"log": {"message": self.text(), "level": "warn"}},
            lambda: {"emit": {"event": "order.paid", "data": self.value(1)}},
            lambda: {"respond": {"status": 200, "body": self.value(1)}},
            lambda: {"return": self.text()},
            lambda: {"stop": "enough"},
            lambda: {"fail": {"code": "no_stock", "message": "none left"}},
            lambda: {"python": "score_lead", "params": self.params()},
            lambda: {"call": "crm.start", "params": self.params(), "wait": {"callback": {"expires": "1h"}}},
        ]
        return rng.choice(choices)()

    def block(self, depth: int) -> dict[str, JSON]:
        rng = self.rng
        some = lambda: self.branch(depth - 1)  # noqa: E731 - a short name for a dozen uses
        choices: list[Callable[[], dict[str, JSON]]] = [
            lambda: {"parallel": [some(), some()]},
            lambda: {"parallel": {"left": some(), "right": some()}},
            lambda: {"parallel": {"branches": [some()], "join": "any", "limit": 2}},
            lambda: {"race": [some(), some()]},
            lambda: {"parallel": None, "branches": {"7": some(), "b": some()}, "join": "all"},
            lambda: {"conditional": {"if": "1 < 2", "then": some(), "else": some()}},
            lambda: {"conditional": {"if": "1 < 2", "then": some(), "elif": [{"if": "2 < 3", "then": some()}]}},
            lambda: {"if": "1 < 2", "then": some()},
            lambda: {"if": "1 > 2", "then": some(), "else": some()},
            lambda: {"switch": {"on": "1 + 1", "cases": {"a b": some(), "c": some()}, "default": some()}},
            lambda: {"switch": "2", "cases": {"2": some(), "true": some()}},
            lambda: {"foreach": {"items": "[1, 2]", "as": "thing", "limit": 3, "do": some()}},
            lambda: {"foreach": "[1]", "do": some()},
            lambda: {"repeat": {"until": "1 < 2", "max": 3, "do": some()}},
            lambda: {"repeat": None, "max": 2, "do": some()},
            lambda: {"try": {"do": some(), "catch": some()}},
            lambda: {"try": some(), "finally": some()},
        ]
        made = rng.choice(choices)()
        if "try" in made and not isinstance(made["try"], dict | list):
            made["try"] = [made["try"]]
        if isinstance(made.get("try"), dict) and "do" not in made["try"]:
            made["try"] = [made["try"]]
        return made

    def branch(self, depth: int) -> JSON:
        steps = self.steps(max(depth, 0), 2)
        return steps[0] if len(steps) == 1 and self.rng.random() < 0.3 else steps

    def step(self, depth: int) -> JSON:
        rng = self.rng
        name = self.name()
        if rng.random() < 0.15:
            return rng.choice((name, {name: f"crm.{name}"}, {name: "crm.find", "retry": 2}))
        is_block = depth > 0 and rng.random() < 0.4
        body = self.block(depth) if is_block else self.leaf()
        more = self.modifiers(depth, is_try="try" in body, is_block=is_block)
        body |= {key: child for key, child in more.items() if key not in body and not ("fail" in body and key == "do")}
        if rng.random() < 0.2:
            items = list(body.items())
            rng.shuffle(items)
            body = dict(items)
        shape = rng.randrange(6)
        if shape < 3:
            return {name: body}
        if shape == 3:
            return {rng.choice(("id", "name")): name, **body}
        if shape == 4 and not ("call" in body or "use" in body or "adapter" in body or "python" in body):
            return body
        beside = {key: body.pop(key) for key in ("when", "retry", "title") if key in body}
        return {name: body, **beside}

    def steps(self, depth: int, most: int) -> list[JSON]:
        made = [self.step(depth) for _ in range(self.rng.randrange(1, most + 1))]
        for index in range(2, len(made)):
            if self.rng.random() < 0.2:
                _need(made, index, self.rng)
        return made

    def flow(self, size: int) -> dict[str, JSON]:
        rng = self.rng
        known: dict[str, JSON] = {
            "dsl": 1, "title": self.text(), "description": "Reads:\nlines", "tags": ["a", "b"],
            "labels": {"team": "x"}, "version": "1.2.0", "inputs": {"email": {"type": "string"}, "n": "integer"},
            "vars": {"tries": 0, "deep": self.value()}, "env": {"STAGE": "test"}, "trigger": "webhook.received",
            "x-extra": self.value(), "strategy": "parallel", "limits": {"concurrency": 20},
        }  # fmt: skip
        made: dict[str, JSON] = {"flow": "generated"}
        made |= {key: known[key] for key in rng.sample(sorted(known), rng.randrange(5))}
        made["steps"] = self.steps(3, size)
        if rng.random() < 0.3:
            made["outputs"] = {"total": self.text()}
        if rng.random() < 0.2:
            made["on_error"] = rng.choice(("continue", self.steps(1, 2)))
        if rng.random() < 0.2:
            made["finally"] = self.steps(1, 2)
        if rng.random() < 0.3:
            made["layout"] = {"viewport": {"zoom": 1.5}}
        words = set(_words(made))
        names = [name for name in self.names if name in words]
        if rng.random() < 0.4 and names:
            chosen = rng.sample(names, rng.randrange(1, min(4, len(names)) + 1))
            placed = {name: {"x": rng.randrange(500), "y": rng.randrange(500)} for name in chosen}
            made["layout"] = {"positions": placed, **made.get("layout", {})}
        return made


def _words(value: JSON) -> Iterator[str]:
    """Every text and key of a tree."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Anchored):
        yield from _words(value.value)
    elif isinstance(value, (dict, list)):
        for child in value:
            yield from _words(child)
            if isinstance(value, dict):
                yield from _words(value[child])


def _need(steps: list[JSON], index: int, rng: random.Random) -> None:
    """Lets a step wait for an earlier one instead of the one before it."""
    step = steps[index]
    names = [name for name in (_id(other) for other in steps[: index - 1]) if name is not None]
    if not isinstance(step, dict) or not names:
        return
    first = next(iter(step))
    home = step[first] if isinstance(step[first], dict) and first == _id(step) else step
    home["needs"] = rng.choice((names[0], [names[-1]], names[:2]))


def _id(step: JSON) -> str | None:
    if isinstance(step, str):
        return step
    if isinstance(step, dict):
        if "id" in step or "name" in step:
            return step.get("id") or step.get("name")
        first = next(iter(step))
        if isinstance(first, str) and re.search(r"\d\Z", first):
            return first
    return None


class Writer:
    """Writes a tree as YAML in a style of its own, drawn anew at every turn."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.comments = 0

    def document(self, tree: dict[str, JSON]) -> str:
        lines = self.map(tree, 0)
        if self.rng.random() < 0.3:
            lines.insert(0, "# a flow: {with} [odd] 'signs'")
        if self.rng.random() < 0.2:
            lines.append("# the end")
        text = "\n".join(lines)
        if self.rng.random() < 0.85:
            text += "\n" * self.rng.choice((1, 1, 1, 2))
        if self.rng.random() < 0.2:
            text = text.replace("\n", "\r\n")
        return "\ufeff" + text if self.rng.random() < 0.1 else text

    def _comment(self) -> str:
        if self.rng.random() < 0.85:
            return ""
        self.comments += 1
        return (
            self.rng.choice((" ", "   ", "\t")) + f"# note {self.comments} — {self.rng.choice(('ok', '{{ x', 'a: b'))}"
        )

    def _between(self, indent: int) -> list[str]:
        roll = self.rng.random()
        if roll < 0.06:
            return [""]
        if roll < 0.12:
            self.comments += 1
            return [" " * indent + f"# about {self.comments}"]
        return []

    def map(self, tree: dict[str, JSON], indent: int) -> list[str]:
        lines: list[str] = []
        for key, value in tree.items():
            lines += self._between(indent) if lines else []
            lines += self.behind(" " * indent + self.key(key) + ":", value, indent, is_item=False)
        return lines

    def list(self, items: list[JSON], indent: int) -> list[str]:
        lines: list[str] = []
        for item in items:
            lines += self._between(indent) if lines else []
            lines += self.behind(" " * indent + "-", item, indent, is_item=True)
        return lines

    def behind(self, lead: str, value: JSON, indent: int, *, is_item: bool) -> list[str]:
        rng = self.rng
        mark = ""
        if isinstance(value, Anchored):
            mark, value = f" &{value.name}", value.value
        if isinstance(value, Alias):
            return [f"{lead} *{value.name}{self._comment()}"]
        if isinstance(value, (dict, list)) and value and rng.random() < 0.75:
            if isinstance(value, list) and not is_item and rng.random() < 0.2:
                inner = indent
            else:
                inner = indent + rng.choice((2, 2, 2, 3, 4))
            if is_item and not mark and rng.random() < 0.9:
                inner = indent + 2
                lines = self.map(value, inner) if isinstance(value, dict) else self.list(value, inner)
                return [f"{lead} {lines[0][inner:]}", *lines[1:]]
            lines = self.map(value, inner) if isinstance(value, dict) else self.list(value, inner)
            return [f"{lead}{mark}{self._comment()}", *lines]
        if isinstance(value, str) and "\n" in value and rng.random() < 0.8 and _is_literal(value):
            header = rng.choice(("|", "|2")) if value.endswith("\n") else rng.choice(("|-", "|2-"))
            body = value.removesuffix("\n").split("\n")
            return [f"{lead}{mark} {header}", *(" " * (indent + 2) + line if line else "" for line in body)]
        if value is None and not is_item and rng.random() < 0.4:
            return [f"{lead}{mark}{self._comment()}"]
        space = rng.choice((" ", " ", " ", "  ", "\t")) if not mark and not is_item else " "
        return [f"{lead}{mark}{space}{self.flow(value, is_top=True)}{self._comment()}"]

    def flow(self, value: JSON, *, is_top: bool = False) -> str:
        if isinstance(value, (Anchored, Alias)):
            return self.flow(value.value) if isinstance(value, Anchored) else f"*{value.name} "
        if isinstance(value, dict):
            gap = self.rng.choice(("", "", " "))
            pairs = (f"{self.key(key, is_flow=True)}: {self.flow(child)}" for key, child in value.items())
            return "{" + gap + ", ".join(pairs) + gap + "}"
        if isinstance(value, list):
            return "[" + ", ".join(self.flow(child) for child in value) + "]"
        return self.scalar(value, is_flow=not is_top)

    def key(self, key: str, *, is_flow: bool = False) -> str:
        if re.fullmatch(r"[A-Za-z_ö][\w.ö-]*|[0-9]+", key) and key not in _WORDS and self.rng.random() < 0.95:
            return key
        if key == "true" and self.rng.random() < 0.5:
            return key
        return self.quoted(key)

    def scalar(self, value: JSON, *, is_flow: bool) -> str:
        rng = self.rng
        if value is None:
            return rng.choice(("null", "~", "Null"))
        if not isinstance(value, str):
            return json.dumps(value)
        if value.startswith("{{") and rng.random() < 0.5:
            return value
        if _PLAIN.match(value) and value not in _WORDS and rng.random() < 0.75 and not re.search(r"\s#|:\s", value):
            return value
        if value in ("NO", "on", "22:22", "2024-01-01") and rng.random() < 0.7:
            return value
        return self.quoted(value)

    def quoted(self, value: str) -> str:
        if re.search(r"[\x00-\x1f\x7f-\xa0\u2028]", value) or self.rng.random() < 0.5:
            # libyaml takes no surrogate pairs, so letters beyond the first plane stay as they are.
            return re.sub(
                "[\u2028\xa0]", lambda found: f"\\u{ord(found.group()):04x}", json.dumps(value, ensure_ascii=False)
            )
        return "'" + value.replace("'", "''") + "'"


def _is_literal(value: str) -> bool:
    return (
        re.search(r"[^\n -~äé中—]", value) is None and value[:1] not in (" ", "\n", "") and not value.endswith("\n\n")
    )


def make_text(seed: int, size: int) -> str:
    """One text; the same for the same numbers."""
    rng = random.Random(seed)
    return Writer(rng).document(Maker(rng).flow(size))


def flow_texts(most: int = 6) -> st.SearchStrategy[str]:
    """Texts of flows in the language's main form."""
    return st.builds(make_text, st.integers(0, 2**32 - 1), st.integers(1, most))


def is_readable(text: str) -> bool:
    """Whether the text reads without errors: a few that `make_text` gives do not."""
    read = read_flow(text)
    return read.flow is not None and not read.has_errors


def readable_texts(most: int = 6) -> st.SearchStrategy[str]:
    """Texts of flows that read without errors."""
    return flow_texts(most).filter(is_readable)


def plain_model(read: ReadResult) -> JSON:
    """The model without places in the text and the document."""
    assert read.flow is not None
    return _plain(msgspec.to_builtins(read.flow))


def _plain(value: JSON) -> JSON:
    if isinstance(value, dict):
        return {key: _plain(child) for key, child in value.items() if key not in ("span", "path", "form")}
    if isinstance(value, (list, tuple)):
        return [_plain(child) for child in value]
    return value
