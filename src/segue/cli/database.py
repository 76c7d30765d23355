"""Which database a command speaks of."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from segue.errors import StoreUnavailableError


def database_url(given: str | None) -> str:
    """The store's address for what `--database` says: a path, an address, or nothing (the file in the data folder)."""
    if not given:
        return f"sqlite:///{default_file()}"
    if given.startswith(("sqlite:", "memory:")) or "://" in given:
        return given
    return f"sqlite:///{Path(given).expanduser().absolute()}"


def file_of(url: str) -> Path | None:
    """The file of an address; None for a store that has none."""
    if not url.startswith("sqlite:///") or url == "sqlite:///:memory:":
        return None
    return Path(url.removeprefix("sqlite:///").partition("?")[0]).absolute()


def default_file() -> Path:
    """`segue.db` in the user's data folder; the folder is made if it is missing."""
    folder = _data_folder() / "segue"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise StoreUnavailableError(
            f"Cannot make the folder {folder} for the database: {error.strerror}; name a file with --database."
        ) from error
    return folder / "segue.db"


def _data_folder() -> Path:
    """Where programs keep a user's data: XDG base directories, or what the system has in their place."""
    stated = os.environ.get("XDG_DATA_HOME", "")
    if os.path.isabs(stated):  # the specification: relative paths are to be ignored
        return Path(stated)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    return Path.home() / ".local" / "share"
