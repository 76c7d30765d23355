"""The syntax tree: immutable nodes, each with its place in the source (offsets in characters, end exclusive).

Spellings that mean the same are one node: `a | f(b)`, `a.f(b)` and `f(a, b)` are `Call`, `and` is `&&`, `$x` is `x`.
`&&` and `||` take any number of operands, so that a long condition is not a deep one.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec


class Node(msgspec.Struct, frozen=True):
    """What every node has."""

    start: int
    end: int


class Literal(Node, frozen=True):
    """A value written in the source."""

    value: object


class Name(Node, frozen=True):
    """A root name of the scope, or the variable of a macro around it."""

    name: str
    dollar: bool
    """Written `$name`: then it is never a type (`$type`) nor a namespace (`$math`)."""
    rooted: bool = False
    """Written `.name`: then it is never the variable of a macro."""


class Select(Node, frozen=True):
    """`operand.field`; `operand.?field` is `optional`: an optional value, absent where the field is."""

    operand: Expr
    field: str
    optional: bool = False


class Index(Node, frozen=True):
    """`operand[index]`; `operand[?index]` is `optional`."""

    operand: Expr
    index: Expr
    optional: bool = False


class Call(Node, frozen=True):
    """A function with its arguments."""

    name: str
    args: tuple[Expr, ...]
    receiver: bool
    """The first argument stood before a `.` or `|`: a null there makes the result null."""


class ListLiteral(Node, frozen=True):
    """`[a, b]`; those at the positions in `optional` (`[?a]`) are left out where they are absent."""

    items: tuple[Expr, ...]
    optional: frozenset[int] = frozenset()


class MapLiteral(Node, frozen=True):
    """`{key: value}`; those at the positions in `optional` (`{?key: value}`) are left out where they are absent."""

    entries: tuple[tuple[Expr, Expr], ...]
    optional: frozenset[int] = frozenset()


class Unary(Node, frozen=True):
    """`!a` (also written `not a`) or `-a`."""

    op: str
    operand: Expr


class Binary(Node, frozen=True):
    """A comparison, `in`, or arithmetic."""

    op: str
    left: Expr
    right: Expr


class Logical(Node, frozen=True):
    """`&&` or `||` over two operands or more."""

    op: str
    operands: tuple[Expr, ...]


class Conditional(Node, frozen=True):
    """`test ? then : other`."""

    test: Expr
    then: Expr
    other: Expr


class Coalesce(Node, frozen=True):
    """`left ?? right`."""

    left: Expr
    right: Expr


class Has(Node, frozen=True):
    """`has(a.b)`."""

    target: Select | Index


class Macro(Node, frozen=True):
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
