"""The real `segue` command in processes of its own, and a receiver that counts what flows send."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

SEGUE = (sys.executable, "-m", "segue")
PATIENCE_SECONDS = 60.0
ENDED = ("succeeded", "failed", "cancelled", "timed_out")

ACTIONS = '''
from __future__ import annotations
import time
from pathlib import Path
import segue

@segue.action("demo.echo", effect="safe")
def echo(value: object = None) -> dict[str, object]:
    return {"value": value}

@segue.action("demo.fail")
def fail(message: str = "it is broken") -> None:
    raise segue.TerminalError(message, category="validation")

@segue.action("demo.flaky")
def flaky(context: segue.AttemptContext, failures: int = 2) -> dict[str, int]:
    context.log("info", f"attempt number {context.attempt}")
    if context.attempt <= failures:
        raise segue.StepError("not yet", category="http.503")
    return {"attempt": context.attempt}

@segue.action("demo.until")
def until(file: str) -> str:
    """Until somebody makes the file."""
    while not Path(file).exists():
        time.sleep(0.02)
    return "there"
'''


@dataclass(frozen=True)
class Answer:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The whole of stdout as JSON: anything beside it is an error."""
        return json.loads(self.out)


class Commands:
    """Commands in one working folder, on one database, with nothing of this user's own settings."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database = folder / "segue.db"
        self.environment = {
            # Unbuffered, Python does not notice that a reader went away in the middle of a write.
            **{
                name: value
                for name, value in os.environ.items()
                if not name.startswith("SEGUE_") and name != "PYTHONUNBUFFERED"
            },
            "XDG_DATA_HOME": str(folder / "data"),
            "SEGUE_DATABASE": str(self.database),
            "COLUMNS": "100",
        }

    def write(self, name: str, text: str) -> Path:
        """A file in the working folder."""
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return path

    def segue(self, *arguments: str, stdin: str = "", env: dict[str, str] | None = None) -> Answer:
        """Run a command to its end."""
        done = subprocess.run(
            [*SEGUE, *arguments], input=stdin, capture_output=True, text=True, timeout=PATIENCE_SECONDS,
            cwd=self.folder, env=self.environment | (env or {}), check=False,
        )  # fmt: skip
        return Answer(done.returncode, done.stdout, done.stderr)

    def shell(self, script: str, *arguments: str) -> Answer:
        """Run a command from a shell script, which has it as its arguments."""
        done = subprocess.run(
            ["sh", "-c", script, "sh", *SEGUE, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=PATIENCE_SECONDS, cwd=self.folder, env=self.environment, check=False,
        )  # fmt: skip
        return Answer(done.returncode, done.stdout, done.stderr)

    def started(self, *arguments: str, env: dict[str, str] | None = None) -> AbstractContextManager[Running]:
        """A command that goes on; killed at the end if it still does."""
        return self._started([*SEGUE, *arguments], env)

    def program(self, text: str) -> AbstractContextManager[Running]:
        """A Python program of somebody who uses Segue; killed at the end."""
        return self._started([sys.executable, "-c", text], None)

    @contextmanager
    def _started(self, command: Sequence[str], env: dict[str, str] | None) -> Generator[Running]:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            cwd=self.folder, env=self.environment | (env or {}),
        )  # fmt: skip
        running = Running(process)
        try:
            yield running
        finally:
            process.kill()
            running.finish()

    def runs(self) -> list[dict[str, Any]]:
        """All runs, newest first."""
        answer = self.segue("runs", "--json", "--limit", "200")
        return [] if answer.code else answer.json["runs"]


class Running:
    """A command under way, its output read as it comes."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._out: list[str] = []
        self._err: list[str] = []
        self._threads = [
            threading.Thread(target=self._read, args=(stream, lines), daemon=True)
            for stream, lines in ((process.stdout, self._out), (process.stderr, self._err))
        ]
        for thread in self._threads:
            thread.start()

    @staticmethod
    def _read(stream: Any, lines: list[str]) -> None:
        with stream:
            lines.extend(iter(stream.readline, ""))

    @property
    def out(self) -> str:
        return "".join(self._out)

    @property
    def err(self) -> str:
        return "".join(self._err)

    def wait_for(self, pattern: str) -> re.Match[str]:
        """What fits in its output, once it is there."""
        found: list[re.Match[str]] = []

        def there() -> bool:
            match = re.search(pattern, f"{self.out}\n{self.err}")
            if match is not None:
                found.append(match)
            elif self.process.poll() is not None:
                raise AssertionError(f"it ended ({self.process.returncode}) without {pattern!r}: {self.out}{self.err}")
            return bool(found)

        wait_until(there, lambda: f"{pattern!r} in {self.out}{self.err}")
        return found[0]

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def finish(self) -> Answer:
        """Wait for its end."""
        code = self.process.wait(PATIENCE_SECONDS)
        for thread in self._threads:
            thread.join(PATIENCE_SECONDS)
        return Answer(code, self.out, self.err)


