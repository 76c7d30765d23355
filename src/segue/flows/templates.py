"""Templates, built in or of a workspace: texts with `<<name>>` where a parameter is to stand, to make flows of.

A parameter is put in as a value, never as text: whatever it holds, the flow has it at that place and is otherwise what
the template says.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from importlib import resources
from typing import Any, Final, Literal, cast

import msgspec

from segue.errors import ConflictError, InvalidFlowError, InvalidInputError, NotFoundError
from segue.flow import Block, Flow, resolve_inputs
from segue.flow.document import Node
from segue.flow.edit.write import flow_text, scalar_text
from segue.flow.model import JsonValue, RawMap
from segue.flow.problems import Patch
from segue.flow.yaml_source import read_source
from segue.flows.names import refuse_bad_id
from segue.flows.patching import patched
from segue.flows.records import Author
from segue.store.tables import Row, Sql, Tables

_PLACE: Final = re.compile(r"<<([A-Za-z_]\w{0,99})>>")
_COLUMNS: Final = "SELECT id, name, description, category, tags, parameters, source FROM flow_template"
TEMPLATES_MAX: Final = 1_000
"""Templates of one workspace."""


class Template(msgspec.Struct, frozen=True, kw_only=True):
    """A template. `parameters` is a JSON Schema (draft 2020-12, type object)."""

    id: str
    name: str
    description: str | None = None
    category: str | None = None
    tags: tuple[str, ...] = ()
    parameters: RawMap = {}
    text: str
    origin: Literal["built-in", "stored"] = "stored"


class Templates:
    """The templates of all workspaces, and those that come with Segue. A stored one goes before a built-in one."""

    def __init__(self, tables: Tables, now: Callable[[], int]) -> None:
        self._tables = tables
        self._now = now

    async def list(self, workspace: str) -> list[Template]:
        """The built-in ones, then the workspace's, by id."""
        rows = await self._tables.ask(
            lambda sql: sql.rows(f"{_COLUMNS} WHERE workspace = ? ORDER BY id LIMIT ?", workspace, TEMPLATES_MAX)
        )
        stored = [_template(row) for row in rows]
        taken = {one.id for one in stored}
        return [*(one for one in built_in().values() if one.id not in taken), *stored]

    async def get(self, workspace: str, id: str) -> Template:
        """Raises NotFoundError."""
        row = await self._tables.ask(lambda sql: sql.row(f"{_COLUMNS} WHERE workspace = ? AND id = ?", workspace, id))
        found = built_in().get(id) if row is None else _template(row)
        if found is None:
            raise NotFoundError(f"there is no template {id!r}")
        return found

    async def create(self, workspace: str, template: Template, author: Author) -> Template:
        """Keep a template. Raises ConflictError if the id is taken, InvalidInputError, InvalidFlowError."""
        refuse_bad_id(template.id)
        _places(template)

        def create(sql: Sql) -> None:
            there = sql.row("SELECT 1 FROM flow_template WHERE workspace = ? AND id = ?", workspace, template.id)
            if there is not None:
                raise ConflictError(f"there is a template {template.id!r} already; delete it, or take another id")
            count = sql.row("SELECT count(*) FROM flow_template WHERE workspace = ?", workspace)
            if count is not None and count[0] >= TEMPLATES_MAX:
                raise ConflictError(f"a workspace has at most {TEMPLATES_MAX:,} templates")
            sql.run(
                "INSERT INTO flow_template VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                workspace, template.id, template.name, template.description, template.category,
                msgspec.json.encode(template.tags).decode(), msgspec.json.encode(template.parameters).decode(),
                template.text, self._now(), author.name,
            )  # fmt: skip

        await self._tables.change(create)
        return template

    async def delete(self, workspace: str, id: str) -> None:
        """Delete a workspace's template; flows that were made of it stay. Raises NotFoundError."""
        statement = "DELETE FROM flow_template WHERE workspace = ? AND id = ?"
        if not await self._tables.change(lambda sql: sql.run(statement, workspace, id)):
            raise NotFoundError(f"this workspace has no template {id!r} of its own")


def filled(template: Template, given: Mapping[str, JsonValue], id: str | None) -> str:
    """The text of a flow from a template. `id` stands for the parameter of that name. Raises InvalidInputError for
    parameters that do not fit its schema, InvalidFlowError for a template that cannot be read.
    """
    if id is not None and "id" in _properties(template):
        given = {**given, "id": id}
    schema = Flow(id=template.id, root=Block(label="root"), inputs=template.parameters)
    values = resolve_inputs(schema, given)
    text, nodes = _places(template)
    patches: list[Patch] = []
    for node in nodes:
        written = node.text or ""
        whole = _PLACE.fullmatch(written)
        value = values.get(whole[1]) if whole else _PLACE.sub(lambda found: _word(values.get(found[1])), written)
        made = flow_text(value) if isinstance(value, (dict, list)) else scalar_text(value)
        patches.append(Patch(start=node.start, end=node.end, text=made))
    return patched(text, patches)


@cache
def built_in() -> Mapping[str, Template]:
    """The templates that come with Segue, by id."""
    folder = resources.files("segue.flows") / "built_in"
    found: dict[str, Template] = {}
    for file in sorted(folder.iterdir(), key=lambda one: one.name):
        id = file.name.removesuffix(".meta.yaml")
        if id == file.name:
            continue
        document, _ = read_source(file.read_text("utf-8"), file=file.name)
        assert document is not None, f"{file.name} is a map"
        about = cast("dict[str, Any]", document.root.plain())
        text = (folder / f"{id}.yaml").read_text("utf-8")
        found[id] = msgspec.convert({**about, "id": id, "text": text, "origin": "built-in"}, Template)
    return found


def _places(template: Template) -> tuple[str, list[Node]]:
    """The text without a byte order mark, and the values in it that have a place. Raises InvalidFlowError,
    InvalidInputError for a place that no parameter is for.
    """
    document, problems = read_source(template.text, file=f"{template.id}.yaml")
    if document is None or document.text is None or any(problem.severity == "error" for problem in problems):
        raise InvalidFlowError(f"the template {template.id!r} cannot be read", problems)
    found: list[Node] = []
    _gather(document.root, found)
    known = _properties(template)
    for node in found:
        for name in _PLACE.findall(node.text or ""):
            if name not in known:
                message = f"<<{name}>> ({node.path()}) is no parameter; declare it under properties"
                raise InvalidInputError(message, [("parameters", message)])
    return document.text, found


def _gather(node: Node, found: list[Node]) -> None:
    if node.entries is not None:
        for child in node.entries.values():
            _gather(child, found)
    elif node.items is not None:
        for child in node.items:
            _gather(child, found)
    elif node.text is not None and _PLACE.search(node.text):
        found.append(node)


def _properties(template: Template) -> Mapping[str, object]:
    properties = template.parameters.get("properties")
    return properties if isinstance(properties, dict) else {}


def _word(value: JsonValue) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _template(row: Row) -> Template:
    return Template(
        id=row[0], name=row[1], description=row[2], category=row[3],
        tags=tuple(msgspec.json.decode(row[4], type=list[str])), parameters=msgspec.json.decode(row[5]), text=row[6],
    )  # fmt: skip
