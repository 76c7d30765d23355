"""One test for many cases: `cases:` is a table whose rows fill the test's texts as `$case`.

```yaml
tests:
  - name: large refunds are noted
    cases:
      small: {amount: 5, noted: skipped}
      large: {amount: 500, noted: succeeded}
    inputs: {amount: $case.amount}
    expect: {steps: {notify: $case.noted}}
```
Filled are texts that read nothing but `case`; conditions of `that:` and expected values see it among their other names.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from segue.expr import ExprError, MappingScope, compile_value, to_json
from segue.flow.document import Node
from segue.flow.model import JsonValue

LABEL_CHARACTERS = 60


def rows(table: Node) -> Iterable[tuple[str, Node]]:
    """Each row with its label: its key, its `name`, or what it says."""
    if table.entries is not None:
        yield from table.entries.items()
    for index, row in enumerate(table.items or ()):
        named = row.get("name")
        label = None if named is None or named.is_null else str(named.scalar)
        yield label or _said(row.plain()) or str(index + 1), row


def _said(row: JsonValue) -> str | None:
    pairs = row.items() if isinstance(row, dict) else [("", row)]
    parts = [f"{key}={_text(value)}" if key else _text(value) for key, value in pairs]
    text = ", ".join(parts)
    return text if text and len(text) <= LABEL_CHARACTERS else None


def _text(value: JsonValue) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def filled(node: Node, case: JsonValue) -> Node:
    """The node with its texts filled; the places are those of the text that was filled. Raises ExprError."""
    if node.entries is not None:
        return msgspec.structs.replace(node, entries={key: filled(one, case) for key, one in node.entries.items()})
    if node.items is not None:
        return msgspec.structs.replace(node, items=[filled(one, case) for one in node.items])
    text = node.text
    if text is None or "case" not in text:
        return node
    try:
        value = compile_value(text)
    except ExprError:
        # A condition, or a text that merely looks like one: whoever reads it says what is wrong with it.
        return node
    if not value.references or any(reference.root != "case" for reference in value.references):
        return node
    return _made(node, to_json(value.evaluate(MappingScope({"case": case}))))


def _made(at: Node, value: JsonValue) -> Node:
    if isinstance(value, dict):
        entries = {key: _made(at, one) for key, one in value.items()}
        return msgspec.structs.replace(at, scalar=None, entries=entries)
    if isinstance(value, list):
        return msgspec.structs.replace(at, scalar=None, items=[_made(at, one) for one in value])
    return msgspec.structs.replace(at, scalar=value)
