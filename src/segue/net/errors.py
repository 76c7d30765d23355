"""How an outgoing call fails: a step error that also says whether the other side may have seen the request."""

from __future__ import annotations

from segue.errors import StepError


class HttpFailure(StepError):
    """A call that did not end well.

    `sent` decides what may be done next: False means that not one byte of a request was written (bad input, name not
    found, connection refused, TLS not agreed), so trying again repeats nothing. True means that the other side may
    have acted, whatever it answered. The same is in `details["sent"]`, where it survives the journal.
    """

    def __init__(
        self,
        message: str,
        *,
        category: str,
        code: str,
        sent: bool,
        status: int | None = None,
        retry_after_seconds: float | None = None,
        details: dict[str, object] | None = None,
    ) -> None:
        super().__init__(
            message,
            category=category,
            code=code,
            status=status,
            retry_after_seconds=retry_after_seconds,
            details={**(details or {}), "sent": sent},
        )
        self.sent = sent


class EgressRefusedError(HttpFailure):
    """The egress policy does not let this call out. Category `validation`: the same call is refused again."""

    def __init__(self, message: str, *, sent: bool = False, details: dict[str, object] | None = None) -> None:
        super().__init__(message, category="validation", code="egress_refused", sent=sent, details=details)


def invalid_request(message: str, *, code: str, sent: bool = False) -> HttpFailure:
    """The failure of a request that cannot be sent as it is written."""
    return HttpFailure(message, category="validation", code=code, sent=sent)
