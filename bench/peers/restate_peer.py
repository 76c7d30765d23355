"""Restate, driven over HTTP: one server (Rust) keeps the journal, one Python service runs flows and steps.

Three processes: server, service and this load generator, which speaks HTTP/1.1 over kept-alive connections to the
server's ingress. All settings of the server are its own but for addresses, telemetry (off) and the log level: journal
entries are in the log server's RocksDB write-ahead log, synced in groups, before they are acknowledged.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import uvloop

from bench.kit import program
from bench.kit.events import EventLog
from bench.kit.workloads import Door
from bench.peers.setup import restate_server

START_SECONDS_MAX = 60.0
POLL_SECONDS = 0.01
SERVICE_MODULE = "bench.peers.restate_service:app"


class Ingress:
    """JSON posts with as little work as can be, so that the load generator is not what is measured."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def post(self, path: str, body: dict[str, object]) -> None:
        """Raises RuntimeError unless the answer's status is 2xx."""
        payload = json.dumps(body).encode()
        reader, writer = self._idle.pop() if self._idle else await asyncio.open_connection("127.0.0.1", self._port)
        head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        writer.write(f"{head}content-length: {len(payload)}\r\n\r\n".encode() + payload)
        status, *headers = (await reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
        lengths = [int(line.split(":")[1]) for line in headers if line.startswith("content-length:")]
        answer = await reader.readexactly(lengths[0] if lengths else 0)
        if " 2" not in status[:12]:
            raise RuntimeError(f"{path}: {status} {answer[:200]!r}")
        self._idle.append((reader, writer))

    def close(self) -> None:
        """Close what is kept alive."""
        for _, writer in self._idle:
            writer.close()


class OverHttp:
    """The ingress: an invocation is answered with the flow's result, a `send` once it is accepted."""

    def __init__(self, ingress: Ingress, server: int, service: int) -> None:
        self._ingress, self._server, self._service = ingress, server, service

    async def call(self, flow: str, key: str) -> None:
        """Invoke and wait for the result."""
        await self._ingress.post(f"/Flows/{flow}", {"key": key})

    async def start(self, flow: str, key: str) -> None:
        """Invoke one way."""
        await self._ingress.post(f"/Flows/{flow}/send", {"key": key})

    def processes(self) -> dict[str, list[int]]:
        """Both processes that a user must run; the load generator is not counted."""
        return {"server": [self._server], "service": [self._service]}


def _ports(directory: Path) -> dict[str, int]:
    """Free ports, the same again after a restart on this directory: the server keeps the service's address."""
    kept = directory / "ports.json"
    if not kept.exists():
        held = [socket.socket() for _ in range(4)]
        for one in held:
            one.bind(("127.0.0.1", 0))
        found = dict(zip(("ingress", "admin", "node", "service"), (s.getsockname()[1] for s in held), strict=True))
        for one in held:
            one.close()
        kept.write_text(json.dumps(found))
    return json.loads(kept.read_text())


async def _answers(url: str) -> bool:
    def ask() -> bool:
        try:
            with urllib.request.urlopen(url, timeout=1) as answer:
                return answer.status < 500
        except OSError:
            return False

    return await asyncio.to_thread(ask)


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


async def _until_up(ports: dict[str, int], *processes: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(START_SECONDS_MAX):
        while not (
            await _listens(ports["service"])
            and await _answers(f"http://127.0.0.1:{ports['admin']}/health")
            and await _answers(f"http://127.0.0.1:{ports['ingress']}/restate/health")
        ):
            if any(process.returncode is not None for process in processes):
                raise RuntimeError("the Restate server or its service ended at its start; see restate.log")
            await asyncio.sleep(POLL_SECONDS)


def _register(ports: dict[str, int]) -> None:
    body = json.dumps({"uri": f"http://127.0.0.1:{ports['service']}"}).encode()
    url = f"http://127.0.0.1:{ports['admin']}/deployments"
    request = urllib.request.Request(url, body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        answer.read()


@asynccontextmanager
async def open_door(directory: Path, log: EventLog) -> AsyncIterator[Door]:
    """Start server and service on `directory`; a fresh one is given the service's address."""
    binary = restate_server()
    if binary is None:
        raise RuntimeError("no Restate server: run `python -m bench.peers.setup`")
    fresh = not (directory / "ports.json").exists()
    ports = _ports(directory)
    settings = {
        "RESTATE_INGRESS__BIND_ADDRESS": f"127.0.0.1:{ports['ingress']}",
        "RESTATE_ADMIN__BIND_ADDRESS": f"127.0.0.1:{ports['admin']}",
        "RESTATE_BIND_ADDRESS": f"127.0.0.1:{ports['node']}",
        "RESTATE_DISABLE_TELEMETRY": "true",
        "RESTATE_LOG_FILTER": "error",
    }
    with (directory / "restate.log").open("ab") as output:
        command = [binary, "--base-dir", directory / "restate", "--node-name", "n1"]
        server = await asyncio.create_subprocess_exec(*command, stdout=output, stderr=output, env=os.environ | settings)
        hypercorn = ["-m", "hypercorn", "-k", "uvloop", "-b", f"127.0.0.1:{ports['service']}", SERVICE_MODULE]
        service = await asyncio.create_subprocess_exec(
            sys.executable, *hypercorn, stdout=output, stderr=output, env=os.environ | {"BENCH_EVENTS": str(log.path)}
        )
    ingress = Ingress(ports["ingress"])
    try:
        await _until_up(ports, server, service)
        if fresh:
            await asyncio.to_thread(_register, ports)
        yield OverHttp(ingress, server.pid, service.pid)
    finally:
        ingress.close()
        for process in (service, server):
            if process.returncode is None:
                process.terminate()
                await process.wait()


if __name__ == "__main__":
    program.main(open_door, uvloop.run)
