"""Syntax tree to Python closures, once. Each closure takes the frame and gives the value of its node.

Straight-line code is not counted while it runs: its number of nodes is known beforehand and taken off the budget at the start.
Only macros repeat, so each of their iterations pays for the nodes of its body. The bound is as tight, and the usual
condition costs nothing for it. The usual types are handled inline; every other case is asked of `ops`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from types import NoneType
from typing import Any, Final, TypeAlias

from segue.expr import ast, ops
from segue.expr.errors import ExprError, ExprEvalError, ExprSyntaxError, UnknownName, nearest
from segue.expr.frame import Frame
from segue.expr.library import FUNCTIONS, Function
from segue.expr.macros import MACRO_COMPILERS, truth
from segue.expr.references import static_path
from segue.expr.types import DENOTATIONS, INT_MAX, INT_MIN, QUALIFIED_DENOTATIONS, TypeValue

Run: TypeAlias = Callable[[Frame], Any]

_DIRECT: Final = frozenset({int, float, NoneType, bool})
_SIZED: Final = frozenset({str, bytes, list, tuple, dict})
_ORDERS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_INT_OPERATORS: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
}


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
        match node:
            case ast.Literal():
                value = node.value
                return lambda frame: value
            case ast.Name() | ast.Select() | ast.Index():
                self.cost += 1
                return self._path(node)
            case _:
                self.cost += 1
        match node:
            case ast.Call():
                return self._call(node)
            case ast.ListLiteral():
                items = [self.compile(item) for item in node.items]
                return lambda frame: [item(frame) for item in items]
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
        if root.name in self._bound and not (root.name == "$"):
            return _bound_path(self._bound[root.name], parts, node)
        if not root.dollar:
            if not parts and root.name in DENOTATIONS:
                value = TypeValue(root.name)
                return lambda frame: value
            dotted = ".".join((root.name, *(str(part) for part in parts)))
            if dotted in QUALIFIED_DENOTATIONS:
                value = TypeValue(dotted)
                return lambda frame: value
        return _scope_path(root, parts, node)

    def _step(self, node: ast.Name | ast.Select | ast.Index) -> Run:
        """A field or index of something computed, or an index that is computed."""
        assert not isinstance(node, ast.Name)
        operand = self.compile(node.operand)
        start, end = node.start, node.end
        if isinstance(node, ast.Select):
            field = node.field

            def select(frame: Frame) -> Any:
                value = operand(frame)
                try:
                    return value.get(field) if type(value) is dict else ops.select(value, field)
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
        key = self.compile(target.index) if isinstance(target, ast.Index) else _constant(target.field)
        start, end = target.start, target.end

        def has(frame: Frame) -> bool:
            try:
                return ops.has_field(operand(frame), key(frame))
            except ExprEvalError as error:
                error.locate(start, end)
                raise

        return has

    # Operators

    def _map(self, node: ast.MapLiteral) -> Run:
        entries = [(self.compile(key), self.compile(value), key.start, key.end) for key, value in node.entries]

        def build(frame: Frame) -> dict[Any, Any]:
            made: dict[Any, Any] = {}
            for key_of, value_of, start, end in entries:
                try:
                    key = ops.literal_key(key_of(frame))
                    if key in made:
                        raise ExprEvalError("EXP111", "a map key is repeated")
                except ExprEvalError as error:
                    error.locate(start, end)
                    raise
                made[key] = value_of(frame)
            return made

        return build

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
                return _equality(node, left, right)
            case "<" | "<=" | ">" | ">=":
                return _comparison(node, left, right)
            case "in":
                return _located(node, lambda frame: ops.contains(frame, left(frame), right(frame)))
            case _:
                return _arithmetic(node, left, right)

    def _logical(self, node: ast.Logical) -> Run:
        """`&&` and `||`: an operand that decides wins over errors in the others, on whichever side (CEL, "Logical Operators")."""
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
            error = _uncallable(name, function, node, len(args))
            if not self._late:
                raise ExprSyntaxError(
                    error.code, error.message, start=node.start, end=node.end, suggestion=error.suggestion
                )
            return _failing(error)
        if function.about.impure:
            self.impure.add(name)
        runs = [self.compile(arg) for arg in args]
        places = [(arg.start, arg.end) for arg in args]
        return _invocation(node, function, runs, params, places, receiver and not function.takes_null)

    def _is_namespace(self, root: ast.Name, name: str) -> bool:
        return not root.dollar and root.name not in self._bound and f"{root.name}.{name}" in FUNCTIONS

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


def _constant(value: object) -> Run:
    return lambda frame: value


def _failing(error: ExprEvalError) -> Run:
    def fail(frame: Frame) -> Any:
        raise ExprEvalError(
            error.code, error.message, start=error.start, end=error.end, suggestion=error.suggestion
        )

    return fail


def _located(node: ast.Node, run: Run) -> Run:
    start, end = node.start, node.end

    def located(frame: Frame) -> Any:
        try:
            return run(frame)
        except ExprError as error:
            error.locate(start, end)
            raise

    return located


def _uncallable(name: str, function: Function | None, node: ast.Call, count: int) -> ExprEvalError:
    if function is None:
        near = nearest(name, FUNCTIONS)
        hint = f"did you mean `{near}`?" if near else None
        return ExprEvalError("EXP007", f"unknown function `{name[:60]}`", start=node.start, end=node.end, suggestion=hint)
    return ExprEvalError(
        "EXP008",
        f"`{name}` does not take {count} argument{'' if count == 1 else 's'}",
        start=node.start,
        end=node.end,
        suggestion=f"it is `{function.about.signature}`",
    )


def unknown_name(error: UnknownName, node: ast.Node) -> ExprEvalError:
    """The error for a root name that the scope does not have, with the nearest that it has."""
    near = nearest(error.name, error.known)
    hint = f"did you mean `${near}`?" if near else None
    return ExprEvalError("EXP101", f"unknown name `{error.name[:60]}`", start=node.start, end=node.end, suggestion=hint)


def _walk(value: Any, parts: tuple[str | int, ...], node: ast.Node) -> Any:
    try:
        for part in parts:
            if type(value) is dict:
                value = value.get(part)
            elif type(part) is str and not isinstance(value, ops.LISTS):
                value = ops.select(value, part)
            else:
                value = ops.index(value, part) if type(part) is int else ops.select(value, str(part))
    except ExprEvalError as error:
        error.locate(node.start, node.end)
        raise
    return value


def _scope_path(root: ast.Name, parts: tuple[str | int, ...], node: ast.Node) -> Run:
    name = root.name

    def whole(frame: Frame) -> Any:
        try:
            return frame.lookup(name)
        except UnknownName as error:
            raise unknown_name(error, root) from None

    if not parts:
        return whole
    first, rest = parts[0], parts[1:]

    def field(frame: Frame) -> Any:
        try:
            value = frame.lookup(name)
        except UnknownName as error:
            raise unknown_name(error, root) from None
        return value.get(first) if type(value) is dict else _walk(value, parts, node)

    def path(frame: Frame) -> Any:
        try:
            value = frame.lookup(name)
        except UnknownName as error:
            raise unknown_name(error, root) from None
        return _walk(value.get(first), rest, node) if type(value) is dict else _walk(value, parts, node)

    return path if rest else field


def _bound_path(slot: int, parts: tuple[str | int, ...], node: ast.Node) -> Run:
    if not parts:
        return lambda frame: frame.slots[slot]
    first, rest = parts[0], parts[1:]

    def path(frame: Frame) -> Any:
        value: Any = frame.slots[slot]
        if type(value) is dict:
            value = value.get(first)
            return _walk(value, rest, node) if rest else value
        return _walk(value, parts, node)

    return path


def _equality(node: ast.Binary, left: Run, right: Run) -> Run:
    negated = node.op == "!="
    if isinstance(node.right, ast.Literal):
        constant = node.right.value
        if constant is None:
            if negated:
                return lambda frame: left(frame) is not None
            return lambda frame: left(frame) is None
        if type(constant) is str:
            # Comparing with a text of the source is bounded by the source, whatever the other side is.
            if negated:
                return lambda frame: bool(left(frame) != constant)
            return lambda frame: bool(left(frame) == constant)
    start, end = node.start, node.end

    def equality(frame: Frame) -> bool:
        one, other = left(frame), right(frame)
        if type(one) is type(other) and type(one) in _DIRECT:
            return (one == other) is not negated
        try:
            return ops.equal(frame, one, other) is not negated
        except ExprError as error:
            error.locate(start, end)
            raise

    return equality


def _comparison(node: ast.Binary, left: Run, right: Run) -> Run:
    name, order = node.op, _ORDERS[node.op]
    start, end = node.start, node.end

    def comparison(frame: Frame) -> bool:
        one, other = left(frame), right(frame)
        kind = type(one)
        if kind is type(other) and (kind is int or kind is float):
            return order(one, other)
        try:
            return ops.compare(frame, name, one, other)
        except ExprError as error:
            error.locate(start, end)
            raise

    return comparison


def _arithmetic(node: ast.Binary, left: Run, right: Run) -> Run:
    name, compute = node.op, _INT_OPERATORS.get(node.op)
    start, end = node.start, node.end

    def arithmetic(frame: Frame) -> Any:
        one, other = left(frame), right(frame)
        if compute is not None and type(one) is int and type(other) is int:
            result = compute(one, other)
            if INT_MIN <= result <= INT_MAX:
                return result
        try:
            return ops.arithmetic(frame, name, one, other)
        except ExprError as error:
            error.locate(start, end)
            raise

    return arithmetic


def _invocation(
    node: ast.Call,
    function: Function,
    runs: list[Run],
    params: tuple[Any, ...],
    places: list[tuple[int, int]],
    null_passes: bool,
) -> Run:
    start, end = node.start, node.end
    implementation, counted = function.implementation, not function.constant_time
    kinds = [param.kinds for param in params]

    def check(position: int, value: object) -> None:
        param = params[position]
        if not param.admits(value):
            error = function.refuse(position, param, value)
            error.locate(*places[position])
            raise error

    def invoke(frame: Frame) -> Any:
        values = [run(frame) for run in runs]
        if null_passes and values[0] is None:
            return None
        try:
            for position, value in enumerate(values):
                kind, allowed = type(value), kinds[position]
                if allowed is not None and kind not in allowed:
                    check(position, value)
                if counted and kind in _SIZED:
                    frame.charge(len(value) // 256 if kind is str or kind is bytes else len(value))
            return implementation(frame, *values)
        except ExprError as error:
            error.locate(start, end)
            raise

    return invoke
