"""Steps that every flow of a workspace may use by name, written as in a file's `definitions:`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from segue.errors import ConflictError, InvalidFlowError, InvalidInputError, NotFoundError, StaleError
from segue.flow import read_flow
from segue.flow.document import Node
from segue.flow.model import JsonValue
from segue.flow.tree import tree_of
from segue.flow.yaml_source import read_source
from segue.flows.cache import Cache
from segue.flows.records import Author
from segue.store.tables import Row, Sql, Tables

STEPS_MAX: Final = 1_000
"""Saved steps of one workspace: all are at hand whenever one of its flows is read."""
BODY_BYTES_MAX: Final = 64 * 1024
NAME: Final = re.compile(r"[^\W\d]\w{0,99}\Z")
_COLUMNS: Final = "SELECT name, description, body, revision, updated_at, updated_by FROM saved_step"


class SavedStep(msgspec.Struct, frozen=True, kw_only=True):
    """A saved step. `body` is YAML or JSON: a step's keys, or a list of steps."""

    name: str
    description: str | None
    body: str
    revision: int
    updated_at: int
    updated_by: str


class SavedSteps:
    """The saved steps of all workspaces. Flows that are read take them in; versions that were made keep theirs."""

    def __init__(self, tables: Tables, now: Callable[[], int], seconds: Callable[[], float]) -> None:
        self._tables = tables
        self._now = now
        self._nodes: Cache[str, Mapping[str, Node]] = Cache(seconds)
        self.changes = 0
        """Counts what this process changed: what was read before may read otherwise now."""

    async def list(self, workspace: str, *, after: str = "", limit: int = STEPS_MAX) -> list[SavedStep]:
        """By name, those after `after`."""
        rows = await self._tables.ask(
            lambda sql: sql.rows(
                f"{_COLUMNS} WHERE workspace = ? AND name > ? ORDER BY name LIMIT ?", workspace, after, limit
            )
        )
        return [_step(row) for row in rows]

    async def get(self, workspace: str, name: str) -> SavedStep:
        """Raises NotFoundError."""
        return await self._tables.ask(lambda sql: _get(sql, workspace, name))

    async def put(
        self, workspace: str, name: str, body: str, author: Author, *, description: str | None = None,
        expected: int | None,
    ) -> SavedStep:  # fmt: skip
        """Save a step. `expected`: the revision that it is to replace, 0 for a new one, None for any.

        Raises InvalidInputError for a name that is none, InvalidFlowError for a body that is no step, StaleError.
        """
        _refuse_bad_name(name)
        self._refuse_bad_body(name, body)

        def put(sql: Sql) -> SavedStep:
            there = _find(sql, workspace, name)
            revision = 0 if there is None else there.revision
            if expected is not None and expected != revision:
                raise StaleError(
                    f"the saved step {name!r} is at revision {revision}, not {expected}; read it again",
                    revision=revision,
                )
            count = sql.row("SELECT count(*) FROM saved_step WHERE workspace = ?", workspace)
            if there is None and count is not None and count[0] >= STEPS_MAX:
                raise ConflictError(f"a workspace has at most {STEPS_MAX:,} saved steps; delete one that nobody uses")
            sql.run(
                "INSERT INTO saved_step VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (workspace, name) DO UPDATE SET"
                " description = excluded.description, body = excluded.body, revision = excluded.revision,"
                " updated_at = excluded.updated_at, updated_by = excluded.updated_by",
                workspace, name, description, body, revision + 1, self._now(), author.name,
            )  # fmt: skip
            return _get(sql, workspace, name)

        made = await self._tables.change(put)
        self._changed(workspace)
        return made

    async def delete(self, workspace: str, name: str) -> None:
        """Versions that were made with it go on as they are. Raises NotFoundError."""

        def delete(sql: Sql) -> None:
            _get(sql, workspace, name)
            sql.run("DELETE FROM saved_step WHERE workspace = ? AND name = ?", workspace, name)

        await self._tables.change(delete)
        self._changed(workspace)

    async def nodes(self, workspace: str) -> Mapping[str, Node]:
        """All of a workspace as the reader of flows takes them; known for a while."""
        return await self._nodes.get(workspace, lambda: self._load(workspace))

    def _changed(self, workspace: str) -> None:
        self.changes += 1
        self._nodes.drop(workspace)

    async def _load(self, workspace: str) -> Mapping[str, Node]:
        values = {step.name: _value(step.body) for step in await self.list(workspace)}
        document, _ = tree_of(values)
        return {} if document is None else dict(document.root.entries or {})

    @staticmethod
    def _refuse_bad_body(name: str, body: str) -> None:
        if len(body.encode("utf-8", "surrogatepass")) > BODY_BYTES_MAX:
            message = f"a saved step has at most {BODY_BYTES_MAX:,} bytes"
            raise InvalidInputError(message, [("body", message)])
        document, problems = read_source(body, file=f"{name}.yaml")
        if document is None or any(problem.severity == "error" for problem in problems):
            raise InvalidFlowError(f"the saved step {name!r} cannot be read", problems)
        if document.root.entries is None and document.root.items is None:
            message = "a saved step is a map of a step's keys, or a list of steps"
            raise InvalidInputError(message, [("body", message)])
        flow = {"flow": "check", "unbound": "allow", "definitions": {name: document.root.plain()}, "steps": [name]}
        found = read_flow(msgspec.json.encode(flow), file=f"{name}.yaml")
        wrong = [problem for problem in found.problems if problem.severity == "error"]
        if wrong:
            raise InvalidFlowError(f"the saved step {name!r} is none; the first error: {wrong[0].message}", wrong)


def _value(body: str) -> JsonValue:
    document, _ = read_source(body)
    return None if document is None else document.root.plain()


def _refuse_bad_name(name: str) -> None:
    if NAME.match(name) is None:
        message = f"{name[:100]!r} is no name of a step; use letters, digits and `_`, beginning with a letter"
        raise InvalidInputError(message, [("name", message)])


def _step(row: Row) -> SavedStep:
    return SavedStep(
        name=row[0], description=row[1], body=row[2], revision=row[3], updated_at=row[4], updated_by=row[5]
    )


def _find(sql: Sql, workspace: str, name: str) -> SavedStep | None:
    row = sql.row(f"{_COLUMNS} WHERE workspace = ? AND name = ?", workspace, name)
    return None if row is None else _step(row)


def _get(sql: Sql, workspace: str, name: str) -> SavedStep:
    found = _find(sql, workspace, name)
    if found is None:
        raise NotFoundError(f"there is no saved step {name!r}")
    return found
