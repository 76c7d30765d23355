"""The engine in a program of one's own."""

from __future__ import annotations

import pytest

from segue import Segue
from segue.errors import EngineError

pytestmark = pytest.mark.anyio

FLOW = "flow: a\nsteps: [{x: {log: hi}}]"


@pytest.mark.req("API-7.embedded")
async def test_who_forgets_to_open_the_engine_is_told_how(tmp_path) -> None:
    for url in ("memory:", f"sqlite:///{tmp_path / 'a.db'}"):
        segue = Segue(url)
        with pytest.raises(EngineError, match=r"not open yet; open it first, as `async with segue:` does"):
            await segue.run(FLOW)
        async with segue:
            assert (await segue.run(FLOW)).succeeded
        with pytest.raises(EngineError, match="is being closed"):
            await segue.run(FLOW)
