"""What a workspace keeps secret, as far as flows' texts must know: a small port."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Holdings(Protocol):
    """The secrets and connections of all workspaces."""

    async def values(self, workspace: str) -> list[str]:
        """Every secret value that the workspace keeps: for finding them where they must not be."""
        ...

    async def missing(self, workspace: str, sources: Sequence[str]) -> list[str]:
        """Those of the sources (`secret:NAME`, `connection:NAME.field`, `env:NAME`) that are not there."""
        ...
