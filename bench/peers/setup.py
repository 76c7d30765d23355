"""Makes the bench-only environments of the peers under bench/.peers, from PyPI and npm by their ordinary clients.

A peer that cannot be installed is left out and said so; the benchmark then runs without it. What is there already in
the pinned versions is kept. Run it as `python -m bench.peers.setup`.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1] / ".peers"
PYTHON_PEERS = {
    "dbos": ("dbos==3.4.0", "uvloop==0.23.0"),
    "restate": ("restate-sdk==1.3.0", "hypercorn==0.18.0", "uvloop==0.23.0"),
}
RESTATE_SERVER = ("@restatedev/restate-server", "1.7.12")
INSTALL_SECONDS_MAX = 600


class InstallFailed(Exception):
    """An ordinary client could not install a peer; the message is the last line that it said."""


def python_of(peer: str) -> Path:
    """The interpreter of a peer's environment; it need not exist."""
    return ROOT / peer / "bin" / "python"


def restate_server() -> Path | None:
    """The Restate server's binary for this machine, if npm has installed it."""
    found = sorted((ROOT / "restate-npm").glob("node_modules/@restatedev/restate-server-*/bin/restate-server"))
    return found[0] if found else None


def missing(peer: str) -> str | None:
    """Why a peer cannot be measured now; None if it can."""
    if not (ROOT / peer / "installed.json").exists():
        return f"{peer}: not installed (python -m bench.peers.setup)"
    if peer == "restate" and restate_server() is None:
        return "restate: no server binary for this machine"
    return None


def _run(*command: str | Path, cwd: Path | None = None) -> None:
    try:
        subprocess.run(
            [str(part) for part in command],
            cwd=cwd,
            check=True,
            capture_output=True,
            text=True,
            timeout=INSTALL_SECONDS_MAX,
        )
    except subprocess.CalledProcessError as error:
        said = (error.stderr or error.stdout or "nothing").strip().splitlines()
        raise InstallFailed(f"{Path(command[0]).name}: {said[-1]}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InstallFailed(str(error)) from error


def _install_python(peer: str, packages: tuple[str, ...]) -> None:
    beside = Path(sys.executable).parent / "uv"
    uv = str(beside) if beside.exists() else shutil.which("uv")
    if uv:
        _run(uv, "venv", "--quiet", "--clear", "--python", sys.executable, ROOT / peer)
        _run(uv, "pip", "install", "--quiet", "--python", python_of(peer), *packages)
    else:
        _run(sys.executable, "-m", "venv", "--clear", ROOT / peer)
        _run(python_of(peer), "-m", "pip", "install", "--quiet", *packages)


def _install_restate_server() -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise InstallFailed("npm is not on this machine")
    folder = ROOT / "restate-npm"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "package.json").write_text('{"private": true}\n')
    name, version = RESTATE_SERVER
    # No install scripts: the binary is shipped inside the package of this platform.
    _run(npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "--save-exact", f"{name}@{version}", cwd=folder)
    if restate_server() is None:
        raise InstallFailed(f"{name}@{version} brought no binary for this machine")


def install(peer: str) -> None:
    """Install one peer in its pinned versions. Raises InstallFailed."""
    wanted = {"python": list(PYTHON_PEERS[peer]), "npm": list(RESTATE_SERVER) if peer == "restate" else []}
    marker = ROOT / peer / "installed.json"
    if marker.exists() and json.loads(marker.read_text()) == wanted and missing(peer) is None:
        return
    ROOT.mkdir(parents=True, exist_ok=True)
    _install_python(peer, PYTHON_PEERS[peer])
    if peer == "restate":
        _install_restate_server()
    marker.write_text(json.dumps(wanted) + "\n")


def main() -> int:
    """Install all peers; the number of those left out is the exit status."""
    left_out = 0
    for peer, packages in PYTHON_PEERS.items():
        try:
            install(peer)
        except InstallFailed as error:
            left_out += 1
            print(f"{peer}: LEFT OUT, {error}")
        else:
            server = (f"{RESTATE_SERVER[0]}@{RESTATE_SERVER[1]}",) if peer == "restate" else ()
            print(f"{peer}: ready ({', '.join(packages + server)})")
    return left_out


if __name__ == "__main__":
    sys.exit(main())
