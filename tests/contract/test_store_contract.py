"""The store contract, held against the memory twin and against SQLite."""

from __future__ import annotations

from pathlib import Path

import pytest

from segue.store.sqlite import SqliteStore
from segue.testing.limits_contract import LimitsContract
from segue.testing.memory_store import MemoryStore
from segue.testing.message_contract import MessageContract
from segue.testing.reading_contract import ReadingContract
from segue.testing.store_contract import StoreContract, StoreFactory


@pytest.mark.req("OPS-1.memory-twin")
class TestMemoryStore(MessageContract, ReadingContract, LimitsContract, StoreContract):
    @pytest.fixture
    def store_factory(self) -> StoreFactory:
        store = MemoryStore()
        return lambda: store


@pytest.mark.req("DUR-1.store", "DUR-8.payloads", "OPS-1.sqlite")
class TestSqliteStore(MessageContract, ReadingContract, LimitsContract, StoreContract):
    @pytest.fixture
    def store_factory(self, tmp_path: Path) -> StoreFactory:
        return lambda: SqliteStore(tmp_path / "segue.db")


@pytest.mark.req("OPS-1.sqlite")
class TestSqliteStoreWithoutAFlushPerCommit(MessageContract, ReadingContract, LimitsContract, StoreContract):
    @pytest.fixture
    def store_factory(self, tmp_path: Path) -> StoreFactory:
        return lambda: SqliteStore(tmp_path / "segue.db", synchronous="NORMAL")
