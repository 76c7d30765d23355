"""A whole new text from a model: what `write_graph` is for a canvas, for whoever has a `Flow` and no text.

The text is YAML in blocks, as a careful person would write it. A model that blocks cannot say (edges with labels or
conditions, a graph's start and branch nodes, ids that are no names) is written as a graph file: YAML with `nodes` and
`edges`. What is written is read again, and must be the model it was written from.
"""

from __future__ import annotations

from typing import Final, cast

import msgspec

from segue.errors import RequestError
from segue.flow.edit.graph import edge_id
from segue.flow.edit.write import write_document
from segue.flow.edit.write_policies import duration_text, expression_value, schema_value
from segue.flow.edit.write_steps import StepWriter
from segue.flow.model import Block, Edge, Flow, JsonValue, RawMap, Step, Trigger, walk
from segue.flow.read import ReadResult, read_flow

_LABELS: Final = ("name", "title", "description", "category", "owner", "version")
_PLACES: Final = frozenset(("span", "path", "form"))


def write_flow(flow: Flow) -> str:
    """A text that is read as this flow. Raises RequestError, with the reason, for a model that no text can say.

    Not kept are the places of a text that the model came from, its form, and `layout.ids` (the text has its own).
    """
    reason = "no text can say it"
    for write in (_blocks, _named_blocks, _graph):
        try:
            text = write(flow)
        except RequestError as error:
            reason = error.message
            continue
        result = read_flow(text)
        if result.flow is not None and not result.has_errors and same_flow(result.flow, flow):
            return text
        reason = _difference(result, flow)
    raise RequestError(f"the flow {flow.id} cannot be written as text: {reason}")


def same_flow(one: Flow, other: Flow) -> bool:
    """Whether two models say the same: all but places, form, `layout.ids` and the order of edges to different steps."""
    encode = msgspec.json.Encoder(order="deterministic").encode
    # As JSON, since Python takes 1 for true and for 1.0.
    return encode(plain_flow(one)) == encode(plain_flow(other))


def plain_flow(flow: Flow) -> RawMap:
    """A model as JSON without what `same_flow` leaves out."""
    plain = cast("RawMap", _plain(flow))
    plain["layout"] = {key: child for key, child in flow.layout.items() if key != "ids" and child not in ({}, None)}
    return plain


def _plain(value: object) -> object:
    if isinstance(value, Block):
        order = {step.id: place for place, step in enumerate(value.steps)}
        edges = sorted(value.edges, key=lambda edge: order.get(edge.target, -1))
        value = msgspec.structs.replace(value, edges=tuple(edges))
    if isinstance(value, msgspec.Struct):
        return {name: _plain(getattr(value, name)) for name in value.__struct_fields__ if name not in _PLACES}
    return [_plain(child) for child in cast("tuple[object, ...]", value)] if isinstance(value, tuple) else value


def _difference(result: ReadResult, flow: Flow) -> str:
    """Where what was written reads otherwise, for the message of a refusal."""
    if result.flow is None or result.has_errors:
        return next((str(problem) for problem in result.problems if problem.severity == "error"), "it has no flow")
    return _first_difference(plain_flow(result.flow), plain_flow(flow), flow.id)


def _first_difference(one: JsonValue, other: JsonValue, path: str) -> str:
    pairs: list[tuple[str, JsonValue, JsonValue]] = []
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        pairs = [(f"{path}.{key}", child, other[key]) for key, child in one.items()]
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = [(f"{path}[{index}]", left, right) for index, (left, right) in enumerate(zip(one, other, strict=True))]
    encode = msgspec.json.Encoder(order="deterministic").encode
    for place, left, right in pairs:
        if encode(left) != encode(right):
            return _first_difference(left, right, place)
    return f"{path} would be read as {str(one)[:60]!r}, not {str(other)[:60]!r}"


# -- the ways to write


def _blocks(flow: Flow) -> str:
    return _in_steps(flow, named=False)


def _named_blocks(flow: Flow) -> str:
    return _in_steps(flow, named=True)


def _in_steps(flow: Flow, *, named: bool) -> str:
    if flow.form in ("graph", "tasks", "dag") and (odd := _odd_name(flow)) is not None:
        raise RequestError(f'"{odd}" is no name that a step of a sequence can have')
    writer = StepWriter(_all_blocks(flow), named=named)
    header = _header(flow)
    steps = writer.block(flow.root)
    tail = _handlers(flow, writer)
    definitions: RawMap = {"definitions": writer.definitions} if writer.definitions else {}
    outputs: RawMap = {"outputs": flow.outputs} if flow.outputs is not None else {}
    layout: RawMap = {key: child for key, child in flow.layout.items() if key != "ids"}
    document: RawMap = {**header, **definitions, "steps": steps, **outputs, **tail}
    if layout:
        document["layout"] = layout
    text = write_document(document)
    return text if named else _with_ids(text, document, flow)


def _with_ids(text: str, document: RawMap, flow: Flow) -> str:
    """The text, with the ids that its steps without a name would not be given by counting."""
    read = read_flow(text)
    if read.flow is None or read.document is None:
        return text
    wanted = [step.id for step in walk_all(flow)]
    found = walk_all(read.flow)
    if len(wanted) != len(found):
        return text
    ids: RawMap = {}
    for step, id in zip(found, wanted, strict=True):
        counted, _ = read.document.numbered.get(step.path, (id, id))
        if counted != id:
            ids[counted] = id
    if not ids:
        return text
    layout = document.get("layout")
    return write_document({**document, "layout": {**(layout if isinstance(layout, dict) else {}), "ids": ids}})


