"""The syntax tree: immutable nodes, each with its place in the source (offsets in characters, end exclusive).

Spellings that mean the same are one node: `a | f(b)`, `a.f(b)` and `f(a, b)` are `Call`, `and` is `&&`, `$x` is `x`.
`&&` and `||` take any number of operands, so that a long condition is not a deep one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Node:
    """What every node has."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Literal(Node):
    """A value written in the source."""

    value: object


@dataclass(frozen=True, slots=True)
class Name(Node):
    """A root name of the scope, or the variable of a macro around it."""

    name: str
    dollar: bool
    """Written `$name`: then it is never a type (`$type`) nor a namespace (`$math`)."""
    rooted: bool = False
    """Written `.name`: then it is never the variable of a macro."""


@dataclass(frozen=True, slots=True)
class Select(Node):
    """`operand.field`; `operand.?field` is `optional`: an optional value, absent where the field is."""

    operand: Expr
    field: str
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Index(Node):
    """`operand[index]`; `operand[?index]` is `optional`."""

    operand: Expr
    index: Expr
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Call(Node):
    """A function with its arguments."""

    name: str
    args: tuple[Expr, ...]
    receiver: bool
    """The first argument stood before a `.` or `|`: a null there makes the result null."""


@dataclass(frozen=True, slots=True)
class ListLiteral(Node):
    """`[a, b]`; those at the positions in `optional` (`[?a]`) are left out where they are absent."""

    items: tuple[Expr, ...]
    optional: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class MapLiteral(Node):
    """`{key: value}`; those at the positions in `optional` (`{?key: value}`) are left out where they are absent."""

    entries: tuple[tuple[Expr, Expr], ...]
    optional: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Unary(Node):
    """`!a` (also written `not a`) or `-a`."""

    op: str
    operand: Expr


@dataclass(frozen=True, slots=True)
class Binary(Node):
    """A comparison, `in`, or arithmetic."""

    op: str
    left: Expr
    right: Expr


@dataclass(frozen=True, slots=True)
class Logical(Node):
    """`&&` or `||` over two operands or more."""

    op: str
    operands: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Conditional(Node):
    """`test ? then : other`."""

    test: Expr
    then: Expr
    other: Expr


@dataclass(frozen=True, slots=True)
class Coalesce(Node):
    """`left ?? right`."""

    left: Expr
    right: Expr


@dataclass(frozen=True, slots=True)
class Has(Node):
    """`has(a.b)`."""

    target: Select | Index


@dataclass(frozen=True, slots=True)
class Macro(Node):
    """A loop over `source`: `predicate` is the filter or condition, `body` the result. `existsOne` is `exists_one`.

    `bind` (`cel.bind`), `optMap` and `optFlatMap` name the source itself (or what is in it), and run once.
    """

    kind: str
    source: Expr
    variables: tuple[str, ...]
    predicate: Expr | None
    body: Expr | None


Expr: TypeAlias = (
    Literal
    | Name
    | Select
    | Index
    | Call
    | ListLiteral
    | MapLiteral
    | Unary
    | Binary
    | Logical
    | Conditional
    | Coalesce
    | Has
    | Macro
)


def children(node: Expr) -> tuple[Expr, ...]:
    """The nodes directly below, in source order."""
    match node:
        case Literal() | Name():
            return ()
        case Select(operand=operand) | Unary(operand=operand):
            return (operand,)
        case Index():
            return (node.operand, node.index)
        case Call():
            return node.args
        case ListLiteral():
            return node.items
        case MapLiteral():
            return tuple(part for entry in node.entries for part in entry)
        case Binary() | Coalesce():
            return (node.left, node.right)
        case Logical():
            return node.operands
        case Conditional():
            return (node.test, node.then, node.other)
        case Has():
            return (node.target,)
        case Macro():
            return tuple(part for part in (node.source, node.predicate, node.body) if part is not None)


def depth(root: Expr) -> int:
    """Nesting of the tree, counted without recursion, so that a hostile tree cannot overflow the stack."""
    deepest = 0
    pending: list[tuple[Expr, int]] = [(root, 1)]
    while pending:
        node, level = pending.pop()
        deepest = max(deepest, level)
        pending.extend((child, level + 1) for child in children(node))
    return deepest
