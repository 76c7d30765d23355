"""Opens the database file: makes it with tight permissions, refuses what is not ours, sets what each connection
needs.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal, TypeAlias

import apsw

from segue.errors import StoreUnavailableError
from segue.store.migrate import migrate
from segue.store.writer import BUSY_WAIT_MS, CHECKPOINT_PAGES, unavailable

Synchronous: TypeAlias = Literal["FULL", "NORMAL"]
"""FULL: what was acknowledged survives a power cut. NORMAL: it survives the end of the process, but a power cut may
take the last moments (never half of a commit)."""

APPLICATION_ID = 0x53656775
"""`Segu` in the file's header (pragma application_id), by which `file` and other programs tell whose it is."""

SQLITE_MIN = (3, 51, 3)
"""Before it, two connections that write and checkpoint at once can corrupt the file (https://sqlite.org/wal.html,
"The WAL-Reset Bug")."""

WRITER_CACHE_KIB = 16 * 1024
READER_CACHE_KIB = 4 * 1024
LOG_BYTES = (CHECKPOINT_PAGES + CHECKPOINT_PAGES // 4) * 4096
_SPILL_PAGES = 10
LOG_FILE_BYTES_KEPT = 64 * 1024 * 1024


def check_sqlite_version(version: str) -> None:
    """Raise StoreUnavailableError if this SQLite has a bug that can destroy a database."""
    if tuple(int(part) for part in version.split(".")[:3]) < SQLITE_MIN:
        wanted = ".".join(map(str, SQLITE_MIN))
        raise StoreUnavailableError(
            f"SQLite {version} can corrupt a database in WAL mode: {wanted} or newer is needed. Update apsw."
        )


def prepare_folder(path: Path) -> None:
    """Make the database's folder (0700) if only it is missing; say what is wrong with the place otherwise."""
    folder = path.parent
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except FileNotFoundError:
        raise StoreUnavailableError(
            f"Cannot make the database {path}: the folder {folder.parent} does not exist."
        ) from None
    except OSError as error:
        raise StoreUnavailableError(f"Cannot make the folder {folder} of the database: {error.strerror}.") from error
    if path.is_dir():
        raise StoreUnavailableError(f"The database {path} is a folder; name a file.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise StoreUnavailableError(f"The folder {folder} cannot be written; SQLite keeps its log beside the database.")


def open_for_writing(path: Path, synchronous: Synchronous) -> apsw.Connection:
    """The writer's connection, with the schema up to date.

    Raises StoreUnavailableError, with what to do, for whatever is wrong with the file.
    """
    check_sqlite_version(apsw.sqlite_lib_version())
    try:
        # Opened only to make it: closing a descriptor of a file in use would drop all locks that the process has on it.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        if not os.access(path, os.R_OK | os.W_OK):
            raise StoreUnavailableError(f"The database {path} cannot be read and written by this user.") from None
    except OSError as error:
        raise StoreUnavailableError(f"Cannot open the database {path} for writing: {error.strerror}.") from error
    db: apsw.Connection | None = None
    try:
        db = apsw.Connection(str(path))
        db.set_busy_timeout(BUSY_WAIT_MS)
        _refuse_strangers(db, path)
        db.pragma("journal_mode", "wal")
        db.pragma("synchronous", synchronous)
        db.pragma("cache_size", -WRITER_CACHE_KIB)
        db.pragma("journal_size_limit", LOG_FILE_BYTES_KEPT)
        db.pragma("temp_store", "memory")
        db.wal_autocheckpoint(0)
        # Before the tables: a host that is killed between the two must not leave a file that looks like a stranger's.
        db.pragma("application_id", APPLICATION_ID)
        migrate(db)
        _lengthen_log(db)
    except BaseException as error:
        if db is not None:
            db.close()
        if isinstance(error, apsw.NotADBError):
            raise StoreUnavailableError(f"{path} is not a SQLite database; name another file.") from error
        if isinstance(error, apsw.Error):
            failure = unavailable(error)
            raise StoreUnavailableError(f"Cannot open the database {path}. {failure.message}") from error
        raise
    return db


def open_for_reading(path: Path) -> apsw.Connection:
    """A reader's connection: it cannot write, and sees what is committed. apsw's errors pass through."""
    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    db.set_busy_timeout(BUSY_WAIT_MS)
    db.pragma("cache_size", -READER_CACHE_KIB)
    return db


def _lengthen_log(db: apsw.Connection) -> None:
    """Make the log as long as it gets between two checkpoints, by a transaction that spills into it and is taken back.

    While the log grows, each flush also writes the file's new length: 0.43 ms a commit, against 0.23 once it is only
    written over (ext4, virtio).
    """
    log = Path(db.filename_wal)
    if log.exists() and log.stat().st_size >= LOG_BYTES:
        return
    cache = db.pragma("cache_size")
    db.pragma("cache_size", _SPILL_PAGES)
    db.execute("BEGIN IMMEDIATE")
    db.execute("CREATE TABLE filler (data)")
    db.execute("INSERT INTO filler VALUES (zeroblob(?))", (LOG_BYTES,))
    db.execute("ROLLBACK")
    db.pragma("cache_size", cache)
    with log.open("rb") as file:
        os.fsync(file.fileno())


def _refuse_strangers(db: apsw.Connection, path: Path) -> None:
    found = db.pragma("application_id")
    if found == APPLICATION_ID:
        return
    if found != 0 or db.execute("SELECT count(*) FROM sqlite_schema").get:
        raise StoreUnavailableError(f"{path} is the database of another program; name another file.")
