"""When a schedule is due: cron lines in a time zone, intervals, and single moments. Pure; times are ms since the epoch.

A cron line speaks of the time on a wall clock, and twice a year that clock jumps. As in Debian's cron: a job at fixed
hours and minutes runs once on a day that it names, at the first moment after the jump if its time is skipped, and at
the first of the two if its time comes twice; a job of every hour or minute (a `*` in front of either field) runs by the
time that really passes, so never at a time that is skipped, and twice at one that comes twice. The matching of fields
is cronsim's; the jumps are dealt with here, since shifts of half an hour (Lord Howe) are not in its reach.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Final, Literal, cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from segue.errors import RequestError
from segue.flow.cron import cron_mistake
from segue.flow.model import JsonValue
from segue.flow.trigger_keys import CATCH_UP, CATCH_UP_MAX, OVERLAPS
from segue.kernel.durations import InvalidDuration, milliseconds_of, moment_of

Overlap = Literal["allow", "skip", "queue", "cancel"]
EVERY_LEAST_MS: Final = 1_000
ON_TIME_MS: Final = 60_000
"""What is later than this was missed, so that the policy on missed times has a say."""
_JUMP: Final = timedelta(hours=3)
"""Longer than any change of clocks in use; the longest is two hours (Antarctica/Troll)."""
_WORDS: Final = {
    "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@hourly": "0 * * * *",
}  # fmt: skip
_OFFSET: Final = re.compile(r"([+-])(\d{2}):(\d{2})\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """When a schedule is due, and what is done about times that were missed or come too soon."""

    cron: str | None = None
    every_ms: int | None = None
    at_ms: int | None = None
    zone: tzinfo = UTC
    anchor_ms: int = 0
    """Where the counting of `every` begins."""
    from_ms: int | None = None
    until_ms: int | None = None
    jitter_ms: int = 0
    catch_up: int = 1
    """How many missed times are made up for, the last ones: 0 none, 1 the last."""
    overlap: Overlap = "allow"

    @property
    def says(self) -> str:
        """In words, for lists."""
        if self.cron is not None:
            return f"{self.cron} ({self.zone})"
        if self.every_ms is not None:
            return f"every {self.every_ms / 1000:g} s"
        return f"at {datetime.fromtimestamp((self.at_ms or 0) / 1000, UTC).isoformat()}"

    def jitter_of(self, key: str, due: int) -> int:
        """How much later than `due` it is to begin: the same whenever it is asked, spread over the schedules."""
        if not self.jitter_ms:
            return 0
        digest = hashlib.sha256(f"{key}\n{due}".encode()).digest()
        return int.from_bytes(digest[:6], "big") % (self.jitter_ms + 1)


def read_rule(settings: Mapping[str, JsonValue], anchor_ms: int) -> Rule:
    """The settings of a schedule. Raises RequestError for what is none."""
    kinds = [kind for kind in ("cron", "every", "at") if settings.get(kind) is not None]
    if len(kinds) != 1:
        raise RequestError("a schedule says either `cron`, `every` or `at`")
    cron = settings.get("cron")
    try:
        every = settings.get("every")
        every_ms = None if every is None else max(EVERY_LEAST_MS, milliseconds_of(every))
        zone = None if settings.get("timezone") is None else zone_of(settings["timezone"])
        at_ms, from_ms, until_ms = (_moment(settings.get(key), zone) for key in ("at", "from", "until"))
        jitter = settings.get("jitter")
        jitter_ms = 0 if jitter is None else milliseconds_of(jitter)
    except InvalidDuration as error:
        raise RequestError(f"a schedule: {error}") from error
    return Rule(
        cron=None if cron is None else _line(str(cron)), every_ms=every_ms, at_ms=at_ms,
        zone=zone or UTC, anchor_ms=anchor_ms if from_ms is None else from_ms, from_ms=from_ms,
        until_ms=until_ms, jitter_ms=jitter_ms, catch_up=_catch_up(settings.get("catch_up")),
        overlap=_overlap(settings.get("overlap")),
    )  # fmt: skip


def zone_of(name: JsonValue) -> tzinfo:
    """A time zone by its name or offset (`+02:00`). Raises RequestError."""
    if name is None or name in ("UTC", "Z"):
        return UTC
    found = _OFFSET.match(str(name))
    if found is not None:
        offset = timedelta(hours=int(found[2]), minutes=int(found[3]))
        return timezone(offset if found[1] == "+" else -offset)
    try:
        return ZoneInfo(str(name))
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise RequestError(f"{str(name)[:60]!r} is no time zone; it looks like Europe/Berlin") from error


def next_after(rule: Rule, after_ms: int) -> int | None:
    """The first due time later than a moment; None: never again."""
    if rule.from_ms is not None and after_ms < rule.from_ms:
        after_ms = rule.from_ms - 1
    if rule.at_ms is not None:
        found = rule.at_ms if rule.at_ms > after_ms else None
    elif rule.every_ms is not None:
        steps = max(0, (after_ms - rule.anchor_ms) // rule.every_ms + 1)
        found = rule.anchor_ms + steps * rule.every_ms
    else:
        found = _next_cron(rule.cron or "", rule.zone, after_ms)
    return None if found is None or (rule.until_ms is not None and found > rule.until_ms) else found


def times_after(rule: Rule, after_ms: int) -> Iterator[int]:
    """All due times later than a moment, in order."""
    at = next_after(rule, after_ms)
    while at is not None:
        yield at
        at = next_after(rule, at)


def last_until(rule: Rule, first_ms: int, now_ms: int, count: int) -> list[int]:
    """The last `count` due times from `first_ms` (one itself) to `now_ms`, in order; at most 1,000."""
    count = min(max(count, 1), CATCH_UP_MAX)
    window = 3_600_000
    while True:
        begin = max(first_ms - 1, now_ms - window)
        found: list[int] = []
        for at in times_after(rule, begin):
            if at > now_ms:
                break
            found.append(at)
        if len(found) >= count or begin < first_ms:
            return found[-count:]
        window *= 8


def _next_cron(line: str, zone: tzinfo, after_ms: int) -> int | None:
    after = datetime.fromtimestamp(after_ms / 1000, zone)
    wall = _next_wall(line, after.replace(tzinfo=None))
    if wall is None:
        return None
    if _is_calm(zone, after.replace(tzinfo=None)) and _is_calm(zone, wall):
        return _ms(wall.replace(tzinfo=zone))
    minute, hour = line.split()[:2]
    is_fixed = not minute.startswith("*") and not hour.startswith("*")
    best: tuple[int, datetime] | None = None
    for candidate in _walls(line, after.replace(tzinfo=None) - _JUMP):
        if best is not None and candidate > best[1] + _JUMP:
            break
        for at in _instants(candidate, zone, is_fixed=is_fixed):
            if at > after_ms and (best is None or at < best[0]):
                best = at, candidate
    return None if best is None else best[0]


def _walls(line: str, after: datetime) -> Iterator[datetime]:
    wall = _next_wall(line, after)
    while wall is not None:
        yield wall
        wall = _next_wall(line, wall)


def _next_wall(line: str, after: datetime) -> datetime | None:
    """The next time on a wall clock that never jumps."""
    return next(CronSim(line, after), None)


def _is_calm(zone: tzinfo, wall: datetime) -> bool:
    """Whether the clock does not jump near a time."""
    offsets = {(wall + shift).replace(tzinfo=zone).utcoffset() for shift in (-_JUMP, timedelta(), _JUMP)}
    return len(offsets) == 1


def _instants(wall: datetime, zone: tzinfo, *, is_fixed: bool) -> list[int]:
    """The moments at which a job of this time on the wall begins."""
    if not _is_real(wall, zone):
        if not is_fixed:
            return []
        while not _is_real(wall, zone):
            wall += timedelta(minutes=1)
    both = [_ms(wall.replace(tzinfo=zone, fold=fold)) for fold in (0, 1)]
    return both[:1] if is_fixed or both[0] == both[1] else both


def _is_real(wall: datetime, zone: tzinfo) -> bool:
    return wall.replace(tzinfo=zone).astimezone(UTC).astimezone(zone).replace(tzinfo=None, fold=0) == wall


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def _line(text: str) -> str:
    text = text.strip()
    mistake = cron_mistake(text)
    if mistake is not None:
        raise RequestError(f"cron: {mistake[0]}; {mistake[1]}")
    line = _WORDS.get(text, text)
    try:
        CronSim(line, datetime(2026, 1, 1))  # noqa: DTZ001 - a time on the wall
    except CronSimError as error:
        raise RequestError(f"cron: {text!r} names no day that there is ({error})") from error
    return line


def _catch_up(written: JsonValue) -> int:
    if written is None or isinstance(written, bool):
        return 0 if written is False else 1
    if isinstance(written, str) and written in CATCH_UP:
        return CATCH_UP[written]
    if isinstance(written, int) and 0 <= written <= CATCH_UP_MAX:
        return written
    raise RequestError(f"`catch_up` is none, last, all or how many, up to {CATCH_UP_MAX}")


def _overlap(written: JsonValue) -> Overlap:
    found = OVERLAPS.get(str(written or "allow"))
    if found is None:
        raise RequestError(f"`overlap` is one of {', '.join(OVERLAPS)}")
    return cast("Overlap", found)


def _moment(written: JsonValue, zone: tzinfo | None) -> int | None:
    """A moment, by the wall clock of the schedule's zone if it names none itself. Raises InvalidDuration."""
    if written is None:
        return None
    try:
        local = datetime.fromisoformat(written) if isinstance(written, str) and zone is not None else None
    except ValueError:
        local = None
    if local is None or local.tzinfo is not None or zone is None:
        return moment_of(written)
    while not _is_real(local, zone):
        local += timedelta(minutes=1)
    return _ms(local.replace(tzinfo=zone))
