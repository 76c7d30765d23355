"""How much one expression may do. Every bound is counted, none is measured in time: a replay ends in the same place."""

from __future__ import annotations

from typing import Final

import msgspec


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of one compilation and one evaluation."""

    nodes: int = 100_000
    """Node evaluations. A path such as `$a.b.c` is one; a function also pays one per list item it walks and per 256
    bytes of text.
    """
    depth: int = 64
    """Nesting of the syntax tree. CEL asks implementations for at least 12 to 32, depending on the construct."""
    output_bytes: int = 1_048_576
    """Size of any text built on the way, and of the result as JSON. A plain reference passes its value on uncounted."""
    source_chars: int = 65_536
    """Length of the source; bounds the work of compiling."""


DEFAULT_BUDGET: Final = Budget()

VALUE_DEPTH_MAX: Final = 200
"""Nesting of a value that is walked (compared, written, measured). Well inside of Python's recursion limit of 1000
frames.
"""

TEXT_BYTES_PER_NODE: Final = 256
"""Text work that costs as much as one node: 100,000 nodes are then some 25 MB of text, under a second for every
function.
"""
