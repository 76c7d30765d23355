"""Token buckets and the slowing down of guesses, on a clock that the test moves."""

from __future__ import annotations

import pytest

from segue.access.limits import Attempts, Buckets, Rate, TooManyRequestsError


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
