"""A web server that counts: what arrived under which `Idempotency-Key`, and what took effect.

It stands for the outside systems of a kill test. It runs in a process of its own, so that killing the engine's process
does not hurt its ledger, and honours idempotency keys (draft-ietf-httpapi-idempotency-key-header): the first good
request of a key takes effect, later ones get the same answer.

`with CountingReceiver() as receiver: …` in a test, or `python -m segue.testing.counting_receiver` by hand. Any method
and path is taken; in the query, `fail=2` answers the first two requests of each key with 503, `delay_ms=50` lets every
answer wait, `echo=x` is put into it, and with `reflect=1` so are the request's headers and body, also into a 503.
`GET /ledger` gives all requests, `DELETE /ledger` forgets them.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Generator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One request. `effect`: it was the one that took effect. `at`: seconds of the receiver's own monotonic clock."""

    method: str
    path: str
    key: str | None
    status: int
    effect: bool
    at: float
    body: str


class CountingReceiver:
    """The receiver in a child process, on a free port of 127.0.0.1."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self.url = ""

    def __enter__(self) -> CountingReceiver:
        command = [sys.executable, "-m", "segue.testing.counting_receiver"]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        if not self.url:
            raise RuntimeError("the counting receiver did not start; see its messages above")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def ledger(self) -> list[Received]:
        """All requests since the start or the last `reset`, in the order of their arrival."""
        with urllib.request.urlopen(f"{self.url}/ledger", timeout=10) as answer:
            return [Received(**one) for one in json.load(answer)]

    def reset(self) -> None:
        """Forget everything."""
        request = urllib.request.Request(f"{self.url}/ledger", method="DELETE")
        urllib.request.urlopen(request, timeout=10).close()

    def requests_by_key(self) -> dict[str | None, list[Received]]:
        """The ledger by idempotency key."""
        found: dict[str | None, list[Received]] = {}
        for one in self.ledger():
            found.setdefault(one.key, []).append(one)
        return found


class _Ledger:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.received: list[dict[str, Any]] = []
        self.answers: dict[str, bytes] = {}
        self.tries: dict[str, int] = {}

    def forget(self) -> None:
        with self.lock:
            self.received.clear()
            self.answers.clear()
            self.tries.clear()

    def take(self, method: str, target: str, key: str | None, body: str, headers: dict[str, str]) -> tuple[int, bytes]:
        parts = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        with self.lock:
            tries = 0
            if key is not None:
                tries = self.tries[key] = self.tries.get(key, 0) + 1
            answer = self.answers.get(key) if key is not None else None
            is_first = answer is None
            status = 503 if is_first and tries <= int(query.get("fail", "0")) else 200
            reflected = {"headers": headers, "body": body} if query.get("reflect") else {}
            if answer is None:
                made = {"path": parts.path, "effect": len(self.answers) + 1, "echo": query.get("echo"), **reflected}
                answer = json.dumps(made).encode()
                if status == 200 and key is not None:
                    self.answers[key] = answer
            self.received.append(
                {
                    "method": method, "path": parts.path, "key": key, "status": status,
                    "effect": is_first and status == 200, "at": time.monotonic(), "body": body,
                }
            )  # fmt: skip
        time.sleep(int(query.get("delay_ms", "0")) / 1000)
        return status, answer if status == 200 else json.dumps({"error": "not yet", **reflected}).encode()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body are two writes: without this the second waits for the client's delayed acknowledgement.
    disable_nagle_algorithm = True
    ledger: _Ledger

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode(errors="replace")
        if self.path == "/ledger" and self.command == "GET":
            status, answer = 200, json.dumps(self.ledger.received).encode()
        elif self.path == "/ledger" and self.command == "DELETE":
            self.ledger.forget()
            status, answer = 200, b"{}"
        else:
            status, answer = self.ledger.take(
                self.command, self.path, self.headers.get("Idempotency-Key"), body,
                {name.lower(): value for name, value in self.headers.items()},
            )  # fmt: skip
        with contextlib.suppress(ConnectionError):  # whoever asked was killed: that is the point of it
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer

    def log_message(self, format: str, *args: Any) -> None:
        """The ledger says it all."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients are killed in the middle of their requests: no news."""


@contextlib.contextmanager
def _serving(port: int) -> Generator[_Server]:
    handler = type("_LedgerHandler", (_Handler,), {"ledger": _Ledger()})
    server = _Server(("127.0.0.1", port), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def main(arguments: list[str]) -> None:
    """Serve until standard input ends; the address is the first line of standard output."""
    with _serving(int(arguments[0]) if arguments else 0) as server:
        print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)  # noqa: T201 - its parent reads it
        sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1:])
