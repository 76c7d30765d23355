"""What is kept: the store port and the stores behind it. `open_store` chooses one by its address."""

from __future__ import annotations

from pathlib import Path

from segue.errors import RequestError
from segue.store.memory import MemoryStore
from segue.store.port import Store
from segue.store.tables import Tables

__all__ = ["open_store", "store_for_reading", "tables_of"]

_FORMS = "sqlite:///file.db (beside the working directory), sqlite:////folder/file.db or memory:"


def open_store(url: str) -> Store:
    """The store at an address, not yet opened (`await store.open()`).

    `sqlite:///relative.db` and `sqlite:////absolute.db` are files, with `?synchronous=NORMAL` if a power cut may take
    the last moments; `memory:` and `sqlite:///:memory:` keep nothing beyond the process. Raises RequestError for
    anything else.
    """
    if url in {"memory:", "sqlite:///:memory:"}:
        return MemoryStore()
    scheme = url.partition(":")[0]
    if scheme in {"postgresql", "postgres"}:
        raise RequestError(f"This version of Segue does not run on PostgreSQL yet; use {_FORMS}.")
    if not url.startswith("sqlite:///"):
        shown = f"{scheme}:…" if ":" in url else url  # the rest may hold a password
        raise RequestError(f"{shown!r} is not the address of a store; use {_FORMS}.")
    path, _, options = url.removeprefix("sqlite:///").partition("?")
    if not path:
        raise RequestError(f"{url!r} names no file; use {_FORMS}.")
    from segue.store.sqlite import SqliteStore  # noqa: PLC0415 - the driver is loaded only where it is used

    match options:
        case "" | "synchronous=FULL":
            return SqliteStore(Path(path))
        case "synchronous=NORMAL":
            return SqliteStore(Path(path), synchronous="NORMAL")
        case _:
            raise RequestError(
                f"The option {options!r} of the store is not known; use synchronous=FULL or synchronous=NORMAL."
            )


def store_for_reading(url: str) -> Store:
    """The store at an address for looking only, not yet opened: it hosts nothing, locks nothing and writes nothing.

    `open` raises NotFoundError if there is no file yet. Addresses and errors as `open_store`.
    """
    found = open_store(url)
    path = getattr(found, "path", None)
    if not isinstance(path, Path):
        return found
    from segue.store.reading import SqliteReader  # noqa: PLC0415

    return SqliteReader(path)


def tables_of(store: Store) -> Tables:
    """The service's tables beside the engine's rows of a store; they can be used while the store is open."""
    from segue.store.sqlite import SqliteStore  # noqa: PLC0415 - as above
    from segue.store.sqlite_tables import FileTables, MemoryTables  # noqa: PLC0415

    if isinstance(store, SqliteStore):
        return FileTables(store)
    return store.tables if isinstance(store, MemoryStore) else MemoryTables()
