"""Errors for people at a terminal: one clear line each on stderr, and the table of exit codes."""

from __future__ import annotations

import os
import sys
import traceback
from contextlib import suppress
from typing import Final

from segue.errors import (
    ConflictError,
    EngineError,
    GoneError,
    InvalidFlowError,
    InvalidInputError,
    JournalCorruptError,
    LimitReachedError,
    NotFoundError,
    RequestError,
    SegueError,
    StepError,
)
from segue.observe.terminal import printable

SUCCEEDED: Final = 0
FAILED: Final = 1
"""The run did not succeed, the check found errors, or what was asked for does not exist or cannot be done now."""
USAGE: Final = 2
"""The flow, its inputs or the options cannot be used."""
UNAVAILABLE: Final = 3
"""The database or the host could not be used; nothing can be said of the run."""
INTERRUPTED: Final = 130
"""128 + SIGINT."""
BROKEN_PIPE: Final = 141
"""128 + SIGPIPE: whoever read our output has gone."""
TERMINATED: Final = 143
"""128 + SIGTERM."""

_SET_ASIDE: Final = "`segue show RUN --at {}` shows its last valid event, `segue rollback RUN` goes on from there"

EXIT_CODES: Final[tuple[tuple[type[SegueError], int], ...]] = (
    # The first class that fits counts, so special ones stand before general ones.
    (NotFoundError, FAILED),
    (ConflictError, FAILED),
    (GoneError, FAILED),
    (LimitReachedError, FAILED),
    (RequestError, USAGE),
    (StepError, FAILED),
    (EngineError, UNAVAILABLE),
)


def exit_code_of(error: SegueError) -> int:
    """The exit code for an error that ended a command."""
    for kind, code in EXIT_CODES:
        if isinstance(error, kind):
            return code
    return UNAVAILABLE


def report_error(error: SegueError) -> int:
    """Say on stderr what failed, and return the exit code. SEGUE_DEBUG=1 adds the traceback."""
    if os.environ.get("SEGUE_DEBUG") == "1":
        traceback.print_exception(error)
    print(f"segue: {printable(error.message)}", file=sys.stderr)
    if isinstance(error, InvalidInputError):
        for path, sentence in error.details:
            if len(error.details) > 1 or sentence not in error.message:
                print(printable(f"  {path}: {sentence}" if path else f"  {sentence}"), file=sys.stderr)
    elif isinstance(error, JournalCorruptError):
        print(f"  what helps: {_SET_ASIDE.format(error.last_valid_seq)}", file=sys.stderr)
    elif isinstance(error, InvalidFlowError):
        for problem in error.problems:
            print(printable(f"  {problem}"), file=sys.stderr)
    return exit_code_of(error)


def quiet_stdout() -> int:
    """Let what is still buffered go nowhere, or Python would complain about it at its end; the exit code."""
    with suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
    return BROKEN_PIPE


def notice(text: str) -> None:
    """A fact beside the command's result, on stderr."""
    print(f"segue: {text}", file=sys.stderr, flush=True)
