"""A compiled expression: what it reads, what impure functions it may use, and its value in a scope."""

from __future__ import annotations

from typing import Final

from segue.expr import ast
from segue.expr.budget import DEFAULT_BUDGET, Budget
from segue.expr.compiler import Compiler, Run
from segue.expr.errors import BudgetExceeded
from segue.expr.frame import Frame, Impure, Scope
from segue.expr.lexer import Token, tokenize
from segue.expr.parser import parse, too_deep
from segue.expr.references import Reference, references
from segue.expr.sealed import MarkedScope, marked
from segue.expr.text import SCALARS, measure


class Program:
    """Made by `compile_expression`; immutable, free to be shared between threads and evaluated any number of times."""

    __slots__ = (
        "_budget",
        "_left",
        "_passes",
        "_run",
        "_slots",
        "end",
        "impure",
        "plain_path",
        "references",
        "root",
        "source",
        "start",
    )

    def __init__(self, source: str, root: ast.Expr, compiler: Compiler, run: Run, budget: Budget) -> None:
        self.source: Final = source
        self.root: Final = root
        self.start: Final = root.start
        self.end: Final = root.end
        self.references: Final[tuple[Reference, ...]] = references(root)
        self.impure: Final[frozenset[str]] = frozenset(compiler.impure)
        self.plain_path: Final[tuple[str, tuple[str, ...]] | None] = _plain_path(root)
        """The name and the fields, if that is all: `$order.customer.email`."""
        self._budget = budget
        self._left = budget.nodes - compiler.cost
        self._slots = compiler.slots
        self._run = run
        self._passes = _passes_on(root)

    def evaluate(self, scope: Scope, impure: Impure | None = None) -> object:
        """The value in the scope. Raises ExprEvalError, BudgetExceeded; nothing else, unless the scope itself does."""
        if type(scope) is MarkedScope:
            return marked(scope, lambda reading: self.evaluate(reading, impure))
        return self.evaluate_in(Frame(scope, impure, self._budget, self._left, self._slots))

    def frame(self, scope: Scope, impure: Impure | None = None) -> Frame:
        """A fresh frame for `evaluate_in`, for callers that look at it afterwards."""
        return Frame(scope, impure, self._budget, self._left, self._slots)

    def evaluate_in(self, frame: Frame) -> object:
        """The value, computed in a frame of this program.

        Every value that the language makes leaves through here, and every one that it reads comes in through the
        frame's `lookup`.
        """
        try:
            if frame.left < 0:
                frame.charge(0)
            value = self._run(frame)
        except RecursionError:
            raise too_deep(self._budget, self.start, self.end) from None
        if not self._passes and type(value) not in SCALARS:
            try:
                measure(frame, value)
            except BudgetExceeded as error:
                error.locate(self.start, self.end)
                raise
        return value

    def __repr__(self) -> str:
        return f"Program({self.source[self.start : self.end]!r})"


def _passes_on(node: ast.Expr) -> bool:
    """Whether the result is a value of the scope, passed on as it is: then its size is not the expression's doing."""
    match node:
        case ast.Literal() | ast.Name():
            return True
        case ast.Select() | ast.Index():
            return _passes_on(node.operand)
        case ast.Coalesce():
            return _passes_on(node.left) and _passes_on(node.right)
        case ast.Conditional():
            return _passes_on(node.then) and _passes_on(node.other)
        case _:
            return False


def _plain_path(root: ast.Expr) -> tuple[str, tuple[str, ...]] | None:
    fields: list[str] = []
    while isinstance(root, ast.Select):
        fields.append(root.field)
        root = root.operand
    return (root.name, tuple(reversed(fields))) if isinstance(root, ast.Name) and root.dollar else None


def compile_expression(source: str, *, budget: Budget = DEFAULT_BUDGET, late_functions: bool = False) -> Program:
    """Compile an expression. Raises ExprSyntaxError, or BudgetExceeded if it is too long or nests too deep.

    A function that does not exist, or not with so many arguments, is a syntax error; with `late_functions` it is an
    error of the evaluation, as the CEL specification has it for expressions that were not checked.
    """
    check_length(source, budget)
    return build(source, tokenize(source), budget, late_functions=late_functions)


def check_length(source: str, budget: Budget) -> None:
    """Raises BudgetExceeded for a source that is too long to be compiled."""
    if len(source) > budget.source_chars:
        raise BudgetExceeded(
            "EXP204", f"the expression is longer than {budget.source_chars} characters", start=0, end=len(source)
        )


def build(source: str, tokens: list[Token], budget: Budget, *, late_functions: bool = False) -> Program:
    """Compile the tokens of an expression that may be a part of `source`."""
    try:
        root = parse(source, tokens, budget)
        compiler = Compiler(late_functions=late_functions)
        run = compiler.compile(root)
        return Program(source, root, compiler, run, budget)
    except RecursionError:
        raise too_deep(budget, tokens[0].start, tokens[-1].end) from None
