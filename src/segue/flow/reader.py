"""What all forms share while they read a document: problems with places, and values of the expected kind.

A reading function never raises for what an author wrote: it records a problem and answers None (or the default), so
that all mistakes are found at once.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Final, Literal, TypeVar

from segue.flow import codes
from segue.flow.document import Document, Node
from segue.flow.durations import MAX_SECONDS, duration_in_words, format_duration, parse_duration
from segue.flow.model import JsonValue, RawMap
from segue.flow.nearest import Suggester, suggested, synonym_of
from segue.flow.numbering import Numbering
from segue.flow.problems import Patch, Problem
from segue.flow.verbs import MODIFIERS

T = TypeVar("T")

MAX_READ_STEPS: Final = 20_000
"""Steps made while reading, definitions put in: a bound on what nested definitions can grow to."""
MAX_BLOCK_DEPTH: Final = 40
"""Blocks within blocks, definitions put in: deeper flows nobody can follow, and every walk over a flow recurses."""
MAX_PROBLEMS: Final = 500
"""Problems that are reported: more of them help nobody, and a hostile text could hold a million."""

_WHOLE_TEMPLATE = re.compile(r"\s*\$?\{\{(?P<inside>(?:(?!\{\{|\}\}).)*)\}\}\s*\Z", re.DOTALL)
_WHOLE = re.compile(r"-?\d{1,18}\Z")
_NUMBER = re.compile(r"-?\d{1,18}(?:\.\d{1,18})?\Z")


class Reader:
    """One reading of one document. `milliseconds`: bare numbers are milliseconds here (settings of canvas nodes)."""

    def __init__(self, document: Document, *, milliseconds: bool = False) -> None:
        self.document = document
        self.milliseconds = milliseconds
        self.problems: list[Problem] = []
        self.definitions: dict[str, Node] = {}
        self.defaults: dict[str, Node] = {}
        self.did_you_mean = Suggester().did_you_mean
        self.numbering = Numbering(document)
        self.depth = 0
        """Blocks within blocks that are being read, definitions put in."""
        self.expanding: list[str] = []
        """Definitions that are being put in, outermost first."""
        self.circles: set[frozenset[str]] = set()
        """Definitions that use each other, and are reported."""
        self._steps_left = MAX_READ_STEPS

    # -- problems and places

    def problem(
        self,
        code: str,
        node: Node | None,
        message: str,
        *,
        at_key: bool = False,
        path: str | None = None,
        suggestion: str | None = None,
        patch: Patch | None = None,
        severity: Literal["error", "warning", "note"] | None = None,
    ) -> None:
        """Record a mistake at a node (at its key, if `at_key`)."""
        span = None
        if node is None and path:
            node = self.document.at(path)
        if node is not None:
            span = self.document.key_span(node) if at_key else self.document.span(node)
            path = node.path() if path is None else path
        self.problems.append(
            Problem(
                code=code, message=message, severity=severity or codes.CODES[code].severity, path=path or "",
                file=self.document.file, span=span, suggestion=suggestion, patch=patch,
            )
        )  # fmt: skip

    def place(self, step_path: str, field: str, node: Node) -> None:
        """Remember which node a field of the model came from."""
        self.document.places[(step_path, field)] = node

    def take_step(self, node: Node) -> bool:
        """Whether one more step may be made; a problem is recorded the first time it may not."""
        self._steps_left -= 1
        if self._steps_left == -1:
            self.problem(codes.TOO_MANY_STEPS, node, f"more than {MAX_READ_STEPS:,} steps, definitions put in")
        return self._steps_left >= 0

    # -- kinds of values

    def wrong_type(self, node: Node, what: str, wanted: str, suggestion: str | None = None) -> None:
        """Report a value of the wrong kind: "`what` is `wanted`, not …"."""
        self.problem(codes.WRONG_TYPE, node, f"{what} is {wanted}, not {node.kind_name()}", suggestion=suggestion)

    def map_of(self, node: Node, what: str) -> dict[str, Node] | None:
        """A map's entries."""
        if node.entries is None:
            self.wrong_type(node, what, "a map")
        return node.entries

    def raw_map(self, node: Node, what: str) -> RawMap:
        """A map of values as JSON; nothing stands for an empty one."""
        if node.is_null:
            return {}
        entries = self.map_of(node, what)
        return {} if entries is None else {key: child.plain() for key, child in entries.items()}

    def text(self, node: Node, what: str) -> str | None:
        """A text; numbers and truth values are taken as they are written."""
        if isinstance(node.scalar, bool):
            return "true" if node.scalar else "false"
        if isinstance(node.scalar, (str, int, float)):
            return str(node.scalar)
        self.wrong_type(node, what, "a text")
        return None

    def name(self, node: Node, what: str) -> str | None:
        """A text that is not empty."""
        found = self.text(node, what)
        if found is not None and not found.strip():
            self.problem(codes.WRONG_TYPE, node, f"{what} is empty")
            return None
        return found

    def names(self, node: Node, what: str) -> tuple[str, ...]:
        """A name or a list of names."""
        nodes = [node] if node.items is None else node.items
        found = (self.name(child, what) for child in nodes if not child.is_null)
        return tuple(name for name in found if name is not None)

    def boolean(self, node: Node, what: str) -> bool | None:
        """True or false; the words that YAML 1.1 took for them are refused with the fix."""
        if isinstance(node.scalar, bool):
            return node.scalar
        known = {"yes": "true", "on": "true", "no": "false", "off": "false"}.get((node.text or "").lower())
        hint = f"write `{known}`: in YAML 1.2 `{node.text}` is text" if known else None
        if known is None and node.text is not None and node.text.strip().lower() in ("true", "false"):
            known = node.text.strip().lower()
            hint = f"write `{known}` without quotes"
        patch = self.value_patch(node, known) if known else None
        self.problem(
            codes.WRONG_TYPE, node, f"{what} is true or false, not {node.kind_name()}", suggestion=hint, patch=patch
        )
        return None

    def integer(self, node: Node, what: str, *, minimum: int = 0, maximum: int = 1_000_000) -> int | None:
        """A whole number within limits."""
        value = node.scalar
        if isinstance(value, bool) or not isinstance(value, int):
            self.no_number(node, what, "a whole number")
            return None
        if not minimum <= value <= maximum:
            self.problem(codes.NOT_ALLOWED, node, f"{what} is between {minimum:,} and {maximum:,}, not {value:,}")
            return None
        return value

    def number(self, node: Node, what: str, *, minimum: float, maximum: float) -> float | None:
        """A number within limits."""
        value = node.scalar
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            self.no_number(node, what, "a number", is_whole=False)
            return None
        if not minimum <= value <= maximum:
            self.problem(codes.NOT_ALLOWED, node, f"{what} is between {minimum:g} and {maximum:g}, not {value:g}")
            return None
        return float(value)

    def no_number(self, node: Node, what: str, wanted: str, *, is_whole: bool = True) -> None:
        """Report what is no number; one in quotes loses them."""
        digits = (node.text or "").strip()
        if (_WHOLE if is_whole else _NUMBER).match(digits) is None:
            self.wrong_type(node, what, wanted)
            return
        message = f"{what} is {wanted}, not {node.kind_name()}"
        hint = f"write `{digits}` without quotes"
        self.problem(codes.WRONG_TYPE, node, message, suggestion=hint, patch=self.value_patch(node, digits))

    def choice(self, node: Node, what: str, allowed: Mapping[str, T]) -> T | None:
        """One of a few words."""
        word = node.text
        if word is not None and word in allowed:
            return allowed[word]
        hint = self.did_you_mean(word, allowed) if word is not None else None
        patch = self.word_patch(node, suggested(hint)) if hint is not None else None
        words = ", ".join(dict.fromkeys(allowed))
        message = f"{what} is one of {words}, not {node.kind_name()}"
        self.problem(codes.NOT_ALLOWED, node, message, suggestion=hint, patch=patch)
        return None

    def duration(
        self, node: Node, what: str, *, minimum: float = 0.0, maximum: float = MAX_SECONDS, milliseconds: bool = False
    ) -> float | None:
        """Seconds. A bare number is refused with the fix, except where the key means milliseconds."""
        value = node.scalar
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            if not (milliseconds or self.milliseconds):
                self._bare_number(node, what, value)
                return None
            seconds = value / 1000
        elif isinstance(value, str):
            found = parse_duration(value)
            if found is None:
                self._no_duration(node, what, value)
                return None
            seconds = found
        else:
            self.wrong_type(node, what, "a duration", "write it like 500ms, 30s, 5m, 2h or 7d")
            return None
        if not minimum <= seconds <= maximum:
            least, most = format_duration(minimum), format_duration(maximum)
            self.problem(codes.DURATION_RANGE, node, f"{what} is between {least} and {most}, not {seconds:g}s")
            return None
        return seconds

    def _no_duration(self, node: Node, what: str, value: str) -> None:
        """Report a text that is no duration. English units, and digits alone in quotes, can be told."""
        fixed = duration_in_words(value)
        hint = "write it like 500ms, 30s, 5m, 2h or 7d" if fixed is None else f"write {fixed}"
        patch = None if fixed is None else self.value_patch(node, fixed)
        self.problem(codes.BAD_DURATION, node, f'{what}: "{value[:40]}" is no duration', suggestion=hint, patch=patch)

    def _bare_number(self, node: Node, what: str, value: float) -> None:
        if value < 0:
            self.problem(codes.DURATION_RANGE, node, f"{what} is not negative; {value:g} is")
            return
        fixed = format_duration(value)
        patch = None if node.start < 0 else Patch(start=node.start, end=node.end, text=fixed)
        hint = f"write {fixed}, or {value:g}ms if milliseconds are meant"
        self.problem(codes.BARE_NUMBER, node, f"{what} is {value:g} without a unit", suggestion=hint, patch=patch)

    def expression(self, node: Node, what: str) -> str | None:
        """A condition place: the bare expression, without `{{ }}` if someone wrote them."""
        if isinstance(node.scalar, str):
            whole = _WHOLE_TEMPLATE.match(node.scalar)
            inside = whole["inside"].strip() if whole else node.scalar
            if inside.strip():
                return inside
            self.problem(codes.WRONG_TYPE, node, f"{what} is empty")
            return None
        if isinstance(node.scalar, bool):
            return "true" if node.scalar else "false"
        if isinstance(node.scalar, (int, float)):
            return str(node.scalar)
        self.wrong_type(node, what, "an expression")
        return None

    # -- keys

    def check_keys(self, entries: dict[str, Node], known: Iterable[str], what: str) -> dict[str, Node]:
        """Report every key that is not known, with the nearest that is. `x-` keys are free.

        The answer is the entries as they are meant: a misspelt key under its right name, if that is not there. So what
        stands below it is checked too, and is not reported as missing.
        """
        names: Collection[str] = known if isinstance(known, Collection) else frozenset(known)
        meant = entries
        for key, node in entries.items():
            if key not in names and not key.startswith("x-"):
                right = self.unknown_key(key, node, names, what, taken=meant)
                if right is not None:
                    meant = {(right if other == key else other): child for other, child in meant.items()}
        return meant

    def unknown_key(
        self, key: str, node: Node, known: Iterable[str], what: str, *, taken: Mapping[str, Node] | None = None
    ) -> str | None:
        """Report one key that is not known. The answer is the key that must be meant, if there is one and it is not
        taken.
        """
        # Sets have no order of their own, and of two words that are equally near the first is taken.
        names = sorted(known) if isinstance(known, (set, frozenset)) else list(known)
        word = synonym_of(key, names)
        hint = None if word is None else f'did you mean "{word}"?'
        if hint is None and (hint := self.did_you_mean(key, names)) is not None:
            word = suggested(hint)
        if word is not None and taken is not None and word in taken:
            hint, word = f'"{word}" is there already; is one of them too many?', None
        if hint is None and key in MODIFIERS:
            hint = f"`{key}` is a modifier: write it on the step's own level, beside its verb"
        self.problem(
            codes.UNKNOWN_KEY, node, f'{what} has no key "{key[:60]}"', at_key=True, suggestion=hint,
            patch=None if word is None else self.key_patch(node, word),
        )  # fmt: skip
        return word

    def unknown_step(self, node: Node, name: str, known: Iterable[str], sentence: str) -> list[str]:
        """Report a name that should be a step's. The answer are the steps that must be meant."""
        names = list(known)
        listed = [part for part in re.split(r"[,\s]+", name) if part]
        patch, meant = None, list[str]()
        if len(listed) > 1 and all(part in names for part in listed):
            hint, meant = f"write a list: [{', '.join(listed)}]", listed
            patch = self.value_patch(node, f"[{', '.join(listed)}]")
        elif (hint := self.did_you_mean(name, names)) is not None:
            meant = [suggested(hint)]
            patch = self.word_patch(node, meant[0])
        else:
            self.document.loose_ends = True
        self.problem(codes.UNKNOWN_STEP, node, f'"{name[:60]}" {sentence}', suggestion=hint, patch=patch)
        return meant

    def key_patch(self, node: Node, word: str) -> Patch | None:
        """The edit that gives a value another key, in quotes if the key had some."""
        source = self.document.text
        if node.key_start < 0 or source is None:
            return None
        sign = source[node.key_start] if source[node.key_start] in ("'", '"') else ""
        return Patch(start=node.key_start, end=node.key_end, text=f"{sign}{word}{sign}")

    def word_patch(self, node: Node, word: str) -> Patch | None:
        """The edit that puts another word in place of a scalar, in quotes if it had some."""
        sign = node.style if node.style in ("'", '"') else ""
        return self.value_patch(node, f"{sign}{word}{sign}")

    def value_patch(self, node: Node, text: str) -> Patch | None:
        """The edit that puts another value, as it is written, in place of a scalar."""
        if node.start < 0 or self.document.text is None or node.style not in ("", "'", '"'):
            return None
        return Patch(start=node.start, end=node.end, text=text)

    def missing(self, node: Node | None, what: str, key: str, *, path: str | None = None) -> None:
        """Report a key that is needed and not there."""
        self.problem(codes.MISSING_KEY, node, f"{what} needs `{key}`", path=path, at_key=True)


def first_of(entries: Mapping[str, Node], *keys: str) -> Node | None:
    """The value under the first of the spellings that is there."""
    for key in keys:
        if key in entries:
            return entries[key]
    return None


def as_expression(value: JsonValue) -> str:
    """A literal as an expression (JSON is one); references inside keep their meaning."""
    if isinstance(value, str):
        whole = _WHOLE_TEMPLATE.match(value)
        if whole:
            return f"({whole['inside'].strip()})"
        if re.match(r"\$[A-Za-z_]", value):
            return value
        return _json(value)
    if isinstance(value, list):
        return "[" + ", ".join(as_expression(child) for child in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_json(key)}: {as_expression(child)}" for key, child in value.items()) + "}"
    return _json(value)


def _json(value: JsonValue) -> str:
    import json  # noqa: PLC0415 - rarely needed

    return json.dumps(value, ensure_ascii=False)
