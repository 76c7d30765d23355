"""The function library: one table a group, joined here. Adding a group is one module and one line."""

from __future__ import annotations

from typing import Final

from segue.expr.library.bits import BITS
from segue.expr.library.calendar import CALENDAR
from segue.expr.library.core import CORE
from segue.expr.library.encoding import ENCODING
from segue.expr.library.lists import LIST
from segue.expr.library.maps import MAP
from segue.expr.library.network import NETWORK
from segue.expr.library.numbers import MATH
from segue.expr.library.optionals import OPTIONAL
from segue.expr.library.regexes import REGEX
from segue.expr.library.sets import SETS
from segue.expr.library.table import Function, FunctionDoc
from segue.expr.library.text import TEXT
from segue.expr.library.times import TIME

_TABLES: Final = (CORE, TEXT, REGEX, LIST, SETS, MAP, OPTIONAL, MATH, BITS, TIME, CALENDAR, ENCODING, NETWORK)

FUNCTIONS: Final[dict[str, Function]] = {
    function.about.name: function for table in _TABLES for function in table.functions
}
"""Every function by its name; those with a dot (`math.abs`) are called by the whole name only."""


def functions() -> tuple[FunctionDoc, ...]:
    """What there is to know about each function, in the order of the documentation."""
    return tuple(function.about for function in FUNCTIONS.values())


__all__ = ["FUNCTIONS", "Function", "FunctionDoc", "functions"]
