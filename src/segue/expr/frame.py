"""What one evaluation has in hand: the scope, the provider of impure values, the remaining budget, the macros'
variables.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final, Protocol

from segue.expr.budget import TEXT_BYTES_PER_NODE, Budget
from segue.expr.errors import BudgetExceeded, ExprEvalError, UnknownName

IMPURE_FUNCTIONS: Final = frozenset({"now", "uuid", "random"})


class Scope(Protocol):
    """Where names come from. Values are JSON values (`Mapping` and `tuple` are read as well) or this package's own
    types.

    `lookup` may be asked for the same name again, must then answer the same, and is called only for names that are
    needed.
    """

    def lookup(self, name: str, /) -> object:
        """The value of a root name (`$` for the value at hand). Raises UnknownName."""
        ...


class MappingScope:
    """A scope over a mapping."""

    __slots__ = ("_names",)

    def __init__(self, names: Mapping[str, object]) -> None:
        self._names = names

    def lookup(self, name: str, /) -> object:
        """The value under the name; UnknownName carries the names that there are."""
        try:
            return self._names[name]
        except KeyError:
            raise UnknownName(name, self._names) from None


class Impure(Protocol):
    """The outside values that an expression may ask for. The caller journals them, so that a replay sees the same."""

    def now(self) -> datetime:
        """The current time, with its zone."""
        ...

    def uuid(self) -> str:
        """A new UUID in its usual text form."""
        ...

    def random(self) -> float:
        """A number in [0, 1)."""
        ...


class Frame:
    """State of one evaluation. `left` falls with every charge; below zero the evaluation ends."""

    __slots__ = ("budget", "impure", "left", "lookup", "null_as_false", "slots")

    def __init__(self, scope: Scope, impure: Impure | None, budget: Budget, left: int, slots: int) -> None:
        self.lookup = scope.lookup
        self.impure = impure
        self.budget = budget
        self.left = left
        self.slots: list[object] = [None] * slots if slots else _NO_SLOTS
        self.null_as_false = False

    def charge(self, nodes: int) -> None:
        """Pay for `nodes` node evaluations. Raises BudgetExceeded."""
        self.left -= nodes
        if self.left < 0:
            raise BudgetExceeded(
                "EXP201",
                f"the expression takes more than {self.budget.nodes} steps",
                suggestion="work on fewer items, or split the work over several steps of the flow",
            )

    def charge_text(self, size: int) -> None:
        """Pay for reading `size` bytes or characters of text."""
        self.charge(size // TEXT_BYTES_PER_NODE)

    def reserve_text(self, size: int) -> None:
        """Pay for making a text of `size` bytes; called before it is made. Raises BudgetExceeded."""
        if size > self.budget.output_bytes:
            raise BudgetExceeded("EXP203", f"the expression makes a text of more than {self.budget.output_bytes} bytes")
        self.charge(size // TEXT_BYTES_PER_NODE)

    def provider(self, function: str) -> Impure:
        """The provider of impure values. Raises ExprEvalError if the caller gave none."""
        if self.impure is None:
            raise ExprEvalError(
                "EXP107", f"`{function}()` is not available here: this must give the same value each time"
            )
        return self.impure


_NO_SLOTS: Final[list[object]] = []


def text_bytes(text: str) -> int:
    """UTF-8 length of a text (a lone surrogate, which JSON lets through, counts 3)."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
