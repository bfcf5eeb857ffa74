"""When a schedule ticks: at the times of a cron line in a time zone, or in a fixed interval.

Cron lines mean what Debian's cron makes of them. A line that names hours and minutes ticks at times of the day: in
the night in which clocks skip an hour, what falls into it comes right after it; in the night in which an hour
comes twice, it ticks the first time alone. A line whose hour or minute begins with ``*`` ticks in stretches of
time: what falls into a skipped hour does not come, and an hour that comes twice has its ticks twice.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

from piecework.server.errors import InvalidRequest
from piecework.server.store.queue.schedules.schedule_records import Schedule

LINE_CHARS = 500
EVERY_MIN_MS = 1000
YEAR_2000_MS = 946_684_800_000
"""What happens at all, happens within the 50 years that follow."""
UTC_NAME = "UTC"
SECOND = timedelta(seconds=1)
CALM = timedelta(days=7)
"""Nowhere are clocks set twice within that time."""
NAMED_LINES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_FIELDS = {
    "minute": "0 to 59",
    "hour": "0 to 23",
    "day-of-month": "1 to 31, or L for the last",
    "month": "1 to 12, or JAN to DEC",
    "day-of-week": "0 to 7 (0 and 7 are Sunday), or SUN to SAT",
}
_HOW = "as *, a number, a range that rises such as 1-5, steps such as */5, or several with commas between them"
_STEP = re.compile(r"/(\d+)")
_STEPS = (60, 24, 31, 12, 7)
"""A step as large as its field is none."""


class CronTiming(NamedTuple):
    """Ticks at the times that a cron line names."""

    line: str
    """Five fields."""
    zone: str

    def next_after(self, at: int) -> int | None:
        """Return the first tick after a time, in milliseconds since 1970; None when 50 years have none."""
        there, begin = ZoneInfo(self.zone), datetime.fromtimestamp(at // 1000, UTC)
        minute, hour, *_ = self.line.split()
        if minute.startswith("*") or hour.startswith("*"):
            found = _find_in_time(self.line, there, begin)
        else:
            # In an hour that comes twice, the line begins with the first of the two.
            later = (each for each in CronSim(self.line, begin.astimezone(there)) if each.astimezone(UTC) > begin)
            found = next(later, None)
        return None if found is None else round(found.timestamp()) * 1000


class IntervalTiming(NamedTuple):
    """Ticks in an interval."""

    every_ms: int
    anchor_at: int

    def next_after(self, at: int) -> int:
        """Return the first tick after a time, in milliseconds since 1970."""
        return self.anchor_at + max(1, (at - self.anchor_at) // self.every_ms + 1) * self.every_ms


Timing = CronTiming | IntervalTiming


def timing_of(schedule: Schedule) -> Timing:
    """Return when a schedule ticks. Raises InvalidRequest when this server cannot read what another stored."""
    if schedule.every_ms is not None:
        return IntervalTiming(schedule.every_ms, schedule.anchor_at)
    return read_cron(schedule.cron or "", schedule.timezone)


def read_cron(line: str, zone: str) -> CronTiming:
    """Read a cron line. Raises InvalidRequest that says what is wrong with it, or with its time zone."""
    check_zone(zone)
    return CronTiming(_read_line(line), zone)


def check_zone(zone: str) -> None:
    """Raise InvalidRequest unless there is such a time zone."""
    if zone not in _zones():
        raise InvalidRequest(f"there is no time zone {zone[:100]!r}: {_suggest_zone(zone[:100])}")


def read_interval(every_s: float, now: int) -> IntervalTiming:
    """Read an interval that is counted from now. Raises InvalidRequest when it is too short."""
    if every_s * 1000 < EVERY_MIN_MS:
        raise InvalidRequest(f"every_s is {every_s:g}, but a schedule ticks every second at most")
    return IntervalTiming(round(every_s * 1000), now)


def list_upcoming(timing: Timing, first: int | None) -> Iterator[int]:
    """Yield a tick and those that follow it."""
    while first is not None:
        yield first
        first = timing.next_after(first)


def _find_in_time(line: str, there: ZoneInfo, begin: datetime) -> datetime | None:
    """Return the first tick of a line that ticks in stretches of time.

    From one change of the clocks to the next, each minute has a name of its own: there the line is looked for.
    """
    while True:
        offset = _offset(there, begin + SECOND)  # none comes before
        local = next(CronSim(line, (begin + offset).replace(tzinfo=None)), None)
        if local is None:
            return None
        found = local.replace(tzinfo=UTC) - offset
        change = _find_change(there, begin + SECOND, found)
        if change is None:
            return found
        begin = change


def _find_change(there: ZoneInfo, begin: datetime, end: datetime) -> datetime | None:
    """Return the last second before clocks are set the next time; None when they are not by ``end``."""
    offset = _offset(there, begin)
    while begin < end:
        after = min(begin + CALM, end)
        if _offset(there, after) != offset:
            while after - begin > SECOND:
                middle = begin + (after - begin) // 2 // SECOND * SECOND
                begin, after = (middle, after) if _offset(there, middle) == offset else (begin, middle)
            return begin
        begin = after
    return None


def _offset(there: ZoneInfo, at: datetime) -> timedelta:
    return at.astimezone(there).utcoffset() or timedelta(0)


@lru_cache(maxsize=10_000)
def _read_line(text: str) -> str:
    """Return the five fields of a line, which ticks some time. Raises InvalidRequest."""
    if len(text) > LINE_CHARS:
        raise InvalidRequest(f"the cron line has {len(text)} characters; at most {LINE_CHARS} are taken")
    fields = _expand(text.strip()).split()
    if len(fields) != len(_FIELDS):
        named = ", ".join(_FIELDS)
        raise InvalidRequest(f"the cron line {text!r} has {len(fields)} fields, but must have five: {named}")
    for (name, rule), field, size in zip(_FIELDS.items(), fields, _STEPS, strict=True):
        _check_field(name, rule, field, size)
    line = " ".join(fields)
    try:
        ticks = CronTiming(line, UTC_NAME).next_after(YEAR_2000_MS) is not None
    except CronSimError:  # each of its fields is right
        ticks = False
    if not ticks:
        raise InvalidRequest(f"the cron line {text!r} never ticks: there is no such date")
    return line


def _expand(text: str) -> str:
    if not text.startswith("@"):
        return text
    if text.lower() not in NAMED_LINES:
        raise InvalidRequest(f"{text[:40]!r} is none of {', '.join(NAMED_LINES)}")
    return NAMED_LINES[text.lower()]


def _check_field(name: str, rule: str, field: str, size: int) -> None:
    alone = ["*" if each != name else field for each in _FIELDS]
    try:
        CronSim(" ".join(alone), datetime.fromtimestamp(0, UTC))
    except CronSimError as error:
        raise InvalidRequest(f"the {name} of the cron line is {field!r}, but must be {rule}, {_HOW}") from error
    if any(int(step) >= size for step in _STEP.findall(field)):
        raise InvalidRequest(
            f"the {name} of the cron line is {field!r}, whose step leads out of {rule.partition(',')[0]}:"
            " an interval may be what you mean"
        )


@lru_cache(maxsize=1)
def _zones() -> frozenset[str]:
    return frozenset(available_timezones() - {"Factory", "localtime", "posixrules"})


def _suggest_zone(name: str) -> str:
    """Say which time zone may be meant."""
    plain = {each.lower(): each for each in _zones()}
    cities = {each.lower().rpartition("/")[2]: each for each in sorted(_zones(), key=len, reverse=True)}
    wanted = name.strip().lower().replace(" ", "_")
    for known, cutoff in ((plain, 1.0), (cities, 1.0), (plain, 0.7), (cities, 0.7)):
        if close := get_close_matches(wanted, known, 1, cutoff):
            return f"did you mean {known[close[0]]}?"
    return "a name such as Europe/Berlin, or UTC, is meant"
