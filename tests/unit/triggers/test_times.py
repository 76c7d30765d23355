"""When schedules are due, over ten years of clock changes, beside an oracle that looks at every minute."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from segue.errors import RequestError
from segue.triggers.times import Rule, last_until, next_after, read_rule, times_after

ZONES = [
    "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Sao_Paulo", "Antarctica/Troll",
    "Africa/Casablanca", "Asia/Kolkata", "America/St_Johns", "Pacific/Chatham", "UTC",
]  # fmt: skip
LINES = [
    "0 * * * *", "*/15 * * * *", "30 2 * * *", "0,30 2 * * *", "15 1-3 * * *", "*/20 2 * * *", "45 1 * * 0",
    "0 2 * * *", "5 0 * * *", "10 * * * 0,6", "59 23 * * *",
]  # fmt: skip
YEARS = range(2024, 2034)


def ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def changes(zone: ZoneInfo, year: int) -> Iterator[datetime]:
    """The hours (UTC) after which the zone's clock jumps."""
    at = datetime(year, 1, 1, tzinfo=UTC)
    while at.year == year:
        later = at + timedelta(hours=1)
        if at.astimezone(zone).utcoffset() != later.astimezone(zone).utcoffset():
            yield at
        at = later


def field(text: str, least: int, most: int) -> set[int]:
    found: set[int] = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        first, _, last = span.partition("-")
        begin, end = (least, most) if span == "*" else (int(first), int(last or first))
        found |= set(range(begin, end + 1, int(step or 1)))
    return found


def minutes_of(zone: ZoneInfo, begin: datetime, end: datetime) -> list[tuple[datetime, datetime]]:
    """Every minute that really passes, from six hours before: the moment, and what the clock on the wall says."""
    at = begin - timedelta(hours=6)
    found: list[tuple[datetime, datetime]] = []
    while at < end:
        found.append((at, at.astimezone(zone).replace(tzinfo=None, fold=0)))
        at += timedelta(minutes=1)
    return found


def oracle(line: str, passed: list[tuple[datetime, datetime]], begin: datetime) -> list[int]:
    """Every minute is looked at; nothing here computes a next time."""
    minutes, hours, _, _, days = line.split()
    wanted = field(minutes, 0, 59), field(hours, 0, 23), {day % 7 for day in field(days, 0, 7)}

    def fits(wall: datetime) -> bool:
        return wall.minute in wanted[0] and wall.hour in wanted[1] and wall.isoweekday() % 7 in wanted[2]

    is_fixed = not minutes.startswith("*") and not hours.startswith("*")
    due: list[int] = []
    done: set[datetime] = set()
    wall_before = passed[0][1]
    for at, wall in passed:
        jumped_over: list[datetime] = []
        skipped = wall_before + timedelta(minutes=1)
        while skipped < wall:
            jumped_over.append(skipped)
            skipped += timedelta(minutes=1)
        runs = fits(wall) and not (is_fixed and wall in done)
        if is_fixed and any(fits(one) and one not in done for one in jumped_over):
            runs = True
        if is_fixed:
            done |= {wall, *jumped_over}
        if runs and at > begin:
            due.append(ms(at))
        wall_before = wall
    return due


@pytest.mark.req("TIME-5.clock-changes")
@pytest.mark.parametrize("name", ZONES)
def test_ten_years_of_clock_changes_are_as_an_oracle_that_looks_at_every_minute_says(name: str) -> None:
    zone, looked_at = ZoneInfo(name), 0
    for year in YEARS:
        moments = list(changes(zone, year)) or [datetime(year, 3, 31, 1, tzinfo=UTC)]
        for change in moments:
            begin, end = change - timedelta(hours=8), change + timedelta(hours=8)
            passed = minutes_of(zone, begin, end)
            for line in LINES:
                rule = read_rule({"cron": line, "timezone": name}, 0)
                found: list[int] = []
                for at in times_after(rule, ms(begin)):
                    if at >= ms(end):
                        break
                    found.append(at)
                assert found == oracle(line, passed, begin), (name, line, change)
                looked_at += 1
    assert looked_at >= 10 * len(LINES)


