"""Syntax tree to Python closures, once. Each closure takes the frame and gives the value of its node.

Straight-line code is not counted while it runs: its number of nodes is known beforehand and taken off the budget at the
start. Only macros repeat, so each of their iterations pays for the nodes of its body, those that `&&` or `? :` skip
included. The usual condition then costs nothing for being counted. The usual types are handled inline; every other case
is asked of `ops`.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from segue.expr import ast, closures, ops
from segue.expr.closures import Run
from segue.expr.errors import ExprEvalError, ExprSyntaxError
from segue.expr.frame import Frame
from segue.expr.library import FUNCTIONS
from segue.expr.macros import MACRO_COMPILERS, truth
from segue.expr.references import denoted_type, static_path

_Computed: TypeAlias = (
    ast.Call
    | ast.ListLiteral
    | ast.MapLiteral
    | ast.Unary
    | ast.Binary
    | ast.Logical
    | ast.Conditional
    | ast.Coalesce
    | ast.Has
    | ast.Macro
)


class Compiler:
    """Compiles one tree. After `compile`, `cost`, `slots` and `impure` say what the closures need and may use."""

    def __init__(self, *, late_functions: bool) -> None:
        self.cost = 0
        self.slots = 0
        self.impure: set[str] = set()
        self._late = late_functions
        self._bound: dict[str, int] = {}

    def compile(self, node: ast.Expr) -> Run:
        """The closure of the node and everything below. Raises ExprSyntaxError for a function that does not exist."""
        if isinstance(node, ast.Literal):
            return closures.constant(node.value)
        self.cost += 1
        return self._path(node) if isinstance(node, ast.Name | ast.Select | ast.Index) else self._compute(node)

    def _compute(self, node: _Computed) -> Run:
        match node:
            case ast.Call():
                return self._call(node)
            case ast.ListLiteral():
                return self._list(node)
            case ast.MapLiteral():
                return self._map(node)
            case ast.Unary():
                return self._unary(node)
            case ast.Binary():
                return self._binary(node)
            case ast.Logical():
                return self._logical(node)
            case ast.Conditional():
                test, then, other = self.compile(node.test), self.compile(node.then), self.compile(node.other)
                start, end = node.test.start, node.test.end
                return lambda frame: then(frame) if truth(frame, test(frame), start, end) else other(frame)
            case ast.Coalesce():
                left, right = self.compile(node.left), self.compile(node.right)
                return lambda frame: value if (value := left(frame)) is not None else right(frame)
            case ast.Has():
                return self._has(node)
            case ast.Macro():
                return self._macro(node)

    # Names and fields

    def _path(self, node: ast.Name | ast.Select | ast.Index) -> Run:
        found = static_path(node)
        if found is None:
            return self._step(node)
        root, parts = found
        if root.name in self._bound and root.name != "$" and not root.rooted:
            return closures.bound_path(self._bound[root.name], parts, node)
        if (denoted := denoted_type(root, parts)) is not None:
            return closures.constant(denoted)
        return closures.scope_path(root, parts, node)

    def _step(self, node: ast.Name | ast.Select | ast.Index) -> Run:
        """A field or index of something computed, or an index that is computed."""
        assert not isinstance(node, ast.Name)
        operand = self.compile(node.operand)
        start, end = node.start, node.end
        if node.optional:
            key = self.compile(node.index) if isinstance(node, ast.Index) else closures.constant(node.field)
            return closures.located(node, lambda frame: ops.optional_index(operand(frame), key(frame)))
        if isinstance(node, ast.Select):
            field = node.field

            def select(frame: Frame) -> Any:
                value = operand(frame)
                try:
                    return value.get(field) if type(value) is closures.DICT else ops.select(value, field)
                except ExprEvalError as error:
                    error.locate(start, end)
                    raise

            return select
        key = self.compile(node.index)

        def index(frame: Frame) -> Any:
            try:
                return ops.index(operand(frame), key(frame))
            except ExprEvalError as error:
                error.locate(start, end)
                raise

        return index

    def _has(self, node: ast.Has) -> Run:
        target = node.target
        operand = self.compile(target.operand)
        key = self.compile(target.index) if isinstance(target, ast.Index) else closures.constant(target.field)
        start, end = target.start, target.end

        def has(frame: Frame) -> bool:
            try:
                return ops.has_field(operand(frame), key(frame))
            except ExprEvalError as error:
                error.locate(start, end)
                raise

        return has

    # Operators

    def _list(self, node: ast.ListLiteral) -> Run:
        items = [self.compile(item) for item in node.items]
        if not node.optional:
            return lambda frame: [item(frame) for item in items]
        optional = [position in node.optional for position in range(len(items))]

        def build(frame: Frame) -> list[Any]:
            made: list[Any] = []
            for item, may_lack in zip(items, optional, strict=True):
                value = item(frame)
                if not may_lack:
                    made.append(value)
                elif ops.entry_of(value).present:
                    made.append(value.value)
            return made

        return closures.located(node, build)

    def _map(self, node: ast.MapLiteral) -> Run:
        entries = [
            (self.compile(key), self.compile(value), key.start, key.end, position in node.optional)
            for position, (key, value) in enumerate(node.entries)
        ]

        def build(frame: Frame) -> dict[Any, Any]:
            made: dict[Any, Any] = {}
            for key_of, value_of, start, end, may_lack in entries:
                try:
                    key = ops.literal_key(key_of(frame))
                    if key in made:
                        raise ExprEvalError("EXP111", "a map key is repeated")
                except ExprEvalError as error:
                    error.locate(start, end)
                    raise
                value = value_of(frame)
                if not may_lack:
                    made[key] = value
                elif ops.entry_of(value).present:
                    made[key] = value.value
            return made

        return closures.located(node, build) if node.optional else build

    def _unary(self, node: ast.Unary) -> Run:
        operand = self.compile(node.operand)
        start, end = node.start, node.end
        if node.op == "!":
            return lambda frame: not truth(frame, operand(frame), start, end)

        def negate(frame: Frame) -> Any:
            try:
                return ops.negate(operand(frame))
            except ExprEvalError as error:
                error.locate(start, end)
                raise

        return negate

    def _binary(self, node: ast.Binary) -> Run:
        left, right = self.compile(node.left), self.compile(node.right)
        match node.op:
            case "==" | "!=":
                return closures.equality(node, left, right)
            case "<" | "<=" | ">" | ">=":
                return closures.comparison(node, left, right)
            case "in":
                return closures.located(node, lambda frame: ops.contains(frame, left(frame), right(frame)))
            case _:
                return closures.arithmetic(node, left, right)

    def _logical(self, node: ast.Logical) -> Run:
        """`&&` and `||`: an operand that decides wins over errors in the others, on whichever side (CEL, "Logical
        Operators").
        """
        operands = [(self.compile(operand), operand.start, operand.end) for operand in node.operands]
        decisive = node.op == "||"

        def run(frame: Frame) -> bool:
            failure: ExprEvalError | None = None
            for operand, start, end in operands:
                try:
                    value = operand(frame)
                    if value is not True and value is not False:
                        value = truth(frame, value, start, end)
                except ExprEvalError as error:
                    failure = failure or error
                    continue
                if value is decisive:
                    return decisive
            if failure is not None:
                raise failure
            return not decisive

        return run

    # Calls

    def _call(self, node: ast.Call) -> Run:
        name, args = node.name, node.args
        receiver = node.receiver
        if receiver and isinstance(args[0], ast.Name) and self._is_namespace(args[0], name):
            name, args, receiver = f"{args[0].name}.{name}", args[1:], False
        function = FUNCTIONS.get(name)
        params = function.params_for(len(args)) if function else None
        if function is None or params is None:
            error = closures.uncallable(name, function, node, len(args))
            if not self._late:
                raise ExprSyntaxError(
                    error.code, error.message, start=node.start, end=node.end, suggestion=error.suggestion
                )
            return closures.failing(error)
        if function.about.impure:
            self.impure.add(name)
        runs = [self.compile(arg) for arg in args]
        places = [(arg.start, arg.end) for arg in args]
        return closures.invocation(node, function, runs, params, places, receiver and not function.takes_null)

    def _is_namespace(self, root: ast.Name, name: str) -> bool:
        bound = root.name in self._bound and not root.rooted
        return not root.dollar and not bound and f"{root.name}.{name}" in FUNCTIONS

    def _macro(self, node: ast.Macro) -> Run:
        source = self.compile(node.source)
        outer_bound, outer_cost = self._bound, self.cost
        slots = tuple(range(self.slots, self.slots + len(node.variables)))
        self.slots += len(slots)
        self._bound = {**outer_bound, **dict(zip(node.variables, slots, strict=True))}
        self.cost = 1
        predicate = self.compile(node.predicate) if node.predicate is not None else None
        body = self.compile(node.body) if node.body is not None else None
        cost = self.cost
        self._bound, self.cost = outer_bound, outer_cost
        return MACRO_COMPILERS[node.kind](node, source, slots, predicate, body, cost)
