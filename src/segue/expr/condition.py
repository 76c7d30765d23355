"""Conditions: bare expressions that are true or false, and say which missing value made them false."""

from __future__ import annotations

from typing import Final

from segue.expr.budget import DEFAULT_BUDGET, Budget
from segue.expr.errors import ExprEvalError, ExprSyntaxError, UnknownName
from segue.expr.frame import Impure, Scope
from segue.expr.lexer import tokenize, tokenize_until_braces
from segue.expr.ops import index, select
from segue.expr.program import Program, build, check_length
from segue.expr.references import Reference
from segue.expr.types import spoken


class Condition:
    """Made by `compile_condition`; immutable."""

    __slots__ = ("_constant", "impure", "program", "references", "source")

    def __init__(self, source: str, program: Program | None, constant: bool) -> None:
        self.source: Final = source
        self.program: Final = program
        self.references: Final[tuple[Reference, ...]] = program.references if program else ()
        self.impure: Final[frozenset[str]] = program.impure if program else frozenset()
        self._constant = constant

    def evaluate(self, scope: Scope, impure: Impure | None = None) -> tuple[bool, str | None]:
        """Whether it holds. If it does not because something was null, a sentence says what: "`$x.y` was null".

        Raises ExprEvalError for a result that is neither a boolean nor null, BudgetExceeded.
        """
        program = self.program
        if program is None:
            return self._constant, None
        frame = program.frame(scope, impure)
        value = program.evaluate_in(frame)
        if value is True:
            return True, None
        if value is False:
            return False, (_null_reason(program, scope) or "the condition met a null") if frame.null_as_false else None
        if value is None:
            return False, _null_reason(program, scope) or "the condition was null"
        raise ExprEvalError(
            "EXP109",
            f"a condition is true, false or null, not {spoken(value)}",
            start=program.start,
            end=program.end,
            suggestion="compare it, as in `… != null` or `size(…) > 0`",
        )


def compile_condition(source: object, *, budget: Budget = DEFAULT_BUDGET) -> Condition:
    """Compile a condition: a bare expression, one in `{{ }}` or `${{ }}`, or a JSON boolean.

    Raises ExprSyntaxError (also for any other kind of value), BudgetExceeded.
    """
    if isinstance(source, bool):
        return Condition("true" if source else "false", None, source)
    if not isinstance(source, str):
        raise ExprSyntaxError(
            "EXP010", f"a condition is an expression or a boolean, not {spoken(source)}", suggestion="write it as text"
        )
    check_length(source, budget)
    opening = len(source) - len(source.lstrip())
    opening += source.startswith("$", opening)
    if source.startswith("{{", opening):
        tokens, end = tokenize_until_braces(source, opening + 2)
        if source[end:].strip():
            raise ExprSyntaxError(
                "EXP005",
                "expected the end of the condition after `}}`",
                start=end,
                end=len(source),
                suggestion="conditions are bare expressions: leave the braces out",
            )
        return Condition(source, build(source, tokens, budget), False)
    return Condition(source, build(source, tokenize(source), budget), False)


def _null_reason(program: Program, scope: Scope) -> str | None:
    """The references that are null in the scope, named as they would be written. Asked only after a null was met."""
    nulls: list[str] = []
    for reference in program.references:
        if reference.text not in nulls and _is_null(reference, scope):
            nulls.append(reference.text)
    if not nulls:
        return None
    names = ", ".join(f"`{name}`" for name in nulls)
    return f"{names} {'was' if len(nulls) == 1 else 'were'} null"


def _is_null(reference: Reference, scope: Scope) -> bool:
    try:
        value = scope.lookup(reference.root)
        for part in reference.path:
            value = index(value, part) if isinstance(part, int) else select(value, part)
    except (UnknownName, ExprEvalError):
        # A part that was not evaluated (behind `&&`, say) may not even exist; then it was not what was null.
        return False
    return value is None
