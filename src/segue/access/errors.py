"""What can go wrong with identities that somebody else vouches for."""

from __future__ import annotations

from typing import ClassVar

from segue.errors import EngineError, RequestError


class TokenRefusedError(RequestError):
    """A token or a sign-in of an OpenID provider that does not hold."""

    category: ClassVar[str] = "auth"


class ProviderUnavailableError(EngineError):
    """The OpenID provider does not answer, or not as the standard says."""
