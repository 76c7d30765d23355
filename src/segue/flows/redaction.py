"""Flows' texts as they may be given away: what is a secret becomes `***`, and it is told where and why.

The nets of `segue.observe.masking`, laid over a flow's document: names that hold secrets, the exact values that the
workspace keeps as secrets, and what is a secret by its grammar (`Bearer …`, user information and tokens in addresses,
tokens with the prefixes that their makers give them). References (`$secrets.x`, `{{ … }}`) and declarations of where a
secret is stay; comments are searched, too. In its own notation every other byte of the text stays.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

import msgspec

from segue.flow import read_flow
from segue.flow.document import Document, Node
from segue.flow.problems import Patch
from segue.flow.verbs import VERBS
from segue.flows.patching import patched
from segue.observe.masking import DEFAULT_MASKER, MASK, Masker

BY_NAME: Final = "it stands under the name of a secret"
BY_VALUE: Final = "it is a secret of this workspace"
BY_LOOK: Final = "it looks like a secret"
_SOURCES: Final = frozenset(("env", "file", "secret", "connection", "vault"))
_LABELS: Final = frozenset(("type", "kind", "scheme", "in", "header", "algorithm", "encoding", "provider", "format"))
"""What says how something is proven, and is no proof."""
_EXAMPLES: Final = frozenset(("default", "example", "examples", "const", "enum"))
_STEP_KEYS: Final = frozenset((*VERBS, "params"))
_STEP_LISTS: Final = frozenset(("steps", "do", "then", "else", "catch", "finally", "parallel", "default"))
_CODE_KEYS: Final = frozenset(("when", "if", "until", "while", "where", "condition", "that", "expr", "expression"))
_REFERENCE: Final = re.compile(r"""\$[A-Za-z_]\w*(?:\.\w+|\[[^\]\n]*\])*\s*\Z""")
_TEMPLATE: Final = re.compile(r"(\$?\{\{.*?\}\}|<<\w+>>)", re.DOTALL)
_WORD_OF_A_SCHEME: Final = re.compile(r"[A-Za-z-]{1,12}[:,]?\Z")
_MAKERS: Final = re.compile(
    r"(?<![A-Za-z0-9])(?:(?:sk|pk|rk)_(?:live|test)_[0-9A-Za-z]{8,}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}"
    r"|xox[abeoprs]-[\w-]{10,}|(?:AKIA|ASIA)[0-9A-Z]{16}|whsec_[A-Za-z0-9+/=_-]{12,}|AIza[\w-]{30,}|glpat-[\w-]{16,}"
    r"|sgk_\w{16,}|npm_[A-Za-z0-9]{30,}|SG\.[\w-]{16,}\.[\w-]{16,}|sk-[A-Za-z0-9_-]{20,})"
)
"""Tokens that say whose they are: Stripe, GitHub, Slack, AWS, Standard Webhooks, Google, GitLab, Segue, npm, SendGrid,
OpenAI.
"""
_COMMENT: Final = re.compile(r"(?:(?<=\s)|^)#[^\n]*", re.MULTILINE)


class Replaced(msgspec.Struct, frozen=True, kw_only=True):
    """Something that became `***`: its path in the document, or the line of a comment (from 1), and why."""

    path: str
    why: str


class Given(NamedTuple):
    """A text to give away."""

    text: str
    replaced: tuple[Replaced, ...] = ()


def without_secrets(text: str, values: Iterable[str] = ()) -> Given:
    """The text to give away. `values` are secrets of the workspace. One that cannot be read is searched as text."""
    masker = DEFAULT_MASKER.with_values(values)
    document = read_flow(text).document
    if document is None or document.text is None:
        shown = _masked(text, masker)
        return Given(shown, () if shown == text else (Replaced(path="", why=BY_LOOK),))
    return _Giving(masker).given(text, document)


class _Giving:
    def __init__(self, masker: Masker) -> None:
        self._masker = masker
        self._patches: list[Patch] = []
        self._replaced: list[Replaced] = []

    def given(self, text: str, document: Document) -> Given:
        assert document.text is not None, "it was read from a text"
        source = document.text
        for node, why in self._found(document.root, why=None):
            self._replace(source, node, why)
        nodes = sorted(_scalars(document.root), key=lambda node: node.start)
        self._comments(source, nodes)
        if not self._patches:
            return Given(text)
        self._patches.sort(key=lambda patch: patch.start)
        mark = "\ufeff" if text.startswith("\ufeff") else ""
        made = self._masker.mask_values(patched(source, self._patches))
        return Given(mark + made, tuple(self._replaced))

    # ------------------------------------------------------------ values

    def _found(self, node: Node, *, why: str | None) -> Iterator[tuple[Node, str | None]]:
        """Scalars that have a place in the text, each with why all of it is a secret, if its place says so."""
        if node.entries is not None:
            named = _named_like_a_secret(node, self._masker)
            for key, child in node.entries.items():
                if node.parent is None and key == "secrets":
                    yield from _plain_declarations(child)
                elif node.parent is None and key == "inputs":
                    yield from self._inputs(child)
                else:
                    yield from self._found(child, why=self._why(key, child, why, named))
        elif node.items is not None:
            for child in node.items:
                yield from self._found(child, why=why)
        elif node.start >= 0:
            yield node, why

    def _why(self, key: str, child: Node, why: str | None, named: bool) -> str | None:
        if key in _LABELS or _is_step(child):
            return None
        if key == "auth":  # a kind of proof, or a map that says more; what proves it bears its own name there
            is_word = child.text is None or re.fullmatch(r"[A-Za-z_-]{1,24}", child.text) is not None
            return why if is_word else BY_NAME
        if self._masker.is_sensitive(key) or (named and key == "value"):
            return BY_NAME
        return why

    def _inputs(self, node: Node) -> Iterator[tuple[Node, str | None]]:
        """Descriptions of inputs: only what stands for a value can be a secret."""
        for key, child in (node.entries or {}).items():
            is_secret = self._masker.is_sensitive(key)
            for name, value in (child.entries or {}).items():
                if name == "properties":
                    yield from self._inputs(value)
                else:
                    yield from self._found(value, why=BY_NAME if is_secret and name in _EXAMPLES else None)
            if child.entries is None:
                yield from self._found(child, why=None)

    def _replace(self, source: str, node: Node, why: str | None) -> None:
        written = node.text
        if written is None:
            if why is not None and node.scalar is not None and not isinstance(node.scalar, bool):
                self._put(node, f'"{MASK}"', why)
            elif node.scalar is not None and self._masker.holds_value(node.scalar):
                self._put(node, f'"{MASK}"', BY_VALUE)
            return
        if not written or _REFERENCE.fullmatch(written):
            return
        shown = _shown(written, self._masker, hides=why is not None, is_code=node.key in _CODE_KEYS)
        if shown == written:
            return
        reason = why or (BY_VALUE if self._masker.mask_values(written) != written else BY_LOOK)
        if node.style in ("|", ">") and shown != MASK:
            block = source[node.start : node.end]
            inside = _shown(block, self._masker, hides=False, is_code=False)
            if inside != block:
                self._put(node, inside, reason)
                return
        self._put(node, msgspec.json.encode(shown).decode(), reason)

    def _put(self, node: Node, text: str, why: str) -> None:
        self._patches.append(Patch(start=node.start, end=node.end, text=text))
        self._replaced.append(Replaced(path=node.path(), why=why))

    # ------------------------------------------------------------ comments

    def _comments(self, source: str, nodes: list[Node]) -> None:
        """Comments stand between the values."""
        reached = 0
        for start, end in [*((node.start, node.end) for node in nodes), (len(source), len(source))]:
            for found in _COMMENT.finditer(source, reached, max(start, reached)):
                shown = _masked(found[0], self._masker)
                if shown != found[0]:
                    self._patches.append(Patch(start=found.start(), end=found.end(), text=shown))
                    line = source.count("\n", 0, found.start()) + 1
                    self._replaced.append(Replaced(path=f"line {line}", why=BY_LOOK))
            reached = max(reached, end)


def _scalars(node: Node) -> Iterator[Node]:
    children = node.items if node.items is not None else (node.entries or {}).values()
    for child in children:
        yield from _scalars(child)
    if node.items is None and node.entries is None and node.start >= 0:
        yield node


def _is_step(node: Node) -> bool:
    """Whether this is what a step does, or a list of steps: its key is a step's name, and says nothing of a secret."""
    if node.entries is not None:
        return not _STEP_KEYS.isdisjoint(node.entries)
    if node.items is not None:
        return any(_is_step(item) for item in node.items)
    above = node.parent
    steps = None if above is None else above.parent
    return (
        above is not None and len(above.entries or {}) == 1
        and steps is not None and steps.items is not None and steps.key in _STEP_LISTS
    )  # fmt: skip


