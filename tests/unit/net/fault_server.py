"""Servers on loopback that answer wrongly, late or never, and a resolver that says what a test wants."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

Behaviour = Callable[["Connection"], Awaitable[None]]


@dataclass
class Connection:
    """One accepted connection, as a behaviour sees it."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    server: FaultServer
    number: int

    async def read_request(self) -> str | None:
        """The next whole request (head and body), kept in `server.requests`; None when the client has closed."""
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
            length = 0
            for line in head.lower().split(b"\r\n"):
                if line.startswith(b"content-length:"):
                    length = int(line.partition(b":")[2])
            body = await self.reader.readexactly(length)
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        request = (head + body).decode()
        self.server.requests.append(request)
        self.server.request_came.set()
        return request

    async def send(self, data: bytes | str) -> None:
        self.writer.write(data.encode() if isinstance(data, str) else data)
        await self.writer.drain()

    async def answer(
        self, body: bytes | str = b"", *, status: str = "200 OK", headers: Sequence[str] = (), close: bool = False
    ) -> None:
        content = body.encode() if isinstance(body, str) else body
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(content)}", *headers]
        if close:
            lines.append("Connection: close")
        await self.send("\r\n".join(lines).encode() + b"\r\n\r\n" + content)

    async def wait_until_closed(self) -> None:
        """Returns when the client has gone."""
        with suppress(ConnectionError):
            while await self.reader.read(65536):
                pass


@dataclass
class FaultServer:
    host: str
    port: int = 0
    scheme: str = "http"
    requests: list[str] = field(default_factory=list[str])
    connections: int = 0
    request_came: asyncio.Event = field(default_factory=asyncio.Event)
    client_left: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.host}:{self.port}"


@asynccontextmanager
async def serve(
    behaviour: Behaviour, *, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
) -> AsyncGenerator[FaultServer]:
    """A server whose every connection is handled by `behaviour` and closed after it."""
    fault_server = FaultServer(host=host, scheme="https" if tls else "http")
    tasks: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        fault_server.connections += 1
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await behaviour(Connection(reader, writer, fault_server, fault_server.connections))
        except (ConnectionError, asyncio.CancelledError):
            pass  # the client went away, or the test is over: both are what the tests bring about
        finally:
            writer.close()
            with suppress(ConnectionError, ssl.SSLError):
                await writer.wait_closed()
            tasks.discard(task)

    server = await asyncio.start_server(handle, host, port, ssl=tls)
    fault_server.port = server.sockets[0].getsockname()[1]
    try:
        yield fault_server
    finally:
        server.close()
        await server.wait_closed()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def always(body: bytes | str = b"ok", *, status: str = "200 OK", headers: Sequence[str] = ()) -> Behaviour:
    """Answers each request so, and keeps the connection."""

    async def behaviour(connection: Connection) -> None:
        while await connection.read_request() is not None:
            await connection.answer(body, status=status, headers=headers)

    return behaviour


async def never_answer(connection: Connection) -> None:
    await connection.read_request()
    await connection.wait_until_closed()
    connection.server.client_left.set()


class FakeResolver:
    """Answers from a table; each name has a list of answers, given in turn, the last one for ever."""

    def __init__(self, table: Mapping[str, Sequence[Sequence[str]]]) -> None:
        self._table = {name: list(answers) for name, answers in table.items()}
        self.asked: list[str] = []

    async def resolve(self, host: str) -> Sequence[str]:
        self.asked.append(host)
        answers = self._table.get(host)
        if not answers:
            raise OSError(f"no such name: {host}")
        return answers.pop(0) if len(answers) > 1 else answers[0]