@pytest.mark.req("TIME-5.clock-changes")
def test_the_same_times_are_found_from_wherever_one_asks() -> None:
    rule = read_rule({"cron": "*/10 * * * *", "timezone": "Australia/Lord_Howe"}, 0)
    begin = ms(datetime(2027, 4, 3, 12, tzinfo=UTC))
    times = [at for at, _ in zip(times_after(rule, begin), range(200), strict=False)]

    for before, at in zip([begin, *times], times, strict=False):
        for asked in (before, before + 1, (before + at) // 2, at - 1):
            assert next_after(rule, asked) == at


@pytest.mark.req("TIME-5.zones")
def test_times_are_those_of_the_zone() -> None:
    rule = read_rule({"cron": "0 9 * * 1-5", "timezone": "Europe/Berlin"}, 0)
    friday = ms(datetime(2026, 3, 27, 12, tzinfo=UTC))

    found = [datetime.fromtimestamp(at / 1000, UTC) for at, _ in zip(times_after(rule, friday), "ab", strict=False)]

    # Over the weekend clocks go forward: nine o'clock is an hour earlier in UTC.
    assert found == [datetime(2026, 3, 30, 7, tzinfo=UTC), datetime(2026, 3, 31, 7, tzinfo=UTC)]
    offset = read_rule({"cron": "0 9 * * *", "timezone": "+05:30"}, 0)
    assert next_after(offset, friday) == ms(datetime(2026, 3, 28, 3, 30, tzinfo=UTC))


@pytest.mark.req("TIME-5.kinds", "TIME-6.once")
def test_intervals_count_from_their_beginning_and_a_moment_comes_once() -> None:
    every = read_rule({"every": "15m"}, 1_000)
    assert next_after(every, 0) == 1_000
    assert next_after(every, 1_000) == 901_000
    assert next_after(every, 901_000_000) == 1_000 + 900_000 * 1_002
    once = read_rule({"at": "2027-01-01T00:00:00Z"}, 0)
    assert next_after(once, 0) == 1_798_761_600_000
    assert next_after(once, 1_798_761_600_000) is None
    bounded = read_rule({"cron": "@daily", "from": "2027-01-01T12:00:00Z", "until": "2027-01-03T00:00:00Z"}, 0)
    assert [datetime.fromtimestamp(at / 1000, UTC).day for at in times_after(bounded, 0)] == [2, 3]


@pytest.mark.req("TIME-5.missed")
def test_the_last_missed_times_are_found_without_counting_all_of_them() -> None:
    rule = Rule(every_ms=1_000)
    year = 365 * 86_400_000

    assert last_until(rule, 1_000, year, 3) == [year - 2_000, year - 1_000, year]
    assert last_until(rule, year - 1_000, year, 10) == [year - 1_000, year]
    assert last_until(Rule(at_ms=5_000), 5_000, year, 1) == [5_000]
    assert last_until(read_rule({"cron": "@yearly"}, 0), 0, 3 * year, 2) == [year, 2 * year]


@pytest.mark.req("TIME-5.jitter")
def test_jitter_is_the_same_whenever_it_is_asked_for() -> None:
    rule = read_rule({"cron": "@hourly", "jitter": "10m"}, 0)
    offsets = {rule.jitter_of(f"trg_{number}", 0) for number in range(50)}

    assert all(0 <= one <= 600_000 for one in offsets)
    assert len(offsets) > 40
    assert rule.jitter_of("trg_1", 7) == rule.jitter_of("trg_1", 7)


@pytest.mark.req("TIME-5.refused")
@pytest.mark.parametrize(
    "settings",
    [
        {}, {"cron": "@daily", "every": "1h"}, {"cron": "61 * * * *"}, {"cron": "0 0 31 2 *"}, {"every": "soon"},
        {"cron": "@daily", "timezone": "Europe/Berlln"}, {"cron": "@daily", "overlap": "maybe"},
        {"cron": "@daily", "catch_up": -1}, {"at": "tomorrow"},
    ],
)  # fmt: skip
def test_what_is_no_schedule_is_refused(settings: dict[str, object]) -> None:
    with pytest.raises(RequestError):
        read_rule(settings, 0)  # type: ignore[arg-type]
