"""What is wrong with a flow: a stable code, a place, one sentence, the nearest valid thing, and a patch where one
exists.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from segue.flow.model import Span


class Patch(msgspec.Struct, frozen=True, kw_only=True):
    """Replace the characters [start, end) of the source text by `text`."""

    start: int
    end: int
    text: str


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One mistake. `code` never changes its meaning; `path` is the place in the document, `span` the place in the
    text.
    """

    code: str
    message: str
    severity: Literal["error", "warning", "note"] = "error"
    path: str = ""
    file: str | None = None
    span: Span | None = None
    suggestion: str | None = None
    patch: Patch | None = None
    reason: str | None = None
    """The code of the expression language (`EXP005`), if an expression is what is wrong."""

    def __str__(self) -> str:
        place = ""
        if self.span is not None:
            place = f" ({self.file or 'flow'}:{self.span.line}:{self.span.column})"
        where = f" {self.path}:" if self.path else ""
        hint = f"; {self.suggestion}" if self.suggestion else ""
        code = f"{self.code}/{self.reason}" if self.reason else self.code
        return f"{code}{where} {self.message}{hint}{place}"
