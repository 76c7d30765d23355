"""The fenced blocks of Markdown pages, their markers, and the comparison of printed output with what a page shows.

Markers are HTML comments on the lines before a block; `docs/contributing.md` lists them.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_MARKER = re.compile(r"<!-- (?P<word>run|outputs|gives|not run|output)(?:: ?| )?(?P<value>.*?) ?-->\s*$")


@dataclass(frozen=True)
class Block:
    """One fenced block. `markers` are the comments right before it, by their word."""

    page: str
    line: int
    language: str
    text: str
    markers: dict[str, str]

    @property
    def name(self) -> str:
        return f"{self.page}:{self.line}"

    def json_marker(self, word: str) -> dict:
        return json.loads(self.markers.get(word) or "{}")


def pages() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks_of(page: Path) -> list[Block]:
    name = page.relative_to(ROOT).as_posix()
    return list(_blocks(name, page.read_text(encoding="utf-8")))


def _blocks(name: str, text: str):
    markers: dict[str, str] = {}
    lines = iter(enumerate(text.splitlines(), 1))
    for number, line in lines:
        fence = re.match(r"(?P<fence>```+|~~~+)(?P<language>\w*)", line)
        if fence is None:
            marker = _MARKER.match(line)
            if marker is not None:
                markers[marker["word"]] = marker["value"]
            elif line.strip():
                markers = {}
            continue
        inside: list[str] = []
        for _, line in lines:
            if line.startswith(fence["fence"]):
                break
            inside.append(line)
        yield Block(name, number, fence["language"], "\n".join(inside) + "\n", markers)
        markers = {}


def differences(expected: str, printed: str) -> str | None:
    """None if the output is as shown. `…` stands for any text in a line; alone on a line for any number of lines."""
    pattern = ""
    for line in expected.rstrip("\n").splitlines():
        if line.strip() == "…":
            pattern += r"(?:[^\n]*\n)*?"
        else:
            pattern += r"[^\n]*?".join(re.escape(part) for part in line.rstrip().split("…")) + r"[ \t]*\n"
    text = "".join(line.rstrip() + "\n" for line in printed.splitlines())
    if re.fullmatch(pattern, text):
        return None
    return f"the page shows:\n{expected}\nit printed:\n{printed}"


@dataclass(frozen=True)
class Command:
    """One command of a console block and the output shown under it."""

    text: str
    shown: str


def commands_of(block: Block) -> list[Command]:
    """`$ command` lines with what follows; a command that ends in a backslash goes on in the next line."""
    found: list[tuple[list[str], list[str]]] = []
    goes_on = False
    for line in block.text.splitlines():
        if line.startswith("$ "):
            found.append(([line[2:]], []))
        elif goes_on:
            found[-1][0].append(line)
        else:
            assert found, f"{block.name}: a console block begins with `$ command`"
            found[-1][1].append(line)
        goes_on = line.endswith("\\") and not found[-1][1]
    return [Command("\n".join(words), "\n".join(shown)) for words, shown in found]
