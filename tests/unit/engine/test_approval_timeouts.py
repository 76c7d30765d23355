"""An approval whose whole time is over between two tries."""

from __future__ import annotations

import pytest

from segue.flow import StaticCatalogue, load_flow
from unit.engine.kit import World, settle, start, view

pytestmark = [pytest.mark.anyio, pytest.mark.req("TIME-2.approve")]


async def test_an_approval_whose_whole_time_is_over_between_two_tries_ends_as_its_on_timeout_says() -> None:
    world = World()
    text = (
        "steps:\n  - ask:\n      approve: {to: [a], timeout: 1h, on_timeout: approve}\n"
        "      timeout: {attempt: 1s, total: 3s}\n"
        "      retry: {attempts: 5, backoff: constant, initial_delay: 10s, jitter: none}\n"
    )
    async with world.open() as engine:
        run_id = await start(engine, load_flow(text, StaticCatalogue([])))
        await settle()
        for _ in range(3):
            world.clock.jump(1_500)
            await settle()
        shown = await view(engine, run_id)
        assert (shown.status, shown.recovered) == ("succeeded", True)
