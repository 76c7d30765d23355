"""Why a webhook is not taken, beside the errors that the whole product has."""

from __future__ import annotations

from typing import ClassVar

from segue.errors import EngineError, RequestError


class MethodNotTakenError(RequestError):
    """The webhook takes other methods."""


class EncodingNotTakenError(RequestError):
    """The body is compressed: what was signed is what is looked at, so it must come as it is."""


class RestingError(EngineError):
    """Nothing begins by itself in this workspace now: it is archived, or flows and runs are switched off."""

    category: ClassVar[str] = "internal"


class FlowUnusableError(EngineError):
    """The webhook's flow cannot run as it stands. The sender did nothing wrong and may send again later."""

    category: ClassVar[str] = "internal"
