"""`kill -9` while flows are saved: what was answered is kept, and nothing is half there."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import apsw
import msgspec
import pytest

from segue.flow.model import Flow

pytestmark = pytest.mark.crash

SEGUE = (sys.executable, "-m", "segue")


class Server:
    def __init__(self, database: Path) -> None:
        self.process = subprocess.Popen(
            [*SEGUE, "serve", "--port", "0", "--json", "--log-level", "error", "--database", str(database)],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        said = json.loads(self.process.stdout.readline())
        self.address, self.token = said["address"], said["token"]

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"authorization": f"Bearer {self.token}", "content-type": "application/json", "if-match": "*"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.address}{path}", data, headers, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read())

    def end(self, how: signal.Signals) -> None:
        self.process.send_signal(how)
        self.process.communicate(timeout=30)


def text(number: int) -> str:
    return f"flow: saved\ntags: [t{number}]\nsteps:\n  - step{number}: {{log: word{number}}}\n"


@pytest.mark.req("FLOW-6.crash", "FLOW-7.crash")
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_save_is_there_as_a_whole_or_not_at_all(tmp_path: Path, seed: int) -> None:
    database = tmp_path / "s.db"
    server = Server(database)
    server.ask("POST", "/api/v1/flows", {"text": text(0)})
    answered = {"draft": 0, "version": 0}
    killer = threading.Timer(random.Random(seed).uniform(0, 0.3), server.end, [signal.SIGKILL])
    deadline = time.monotonic() + 60
    try:
        for number in range(1, 100_000):
            server.ask("PUT", "/api/v1/flows/saved/draft", {"text": text(number)})
            answered["draft"] = number
            server.ask("POST", "/api/v1/flows/saved/versions", {"publish": True})
            answered["version"] = number
            if number == 2:
                killer.start()
            assert time.monotonic() < deadline
    except OSError:
        pass  # it was killed
    assert answered["version"] >= 2
    killer.join()
    check(database, answered)
    again = Server(database)
    try:
        found = again.ask("GET", "/api/v1/flows/saved")
        (tag,) = found["tags"]
        for word, ids in ((tag.replace("t", "word"), ["saved"]), (tag.replace("t", "none"), list[str]())):
            assert [one["id"] for one in again.ask("GET", f"/api/v1/flows?q={word}&tag={tag}")["flows"]] == ids
        assert [one["id"] for one in again.ask("GET", f"/api/v1/flows?tag={tag}")["flows"]] == ["saved"]
        if found["version"] is not None:
            assert again.ask("POST", "/api/v1/flows/saved/runs")["run_id"]
    finally:
        again.end(signal.SIGTERM)
    db = apsw.Connection(str(database))
    assert db.execute("SELECT count(*) FROM flow WHERE published IS NOT followed").fetchone() == (0,), "settled"
    db.close()


def check(database: Path, answered: dict[str, int]) -> None:
    db = apsw.Connection(str(database))
    row = db.execute("SELECT key, draft, revision, published, tags, name FROM flow").fetchone()
    assert row is not None
    key, draft, revision, published, tags, _ = row
    number = int(revision) - 1
    assert number in (answered["draft"], answered["draft"] + 1), "what was answered is kept"
    assert (draft, json.loads(str(tags))) == (text(number), [f"t{number}"])
    assert db.execute("SELECT tag FROM flow_tag WHERE flow = ?", (key,)).fetchall() == [(f"t{number}",)]
    assert db.execute("SELECT steps FROM flow_search WHERE rowid = ?", (key,)).fetchall() == [(f"step{number} ",)]
    versions = db.execute("SELECT key, number, source, model FROM stored_version ORDER BY key").fetchall()
    assert len(versions) in (answered["version"], answered["version"] + 1)
    for place, (_, name, source, model) in enumerate(versions, start=1):
        flow = msgspec.json.decode(model, type=Flow)  # type: ignore[arg-type]
        assert (name, flow.version, source) == (f"1.0.{place - 1}", f"1.0.{place - 1}", text(place))
    assert published == (versions[-1][0] if versions else None)
    db.close()
