"""A run's inputs as given on the command line: `--input name=value` and `--inputs FILE`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from segue.cli.flow_file import read_bytes
from segue.errors import InvalidFlowError, RequestError


def gather_inputs(pairs: Iterable[str] | None, file: str | None, schema: dict[str, Any]) -> dict[str, Any]:
    """What was given, not yet checked: the file's values, then the pairs, which win. `schema` gives pairs their type.

    Raises RequestError for what cannot be read.
    """
    from segue.flow.inputs import parse_cli_value

    given = {} if file is None else _from_file(file)
    properties = _map(schema.get("properties"))
    for pair in pairs or ():
        name, found, text = pair.partition("=")
        if not found or not name:
            raise RequestError(f"--input {pair!r}: write NAME=VALUE")
        given[name] = parse_cli_value(text, _map(properties.get(name)))
    return given


def _map(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _from_file(file: str) -> dict[str, Any]:
    from segue.flow.yaml_source import read_source

    document, problems = read_source(read_bytes(file, "input"), file=file)
    errors = [problem for problem in problems if problem.severity == "error"]
    if errors:
        raise InvalidFlowError(f"the inputs of {file} cannot be read", errors)
    value = None if document is None else document.root.plain()
    if document is None or value is None:
        return {}
    if not isinstance(value, dict):
        raise RequestError(f"the inputs of {file} are a map of names and values, not {document.root.kind_name()}")
    return value