def wait_until(holds: Callable[[], bool], what: Callable[[], str] = lambda: "it") -> None:
    """Wait for something to become true; an AssertionError if it does not for a minute."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, f"waited in vain for {what()}"
        time.sleep(0.02)


class Terminal:
    """A command on a terminal of 100 by 30 characters."""

    def __init__(self, commands: Commands, *arguments: str) -> None:
        self._terminal, inner = pty.openpty()
        fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
        environment = {name: value for name, value in commands.environment.items() if name != "COLUMNS"}
        self.process = subprocess.Popen(
            [*SEGUE, *arguments], stdin=inner, stdout=inner, stderr=inner, cwd=commands.folder,
            env=environment | {"TERM": "xterm-256color"}, start_new_session=True,
        )  # fmt: skip
        os.close(inner)
        self.raw = ""

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.wait(PATIENCE_SECONDS)
        os.close(self._terminal)

    @property
    def text(self) -> str:
        """What was written, without control sequences."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.raw)

    def wait_for(self, pattern: str) -> re.Match[str]:
        """What fits in the text, once it is there."""
        found: re.Match[str] | None = None

        def there() -> bool:
            nonlocal found
            goes_on = self._read()
            found = re.search(pattern, self.text)
            return found is not None or not goes_on

        wait_until(there, lambda: f"{pattern!r} in {self.text}")
        assert found is not None, f"it ended without {pattern!r}: {self.text}"
        return found

    def finish(self) -> int:
        """The exit code, once everything has been read."""
        wait_until(lambda: not self._read(), lambda: f"the end of {self.text}")
        return self.process.wait(PATIENCE_SECONDS)

    def _read(self) -> bool:
        """Take what is there; False once nothing more comes."""
        while select.select([self._terminal], [], [], 0)[0]:
            try:
                data = os.read(self._terminal, 65536)
            except OSError:  # Linux says so when the other side has closed
                return False
            if not data:
                return False
            self.raw += data.decode("utf-8", "replace")
        return True


@dataclass
class Receiver:
    """Answers every request, and counts requests and effects: one effect a key, as a good target has it."""

    requests: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    """(path, idempotency key) pairs in the order of their arrival."""
    delay_seconds: float = 0.0
    address: str = ""

    @property
    def effects(self) -> Counter[str]:
        """How often each path took effect: a key counts once."""
        return Counter(path for path, _ in set(self.requests))

    @property
    def keys(self) -> Counter[str]:
        """Different keys of each path."""
        return Counter(path for path, _ in {(path, key) for path, key in self.requests})


@contextmanager
def receiver(delay_seconds: float = 0.0) -> Generator[Receiver]:
    """A local receiver."""
    counting = Receiver(delay_seconds=delay_seconds)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("content-length") or 0))
            counting.requests.append((self.path, self.headers.get("idempotency-key") or ""))
            time.sleep(counting.delay_seconds)
            body = json.dumps({"path": self.path}).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: the tests' own output is enough."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    counting.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield counting
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
