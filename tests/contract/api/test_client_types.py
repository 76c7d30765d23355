"""The Python client is typed: each operation has a record for its answer, which `call` and `pages` give."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import msgspec
import pytest

from acceptance.api_support import TOKEN, Served, serve
from segue.api import answers, credential_answers, documented, flow_answers, identity_answers, trigger_answers
from segue.api.credential_answers import ConnectionItem, SecretItem
from segue.api.flow_answers import FlowItem, FlowVersionItem
from segue.api.identity_answers import KeyItem, WorkspaceItem
from segue.api.trigger_answers import ScheduleList, ScheduleView, TriggerView
from segue.client import AsyncClient
from segue.errors import EngineError

pytestmark = [pytest.mark.anyio, pytest.mark.req("API-7.typed")]

RECORDS: dict[str, type[msgspec.Struct]] = {
    record.__name__: record
    for record in (
        *answers.ANSWERS, *flow_answers.FLOW_ANSWERS, *trigger_answers.TRIGGER_ANSWERS,
        *identity_answers.IDENTITY_ANSWERS, *credential_answers.CREDENTIAL_ANSWERS,
    )
}  # fmt: skip
UNTYPED = {"exportFlow": "the flow itself, as a file of the form that was asked for"}
"""Operations that answer with JSON and have no record, and why."""


@pytest.fixture
async def served() -> AsyncGenerator[Served]:
    async with serve() as found:
        yield found


def records_of(operation: dict[str, Any]) -> list[str | None]:
    """The names of the records of its good answers; None for JSON without one."""
    found: list[str | None] = []
    for status, response in operation["responses"].items():
        schema = response.get("content", {}).get("application/json", {}).get("schema") if status[0] == "2" else None
        if schema is not None:
            schema = schema["items"] if schema.get("type") == "array" else schema
            found.append(schema["$ref"].rpartition("/")[2] if "$ref" in schema else None)
    return found


async def test_every_operation_that_answers_with_json_has_a_record(served: Served) -> None:
    bare = {
        operation["operationId"]
        for methods in documented.document(served.app)["paths"].values()
        for operation in methods.values()
        if any(name is None or name not in RECORDS for name in records_of(operation))
    }
    assert sorted(bare - UNTYPED.keys()) == []
    assert sorted(UNTYPED.keys() - bare) == [], "has a record now"


async def test_what_is_scripted_most_comes_as_records(served: Served) -> None:
    async with AsyncClient(served.url, TOKEN) as client:
        text = "flow: mine\nsteps:\n  - log: hi\n"
        made = await client.call("createFlow", {"text": text}, returns=FlowItem)
        assert (made.id, made.revision) == ("mine", 1)
        saved = await client.call("saveFlowVersion", {"publish": True}, flow_id="mine", returns=FlowVersionItem)
        assert saved.is_published
        schedules = [
            await client.call("createSchedule", {"flow": "mine", "every": f"{n}h"}, returns=ScheduleView)
            for n in (1, 2, 3)
        ]
        page = await client.call("listSchedules", returns=ScheduleList)
        assert page.schedules == schedules[::-1]
        rows = [row async for row in client.pages("listSchedules", returns=ScheduleView, limit=2)]
        assert rows == schedules[::-1]
        assert [row async for row in client.pages("listTriggers", returns=TriggerView)] == [
            row async for row in client.pages("listTriggers", returns=TriggerView, limit=1)
        ]
        assert (await client.call("putSecret", {"value": "hush"}, name="shop", returns=SecretItem)).name == "shop"
        link = {"name": "shop", "fields": {"base_url": "https://shop.example.org"}}
        assert (await client.call("createConnection", link, returns=ConnectionItem)).status == "unchecked"
        assert [one.name async for one in client.pages("listConnections", returns=ConnectionItem)] == ["shop"]
        assert [one async for one in client.pages("listKeys", returns=KeyItem)] == []
        assert [one.id async for one in client.pages("listWorkspaces", returns=WorkspaceItem)] == ["default"]
        with pytest.raises(EngineError, match="listSchedules answered with something else than ScheduleView"):
            await client.call("listSchedules", returns=ScheduleView)
