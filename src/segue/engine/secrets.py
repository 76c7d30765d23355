"""Secrets that a flow names (`secrets: {name: {from: env:NAME | file:PATH}}`), resolved while an attempt is made."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final, cast

from segue.errors import StepError
from segue.flow.model import RawMap

MAX_SECRET_BYTES: Final = 64 * 1024


class SecretResolver:
    """Reads secrets from the environment and from files. `environment` is a port for tests."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self._environment = os.environ if environment is None else environment

    async def resolve(self, declared: RawMap, workspace: str) -> dict[str, str]:
        """All declared secrets by name. Raises StepError (category auth) that names the source, never a value."""
        return {name: self._one(name, source) for name, source in declared.items()}

    def _one(self, name: str, source: object) -> str:
        where = cast("dict[str, object]", source).get("from") if isinstance(source, dict) else source
        kind, _, place = str(where).partition(":")
        if kind == "env":
            value = self._environment.get(place)
            if value is None:
                raise StepError(f"secret {name!r}: the environment variable {place} is not set", category="auth")
            return value
        if kind == "file":
            try:
                with Path(place).open("rb") as file:
                    return file.read(MAX_SECRET_BYTES).decode().rstrip("\r\n")
            except (OSError, UnicodeDecodeError) as error:
                reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
                raise StepError(
                    f"secret {name!r}: the file {place} cannot be read: {reason}", category="auth"
                ) from error
        raise StepError(f"secret {name!r}: {where!r} is no known source; use env:NAME or file:PATH", category="auth")
