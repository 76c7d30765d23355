"""Changing the key that everything is encrypted with: a new active key, all rows sealed anew, the old keys dropped.

Each step may be the last that a process takes: keys are added to the file before the first row is sealed with them and
leave it after the last row is sealed with another, and a row is changed only from what it was. Begun again, it goes on
where it was.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from segue.access import connections, data_keys, kept_answers, secrets
from segue.access.keyring import Key, KeyFile, KeyRing
from segue.access.vault import Context, Vault
from segue.errors import ConflictError
from segue.store.tables import Row, Sql, Tables

BATCH: Final = 100


@dataclass(frozen=True, slots=True)
class SealedRows:
    """A table with something sealed. `stale` gives rows whose key is another than the one given as `?`: id, sealed,
    then what the context needs; `put` takes the new bytes, the id and the old bytes. `keys` counts rows by key.
    """

    context: Callable[[Row], Context]
    stale: str
    put: str
    keys: str


def _versioned(kind: str) -> Callable[[Row], Context]:
    return lambda row: Context(kind, row[2], row[0], row[3])


def _plain(kind: str) -> Callable[[Row], Context]:
    return lambda row: Context(kind, row[2], row[0])


SEALED: Final = (
    SealedRows(
        _plain(data_keys.KIND),
        "SELECT id, sealed, workspace FROM data_key WHERE substr(sealed, 2, 8) <> ? LIMIT ?",
        "UPDATE data_key SET sealed = ? WHERE id = ? AND sealed = ?",
        "SELECT substr(sealed, 2, 8), count(*) FROM data_key GROUP BY 1",
    ),
    SealedRows(
        _versioned(secrets.KIND),
        "SELECT id, sealed, workspace, version FROM secret WHERE substr(sealed, 2, 8) <> ? LIMIT ?",
        "UPDATE secret SET sealed = ? WHERE id = ? AND sealed = ?",
        "SELECT substr(sealed, 2, 8), count(*) FROM secret GROUP BY 1",
    ),
    SealedRows(
        _versioned(connections.KIND),
        "SELECT id, sealed, workspace, version FROM connection WHERE substr(sealed, 2, 8) <> ? LIMIT ?",
        "UPDATE connection SET sealed = ? WHERE id = ? AND sealed = ?",
        "SELECT substr(sealed, 2, 8), count(*) FROM connection GROUP BY 1",
    ),
    SealedRows(
        _plain("trigger secret"),
        "SELECT id, sealed, workspace FROM trigger_secret WHERE substr(sealed, 2, 8) <> ? LIMIT ?",
        "UPDATE trigger_secret SET sealed = ? WHERE id = ? AND sealed = ?",
        "SELECT substr(sealed, 2, 8), count(*) FROM trigger_secret GROUP BY 1",
    ),
    SealedRows(
        _plain(kept_answers.KIND),
        "SELECT id, sealed, workspace FROM kept_answer WHERE substr(sealed, 2, 8) <> ? LIMIT ?",
        "UPDATE kept_answer SET sealed = ? WHERE id = ? AND sealed = ?",
        "SELECT substr(sealed, 2, 8), count(*) FROM kept_answer WHERE sealed IS NOT NULL GROUP BY 1",
    ),
)
"""Every table of the database in which something is sealed under the key ring."""


@dataclass(frozen=True, slots=True)
class KeyUse:
    """A key by its id, and how many rows are sealed with it."""

    id: str
    active: bool
    known: bool
    """Whether it is in the key ring."""
    rows: int


@dataclass(frozen=True, slots=True)
class Rotated:
    """What a rotation did. `dropped`: ids of keys that left the file; `unused`: of keys that the environment still
    gives, and that nothing needs any more.
    """

    active: str
    resealed: int
    dropped: tuple[str, ...]
    unused: tuple[str, ...]


async def usage(tables: Tables, ring: KeyRing) -> list[KeyUse]:
    """All keys of the ring, and those that rows name and the ring has not."""

    def ask(sql: Sql) -> dict[bytes, int]:
        found: dict[bytes, int] = {}
        for table in SEALED:
            for key_id, count in sql.rows(table.keys):
                found[key_id] = found.get(key_id, 0) + count
        return found

    counts = await tables.ask(ask)
    known = [KeyUse(key.name, key == ring.active, True, counts.pop(key.id, 0)) for key in ring.keys]
    return known + [KeyUse(key_id.hex(), False, False, count) for key_id, count in sorted(counts.items())]


async def rotate(tables: Tables, vault: Vault, file: KeyFile | None) -> Rotated:
    """Seal everything with a new key, or finish what an earlier rotation began.

    With a key file, a key is added to it, unless it has several: then one was added before. Without, the first key of
    SEGUE_KEYS is the one to use. Raises UnsealError if a row needs a key that is missing (nothing is dropped then),
    ConflictError if the environment gives one key only, StoreUnavailableError.
    """
    if file is not None:
        ring = file.load()
        if len(ring.keys) == 1:
            ring = KeyRing([Key.new(), *ring.keys])
            file.save(ring)
        vault.ring = ring
    elif len(vault.ring.keys) == 1 and await _stale(tables, vault.ring) == 0:
        raise ConflictError(
            "the environment gives one key, and everything is encrypted with it: put a new key before it in SEGUE_KEYS "
            "(`openssl rand -base64 32`), start the server anew, then rotate"
        )
    count = 0
    for table in SEALED:
        while done := await tables.change(lambda sql, table=table: _reseal(sql, vault, table)):
            count += done
    return await _finish(tables, vault, file, count)


async def _finish(tables: Tables, vault: Vault, file: KeyFile | None, count: int) -> Rotated:
    used = {one.id for one in await usage(tables, vault.ring) if one.rows}
    active = vault.ring.active
    spare = [key for key in vault.ring.keys if key != active and key.name not in used]
    names = tuple(key.name for key in spare)
    if file is None:
        return Rotated(active.name, count, (), names)
    kept = KeyRing(key for key in vault.ring.keys if key not in spare)
    file.save(kept)
    vault.ring = kept
    return Rotated(active.name, count, names, ())


def _reseal(sql: Sql, vault: Vault, table: SealedRows) -> int:
    rows = sql.rows(table.stale, vault.ring.active.id, BATCH)
    for row in rows:
        context = table.context(row)
        sql.run(table.put, vault.seal(context, vault.open(context, row[1])), row[0], row[1])
    return len(rows)


async def _stale(tables: Tables, ring: KeyRing) -> int:
    return sum(one.rows for one in await usage(tables, ring) if not one.active)
