"""Random operations on SQLite and on the memory twin give the same answers and leave the same data."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tests.examples import examples

from segue.store.port import CallbackRow, Commit, FlowVersion, JournalRow, LogRow, NewRun, RunFilter, RunHead, Store
from segue.store.rules import IDEMPOTENCY_KEY_MS, INLINE_BYTES_MAX
from segue.store.sqlite import SqliteStore
from segue.testing.memory_store import MemoryStore
from segue.testing.store_contract import queue

STATUSES = ["queued", "running", "waiting", "paused", "succeeded", "failed", "cancelled", "timed_out"]
RUN_KEYS = st.integers(1, 6)
TIMES = st.integers(0, 9) | st.sampled_from([IDEMPOTENCY_KEY_MS - 1, IDEMPOTENCY_KEY_MS, 2 * IDEMPOTENCY_KEY_MS])
TOKENS = st.sampled_from([b"a", b"b", b"c"])
PAYLOADS = st.binary(max_size=8) | st.sampled_from([65_536, 65_537, 70_000]).map(bytes)
HEADS = st.builds(
    RunHead,
    status=st.sampled_from(STATUSES),
    started_at=st.none() | st.integers(0, 9),
    finished_at=st.none() | st.integers(0, 9),
    wake_at=st.none() | st.integers(0, 9),
    recovered=st.booleans(),
    error=st.none() | st.text(max_size=5),
)
NEW_RUNS = st.builds(
    NewRun,
    run_id=st.sampled_from(["run_a", "run_b", "run_c", "run_d", "run_e"]),
    workspace=st.sampled_from(["v", "w"]),
    flow_id=st.sampled_from(["f", "g"]),
    flow_version=st.integers(1, 3),
    trigger=st.just("api"),
    created_at=TIMES,
    idempotency_key=st.none() | st.sampled_from(["k", "l"]),
    request_digest=st.none() | st.just("d"),
    parent_run_id=st.none() | st.just("run_a"),
)
LINES = st.builds(
    LogRow, at=TIMES, level=st.just("info"), step=st.text(max_size=3), message=st.text(max_size=9), data=PAYLOADS
)
FILTERS = st.builds(
    RunFilter,
    workspace=st.none() | st.sampled_from(["v", "w"]),
    flow_id=st.none() | st.sampled_from(["f", "g"]),
    statuses=st.lists(st.sampled_from(STATUSES), max_size=3).map(tuple),
    created_from=st.none() | TIMES,
    created_before=st.none() | TIMES,
)


class Mistake(NamedTuple):
    """How a commit's rows miss the journal: how many numbers too far, and whether one is left out in between."""

    shift: int
    gap: bool


FITS = Mistake(0, gap=False)
MISTAKES = st.sampled_from([FITS] * 6 + [Mistake(1, gap=False), Mistake(-1, gap=False), Mistake(0, gap=True)])


