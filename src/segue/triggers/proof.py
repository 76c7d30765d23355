"""Whose a request is: its scheme's verifier, with the secrets or keys that count now."""

from __future__ import annotations

from collections.abc import Callable

from segue.triggers.auth import Auth
from segue.triggers.bearers import JwtScheme, TokenScheme, verify_token
from segue.triggers.key_sets import KeySets
from segue.triggers.records import TriggerRow
from segue.triggers.secrets import TriggerSecrets
from segue.triggers.signatures import Message, Secret, Verdict, verify


class Proofs:
    """Judges requests for one host."""

    def __init__(self, secrets: TriggerSecrets, key_sets: KeySets, now: Callable[[], int]) -> None:
        self._secrets = secrets
        self._key_sets = key_sets
        self._now = now

    async def judge(self, row: TriggerRow, auth: Auth, message: Message) -> Verdict:
        """Raises UnsealError, KeysUnavailableError, StoreUnavailableError."""
        scheme = auth.scheme
        if scheme is None:
            return Verdict("ok")
        secrets = await self._secrets.of(row, auth)
        if isinstance(scheme, TokenScheme):
            return verify_token(scheme, secrets, message, self._now())
        if isinstance(scheme, JwtScheme):
            return await self._judge_token(scheme, secrets, auth, message)
        return verify(scheme, secrets, message, self._now())

    async def _judge_token(
        self, scheme: JwtScheme, secrets: list[Secret], auth: Auth, message: Message
    ) -> Verdict:  # fmt: skip
        from segue.triggers.jwt import names_unknown_key, verify_jwt  # noqa: PLC0415 - its library takes long to load

        if auth.jwks_url is None:
            return verify_jwt(scheme, secrets, auth.jwks, message, self._now())
        keys = await self._key_sets.of(auth.jwks_url)
        if names_unknown_key(scheme, keys, message):
            keys = await self._key_sets.newer(auth.jwks_url) or keys
        return verify_jwt(scheme, (), keys, message, self._now())
