"""Secrets that a flow names (`secrets: {name: {from: …}}`), resolved while an attempt is made, in its run's workspace.

| `from:` | where it is |
|---|---|
| `env:NAME`, `file:PATH` | the server's environment and files |
| `secret:NAME` | the workspace's own secrets |
| `connection:NAME.field`, `NAME.field` | a field of one of the workspace's connections |
| `vault:…` | an outside secret store |

The server's environment, its files and its account with an outside store belong to whoever runs the server: flows of
the workspace `default` may use them, those of others only if the server's `SEGUE_OUTSIDE_SECRETS` names their
workspace.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, NamedTuple, Protocol, cast

from segue.engine.ids import WORKSPACE
from segue.errors import SegueError, StepError
from segue.flow.model import RawMap

MAX_SECRET_BYTES: Final = 64 * 1024
WORKSPACES_VARIABLE: Final = "SEGUE_OUTSIDE_SECRETS"
OWN_PREFIX: Final = "SEGUE_"
"""Variables of the server itself (its keys, its database): no flow reads them."""
OUTSIDE: Final = frozenset(("env", "file", "vault"))


class ResolvedSecret(NamedTuple):
    """A secret's value, and the one origin (scheme, host and port) that it may be sent to; empty: anywhere."""

    value: str
    origin: str = ""


class SecretSource(Protocol):
    """Where secrets of one kind come from."""

    async def find(self, workspace: str, place: str) -> ResolvedSecret:
        """What is at a place (the part of `from:` after its colon). Raises SegueError, which never shows a value."""
        ...


class SecretResolver:
    """Finds secrets by their kind. `environment` is a port for tests; `private` files are read for nobody."""

    def __init__(
        self,
        environment: Mapping[str, str] | None = None,
        sources: Mapping[str, SecretSource] | None = None,
        private: Iterable[Path] = (),
    ) -> None:
        self._environment = os.environ if environment is None else environment
        self._sources = dict(sources or {})
        self._private = frozenset(path.resolve() for path in private)

    async def resolve(self, declared: RawMap, workspace: str) -> dict[str, ResolvedSecret]:
        """All declared secrets by name. Raises StepError (category auth, or why an outside store did not answer) that
        names the source, never a value.
        """
        return {name: await self._one(name, source, workspace) for name, source in declared.items()}

    async def _one(self, name: str, source: object, workspace: str) -> ResolvedSecret:
        where = cast("dict[str, object]", source).get("from") if isinstance(source, dict) else source
        kind, place = kind_of(str(where))
        if kind in OUTSIDE and not self._may_use_outside(workspace):
            message = (
                f"secret {name!r}: flows of the workspace {workspace!r} may not use {kind}:; put the value into a "
                f"secret of the workspace, or name the workspace in {WORKSPACES_VARIABLE}"
            )
            raise StepError(message, category="auth")
        if kind == "env":
            return ResolvedSecret(self._variable(name, place))
        if kind == "file":
            return ResolvedSecret(self._file(name, place))
        found = self._sources.get(kind)
        if found is None:
            known = ", ".join(["env:NAME", "file:PATH", *(f"{one}:…" for one in self._sources)])
            raise StepError(f"secret {name!r}: {where!r} is no known source; use one of {known}", category="auth")
        try:
            return await found.find(workspace, place)
        except StepError as error:
            raise StepError(f"secret {name!r}: {error.message}", category=error.category, code=error.code) from error
        except SegueError as error:
            raise StepError(f"secret {name!r}: {error.message}", category="auth") from error

    def _may_use_outside(self, workspace: str) -> bool:
        named = self._environment.get(WORKSPACES_VARIABLE, "").replace(",", " ").split()
        return workspace == WORKSPACE or workspace in named

    def _variable(self, name: str, place: str) -> str:
        if place.upper().startswith(OWN_PREFIX):
            raise StepError(f"secret {name!r}: {place} belongs to the server; no flow reads it", category="auth")
        value = self._environment.get(place)
        if value is None:
            raise StepError(f"secret {name!r}: the environment variable {place} is not set", category="auth")
        return value

    def _file(self, name: str, place: str) -> str:
        try:
            if Path(place).resolve() in self._private:
                raise StepError(f"secret {name!r}: {place} belongs to the server; no flow reads it", category="auth")
            with Path(place).open("rb") as file:
                return file.read(MAX_SECRET_BYTES).decode().rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise StepError(f"secret {name!r}: the file {place} cannot be read: {reason}", category="auth") from error


def kind_of(source: str) -> tuple[str, str]:
    """Kind and place of what stands behind `from:`; `NAME.field` is a connection's."""
    kind, colon, place = source.partition(":")
    if colon:
        return kind, place
    return ("connection", source.removeprefix("connection.")) if "." in source else ("", source)
