"""The Python client against a real server process: the same from a program with an event loop and from one without."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from acceptance.api_support import receiver
from segue.client import AsyncClient, Client, aio
from segue.client.records import AccessDeniedError, HostLostError, UnavailableError
from segue.errors import ConflictError, InvalidFlowError, InvalidInputError, NotFoundError, RequestError, StaleError

GREET = """\
flow: greet
version: 1.0.0
inputs: {name: string}
steps:
  - a: {set: {said: "hi {{ inputs.name }}"}}
outputs: $a.said
"""
WAIT = "flow: waits\nsteps:\n  - answer: {wait: {callback: {expires: 1h}}}\noutputs: $answer\n"
BAD = "flow: bad\nsteps:\n  - a: {fail: {message: broken}}\n"


@contextmanager
def server(folder: Path) -> Generator[dict[str, str]]:
    (folder / "flows").mkdir(exist_ok=True)
    (folder / "flows" / "greet.yaml").write_text(GREET)
    command = [sys.executable, "-m", "segue", "serve", "--port", "0", "--json", "--log-level", "error"]
    command += ["--flows", "flows", "--database", "sqlite:///client.db"]
    process = subprocess.Popen(
        command, cwd=folder, env={**os.environ, "NO_COLOR": "1"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.stderr.read().decode() if process.stderr else ""
        yield json.loads(line)
    finally:
        process.terminate()
        process.communicate(timeout=30)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Generator[dict[str, str]]:
    with server(tmp_path_factory.mktemp("client")) as found:
        yield found


@pytest.mark.req("API-7.sync")
def test_a_program_without_an_event_loop_runs_flows(served: dict[str, str]) -> None:
    with Client(served["address"], served["token"]) as client:
        view = client.run(GREET, {"name": "Ada"})
        assert (view.status, view.outputs) == ("succeeded", "hi Ada")
        assert client.run(flow_id="greet", inputs={"name": "Bob"}).outputs == "hi Bob"
        assert [flow.id for flow in client.flows()] == ["greet"]
        assert client.flow("greet").inputs["properties"]["name"]["type"] == "string"
        assert client.triggers() == []
        assert client.step(view.id, "a").output == {"said": "hi Ada"}
        assert client.logs(view.id)[-1].msg == "run succeeded"
        events = list(client.events(view.id))
        assert events[-1].kind == "end"
        assert [one.kind for one in client.events(view.id, after=events[0].id)][-1] == "end"
        assert list(client.events(view.id, after=events[-1].id)) == []
        twice = [client.start(GREET, {"name": "C"}, idempotency_key="the-key") for _ in range(2)]
        assert twice[0].run_id == twice[1].run_id
        assert twice[1].repeated
        later = client.start(GREET, {"name": "D"}, at=timedelta(hours=1))
        assert later.status == "queued"
        client.tell(later.run_id, "cancel", "not needed")
        assert client.show(later.run_id).status == "cancelled"
        assert later.run_id in [run.id for run in client.runs(statuses=["cancelled"])]
        assert client.compare(view.id, view.id).same
        again = client.replay(view.id, inputs={"name": "Eve"})
        assert client.wait(again.run_id, timeout_seconds=20).outputs == "hi Eve"
        assert client.publish("order.paid", {"n": 1}, id="e-1") == "e-1"


@pytest.mark.req("API-7.errors")
def test_problems_are_the_errors_that_the_server_raised(served: dict[str, str]) -> None:
    with Client(served["address"], served["token"]) as client:
        with pytest.raises(InvalidFlowError) as flow:
            client.start("flow: x\nsteps:\n  - a: {log: $nobody.x}\n")
        assert flow.value.problems[0].code.startswith("FLW")
        with pytest.raises(InvalidInputError) as inputs:
            client.start(GREET, {})
        assert inputs.value.details[0][0] == "name"
        with pytest.raises(NotFoundError):
            client.show("run_none")
        run_id = client.start(BAD).run_id
        assert client.wait(run_id).status == "failed"
        with pytest.raises(ConflictError):
            client.tell(run_id, "cancel")
    with Client(served["address"], "wrong", attempts=1) as stranger, pytest.raises(AccessDeniedError):
        stranger.runs()
    with Client("http://127.0.0.1:1", "x", attempts=1) as nobody, pytest.raises(HostLostError):
        nobody.runs()


@pytest.mark.anyio
@pytest.mark.req("API-7.async")
async def test_a_program_with_an_event_loop_answers_what_a_run_waits_for(served: dict[str, str]) -> None:
    async with AsyncClient(served["address"], served["token"]) as client:
        started = await client.start(WAIT)
        async for event in client.events(started.run_id):
            if event.kind == "run" and event.data["status"] == "waiting":
                found = await client.callbacks(started.run_id)
                assert await client.callback(found[0].url, {"ok": True}) == started.run_id
        view = await client.show(started.run_id)
        assert (view.status, view.outputs) == ("succeeded", {"ok": True})
        views = await asyncio.gather(*(client.run(GREET, {"name": str(number)}) for number in range(10)))
        assert [one.outputs for one in views] == [f"hi {number}" for number in range(10)]


@pytest.mark.anyio
@pytest.mark.req("API-7.retries")
async def test_what_the_server_refused_for_the_moment_is_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aio, "FIRST_DELAY_SECONDS", 0.0)
    async with receiver() as outside, AsyncClient(outside.url, "t", attempts=3) as client:
        busy = b'{"type": "urn:segue:problem:store-unavailable", "title": "Busy", "status": 503, "detail": "later"}'
        outside.answers["/api/v1/runs"] = (503, busy)
        with pytest.raises(UnavailableError, match="later"):
            await client.start(GREET)
        keys = {json.loads(body)["idempotency_key"] for _, _, _, body in outside.got}
        assert (len(outside.got), len(keys)) == (3, 1)
        outside.got.clear()
        outside.answers["/api/v1/runs/run_1/cancel"] = (503, busy)
        with pytest.raises(UnavailableError):
            await client.tell("run_1", "cancel")
        assert len(outside.got) == 3
        outside.got.clear()
        closing = busy.replace(b"store-unavailable", b"closing")
        outside.answers["/api/v1/runs/run_1/cancel"] = (503, closing)
        with pytest.raises(HostLostError):
            await client.tell("run_1", "cancel")
        assert len(outside.got) == 1


@pytest.mark.slow
@pytest.mark.req("API-7.reconnect")
def test_a_client_waits_over_a_restart_of_the_server(tmp_path: Path) -> None:
    with server(tmp_path) as first, Client(first["address"], first["token"]) as client:
        run_id = client.start("flow: w\nsteps:\n  - a: {wait: 1500ms}\n").run_id
    with server(tmp_path) as second, Client(second["address"], second["token"]) as client:
        assert client.wait(run_id, timeout_seconds=30).status == "succeeded"


@pytest.mark.req("API-7.everything")
def test_everything_that_the_server_can_do_is_reached_by_its_name(served: dict[str, str]) -> None:
    with Client(served["address"], served["token"]) as client:
        names = client.operations()
        assert len(names) > 150
        made = client.call("createSchedule", {"flow": "greet", "every": "1h", "name": "hourly"})
        for number in range(3):
            client.call("createSchedule", {"flow": "greet", "every": f"{number + 2}h"})
        assert client.call("getSchedule", schedule_id=made["id"])["name"] == "hourly"
        assert len(list(client.pages("listSchedules", limit=2))) == 4
        assert client.call("changeSchedule", {"paused": True}, schedule_id=made["id"])["paused"] is True
        assert client.call("deleteSchedule", schedule_id=made["id"]) is None
        client.call("putSecret", {"value": "hush"}, name="shop")
        assert [one["name"] for one in client.call("listSecrets")["secrets"]] == ["shop"]
        draft = client.call("createFlow", {"id": "mine", "text": "flow: mine\nsteps:\n  - log: hi\n"})
        assert draft["id"] == "mine"
        with pytest.raises(StaleError):
            client.call("putFlowDraft", {"text": "flow: mine\nsteps: []\n"}, flow_id="mine", if_match='"old"')
        assert "steps:" in client.call("exportFlow", flow_id="mine", format="yaml")
        assert client.call("getHealth")["status"] in ("ok", "degraded")
        with pytest.raises(RequestError, match="did you mean"):
            client.call("listSchedule")
        with pytest.raises(RequestError, match="it takes: run_id"):
            client.call("explainRun", run_id="run_x", loud=True)
        with pytest.raises(RequestError, match="needs 'run_id'"):
            client.call("getRun")
        with pytest.raises(NotFoundError):
            client.call("getRun", run_id="run_/../x")
        with pytest.raises(RequestError, match="no list"):
            list(client.pages("isLive"))


@pytest.mark.anyio
@pytest.mark.req("API-7.sync")
async def test_the_client_without_a_loop_works_where_one_runs(served: dict[str, str]) -> None:
    """As in a notebook, whose cells run in a loop."""
    client = Client(served["address"], served["token"])
    assert client.run(flow_id="greet", inputs={"name": "Ada"}).status == "succeeded"
    assert [event.kind for event in client.events(client.start(flow_id="greet", inputs={"name": "Bo"}).run_id)][
        -1
    ] == "end"
    client.close()
    client.close()
    with pytest.raises(RequestError, match="closed"):
        client.runs()


@pytest.mark.req("API-7.threads")
def test_threads_share_a_client_without_waiting_for_each_other(served: dict[str, str]) -> None:
    with Client(served["address"], served["token"]) as client:
        waiting = client.start(WAIT).run_id
        ended: list[str] = []
        thread = threading.Thread(target=lambda: ended.append(client.wait(waiting, timeout_seconds=20).status))
        thread.start()
        assert client.run(flow_id="greet", inputs={"name": "Ada"}).status == "succeeded"
        while not (found := client.callbacks(waiting)):
            pass
        client.callback(found[0].url, "yes")
        thread.join(20)
        assert ended == ["succeeded"]
