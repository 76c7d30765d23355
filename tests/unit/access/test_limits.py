"""Token buckets and the slowing down of guesses, on a clock that the test moves."""

from __future__ import annotations

import pytest

from segue.access import limits
from segue.access.limits import Attempts, Buckets, Rate, TooManyRequestsError, counted_as
from segue.errors import InvalidInputError


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.req("ACC-7.rate-limit")
def test_a_bucket_gives_its_burst_and_then_its_rate() -> None:
    clock = Clock()
    buckets = Buckets(Rate(2, 3), clock)
    for _ in range(3):
        buckets.take("a")
    with pytest.raises(TooManyRequestsError) as caught:
        buckets.take("a")
    assert caught.value.retry_after_seconds == pytest.approx(0.5)
    buckets.take("b")
    clock.now += 0.5
    buckets.take("a")
    with pytest.raises(TooManyRequestsError):
        buckets.take("a")
    clock.now += 3_600
    for _ in range(3):
        buckets.take("a")
    with pytest.raises(TooManyRequestsError):
        buckets.take("a")


@pytest.mark.req("ACC-1.lock-out")
def test_each_further_wrong_password_doubles_the_wait() -> None:
    clock = Clock()
    attempts = Attempts(clock)
    waits: list[float] = []
    for _ in range(20):
        try:
            attempts.begin("1.2.3.4", "olga")
        except TooManyRequestsError as error:
            waits.append(error.retry_after_seconds)
            clock.now += error.retry_after_seconds
            attempts.begin("1.2.3.4", "olga")
        attempts.failed("1.2.3.4", "olga")
    assert waits == pytest.approx([1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900, 900, 900])


@pytest.mark.req("ACC-1.lock-out")
def test_failures_lock_out_neither_another_address_nor_after_success() -> None:
    clock = Clock()
    attempts = Attempts(clock)
    for _ in range(6):
        attempts.failed("1.2.3.4", "olga")
    attempts.begin("5.6.7.8", "olga")
    attempts.begin("1.2.3.4", "max")
    with pytest.raises(TooManyRequestsError):
        attempts.begin("1.2.3.4", "olga")
    clock.now += 2
    attempts.begin("1.2.3.4", "olga")
    attempts.succeeded("1.2.3.4", "olga")
    attempts.begin("1.2.3.4", "olga")


@pytest.mark.req("ACC-7.rate-limit")
def test_many_addresses_together_cannot_try_one_account_at_speed() -> None:
    attempts = Attempts(Clock())
    for number in range(50):
        attempts.begin(f"address {number}", "olga")
    with pytest.raises(TooManyRequestsError):
        attempts.begin("address 50", "olga")


@pytest.mark.req("ACC-7.rate-fields")
def test_who_is_counted_is_told_how_things_stand() -> None:
    clock = Clock()
    buckets = Buckets(Rate(2, 10), clock, label="identity")
    assert buckets.fields("a") == {"ratelimit-policy": '"identity";q=10;w=5', "ratelimit": '"identity";r=10;t=0'}
    for _ in range(3):
        buckets.take("a")
    assert buckets.fields("a")["ratelimit"] == '"identity";r=7;t=2'
    for _ in range(7):
        buckets.take("a")
    with pytest.raises(TooManyRequestsError) as caught:
        buckets.take("a")
    assert caught.value.fields["ratelimit"] == '"identity";r=0;t=5'


@pytest.mark.req("ACC-7.rate-memory")
def test_no_number_of_addresses_fills_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BUCKETS_MAX", 10)
    buckets, attempts = Buckets(Rate(1, 2)), Attempts()
    for number in range(1_000):
        buckets.take(f"192.0.2.{number}")
        attempts.failed(f"192.0.2.{number}", "olga")
    assert buckets.size == attempts.size == 10


@pytest.mark.req("ACC-7.rate-limit")
@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("192.0.2.7", "192.0.2.7"), ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"), ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"), ("", ""), ("unix", "unix"),
    ],
)  # fmt: skip
def test_one_network_of_a_customer_counts_as_one_address(address: str, name: str) -> None:
    assert counted_as(address) == name


@pytest.mark.req("ACC-7.rate-settings")
@pytest.mark.parametrize(("text", "rate"), [("200", (200, 1000)), ("0.5/3", (0.5, 3)), (" 10/1 ", (10, 1))])
def test_a_rate_is_read_as_it_is_written(text: str, rate: tuple[float, int]) -> None:
    assert Rate.parse(text) == Rate(*rate)


@pytest.mark.parametrize("text", ["", "0", "-1", "x", "1/0", "1/", "nan", "inf", "1/2.5", "1e99", "1/2/3"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError, match="no rate"):
        Rate.parse(text)
