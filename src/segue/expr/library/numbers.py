"""Functions of numbers. Without a prefix they are made for people (`round(2.5)` is the int 3); with `math.` they are
those of CEL's math extension (github.com/google/cel-go, ext/math.go), where rounding gives a double.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any, Final

from segue.expr.errors import ExprEvalError
from segue.expr.frame import Frame
from segue.expr.library.table import Table
from segue.expr.ops import checked_int, is_list, order
from segue.expr.types import INT_MIN, Uint, spoken

MATH: Final = Table("math")
_EXACT: Final = Context(prec=800)
"""More digits than any double has (767), so that rounding is done on its exact value."""


def _whole(value: float) -> int:
    if not INT_MIN <= value < -INT_MIN:
        raise ExprEvalError("EXP104", "number outside of the 64-bit range")
    return int(value)


def _half_up(value: float) -> float:
    """Halves away from zero, as people and CEL round; Python rounds them to even."""
    whole = math.floor(abs(value))
    return math.copysign(whole + (abs(value) - whole >= 0.5), value)


@MATH.add(
    "round(number: number, digits?: int) -> number",
    "To the nearest int, or to so many digits behind the point; halves go away from zero.",
    "[round(2.5), round(2.345, 1)]",
    [3, 2.3],
    constant_time=True,
)
def _round(frame: Frame, number: Any, digits: int | None = None) -> Any:
    if not isinstance(number, float):
        return number
    if digits is None:
        return _whole(_half_up(number) if math.isfinite(number) else number)
    if not -308 <= digits <= 308:
        raise ExprEvalError("EXP106", "digits are between -308 and 308")
    if not math.isfinite(number):
        return number
    # The shortest decimal of the double is what people see and mean: 2.675 is rounded as 2.675, not as 2.67499….
    return float(Decimal(repr(number)).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP, _EXACT))


@MATH.add(
    "floor(number: number) -> int", "The greatest int that is not greater.", "floor(-1.5)", -2, constant_time=True
)
def _floor(frame: Frame, number: Any) -> int:
    return _whole(math.floor(number) if math.isfinite(number) else number) if isinstance(number, float) else number


@MATH.add("ceil(number: number) -> int", "The smallest int that is not smaller.", "ceil(1.2)", 2, constant_time=True)
def _ceil(frame: Frame, number: Any) -> int:
    return _whole(math.ceil(number) if math.isfinite(number) else number) if isinstance(number, float) else number


@MATH.add("abs(number: number) -> number", "Without its sign.", "abs(-3)", 3, constant_time=True, aliases=("math.abs",))
def _abs(frame: Frame, number: Any) -> Any:
    return (
        number if isinstance(number, Uint) else abs(number) if isinstance(number, float) else checked_int(abs(number))
    )


@MATH.add("sign(number: number) -> number", "-1, 0 or 1.", "sign(-7)", -1, constant_time=True, aliases=("math.sign",))
def _sign(frame: Frame, number: Any) -> Any:
    return number if number != number else type(number)((number > 0) - (number < 0))


@MATH.add(
    "sqrt(number: number) -> double",
    "The square root; NaN of a negative number.",
    "sqrt(9)",
    3.0,
    constant_time=True,
    aliases=("math.sqrt",),
)
def _sqrt(frame: Frame, number: Any) -> float:
    return math.sqrt(_double(number)) if number >= 0 else math.nan


@MATH.add(
    "pow(base: number, exponent: number) -> number",
    "The power; an int if both are ints and the exponent is not negative.",
    "pow(2, 10)",
    1024,
    constant_time=True,
)
def _pow(frame: Frame, base: Any, exponent: Any) -> Any:
    if not isinstance(base, float) and not isinstance(exponent, float) and exponent >= 0:
        if abs(base) > 1 and exponent > 64:
            raise ExprEvalError("EXP104", "integer overflow", suggestion="compute with doubles: `pow(double(…), …)`")
        power = int(base) ** (int(exponent) if abs(base) > 1 else int(exponent) % 2 + 2 * (exponent > 0))
        return checked_int(power)
    if base == 0 and exponent < 0:
        return math.inf
    try:
        return math.pow(_double(base), _double(exponent))
    except OverflowError:
        return math.inf
    except ValueError:
        return math.nan


def _double(number: Any) -> float:
    try:
        return float(number)
    except OverflowError:
        raise ExprEvalError("EXP104", "integer outside of the range of doubles") from None


@MATH.add(
    "random() -> double",
    "A number in [0, 1); kept in the run's journal, so that a replay sees the same.",
    "random() < 1.0",
    True,
    impure=True,
)
def _random(frame: Frame) -> float:
    return float(frame.provider("random").random())


def _best(values: tuple[Any, ...], sign: int) -> Any:
    items = values[0] if len(values) == 1 and is_list(values[0]) else values
    if not items:
        raise ExprEvalError("EXP106", "the list is empty")
    best = items[0]
    for item in items:
        if not isinstance(item, int | float) or isinstance(item, bool):
            raise ExprEvalError("EXP103", f"a number is needed, not {spoken(item)}")
        if order(item, best) * sign > 0:
            best = item
    return best


@MATH.add(
    "math.greatest(numbers...: number|list) -> number",
    "The greatest of the numbers, or of one list of them.",
    "math.greatest(1, 3, 2)",
    3,
)
def _greatest(frame: Frame, *values: Any) -> Any:
    return _best(values, 1)


@MATH.add(
    "math.least(numbers...: number|list) -> number",
    "The least of the numbers, or of one list of them.",
    "math.least(1, 3, 2)",
    1,
)
def _least(frame: Frame, *values: Any) -> Any:
    return _best(values, -1)


def _rounding(name: str, doc: str, example: str, result: float, compute: Callable[[float], float]) -> None:
    @MATH.add(f"{name}(number: double) -> double", doc, example, result, constant_time=True)
    def rounded(frame: Frame, number: float) -> float:
        return float(compute(number)) if math.isfinite(number) else number

    del rounded


_rounding("math.round", "To the nearest integral double, halves away from zero.", "math.round(-1.5)", -2.0, _half_up)
_rounding("math.floor", "The greatest integral double that is not greater.", "math.floor(1.9)", 1.0, math.floor)
_rounding("math.ceil", "The smallest integral double that is not smaller.", "math.ceil(1.1)", 2.0, math.ceil)
_rounding("math.trunc", "Without what stands behind the point.", "math.trunc(-1.9)", -1.0, math.trunc)


def _test(name: str, doc: str, example: str, result: bool, test: Callable[[float], bool]) -> None:
    @MATH.add(f"{name}(number: double) -> bool", doc, example, result, constant_time=True)
    def tested(frame: Frame, number: float) -> bool:
        return test(number)

    del tested


_test("math.isNaN", "Whether the double is not a number.", "math.isNaN(0.0 / 0.0)", True, math.isnan)
_test("math.isInf", "Whether the double is infinite.", "math.isInf(1.0 / 0.0)", True, math.isinf)
_test("math.isFinite", "Whether the double is a finite number.", "math.isFinite(1.5)", True, math.isfinite)
