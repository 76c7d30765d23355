"""The test kit's own clock: time that only passes when nothing is left to do."""

from __future__ import annotations

import asyncio

import pytest

pytestmark = pytest.mark.anyio


@pytest.mark.req("TIME-4.months")
async def test_virtual_time_passes_for_years() -> None:
    loop = asyncio.get_running_loop()
    for days in (100, 100, 1_000, 36_500):
        begun = loop.time()
        await asyncio.sleep(days * 86_400 + 0.123)
        assert loop.time() - begun == pytest.approx(days * 86_400 + 0.123, abs=1e-5)
