"""What is different between two versions of a flow: as text, and as steps."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import msgspec

from segue.flow.edit.write_flow import plain_flow
from segue.flow.model import Block, Flow, Step, inner_blocks

_CONTEXT_LINES: Final = 3
_STEPS: Final = frozenset(("root", "on_error_block", "finally_", "layout", "id"))
_OWN: Final = frozenset(("blocks", "on_error", "finally_", "compensate", "id", "path", "span"))


class StepChange(msgspec.Struct, frozen=True, kw_only=True):
    """A step that is in both: what of it is written otherwise (`params`, `when`, `retry`, …)."""

    step: str
    fields: list[str]


class Rewired(msgspec.Struct, frozen=True, kw_only=True):
    """A step of both that runs after other steps than before; new and removed ones in between do not count."""

    step: str
    after: list[str]
    before: list[str]
    """What it ran after."""


class FlowDiff(msgspec.Struct, frozen=True, kw_only=True):
    """The differences from one flow to another. Steps are named by their ids, by their place where an id is shared."""

    text: str
    """A unified diff; empty if the texts are the same."""
    is_same: bool
    """Whether both mean the same: they may still differ in comments, order of keys, spelling."""
    flow: list[str] = []
    """Keys of the flow itself that differ: `inputs`, `triggers`, …"""
    added: list[str] = []
    removed: list[str] = []
    changed: list[StepChange] = []
    moved: list[str] = []
    """Steps of both that stand in another block, or at another place among the steps of theirs that stayed."""
    rewired: list[Rewired] = []


def flow_diff(old: tuple[str, Flow | None], new: tuple[str, Flow | None], names: tuple[str, str]) -> FlowDiff:
    """From `old` to `new`, each a text and its model (None if it cannot be read). `names` head the text's diff."""
    text = text_diff(old[0], new[0], names)
    one, other = old[1], new[1]
    if one is None or other is None:
        return FlowDiff(text=text, is_same=one is other and not text)
    before, after = _Steps(one), _Steps(other)
    common = [key for key in after.found if key in before.found]
    changes = [
        StepChange(step=key, fields=fields)
        for key in common
        if (fields := _fields(before.found[key].step, after.found[key].step))
    ]
    keys = [name for name in plain_flow(one) if name not in _STEPS]
    plain = plain_flow(one), plain_flow(other)
    header = [name.rstrip("_") for name in keys if plain[0][name] != plain[1][name]]
    made = FlowDiff(
        text=text,
        is_same=False,
        flow=header,
        added=[key for key in after.found if key not in before.found],
        removed=[key for key in before.found if key not in after.found],
        changed=changes,
        moved=list(_moved(before, after, common)),
        rewired=list(_rewired(before, after, common)),
    )
    is_same = not (made.flow or made.added or made.removed or made.changed or made.moved or made.rewired)
    return msgspec.structs.replace(made, is_same=is_same)


def text_diff(old: str, new: str, names: tuple[str, str]) -> str:
    """A unified diff of two texts, as `diff -u` writes it."""
    lines = difflib.unified_diff(
        _lines(old), _lines(new), fromfile=names[0], tofile=names[1], n=_CONTEXT_LINES, lineterm="\n"
    )
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def _lines(text: str) -> list[str]:
    # Not `splitlines`, which takes more for the end of a line than a text file does.
    return [f"{line}\n" for line in text.split("\n")[:-1]] + ([text.rpartition("\n")[2]] if text[-1:] != "\n" else [])


@dataclass(slots=True)
class _Place:
    step: Step
    home: str
    """The block that the step is in."""
    after: list[str] = field(default_factory=list[str])


class _Steps:
    """The steps of a flow by name, in document order."""

    def __init__(self, flow: Flow) -> None:
        self.found: dict[str, _Place] = {}
        ids: dict[str, int] = {}
        blocks = [("", flow.root), ("on_error", flow.on_error_block), ("finally", flow.finally_)]
        walked = [
            (home, block, step) for name, top in blocks if top is not None for home, block, step in _walk(top, name)
        ]
        for _, _, step in walked:
            ids[step.id] = ids.get(step.id, 0) + 1
        for home, block, step in walked:
            key = step.id if ids[step.id] == 1 else f"{home}/{step.id}".lstrip("/")
            sources = [edge.source for edge in block.edges if edge.target == step.id]
            after = [id if ids[id] == 1 else f"{home}/{id}".lstrip("/") for id in sources]
            self.found.setdefault(key, _Place(step, home, after))

    def after(self, key: str, common: set[str]) -> list[str]:
        """What a step runs after, through steps that are not in both."""
        found: dict[str, None] = {}
        left, seen = list(self.found[key].after), {key}
        while left:
            other = left.pop(0)
            if other in seen:
                continue
            seen.add(other)
            if other in common:
                found[other] = None
            elif other in self.found:
                left += self.found[other].after
        return sorted(found)


def _walk(block: Block, home: str) -> Iterator[tuple[str, Block, Step]]:
    for step in block.steps:
        yield home, block, step
        for number, inner in enumerate(inner_blocks(step)):
            label = inner.label or str(number)
            yield from _walk(inner, f"{home}/{step.id}.{label}".lstrip("/"))


def _fields(one: Step, other: Step) -> list[str]:
    """The fields of a step itself that differ; how many blocks and handlers it has counts, what is in them does not."""
    found = [
        name.rstrip("_")
        for name in Step.__struct_fields__
        if name not in _OWN and _json(getattr(one, name)) != _json(getattr(other, name))
    ]
    if [_block(block) for block in one.blocks] != [_block(block) for block in other.blocks]:
        found.append("blocks")
    if [(handler.match, handler.then) for handler in one.on_error] != [
        (handler.match, handler.then) for handler in other.on_error
    ]:
        found.append("on_error")
    return found


def _block(block: Block) -> tuple[str, str | None, bytes, tuple[str, ...]]:
    return block.label, block.when, _json(block.case), block.match


def _json(value: object) -> bytes:
    # As JSON, since Python takes 1 for true and for 1.0.
    return msgspec.json.encode(value, order="deterministic")


def _moved(before: _Steps, after: _Steps, common: list[str]) -> Iterator[str]:
    stayed: dict[str, list[str]] = {}
    for key in common:
        if before.found[key].home != after.found[key].home:
            yield key
        else:
            stayed.setdefault(after.found[key].home, []).append(key)
    order = {key: place for place, key in enumerate(before.found)}
    for keys in stayed.values():
        in_order = set(_longest_rising([order[key] for key in keys]))
        yield from (key for key in keys if order[key] not in in_order)


def _longest_rising(numbers: list[int]) -> list[int]:
    """A longest rising subsequence: what need not have been moved to come from one order to the other."""
    best: list[list[int]] = []
    for number in numbers:
        place = next((index for index, run in enumerate(best) if run[-1] >= number), len(best))
        grown = [*(best[place - 1] if place else []), number]
        best[place : place + 1] = [grown]
    return best[-1] if best else []


def _rewired(before: _Steps, after: _Steps, common: list[str]) -> Iterator[Rewired]:
    both = set(common)
    moved = set(_moved(before, after, common))
    for key in common:
        was, now = before.after(key, both), after.after(key, both)
        if was != now and key not in moved and not moved.intersection((*was, *now)):
            yield Rewired(step=key, after=now, before=was)
