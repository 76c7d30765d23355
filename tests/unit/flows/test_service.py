"""The service of stored flows without a door: workspaces apart, what is known for how long, changes as a whole."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from segue.bootstrap import Host, build_host
from segue.errors import ConflictError, InvalidFlowError, NotFoundError, StaleError
from segue.flow.model import Flow
from segue.flows.cache import SECONDS, Cache
from segue.flows.records import Author, FlowFilter
from segue.flows.service import StoredFlows
from segue.flows.source import StoredFlowSource
from segue.flows.templates import Template, Templates
from segue.net.egress import EgressPolicy

pytestmark = pytest.mark.anyio
ME = Author("usr_1", "Ada")
TEXT = "flow: f\ntags: [t]\nsteps:\n  - say: {log: hi}\n"


@pytest.fixture
async def host() -> AsyncGenerator[Host]:
    made = build_host("memory:", egress=EgressPolicy.local(), server_key=b"k" * 32)
    await made.open()
    yield made
    await made.close(grace_seconds=0)


@pytest.mark.req("ACC-3.flows")
async def test_nothing_of_a_flow_is_known_in_another_workspace(host: Host) -> None:
    flows = host.flows
    for workspace, word in (("a", "hi"), ("b", "ho")):
        await flows.create(workspace, TEXT.replace("hi", word), ME)
        await flows.save(workspace, "f", ME, publish=True)
    await flows.saved.put("a", "shout", "log: HEY", ME, expected=None)
    await flows.put_favourites("a", "usr_1", ["f"])
    templates = Templates(host.tables, lambda: 1)
    await templates.create("a", Template(id="mine", name="Mine", text=TEXT), ME)
    await flows.create("a", TEXT.replace("flow: f", "flow: only-a"), ME)

    assert [info.id for info in (await flows.list("b")).flows] == ["f"]
    assert [info.id for info in (await flows.list("b", FlowFilter(query="only"))).flows] == []
    assert await flows.tags("b") == [("t", 1)]
    assert await flows.favourites("b", "usr_1") == []
    assert await flows.saved.list("b") == []
    assert await flows.draft_text("b", "f") == TEXT.replace("hi", "ho")
    for asked in (
        flows.get("b", "only-a"), flows.draft("b", "only-a"), flows.versions("b", "only-a"),
        flows.delete("b", "only-a", ME), flows.put_draft("b", "only-a", TEXT, ME, expected=None),
        flows.saved.get("b", "shout"), templates.get("b", "mine"), templates.delete("b", "mine"),
    ):  # fmt: skip
        with pytest.raises(NotFoundError):
            await asked
    found = await host.stored.find("f", workspace="b")
    assert found is not None
    assert "ho" in found.source
    assert await host.stored.find("only-a", workspace="b") is None
    unbound = await flows.check("b", "x", "flow: x\nsteps: [shout]\n")
    assert not unbound.is_runnable
    assert (await flows.check("a", "x", "flow: x\nsteps: [shout]\n")).is_runnable


@pytest.mark.req("OPS-5.definitions")
async def test_a_change_by_another_process_counts_after_five_minutes_and_ours_at_once(host: Host) -> None:
    seconds = [0.0]
    here = StoredFlowSource(host.flows, lambda: seconds[0])
    elsewhere = StoredFlows(host.tables, host.catalogue, lambda: 1, host.flows.saved)
    await host.flows.create("w", TEXT, ME)
    await host.flows.save("w", "f", ME, publish=True)

    async def number() -> str | None:
        found = await here.version("w", "f")
        return None if found is None else found.info.number

    assert await number() == "1.0.0"
    await elsewhere.put_draft("w", "f", TEXT.replace("hi", "ho"), ME, expected=1)
    await elsewhere.save("w", "f", ME, publish=True)
    seconds[0] = SECONDS - 1
    assert await number() == "1.0.0"
    seconds[0] = SECONDS
    assert await number() == "1.0.1"
    await host.flows.publish("w", "f", "1.0.0", ME)
    assert await number() == "1.0.0"


async def test_what_is_dropped_while_it_is_loaded_is_not_remembered() -> None:
    cache: Cache[str, int] = Cache(lambda: 0.0)
    values = [1, 2]

    async def load() -> int:
        value = values.pop(0)
        if value == 1:
            cache.drop("k")
        return value

    assert (await cache.get("k", load), await cache.get("k", load), await cache.get("k", load)) == (1, 2, 2)


@pytest.mark.req("FLOW-6.update")
async def test_a_refused_change_leaves_everything_as_it_was(host: Host) -> None:
    flows = host.flows
    made = await flows.create("w", TEXT, ME)
    with pytest.raises(StaleError, match="revision 1"):
        await flows.put_draft("w", "f", TEXT.replace("[t]", "[u]"), ME, expected=7)
    with pytest.raises(StaleError):
        await flows.save("w", "f", ME, expected=2)
    assert await flows.get("w", "f") == made
    assert await flows.tags("w") == [("t", 1)]
    await flows.put_draft("w", "f", "flow: f\nsteps: [{nonsense: 1}]\n", ME, expected=1)
    with pytest.raises(InvalidFlowError):
        await flows.save("w", "f", ME)
    assert await flows.versions("w", "f") == []
    with pytest.raises(ConflictError, match="already"):
        await flows.create("w", TEXT, ME)


@pytest.mark.req("TRIG-4.publish")
async def test_triggers_follow_what_is_published_and_what_a_crash_left_undone(host: Host) -> None:
    told: list[tuple[str, str]] = []
    is_down = [True]

    async def follow(workspace: str, flow: Flow) -> None:
        if is_down[0]:
            raise ConnectionError("the process ends here")
        told.append((workspace, flow.version or ""))

    async def retire(workspace: str, id: str) -> None:
        told.append((workspace, f"{id} rests"))

    flows = StoredFlows(host.tables, host.catalogue, lambda: 1, host.flows.saved)
    flows.reacts(follow, retire)
    await flows.create("w", TEXT, ME)
    with pytest.raises(ConnectionError):
        await flows.save("w", "f", ME, publish=True)
    assert (await flows.get("w", "f")).published == "1.0.0", "it is published all the same"
    is_down[0] = False
    await flows.settle()
    await flows.settle()
    assert told == [("w", "1.0.0")]
    await flows.archive("w", "f", ME)
    await flows.restore("w", "f", ME)
    await flows.delete("w", "f", ME)
    assert told[1:] == [("w", "f rests"), ("w", "1.0.0"), ("w", "f rests")]


async def test_triggers_that_cannot_be_had_hold_no_other_flow_up(host: Host) -> None:
    told: list[str] = []

    async def follow(workspace: str, flow: Flow) -> None:
        if flow.id == "f":
            raise ConflictError("its path is taken")
        told.append(flow.id)

    async def retire(workspace: str, id: str) -> None:
        told.append(id)

    flows = StoredFlows(host.tables, host.catalogue, lambda: 1, host.flows.saved)
    flows.reacts(follow, retire)
    await flows.create("w", TEXT, ME)
    with pytest.raises(ConflictError, match="its path is taken"):
        await flows.save("w", "f", ME, publish=True)
    assert (await flows.get("w", "f")).published == "1.0.0"
    await flows.create("w", TEXT.replace("flow: f", "flow: g"), ME)
    await flows.save("w", "g", ME, publish=True)
    await flows.settle()
    assert told == ["g"]
