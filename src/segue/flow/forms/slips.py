"""Recognises what people write by mistake where a step belongs, and reads it as it is meant.

Each slip is reported once, with its repair; reading goes on as if it had been made, so that nothing behind it looks
wrong because of it.
"""

from __future__ import annotations

from typing import Final

from segue.flow import codes
from segue.flow.document import Node, join_path
from segue.flow.nearest import nearest, synonym_of
from segue.flow.problems import Patch
from segue.flow.reader import Reader
from segue.flow.verbs import HTTP_KEYS, MODIFIERS, VERBS, keys_of

_WORDS_OF_STEPS: Final = frozenset((*VERBS, *MODIFIERS, "name", "id", "params", "action"))
_WORDS_OF_VERBS: Final = frozenset((*VERBS, *(key for row in VERBS.values() for key in keys_of(row.beside))))
_LONGEST_TRIED: Final = 30
"""Words longer than this are no misspelt verbs, and are not compared with each."""


def meant_verb(word: str) -> str | None:
    """The verb that a word must stand for: a slip of the pen, or its name in other tools."""
    if len(word) > _LONGEST_TRIED:
        return None
    return synonym_of(word, VERBS) or nearest(word, VERBS)


def with_verb(reader: Reader, entries: dict[str, Node], what: str) -> dict[str, Node]:
    """The keys of a step that has no verb, a misspelt one (reported) under its right name."""
    for key, child in entries.items():
        if key in MODIFIERS or key in ("params", "action", "name", "id") or key.startswith("x-"):
            continue
        verb = meant_verb(key)
        if verb is not None:
            _misspelt(reader, key, child, verb, what)
            return {(verb if other == key else other): node for other, node in entries.items()}
    return entries


def with_loose_params(reader: Reader, entries: dict[str, Node], known: set[str]) -> dict[str, Node]:
    """The keys of a call whose parameters stand beside it instead of under `params` (reported once)."""
    names = sorted(known)
    loose = [
        key for key in entries
        if key not in known and not key.startswith("x-")
        and synonym_of(key, names) is None and nearest(key, names) is None and key not in _WORDS_OF_VERBS
    ]  # fmt: skip
    if not loose or "params" in entries:
        return entries
    first, last = entries[loose[0]], entries[loose[-1]]
    message = f"`{loose[0]}` is no key of a step; the parameters of an action stand under `params`"
    reader.problem(
        codes.UNKNOWN_KEY, first, message, at_key=True, suggestion=f"write `params: {{{loose[0][:40]}: …}}`",
        patch=_under_params(reader, entries, loose),
    )  # fmt: skip
    params = Node(entries={key: entries[key] for key in loose}, start=first.key_start, end=last.end)
    params.parent, params.key = first.parent, "params"
    params.key_start, params.key_end = first.key_start, first.key_end
    return {**{key: child for key, child in entries.items() if key not in loose}, "params": params}


def _under_params(reader: Reader, entries: dict[str, Node], loose: list[str]) -> Patch | None:
    """The edit that puts keys which stand together under `params`."""
    source, order = reader.document.text, list(entries)
    first, last = entries[loose[0]], entries[loose[-1]]
    together = order[order.index(loose[0]) :][: len(loose)] == loose
    if source is None or not together or first.key_start < 0 or first.parent is None or first.parent.start < 0:
        return None
    text = source[first.key_start : last.end]
    if source[first.parent.start] == "{":
        sign = '"' if text.startswith('"') else ""
        return Patch(start=first.key_start, end=last.end, text=f"{sign}params{sign}: {{{text}}}")
    column = first.key_start - (source.rfind("\n", 0, first.key_start) + 1)
    inner = text.replace("\n", "\n  ")
    return Patch(start=first.key_start, end=last.end, text=f"params:\n{' ' * (column + 2)}{inner}")


def with_when(reader: Reader, entries: dict[str, Node], what: str) -> dict[str, Node]:
    """The keys of a step with a verb, and `if` beside it as a condition: that is called `when` here."""
    others = [key for key in entries if key in VERBS and key not in ("if", "wait", "poll")]
    if not others or entries.keys() & {"then", "else", "elif", "when"}:
        return entries
    child = entries["if"]
    reader.problem(
        codes.UNKNOWN_KEY, child, f'{what} has a verb already, so "if" does not choose a branch', at_key=True,
        suggestion='did you mean "when"?', patch=reader.key_patch(child, "when"),
    )  # fmt: skip
    return {("when" if key == "if" else key): node for key, node in entries.items()}


