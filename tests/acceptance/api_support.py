"""A real server on a port of its own, and a receiver that stands for the outside world."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import uvicorn
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from segue.access.accounts import Accounts
from segue.access.identities import Identities
from segue.api import Access, create_app, stop_streams
from segue.api.http1 import Http1
from segue.api.oidc import SignInProvider
from segue.api.services import Services
from segue.api.sockets import MESSAGE_BYTES_MAX
from segue.bootstrap import Host, build_host
from segue.engine.clock import Clock, SystemClock
from segue.net.egress import EgressPolicy
from segue.store.port import Store

TOKEN = "a-token-that-only-tests-know"
ENDED = {"succeeded", "failed", "cancelled", "timed_out"}


class ShiftedClock(SystemClock):
    """The system's clock, moved on by hand."""

    shift_ms = 0

    def now(self) -> int:
        return super().now() + self.shift_ms


class QuietServer(uvicorn.Server):
    """Leaves the test runner's signal handlers alone."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


@dataclass(kw_only=True)
class Served:
    host: Host
    app: FastAPI
    port: int
    client: httpx2.AsyncClient
    """Speaks with the token."""
    server: QuietServer
    access: Access

    @property
    def identities(self) -> Identities:
        return self.app.state.identities

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def anyone(self, **headers: str) -> httpx2.AsyncClient:
        """A client without an identity."""
        return httpx2.AsyncClient(base_url=self.url, headers=headers, trust_env=False)

    async def start(self, flow: Any, inputs: Mapping[str, Any] | None = None, **more: Any) -> str:
        answer = await self.client.post("/api/v1/runs", json={"flow": flow, "inputs": dict(inputs or {}), **more})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["run_id"])

    async def get(self, path: str, expect: int = 200) -> Any:
        answer = await self.client.get(path)
        assert answer.status_code == expect, answer.text
        return answer.json()

    async def show(self, run_id: str) -> dict[str, Any]:
        return await self.get(f"/api/v1/runs/{run_id}")

    async def until(self, run_id: str, *statuses: str) -> dict[str, Any]:
        """The run once it has one of these statuses (default: once it is over)."""
        wanted = set(statuses) or ENDED
        changed = asyncio.Event()
        await self.host.engine.changed(run_id, changed)
        try:
            async with asyncio.timeout(20):
                while True:
                    changed.clear()
                    view = await self.show(run_id)
                    if view["status"] in wanted:
                        return view
                    assert view["status"] not in ENDED, view
                    await changed.wait()
        finally:
            self.host.engine.forget(run_id, changed)

    async def callback_url(self, run_id: str) -> str:
        await self.until(run_id, "waiting")
        found = (await self.get(f"/api/v1/runs/{run_id}/callbacks"))["callbacks"]
        return str(found[0]["url"])


@asynccontextmanager
async def serve(
    database: str = "memory:",
    *,
    folders: tuple[Path, ...] = (),
    clock: Clock | None = None,
    store: Store | None = None,
    body_bytes_max: int = 10 * 1024 * 1024,
    allowed_hosts: tuple[str, ...] = (),
    public_url: str | None = None,
    provider: Callable[[Accounts, Host], SignInProvider] | None = None,
    egress: EgressPolicy | None = None,
) -> AsyncGenerator[Served]:
    """Host, application and server, as the command line puts them together; closed in the reverse order."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = int(listener.getsockname()[1])
        host = build_host(
            database, egress=egress or EgressPolicy.local(), clock=clock, store=store,
            callback_base_url=lambda: f"http://127.0.0.1:{port}", server_key=b"k" * 32,
        )  # fmt: skip
        for folder in folders:
            host.served.add_folder(folder)
        await host.open()
        await host.flows.settle()
        await host.triggers.begin()
        access = Access(TOKEN, allowed_hosts=allowed_hosts, public_url=public_url)
        services = Services(
            engine=host.engine, catalogue=host.catalogue, library=host.served, flows=host.flows, stored=host.stored,
            engine_elsewhere=host.engine_elsewhere, health=host.health,
            tables=host.tables, triggers=host.triggers, vault=host.vault, credentials=host.credentials,
        )  # fmt: skip
        vouching = None if provider is None else lambda accounts: provider(accounts, host)
        app = create_app(services, access, body_bytes_max=body_bytes_max, provider=vouching)
        async with running(app, listener) as server:
            headers = {"authorization": f"Bearer {TOKEN}"}
            async with httpx2.AsyncClient(
                base_url=f"http://127.0.0.1:{port}", headers=headers, trust_env=False, timeout=20
            ) as client:
                try:
                    yield Served(host=host, app=app, port=port, client=client, server=server, access=access)
                finally:
                    stop_streams(app)
                    await host.close(grace_seconds=0)


@asynccontextmanager
async def running(app: Any, listener: socket.socket) -> AsyncGenerator[QuietServer]:
    config = uvicorn.Config(
        app, http=Http1, access_log=False, log_config=None, server_header=False, proxy_headers=False, lifespan="off",
        timeout_graceful_shutdown=5, ws_max_size=MESSAGE_BYTES_MAX,
    )  # fmt: skip
    server = QuietServer(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        await has_begun(lambda: server.started)
        yield server
    finally:
        server.should_exit = True
        await task


async def has_begun(condition: Callable[[], bool]) -> None:
    """Until a flag that no one announces is set, at most 10 s."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - uvicorn sets a flag and tells nobody
            await asyncio.sleep(0.005)


def list_files(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_file()]


@dataclass
class Receiver:
    """Keeps what was sent to it. `answers` by path; 204 without one, as Discord's webhooks answer."""

    url: str
    answers: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    got: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive)
        self.got.append((request.method, request.url.path, dict(request.headers), await request.body()))
        status, body = self.answers.get(request.url.path, (204, b""))
        await Response(body, status, media_type="application/json" if body else None)(scope, receive, send)


@asynccontextmanager
async def receiver() -> AsyncGenerator[Receiver]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        found = Receiver(f"http://127.0.0.1:{listener.getsockname()[1]}")
        async with running(found, listener):
            yield found


@dataclass(frozen=True)
class Event:
    kind: str
    id: str
    data: Any


async def events(
    client: httpx2.AsyncClient, run_id: str, *, after: str | None = None, level: str | None = None
) -> AsyncGenerator[Event]:
    """The events of a run's stream, until the server closes it."""
    headers = {} if after is None else {"last-event-id": after}
    query = {} if level is None else {"level": level}
    async with client.stream("GET", f"/api/v1/runs/{run_id}/events", headers=headers, params=query) as answer:
        assert answer.status_code == 200, await answer.aread()
        assert answer.headers["content-type"].startswith("text/event-stream")
        fields: dict[str, str] = {}
        async for line in answer.aiter_lines():
            if line:
                name, _, value = line.partition(":")
                fields[name] = value.removeprefix(" ")
                continue
            if "data" in fields:
                yield Event(fields["event"], fields["id"], msgspec.json.decode(fields["data"]))
            fields = {}


def problem(answer: httpx2.Response, status: int, slug: str) -> dict[str, Any]:
    """The problem document of an answer, checked for what every one has (RFC 9457)."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found = answer.json()
    assert found["type"] == f"urn:segue:problem:{slug}", found
    assert found["status"] == status
    assert found["title"]
    assert found["detail"]
    assert found["request_id"] == answer.headers["x-request-id"]
    return found
