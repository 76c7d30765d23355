"""Applies the patches that problems carry: what `segue fix` does."""

from __future__ import annotations

import re
from collections.abc import Iterable

from segue.flow.problems import Problem


def apply_patches(text: str, problems: Iterable[Problem]) -> str:
    """The text with every patch put in. Of patches that overlap only the first (by place) is taken; the same one
    counts once.

    Places count in the text the problems were found in. Reading the result again may find what a mistake had hidden.
    """
    patches = sorted(
        {problem.patch for problem in problems if problem.patch is not None},
        key=lambda patch: (patch.start, patch.end),
    )
    mark = "\ufeff" if text.startswith("\ufeff") else ""
    text = text.removeprefix(mark)
    pieces: list[str] = [mark]
    done = 0
    for patch in patches:
        if patch.start < done or patch.end > len(text):
            continue
        pieces += [text[done : patch.start], patch.text]
        done = patch.end
    return "".join([*pieces, text[done:]])


def change(before: str, after: str) -> tuple[int, int, str]:
    """The smallest span of the text that has to be replaced, at least one character, and by what."""
    start = 0
    while start < min(len(before), len(after)) and before[start] == after[start]:
        start += 1
    end = 0
    while end < min(len(before), len(after)) - start and before[-1 - end] == after[-1 - end]:
        end += 1
    # Whole words, so that the edit can be read.
    while start > 0 and re.match(r"\w", before[start - 1]) and re.match(r"\w", (after[start:] + " ")[0]):
        start -= 1
    while end > 0 and re.match(r"\w", before[-end]) and re.match(r"\w", (" " + after[: len(after) - end])[-1]):
        end -= 1
    if start == len(before) - end and start > 0:
        start -= 1  # an insertion: the character before it is written again
    return start, len(before) - end, after[start : len(after) - end]
