"""Bits of 64-bit integers: those of CEL's math extension (github.com/google/cel-go, ext/math.go)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from segue.expr.errors import ExprEvalError
from segue.expr.frame import Frame
from segue.expr.library.table import Table
from segue.expr.types import UINT_MAX, Uint, spoken

BITS: Final = Table("math")


def _like(operand: int, bits: int) -> int:
    """The 64 bits as a number of the operand's type: an int reads them as two's complement."""
    bits &= UINT_MAX
    if isinstance(operand, Uint):
        return Uint(bits)
    return bits - (1 << 64) if bits >> 63 else bits


def _pairwise(name: str, doc: str, example: str, result: int, compute: Callable[[int, int], int]) -> None:
    @BITS.add(f"{name}(one: int|uint, other: int|uint) -> int|uint", doc, example, result, constant_time=True)
    def computed(frame: Frame, one: Any, other: Any) -> int:
        if isinstance(one, Uint) != isinstance(other, Uint):
            raise ExprEvalError(
                "EXP103", f"`{name}` takes two numbers of one type, not {spoken(one)} and {spoken(other)}"
            )
        return _like(one, compute(int(one), int(other)))

    del computed


_pairwise("math.bitAnd", "The bits that are set in both.", "math.bitAnd(6, 3)", 2, lambda one, other: one & other)
_pairwise("math.bitOr", "The bits that are set in one or both.", "math.bitOr(6, 3)", 7, lambda one, other: one | other)
_pairwise("math.bitXor", "The bits that are set in just one.", "math.bitXor(6, 3)", 5, lambda one, other: one ^ other)


@BITS.add(
    "math.bitNot(number: int|uint) -> int|uint",
    "With every bit turned over.",
    "math.bitNot(1)",
    -2,
    constant_time=True,
)
def _bit_not(frame: Frame, number: Any) -> int:
    return _like(number, ~int(number))


def _places(places: int) -> int:
    if places < 0:
        raise ExprEvalError("EXP106", "a number of bits to shift by is not negative")
    return min(places, 64)


@BITS.add(
    "math.bitShiftLeft(number: int|uint, places: int) -> int|uint",
    "With the bits moved up; those moved past the 64th are lost.",
    "math.bitShiftLeft(1, 4)",
    16,
    constant_time=True,
)
def _shift_left(frame: Frame, number: Any, places: int) -> int:
    return _like(number, int(number) << _places(places))


@BITS.add(
    "math.bitShiftRight(number: int|uint, places: int) -> int|uint",
    "With the bits moved down and zeros above them, also for a negative number.",
    "math.bitShiftRight(1024, 2)",
    256,
    constant_time=True,
)
def _shift_right(frame: Frame, number: Any, places: int) -> int:
    return _like(number, (int(number) & UINT_MAX) >> _places(places))
