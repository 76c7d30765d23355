"""The keys that secrets are encrypted with: several by id, one of them active. They never stand in the database.

Where they come from, first found: `SEGUE_KEYS` (base64, by comma, the active one first), `SEGUE_KEY` (one), what the
program `SEGUE_KEYS_COMMAND` prints (as in SEGUE_KEYS, by comma or line), else a file beside the database that is made
at first use and that only its owner can read.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import shlex
import stat
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from segue.errors import RequestError

KEY_VARIABLE: Final = "SEGUE_KEY"
KEYS_VARIABLE: Final = "SEGUE_KEYS"
COMMAND_VARIABLE: Final = "SEGUE_KEYS_COMMAND"
COMMAND_SECONDS: Final = 30.0
KEY_BYTES: Final = 32
KEY_ID_BYTES: Final = 8
KEYS_MAX: Final = 100
OPEN_TO_OTHERS: Final = stat.S_IRWXO | stat.S_IWGRP
"""Others may not read it, and a group may read it at most, as where a volume is shared by one."""
_HEADER: Final = "segue keys 1"
_MAKE_ONE: Final = "make one with `openssl rand -base64 32`"


@dataclass(frozen=True, slots=True, repr=False)
class Key:
    """One key of 256 bits. Its id is a digest, so that the same key has the same id wherever it comes from."""

    secret: bytes
    id: bytes

    @staticmethod
    def of(secret: bytes) -> Key:
        """The key of these bytes. Raises RequestError if they are not 32 or more; what is longer is hashed to 32."""
        if len(secret) < KEY_BYTES:
            raise RequestError(f"a key has {len(secret)} bytes; at least {KEY_BYTES} are needed; {_MAKE_ONE}")
        kept = secret if len(secret) == KEY_BYTES else hashlib.sha256(secret).digest()
        return Key(kept, hashlib.sha256(b"segue key id\0" + kept).digest()[:KEY_ID_BYTES])

    @staticmethod
    def new() -> Key:
        """A key from the operating system's randomness."""
        return Key.of(os.urandom(KEY_BYTES))

    @property
    def name(self) -> str:
        """The id as people see it: 16 hexadecimal digits, which tell nothing of the key."""
        return self.id.hex()

    def __repr__(self) -> str:
        return f"Key({self.name})"


class KeyRing:
    """Keys by id; `active` is the one that seals. Immutable; raises RequestError if it would be empty."""

    def __init__(self, keys: Iterable[Key]) -> None:
        self._keys = {key.id: key for key in keys}
        if not self._keys:
            raise RequestError(f"no key to encrypt with: set {KEY_VARIABLE}; {_MAKE_ONE}")
        if len(self._keys) > KEYS_MAX:
            raise RequestError(f"{len(self._keys)} keys in the key ring; at most {KEYS_MAX} are taken")
        self.active = next(iter(self._keys.values()))

    def get(self, key_id: bytes) -> Key | None:
        """The key of an id."""
        return self._keys.get(key_id)

    @property
    def keys(self) -> tuple[Key, ...]:
        """All keys, the active one first."""
        return tuple(self._keys.values())

    def __repr__(self) -> str:
        return f"KeyRing({', '.join(key.name for key in self.keys)})"


def ring_of_environment(environment: Mapping[str, str]) -> KeyRing | None:
    """The ring that the environment gives; None if it gives none. Raises RequestError, which never shows a key."""
    for variable in (KEYS_VARIABLE, KEY_VARIABLE):
        given = environment.get(variable, "").strip()
        if given:
            return KeyRing(_decoded(part.strip(), variable) for part in given.split(",") if part.strip())
    command = environment.get(COMMAND_VARIABLE, "").strip()
    return KeyRing(_decoded(part, COMMAND_VARIABLE) for part in _printed(command)) if command else None


