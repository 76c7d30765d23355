"""`kill -9` of a host at each journal write of a run that works with secrets: it goes on with the right values, and
nothing that the hosts left, kept, logged or showed holds a piece of them.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from tests.canaries import Canaries

from crash.killable import Forker, Order, opened
from segue.access.vault import UnsealError
from segue.errors import JournalCorruptError
from segue.store.port import RunFilter
from segue.testing.counting_receiver import CountingReceiver, Received
from segue.testing.crash.store import MOMENTS

pytestmark = [pytest.mark.crash, pytest.mark.anyio, pytest.mark.req("ACC-4.kill", "BAR-17.kill")]

FLOW = Path(__file__).with_name("sealed") / "parent.yaml"
TOKEN, KEPT = "tk-Zx9/canary+kA7=qv-03", "kept 'Qw8' canary/71\"ü"
PHRASE, WORD = "Mn4/ph-canary-77", "Vb2/wd-canary-19"
CANARIES = Canaries([TOKEN, KEPT, PHRASE, PHRASE.upper(), WORD])
EFFECTS = ("login", "header", "item-0", "item-1", "item-2", "inner", "found", "mended", "last")
OUTPUTS = {"header": "***", "back": "***", "word": "***", "plain": 7, "yes": True}


@pytest.fixture(scope="module")
def receiver() -> Iterator[CountingReceiver]:
    with CountingReceiver() as made:
        yield made


@pytest.fixture(scope="module")
def forker() -> Iterator[Forker]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CRASH_CANARY", TOKEN)
        with Forker() as made:
            yield made


def order(folder: Path, receiver: CountingReceiver, **settings: Any) -> Order:
    folder.mkdir(exist_ok=True)
    return Order(
        database=str(folder / "segue.db"), url=receiver.url, result=str(folder / "result.json"), flow=str(FLOW),
        inputs={"phrase": PHRASE}, answer={"yes": True, "code_word": WORD}, secrets={"kept": KEPT},
        log=str(folder / "log.jsonl"), **settings,
    )  # fmt: skip


def check(given: Order, received: list[Received]) -> int:
    """The right values arrived, once each, and nobody can read them in what is left; gives the number of commits."""
    result = json.loads(Path(given.result).read_text("utf-8"))
    assert (result["statuses"], result["outputs"]) == (["succeeded"], [OUTPUTS])
    effects = Counter(one.path for one in received if one.effect)
    assert effects == {f"/run-0/{name}": 1 for name in EFFECTS}
    assert len({one.key for one in received}) == len(EFFECTS) + 1, "what is sent again is sent under its first key"
    sent = {one.path.rpartition("/")[2]: json.loads(one.body) for one in received}
    bearer = f"Bearer {TOKEN}"
    login = json.dumps({"kept": KEPT, "who": "ada"}, separators=(",", ":"), ensure_ascii=False)
    assert sent["login"] == {"kept": KEPT, "who": "ada"}
    assert sent["header"] == {"text": f"say {bearer} twice", "part": bearer[7:21]}
    assert [sent[f"item-{number}"]["one"] for number in range(3)] == [bearer, login, "plain"]
    assert sent["found"] == {"digest": sha256(login.encode()).hexdigest()}
    last = sent["last"]
    assert last["header"]["x-again"] == bearer
    assert json.loads(last["back"]) == sent["inner"] == {"t": bearer}
    assert (last["word"], last["phrase"], last["plain"]) == (WORD, PHRASE.upper(), 7)
    assert [json.loads(one)["one"] for one in last["items"]] == [bearer, login, "plain"]
    assert sent["mended"]["again"] == bearer
    assert CANARIES.found_in(sent["mended"]["error"].encode()) == [], "an error does not tell what was sent"
    assert CANARIES.found_on_disk(Path(given.database).parent) == {}
    return result["commits"]


async def test_a_run_with_secrets_killed_at_any_journal_write_goes_on_and_tells_none(
    tmp_path: Path, receiver: CountingReceiver, forker: Forker
) -> None:
    receiver.reset()
    given = order(tmp_path / "whole", receiver)
    assert forker.live(given) == 0
    commits = check(given, receiver.ledger())
    assert commits > 14
    for number in range(1, commits + 1):
        # Before the write, after it, and after what follows from it has begun; the others are killed at each of them.
        folder, moment = tmp_path / f"{number}", MOMENTS[number % len(MOMENTS)]
        receiver.reset()
        assert forker.live(order(folder, receiver, kill_at=number, moment=moment)) == signal.SIGKILL
        assert CANARIES.found_on_disk(folder) == {}, f"killed at {number}"
        if number % 3 == 0:
            forker.live(order(folder, receiver, kill_at=2, moment=moment))
        given = order(folder, receiver)
        assert forker.live(given) == 0, f"commit {number}: the host did not come back"
        check(given, receiver.ledger())


async def test_the_key_may_change_in_the_middle_of_such_a_run_though_hosts_die(
    tmp_path: Path, receiver: CountingReceiver, forker: Forker
) -> None:
    for number in (3, 8, 13):
        folder = tmp_path / f"{number}"
        receiver.reset()
        assert forker.live(order(folder, receiver, kill_at=number, rotate_after=number - 1)) == signal.SIGKILL
        given = order(folder, receiver, rotate_after=1)
        assert forker.live(given) == 0
        check(given, receiver.ledger())
        # The header, and one key again.
        assert len((folder / "segue.db.key").read_text("ascii").splitlines()) == 2


def continued(folder: Path) -> subprocess.CompletedProcess[str]:
    """What `segue run --continue` does with what a host left."""
    return subprocess.run(
        [sys.executable, "-m", "segue", "run", "--continue", "--database", str(folder / "segue.db")],
        capture_output=True, text=True, timeout=60, check=False, env={**os.environ, "CRASH_CANARY": TOKEN},
    )  # fmt: skip


async def test_without_its_key_a_host_does_not_start_and_loses_nothing(
    tmp_path: Path, receiver: CountingReceiver, forker: Forker
) -> None:
    folder = tmp_path / "lost"
    receiver.reset()
    assert forker.live(order(folder, receiver, kill_at=12)) == signal.SIGKILL
    sent = len(receiver.ledger())
    key, away = folder / "segue.db.key", tmp_path / "away.key"
    key.rename(away)
    with pytest.raises(UnsealError, match="not in the key ring: add that key to SEGUE_KEYS or restore the key file"):
        async with opened(folder / "segue.db"):
            pass
    run = await asyncio.to_thread(continued, folder)
    assert run.returncode != 0
    assert "restore the key file" in run.stderr
    assert "Traceback" not in run.stderr
    assert len(receiver.ledger()) == sent, "nothing was done without the key"
    away.replace(key)
    given = order(folder, receiver)
    assert forker.live(given) == 0
    check(given, receiver.ledger())


async def test_a_damaged_sealed_value_sets_its_run_aside_and_says_so(
    tmp_path: Path, receiver: CountingReceiver, forker: Forker
) -> None:
    folder = tmp_path / "damaged"
    receiver.reset()
    assert forker.live(order(folder, receiver, kill_at=12)) == signal.SIGKILL
    database = folder / "segue.db"
    with sqlite3.connect(database) as damaging:
        rows = damaging.execute(
            "SELECT run_key, seq, data FROM journal WHERE seq > 1 AND instr(data, '$sealed:1')"
        ).fetchall()
        assert rows
        for run_key, seq, data in rows:
            at = bytes(data).index(b'$sealed:1":"') + 80
            spoiled = bytes(data)[:at] + (b"A" if bytes(data)[at : at + 1] != b"A" else b"B") + bytes(data)[at + 1 :]
            damaging.execute("UPDATE journal SET data = ? WHERE run_key = ? AND seq = ?", (spoiled, run_key, seq))
    damaging.close()
    async with opened(database) as host:
        (record,) = [one for one in (await host.store.list_runs(RunFilter(), limit=9)).runs if one.flow_id == "sealed"]
        with pytest.raises(JournalCorruptError, match="sealed value cannot be decrypted"):
            await host.engine.loading.loaded(record)
        await host.tables.change(lambda _: None)  # comes after what was written before
        found = await host.engine.record(record.run_id)
        assert found.status == "quarantined"
        assert "decrypted" in (found.error or "")
        back = await host.engine.second_chances.rollback(record.run_id)
        assert back.last_valid_event == min(seq for _, seq, _ in rows) - 1
