"""Numbers of versions: their order is that of Semantic Versioning, and a new one is always the highest."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.flows.numbers import FIRST, Number, canonical, next_number

PARTS = st.integers(0, 30)
PRE = st.lists(st.one_of(st.integers(0, 30).map(str), st.sampled_from(["alpha", "beta", "rc", "x-1"])), max_size=3)


@st.composite
def numbers(draw: st.DrawFn) -> str:
    text = f"{draw(PARTS)}.{draw(PARTS)}.{draw(PARTS)}"
    pre = draw(PRE)
    return f"{text}-{'.'.join(pre)}" if pre else text


def parsed(text: str) -> Number:
    found = Number.parse(text)
    assert found is not None
    return found


@pytest.mark.req("FLOW-7.semantic-versions")
def test_the_order_is_that_of_the_specification() -> None:
    """Section 11 of semver.org's own example, and the numbers around it."""
    order = [
        "0.9.9", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11",
        "1.0.0-rc.1", "1.0.0", "1.0.1", "1.2.0", "1.10.0", "2.0.0",
    ]  # fmt: skip
    assert sorted(reversed(order), key=parsed) == order
    assert all(parsed(one) < parsed(other) for one, other in pairwise(order))


def test_short_numbers_and_builds_mean_the_same() -> None:
    assert (canonical("1"), canonical("1.2"), canonical("1.2.3+build.5")) == ("1.0.0", "1.2.0", "1.2.3")
    assert canonical("no number") == "no number"
    assert Number.parse("1.2.3.4") is None


@pytest.mark.parametrize(
    ("stated", "latest", "expected"),
    [
        (None, None, FIRST), ("0.3.0", None, "0.3.0"), (None, "1.0.0", "1.0.1"), ("1.0.0", "1.0.0", "1.0.1"),
        ("0.5.0", "1.0.0", "1.0.1"), ("2.0", "1.9.9", "2.0.0"), (None, "2.0.0-rc.1", "2.0.0"),
        ("2.0.0-rc.2", "2.0.0-rc.1", "2.0.0-rc.2"), ("2.0.0-rc.11", "2.0.0-rc.2", "2.0.0-rc.11"),
        ("2.0.0-rc.1", "2.0.0", "2.0.1"),
    ],
)  # fmt: skip
def test_the_patch_is_raised_unless_a_higher_number_is_stated(
    stated: str | None, latest: str | None, expected: str
) -> None:
    assert next_number(stated, latest) == expected


@given(st.lists(st.one_of(st.none(), numbers()), max_size=20))
def test_every_new_number_is_higher_than_all_before(stated: list[str | None]) -> None:
    made: list[str] = []
    for one in stated:
        made.append(next_number(one, made[-1] if made else None))
        assert canonical(made[-1]) == made[-1]
    assert all(parsed(one) < parsed(other) for one, other in pairwise(made))


@given(numbers(), numbers())
def test_two_numbers_are_in_one_order_or_the_same(one: str, other: str) -> None:
    first, second = parsed(one), parsed(other)
    assert [first < second, first == second, second < first].count(True) == 1
