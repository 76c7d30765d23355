"""The secrets of webhooks: generated or given ones are kept sealed, the others are read where they stand.

A new secret does not end the old one at once: both count until the old one retires, so that a sender can be changed in
between.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from typing import Final, Literal

from segue.access.vault import Context, Vault
from segue.engine.secrets import SecretResolver
from segue.errors import RequestError, StepError
from segue.store.tables import Row, Sql, Tables
from segue.triggers.auth import Auth
from segue.triggers.records import TriggerRow, new_id
from segue.triggers.signatures import Secret

OVERLAP_MS: Final = 24 * 3_600_000
"""How long the old secret counts beside the new one, unless somebody says otherwise."""
SECRET_BYTES: Final = 32
ACTIVE_MAX: Final = 5
_KIND: Final = "trigger secret"


class TriggerSecrets:
    """Secrets by trigger. Opened ones are held in memory, as the keys that opened them are."""

    def __init__(self, tables: Tables, vault: Vault, resolver: SecretResolver, now: Callable[[], int]) -> None:
        self._tables = tables
        self._vault = vault
        self._resolver = resolver
        self._now = now
        self._opened: dict[str, list[Secret]] = {}

    async def of(self, row: TriggerRow, auth: Auth) -> list[Secret]:
        """The secrets that count for a webhook's senders now. Raises UnsealError."""
        if auth.references:
            found: list[Secret] = []
            for reference in auth.references:
                try:
                    resolved = await self._resolver.resolve({"webhook": {"from": reference}}, row.workspace)
                    found.append(Secret(resolved["webhook"].value))
                except StepError:
                    continue  # none that counts: the delivery's record says `no-secret`
            return found
        known = self._opened.get(row.id)
        if known is None:
            rows = await self._tables.ask(
                lambda sql: sql.rows("SELECT id, sealed, retire_at FROM trigger_secret WHERE trigger_id = ?", row.id)
            )
            known = self._opened[row.id] = [self._open(row, one) for one in rows]
        return known

    async def put(self, row: TriggerRow, text: str | None, auth: Auth, *, overlap_ms: int = OVERLAP_MS) -> str:
        """Keep a new secret, generated if none is given, and give it: the one time that it is shown. Older ones retire
        after `overlap_ms`. Raises RequestError if the sender makes its secrets and none is given.
        """
        if text is None:
            if auth.generates is None:
                raise RequestError(f"a {auth.kind} secret or key is made by the sender: send it as `secret`")
            text = new_secret(auth.generates)
        now = self._now()
        id = new_id(now, "sec_")
        plain = text.encode()

        def do(sql: Sql) -> None:
            # Here, not before: a change of the key waits for changes that are under way.
            sealed = self._vault.seal(Context(_KIND, row.workspace, id), plain)
            until = now + overlap_ms
            sql.run("DELETE FROM trigger_secret WHERE trigger_id = ? AND retire_at <= ?", row.id, now)
            sql.run(
                "UPDATE trigger_secret SET retire_at = ? WHERE trigger_id = ? AND (retire_at IS NULL OR retire_at > ?)",
                until, row.id, until,
            )  # fmt: skip
            sql.run("INSERT INTO trigger_secret VALUES (?, ?, ?, ?, ?, NULL)", id, row.workspace, row.id, sealed, now)
            sql.run(
                "DELETE FROM trigger_secret WHERE trigger_id = ? AND id NOT IN"
                " (SELECT id FROM trigger_secret WHERE trigger_id = ? ORDER BY id DESC LIMIT ?)",
                row.id, row.id, ACTIVE_MAX,
            )  # fmt: skip

        await self._tables.change(do)
        self._opened.pop(row.id, None)
        return text

    def _open(self, row: TriggerRow, one: Row) -> Secret:
        id, sealed, retire_at = one
        return Secret(self._vault.open(Context(_KIND, row.workspace, id), sealed).decode(), retire_at)


def new_secret(form: Literal["whsec", "text"]) -> str:
    """32 random bytes, as Standard Webhooks and Stripe write theirs, or for an address or header."""
    raw = os.urandom(SECRET_BYTES)
    return f"whsec_{base64.b64encode(raw).decode()}" if form == "whsec" else base64.urlsafe_b64encode(raw).decode()[:43]
