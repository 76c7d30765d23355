"""Checks of the repository's text: links resolve, decisions are whole, nothing names a machine or a package registry.

`make check-docs` runs all of them over the files that Git tracks or would track. Every check is a function from text to
sentences, one a mistake, so that `tests/unit/test_house.py` can show that it finds planted mistakes.
"""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Written in pieces, because this file is checked too.
REGISTRY_HOSTS = (
    "pypi" + ".org",
    "pythonhosted" + ".org",
    "registry.npmjs" + ".org",
    "registry.yarnpkg" + ".com",
    "index.crates" + ".io",
    "static.crates" + ".io",
    "proxy.golang" + ".org",
    "deb.debian" + ".org",
)
MACHINE_PATH = re.compile(
    r"(?<![\w.>)\]}/-])/(?:" + "|".join(["work", "root", "tmp", "Users", r"home/[a-z_]\w*"]) + r")/[\w.]"
)
# npm writes addresses into its lock file by itself.
MAY_NAME_REGISTRIES = frozenset({"package-lock.json"})

FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
INLINE_CODE = re.compile(r"`[^`\n]*`")
LINK = re.compile(r"\]\((?P<target>[^()\s]+)(?:\s+\"[^\"]*\")?\)")
HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*$", re.MULTILINE)
DECISION_NAME = re.compile(r"^\d{4}-[a-z0-9-]+\.md$")
DECISION_SECTIONS = ("Context", "Decision", "Consequences")


def tracked_files(root: Path) -> list[Path]:
    """Files that Git tracks, or would if added. Raises CalledProcessError outside of a repository."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        check=True,
        capture_output=True,
    )
    names = listing.stdout.decode("utf-8").split("\0")
    return [root / name for name in names if name and (root / name).is_file()]


def read_text(path: Path) -> str | None:
    """The file's text, or None if it is not text."""
    raw = path.read_bytes()
    return None if b"\0" in raw else raw.decode("utf-8", errors="replace")


def foreign_names(name: str, text: str) -> list[str]:
    """Machine paths and registry hosts that the text names."""
    problems: list[str] = []
    for number, line in enumerate(text.splitlines(), start=1):
        for match in MACHINE_PATH.finditer(line):
            problems.append(f"{name}:{number}: a path of one machine: {match.group()}...")
        if Path(name).name not in MAY_NAME_REGISTRIES:
            problems.extend(f"{name}:{number}: a registry's host: {host}" for host in REGISTRY_HOSTS if host in line)
    return problems


def anchor_of(heading: str) -> str:
    """The anchor that Git hosts give a heading: lower case, punctuation gone, spaces to hyphens."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").lower()
    return re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")


@cache
def anchors_in(page: Path) -> frozenset[str]:
    """All anchors of a Markdown page; a repeated heading gets -1, -2 and so on."""
    seen: dict[str, int] = {}
    anchors: set[str] = set()
    for heading in HEADING.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        anchor = anchor_of(heading)
        count = seen.get(anchor, 0)
        anchors.add(f"{anchor}-{count}" if count else anchor)
        seen[anchor] = count + 1
    return frozenset(anchors)


def broken_links(page: Path, root: Path) -> list[str]:
    """Links of a Markdown page to files or headings that are not there. Addresses outside are not asked for."""
    name = page.relative_to(root).as_posix()
    text = INLINE_CODE.sub("", FENCE.sub("", page.read_text(encoding="utf-8")))
    problems: list[str] = []
    for match in LINK.finditer(text):
        target = match["target"].strip("<>")
        if re.match(r"[a-z][a-z0-9+.-]*:", target):
            continue
        path, _, anchor = target.partition("#")
        destination = (page.parent / path).resolve() if path else page
        if not destination.is_relative_to(root):
            problems.append(f"{name}: link {target} leads out of the repository")
        elif not destination.exists():
            problems.append(f"{name}: link {target}: no such file")
        elif anchor and destination.suffix == ".md" and anchor not in anchors_in(destination):
            problems.append(f"{name}: link {target}: no such heading")
    return problems


def incomplete_decision(name: str, text: str) -> list[str]:
    """What a decision record lacks: its numbered name, its title, its sections with text in them."""
    problems: list[str] = []
    if not DECISION_NAME.match(name):
        problems.append(f"docs/decisions/{name}: name it NNNN-words-with-hyphens.md")
    if not text.startswith(f"# {name[:4]} "):
        problems.append(f"docs/decisions/{name}: begin with '# {name[:4]} ' and the decision in a few words")
    for section in DECISION_SECTIONS:
        if not re.search(rf"^## {section}\n+[^#\s]", text, re.MULTILINE):
            problems.append(f"docs/decisions/{name}: section '## {section}' is missing or empty")
    return problems


def all_problems(root: Path) -> list[str]:
    """Every mistake in the repository's text."""
    problems: list[str] = []
    for path in tracked_files(root):
        name = path.relative_to(root).as_posix()
        text = read_text(path)
        if text is None:
            continue
        problems.extend(foreign_names(name, text))
        if path.suffix == ".md":
            problems.extend(broken_links(path, root))
        if path.parent == root / "docs" / "decisions":
            problems.extend(incomplete_decision(path.name, text))
    return problems


def main() -> int:
    """Print every mistake; exit status 1 if there is one."""
    problems = all_problems(ROOT)
    for problem in problems:
        print(problem, file=sys.stderr)
    if not problems:
        print("docs: links resolve, decisions are whole, no machine paths, no registry hosts")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
