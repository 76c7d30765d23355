"""One file, one host: a lock file beside the database says which process runs it.

The lock is `flock` on `<database>.host`, held as long as the process lives: the kernel lets go of it when the process
ends in whatever way, so that there are no stale locks to clear. The file's content says who holds it (and, once a
server listens, where to reach it), which is how the command line finds the running host. The file is never deleted:
deleting it would let two processes lock two files of one name.

POSIX only (Linux, macOS). The lock belongs to the open file, so two handles of one process exclude each other too. A
child made by `fork` shares it until it executes another program. On network file systems SQLite itself is not safe; do
not.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from pathlib import Path

import msgspec

from segue.errors import StoreInUseError, StoreUnavailableError

RECORD_BYTES = 4096
"""The content is padded to this length, so that one write replaces all of it."""

_TRIES = 20
_PAUSE_SECONDS = 0.01


class HostInfo(msgspec.Struct, frozen=True, kw_only=True):
    """Who runs a database. `address` and `token` are known once its server listens; `started_at` is in ms since the
    epoch.
    """

    pid: int
    started_at: int
    address: str | None = None
    token: str | None = None

    def __repr__(self) -> str:
        return f"HostInfo(pid={self.pid}, started_at={self.started_at}, address={self.address!r})"


class DatabaseHostedError(StoreInUseError):
    """Another host has this database; `host` says which (None: it has only just begun)."""

    def __init__(self, message: str, host: HostInfo | None) -> None:
        super().__init__(message)
        self.host = host


class HostLock:
    """The right to run one database. Get it with `acquire`; `release` gives it back (so does the process' end)."""

    def __init__(self, descriptor: int, info: HostInfo, path: Path) -> None:
        self._descriptor = descriptor
        self._info = info
        self._path = path

    @classmethod
    def acquire(cls, db_path: Path, *, now_ms: int | None = None) -> HostLock:
        """Become the host of a database. Takes up to 0.2 s if it is taken.

        Raises DatabaseHostedError (a StoreInUseError) if another host has it, StoreUnavailableError if the lock file
        cannot be made.
        """
        path = lock_path(db_path)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StoreUnavailableError(f"Cannot open the lock file {path}: {error.strerror}.") from error
        try:
            # Somebody who only asks (`read_host`) holds the lock for an instant: a first refusal proves nothing.
            for _ in range(_TRIES):
                if _try_lock(descriptor, fcntl.LOCK_EX):
                    break
                time.sleep(_PAUSE_SECONDS)
            else:
                raise _hosted(db_path, _read_record(descriptor))
            lock = cls(descriptor, HostInfo(pid=os.getpid(), started_at=now_ms or time.time_ns() // 1_000_000), path)
            lock._write()
        except BaseException:
            os.close(descriptor)
            raise
        return lock

    @property
    def info(self) -> HostInfo:
        """What the file says."""
        return self._info

    def is_held(self) -> bool:
        """Whether the lock file is still there and is the one that is locked: another in its place would let a second
        host in.
        """
        if self._descriptor < 0:
            return False
        try:
            mine, there = os.fstat(self._descriptor), os.stat(self._path)
        except OSError:
            return False
        return (mine.st_dev, mine.st_ino) == (there.st_dev, there.st_ino)

    def publish(self, address: str, token: str) -> None:
        """Say where this host is reached. The file is readable by its owner only, since the token opens the door."""
        self._info = msgspec.structs.replace(self._info, address=address, token=token)
        self._write()

    def release(self) -> None:
        """Let go. Safe to repeat."""
        if self._descriptor >= 0:
            with contextlib.suppress(OSError):  # a full disk must not keep a process from ending; the lock goes anyway
                os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = -1

    def _write(self) -> None:
        record = msgspec.json.encode(self._info).ljust(RECORD_BYTES)
        if len(record) > RECORD_BYTES:
            raise StoreUnavailableError("The host's address and token are too long for the lock file.")
        try:
            os.fchmod(self._descriptor, 0o600)
            os.pwrite(self._descriptor, record, 0)
        except OSError as error:
            raise StoreUnavailableError(f"Cannot write the lock file of the database: {error.strerror}.") from error


def read_host(db_path: Path) -> HostInfo | None:
    """Who runs this database now; None if nobody does (or if it has taken the lock only just now)."""
    try:
        descriptor = os.open(lock_path(db_path), os.O_RDONLY)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreUnavailableError(f"Cannot read the lock file of {db_path}: {error.strerror}.") from error
    try:
        return None if _try_lock(descriptor, fcntl.LOCK_SH) else _read_record(descriptor)
    finally:
        os.close(descriptor)


def lock_path(db_path: Path) -> Path:
    """The file that the host of a database keeps locked."""
    return db_path.parent / f"{db_path.name}.host"


def _try_lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read_record(descriptor: int) -> HostInfo | None:
    for _ in range(_TRIES):  # a reader may see half of a write
        with contextlib.suppress(msgspec.DecodeError):
            return msgspec.json.decode(os.pread(descriptor, RECORD_BYTES, 0), type=HostInfo)
        time.sleep(_PAUSE_SECONDS)
    return None


def _hosted(db_path: Path, host: HostInfo | None) -> DatabaseHostedError:
    who = "another process" if host is None else f"process {host.pid}"
    where = f" at {host.address}" if host is not None and host.address else ""
    return DatabaseHostedError(
        f"{db_path} is run by {who}{where}. One database has one host: go through it, stop it, or use another file.",
        host,
    )
