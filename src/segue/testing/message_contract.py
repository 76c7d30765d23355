"""The promises of the store port on what runs tell each other, and on events; beside `StoreContract`.

class TestMyStore(MessageContract, StoreContract):
    ...
"""

# ruff: noqa: D102 - the tests' names are the sentences that a docstring would repeat

from __future__ import annotations

import pytest

from segue.errors import JournalConflictError
from segue.store.port import CallbackRow, Commit, EventRow, EventWait, FlowVersion, Message, Store
from segue.testing.store_contract import START, callback, create, events, keep


class MessageContract:
    """Derive from it and from `StoreContract`, whose fixtures it uses."""

    pytestmark = pytest.mark.anyio

    async def test_a_message_is_kept_with_its_sender_and_gone_with_its_receiver(self, store: Store) -> None:
        sender, receiver = await create(store), await create(store)
        first, second = message("m1"), message("m2", data=b'{"a":1}')
        await keep(store, Commit(run_key=sender, rows=events(1), messages=[first, second]))
        await keep(store, Commit(run_key=sender, rows=(), messages=[message("m1", kind="other")]))
        kept = await store.messages()
        assert [one for _, one in kept] == [first, second], "the first one of an id counts"
        assert [one for _, one in await store.messages(after=kept[0][0])] == [second]
        assert [one for _, one in await store.messages(limit=1)] == [first]
        await keep(store, Commit(run_key=receiver, rows=events(1), messages_taken=["m1", "unknown"]))
        assert [one for _, one in await store.messages()] == [second]

    async def test_a_commit_that_fails_sends_and_takes_nothing(self, store: Store) -> None:
        run_key = await create(store)
        await keep(store, Commit(run_key=0, rows=(), messages=[message("m1")]))
        wait = event_wait(run_key)
        for lost in (
            Commit(
                run_key=run_key, rows=events(7), messages=[message("m2")], messages_taken=["m1"], events=[event("e")]
            ),
            Commit(run_key=run_key, rows=events(7), waits_opened=[wait]),
            Commit(run_key=run_key + 99, rows=(), waits_opened=[event_wait(run_key + 99)]),
        ):
            with pytest.raises(JournalConflictError):
                await keep(store, lost)
        assert [one.id for _, one in await store.messages()] == ["m1"]
        assert await store.events_open() == []
        assert await store.event_waits("w", "paid") == []

    async def test_an_event_is_open_until_it_is_done_and_found_by_name_and_time(self, store: Store) -> None:
        made = [event("e1", at=5), event("e2", at=3), event("e3", name="other"), event("e4", workspace="v")]
        await keep(store, Commit(run_key=0, rows=(), events=made))
        await keep(store, Commit(run_key=0, rows=(), events=[event("e1", name="another")]))
        assert [one for _, one in await store.events_open()] == made
        number = (await store.events_open())[0][0]
        assert [one.id for _, one in await store.events_open(after=number, limit=2)] == ["e2", "e3"]
        assert [one.id for one in await store.events_since("w", "paid", START)] == ["e2", "e1"]
        assert [one.id for one in await store.events_since("w", "paid", START + 4)] == ["e1"]
        assert [one.id for one in await store.events_since("w", "paid", START, limit=1)] == ["e2"]
        await keep(store, Commit(run_key=0, rows=(), events_done=["e1", "e2", "e4"]))
        assert [one.id for _, one in await store.events_open()] == ["e3"]
        assert [one.id for one in await store.events_since("w", "paid", START)] == ["e2", "e1"]

    async def test_events_that_are_done_are_dropped_by_age_and_number(self, store: Store) -> None:
        made = [event(f"e{number}", at=number) for number in range(6)]
        await keep(store, Commit(run_key=0, rows=(), events=made, events_done=["e0", "e1", "e3", "e4", "e5"]))
        assert await store.drop_events(START + 1, keep=100) == 1
        assert await store.drop_events(START, keep=2) == 2
        assert [one.id for one in await store.events_since("w", "paid", START)] == ["e2", "e4", "e5"]
        assert [one.id for _, one in await store.events_open()] == ["e2"]

    async def test_who_waits_for_an_event_is_found_by_its_name(self, store: Store) -> None:
        one, two = await create(store), await create(store)
        waits = [
            event_wait(one, 3),
            event_wait(one, 4, since=-60),
            event_wait(one, 5, name="other"),
            event_wait(two, 1),
        ]
        await keep(store, Commit(run_key=one, rows=events(1), waits_opened=waits[:3]))
        await keep(store, Commit(run_key=two, rows=events(1), waits_opened=waits[3:]))
        assert await store.event_waits("w", "paid") == [waits[0], waits[1], waits[3]]
        assert await store.event_waits("w", "paid", after=(one, 3)) == [waits[1], waits[3]]
        assert await store.event_waits("w", "paid", limit=1) == [waits[0]]
        assert await store.event_waits("v", "paid") == []
        assert await store.buffered_waits() == [waits[1]]
        assert await store.buffered_waits(after=(one, 4)) == []
        await keep(store, Commit(run_key=one, rows=(), waits_closed=[(3, 0), (4, 7)]))
        assert await store.event_waits("w", "paid") == [waits[1], waits[3]], "another generation is another wait"

    async def test_open_callbacks_are_found_by_what_their_steps_call_them(self, store: Store) -> None:
        run_key = await create(store)
        named = [
            CallbackRow(
                token_hash=hash, run_key=run_key, step=2, generation=0, step_path="ask", expires_at=START + 1,
                created_at=START + at, correlation='"o-1"',
            )
            for at, hash in enumerate((b"b", b"a"))
        ]  # fmt: skip
        await keep(store, Commit(run_key=run_key, rows=(), callbacks_opened=[*named, callback(run_key, b"c")]))
        assert await store.callbacks_by_correlation('"o-1"') == named
        await keep(store, Commit(run_key=run_key, rows=(), callbacks_closed=[(b"b", "used")]))
        assert await store.callbacks_by_correlation('"o-1"') == named[1:]
        assert await store.callbacks_by_correlation('"o-2"') == []

    async def test_the_newest_version_of_a_flow_is_found_by_its_id_and_number(self, store: Store) -> None:
        for digest, flow_id, version in (
            ("a", "f", "1.0.0"),
            ("b", "f", None),
            ("c", "f", "1.0.0"),
            ("d", "g", "2.0.0"),
        ):
            kept = FlowVersion(
                key=0, workspace="w", flow_id=flow_id, digest=digest, version=version, model=b"{}", source="",
                created_at=START,
            )  # fmt: skip
            await store.put_flow_version(kept)
        await store.put_flow_version(
            FlowVersion(
                key=0, workspace="w", flow_id="f", digest="e", version=None, model=b"{}", source="", created_at=START
            )
        )
        newest, numbered = await store.find_flow_version("w", "f"), await store.find_flow_version("w", "f", "1.0.0")
        assert (newest and newest.digest, numbered and numbered.digest) == ("e", "c")
        assert await store.find_flow_version("w", "f", "3.0.0") is None
        assert await store.find_flow_version("w", "h") is None

    async def test_a_flow_version_is_found_in_its_own_workspace_only(self, store: Store) -> None:
        """Two workspaces may have flows of the same id, even with the same content."""
        for workspace, number in (("a", "1.0.0"), ("b", "2.0.0")):
            await store.put_flow_version(
                FlowVersion(
                    key=0, workspace=workspace, flow_id="f", digest="d", version=number, model=b"{}", source="",
                    created_at=START,
                )
            )  # fmt: skip
        of_a, of_b = await store.find_flow_version("a", "f"), await store.find_flow_version("b", "f")
        assert (of_a and of_a.version, of_b and of_b.version) == ("1.0.0", "2.0.0")
        assert await store.find_flow_version("a", "f", "2.0.0") is None
        assert await store.find_flow_version("c", "f") is None


def message(id: str, *, kind: str = "ended", data: bytes = b"") -> Message:
    """A message to a run."""
    return Message(id, "run_1", kind, START, data)


def event(id: str, *, name: str = "paid", workspace: str = "w", at: int = 0) -> EventRow:
    """An event; `at` is in ms after `START`."""
    return EventRow(id, workspace, name, START + at, "run_1", b'{"a":1}')


def event_wait(run_key: int, step: int = 1, *, name: str = "paid", since: int = 0) -> EventWait:
    """A step that waits for an event; `since` is in ms after `START`."""
    return EventWait(run_key, step, 0, "w", name, START + since, START)
