"""`kill -9` of a host at each of its journal writes while a run waits for others: no child is lost or started twice."""

from __future__ import annotations

import json
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crash.killable import Forker, Order, opened
from segue.store.port import RunFilter
from segue.testing.counting_receiver import CountingReceiver, Received
from segue.testing.crash.store import Moment

pytestmark = [pytest.mark.crash, pytest.mark.anyio]

FAMILY = Path(__file__).with_name("family") / "parent.yaml"
EFFECTS = ("first", "one/inner", "two/inner", "last")


@pytest.fixture(scope="module")
def receiver() -> Iterator[CountingReceiver]:
    with CountingReceiver() as made:
        yield made


@pytest.fixture(scope="module")
def forker() -> Iterator[Forker]:
    with Forker() as made:
        yield made


def order(folder: Path, receiver: CountingReceiver, **settings: Any) -> Order:
    result = folder / "result.json"
    result.unlink(missing_ok=True)
    return Order(
        database=str(folder / "segue.db"), url=receiver.url, result=str(result), flow=str(FAMILY), **settings
    )  # fmt: skip


def check(given: Order, received: list[Received]) -> int:
    """All is as if no host had died; gives the number of commits."""
    result = json.loads(Path(given.result).read_text("utf-8"))
    assert (result["statuses"], result["outputs"]) == (["succeeded"], [{"one": 3, "two": 3, "news": 7}])
    effects = Counter(one.path for one in received if one.effect)
    assert effects == {f"/run-0/{name}": 1 for name in EFFECTS}
    assert len({one.key for one in received}) == len(EFFECTS), "what is sent again is sent under its first key"
    return result["commits"]


async def runs_left(database: Path) -> list[tuple[str, str]]:
    """Flow and status of all runs, and that nothing between them is left."""
    async with opened(database) as host:
        records = (await host.store.list_runs(RunFilter(), limit=100)).runs
        assert await host.store.messages() == []
        assert await host.store.events_open() == []
        return sorted((one.flow_id, one.status) for one in records)


@pytest.mark.req("DUR-1.sub-flow-kill")
@pytest.mark.parametrize("moment", ["before", "kept", "begun"])
async def test_a_host_killed_at_any_journal_write_loses_no_sub_flow_and_starts_none_twice(
    moment: Moment, tmp_path: Path, receiver: CountingReceiver, forker: Forker
) -> None:
    (whole := tmp_path / "whole").mkdir()
    receiver.reset()
    given = order(whole, receiver)
    assert forker.live(given) == 0
    commits = check(given, receiver.ledger())
    assert commits > 12
    for number in range(1, commits + 1):
        (folder := tmp_path / f"{number}").mkdir()
        receiver.reset()
        assert forker.live(order(folder, receiver, kill_at=number, moment=moment)) == signal.SIGKILL
        if number % 3 == 0:
            forker.live(order(folder, receiver, kill_at=2, moment=moment))
        given = order(folder, receiver)
        assert forker.live(given) == 0, f"commit {number}: the host did not come back"
        check(given, receiver.ledger())
        family = [("family", "succeeded"), ("family-child", "succeeded"), ("family-child", "succeeded")]
        assert await runs_left(folder / "segue.db") == family, f"commit {number}"
