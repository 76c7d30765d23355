"""Prints the reference page of all problem codes: `python -m segue.flow.errors_page > docs/errors.md`."""

from __future__ import annotations

import sys

from segue.flow.codes import CODES


def page() -> str:
    """The reference page of all codes, in Markdown."""
    lines = [
        "# Problem codes",
        "",
        "Every mistake in a flow has a code that never changes its meaning, a place and a sentence. All mistakes are",
        "reported at once. This page is printed by `python -m segue.flow.errors_page`.",
        "",
    ]
    for code in CODES.values():
        lines += [
            f"## {code.code}: {code.title}",
            "",
            f"*{code.severity}*",
            "",
            f"- Cause: {code.cause}",
            f"- Fix: {code.fix}",
            "",
        ]
    return "\n".join(lines[:-1]) + "\n"


if __name__ == "__main__":
    sys.stdout.write(page())
