"""Until when a command follows the runs that it carries out."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from segue.cli.desk import Desk
from segue.cli.follow import follow_to_rest

pytestmark = pytest.mark.anyio


class Scripted:
    """A desk that shows each run's states one after the other, the last one for ever."""

    def __init__(self, **runs: list[Any]) -> None:
        self._shown: dict[str, Iterator[Any]] = {name: iter(states) for name, states in runs.items()}
        self._last: dict[str, Any] = {}

    async def show(self, run_id: str) -> Any:
        self._last[run_id] = next(self._shown[run_id], self._last.get(run_id))
        return self._last[run_id]

    def changes(self, _run_id: str) -> Any:
        async def at_once(*_: object) -> None:
            return None

        return SimpleNamespace(wait=at_once, pause=at_once, close=at_once)


def state(status: str, *steps: SimpleNamespace) -> Any:
    over = status in ("succeeded", "failed", "quarantined")
    return SimpleNamespace(view=SimpleNamespace(status=status, steps=steps), ended=over)


def waits(child: str | None = None) -> SimpleNamespace:
    return SimpleNamespace(status="waiting", until=None, child=child)


async def followed(desk: Scripted) -> str:
    return (await follow_to_rest(cast("Desk", desk), "parent", lambda _: None)).view.status


@pytest.mark.req("EXEC-7.followed")
async def test_a_run_that_waits_for_a_sub_flow_rests_only_when_that_does() -> None:
    parent = [state("waiting", waits("child")), state("waiting", waits("child")), state("succeeded")]
    assert await followed(Scripted(parent=parent, child=[state("running"), state("succeeded")])) == "succeeded"


@pytest.mark.req("EXEC-7.followed")
@pytest.mark.parametrize("child", ["waiting", "paused", "quarantined"])
async def test_a_run_whose_sub_flow_rests_is_at_rest(child: str) -> None:
    desk = Scripted(parent=[state("waiting", waits("child"))], child=[state("running"), state(child, waits())])
    assert await followed(desk) == "waiting"
