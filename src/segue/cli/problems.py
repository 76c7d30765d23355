"""Problems of a flow as a compiler shows them: the sentence, the place, the source line with a caret, what helps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from rich.cells import cell_len
from rich.text import Text

from segue.cli.output import counted

if TYPE_CHECKING:
    from rich.console import Console

    from segue.flow.problems import Problem

LINE_SHOWN: Final = 160
"""Of a longer line just the characters around the mistake are shown."""
_STYLE = {"error": "bold red", "warning": "bold yellow", "note": "bold cyan"}


def print_problems(console: Console, problems: Sequence[Problem], source: str, file: str) -> None:
    """All problems in the order of their places, errors and warnings mixed, as they stand in the text."""
    lines = source.splitlines()
    for problem in sorted(problems, key=lambda one: (one.span is None, one.span.start if one.span else 0)):
        console.print(shown(problem, lines, file))


def shown(problem: Problem, lines: Sequence[str], file: str) -> Text:
    """One problem, with an empty line after it."""
    text = Text()
    text.append(f"{problem.severity}[{problem.code}]", _STYLE[problem.severity])
    text.append(f": {problem.message}\n", "bold")
    span = problem.span
    place = "" if span is None else f":{span.line}:{span.column}"
    path = f" ({problem.path})" if problem.path else ""
    width = 1 if span is None else len(str(span.line))
    text.append(f"{' ' * width}--> ", "blue")
    text.append(f"{problem.file or file}{place}{path}\n")
    if span is not None and 0 < span.line <= len(lines):
        line = lines[span.line - 1].replace("\t", " ")
        column = span.column - 1
        if len(line) > LINE_SHOWN:
            cut = max(0, column - LINE_SHOWN // 2)
            column -= cut - (cut > 0)
            line = f"{'…' * (cut > 0)}{line[cut : cut + LINE_SHOWN]}{'…' * (len(line) > cut + LINE_SHOWN)}"
        before = line[:column]
        marked = max(1, min(span.end - span.start, len(line) - len(before)))
        text.append(f"{' ' * width} |\n{span.line} | ", "blue")
        text.append(f"{line}\n")
        text.append(f"{' ' * width} | ", "blue")
        carets = max(1, cell_len(line[column : column + marked]))
        text.append(f"{' ' * cell_len(before)}{'^' * carets}\n", _STYLE[problem.severity])
    if problem.suggestion:
        text.append(f"{' ' * width} = ", "blue")
        text.append(f"help: {problem.suggestion}\n")
    if problem.patch is not None:
        text.append(f"{' ' * width} = ", "blue")
        text.append("`segue fix` mends this\n")
    return text


def summary(problems: Sequence[Problem]) -> str:
    """`2 errors, 1 warning`; empty if there are none."""
    parts = [
        counted(number, severity)
        for severity in ("error", "warning", "note")
        if (number := sum(problem.severity == severity for problem in problems))
    ]
    return ", ".join(parts)
