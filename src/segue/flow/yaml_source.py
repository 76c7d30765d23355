"""Text to a tree of values with places: YAML by the 1.2 core rules, JSON the same way.

libyaml makes the events, we make the values: `NO`, `on`, `22:22` and dates stay text, duplicate keys are refused,
aliases are copied and counted, depth and size have limits. Whatever the text is, the answer is a tree and problems,
never an exception. Rules: YAML 1.2.2, section 10.3 (core schema).
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, Final, cast

from segue.flow import codes
from segue.flow.document import Document, Node, Scalar, join_path
from segue.flow.problems import Patch, Problem
from segue.flow.templates import Repaired, quote, repair_templates
from segue.flow.tree import INT64, MAX_DEPTH, Budget, RefusedError, attach, read_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAX_CHARACTERS: Final = 4_000_000

_NUMBER_START = frozenset("-+.0123456789")
_WORD_VALUES: dict[str, None | bool] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip
_INT = re.compile(r"[-+]?[0-9]+\Z")
_OCTAL_OR_HEX = re.compile(r"0o[0-7]+\Z|0x[0-9a-fA-F]+\Z")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)\Z|\.(?:nan|NaN|NAN)\Z")
_TAG = "tag:yaml.org,2002:"


def read_source(text: str | bytes, *, file: str | None = None) -> tuple[Document | None, list[Problem]]:
    """The document of a text, and what is wrong with it. None if no value could be read at all."""
    decoded, problem = _decode(text, file)
    if decoded is None:
        return None, [problem] if problem is not None else []
    if len(decoded) > MAX_CHARACTERS:
        message = f"the text has {len(decoded):,} characters; at most {MAX_CHARACTERS:,} are read"
        return None, [Problem(code=codes.TOO_LARGE, message=message, file=file)]
    repaired = repair_templates(decoded)
    composer = _Composer(repaired, Document(Node(), text=decoded, file=file))
    root = composer.run()
    if root is None and decoded.lstrip()[:1] in ("{", "["):
        return read_json(decoded, file, composer.problems)
    document = composer.document
    if root is not None:
        document.root = root
    return (document if root is not None else None), composer.problems


def _decode(text: str | bytes, file: str | None) -> tuple[str | None, Problem | None]:
    if isinstance(text, bytes):
        try:
            text = text.decode("utf-8")
        except UnicodeDecodeError as error:
            message = f"byte {error.start} is not UTF-8"
            return None, Problem(code=codes.NOT_TEXT, message=message, suggestion="save the file as UTF-8", file=file)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        message = f"character {error.start} is half of a surrogate pair"
        document = Document(Node(), text=text, file=file)
        span = document.span_at(error.start, error.end)
        return None, Problem(code=codes.NOT_TEXT, message=message, file=file, span=span)
    # Editors do not count a byte order mark, and neither do places.
    return text.removeprefix("\ufeff"), None


class _FirstEndsError(Exception):
    """A second document begins: the first is read, the others are not."""


class _Composer:
    """Builds the tree from libyaml's events, with a stack of its own: depth is counted, not recursed."""

    def __init__(self, source: Repaired, document: Document) -> None:
        self.source = source
        self.document = document
        self.problems: list[Problem] = []
        self.budget = Budget()
        self.root: Node | None = None
        self.stack: list[Node] = []
        self.keys: list[tuple[str, int, int] | None] = []
        """The key that waits for its value, for each open map."""
        self.refused_keys: list[bool] = []
        self.anchors: dict[str, Node] = {}
        self.open_anchors: dict[int, str] = {}
        self.template_starts = {start for start, _ in source.values}

    def run(self) -> Node | None:
        from yaml import MarkedYAMLError, YAMLError  # noqa: PLC0415 - 20 ms that reading stored flows need not pay

        try:
            self._compose()
        except _FirstEndsError:
            return self.root
        except RefusedError as refused:
            self._problem(refused.code, str(refused), self._place(), self._place(), path="")
            return None
        except MarkedYAMLError as error:
            self._syntax(error.problem, error.context, error.problem_mark, error.context_mark)
            return None
        except YAMLError as error:
            self._unreadable(error)
            return None
        finally:
            self._template_notes()
        return self.root

    def _compose(self) -> None:
        """Take every event. Plain scalars, most of every text, are dealt with here: calls would double their cost."""
        from yaml import ScalarEvent  # noqa: PLC0415 - see run()

        stack, keys, original = self.stack, self.keys, self.source.original
        is_moved, starts, budget = bool(self.source.added), self.template_starts, self.budget
        others = self._others()
        for event in _events(self.source.text):
            if event.__class__ is not ScalarEvent or not stack or event.anchor is not None or event.tag is not None:
                others[event.__class__](event)
                continue
            start, end, text = event.start_mark.index, event.end_mark.index, event.value
            style = event.style
            if is_moved:
                start, end = original(start), original(end)
                if start in starts:
                    style = ""
            parent = stack[-1]
            entries = parent.entries
            if entries is not None:
                key = keys[-1]
                if key is None:
                    if text == "<<":
                        self._set_key(text, start, end, plain=style == "")
                    else:
                        keys[-1] = (text, start, end)
                    continue
            else:
                key = None
            value: Scalar = text
            if style == "" and start not in starts:
                value = self._resolve(text, start, end) if text[:1] in _NUMBER_START else _WORD_VALUES.get(text, text)
            if key is None or entries is None or key[1] < 0 or key[0] in entries:
                self._add(Node(value, None, None, start, end, style), None)
                continue
            budget.left -= 1
            if budget.left < 0:
                budget.take()
            keys[-1] = None
            entries[key[0]] = Node(value, None, None, start, end, style, parent, *key)

    def _others(self) -> dict[type[object], Callable[[Any], None]]:
        """What is done with each kind of event."""
        from yaml import events  # noqa: PLC0415 - see run()

        def nothing(_: Any) -> None:
            """Ends of documents, and of the stream."""

        return {
            events.ScalarEvent: self._scalar,
            events.MappingStartEvent: lambda event: self._open(event, is_map=True),
            events.SequenceStartEvent: lambda event: self._open(event, is_map=False),
            events.MappingEndEvent: self._close,
            events.SequenceEndEvent: self._close,
            events.AliasEvent: self._alias,
            events.DocumentStartEvent: self._begin_document,
            events.DocumentEndEvent: nothing,
            events.StreamStartEvent: nothing,
            events.StreamEndEvent: nothing,
        }

    def _begin_document(self, event: Any) -> None:
        if self.root is not None:
            start = self._original(event.start_mark.index)
            self._problem(codes.YAML_FEATURE, "a second document begins; a file holds one flow", start, start + 3)
            raise _FirstEndsError

    def _scalar(self, event: Any) -> None:
        """A scalar with a tag or an anchor, or one that is the whole document."""
        start, end = self._original(event.start_mark.index), self._original(event.end_mark.index)
        style: str = "" if start in self.template_starts else event.style
        text: str = event.value
        if self._waits_for_key():
            if event.anchor is not None:
                self.anchors[event.anchor] = Node(text, start=start, end=end, style=style)
            self._set_key(text, start, end, plain=style == "")
            return
        value: Scalar = text
        if event.tag not in (None, "!", _TAG + "str"):
            value = self._tagged(event.tag, text, start, end)
        elif style == "" and event.tag is None and start not in self.template_starts:
            value = self._resolve(text, start, end)
        node = Node(value, start=start, end=end, style=style)
        self._add(node, event.anchor)

    def _resolve(self, text: str, start: int, end: int) -> Scalar:
        first = text[:1]
        if first not in _NUMBER_START:
            return _WORD_VALUES.get(text, text)
        if _INT.match(text):
            number = int(text) if len(text) <= 20 else INT64
        elif _OCTAL_OR_HEX.match(text):
            number = int(text, 0) if len(text) <= 24 else INT64
        elif _FLOAT.match(text):
            number = float(text)
        elif _NOT_FINITE.match(text):
            number = math.inf
        else:
            return text
        if isinstance(number, float) and not math.isfinite(number):
            self._problem(codes.NUMBER, f"{text} is not a finite number", start, end)
            return text
        if isinstance(number, int) and not -INT64 <= number < INT64:
            patch = Patch(start=start, end=end, text=quote(text))
            hint = "put quotes around it"
            self._problem(codes.NUMBER, f"{text[:40]} does not fit 64 bits", start, end, hint, patch)
            return text
        return number

    def _tagged(self, tag: str, text: str, start: int, end: int) -> Scalar:
        kinds: dict[str, type | tuple[type, ...]] = {
            "int": int, "float": (int, float), "bool": bool, "null": type(None),
        }  # fmt: skip
        wanted = kinds.get(tag.removeprefix(_TAG))
        value = self._resolve(text, start, end)
        if wanted is None or not isinstance(value, wanted):
            shown = tag.replace(_TAG, "!!")
            raw = (self.document.text or "")[start:end]
            is_own = tag.startswith("!") and "\n" not in raw
            self._problem(
                codes.YAML_FEATURE, f'the tag {shown} is not used in flows, or does not fit "{text[:40]}"', start, end,
                "put quotes around a text that begins with !" if is_own else "leave the tag out",
                Patch(start=start, end=end, text=quote(raw)) if is_own else None,
            )  # fmt: skip
            return text
        return value

    def _open(self, event: Any, *, is_map: bool) -> None:
        start = self._original(event.start_mark.index)
        if event.tag not in (None, "!", _TAG + ("map" if is_map else "seq")):
            self._problem(
                codes.YAML_FEATURE, f"the tag {event.tag.replace(_TAG, '!!')} is not used in flows", start, start + 1
            )
        if len(self.stack) >= MAX_DEPTH:
            raise RefusedError(codes.TOO_LARGE, f"the text nests deeper than {MAX_DEPTH} levels")
        node = Node(None, None, {}, start, start) if is_map else Node(None, [], None, start, start)
        is_key = self._waits_for_key()
        if is_key:
            hint = "put quotes around a value that starts with a brace"
            self._problem(codes.YAML_FEATURE, "a key is text, not a map or a list", start, start + 1, hint)
        else:
            self._add(node, None)
        self.refused_keys.append(is_key)
        if event.anchor is not None:
            self.open_anchors[id(node)] = event.anchor
            self.anchors.pop(event.anchor, None)
        self.stack.append(node)
        self.keys.append(None)

    def _close(self, event: Any) -> None:
        node = self.stack.pop()
        self.keys.pop()
        last: Node | None = None
        if node.entries and "<<" in node.entries:
            self._merge(node.entries)
        if node.entries:
            last = next(reversed(node.entries.values()))
        elif node.items:
            last = node.items[-1]
        # A block collection's own end mark stands before the next token, past comments; its last child's end is exact.
        start, end = event.start_mark.index, event.end_mark.index
        if end > start and self.source.text[start:end] in ("}", "]"):
            node.end = max(node.end, self._original(end))
        elif last is None:
            node.end = node.start
        else:
            node.end = max(node.end, last.end, last.key_end)
        if self.open_anchors and (anchor := self.open_anchors.pop(id(node), None)) is not None:
            self.anchors[anchor] = node
        if self.refused_keys.pop() and self.keys:
            self.keys[-1] = ("", -1, -1)

    def _merge(self, entries: dict[str, Node]) -> None:
        """Merge keys are refused; what they bring is read, so that it is not reported as missing."""
        merged = entries.pop("<<")
        for source in merged.items or [merged]:
            for key, child in (source.entries or {}).items():
                entries.setdefault(key, child)

    def _alias(self, event: Any) -> None:
        start, end = self._original(event.start_mark.index), self._original(event.end_mark.index)
        target = self.anchors.get(event.anchor)
        if target is None:
            self._no_anchor(event.anchor, start, end)
            target = Node(f"*{event.anchor}")
        if self._waits_for_key():
            self._set_key(target.text or "", start, end, plain=False)
            return
        copy = self._copy(target, 0)
        copy.start, copy.end = start, end
        self._add(copy, None)

    def _no_anchor(self, name: str, start: int, end: int) -> None:
        text = self.document.text or ""
        stop = text.find("\n", end)
        is_alone = not text[end : len(text) if stop < 0 else stop].strip(" ]},\r")
        patch = Patch(start=start, end=end, text=quote(text[start:end])) if is_alone else None
        hint = "put quotes around a text that begins with *"
        self._problem(codes.SYNTAX, f"the alias *{name} names no value before it", start, end, hint, patch)

    def _copy(self, node: Node, depth: int) -> Node:
        """A copy of its own for an alias: each node has one parent."""
        self.budget.take()
        if depth + len(self.stack) > MAX_DEPTH:
            raise RefusedError(codes.TOO_LARGE, f"aliases nest deeper than {MAX_DEPTH} levels")
        twin = Node(node.scalar, start=node.start, end=node.end, style=node.style)
        pairs: Iterator[tuple[str | int, Node]]
        if node.entries is not None:
            twin.entries = {}
            pairs = iter(node.entries.items())
        else:
            if node.items is not None:
                twin.items = []
            pairs = iter(enumerate(node.items or []))
        for key, child in pairs:
            attach(twin, self._copy(child, depth + 1), key, child.key_start, child.key_end)
        return twin

    def _waits_for_key(self) -> bool:
        return bool(self.keys) and self.keys[-1] is None and self.stack[-1].entries is not None

    def _set_key(self, text: str, start: int, end: int, *, plain: bool) -> None:
        if plain and text == "<<":
            hint = "write the values out, or use a name from `definitions:`"
            self._problem(codes.YAML_FEATURE, "merge keys are not part of YAML 1.2", start, end, hint)
        self.keys[-1] = (text, start, end)

    def _add(self, node: Node, anchor: str | None) -> None:
        self.budget.take()
        if anchor is not None:
            self.anchors[anchor] = node
        if not self.stack:
            self.root = node
            return
        parent = self.stack[-1]
        if parent.items is not None:
            attach(parent, node, len(parent.items), -1, -1)
            return
        entries = parent.entries or {}
        key, start, end = self.keys[-1] or ("", -1, -1)
        self.keys[-1] = None
        if start < 0:
            return
        if key in entries:
            line = self.document.key_span(entries[key])
            first = f"; it stands in line {line.line} already" if line else ""
            self._problem(codes.DUPLICATE_KEY, f'the key "{key[:60]}" stands twice in one map{first}', start, end)
            return
        attach(parent, node, key, start, end)

    def _original(self, offset: int) -> int:
        return self.source.original(offset)

    def _place(self) -> int:
        """The last place reached, for a problem of the text as a whole."""
        return max((node.start for node in self.stack), default=0)

    def _problem(
        self, code: str, message: str, start: int, end: int, suggestion: str | None = None,
        patch: Patch | None = None, path: str | None = None,
    ) -> None:  # fmt: skip
        document = self.document
        severity = codes.CODES[code].severity
        span = document.span_at(start, end)
        path = self._path() if path is None else path
        self.problems.append(
            Problem(
                code=code, message=message, severity=severity, path=path, file=document.file, span=span,
                suggestion=suggestion, patch=patch,
            )
        )  # fmt: skip

    def _path(self) -> str:
        """Where the value that is being read will stand."""
        if not self.stack:
            return ""
        inner, key = self.stack[-1], self.keys[-1]
        if inner.items is not None:
            return join_path(inner.path(), len(inner.items))
        return inner.path() if key is None or not key[0] else join_path(inner.path(), key[0])

    def _template_notes(self) -> None:
        """A note for each value that got quotes, with its path as far as the tree was made."""
        if not self.source.values:
            return
        text = self.document.text or ""
        nodes = {node.start: node for node in _all_of(self.root)}
        for start, end in self.source.values:
            node = nodes.get(start)
            self._problem(
                codes.TEMPLATE_QUOTED, "a value that starts with {{ was read as if quoted", start, end,
                "put quotes around it", Patch(start=start, end=end, text=quote(text[start:end])),
                path=node.path() if node is not None else "",
            )  # fmt: skip

    def _syntax(self, problem: str | None, context: str | None, mark: Any, context_mark: Any) -> None:
        start = self._original(mark.index) if mark is not None else 0
        text = self.document.text or ""
        begun = self._original(context_mark.index) if context_mark is not None else None
        from segue.flow.syntax_slips import slip_of  # noqa: PLC0415 - only of texts that cannot be read

        slip = slip_of(text, start, begun, f"{context or ''} {problem or ''}")
        if slip is not None:
            self._problem(codes.SYNTAX, slip.message, slip.start, slip.end, slip.hint, slip.patch, path="")
            return
        message = (problem or "the text cannot be read").strip()
        hint = None
        if "mapping values are not allowed" in message:
            hint = "put quotes around a value that contains `: `"
        elif context_mark is not None:
            line = self.document.span_at(self._original(context_mark.index), 0)
            hint = f"{context} that begins in line {line.line}" if line and context else None
        self._problem(codes.SYNTAX, message, start, start + 1, hint)

    def _unreadable(self, error: Exception) -> None:
        position = getattr(error, "position", None)
        start = 0
        if isinstance(position, int):
            start = len(self.source.text.encode("utf-8")[:position].decode("utf-8", "ignore"))
        reason = str(getattr(error, "reason", "") or "the text cannot be read")
        self._problem(codes.NOT_TEXT, reason, self._original(start), self._original(start) + 1)


def _all_of(node: Node | None) -> Iterator[Node]:
    """A node and everything below it."""
    pending = [] if node is None else [node]
    while pending:
        node = pending.pop()
        yield node
        pending += node.items or (node.entries or {}).values()


def _events(text: str) -> Iterator[Any]:
    from yaml import cyaml  # noqa: PLC0415 - see run()

    # Exported by libyaml's binding, but not named in the stubs.
    make_parser = cast("Callable[[str], Any]", cyaml.CParser)  # pyright: ignore[reportAttributeAccessIssue]
    parser = make_parser(text)
    try:
        while (event := parser.get_event()) is not None:
            yield event
    finally:
        parser.dispose()
