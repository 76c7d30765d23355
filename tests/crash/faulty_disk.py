"""A disk that fails when it is told to: SQLite's own `pwrite` is replaced, so everything above it is real.

In the whole process: import it only in a child that has no other database.
"""

from __future__ import annotations

import ctypes
import errno
from collections.abc import Callable

import apsw

ERRORS = {"full": errno.ENOSPC, "broken": errno.EIO}

_libc = ctypes.CDLL(None, use_errno=True)
_pwrite = _libc.pwrite64 if hasattr(_libc, "pwrite64") else _libc.pwrite
_pwrite.restype = ctypes.c_ssize_t
_pwrite.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int64]
_errno = getattr(_libc, "__errno_location", None) or _libc.__error
_errno.restype = ctypes.POINTER(ctypes.c_int)
_Function = ctypes.CFUNCTYPE(
    ctypes.c_ssize_t, ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int64
)  # fmt: skip


class FaultyDisk:
    """Writes are counted; `fails(number)` says which of them fail with `error`. Never uninstalled."""

    def __init__(self, error: str) -> None:
        self.writes = 0
        self.failed = 0
        self.fails: Callable[[int], bool] = lambda _: False
        self._code = ERRORS[error]
        self._vfs = apsw.VFS("faulty", base="")
        self._function = _Function(self._write)
        pointer = ctypes.cast(self._function, ctypes.c_void_p).value
        assert pointer is not None
        if not any([self._vfs.xSetSystemCall(name, pointer) for name in ("pwrite", "pwrite64")]):
            raise RuntimeError("this SQLite lets nobody replace its pwrite")

    def _write(self, file: int, data: int, size: int, offset: int) -> int:
        self.writes += 1
        if self.fails(self.writes):
            self.failed += 1
            _errno()[0] = self._code
            return -1
        return _pwrite(file, data, size, offset)