def _printed(command: str) -> list[str]:
    """What the program prints, in words. No shell takes part. Raises RequestError, which does not show it."""
    try:
        done = subprocess.run(shlex.split(command), capture_output=True, timeout=COMMAND_SECONDS, check=True)  # noqa: S603 - who runs the server said so
        return done.stdout.decode("ascii").replace(",", " ").split()
    except subprocess.CalledProcessError as error:
        raise RequestError(f"{COMMAND_VARIABLE}: the program ended with status {error.returncode}") from None
    except subprocess.TimeoutExpired:
        raise RequestError(f"{COMMAND_VARIABLE}: the program gave no answer in {COMMAND_SECONDS:g} s") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it cannot be read as a command, or prints no text"
        raise RequestError(f"{COMMAND_VARIABLE}: the program cannot be run: {reason}") from None


class KeyFile:
    """The file beside a database: a line that says what it is, then one key a line, the active one first."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self) -> KeyRing:
        """The keys of the file, which is made if it is missing. Raises RequestError."""
        try:
            if not self.path.exists():
                self._make()
            self._refuse_if_open()
            data = self.path.read_bytes()
        except OSError as error:
            message = f"the key file {self.path} cannot be read: {error.strerror}; set {KEY_VARIABLE}"
            raise RequestError(message) from error
        return KeyRing(self._keys_of(data))

    def _refuse_if_open(self) -> None:
        mode = stat.S_IMODE(self.path.stat().st_mode)
        if mode & OPEN_TO_OTHERS:
            raise RequestError(
                f"the key file {self.path} is open to other users of this machine (mode {mode:04o}): "
                f"`chmod 600 {self.path}`, then change the keys with `segue keys rotate` if anybody may have read it"
            )

    def save(self, ring: KeyRing) -> None:
        """Replace the keys: all or nothing, and on disk when this returns. Raises RequestError."""
        text = "\n".join([_HEADER, *(base64.b64encode(key.secret).decode() for key in ring.keys)]) + "\n"
        beside = self.path.with_name(f"{self.path.name}.new")
        try:
            with os.fdopen(os.open(beside, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "wb") as file:
                file.write(text.encode())
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self.path)
            _sync_folder(self.path.parent)
        except OSError as error:
            raise self._unwritable(error) from error

    def _make(self) -> None:
        """Make the file with its first key; another process that is as fast wins."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            beside = self.path.with_name(f"{self.path.name}.{os.getpid()}")
            with os.fdopen(os.open(beside, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "wb") as file:
                file.write(f"{_HEADER}\n{base64.b64encode(Key.new().secret).decode()}\n".encode())
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(beside, self.path)  # whole or not at all, and never over another's
            except FileExistsError:
                pass
            finally:
                beside.unlink(missing_ok=True)
            _sync_folder(self.path.parent)
        except OSError as error:
            raise self._unwritable(error) from error

    def _keys_of(self, data: bytes) -> Iterable[Key]:
        if len(data) == KEY_BYTES:  # as files were before a ring was kept in them
            return (Key.of(data),)
        lines = data.decode("ascii", "replace").split()
        header = _HEADER.split()
        if lines[: len(header)] != header or len(lines) == len(header):
            raise RequestError(
                f"the key file {self.path} is damaged ({len(data)} bytes that are no keys); restore it from a copy: "
                "without it nothing that was encrypted can be read"
            )
        return [_decoded(line, f"the key file {self.path}") for line in lines[len(header) :]]

    def _unwritable(self, error: OSError) -> RequestError:
        return RequestError(f"the key file {self.path} cannot be written: {error.strerror}; set {KEY_VARIABLE}")


def key_file_of(database: Path) -> KeyFile:
    """The key file of a database in a file."""
    return KeyFile(database.with_name(f"{database.name}.key"))


def _decoded(text: str, where: str) -> Key:
    try:
        secret = base64.b64decode(text, validate=True)
    except binascii.Error:
        # Not chained: the error would tell of the key's text.
        raise RequestError(f"{where} is not base64; {_MAKE_ONE}") from None
    try:
        return Key.of(secret)
    except RequestError as error:
        raise RequestError(f"{where}: {error.message}") from None


def _sync_folder(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
