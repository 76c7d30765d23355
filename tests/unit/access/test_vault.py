"""Sealing: what comes back, where, and with which key."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.access.keyring import Key, KeyRing
from segue.access.vault import OVERHEAD_BYTES, Context, UnsealError, Vault, key_id_of

pytestmark = pytest.mark.req("ACC-4")

PLACE = Context("secret", "default", "sec_1", 3)
VAULT = Vault(KeyRing([Key.new()]))


@given(st.binary(max_size=200))
def test_what_was_sealed_comes_back_in_its_place(plain: bytes) -> None:
    sealed = VAULT.seal(PLACE, plain)
    assert VAULT.open(PLACE, sealed) == plain
    assert len(sealed) == len(plain) + OVERHEAD_BYTES


def test_the_same_is_never_sealed_to_the_same() -> None:
    assert VAULT.seal(PLACE, b"x") != VAULT.seal(PLACE, b"x")


@pytest.mark.parametrize(
    "elsewhere",
    [
        PLACE._replace(kind="trigger"),
        PLACE._replace(workspace="other"),
        PLACE._replace(id="sec_2"),
        PLACE._replace(version=2),
        Context("secret", 'default","sec_1', "", 3),
    ],
)
def test_it_opens_in_no_other_place(elsewhere: Context) -> None:
    sealed = VAULT.seal(PLACE, b"canary-value")
    with pytest.raises(UnsealError, match="changed, or moved") as refused:
        VAULT.open(elsewhere, sealed)
    assert "canary" not in str(refused.value)


@given(st.data())
def test_a_changed_bit_is_noticed_wherever_it_is(data: st.DataObject) -> None:
    sealed = bytearray(VAULT.seal(PLACE, b"some plain text"))
    bit = data.draw(st.integers(0, len(sealed) * 8 - 1))
    sealed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(UnsealError):
        VAULT.open(PLACE, bytes(sealed))


def test_an_old_key_opens_and_the_active_one_seals() -> None:
    old, new = Key.new(), Key.new()
    sealed = Vault(KeyRing([old])).seal(PLACE, b"x")
    both = Vault(KeyRing([new, old]))
    assert both.open(PLACE, sealed) == b"x"
    assert key_id_of(sealed) == old.id
    assert key_id_of(both.seal(PLACE, b"x")) == new.id


def test_a_missing_key_is_named_by_its_id() -> None:
    other = Key.new()
    sealed = Vault(KeyRing([other])).seal(PLACE, b"x")
    with pytest.raises(UnsealError, match=f"secret sec_1 .*{other.name}.*SEGUE_KEYS"):
        VAULT.open(PLACE, sealed)


@pytest.mark.parametrize(
    "sealed", [b"", b"\x01", b"\x02" + bytes(100), b"plain text, never sealed by anyone at all" + bytes(20)]
)
def test_bytes_that_nobody_sealed_are_refused(sealed: bytes) -> None:
    with pytest.raises(UnsealError):
        VAULT.open(PLACE, sealed)
