"""Patches of a text that are known not to overlap."""

from __future__ import annotations

from collections.abc import Iterable

from segue.flow.problems import Patch


def patched(text: str, patches: Iterable[Patch]) -> str:
    """The text with every patch made; places are those of the text before."""
    for patch in sorted(patches, key=lambda one: one.start, reverse=True):
        text = text[: patch.start] + patch.text + text[patch.end :]
    return text