def with_verb_for_name(reader: Reader, entries: dict[str, Node]) -> dict[str, Node] | None:
    """The keys of `- paralel: […]`, whose only word is taken for the step's name unless what stands below tells that
    it is a verb; None if it is a name.
    """
    for key, child in entries.items():
        if key in _WORDS_OF_STEPS or key.startswith("x-"):
            continue
        # Most steps have a verb below their name, and no word has to be compared with all verbs.
        if child.items is None and (child.entries is None or not child.entries.keys().isdisjoint(VERBS)):
            return None
        verb = meant_verb(key)
        if verb is None or not _is_body_of(child, verb):
            return None
        _misspelt(reader, key, child, verb, "a step")
        return {(verb if other == key else other): node for other, node in entries.items()}
    return None


def _misspelt(reader: Reader, key: str, child: Node, verb: str, what: str) -> None:
    reader.problem(
        codes.UNKNOWN_KEY, child, f'{what} has no verb "{key[:60]}"', at_key=True,
        suggestion=f'did you mean "{verb}"?', patch=reader.key_patch(child, verb),
    )  # fmt: skip


def _is_body_of(node: Node, verb: str) -> bool:
    """Whether a value can only be a verb's, and no step's body."""
    if node.items is not None:
        return True
    if node.entries is None or any(key in VERBS for key in node.entries):
        return False
    row = VERBS[verb]
    keys = HTTP_KEYS if verb == "http" else keys_of((*row.keys, *row.beside))
    return any(key in keys and key not in MODIFIERS and key not in ("params", "action") for key in node.entries)


def missing_dash(reader: Reader, node: Node, entries: dict[str, Node], path: str) -> list[tuple[Node, str]] | None:
    """The steps of a map that holds several of them, where a list belongs; None if it holds one.

    `node` is that map: an item of the list in which a dash is missing, or the whole block.
    """
    names = [key for key in entries if key not in _WORDS_OF_STEPS and not key.startswith("x-")]
    if (
        len(names) < 2
        or any(key in VERBS or key in ("name", "id") for key in entries)
        or not all(_is_step(entries[key]) for key in names[1:])
    ):
        return None
    is_item = isinstance(node.key, int)
    second = entries[names[1]]
    if is_item:
        message = f"the step {names[1][:60]} stands inside the step {names[0][:60]}"
        reader.problem(
            codes.WRONG_TYPE, second, message, at_key=True, suggestion="a dash before it makes it a step of its own",
            patch=_dash(reader, second),
        )  # fmt: skip
    else:
        reader.problem(
            codes.WRONG_TYPE, node, f"`{node.key}` is a list of steps, not a map of them",
            suggestion=f"put a dash before each step: `- {names[0][:60]}: …`", patch=_as_list(reader, node),
        )  # fmt: skip
    groups: list[dict[str, Node]] = []
    for key, child in entries.items():
        if key in names or not groups:
            groups.append({})
        groups[-1][key] = child
    return [(_part(node, group), join_path(path, index) if not is_item else path) for index, group in enumerate(groups)]


def _is_step(node: Node) -> bool:
    return node.entries is not None and bool(node.entries.keys() & _WORDS_OF_STEPS)


def _part(node: Node, entries: dict[str, Node]) -> Node:
    """A map of some of the entries that knows where it stands."""
    first, last = next(iter(entries.values())), list(entries.values())[-1]
    made = Node(entries=entries, start=first.key_start, end=max(last.end, last.key_end))
    made.parent, made.key = node.parent, node.key
    return made


def _dash(reader: Reader, node: Node) -> Patch | None:
    """A dash in place of the two blanks before a key."""
    source, start = reader.document.text, node.key_start
    if source is None or start < 2 or source[start - 2 : start] != "  ":
        return None
    return Patch(start=start - 2, end=start, text="- ")


def _as_list(reader: Reader, node: Node) -> Patch | None:
    """The map's text as a list: a dash before each key, everything else two blanks further in."""
    source = reader.document.text
    entries = node.entries or {}
    if source is None or node.start < 0 or source[node.start : node.start + 1] == "{":
        return None
    start = source.rfind("\n", 0, node.start) + 1
    if source[start : node.start].strip(" "):
        return None
    keys = {source.rfind("\n", 0, child.key_start) + 1 for child in entries.values()}
    lines: list[str] = []
    at = start
    for line in source[start : node.end].splitlines(keepends=True):
        indent = len(line) - len(line.lstrip(" "))
        mark = "- " if at in keys else "  "
        lines.append(f"{line[:indent]}{mark}{line[indent:]}" if line.strip() else line)
        at += len(line)
    return Patch(start=start, end=node.end, text="".join(lines))
