"""Doors for Python programs: `Segue` in one's own process (`segue.Segue`), and clients of a server: `Client` and
`AsyncClient`, which are loaded when they are asked for, since that takes a while.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from segue.client.aio import AsyncClient
    from segue.client.sync import Client

_PLACES: Final = {"AsyncClient": "segue.client.aio", "Client": "segue.client.sync"}

__all__ = ["AsyncClient", "Client"]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)
