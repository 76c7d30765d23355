"""Every error that Segue raises on purpose: whose fault it is, and whether trying again can help.

The tree answers the first question by class and the second by `category`. The core knows no HTTP: the API maps class to
status in one table (`segue.api.errors`), the command line maps class to exit code in one table (`segue.cli.errors`).
Messages are written for the person who must act: what failed, for which run and step, what to do next.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from segue.flow.problems import Problem


class SegueError(Exception):
    """Base of all errors that Segue raises on purpose."""

    category: ClassVar[str] = "internal"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class RequestError(SegueError):
    """The caller's flow, input or reference is wrong; the same request will fail again."""

    category: ClassVar[str] = "validation"


class NotFoundError(RequestError):
    """No such run, flow, step, callback or file."""


class ConflictError(RequestError):
    """The thing exists, but its state does not allow this (a finished run, a used token, a reused key)."""


class StaleError(ConflictError):
    """A change that was made for an older state of the thing; read it again, and decide anew. `revision`: what it is at
    now, where that is known.
    """

    def __init__(self, message: str, *, revision: int | None = None) -> None:
        super().__init__(message)
        self.revision = revision


class LimitReachedError(RequestError):
    """A limit that refuses what is one too many (`on_full: reject`); nothing was kept, and later it may be taken."""

    category: ClassVar[str] = "rate_limit"


class GoneError(RequestError):
    """The thing existed and has expired (a callback after its time)."""


class SignatureError(RequestError):
    """A signal is not signed as its receiver asks."""

    category: ClassVar[str] = "auth"


class InvalidFlowError(RequestError):
    """A flow that cannot be used; `problems` holds every mistake with its place, not the first only."""

    def __init__(self, message: str, problems: Sequence[Problem]) -> None:
        super().__init__(message)
        self.problems = tuple(problems)


class InvalidInputError(RequestError):
    """Inputs that do not fit what the flow declares; `details` holds one (path, sentence) pair a mistake."""

    def __init__(self, message: str, details: Sequence[tuple[str, str]]) -> None:
        super().__init__(message)
        self.details = tuple(details)


class StepError(SegueError):
    """A step's attempt failed. The step's retry policy decides on `category` whether it is tried again.

    `category` is one of the closed list: timeout connection dns tls rate_limit http.4xx http.5xx http.<code> auth
    validation expression cancelled unknown_outcome adapter.<code> internal.
    """

    def __init__(
        self,
        message: str,
        *,
        category: str = "internal",
        code: str | None = None,
        status: int | None = None,
        retry_after_seconds: float | None = None,
        details: dict[str, object] | None = None,
    ) -> None:
        super().__init__(message)
        self.category = category  # pyright: ignore[reportAttributeAccessIssue]
        self.code = code
        self.status = status
        self.retry_after_seconds = retry_after_seconds
        self.details = details


class TerminalError(StepError):
    """A step's failure that no retry policy tries again. User functions raise it to say "do not repeat this"."""


class EngineError(SegueError):
    """Ours, not the user's: the store, the lease or the journal."""

    category: ClassVar[str] = "internal"


class StoreUnavailableError(EngineError):
    """The database cannot be written or read now (disk full, locked by another program, closed). Nothing was kept."""


class SecretUnavailableError(EngineError):
    """A secret that is needed to judge a request cannot be had now; why is for the server's log only."""


class StoreInUseError(EngineError):
    """Another process hosts this database file; go through it or stop it."""


class JournalConflictError(EngineError):
    """An append did not continue the journal it was made for: another writer, or a lost commit before it."""


class JournalCorruptError(EngineError):
    """A run's journal does not fold; `last_valid_seq` is the last event that does."""

    def __init__(self, message: str, *, last_valid_seq: int) -> None:
        super().__init__(message)
        self.last_valid_seq = last_valid_seq