def walk_all(flow: Flow) -> list[Step]:
    """All steps of a flow, those of its own handlers included."""
    return [step for block in _all_blocks(flow) for step in walk(block)]


def _all_blocks(flow: Flow) -> tuple[Block, ...]:
    return tuple(block for block in (flow.root, flow.on_error_block, flow.finally_) if block is not None)


def _odd_name(flow: Flow) -> str | None:
    return next((step.id for step in flow.root.steps if not step.id.isidentifier()), None)


def _graph(flow: Flow) -> str:
    writer = StepWriter(_all_blocks(flow), named=True)
    positions = flow.layout.get("positions")
    places = cast("RawMap", positions) if isinstance(positions, dict) else {}
    nodes: list[JsonValue] = []
    for step in flow.root.steps:
        place: RawMap = {"position": places[step.id]} if isinstance(places.get(step.id), dict) else {}
        nodes.append({"id": step.id, **_node(writer, step), **place})
    edges: list[JsonValue] = [_edge(edge) for edge in flow.root.edges]
    tail = _handlers(flow, writer)
    rest: RawMap = {key: child for key, child in flow.layout.items() if key not in ("ids", "positions")}
    names = {step.id for step in flow.root.steps}
    if lost := {name: child for name, child in places.items() if name not in names}:
        rest = {"positions": lost, **rest}
    definitions: RawMap = {"definitions": writer.definitions} if writer.definitions else {}
    outputs: RawMap = {"outputs": flow.outputs} if flow.outputs is not None else {}
    layout: RawMap = {"layout": rest} if rest else {}
    header = _header(flow)
    return write_document({**header, **definitions, **outputs, **tail, "nodes": nodes, "edges": edges, **layout})


def _node(writer: StepWriter, step: Step) -> RawMap:
    """A node's type and data; a step that only a sequence knows is data of the type `step`."""
    if step.kind not in ("start", "branch"):
        return {"type": "step", "data": writer.body(step)}
    data: RawMap = writer.modifiers(step)
    if step.kind == "branch":
        branches = step.params.get("branches")
        found = (
            [cast("RawMap", branch) for branch in branches if isinstance(branch, dict)]
            if isinstance(branches, list)
            else []
        )
        labels = [(branch.get("label"), branch.get("when")) for branch in found]
        if len(labels) == 2 and labels[0][0] == "then" and labels[1] == ("else", None):
            data = {"condition": expression_value(str(labels[0][1])), **data}
        else:
            is_told = labels[-1:] == [("else", None)] and all(when is not None for _, when in labels[:-1])
            data = {"branches": [_choice(label, when) for label, when in (labels[:-1] if is_told else labels)], **data}
    kind: RawMap = {"type": "start" if step.kind == "start" else "condition"}
    return {**kind, "data": data} if data else kind


def _choice(label: JsonValue, when: JsonValue) -> RawMap:
    return {"label": label, **({"when": expression_value(when)} if isinstance(when, str) else {})}


def _edge(edge: Edge) -> RawMap:
    value: RawMap = {"id": edge_id(edge.source, edge.label, edge.target), "source": edge.source, "target": edge.target}
    if edge.label is not None:
        value["sourceHandle"] = edge.label
    if edge.when is not None:
        value["when"] = expression_value(edge.when)
    return value


# -- the flow's own keys


def _header(flow: Flow) -> RawMap:
    """What stands before the steps, in the order of the language's table."""
    value: RawMap = {"dsl": 1, "flow": flow.id}
    for key in _LABELS:
        if (text := getattr(flow, key)) is not None:
            value[key] = text
    if flow.tags:
        value["tags"] = [*flow.tags]
    if flow.labels:
        value["labels"] = {**flow.labels}
    if flow.triggers:
        triggers = [_trigger(trigger) for trigger in flow.triggers]
        value["trigger" if len(triggers) == 1 else "triggers"] = triggers[0] if len(triggers) == 1 else triggers
    if flow.inputs:
        value["inputs"] = schema_value(flow.inputs)
    value.update({key: found for key in ("vars", "env", "secrets", "limits") if (found := getattr(flow, key)) != {}})
    return {**value, **_running(flow)}


def _running(flow: Flow) -> RawMap:
    """How runs of the flow go on."""
    value: RawMap = {}
    if flow.strategy != "parallel":
        value["strategy"] = flow.strategy
    if flow.fail_fast_priority != _DEFAULT_PRIORITY:
        value["fail_fast_priority"] = flow.fail_fast_priority
    if flow.priority:
        value["priority"] = flow.priority
    if flow.timeout_seconds is not None:
        value["timeout"] = duration_text(flow.timeout_seconds)
    if flow.unbound != "refuse":
        value["unbound"] = flow.unbound
    if flow.masking:
        value["masking"] = [*flow.masking]
    return value


_DEFAULT_PRIORITY: Final = 10


def _handlers(flow: Flow, writer: StepWriter) -> RawMap:
    value: RawMap = {}
    if flow.on_error_block is not None:
        value["on_error"] = writer.block(flow.on_error_block)
    elif flow.on_error != "stop":
        value["on_error"] = flow.on_error
    if flow.finally_ is not None:
        value["finally"] = writer.block(flow.finally_)
    return value


def _trigger(trigger: Trigger) -> JsonValue:
    kind, settings = trigger.kind, trigger.settings
    when: RawMap = {} if trigger.when is None else {"when": expression_value(trigger.when)}
    if not when and kind == "webhook" and set(settings) <= {"event"}:
        return f"webhook.{settings.get('event', 'received')}"
    if not when and not settings and kind == "manual":
        return kind
    return {**settings, **when} if kind in settings else {kind: {**settings, **when}}
