"""Write the Python of the gRPC contract anew from `src/segue/wire/engine.proto`; `--check`: is it up to date?

The messages only: services are a handful of lines on both sides, typed by hand, which the generator's are not.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
SOURCE: Final = ROOT / "src/segue/wire/engine.proto"


def generated() -> dict[Path, str]:
    """What the files should hold."""
    with tempfile.TemporaryDirectory() as folder:
        root = ROOT / "src"
        made = (f"--proto_path={root}", f"--python_out={folder}", f"--pyi_out={folder}", str(SOURCE.relative_to(root)))
        subprocess.run([sys.executable, "-W", "ignore", "-m", "grpc_tools.protoc", *made], cwd=root, check=True)
        return {root / path.relative_to(folder): path.read_text() for path in sorted(Path(folder).rglob("*_pb2.py*"))}


def main() -> int:
    """Exit status 1 if `--check` finds a file that is not up to date."""
    stale = [path for path, text in generated().items() if not path.exists() or path.read_text() != text]
    if "--check" in sys.argv:
        for path in stale:
            print(f"{path.relative_to(ROOT)} is not what engine.proto makes: run `make wire`")
        return 1 if stale else 0
    for path, text in generated().items():
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
