"""These tests run on virtual time; those that need threads or sockets say so with `real_time`."""

from __future__ import annotations

from typing import Any

import pytest
from unit.engine.kit import World

from segue.testing.fake_clock import VirtualTimeLoop


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"loop_factory": VirtualTimeLoop}


@pytest.fixture
def world() -> World:
    return World()
