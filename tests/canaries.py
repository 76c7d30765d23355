"""Canaries: values that must be found nowhere, in no usual form, and in no piece of eight characters and more."""

from __future__ import annotations

import base64
import sqlite3
import zlib
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote

PIECE_LENGTH = 8


def forms(secret: str) -> list[str]:
    """Written here once more: the code's own table of forms is what is tested."""
    raw = secret.encode()
    encoded = [base64.b64encode(raw).decode().rstrip("="), base64.urlsafe_b64encode(raw).decode().rstrip("=")]
    return [secret, *encoded, raw.hex(), raw.hex().upper(), quote(secret, safe="")]


class Canaries:
    """Looks for pieces of some secrets."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._pieces = {
            form[at : at + PIECE_LENGTH].encode()
            for secret in secrets for form in forms(secret) for at in range(len(form) - PIECE_LENGTH + 1)
        }  # fmt: skip

    def found_in(self, data: bytes) -> list[bytes]:
        return sorted(piece for piece in self._pieces if piece in data)

    def found_on_disk(self, folder: Path) -> dict[str, list[bytes]]:
        """By file: every byte of every file, and what is compressed in a database."""
        found: dict[str, list[bytes]] = {}
        for path in sorted(one for one in folder.rglob("*") if one.is_file()):
            found[path.name] = self.found_in(path.read_bytes())
            if path.suffix == ".db":
                found |= {f"{path.name} blob {number}": self.found_in(data) for number, data in enumerate(blobs(path))}
        return {name: pieces for name, pieces in found.items() if pieces}


def blobs(database: Path) -> list[bytes]:
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as opened:
        return [zlib.decompress(data) for (data,) in opened.execute("SELECT data FROM blob")]
