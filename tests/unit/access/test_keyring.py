"""The key ring: where keys come from, and what is said when one is missing or broken."""

from __future__ import annotations

import base64
import os
import stat
import sys
from pathlib import Path

import pytest

from segue.access.keyring import KEYS_MAX, Key, KeyFile, KeyRing, key_file_of, ring_of_environment
from segue.errors import RequestError

pytestmark = pytest.mark.req("ACC-4")


def text(key: Key) -> str:
    return base64.b64encode(key.secret).decode()


def test_the_same_key_has_the_same_id_from_the_environment_and_from_a_file(tmp_path: Path) -> None:
    key = Key.new()
    file = KeyFile(tmp_path / "k")
    file.save(KeyRing([key]))
    given = ring_of_environment({"SEGUE_KEY": text(key)})
    assert given is not None
    assert given.active == file.load().active == key


def test_several_keys_of_the_environment_are_a_ring_whose_first_is_active() -> None:
    one, other = Key.new(), Key.new()
    ring = ring_of_environment({"SEGUE_KEYS": f"{text(one)}, {text(other)}", "SEGUE_KEY": "ignored"})
    assert ring is not None
    assert ring.keys == (one, other)
    assert ring.active == one
    assert ring.get(other.id) == other


def test_an_environment_without_keys_gives_no_ring() -> None:
    assert ring_of_environment({"SEGUE_KEYS": "  "}) is None


@pytest.mark.parametrize("given", ["kein base64!", base64.b64encode(b"short-and-secret").decode()])
def test_a_bad_key_is_refused_without_being_shown(given: str) -> None:
    with pytest.raises(RequestError, match="SEGUE_KEY") as refused:
        ring_of_environment({"SEGUE_KEY": given})
    assert given not in str(refused.value)
    assert refused.value.__cause__ is None


def test_the_file_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    file = key_file_of(tmp_path / "data" / "x.db")
    first = file.load()
    assert file.path == tmp_path / "data" / "x.db.key"
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert file.load().keys == first.keys
    assert [one.name for one in file.path.parent.iterdir()] == ["x.db.key"]


def test_a_file_of_32_bytes_is_one_key(tmp_path: Path) -> None:
    secret = os.urandom(32)
    (tmp_path / "k").write_bytes(secret)
    (tmp_path / "k").chmod(0o600)
    assert KeyFile(tmp_path / "k").load().keys == (Key.of(secret),)


def test_a_file_keeps_its_ring_in_order(tmp_path: Path) -> None:
    ring = KeyRing([Key.new(), Key.new(), Key.new()])
    file = KeyFile(tmp_path / "k")
    file.save(ring)
    assert file.load().keys == ring.keys
    assert [one.name for one in tmp_path.iterdir()] == ["k"]


@pytest.mark.parametrize("content", [b"", b"segue keys 1\n", b"x" * 31, b"segue keys 2\nabc\n"])
def test_a_damaged_file_is_refused_and_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "k"
    path.write_bytes(content)
    with pytest.raises(RequestError, match="damaged"):
        KeyFile(path).load()
    assert path.read_bytes() == content


def test_a_file_that_cannot_be_made_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file, no folder")
    with pytest.raises(RequestError, match="SEGUE_KEY"):
        KeyFile(tmp_path / "taken" / "k").load()


def test_keys_and_rings_show_ids_only() -> None:
    key = Key.new()
    shown = f"{key!r} {KeyRing([key])!r}"
    assert key.name in shown
    assert key.secret.hex() not in shown
    assert text(key) not in shown


def test_a_ring_is_neither_empty_nor_endless() -> None:
    with pytest.raises(RequestError, match="SEGUE_KEY"):
        KeyRing([])
    with pytest.raises(RequestError, match="at most"):
        KeyRing(Key.new() for _ in range(KEYS_MAX + 1))


@pytest.mark.req("ACC-4.key-file")
@pytest.mark.parametrize("mode", [0o644, 0o604, 0o620, 0o666])
def test_a_key_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    file = KeyFile(tmp_path / "x.key")
    ring = file.load()
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    file.path.chmod(mode)
    with pytest.raises(RequestError, match="is open to other users") as raised:
        file.load()
    assert base64.b64encode(ring.active.secret).decode() not in str(raised.value)
    file.path.chmod(0o640)
    assert file.load().active == ring.active


@pytest.mark.req("ACC-4.key-command")
def test_a_program_may_print_the_keys(tmp_path: Path) -> None:
    one, two = Key.new(), Key.new()
    texts = [base64.b64encode(key.secret).decode() for key in (one, two)]
    program = tmp_path / "keys.py"
    program.write_text(f"print({texts[0]!r}); print({texts[1]!r})")
    ring = ring_of_environment({"SEGUE_KEYS_COMMAND": f"{sys.executable} {program}"})
    assert ring is not None
    assert ring.keys == (one, two)
    program.write_text(f"import sys; sys.stderr.write({texts[0]!r}); sys.exit(3)")
    for command in (f"{sys.executable} {program}", "/no/such/program", "'", f"{sys.executable} -c pass"):
        with pytest.raises(RequestError) as raised:
            ring_of_environment({"SEGUE_KEYS_COMMAND": command})
        assert texts[0] not in str(raised.value)
