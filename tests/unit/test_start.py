"""What a program that embeds Segue waits for before its first run: nothing that most programs never use."""

from __future__ import annotations

import subprocess
import sys

import pytest

SLOW = (
    "aiohttp",
    "cryptography",
    "fastapi",
    "grpc",
    "pydantic",
    "re2",
    "rich",
    "structlog",
    "typer",
    "uvicorn",
    "yarl",
)


@pytest.mark.req("DUR-1.start")
def test_an_engine_in_a_program_starts_without_what_takes_long_to_load() -> None:
    program = "import sys, segue; segue.Segue('memory:'); print(*sys.modules)"
    told = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    assert [name for name in SLOW if name in told.split()] == []
