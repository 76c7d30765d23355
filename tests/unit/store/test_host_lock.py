"""One file, one host."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from segue.errors import StoreInUseError, StoreUnavailableError
from segue.store.host_lock import DatabaseHostedError, HostInfo, HostLock, read_host
from segue.store.sqlite import SqliteStore

CHILD = """
import sys
from pathlib import Path
from segue.store.host_lock import HostLock
lock = HostLock.acquire(Path(sys.argv[1]), now_ms=1234)
lock.publish("http://127.0.0.1:8080", "secret-token")
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def other_process(tmp_path: Path):
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path / "a.db")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        yield child
        child.kill()


@pytest.mark.req("OPS-1.one-host")
def test_another_process_cannot_host_the_file_and_learns_who_does(
    tmp_path: Path, other_process: subprocess.Popen
) -> None:
    with pytest.raises(DatabaseHostedError, match=f"process {other_process.pid} at http://127.0.0.1:8080") as caught:
        HostLock.acquire(tmp_path / "a.db")
    assert isinstance(caught.value, StoreInUseError)
    assert caught.value.host == HostInfo(
        pid=other_process.pid, started_at=1234, address="http://127.0.0.1:8080", token="secret-token"
    )
    assert read_host(tmp_path / "a.db") == caught.value.host


@pytest.mark.req("OPS-1.one-host")
def test_a_killed_host_leaves_no_lock_behind(tmp_path: Path, other_process: subprocess.Popen) -> None:
    other_process.kill()
    other_process.wait()
    assert read_host(tmp_path / "a.db") is None
    lock = HostLock.acquire(tmp_path / "a.db", now_ms=5)
    assert read_host(tmp_path / "a.db") == lock.info
    assert lock.info.address is None
    lock.release()


@pytest.mark.req("OPS-1.one-host")
def test_two_handles_of_one_process_exclude_each_other(tmp_path: Path) -> None:
    lock = HostLock.acquire(tmp_path / "a.db")
    with pytest.raises(StoreInUseError):
        HostLock.acquire(tmp_path / "a.db")
    HostLock.acquire(tmp_path / "b.db").release()
    lock.release()
    lock.release()
    HostLock.acquire(tmp_path / "a.db").release()


def test_nobody_hosts_a_file_that_was_never_opened_or_is_closed(tmp_path: Path) -> None:
    assert read_host(tmp_path / "a.db") is None
    HostLock.acquire(tmp_path / "a.db").release()
    assert read_host(tmp_path / "a.db") is None


def test_asking_who_hosts_does_not_get_in_the_way(tmp_path: Path) -> None:
    for _ in range(50):
        assert read_host(tmp_path / "a.db") is None
        HostLock.acquire(tmp_path / "a.db").release()


def test_the_lock_file_is_for_its_owner_only_and_the_token_is_not_shown(tmp_path: Path) -> None:
    (tmp_path / "a.db.host").touch(mode=0o644)
    lock = HostLock.acquire(tmp_path / "a.db")
    lock.publish("http://127.0.0.1:1", "secret-token")
    assert (tmp_path / "a.db.host").stat().st_mode & 0o777 == 0o600
    assert "secret-token" not in repr(lock.info)
    assert "secret-token" not in str(lock.info)
    lock.release()
    assert "secret-token" not in (tmp_path / "a.db.host").read_text()


def test_a_shorter_record_replaces_a_longer_one(tmp_path: Path) -> None:
    lock = HostLock.acquire(tmp_path / "a.db")
    lock.publish("http://127.0.0.1:8080/long/path", "t" * 500)
    lock.publish("http://[::1]", "t")
    host = read_host(tmp_path / "a.db")
    assert host is not None
    assert (host.address, host.token) == ("http://[::1]", "t")
    with pytest.raises(StoreUnavailableError, match="too long"):
        lock.publish("http://127.0.0.1", "t" * 5000)
    lock.release()


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailableError, match=r"none/a\.db\.host"):
        HostLock.acquire(tmp_path / "none" / "a.db")


@pytest.mark.anyio
@pytest.mark.req("OPS-1.one-host")
async def test_a_store_holds_the_lock_from_open_to_close(tmp_path: Path) -> None:
    first, second = SqliteStore(tmp_path / "a.db"), SqliteStore(tmp_path / "a.db")
    await first.open()
    first.host_lock.publish("http://127.0.0.1:9", "t")
    with pytest.raises(DatabaseHostedError) as caught:
        await second.open()
    assert caught.value.host is not None
    assert caught.value.host.address == "http://127.0.0.1:9"
    await first.close()
    with pytest.raises(StoreUnavailableError):
        _ = first.host_lock
    await second.open()
    await second.close()
