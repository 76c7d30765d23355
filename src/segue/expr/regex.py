"""Regular expressions in linear time: RE2 only, with bounded memory, compiled patterns kept.

RE2's syntax is CEL's (github.com/google/re2/wiki/Syntax); look-around and back-references do not exist in it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

from segue.expr.errors import ExprEvalError
from segue.expr.frame import Frame

_MEMORY_BYTES: Final = 1 << 21
"""Memory of one compiled pattern. RE2's own default is 8 MiB; 256 kept patterns of 2 MiB stay bearable."""

_PATTERN_CHARS: Final = 4_096
_GROUPS_MAX: Final = 100
"""RE2's slow path keeps the ends of every group for each of its threads: memory grows with the square of this."""


@lru_cache(maxsize=256)
def compiled(pattern: str) -> Any:
    """The compiled pattern. Raises ExprEvalError for what RE2 does not take, or takes too much memory for."""
    if len(pattern) > _PATTERN_CHARS:
        raise ExprEvalError("EXP110", f"regular expression of more than {_PATTERN_CHARS} characters")
    import re2  # noqa: PLC0415 - 3 ms that few starts need  # pyright: ignore[reportMissingTypeStubs]

    engine: Any = re2
    options = engine.Options()
    options.log_errors = False
    options.max_mem = _MEMORY_BYTES
    try:
        expression = engine.compile(pattern, options=options)
    except (engine.error, UnicodeEncodeError):
        # RE2's own message quotes the pattern, which may hold a value.
        raise ExprEvalError(
            "EXP110",
            "the regular expression is not valid RE2 (or too large)",
            suggestion="RE2 has no look-around and no back-references",
        ) from None
    if expression.groups > _GROUPS_MAX:
        raise ExprEvalError(
            "EXP110",
            f"regular expression of more than {_GROUPS_MAX} groups",
            suggestion="write `(?:…)` for most of them",
        )
    return expression


def searchable(frame: Frame, pattern: str, text_size: int) -> Any:
    """The compiled pattern, with its use on a text of that size paid for.

    RE2's slow path takes time in proportion to (program size x text), a few nanoseconds for each pair; compiling takes
    time in proportion to the program. The price is the same whether the pattern was kept or not, so replays agree.
    """
    expression = compiled(pattern)
    size = int(expression.programsize)
    frame.charge(size // 16 + size * text_size // 1_024)
    return expression
