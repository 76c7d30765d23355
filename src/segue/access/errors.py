"""What can go wrong with passwords, and with identities that somebody else vouches for."""

from __future__ import annotations

from typing import ClassVar

from segue.errors import EngineError, RequestError


class PasswordRefusedError(RequestError):
    """A wrong password of somebody who is known already. The message tells a person what to do and quotes nothing."""

    category: ClassVar[str] = "auth"


class WeakPasswordError(PasswordRefusedError):
    """A new password that is not taken."""


class TokenRefusedError(RequestError):
    """A token or a sign-in of an OpenID provider that does not hold."""

    category: ClassVar[str] = "auth"


class ProviderUnavailableError(EngineError):
    """The OpenID provider does not answer, or not as the standard says."""
