"""A gateway and an engine in two processes: handed over once, also when either is killed in the middle."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from acceptance.cli_support import receiver

pytestmark = pytest.mark.crash
TOKEN = "engine-token-of-the-test"


def graph(address: str) -> dict[str, Any]:
    nodes: list[dict[str, Any]] = [{"id": "start", "type": "start", "data": {}}]
    for name in ("one", "two", "three"):
        config = {"method": "POST", "url": f"{address}/{name}", "json_body": {"text": "plain"}}
        nodes.append({"id": name, "type": "http", "data": {"config": config}})
    names = [node["id"] for node in nodes]
    edges = [{"id": f"e{a}", "source": a, "target": b} for a, b in pairwise(names)]
    return {"nodes": nodes, "edges": edges}


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Process:
    """A command of its own that prints one JSON object once it answers."""

    def __init__(self, folder: Path, *args: str, **environment: str) -> None:
        self.command = [sys.executable, "-m", "segue", *args, "--json", "--log-level", "error"]
        self.environment = {**os.environ, "NO_COLOR": "1", **environment}
        self.folder = folder

    @contextmanager
    def started(self) -> Generator[dict[str, Any]]:
        process = subprocess.Popen(
            self.command, cwd=self.folder, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, process.stderr.read().decode() if process.stderr else ""
            yield {**json.loads(line), "process": process}
        finally:
            process.kill()
            process.communicate()


def ask(method: str, url: str, token: str, body: Any = None, **headers: str) -> tuple[int, Any]:
    request = urllib.request.Request(url, method=method, data=None if body is None else json.dumps(body).encode())
    request.add_header("authorization", f"Bearer {token}")
    for name, value in ({"content-type": "application/json"} | headers).items():
        request.add_header(name, value)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def until_over(gateway: dict[str, Any], run_id: str, seconds: float = 40) -> dict[str, Any]:
    ends = time.monotonic() + seconds
    while True:
        _, run = ask("GET", f"{gateway['address']}/v1/runs/{run_id}", gateway["token"])
        if run["status"] in ("succeeded", "failed"):
            return run
        assert time.monotonic() < ends, run
        time.sleep(0.1)


@pytest.mark.req("API-4.alone", "API-4.token")
def test_the_engine_serves_its_contract_and_nothing_else(tmp_path: Path) -> None:
    command = Process(
        tmp_path, "engine", "--port", "0", "--database", "sqlite:///engine.db", "--token", TOKEN, "--local"
    )
    with command.started() as engine:
        address = engine["address"]
        assert engine["token"] is None
        assert "grpc" not in engine
        dag = {"nodes": [{"id": "s1", "type": "start", "config": {}}]}
        status, accepted = ask("POST", f"{address}/v1/execute", TOKEN, {"runId": "run_1", "dag": dag, "env": {}})
        assert (status, accepted["engineRunId"][:4]) == (202, "eng_")
        run = until_over({"address": address, "token": TOKEN}, accepted["engineRunId"])
        assert [(step["id"], step["status"]) for step in run["steps"]] == [("s1", "succeeded")]
        for path in ("/api/v1/runs", "/v1/runs", "/", "/api/v1/flows"):
            assert ask("GET", f"{address}{path}", TOKEN)[0] in (404, 405), path
        assert ask("GET", f"{address}/v1/runs/{accepted['engineRunId']}", "another-token")[0] == 401
        assert ask("GET", f"{address}/health/ready", "")[0] == 200


@pytest.mark.slow
@pytest.mark.req("API-4.remote", "API-4.idempotent", "API-4.grpc", "DUR-1.two-processes")
@pytest.mark.parametrize(
    ("killed", "over"), [("nobody", "http"), ("engine", "http"), ("gateway", "http"), ("engine", "grpc")]
)
def test_a_run_is_handed_over_once_whoever_is_killed(tmp_path: Path, killed: str, over: str) -> None:
    port = free_port()
    doors = ("--port", str(port)) if over == "http" else ("--port", "0", "--grpc", str(port))
    engine_command = Process(
        tmp_path, "engine", *doors, "--database", "sqlite:///engine.db", "--token", TOKEN, "--local"
    )
    gateway_command = Process(
        tmp_path, "serve", "--port", "0", "--database", "sqlite:///gateway.db", "--dev",
        SEGUE_ENGINE_URL=f"{over}://127.0.0.1:{port}", SEGUE_ENGINE_TOKEN=TOKEN,
    )  # fmt: skip
    with receiver(delay_seconds=0.5) as counting:
        body = {"graph": graph(counting.address), "inputs": {}, "idempotencyKey": "handed-over"}
        with engine_command.started() as engine, gateway_command.started() as gateway:
            status, started = ask("POST", f"{gateway['address']}/v1/runs", gateway["token"], body)
            assert status == 201, started
            run_id = started["runId"]
            assert ask("POST", f"{gateway['address']}/v1/runs", gateway["token"], body)[1]["runId"] == run_id
            ends = time.monotonic() + 20
            while "/one" not in counting.effects:
                assert time.monotonic() < ends
                time.sleep(0.02)
            if killed == "nobody":
                run = until_over(gateway, run_id)
            elif killed == "engine":
                engine["process"].send_signal(signal.SIGKILL)
                engine["process"].wait()
                _, lost = ask("GET", f"{gateway['address']}/v1/runs/{run_id}", gateway["token"])
                assert lost["status"] == "running"
                with engine_command.started():
                    run = until_over(gateway, run_id)
            else:
                gateway["process"].send_signal(signal.SIGKILL)
                gateway["process"].wait()
                with gateway_command.started() as again:
                    run = until_over(again, run_id)
        assert run["status"] == "succeeded", run
        assert [step["nodeId"] for step in run["steps"]] == ["start", "one", "two", "three"]
        assert run["logs"]
        assert counting.effects == {"/one": 1, "/two": 1, "/three": 1}
