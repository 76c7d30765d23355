"""Every operation of a server by its name, as its own OpenAPI document describes them: what a client calls that has no
method of its own for something.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, TypeVar, cast
from urllib.parse import quote

import msgspec

from segue.errors import EngineError, RequestError
from segue.flow.nearest import did_you_mean

_NAME: Final = re.compile(r"\{(\w+)\}")
KEY_HEADER: Final = "idempotency-key"
T = TypeVar("T")


class Call(NamedTuple):
    """One request, ready to be sent."""

    method: str
    path: str
    query: list[tuple[str, str]]
    headers: dict[str, str]
    takes_key: bool
    """Whether an idempotency key makes a repetition of it harmless."""


class _Parameter(msgspec.Struct):
    name: str
    place: str = msgspec.field(name="in")


class _Operation(msgspec.Struct, rename="camel"):
    operation_id: str
    parameters: list[_Parameter] = []


class _Document(msgspec.Struct):
    paths: dict[str, dict[str, _Operation]]


class Operations:
    """The operations of one server."""

    def __init__(self, document: bytes) -> None:
        """`document`: what `/openapi.json` answered. Raises msgspec.MsgspecError for something else."""
        found = msgspec.json.decode(document, type=_Document)
        self._known = {
            operation.operation_id: (method.upper(), path, operation)
            for path, methods in found.paths.items()
            for method, operation in methods.items()
        }

    @property
    def names(self) -> list[str]:
        """All of them, in alphabetical order."""
        return sorted(self._known)

    def call(self, name: str, given: Mapping[str, Any]) -> Call:
        """The request of an operation with parameters of its path, query and headers (`if_match`) by their names; None
        leaves one out. Raises RequestError for a name that it has not got, or for one of the path that is missing.
        """
        if name not in self._known:
            hint = did_you_mean(name, self.names) or "see /openapi.json"
            raise RequestError(f"this server has no operation {name!r}; {hint}")
        method, path, operation = self._known[name]
        places = {one.name.lower().replace("-", "_"): one for one in operation.parameters}
        in_path = _NAME.findall(path)
        unknown = sorted(set(given) - places.keys() - set(in_path))
        if unknown:
            known = ", ".join(sorted({*places, *in_path})) or "none"
            raise RequestError(f"{name} has no parameter {unknown[0]!r}; it takes: {known}")
        missing = [one for one in in_path if given.get(one) is None]
        if missing:
            raise RequestError(f"{name} needs {missing[0]!r}")
        query, headers = list[tuple[str, str]](), dict[str, str]()
        for key, value in given.items():
            if key in in_path or value is None:
                continue
            if places[key].place == "header":
                headers[places[key].name] = str(value)
            else:
                query += [(places[key].name, _text(one)) for one in _each(value)]
        filled = _NAME.sub(lambda match: quote(str(given[match[1]]), safe=""), path)
        return Call(method, filled, query, headers, KEY_HEADER.replace("-", "_") in places)


def _each(value: object) -> list[object]:
    return list(cast("list[object]", value)) if isinstance(value, list | tuple) else [value]


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def record_of(answer: object, record: type[T], operation: str) -> T:
    """An answer (bytes of JSON, or a row of one) as a record. Raises EngineError for one that does not fit."""
    try:
        if isinstance(answer, bytes):
            return msgspec.json.decode(answer, type=record)
        return msgspec.convert(answer, record)
    except msgspec.MsgspecError as error:
        raise EngineError(f"{operation} answered with something else than {record.__name__}: {error}") from error


def items_of(page: object) -> tuple[list[Any], str | None]:
    """The rows of a page, which is a list or has one, and where the next page begins."""
    if isinstance(page, list):
        return cast("list[Any]", page), None
    fields = cast("dict[str, Any]", page) if isinstance(page, dict) else {}
    rows = [cast("list[Any]", value) for value in fields.values() if isinstance(value, list)]
    if len(rows) != 1:
        raise RequestError("this operation answers with no list; use `call`")
    return rows[0], fields.get("next_cursor")
