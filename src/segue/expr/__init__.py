"""The expression language of flows: CEL with four stated deviations, compiled once to closures, bounded in all it does.

Pure: no clock, no randomness, no input or output; `now() uuid() random()` come from a provider that the caller passes
in. Imports nothing else of Segue. Deviations from the CEL specification (github.com/google/cel-spec):

1. int (or uint) and double mix in arithmetic, computing as double.
2. A missing field or index is null; null propagates through `.`, `[]` and `|`; null counts as false where a condition
   stands.
   `a ?? b` gives b for null; `has()` still tells a missing field from a null one.
3. `$name` beside `name`; the words `and or not` beside `&& || !`.
4. Pipes: `$x.name | trim | upper`; with them every function can be called as `f(a)`, `a.f()` and `a | f`.

CEL's messages, containers and enums are left out: values are JSON. The extension libraries for strings, math, sets,
lists, encodings, optionals, bindings, two-variable macros and network addresses keep the names that they have in CEL.
"""

from segue.expr.budget import DEFAULT_BUDGET, Budget
from segue.expr.case import evaluate_case
from segue.expr.condition import Condition, compile_condition
from segue.expr.errors import CODES, BudgetExceeded, ExprError, ExprEvalError, ExprSyntaxError, UnknownName
from segue.expr.frame import Impure, MappingScope, Scope
from segue.expr.jsonpath import Query, compile_poll_condition
from segue.expr.library import FunctionDoc, functions
from segue.expr.program import Program, compile_expression
from segue.expr.references import Reference
from segue.expr.sealed import Box, MarkedScope, Sealed, Sealer
from segue.expr.template import Value, compile_value
from segue.expr.text import to_json
from segue.expr.types import Duration, Timestamp, TypeValue, Uint

__all__ = [
    "CODES",
    "DEFAULT_BUDGET",
    "Box",
    "Budget",
    "BudgetExceeded",
    "Condition",
    "Duration",
    "ExprError",
    "ExprEvalError",
    "ExprSyntaxError",
    "FunctionDoc",
    "Impure",
    "MappingScope",
    "MarkedScope",
    "Program",
    "Query",
    "Reference",
    "Scope",
    "Sealed",
    "Sealer",
    "Timestamp",
    "TypeValue",
    "Uint",
    "UnknownName",
    "Value",
    "compile_condition",
    "compile_expression",
    "compile_poll_condition",
    "compile_value",
    "evaluate_case",
    "functions",
    "to_json",
]
