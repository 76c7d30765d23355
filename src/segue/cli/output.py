"""What commands print: JSON, tables, the words and signs for states."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console

UNBOUND_WIDTH: Final = 10_000
STYLES: Final = {
    "succeeded": "green",
    "recovered": "yellow",
    "skipped": "dim",
    "failed": "red",
    "timed_out": "red",
    "unknown_outcome": "red",
    "cancelled": "magenta",
    "quarantined": "red",
    "running": "cyan",
    "retrying": "yellow",
    "waiting": "blue",
    "paused": "blue",
    "queued": "dim",
    "ready": "dim",
    "pending": "dim",
}
SIGNS: Final = {
    "succeeded": "✓",
    "recovered": "✓",
    "skipped": "–",
    "failed": "✗",
    "timed_out": "✗",
    "unknown_outcome": "?",
    "cancelled": "✗",
    "running": "▸",
    "retrying": "↻",
    "waiting": "…",
    "paused": "‖",
    "ready": "·",
    "pending": "·",
}


def print_json(value: object) -> None:
    """One JSON value on stdout, indented for a terminal, on one line for a program."""
    text = msgspec.json.encode(value)
    if sys.stdout.isatty():
        text = msgspec.json.format(text, indent=2)
    sys.stdout.write(text.decode() + "\n")
    sys.stdout.flush()


def as_json(value: object) -> str:
    """A value as indented JSON text."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def console(*, stderr: bool = False) -> Console:
    """The console of stdout or stderr. Text is printed as it is: no markup, no colours for what looks like a number;
    control characters of others are written out, and command no terminal.
    """
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment

    from segue.observe.terminal import printable

    class Printable(Console):
        def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
            for segment in super().render(renderable, options):
                yield segment if segment.control else Segment(printable(segment.text), segment.style)

    out = Printable(stderr=stderr, highlight=False, markup=False, emoji=False)
    if not out.is_terminal:
        # Nobody looks at columns of a certain width: lines stay whole, for `grep` and for logs.
        out.width = UNBOUND_WIDTH
    return out


def duration(milliseconds: int | None) -> str:
    """`12 ms`, `1.2 s`, `2 min 3 s`, `1 h 2 min`, `3 d 4 h`."""
    if milliseconds is None:
        return ""
    if milliseconds < 1000:
        return f"{milliseconds} ms"
    seconds = milliseconds / 1000
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 24 else f"{hours // 24} d {hours % 24} h"


def local_time(text: str | None) -> str:
    """An RFC 3339 time as the reader's clock shows it; today's without the date."""
    if not text:
        return ""
    at = datetime.fromisoformat(text).astimezone()
    now = datetime.now(UTC).astimezone()
    return f"{at:%H:%M:%S}" if at.date() == now.date() else f"{at:%Y-%m-%d %H:%M}"


def counted(number: int, one: str, many: str | None = None) -> str:
    """`1 run`, `3 runs`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def milliseconds_since(text: str) -> int:
    """How long ago an RFC 3339 time was."""
    return max(0, round((datetime.now(UTC) - datetime.fromisoformat(text)).total_seconds() * 1000))
