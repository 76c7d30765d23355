"""Applies the patches that problems carry: what `segue fix` does."""

from __future__ import annotations

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
