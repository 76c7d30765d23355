"""The names of the contract's service and methods, and of the metadata that goes with its calls."""

from __future__ import annotations

from typing import Final

SERVICE: Final = "segue.engine.v1.Engine"
EXECUTE: Final = "Execute"
GET_RUN: Final = "GetRun"
WATCH_RUN: Final = "WatchRun"
PROBLEM: Final = "problem-bin"
"""Trailing metadata of an error: the problem document (RFC 9457) that HTTP would have answered with."""
PUSHBACK_MS: Final = "grpc-retry-pushback-ms"
"""gRPC's own name (proposal A6) for after how many milliseconds the call may be taken."""
