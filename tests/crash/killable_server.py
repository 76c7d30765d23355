"""A server with webhooks, started by forking, so that a test can afford hundreds of deaths.

Run as a program it reads one JSON order a line ({database, flows}), forks a server, prints {pid, port} when it listens,
and then how it ended.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from segue.bootstrap import Host, build_host
from segue.cli.door import PublicAddress
from segue.net.egress import EgressPolicy
from segue.store.sqlite import SqliteStore

SERVER_KEY = b"the key of the killed servers' doors"


def host_of(database: Path, flows: Path) -> Host:
    """The host of a server, not yet opened."""
    host = build_host("", egress=EgressPolicy.local(), store=SqliteStore(database), server_key=SERVER_KEY)
    host.served.add_folder(flows)
    return host


async def serve(database: Path, flows: Path, listener: socket.socket) -> None:
    """Until it is killed."""
    door_api = importlib.import_module("segue.cli.door_api")
    host = host_of(database, flows)
    await host.open()
    await host.triggers.begin()
    public = PublicAddress()
    server = door_api.api_server(host, [flows], "token-of-the-killed", public=public, grace_seconds=1)
    await server.serve(sockets=[listener])


@dataclass(frozen=True)
class Life:
    pid: int
    port: int


class ServerForker:
    """Starts servers; a context manager around the forking process."""

    _alive: int | None = None

    def __enter__(self) -> ServerForker:
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._alive is not None:
            with suppress(ProcessLookupError):
                os.kill(self._alive, signal.SIGKILL)
        self._process.communicate(timeout=20)

    def begin(self, database: Path, flows: Path) -> Life:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"database": str(database), "flows": str(flows)}) + "\n")
        self._process.stdin.flush()
        life = Life(**json.loads(self._process.stdout.readline()))
        self._alive = life.pid
        return life

    def ended(self) -> int:
        """The signal that ended the server."""
        assert self._process.stdout is not None
        ended = int(self._process.stdout.readline())
        self._alive = None
        return ended


def main() -> None:
    importlib.import_module("segue.cli.door_api")
    for line in sys.stdin:
        order = json.loads(line)
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        listener.listen(256)
        child = os.fork()
        if child == 0:
            sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - the parent's pipe is not its own
            asyncio.run(serve(Path(order["database"]), Path(order["flows"]), listener))
            os._exit(0)
        print(json.dumps({"pid": child, "port": listener.getsockname()[1]}), flush=True)
        listener.close()
        _, status = os.waitpid(child, 0)
        print(os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0, flush=True)


if __name__ == "__main__":
    main()
