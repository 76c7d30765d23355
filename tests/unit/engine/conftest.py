"""These tests run on virtual time; those that need threads or sockets say so with `real_time`."""

from __future__ import annotations

from typing import Any

import pytest

from segue.testing.fake_clock import VirtualTimeLoop
from unit.engine.kit import World


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"loop_factory": VirtualTimeLoop}


@pytest.fixture
def world() -> World:
    return World()
