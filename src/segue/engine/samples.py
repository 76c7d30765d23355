"""Made-up answers for dry runs: a value that fits a JSON Schema, or the answer that a poll's condition waits for.

The same schema always gives the same value. What the author stated comes first (`const`, `default`, `examples`,
`enum`), then the smallest thing that the type allows. Keywords that no small sample can be built for (`pattern`, `not`,
`if`) are left to the validator: a sample that does not fit is not used.
"""

from __future__ import annotations

from typing import Final, cast

from segue.expr import Condition, Query, ast
from segue.expr.references import static_path
from segue.flow.inputs import check_value
from segue.flow.model import JsonValue, RawMap

MAX_DEPTH: Final = 12
MAX_ITEMS: Final = 10
"""Of a sample list, whatever `minItems` says."""
_FORMATS: Final = {
    "email": "someone@example.com",
    "date": "2026-01-01",
    "time": "09:00:00Z",
    "date-time": "2026-01-01T09:00:00Z",
    "duration": "PT1H",
    "uri": "https://example.com/",
    "uri-reference": "/sample",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def sample_of(schema: RawMap) -> tuple[JsonValue, bool]:
    """A value for the schema, and whether it fits it."""
    value = _sample(schema, schema, MAX_DEPTH)
    return value, not check_value(schema, value)


def _sample(schema: JsonValue, root: RawMap, depth: int) -> JsonValue:
    if not isinstance(schema, dict) or depth <= 0:
        return None
    for key in ("const", "default"):
        if key in schema:
            return schema[key]
    for key in ("examples", "enum"):
        stated = schema.get(key)
        if isinstance(stated, list) and stated:
            return stated[0]
    reference = schema.get("$ref")
    if isinstance(reference, str):
        return _sample(_at(root, reference), root, depth - 1)
    for key in ("oneOf", "anyOf"):
        choices = schema.get(key)
        if isinstance(choices, list) and choices:
            return _sample(choices[0], root, depth - 1)
    parts = schema.get("allOf")
    if isinstance(parts, list):
        made = [_sample(part, root, depth - 1) for part in [*parts, {**schema, "allOf": None}]]
        maps = [one for one in made if isinstance(one, dict)]
        return {key: value for one in maps for key, value in one.items()} if maps else made[0]
    return _of_type(schema, root, depth)


def _of_type(schema: RawMap, root: RawMap, depth: int) -> JsonValue:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((one for one in kind if one != "null"), "null")
    if kind == "object" or (kind is None and "properties" in schema):
        properties = schema.get("properties")
        known = properties if isinstance(properties, dict) else {}
        return {name: _sample(inner, root, depth - 1) for name, inner in known.items()}
    if kind == "array":
        least = schema.get("minItems")
        count = min(least, MAX_ITEMS) if isinstance(least, int) else 1
        return [_sample(schema.get("items"), root, depth - 1) for _ in range(max(count, 1))]
    if kind == "string":
        return _text(schema)
    if kind in ("integer", "number"):
        return _number(schema, whole=kind == "integer")
    return True if kind == "boolean" else None


def _text(schema: RawMap) -> str:
    text = _FORMATS.get(str(schema.get("format")), "sample")
    least, most = schema.get("minLength"), schema.get("maxLength")
    if isinstance(least, int) and len(text) < least <= 10_000:
        text = text.ljust(least, "x")
    return text[:most] if isinstance(most, int) else text


def _number(schema: RawMap, *, whole: bool) -> int | float:
    step = schema.get("multipleOf")
    unit: int | float = step if isinstance(step, (int, float)) and not isinstance(step, bool) else 1
    value: int | float = unit
    least, above = schema.get("minimum"), schema.get("exclusiveMinimum")
    most, below = schema.get("maximum"), schema.get("exclusiveMaximum")
    if isinstance(most, (int, float)) and value > most:
        value = most
    if isinstance(below, (int, float)) and value >= below:
        value = below - unit
    if isinstance(least, (int, float)) and value < least:
        value = least
    if isinstance(above, (int, float)) and value <= above:
        value = above + unit
    return int(value) if whole else value


def _at(root: RawMap, reference: str) -> JsonValue:
    """The part of the schema that a local reference (RFC 6901 pointer after `#`) names; None if there is none."""
    found: JsonValue = root
    for part in reference.removeprefix("#").split("/")[1:]:
        found = found.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(found, dict) else None
    return found if reference.startswith("#") else None


def answer_that_meets(condition: Condition | Query) -> JsonValue:
    """The simplest answer `$` for which a condition of equalities holds (`$.status == 'done' || …`), or None.

    Alternatives give their first; comparisons other than `==` with a literal are not understood.
    """
    program = condition.program if isinstance(condition, Condition) else None
    if program is None:
        return None
    answer: dict[str, JsonValue] = {}
    if not _meet(program.root, answer):
        return None
    value = answer.get("$")
    return value if isinstance(value, (dict, list, str, int, float, bool)) else None


def _meet(node: ast.Expr, answer: dict[str, JsonValue]) -> bool:
    match node:
        case ast.Logical(op="&&"):
            return all(_meet(operand, answer) for operand in node.operands)
        case ast.Logical():
            return _meet(node.operands[0], answer)
        case ast.Binary(op="=="):
            for place, literal in ((node.left, node.right), (node.right, node.left)):
                if isinstance(literal, ast.Literal) and isinstance(literal.value, (str, int, float, bool)):
                    return _put(place, literal.value, answer)
            return False
        case ast.Name() | ast.Select():
            return _put(node, True, answer)
        case _:
            return False


def _put(place: ast.Expr, value: JsonValue, answer: dict[str, JsonValue]) -> bool:
    """Set the field that `$.a.b` names; only fields, since a list would need its other items too."""
    found = static_path(place)
    if found is None or found[0].name != "$" or not all(isinstance(part, str) for part in found[1]):
        return False
    at = answer
    path = ["$", *cast("tuple[str, ...]", found[1])]
    for part in path[:-1]:
        inner = at.setdefault(part, {})
        if not isinstance(inner, dict):
            return False
        at = inner
    at[path[-1]] = value
    return True
