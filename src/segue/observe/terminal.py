"""Text of others for a terminal: control characters in it would command the terminal of whoever reads it.

Escape sequences move the cursor, change the title or hide lines (CWE-150). A path, an input or an answer may hold them.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

ENDS_OF_LINES: Final[Mapping[int, str]] = MappingProxyType(
    {code: f"\\u{code:04x}" for code in (*range(0x7F, 0xA0), 0x2028, 0x2029)}
)
"""DEL, C1 and what ends a line in Unicode only: JSON leaves them as they are (UAX 14)."""
CONTROLS: Final[Mapping[int, str]] = MappingProxyType(
    dict(ENDS_OF_LINES) | {code: f"\\x{code:02x}" for code in range(0x20) if code != 9} | {10: "\\n", 13: "\\r"}
)
"""How C0, DEL and C1 of ISO/IEC 6429 and the ends of lines are written out, for `str.translate`. Tabs stay."""
_WITHIN_LINES: Final = MappingProxyType({code: text for code, text in CONTROLS.items() if code != 10})


def printable(text: str) -> str:
    r"""The text with its control characters written out as `\x1b`; tabs and line feeds stay."""
    return text.translate(_WITHIN_LINES)
