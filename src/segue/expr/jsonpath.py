"""Poll conditions: an expression, or a JSONPath query (RFC 9535) that holds if it selects a node that is not false or
null.

`$.status == 'done'` is an expression, in which `$` is the value at hand. `$.items[?@.done]` is a query. What is both,
such as `$.done`, is read as the query: it holds for any value there but false and null.

Queries are run by python-jsonpath. Its regular expressions go to RE2, and shapes whose cost grows with a power of the
answer's size (a descendant step within another or within a filter) are refused when the flow is read.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from segue.expr.ast import Index, Select
from segue.expr.budget import DEFAULT_BUDGET, Budget
from segue.expr.condition import Condition, compile_condition
from segue.expr.errors import ExprError, ExprEvalError, ExprSyntaxError
from segue.expr.frame import Impure, Scope
from segue.expr.regex import compiled

if TYPE_CHECKING:
    from segue.expr.references import Reference

QUERY_CHARS_MAX: Final = 2_000

_STRING: Final = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"")
_SINGULAR: Final = re.compile(r"\$(?:\.\w++|\[-?\d+\]|\[S\])*+(?![.\[])")


class Query:
    """A JSONPath query as a condition; made by `compile_poll_condition`; immutable."""

    __slots__ = ("_path", "source")

    references: Final[tuple[Reference, ...]] = ()
    impure: Final[frozenset[str]] = frozenset()

    def __init__(self, source: str, path: Any) -> None:
        self.source: Final = source
        self._path = path

    def evaluate(self, scope: Scope, impure: Impure | None = None) -> tuple[bool, str | None]:
        """Whether it selects a node of the value at hand that is not false or null; else a sentence that says so."""
        value = scope.lookup("$")
        if not isinstance(value, dict | list):
            return False, f"`{self.source}` selects nothing: the answer is no map or list"
        found = False
        try:
            for match in self._path.finditer(value):
                found = True
                if match.obj is not None and match.obj is not False:
                    return True, None
        except _library().JSONPathError as error:
            raise ExprEvalError("EXP110", f"the query cannot be run on this answer: {_first_line(error)}") from error
        return False, f"`{self.source}` selected {'only false or null' if found else 'nothing'}"


def compile_poll_condition(source: object, *, budget: Budget = DEFAULT_BUDGET) -> Condition | Query:
    """Compile a poll's condition. Raises ExprError as `compile_condition` does if it is neither."""
    try:
        condition = compile_condition(source, budget=budget)
    except ExprSyntaxError as error:
        if isinstance(source, str) and source.strip().startswith("$"):
            query = _query(source.strip(), error)
            if query is not None:
                return query
        raise
    if condition.program is not None and _is_bare_path(condition.program.root):
        return _query(condition.source.strip(), None) or condition
    return condition


def _is_bare_path(node: object) -> bool:
    while isinstance(node, Select | Index):
        node = node.operand
    return getattr(node, "name", None) == "$"


def _query(source: str, unless: ExprError | None) -> Query | None:
    if len(source) > QUERY_CHARS_MAX:
        return None
    library = _library()
    try:
        path = _environment().compile(source)
    except (library.JSONPathError, RecursionError):
        return None
    problem = _too_costly(source)
    if problem is not None:
        raise ExprSyntaxError("EXP005", problem, suggestion="name the steps to the value one by one") from unless
    return Query(source, path)


def _too_costly(source: str) -> str | None:
    bare = _STRING.sub("S", source)
    head, _, filters = bare.partition("?")
    if head.count("..") > 1 or ".." in filters:
        return "a JSONPath query here may have one `..`, before its filters"
    if "$" in _SINGULAR.sub("", filters):
        return "a filter of a JSONPath query may look at `@`, and of `$` only at one value"
    return None


def _library() -> Any:
    # Imported when a flow has a query: it takes longer to import than all of Segue's own language.
    import jsonpath  # noqa: PLC0415

    return jsonpath


@lru_cache(maxsize=1)
def _environment() -> Any:
    library = _library()
    from jsonpath.function_extensions import ExpressionType, FilterFunction  # noqa: PLC0415

    class Regex(FilterFunction):
        def __init__(self, method: str) -> None:
            self.method = method

        @property
        def arg_types(self) -> list[ExpressionType]:
            return [ExpressionType.VALUE, ExpressionType.VALUE]

        @property
        def return_type(self) -> ExpressionType:
            return ExpressionType.LOGICAL

        def __call__(self, value: object, pattern: object) -> bool:
            if not isinstance(value, str) or not isinstance(pattern, str):
                return False
            try:
                return bool(getattr(compiled(pattern), self.method)(value))
            except ExprEvalError:
                return False  # RFC 9535, section 2.4.6: an invalid expression matches nothing

    environment = library.JSONPathEnvironment(strict=True)
    environment.function_extensions["match"] = Regex("fullmatch")
    environment.function_extensions["search"] = Regex("search")
    return environment


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
