"""Why a webhook is not taken, beside the errors that the whole product has."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from segue.errors import EngineError, RequestError, SecretUnavailableError


class MethodNotTakenError(RequestError):
    """The webhook takes other methods."""

    def __init__(self, methods: Iterable[str]) -> None:
        self.methods = tuple(sorted(methods))
        super().__init__(f"this webhook takes {', '.join(self.methods)}")


class TypeNotTakenError(RequestError):
    """The webhook takes bodies of other content types."""


class TooManyBytesError(RequestError):
    """The body is larger than the webhook takes."""

    reason: ClassVar[str] = "too-large"

    def __init__(self, limit: int) -> None:
        super().__init__(f"the body is larger than the {limit:,} bytes that this webhook takes")


class BadContentError(RequestError):
    """The body is not what its content type says."""

    reason: ClassVar[str] = "body"


class TooOftenError(RequestError):
    """More deliveries than the webhook's rate; the same one may be sent again after `retry_after_seconds`."""

    def __init__(self, message: str, *, retry_after_seconds: float) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class KeysUnavailableError(SecretUnavailableError):
    """The keys by which senders prove themselves cannot be had now. The same delivery may be sent again."""


class EncodingNotTakenError(RequestError):
    """The body is compressed in a way that the webhook does not take."""


class RestingError(EngineError):
    """Nothing begins by itself in this workspace now: it is archived, or flows and runs are switched off."""

    category: ClassVar[str] = "internal"


class FlowUnusableError(EngineError):
    """The webhook's flow cannot run as it stands. The sender did nothing wrong and may send again later."""

    category: ClassVar[str] = "internal"
