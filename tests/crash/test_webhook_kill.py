"""`kill -9` right after a webhook's 2xx: every delivery that was accepted has its run, and no id has two.

A sample of deaths, or `SEGUE_CRASH_KILLS` of them (`make crash KILLS=500`).
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import time
from pathlib import Path

import pytest

from crash.killable_server import ServerForker, host_of
from segue.kernel.status import RUN_ENDED
from segue.store.port import RunFilter

pytestmark = [pytest.mark.crash, pytest.mark.anyio]

KILLS = int(os.environ.get("SEGUE_CRASH_KILLS", "0")) or 5
SENT_AT_ONCE = 12
FLOW = """
flow: taken
trigger: {webhook: {auth: {type: token, header: x-token, secret: "env:HOOK_TOKEN_OF_THE_TEST"}, dedupe: {field: id}}}
inputs: {id: string}
steps:
  - one: {set: {id: $inputs.id}}
  - two: {set: {id: $one.id}}
outputs: $two.id
"""
CHAINED = """
flow: told
trigger: {flow: taken, inputs: {id: $data}}
inputs: {id: string}
steps: [{one: {set: {id: $inputs.id}}}]
outputs: $one.id
"""


def send(port: int, id: str) -> socket.socket:
    """One delivery on its way; the answer is not awaited."""
    body = json.dumps({"id": id}).encode()
    head = (
        f"POST /hooks/default/taken HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncontent-type: application/json\r\n"
        f"x-token: the-token\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    found = socket.create_connection(("127.0.0.1", port), timeout=20)
    found.sendall(head.encode() + body)
    return found


def answer_of(connection: socket.socket) -> dict[str, str] | None:
    """The answer's body if it is a whole 202; None if the server died before."""
    received = b""
    try:
        while chunk := connection.recv(65_536):
            received += chunk
    except OSError:
        return None
    finally:
        connection.close()
    head, _, body = received.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 202"):
        assert not head or head.startswith(b"HTTP/1.1 503"), head
        return None
    try:
        return json.loads(body)
    except ValueError:
        return None


@pytest.mark.req("TRIG-4.kill", "TRIG-1.dedupe")
async def test_every_delivery_that_was_answered_2xx_has_its_run_after_a_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOK_TOKEN_OF_THE_TEST", "the-token")
    seed = int(os.environ.get("SEGUE_SIM_SEED") or time.time())
    print("seed", seed)
    chance = random.Random(seed)
    (flows := tmp_path / "flows").mkdir()
    (flows / "taken.yaml").write_text(FLOW, "utf-8")
    (flows / "told.yaml").write_text(CHAINED, "utf-8")
    database, accepted, ids = tmp_path / "x.db", {}, []
    with ServerForker() as forker:
        for kill in range(KILLS):
            life = forker.begin(database, flows)
            # What was not answered in an earlier life is sent again, as a sender does.
            again = [id for id in ids if id not in accepted][:3]
            wave = [*again, *(f"{kill}-{number}" for number in range(SENT_AT_ONCE))]
            ids += [id for id in wave if id not in ids]
            sent = [(id, send(life.port, id)) for id in wave]
            first = chance.randrange(len(sent))
            sent.insert(0, sent.pop(first))
            for place, (id, connection) in enumerate(sent):
                answer = answer_of(connection)
                if place == 0:
                    os.kill(life.pid, signal.SIGKILL)
                    assert answer is not None, "the first answer came before the kill"
                if answer is not None:
                    accepted[id] = answer
            assert forker.ended() == signal.SIGKILL
    assert len(accepted) >= KILLS
    await check_all_kept(database, flows, accepted)


async def check_all_kept(database: Path, flows: Path, accepted: dict[str, dict[str, str]]) -> None:
    host = host_of(database, flows)
    await host.open()
    try:
        for id, answer in accepted.items():
            state = await host.engine.wait(answer["run_id"])
            assert state.outputs == id
            delivery = await host.triggers.deliveries.one("default", answer["delivery_id"])
            assert (delivery.run_id, delivery.verdict) == (answer["run_id"], "accepted")
        runs, cursor = [], None
        while True:
            page = await host.store.list_runs(RunFilter(), limit=1000, cursor=cursor)
            runs += page.runs
            cursor = page.cursor
            if cursor is None:
                break
        assert all(run.status in RUN_ENDED or run.flow_id == "told" for run in runs)
        taken = [(await host.engine.wait(run.run_id)).outputs for run in runs if run.flow_id == "taken"]
        told = [(await host.engine.wait(run.run_id)).outputs for run in runs if run.flow_id == "told"]
        assert len(taken) == len(set(taken)), "an id has two runs"
        assert sorted(map(str, told)) == sorted(map(str, taken)), "a chained run is lost or there twice"
    finally:
        await host.close(grace_seconds=0)
