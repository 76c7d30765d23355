"""What stands in for the outside world in dry runs and flow tests: answers to the calls that steps would make.

A mock is one answer, or a list of answers that are given in the order of the calls (attempts, polls, iterations), the
last one again and again. An answer is an output in value notation (references are resolved when it is given), or one of
the forms `{output: …}`, `{error: {category, message, …}}`, `{no_answer: true}`, each with an optional `after: 30s` of
virtual time. An output that is itself a list, or a map with these keys only, is written as `{output: …}`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, cast

from segue.errors import RequestError
from segue.flow.durations import MAX_SECONDS, parse_duration
from segue.flow.model import JsonValue
from segue.flow.nearest import did_you_mean
from segue.kernel.events import Failure

FORMS: Final = ("output", "error", "no_answer")
_KEYS: Final = frozenset((*FORMS, "after"))
_ERROR_KEYS: Final = ("category", "message", "code", "status", "details", "retry_after")
CATEGORIES: Final = (
    "timeout", "connection", "dns", "tls", "rate_limit", "auth", "validation", "expression", "unknown_outcome",
    "internal",
)  # fmt: skip
"""The closed list of `semantics` (Paths), beside `http.<status>` and `adapter.<code>`."""


class MockError(RequestError):
    """A mock that cannot be used; `path` is the place within the mocks, such as `charge[1].error.category`."""

    def __init__(self, message: str, path: tuple[str | int, ...] = (), suggestion: str | None = None) -> None:
        super().__init__(message)
        self.path = path
        self.suggestion = suggestion


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer. `none`: no answer ever comes, so that only a time limit ends the call."""

    kind: Literal["output", "error", "none"]
    output: JsonValue = None
    """In value notation."""
    failure: Failure | None = None
    retry_after_seconds: float | None = None
    after_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Mock:
    """The answers of one step, or of one instance of it."""

    answers: tuple[Answer, ...]

    def answer(self, call: int) -> Answer:
        """The answer to the call with this number, counted from 0."""
        return self.answers[min(call, len(self.answers) - 1)]


def output_mock(output: JsonValue) -> Mock:
    """The mock that always gives this output, as a step's own `mock:` does."""
    return Mock((Answer(kind="output", output=output),))


def read_mock(value: JsonValue, path: tuple[str | int, ...] = ()) -> Mock:
    """The mock that a JSON value stands for. Raises MockError with the place below `path`."""
    if not isinstance(value, list):
        return Mock((_answer(value, path),))
    if not value:
        raise MockError("the list of answers is empty; write `{output: []}` for an empty list", path)
    return Mock(tuple(_answer(one, (*path, index)) for index, one in enumerate(value)))


def _answer(value: JsonValue, path: tuple[str | int, ...]) -> Answer:
    if not isinstance(value, dict) or not value or not set(value) <= _KEYS or not any(key in value for key in FORMS):
        return Answer(kind="output", output=value)
    given = [key for key in FORMS if key in value]
    if len(given) > 1:
        raise MockError(f"an answer is one thing; `{given[0]}` and `{given[1]}` are given", (*path, given[1]))
    after = 0.0
    if "after" in value:
        found = parse_duration(value["after"]) if isinstance(value["after"], str) else None
        if found is None or found > MAX_SECONDS:
            raise MockError("`after` is a duration, such as 30s or 2h", (*path, "after"))
        after = found
    if "error" in value:
        failure, retry_after = _failure(value["error"], (*path, "error"))
        return Answer(kind="error", failure=failure, retry_after_seconds=retry_after, after_seconds=after)
    if "no_answer" in value:
        if value["no_answer"] is not True:
            raise MockError("write `no_answer: true`", (*path, "no_answer"))
        return Answer(kind="none")
    return Answer(kind="output", output=value["output"], after_seconds=after)


def _failure(value: JsonValue, path: tuple[str | int, ...]) -> tuple[Failure, float | None]:
    """`error: timeout`, or `error: {category, message, code, status, details, retry_after}`."""
    if isinstance(value, str):
        return Failure(category=_category(value, path), message=f"the mock's error ({value})"), None
    if not isinstance(value, dict):
        raise MockError("an error is a category, or a map with `category` and `message`", path)
    for key in value:
        if key not in _ERROR_KEYS:
            hint = did_you_mean(key, _ERROR_KEYS) or f"known: {', '.join(_ERROR_KEYS)}"
            raise MockError(f'an error has no key "{key[:60]}"', (*path, key), hint)
    status = value.get("status")
    if status is not None and (isinstance(status, bool) or not isinstance(status, int)):
        raise MockError("`status` is a whole number, such as 503", (*path, "status"))
    named = value.get("category", status_category(status) if isinstance(status, int) else None)
    if not isinstance(named, str):
        raise MockError("an error needs its `category`, such as timeout or http.503", path)
    category = _category(named, (*path, "category"))
    if status is None and category.startswith("http.") and category[5:].isdigit():
        status = int(category[5:])
    code = value.get("code")
    retry_after = value.get("retry_after")
    seconds = parse_duration(retry_after) if isinstance(retry_after, str) else None
    if retry_after is not None and seconds is None:
        raise MockError("`retry_after` is a duration, such as 30s", (*path, "retry_after"))
    failure = Failure(
        category=category, message=str(value.get("message") or f"the mock's error ({category})"),
        code=None if code is None else str(code), status=status, details=value.get("details"),
    )  # fmt: skip
    return failure, seconds


def status_category(status: int) -> str:
    """The category of an HTTP status of 400 or more, as the `http` step gives it."""
    return "rate_limit" if status == 429 else f"http.{status}"


def _category(name: str, path: tuple[str | int, ...]) -> str:
    prefix, dot, rest = name.partition(".")
    if name in CATEGORIES or (dot and rest and prefix in ("http", "adapter")):
        return name
    hint = did_you_mean(name, CATEGORIES) or f"one of {', '.join(CATEGORIES)}, http.<status>, adapter.<code>"
    raise MockError(f'"{name[:60]}" is no category of errors', path, hint)


def read_mocks(value: JsonValue) -> dict[str, Mock]:
    """Mocks by step, from a map. Raises MockError; whether the steps exist is the caller's to check."""
    if not isinstance(value, dict):
        raise MockError("mocks are a map of steps and their answers")
    return {step: read_mock(cast("JsonValue", answer), (step,)) for step, answer in value.items()}