class StoresAgree(RuleBasedStateMachine):
    """`both` asks the same question of both stores and compares."""

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.runner = asyncio.Runner()
        self.memory: Store = MemoryStore()
        self.sqlite: Store = self.new_sqlite()
        self.next_seq: dict[int, int] = {}
        self.both("open")

    def new_sqlite(self) -> SqliteStore:
        return SqliteStore(Path(self.folder.name) / "model.db")

    def teardown(self) -> None:
        self.both("close")
        self.runner.close()
        self.folder.cleanup()

    def both(self, method: str, *args: object, **options: object) -> object:
        async def ask() -> tuple[object, object]:
            memory = await getattr(self.memory, method)(*args, **options)
            return memory, await getattr(self.sqlite, method)(*args, **options)

        memory, sqlite = self.runner.run(ask())
        assert memory == sqlite, method
        return memory

    def commit_all(self, commits: list[Commit]) -> list[type]:
        """Queue all of them in one turn of the loop, so that they share groups. Where one holds a large payload they go
        one by one: others may overtake it, and only the order within a run is promised.
        """
        is_large = any(len(row.data) > INLINE_BYTES_MAX for commit in commits for row in commit.rows)

        async def commit(store: Store) -> list[type]:
            if is_large:
                return [type(await queue(store, commit)) for commit in commits]
            return [type(error) for error in await asyncio.gather(*(queue(store, commit) for commit in commits))]

        memory, sqlite = self.runner.run(commit(self.memory)), self.runner.run(commit(self.sqlite))
        assert memory == sqlite
        return memory

    @rule(data=st.data(), number=st.integers(1, 6))
    def commit_a_group(self, data: st.DataObject, number: int) -> None:
        commits = [self.draw_commit(data) for _ in range(number)]
        for commit, error in zip(commits, self.commit_all(commits), strict=True):
            if error is type(None) and (commit.rows or commit.new_run):
                seq = 0 if commit.new_run else self.next_seq[commit.run_key]
                self.next_seq[commit.run_key] = seq + len(commit.rows)

    def draw_commit(self, data: st.DataObject) -> Commit:
        run_key = data.draw(RUN_KEYS)
        is_new = run_key not in self.next_seq if data.draw(st.integers(0, 9)) else data.draw(st.booleans())
        mistake = data.draw(MISTAKES)
        first = (0 if is_new else self.next_seq.get(run_key, 0)) + mistake.shift
        count = data.draw(st.integers(0, 3))
        rows = [
            JournalRow(first + n + (1 if mistake.gap and n else 0), 1, n, data.draw(TIMES), data.draw(PAYLOADS))
            for n in range(count)
        ]
        opened = data.draw(st.lists(TOKENS, max_size=1))
        return Commit(
            run_key=run_key,
            rows=rows,
            new_run=data.draw(NEW_RUNS) if is_new else None,
            head=data.draw(st.none() | HEADS),
            callbacks_opened=[self.callback(run_key, token) for token in opened],
            callbacks_closed=data.draw(st.lists(st.tuples(TOKENS, st.sampled_from(["used", "expired"])), max_size=1)),
            logs=data.draw(st.lists(LINES, max_size=2)),
        )

    @staticmethod
    def callback(run_key: int, token: bytes) -> CallbackRow:
        return CallbackRow(
            token_hash=token, run_key=run_key, step=1, generation=1, step_path="s", expires_at=9, created_at=1
        )

    @rule(run_key=RUN_KEYS, lines=st.lists(LINES, max_size=3))
    def log(self, run_key: int, lines: list[LogRow]) -> None:
        async def write() -> None:
            for store in (self.memory, self.sqlite):
                store.log(run_key, lines)

        self.runner.run(write())
        # A writing question is answered after what was queued before it.
        self.both("put_setting", "written", b"")

    @rule(name=st.sampled_from(["a", "b"]), value=st.binary(max_size=3), only_if_absent=st.booleans())
    def put_setting(self, name: str, value: bytes, only_if_absent: bool) -> None:
        self.both("put_setting", name, value, only_if_absent=only_if_absent)
        self.both("get_setting", name)

    @rule(flow=st.sampled_from(["f", "g"]), digest=st.sampled_from(["d", "e"]), at=TIMES)
    def put_flow_version(self, flow: str, digest: str, at: int) -> None:
        version = FlowVersion(
            key=0, workspace="w", flow_id=flow, digest=digest, version=None, model=b"{}", source="s", created_at=at
        )
        kept = self.both("put_flow_version", version)
        assert isinstance(kept, FlowVersion)
        self.both("get_flow_version", kept.key)

    @rule()
    def close_and_open(self) -> None:
        self.both("close")
        self.sqlite = self.new_sqlite()
        self.both("open")

    @rule(where=FILTERS, limit=st.integers(1, 4))
    def list_all_pages(self, where: RunFilter, limit: int) -> None:
        cursor: str | None = None
        for _ in range(10):
            page = self.both("list_runs", where, limit=limit, cursor=cursor)
            cursor = page.cursor  # pyright: ignore[reportAttributeAccessIssue]
            if cursor is None:
                return
        raise AssertionError("pages without end")

    @rule(run_key=RUN_KEYS, after=st.integers(-1, 3), limit=st.none() | st.integers(1, 3))
    def read_parts(self, run_key: int, after: int, limit: int | None) -> None:
        self.both("load_journal", run_key, after_seq=after, limit=limit)
        self.both("unfinished_runs", after_key=run_key, limit=limit or 9)

    @rule(now=st.integers(0, 9), workspace=st.none() | st.sampled_from(["v", "w"]))
    def ask_for_work(self, now: int, workspace: str | None) -> None:
        due = {store: self.runner.run(store.due_runs(now)) for store in (self.memory, self.sqlite)}
        # Runs of one moment come in any order.
        memory, sqlite = (
            sorted((run.wake_at, run.key) for run in runs if run.wake_at is not None) for runs in due.values()
        )
        assert memory == sqlite
        self.both("next_wake_at")
        self.both("count_runs", workspace)

    @invariant()
    def same_runs_journals_lines_and_callbacks(self) -> None:
        for run_key in range(1, 7):
            self.both("get_run_by_key", run_key)
            rows = self.both("load_journal", run_key)
            assert isinstance(rows, list)
            assert [row.seq for row in rows] == list(range(self.next_seq.get(run_key, 0)))
            self.both("callbacks_of_run", run_key)
            lines = [
                [line for _, line in self.runner.run(store.load_logs(run_key))] for store in (self.memory, self.sqlite)
            ]
            assert lines[0] == lines[1]
        for workspace in ("v", "w"):
            for key in ("k", "l"):
                self.both("find_run_by_idempotency_key", workspace, key)


class TestStoresAgree(StoresAgree.TestCase):
    # Explaining a failure traces every line of the store and takes minutes.
    settings = settings(
        max_examples=examples(15),
        stateful_step_count=20,
        phases=[phase for phase in Phase if phase is not Phase.explain],
    )
    pytestmark = pytest.mark.req("OPS-1.memory-twin", "DUR-1.store")
