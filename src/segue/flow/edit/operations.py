"""What can be done to a flow on the canvas, as data. Steps are named as the canvas graph names them (`node.id`).

The JSON form has the operation's name under `op` (`{"op": "rename_step", "step": "a", "to": "b"}`), a place's under
`at`.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from segue.flow.model import JsonValue


class After(msgspec.Struct, frozen=True, tag_field="at", tag="after"):
    """Right after a step, in its block."""

    step: str


class Before(msgspec.Struct, frozen=True, tag_field="at", tag="before"):
    """Right before a step, in its block."""

    step: str


class Into(msgspec.Struct, frozen=True, tag_field="at", tag="into"):
    """At the end of a block: of the flow (`step` None), or of the branch that leaves a step by `handle`. A branch that
    is not there is made, if the step can have it (`else`, `case:x`, `branch:x`, `error`, …).
    """

    step: str | None = None
    handle: str = "body"


Place: TypeAlias = After | Before | Into


class AddStep(msgspec.Struct, frozen=True, tag_field="op", tag="add_step"):
    """A new step, written as in the flow's own form: `{charge: {call: …}}`, a name, or a node of a graph."""

    step: JsonValue
    place: Place


class RemoveStep(msgspec.Struct, frozen=True, tag_field="op", tag="remove_step"):
    """A step goes, with all that is in it. What waited for it waits for what it waited for."""

    step: str


class MoveStep(msgspec.Struct, frozen=True, tag_field="op", tag="move_step"):
    """A step to another place, with its text and the comment lines right above it."""

    step: str
    place: Place


class RenameStep(msgspec.Struct, frozen=True, tag_field="op", tag="rename_step"):
    """Another id; every reference in expressions, `needs`, edges and layout follows."""

    step: str
    to: str


class SetField(msgspec.Struct, frozen=True, tag_field="op", tag="set_field"):
    """A parameter, a modifier or any value below one, by its path among the step's keys as written."""

    step: str
    path: tuple[str | int, ...]
    value: JsonValue


class UnsetField(msgspec.Struct, frozen=True, tag_field="op", tag="unset_field"):
    """A key of a step, or one below it, goes."""

    step: str
    path: tuple[str | int, ...]


class ChangeVerb(msgspec.Struct, frozen=True, tag_field="op", tag="change_verb"):
    """Another verb with its value; keys that only the old verb knows go, modifiers stay. On a canvas node of a graph
    the verb is its `type`, and `value` its settings (null keeps them).
    """

    step: str
    verb: str
    value: JsonValue


class SetFlow(msgspec.Struct, frozen=True, tag_field="op", tag="set_flow"):
    """A key of the flow itself (`title`, `inputs`, …), or a value below one."""

    path: tuple[str | int, ...]
    value: JsonValue


class UnsetFlow(msgspec.Struct, frozen=True, tag_field="op", tag="unset_flow"):
    """A key of the flow itself, or one below it, goes."""

    path: tuple[str | int, ...]


class Connect(msgspec.Struct, frozen=True, tag_field="op", tag="connect"):
    """`target` runs after `source`: an edge in a graph, `needs` or `dependencies` elsewhere."""

    source: str
    target: str
    handle: str | None = None


class Disconnect(msgspec.Struct, frozen=True, tag_field="op", tag="disconnect"):
    """`target` no longer waits for `source`."""

    source: str
    target: str
    handle: str | None = None


class SetPosition(msgspec.Struct, frozen=True, tag_field="op", tag="set_position"):
    """Where a step's box stands on the canvas, in the canvas' own units."""

    step: str
    x: float
    y: float


Edit: TypeAlias = (
    AddStep | RemoveStep | MoveStep | RenameStep | SetField | UnsetField | ChangeVerb | SetFlow | UnsetFlow | Connect
    | Disconnect | SetPosition
)  # fmt: skip
