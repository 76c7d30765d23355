"""The closures themselves: names and fields, comparisons, arithmetic and calls, with the usual types handled inline.

An error is given the place of its node by the closure that met it first; `try` costs nothing where nothing is raised.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from types import NoneType
from typing import Any, Final, TypeAlias

from segue.expr import ast, ops
from segue.expr.errors import ExprError, ExprEvalError, UnknownName, nearest
from segue.expr.frame import Frame
from segue.expr.library import FUNCTIONS, Function
from segue.expr.library.table import Param
from segue.expr.types import INT_MAX, INT_MIN, kind_of

Run: TypeAlias = Callable[[Frame], Any]

DICT: Final[Any] = dict
"""What JSON maps are; any other Mapping takes the slow way. Untyped, since a dict of the JSON edge has no more type."""

_DIRECT: Final = frozenset({int, float, NoneType, bool})
_NUMBERS: Final = frozenset({int, float})
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


def constant(value: object) -> Run:
    """Always the value."""
    return lambda frame: value


def failing(error: ExprEvalError) -> Run:
    """Always the error: a call that cannot be, where that is an error of the evaluation."""

    def fail(frame: Frame) -> Any:
        raise ExprEvalError(error.code, error.message, start=error.start, end=error.end, suggestion=error.suggestion)

    return fail


def located(node: ast.Node, run: Run) -> Run:
    """The closure, whose errors are given the place of the node."""
    start, end = node.start, node.end

    def run_located(frame: Frame) -> Any:
        try:
            return run(frame)
        except ExprError as error:
            error.locate(start, end)
            raise

    return run_located


def uncallable(name: str, function: Function | None, node: ast.Call, count: int) -> ExprEvalError:
    """The error for a function that does not exist, or not with so many arguments."""
    if function is None:
        near = nearest(name, FUNCTIONS)
        hint = f"did you mean `{near}`?" if near else None
        return ExprEvalError(
            "EXP007", f"unknown function `{name[:60]}`", start=node.start, end=node.end, suggestion=hint
        )
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
            if type(value) is DICT:
                value = value.get(part)
            elif type(part) is str and not ops.is_list(value):
                value = ops.select(value, part)
            else:
                value = ops.index(value, part) if type(part) is int else ops.select(value, str(part))
    except ExprEvalError as error:
        error.locate(node.start, node.end)
        raise
    return value


def scope_path(root: ast.Name, parts: tuple[str | int, ...], node: ast.Node) -> Run:
    """A name of the scope with the constant fields and indexes behind it."""
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
            value: Any = frame.lookup(name)
        except UnknownName as error:
            raise unknown_name(error, root) from None
        return value.get(first) if type(value) is DICT else _walk(value, parts, node)

    def path(frame: Frame) -> Any:
        try:
            value: Any = frame.lookup(name)
        except UnknownName as error:
            raise unknown_name(error, root) from None
        return _walk(value.get(first), rest, node) if type(value) is DICT else _walk(value, parts, node)

    return path if rest else field


def bound_path(slot: int, parts: tuple[str | int, ...], node: ast.Node) -> Run:
    """A macro's variable with the constant fields and indexes behind it."""
    if not parts:
        return lambda frame: frame.slots[slot]
    first, rest = parts[0], parts[1:]

    def path(frame: Frame) -> Any:
        value: Any = frame.slots[slot]
        if type(value) is DICT:
            value = value.get(first)
            return _walk(value, rest, node) if rest else value
        return _walk(value, parts, node)

    return path


def equality(node: ast.Binary, left: Run, right: Run) -> Run:
    """`==` and `!=`."""
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

    def equals(frame: Frame) -> bool:
        one, other = left(frame), right(frame)
        if type(one) is type(other) and type(one) in _DIRECT:
            return (one == other) is not negated
        try:
            return ops.equal(frame, one, other) is not negated
        except ExprError as error:
            error.locate(start, end)
            raise

    return equals


def comparison(node: ast.Binary, left: Run, right: Run) -> Run:
    """`<`, `<=`, `>` and `>=`."""
    name, order = node.op, _ORDERS[node.op]
    start, end = node.start, node.end

    def compares(frame: Frame) -> bool:
        one, other = left(frame), right(frame)
        kind = kind_of(one)
        if kind is type(other) and (kind is int or kind is float):
            return order(one, other)
        try:
            return ops.compare(frame, name, one, other)
        except ExprError as error:
            error.locate(start, end)
            raise

    return compares


def arithmetic(node: ast.Binary, left: Run, right: Run) -> Run:
    """`+`, `-`, `*`, `/` and `%`."""
    name, compute = node.op, _INT_OPERATORS.get(node.op)
    start, end = node.start, node.end

    def computes(frame: Frame) -> Any:
        one, other = left(frame), right(frame)
        if compute is not None and kind_of(one) in _NUMBERS and kind_of(other) in _NUMBERS:
            try:
                result = compute(one, other)
                if type(result) is float or INT_MIN <= result <= INT_MAX:
                    return result
            except OverflowError as error:
                raise ExprEvalError(
                    "EXP104", "integer outside of the range of doubles", start=start, end=end
                ) from error
        try:
            return ops.arithmetic(frame, name, one, other)
        except ExprError as error:
            error.locate(start, end)
            raise

    return computes


def invocation(
    node: ast.Call,
    function: Function,
    runs: list[Run],
    params: tuple[Param, ...],
    places: list[tuple[int, int]],
    null_passes: bool,
) -> Run:
    """A call: arguments are checked and paid for; a null before the dot or pipe is the result if `null_passes`."""
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
                kind = kind_of(value)
                allowed = kinds[position]
                if allowed is not None and kind not in allowed:
                    check(position, value)
                if counted and kind in _SIZED:
                    frame.charge(len(value) // 256 if kind is str or kind is bytes else len(value))
            return implementation(frame, *values)
        except ExprError as error:
            error.locate(start, end)
            raise

    return invoke
