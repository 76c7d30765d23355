"""Which names, and which paths below them, an expression reads: found in the tree, before anything runs.

The checker follows a reference into the output schema of the step that it names; the kernel sees from it what a step
needs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from segue.expr import ast
from segue.expr.library import FUNCTIONS
from segue.expr.types import DENOTATIONS, QUALIFIED_DENOTATIONS, TypeValue

_ADMITS_ABSENCE: Final = ("default", "isEmpty")


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """One read of the scope: `$root.path[0]["key"]`."""

    root: str
    """The name that the scope is asked for; `$` is the value at hand."""
    path: tuple[str | int, ...]
    """The constant fields and indexes behind it, up to the first computed one."""
    start: int
    end: int
    guarded: bool = False
    """In `has(…)` or left of `??`: the writer reckons with the field's absence."""
    at: tuple[str | int, ...] = ()
    """Where the scalar is inside of a raw value; `start` and `end` count within that scalar."""

    @property
    def text(self) -> str:
        """The reference as one would write it."""
        root = self.root if self.root == "$" else f"${self.root}"
        return root + "".join(_part_text(part) for part in self.path)

    def inside(self, at: tuple[str | int, ...]) -> Reference:
        """The same reference, in the scalar at that path."""
        return msgspec.structs.replace(self, at=at)


def _part_text(part: str | int) -> str:
    if isinstance(part, int):
        return f"[{part}]"
    if part.isidentifier():
        return f".{part}"
    escaped = part.replace("\\", "\\\\").replace('"', '\\"')
    return f'["{escaped}"]'


def static_path(node: ast.Expr) -> tuple[ast.Name, tuple[str | int, ...]] | None:
    """The root and the constant parts, if the node is a name followed by nothing but fields and constant indexes."""
    parts: list[str | int] = []
    while True:
        match node:
            case ast.Name():
                return node, tuple(reversed(parts))
            case ast.Select(optional=False):
                parts.append(node.field)
                node = node.operand
            case ast.Index(optional=False, index=ast.Literal(value=str() | int() as part)) if type(part) in (str, int):
                parts.append(part)
                node = node.operand
            case _:
                return None


def references(root: ast.Expr) -> tuple[Reference, ...]:
    """Every read of the scope, in source order."""
    found = sorted(_walk(root, frozenset(), False), key=lambda reference: (reference.start, reference.end))
    return tuple(found)


def _walk(node: ast.Expr, bound: frozenset[str], guarded: bool) -> Iterator[Reference]:
    if (path := static_path(node)) is not None:
        name, parts = path
        if (name.rooted or name.name not in bound) and denoted_type(name, parts) is None:
            yield Reference(root=name.name, path=parts, start=node.start, end=node.end, guarded=guarded)
        return
    match node:
        case ast.Macro():
            inner = bound | frozenset(node.variables)
            for part in ast.children(node):
                yield from _walk(part, bound if part is node.source else inner, guarded and part is node.source)
        case ast.Has():
            yield from _walk(node.target, bound, True)
        case ast.Coalesce():
            yield from _walk(node.left, bound, True)
            yield from _walk(node.right, bound, guarded)
        case ast.Call():
            for arg in node.args[1:] if _is_namespaced(node, bound) else node.args:
                yield from _walk(arg, bound, node.name in _ADMITS_ABSENCE)
        case ast.Select():
            yield from _walk(node.operand, bound, guarded or node.optional)
        case ast.Index():
            yield from _walk(node.operand, bound, guarded or node.optional)
            yield from _walk(node.index, bound, False)
        case _:
            for child in ast.children(node):
                yield from _walk(child, bound, False)


def denoted_type(name: ast.Name, parts: tuple[str | int, ...]) -> TypeValue | None:
    """The type that a bare name (`int`, `google.protobuf.Duration`) stands for; None if it is a name of the scope."""
    if name.dollar:
        return None
    dotted = ".".join((name.name, *(str(part) for part in parts)))
    return TypeValue(dotted) if dotted in (QUALIFIED_DENOTATIONS if parts else DENOTATIONS) else None


def _is_namespaced(node: ast.Call, bound: frozenset[str]) -> bool:
    root = node.args[0] if node.receiver else None
    if not isinstance(root, ast.Name) or root.dollar or (root.name in bound and not root.rooted):
        return False
    return f"{root.name}.{node.name}" in FUNCTIONS
