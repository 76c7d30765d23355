"""Segue runs flows: definitions of steps that are carried out durably, each result kept before the next step begins."""

from __future__ import annotations

__all__ = ["__version__"]

__version__ = "0.1.0"
