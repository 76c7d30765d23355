"""`segue schema`: the JSON Schema of flows, for editors and other programs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from segue.cli.errors import SUCCEEDED
from segue.errors import RequestError


def schema(
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="FILE", help="Write it to this file, not to stdout.")
    ] = None,
) -> int:
    """Print the JSON Schema (draft 2020-12) of flow files, with which editors complete and check them."""
    from segue.flow.schema import schema_text

    text = schema_text()
    if output is None or output == "-":
        sys.stdout.write(text)
        return SUCCEEDED
    try:
        Path(output).write_text(text, encoding="utf-8")
    except OSError as error:
        raise RequestError(f"{output} cannot be written: {error.strerror}") from error
    return SUCCEEDED
