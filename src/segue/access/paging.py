"""Pages of lists whose ids sort by time: the cursor is the last id that was given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

AFTER_ALL: Final = "~"
"""Sorts behind every id."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some of a list, and where the rest begins (None: this is the end)."""

    items: tuple[T, ...]
    cursor: str | None


def page_of(found: Sequence[T], limit: int, place: Callable[[T], str]) -> Page[T]:
    """A page of at most `limit`, from one more than that."""
    items = tuple(found[:limit])
    return Page(items, place(items[-1]) if len(found) > limit else None)
