"""A flow file as commands use it: read, checked and bound, or every problem with its place."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from segue.errors import RequestError

if TYPE_CHECKING:
    from segue.flow import Catalogue, Document, Flow, Problem

STDIN = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowFile:
    """What a file holds. `flow` is there as far as it could be read; bound to actions if nothing is wrong with it."""

    name: str
    """As named on the command line; for messages."""
    folder: Path | None
    text: str
    flow: Flow | None
    problems: tuple[Problem, ...]
    document: Document | None = None

    @property
    def is_usable(self) -> bool:
        """Whether nothing worse than a warning was found."""
        return self.flow is not None and not any(problem.severity == "error" for problem in self.problems)


def read_bytes(file: str, what: str) -> bytes:
    """The content of a file, `-` being stdin. Raises RequestError with what is wrong."""
    if file == STDIN:
        return sys.stdin.buffer.read()
    try:
        return Path(file).read_bytes()
    except FileNotFoundError:
        raise RequestError(f"there is no file {file}") from None
    except IsADirectoryError:
        raise RequestError(f"{file} is a folder; name the {what}'s file") from None
    except OSError as error:
        raise RequestError(f"{file} cannot be read: {error.strerror}") from error


def folder_of(file: str) -> Path | None:
    """Where the file lies; None for stdin."""
    return None if file == STDIN else Path(file).absolute().parent


def load(file: str, catalogue: Catalogue | None, *, runnable: bool, content: bytes | None = None) -> FlowFile:
    """Read a flow's file, and check it against the actions that are known (None: read only).

    Raises RequestError if there is no such file; what is wrong with the flow stands in `problems`.
    """
    from segue.flow import check_flow, read_flow
    from segue.flow.bind import bind_flow

    content = read_bytes(file, "flow") if content is None else content
    name = "stdin" if file == STDIN else file
    result = read_flow(content, file=name)
    problems = list(result.problems)
    flow = result.flow
    if flow is not None and catalogue is not None:
        problems += check_flow(flow, catalogue, runnable=runnable, document=result.document)
        if not any(problem.severity == "error" for problem in problems):
            flow = bind_flow(flow, catalogue)
    return FlowFile(
        name=name,
        folder=folder_of(file),
        text=content.decode("utf-8", "replace"),
        flow=flow,
        problems=tuple(problems),
        document=result.document,
    )
