"""Reads document B's `definition.steps: [{type: http_request_node, config: {…}}]`: a sequence of typed steps."""

from __future__ import annotations

from typing import Final

from segue.flow import codes
from segue.flow.document import Node, join_path
from segue.flow.forms.header import read_header
from segue.flow.forms.node_settings import view
from segue.flow.forms.nodes import read_node
from segue.flow.forms.sequence import take_definitions
from segue.flow.forms.steps import chain, read_block, read_step
from segue.flow.model import Block, Flow, Step
from segue.flow.reader import Reader, first_of
from segue.flow.verbs import FLOW_KEYS, MODIFIERS

_STEP_KEYS: Final = frozenset(("id", "name", "type", "config", "data", "position", "label", "description"))


def read_definition(reader: Reader, root: Node) -> Flow:
    """The flow of a document whose steps have a `type`. Steps without a type may take any other form."""
    entries = root.entries or {}
    wrapper = entries.get("definition") or root
    inner = wrapper.entries or {}
    header = {key: child for key, child in {**inner, **entries}.items() if key not in ("steps", "definition")}
    reader.check_keys(entries, {*FLOW_KEYS, "definition", "metadata"}, "a flow")
    if wrapper is not root:
        reader.check_keys(inner, FLOW_KEYS, "definition")
    take_definitions(reader, header)
    node = inner.get("steps")
    steps: list[Step] = []
    needs: list[Node | None] = []
    if node is None or not node.items:
        reader.problem(codes.NO_STEPS, node or wrapper, "the flow has no steps", at_key=True)
    for index, item in enumerate((node.items if node is not None else None) or []):
        made = _typed(reader, item, join_path(wrapper.path(), "steps", index))
        if made is not None:
            steps.append(made[0])
            needs.append(made[1])
    span = reader.document.span(node)
    block = Block(label="root", steps=tuple(steps), edges=chain(reader, steps, needs), span=span)
    return Flow(root=block, form="definition", **read_header(reader, header, read_block))


def _typed(reader: Reader, item: Node, path: str) -> tuple[Step, Node | None] | None:
    entries = item.entries
    kind = entries.get("type") if entries is not None else None
    if entries is None or kind is None or kind.text is None:
        return read_step(reader, item, path)
    if not reader.take_step(item):
        return None
    entries = reader.check_keys(entries, {*_STEP_KEYS, *MODIFIERS}, "a step")
    named = first_of(entries, "id", "name")
    id = named.text.strip() if named is not None and named.text else ""
    if not id.isidentifier():
        id = reader.numbering.id_of(kind.text.removesuffix("_node").replace(".", "_"), path)
    made_id = Node(id, start=item.start, end=item.end)
    made_id.parent, made_id.key = item, "id"
    data = {key: child for key, child in entries.items() if key in MODIFIERS and key not in ("needs", "depends_on")}
    config = entries.get("config") or entries.get("data")
    if config is not None:
        data["config"] = config
    node = view(item, {"id": made_id, "type": kind, "data": view(config or item, data)})
    if named is not None and named.text and named.text != id:
        node.entries["name"] = named  # pyright: ignore[reportOptionalSubscript]
    found = read_node(reader, node, path)
    return None if found is None else (found.step, first_of(entries, "needs", "depends_on"))
