"""All that a host keeps encrypted, in one place: for wiring, and for whoever changes the keys."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from segue.access.connections import Connections
from segue.access.data_keys import DataKeys
from segue.access.keyring import KeyFile
from segue.access.secrets import Secrets
from segue.access.vault import Vault
from segue.store.tables import Tables


@dataclass(frozen=True, slots=True)
class Credentials:
    """The parts, over one database and one key ring."""

    vault: Vault
    data_keys: DataKeys
    secrets: Secrets
    connections: Connections
    tables: Tables
    key_file: KeyFile | None
    """Where the ring comes from; None if the environment gives it, or if it ends with the process."""

    @staticmethod
    def over(tables: Tables, vault: Vault, key_file: KeyFile | None, new_id: Callable[[str, int], str]) -> Credentials:
        """`new_id` makes an id of a prefix and the time in milliseconds since the epoch."""
        return Credentials(
            vault,
            DataKeys(tables, vault, lambda now: new_id("dk_", now)),
            Secrets(tables, vault, lambda now: new_id("sec_", now)),
            Connections(tables, vault, lambda now: new_id("con_", now)),
            tables,
            key_file,
        )
