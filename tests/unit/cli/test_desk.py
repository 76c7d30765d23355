"""What a RUN argument means, and what a run that is set aside is shown as through its host."""

from __future__ import annotations

from typing import Any, cast

import pytest

from segue.cli.desk import Desk, find_run
from segue.cli.remote_desk import RemoteDesk
from segue.client.records import RunSummary
from segue.client.remote import RemoteHost, error_of
from segue.errors import JournalCorruptError, RequestError

pytestmark = pytest.mark.anyio

DAMAGED = JournalCorruptError("the journal of run run_1 does not fold at event 7", last_valid_seq=6)


class Host:
    """A host with one run, which is set aside."""

    async def show(self, run_id: str, *, at: int | None = None) -> Any:
        raise DAMAGED

    async def runs(self, **_: object) -> tuple[list[RunSummary], str | None]:
        return [RunSummary(id="run_1", flow="order", status="succeeded", trigger="cli")], None


def desk() -> RemoteDesk:
    return RemoteDesk(cast("RemoteHost", Host()))


@pytest.mark.req("BAR-4.one-run-meant")
async def test_an_empty_run_means_no_run_even_if_there_is_just_one() -> None:
    with pytest.raises(RequestError, match="RUN is empty"):
        await find_run(cast("Desk", desk()), "")


@pytest.mark.req("DUR-6.rollback")
async def test_a_run_that_is_set_aside_is_found_and_shown_through_its_host() -> None:
    assert await find_run(cast("Desk", desk()), "run_1") == "run_1"
    view = (await desk().show("run_1")).view
    assert (view.status, view.flow, view.reason_code) == ("quarantined", "order", "run-quarantined")
    assert "does not fold at event 7" in (view.reason or "")
    assert "segue rollback run_1" in (view.action or "")
    with pytest.raises(JournalCorruptError):
        await desk().show("run_1", at=3)


@pytest.mark.req("DUR-6.rollback")
def test_what_a_host_says_of_a_damaged_journal_keeps_its_last_valid_event() -> None:
    body = b'{"type": "urn:segue:problem:run-quarantined", "detail": "it does not fold", "last_valid_event": 6}'
    found = error_of(500, body, "http://127.0.0.1:1")
    assert isinstance(found, JournalCorruptError)
    assert (found.message, found.last_valid_seq) == ("it does not fold", 6)
