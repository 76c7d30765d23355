"""Reads document A's data mapper: `mappings: [{from: input.name, to: output.fullName}]` as one object of values."""

from __future__ import annotations

from segue.expr import ExprError, compile_expression
from segue.flow import codes
from segue.flow.document import Node
from segue.flow.model import RawMap
from segue.flow.reader import Reader


def read_mappings(reader: Reader, node: Node, path: str) -> RawMap:
    """The object that the pairs make: nested by the dots in `to`, each value computed from `from`.

    `output.` before a target may be left out; inside `from`, `input` means the data that flowed in.
    """
    made: RawMap = {}
    for index, pair in enumerate(node.items or []):
        entries = reader.map_of(pair, f"mappings[{index}]")
        if entries is None:
            continue
        entries = reader.check_keys(entries, ("from", "to", "value"), "a mapping")
        target = entries.get("to")
        if target is None or not target.text:
            reader.missing(pair, "a mapping", "to")
            continue
        source = entries.get("from")
        if source is None and "value" not in entries:
            reader.missing(pair, "a mapping", "from")
            continue
        value = entries["value"].plain() if source is None else _computed(reader, source)
        _put(reader, made, target, target.text, value)
    reader.place(path, "params.value", node)
    return made


def _computed(reader: Reader, node: Node) -> object:
    expression = reader.expression(node, "from")
    return None if expression is None else "{{ " + input_as_data(expression) + " }}"


def input_as_data(expression: str) -> str:
    """The expression with the name `input` (also `$input`) replaced by `data`. One that does not compile stays."""
    try:
        references = compile_expression(expression).references
    except ExprError:
        return expression
    for reference in sorted(references, key=lambda found: -found.start):
        if reference.root == "input" and expression[reference.start :].lstrip("$").startswith("input"):
            start = expression.index("input", reference.start)
            expression = f"{expression[:start]}data{expression[start + len('input') :]}"
    return expression


def _put(reader: Reader, made: RawMap, node: Node, target: str, value: object) -> None:
    parts = target.removeprefix("$").removeprefix("output.").split(".")
    if not all(parts) or any("[" in part for part in parts):
        hint = "write a path of names, such as output.customer.name"
        reader.problem(codes.WRONG_TYPE, node, f'"{target[:60]}" is no path of names', suggestion=hint)
        return
    inner = made
    for part in parts[:-1]:
        step = inner.setdefault(part, {})
        if not isinstance(step, dict):
            reader.problem(codes.CONFLICT, node, f"`{target}` lies inside a target that is set already")
            return
        inner = step
    if parts[-1] in inner:
        reader.problem(codes.CONFLICT, node, f"`{target}` is set already")
        return
    inner[parts[-1]] = value  # pyright: ignore[reportArgumentType]
