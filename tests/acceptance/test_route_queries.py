"""Every question that a route asks the database while it reads is answered through an index, and in the index' order.

The routes are taken from the OpenAPI document and asked with each of their filters, so that new ones are
looked at, too.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import apsw
import pytest

from acceptance.api_support import Served, ShiftedClock, serve
from acceptance.test_isolation import CANARY, FLOW, Operation, seed
from segue.store.sqlite_sql import SqliteSql

pytestmark = pytest.mark.anyio

SMALL = {
    "workspace": "a server has tens of them",
    "data_key": "one a workspace",
}
"""Tables that may be read from end to end, and why."""
MEANT = {
    "instr(f.draft, ?)": "which flows name this one: texts of the workspace's live flows are read, a page of them",
    "SELECT substr(sealed, 2, 8), count(*) FROM": "how much each encryption key holds: asked by hand, now and then",
    "FROM flow_search": "a full-text search is put in order by rank, which no index has",
}
"""What is in statements that read or sort more, and why."""
SAMPLES = {
    "status": "failed", "kind": "webhook", "state": "kept", "outcome": "started", "sort": "name",
    "since": "2026-01-01T00:00:00Z",
    "until": "2027-01-01T00:00:00Z", "limit": "1", "flow": CANARY, "flow_id": CANARY, "tag": "t", "q": "canary",
}  # fmt: skip


@pytest.fixture
async def served(tmp_path: Path) -> AsyncGenerator[Served]:
    folder = tmp_path / "flows"
    folder.mkdir()
    (folder / "one.yaml").write_text(FLOW.format(word=CANARY), encoding="utf-8")
    async with serve(f"sqlite:///{tmp_path / 'x.db'}", folders=(folder,), clock=ShiftedClock()) as found:
        yield found


def sample(parameter: dict[str, Any]) -> str:
    schema = parameter["schema"]
    choices = [schema, *schema.get("anyOf", []), schema.get("items", {})]
    for one in choices:
        if "enum" in one:
            return str(one["enum"][0])
    if parameter["name"] in SAMPLES:
        return SAMPLES[parameter["name"]]
    kinds = {one.get("type") for one in choices}
    return "1" if kinds & {"integer", "number"} else "true" if "boolean" in kinds else "x"


async def ask_all(served: Served, ids: dict[str, str]) -> int:
    """Ask every GET as it is, with each filter, and for its second page."""
    document, asked = await served.get("/openapi.json"), 0
    for path, methods in document["paths"].items():
        if "get" not in methods or path.endswith("/events"):
            continue
        at = Operation("GET", path, None, False, False).at(ids)
        named = [one for one in methods["get"].get("parameters", []) if one["in"] == "query"]
        queries: list[dict[str, str]] = [{}, *({one["name"]: sample(one)} for one in named)]
        for query in queries:
            answer = await served.client.get(at, params=query)
            assert answer.status_code < 500 or answer.status_code == 501, f"{path} {query}: {answer.text}"
            asked += 1
            page = answer.json() if answer.headers.get("content-type") == "application/json" else {}
            if isinstance(page, dict) and page.get("next_cursor"):
                await served.client.get(at, params={**query, "cursor": page["next_cursor"]})
    return asked


@pytest.mark.slow
@pytest.mark.req("OPS-4.routes")
async def test_whatever_a_route_reads_is_read_through_an_index(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with AsyncExitStack() as stack:
        ids = await seed(served, "default", stack)
        for number in range(3):  # so that lists of one have a second page
            await served.client.post("/api/v1/schedules", json={"flow": ids["flow_id"], "every": f"{number + 2}h"})
            await served.client.post(f"/api/v1/flows/{ids['flow_id']}/runs", json={})
        statements: dict[str, tuple[Any, ...]] = {}
        for name in ("rows", "row"):
            original = getattr(SqliteSql, name)

            def recorded(self: SqliteSql, statement: str, *values: Any, original: Any = original) -> Any:
                statements.setdefault(statement, values)
                return original(self, statement, *values)

            monkeypatch.setattr(SqliteSql, name, recorded)
        assert await ask_all(served, ids) > 150
    assert len(statements) > 30
    faults = []
    with apsw.Connection(str(tmp_path / "x.db"), flags=apsw.SQLITE_OPEN_READONLY) as db:
        tables = {name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        for statement, values in statements.items():
            if any(part in statement for part in MEANT):
                continue
            steps = [str(row[3]) for row in db.execute(f"EXPLAIN QUERY PLAN {statement}", values)]
            scanned = {step.split()[1] for step in steps if step.startswith("SCAN")} & tables
            is_full = [table for table in scanned - set(SMALL) if not any(
                step.startswith(f"SCAN {table} ") and "INDEX" in step for step in steps
            )]  # fmt: skip
            sorts = any("TEMP B-TREE FOR ORDER BY" in step for step in steps)
            if is_full or (sorts and not scanned & set(SMALL)):
                faults.append(f"{' '.join(statement.split())[:400]}\n    {steps}")
    assert faults == [], "\n" + "\n".join(faults)
