"""Structured logs: one line for each event, with the request, run and step it belongs to, and no secret in it.

`configure_logging` is called once by whatever starts a process (command line, server, worker); nothing happens at
import, and an embedding program that never calls it keeps its own logging. Lines of the standard library's loggers
(aiohttp, uvicorn, …) take the same way, so that they are masked too.

Secrets are hidden twice: field by field before a line is written, and by exact value in the finished line, where they
may have come back through the text of an object.
"""

from __future__ import annotations

import logging
import random
import sys
from collections.abc import Generator, Mapping, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final, TextIO, cast

import msgspec
import structlog
from structlog.stdlib import BoundLogger, ProcessorFormatter
from structlog.typing import EventDict, Processor, WrappedLogger

from segue.observe.context import AT_WORK
from segue.observe.masking import DEPTH_MAX, LOG_MASKER, MASK, Masker
from segue.observe.terminal import CONTROLS, ENDS_OF_LINES

LEVELS: Final = ("debug", "info", "warning", "error", "critical")
# What structlog itself puts into an event and takes out again; it is no data of ours.
_INTERNAL: Final = frozenset({"_record", "_from_structlog"})

_IDS: Final = random.Random()  # noqa: S311 - see `new_request_id`
_MANY_LINES: Final = frozenset(("exception", "stack", "stack_info"))
"""What has many lines by its nature: all but the first are indented."""

_MASKER: ContextVar[Masker | None] = ContextVar("segue_log_masker", default=None)


def configure_logging(*, json: bool, level: str, masker: Masker = LOG_MASKER, stream: TextIO | None = None) -> None:
    """Send all logs of this process to `stream` (default: standard error), as JSON lines or for people to read.

    `level` is one of `LEVELS`; ValueError for another. `masker` holds where `masking_with` has set none. Calling it
    again replaces what the last call set up and nothing else: other handlers of the root logger stay.
    """
    if level.lower() not in LEVELS:
        raise ValueError(f"unknown log level {level!r}: use one of {', '.join(LEVELS)}")
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        _add_work,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="timestamp"),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=BoundLogger,
        cache_logger_on_first_use=False,
    )
    renderer: Processor = (
        _render_json
        if json
        else structlog.dev.ConsoleRenderer(
            colors=stream is None and sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    )
    neutral: list[Processor] = [] if json else [_neutralise]
    formatter = ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[_Mask(masker), ProcessorFormatter.remove_processors_meta, *neutral, renderer, _MaskLine(masker)],
    )
    handler = _SegueHandler(stream)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    for earlier in [handler for handler in root.handlers if isinstance(handler, _SegueHandler)]:
        root.removeHandler(earlier)
    root.addHandler(handler)
    root.setLevel(number)


def get_logger(name: str) -> BoundLogger:
    """A logger; `name` is the module's. Cheap, and safe to call before `configure_logging`."""
    return structlog.stdlib.get_logger(name)


def new_request_id() -> str:
    """An id that tells requests apart. It guards nothing, so it need not ask the system for randomness each time."""
    return f"req_{_IDS.getrandbits(96):024x}"


@contextmanager
def log_context(
    *, request_id: str | None = None, run_id: str | None = None, step: str | None = None
) -> Generator[None]:
    """Put these ids on every line written inside, by this task and those it starts. What is None is left as it is
    around.
    """
    given = {"request_id": request_id, "run_id": run_id, "step": step}
    with structlog.contextvars.bound_contextvars(**{name: value for name, value in given.items() if value is not None}):
        yield


@contextmanager
def masking_with(masker: Masker) -> Generator[None]:
    """Hide with `masker` (which knows a run's secrets) in all lines written inside, by this task and those it
    starts.
    """
    token = _MASKER.set(masker)
    try:
        yield
    finally:
        _MASKER.reset(token)


class _SegueHandler(logging.StreamHandler[TextIO]):
    """Its own class, so that a second `configure_logging` knows what the first one added."""


class _Mask:
    """Makes an event plain JSON and hides secrets in it. Objects become their text first, or their secrets would
    pass.
    """

    def __init__(self, default: Masker) -> None:
        self._default = default

    def __call__(self, logger: WrappedLogger, method: str, event: EventDict) -> Mapping[str, object]:
        masker = _masker() or self._default
        plain = {name: value if name in _INTERNAL else plain_value(value) for name, value in event.items()}
        internal = {name: value for name, value in plain.items() if name in _INTERNAL}
        shown = masker.mask_json({name: value for name, value in plain.items() if name not in _INTERNAL})
        return {**cast("dict[str, object]", shown), **internal}


class _MaskLine:
    """The second net: exact values in the finished line."""

    def __init__(self, default: Masker) -> None:
        self._default = default

    def __call__(self, logger: WrappedLogger, method: str, line: object) -> str:
        return (_masker() or self._default).mask_values(str(line))


def _masker() -> Masker | None:
    """What hides the secrets that may be known here."""
    given = _MASKER.get()
    if given is not None:
        return given
    work = AT_WORK.get()
    return None if work is None else work.masker.for_logs()


def _add_work(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """The run and the step that are worked on, on lines that do not say which."""
    work = AT_WORK.get()
    if work is not None:
        for name, value in (("run_id", work.run_id), ("step", work.step), ("workspace", work.workspace)):
            event.setdefault(name, value)
    return event


def plain_value(value: object, depth: int = 0) -> object:
    """`value` as JSON: maps, lists, text, numbers, booleans and null stay; anything else becomes its text."""
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if depth >= DEPTH_MAX:
        return MASK
    if isinstance(value, Mapping):
        items = cast("Mapping[object, object]", value).items()
        return {str(name): plain_value(item, depth + 1) for name, item in items}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain_value(item, depth + 1) for item in cast("list[object]", value)]
    return str(value)


def _neutralise(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Text from outside must neither begin a line that looks like another one nor speak to the terminal (CWE-117)."""
    for name, value in event.items():
        if not isinstance(value, str):
            continue
        if name in _MANY_LINES:
            event[name] = "\n    ".join(line.translate(CONTROLS) for line in value.split("\n"))
        else:
            event[name] = value.translate(CONTROLS)
    return event


def _render_json(logger: WrappedLogger, method: str, event: MutableMapping[str, object]) -> str:
    # First what a person looks for in a line, then the rest in the order it was given.
    first = {name: event.pop(name) for name in ("timestamp", "level", "logger", "event") if name in event}
    line = msgspec.json.encode({**first, **event}, enc_hook=str).decode()
    # JSON leaves those as they are that end a line in Unicode only (UAX 14).
    return line if line.isascii() and "\x7f" not in line else line.translate(ENDS_OF_LINES)