def _named_like_a_secret(node: Node, masker: Masker) -> bool:
    """Whether a map is `{name: Authorization, value: …}`."""
    entries = node.entries or {}
    names = [entries[key].text for key in ("name", "key", "header") if key in entries]
    return "value" in entries and any(name is not None and masker.is_sensitive(name) for name in names)


def _plain_declarations(node: Node) -> Iterator[tuple[Node, str | None]]:
    """Under `secrets:`, what says no place where a secret is."""
    for child in (node.entries or {}).values():
        where = child.get("from") if child.entries is not None else child
        text = None if where is None else where.text
        if where is None or text is None or where.start < 0:
            continue
        kind, colon, _ = text.partition(":")
        if kind not in _SOURCES if colon else "." not in text:
            yield where, BY_NAME


def _shown(text: str, masker: Masker, *, hides: bool, is_code: bool) -> str:
    """A text without its secrets; what is computed in it stays. `hides`: all of it is one."""
    parts = _TEMPLATE.split(text)
    if len(parts) == 1 and hides:
        return MASK
    search: Callable[[str], str] = masker.mask_code if is_code else masker.mask_text
    for index in range(0, len(parts), 2):
        if hides:
            parts[index] = re.sub(r"\S+", lambda word: _word(word[0]), parts[index])
        else:
            parts[index] = _MAKERS.sub(MASK, search(parts[index]))
    for index in range(1, len(parts), 2):
        parts[index] = _MAKERS.sub(MASK, masker.mask_values(parts[index]))
    return "".join(parts)


def _word(word: str) -> str:
    """A word beside a reference: `Bearer` and the like say what it is."""
    return word if _WORD_OF_A_SCHEME.match(word) or not any(one.isalnum() for one in word) else MASK


def _masked(text: str, masker: Masker) -> str:
    return _MAKERS.sub(MASK, masker.mask_text(text))
