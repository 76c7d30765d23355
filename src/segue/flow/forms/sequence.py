"""Reads document C's form: a header and `steps`, with definitions and defaults. The language's main form."""

from __future__ import annotations

from collections.abc import Mapping

from segue.flow import codes
from segue.flow.document import Node
from segue.flow.forms.header import read_header
from segue.flow.forms.steps import read_block, read_step_body
from segue.flow.model import Block, Flow
from segue.flow.reader import Reader
from segue.flow.verbs import FLOW_KEYS, MODIFIERS


def read_sequence(reader: Reader, node: Node) -> Flow:
    """The flow of a document with `steps`."""
    entries = reader.check_keys(node.entries or {}, FLOW_KEYS, "a flow")
    take_definitions(reader, entries)
    steps = entries.get("steps")
    if steps is None or steps.is_null or steps.items == []:
        if not entries.keys() & {"tasks", "nodes"}:  # under a misspelt key, which is reported
            reader.problem(codes.NO_STEPS, steps or node, "the flow has no steps", at_key=True)
        root = Block(label="root")
    else:
        block = read_block(reader, steps, "root", "steps")
        root = Block(label="root", steps=block.steps, edges=block.edges, span=reader.document.span(steps))
    fields = read_header(reader, entries, read_block)
    return Flow(root=root, form="yaml", **fields)


def take_definitions(reader: Reader, entries: dict[str, Node]) -> None:
    """Make `definitions` and `defaults` known to the reader, and report what is wrong in definitions nobody uses."""
    own: Mapping[str, Node] = {}
    definitions = entries.get("definitions")
    if definitions is not None and not definitions.is_null:
        own = reader.map_of(definitions, "definitions") or {}
        reader.definitions.update(own)
    defaults = entries.get("defaults")
    if defaults is not None and not defaults.is_null:
        found = reader.map_of(defaults, "defaults") or {}
        reader.check_keys(found, MODIFIERS, "defaults")
        reader.defaults = {key: child for key, child in found.items() if key in MODIFIERS}
    for name, body in own.items():
        if body.is_null:
            reader.problem(codes.NO_VERB, body, f"the definition {name} says nothing", at_key=True)
            continue
        reader.expanding.append(name)
        if body.items is None:
            read_step_body(reader, body, body.path(), name)
        else:
            read_block(reader, body, "do", body.path())
        reader.expanding.pop()
    reader.numbering.forget()
