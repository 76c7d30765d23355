"""A canvas node's settings and modifiers, wherever the document keeps them, and what becomes of the node."""

from __future__ import annotations

from typing import Any, Final

from segue.flow.document import Node
from segue.flow.forms.leaves import Parts
from segue.flow.forms.modifiers import read_modifiers
from segue.flow.forms.steps import read_block
from segue.flow.model import Step
from segue.flow.reader import Reader, first_of
from segue.flow.verbs import MODIFIERS

_DRAWING: Final = frozenset(
    (
        "label",
        "name",
        "title",
        "description",
        "icon",
        "color",
        "category",
        "status",
        "selected",
        "type",
        "kind",
        "nodeType",
    )
)
"""Keys of `data` that people and canvases put there for show."""


class Made:
    """A node as read: its step, the labels its out-edges may bear, and whether nodes behind `body` belong to it."""

    def __init__(self, step: Step, node: Node, labels: tuple[str, ...] = (), *, is_container: bool = False) -> None:
        self.step = step
        self.node = node
        self.labels = labels
        self.is_container = is_container
        self.position = node.get("position")
        parent = first_of(node.entries or {}, "parentId", "parentNode")
        self.parent = parent.text if parent is not None else None


class Settings:
    """A node's settings and modifiers, wherever they were kept."""

    def __init__(self, reader: Reader, node: Node, path: str, id: str) -> None:
        entries = node.entries or {}
        data = entries.get("data")
        data_entries = (data.entries or {}) if data is not None else {}
        config = data_entries.get("config") or entries.get("config")
        self.path = path
        self.id = id
        self.node = node
        self.is_config = config is not None and config.entries is not None
        if config is not None and config.entries is not None:
            self.own = dict(config.entries)
            beside = {key: child for key, child in data_entries.items() if key in MODIFIERS}
            self.source = config
        else:
            self.own = {key: child for key, child in data_entries.items() if key not in _DRAWING}
            beside = {}
            self.source = data or node
        self.modifiers = {**{key: child for key, child in self.own.items() if key in MODIFIERS}, **beside}
        self.rest = {key: child for key, child in self.own.items() if key not in MODIFIERS}
        title = first_of(data_entries, "label", "title", "name") or first_of(entries, "name", "label")
        notes = first_of(data_entries, "notes", "description")
        self.shown = {
            key: text.text for key, text in (("title", title), ("notes", notes)) if text is not None and text.text
        }
        self.reader = reader

    def view(self, entries: dict[str, Node]) -> Node:
        """A map of some of the settings that still knows its place."""
        return view(self.source, entries)


def view(node: Node, entries: dict[str, Node]) -> Node:
    """A map with other entries that stands where `node` stands."""
    made = Node(entries=entries, start=node.start, end=node.end)
    made.parent, made.key = node.parent, node.key
    made.key_start, made.key_end = node.key_start, node.key_end
    return made


def step_of(reader: Reader, node: Node, settings: Settings, parts: Parts, **more: Any) -> Step:
    """The step of a node: its verb's parts, its modifiers, and what is shown of it."""
    fields: dict[str, Any] = read_modifiers(
        reader, settings.modifiers, settings.path, lambda child, label, path: read_block(reader, child, label, path)
    )
    fields = {**settings.shown, **fields, **parts.fields, **more}
    if parts.extras:
        fields["extras"] = {**fields.get("extras", {}), **parts.extras}
    return Step(
        id=settings.id, kind=parts.kind, path=settings.path, params=parts.params, blocks=parts.blocks,
        span=reader.document.span(node), **fields,
    )  # fmt: skip
