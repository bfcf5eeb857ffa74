"""When schedules tick: cron lines in time zones, through nights in which clocks are set, and intervals."""

from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given, strategies as st

from piecework.server.errors import InvalidRequest
from piecework.server.services.queue.schedules.timings import (
    LINE_CHARS,
    NAMED_LINES,
    CronTiming,
    IntervalTiming,
    check_zone,
    list_upcoming,
    read_cron,
    read_interval,
)

MINUTE_MS, HOUR_MS = 60_000, 3_600_000


def moment(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def ticks(line: str, zone: str, start: str, count: int) -> list[str]:
    timing = read_cron(line, zone)
    found = islice(list_upcoming(timing, timing.next_after(moment(start))), count)
    return [datetime.fromtimestamp(at / 1000, ZoneInfo(zone)).isoformat(timespec="minutes") for at in found]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("*/20 * * * *", ["2026-05-06T07:20", "2026-05-06T07:40"]),
        ("5 4 * * *", ["2026-05-07T04:05", "2026-05-08T04:05"]),
        ("0 9 * * MON-FRI", ["2026-05-06T09:00", "2026-05-07T09:00", "2026-05-08T09:00", "2026-05-11T09:00"]),
        ("0 0 1 jan,JUL *", ["2026-07-01T00:00", "2027-01-01T00:00"]),
        ("0 0 L * *", ["2026-05-31T00:00", "2026-06-30T00:00"]),
        ("0 12 * * 5#2", ["2026-05-08T12:00", "2026-06-12T12:00"]),
        ("0 0 29 2 *", ["2028-02-29T00:00", "2032-02-29T00:00"]),
        ("0 0 13 * 5", ["2026-05-08T00:00", "2026-05-13T00:00", "2026-05-15T00:00"]),  # either of the two
        (" 30  8  *  *  7 ", ["2026-05-10T08:30"]),
        ("@hourly", ["2026-05-06T08:00", "2026-05-06T09:00"]),
        ("@Daily", ["2026-05-07T00:00", "2026-05-08T00:00"]),
        ("@weekly", ["2026-05-10T00:00", "2026-05-17T00:00"]),
        ("@monthly", ["2026-06-01T00:00"]),
        ("@yearly", ["2027-01-01T00:00"]),
    ],
)
def test_a_cron_line_ticks_at_the_times_that_it_names(line: str, expected: list[str]):
    found = ticks(line, "UTC", "2026-05-06T07:08:09+00:00", len(expected))
    assert found == [f"{each}+00:00" for each in expected]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("30 1 * * *", ["03-29T01:30+01:00", "03-30T01:30+02:00"]),
        ("30 2 * * *", ["03-29T03:00+02:00", "03-30T02:30+02:00"]),
        ("0,30 2 * * *", ["03-29T03:00+02:00", "03-30T02:00+02:00"]),
        ("0 2,3 * * *", ["03-29T03:00+02:00", "03-30T02:00+02:00", "03-30T03:00+02:00"]),
        ("0 * * * *", ["03-29T00:00+01:00", "03-29T01:00+01:00", "03-29T03:00+02:00", "03-29T04:00+02:00"]),
        ("*/30 2 * * *", ["03-30T02:00+02:00", "03-30T02:30+02:00"]),
    ],
)
def test_in_the_night_that_lacks_an_hour(line: str, expected: list[str]):
    found = ticks(line, "Europe/Berlin", "2026-03-28T23:59+01:00", len(expected))
    assert found == [f"2026-{each}" for each in expected]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("30 2 * * *", ["10-25T02:30+02:00", "10-26T02:30+01:00"]),
        ("0,30 2 * * *", ["10-25T02:00+02:00", "10-25T02:30+02:00", "10-26T02:00+01:00"]),
        ("0 3 * * *", ["10-25T03:00+01:00", "10-26T03:00+01:00"]),
        ("0 * * * *", [f"10-25T0{each}:00" for each in ("0", "1")]
            + ["10-25T02:00+02:00", "10-25T02:00+01:00", "10-25T03:00+01:00"]),
        ("*/30 2 * * *", [f"10-25T02:{each}" for each in ("00+02:00", "30+02:00", "00+01:00", "30+01:00")]),
    ],
)  # fmt: skip
def test_in_the_night_in_which_an_hour_comes_twice(line: str, expected: list[str]):
    found = ticks(line, "Europe/Berlin", "2026-10-24T23:59+02:00", len(expected))
    assert [each.startswith(f"2026-{whole}") for each, whole in zip(found, expected, strict=True)] == [True] * len(
        found
    ), found


def test_where_clocks_are_set_by_half_an_hour():
    assert ticks("10 2 * * *", "Australia/Lord_Howe", "2026-10-03T23:00+10:30", 2) == [
        "2026-10-04T02:30+11:00",
        "2026-10-05T02:10+11:00",
    ]
    assert ticks("45 1 * * *", "Australia/Lord_Howe", "2026-04-04T23:00+11:00", 2) == [
        "2026-04-05T01:45+11:00",
        "2026-04-06T01:45+10:30",
    ]


def test_within_the_second_of_two_like_hours_a_time_of_the_day_has_passed():
    found = ticks("30 2 * * *", "Europe/Berlin", "2026-10-25T02:10+01:00", 1)
    assert found == ["2026-10-26T02:30+01:00"]


FIELDS = st.tuples(
    st.sampled_from(["0", "30", "15,45", "*/20", "*", "59"]),
    st.sampled_from(["0", "1", "2", "3", "1-3", "*/6", "*", "23"]),
    st.sampled_from(["*", "1", "28-31", "*/2"]),
    st.just("*"),
    st.sampled_from(["*", "0", "SAT,SUN", "*/3"]),
)
NIGHTS = {
    "Europe/Berlin": ("2026-03-29", "2026-10-25"),
    "America/New_York": ("2026-03-08", "2026-11-01"),
    "Antarctica/Troll": ("2026-03-29", "2026-10-25"),  # two hours
    "Australia/Lord_Howe": ("2026-04-05", "2026-10-04"),  # half an hour
    "America/Havana": ("2026-03-08", "2026-11-01"),  # at midnight
    "Asia/Kathmandu": ("2026-03-29", "2026-10-25"),  # none; 5 h 45 min from UTC
    "Pacific/Apia": ("2011-12-30", "2011-09-24"),  # a whole day was left out
}


@cache
def numbers(field: str, first: int, last: int) -> set[int]:
    """Return the numbers that a field names."""
    names = {"SAT": "6", "SUN": "0"}
    found: set[int] = set()
    for part in field.split(","):
        span, _, step = names.get(part, part).partition("/")
        low, _, high = (f"{first}-{last}" if span == "*" else span).partition("-")
        found.update(range(int(low), int(high or low) + 1, int(step or 1)))
    return found


def matches(fields: tuple[str, ...], local: datetime) -> bool:
    """Tell whether a line names a minute, in the plain sense."""
    minute, hour, day, _, weekday = fields
    if local.minute not in numbers(minute, 0, 59) or local.hour not in numbers(hour, 0, 23):
        return False
    days = local.day in numbers(day, 1, 31), local.isoweekday() % 7 in numbers(weekday, 0, 7)
    both = day.startswith("*") or weekday.startswith("*")
    return all(days) if both else any(days)


def expect(fields: tuple[str, ...], zone: str, start: datetime, end: datetime) -> list[int]:
    """Return the ticks of a line between two moments, found by looking at each minute."""
    there = ZoneInfo(zone)
    found = set()
    if fields[0].startswith("*") or fields[1].startswith("*"):  # stretches of time: each minute that passes
        at = start
        while at < end:
            if matches(fields, at.astimezone(there)):
                found.add(at)
            at += timedelta(minutes=1)
    else:  # times of the day: each minute that a calendar has, also those which clocks leave out
        wall = (start - timedelta(days=2)).replace(tzinfo=None)
        while wall < (end + timedelta(days=2)).replace(tzinfo=None):
            if matches(fields, wall):
                real = wall
                while real.replace(tzinfo=there).astimezone(UTC).astimezone(there).replace(tzinfo=None) != real:
                    real += timedelta(minutes=1)
                found.add(real.replace(tzinfo=there).astimezone(UTC))
            wall += timedelta(minutes=1)
    return sorted(round(each.timestamp() * 1000) for each in found if start < each < end)


@pytest.mark.slow
@given(
    fields=FIELDS, zone=st.sampled_from(sorted(NIGHTS)), night=st.integers(0, 1), second=st.integers(0, 172_800)
)
def test_cron_lines_tick_as_looking_at_each_minute_says(
    fields: tuple[str, ...], zone: str, night: int, second: int
):
    begin = datetime.fromisoformat(NIGHTS[zone][night]).replace(tzinfo=UTC) - timedelta(days=1)
    at, end = begin + timedelta(seconds=second), begin + timedelta(days=3)
    whole = [each for each in expect(fields, zone, begin, end) if each > at.timestamp() * 1000]
    timing = CronTiming(" ".join(fields), zone)
    found = []
    following = timing.next_after(round(at.timestamp() * 1000))
    while following is not None and following < end.timestamp() * 1000:
        found.append(following)
        following = timing.next_after(following)
    assert found == whole


@given(
    line=FIELDS,
    zone=st.sampled_from(sorted(NIGHTS)),
    at=st.integers(0, 4_000_000_000_000),
    later=st.integers(0, 10**9),
)
def test_the_next_tick_is_always_later_and_never_goes_back(line: tuple[str, ...], zone: str, at: int, later: int):
    timing = CronTiming(" ".join(line), zone)
    first, second = timing.next_after(at), timing.next_after(at + later)
    assert first is not None
    assert second is not None
    assert first > at
    assert second >= first
    assert first % MINUTE_MS == 0


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "has 0 fields, but must have five: minute, hour, day-of-month, month, day-of-week"),
        ("* * * *", "has 4 fields"),
        ("0 0 * * * *", "has 6 fields"),
        ("60 * * * *", "the minute of the cron line is '60', but must be 0 to 59"),
        ("* 24 * * *", "the hour of the cron line is '24', but must be 0 to 23"),
        ("* * 0 * *", "the day-of-month of the cron line is '0'"),
        ("* * * 13 *", "the month of the cron line is '13'"),
        ("* * * * 8", "the day-of-week of the cron line is '8'"),
        ("* * * * FRI-MON", "a range that rises"),
        ("* * * FOO *", "or JAN to DEC"),
        ("*/0 * * * *", "the minute of the cron line is '*/0'"),
        ("1, * * * *", "the minute of the cron line is '1,'"),
        ("-1 * * * *", "the minute of the cron line is '-1'"),
        ("٣ * * * *", "the minute of the cron line is '٣'"),
        ("*/90 * * * *", "whose step leads out of 0 to 59: an interval may be what you mean"),
        ("0 */24 * * *", "whose step leads out of 0 to 23"),
        ("0 0 30 2 *", "never ticks: there is no such date"),
        ("0 0 31 2,4,6,9,11 *", "never ticks"),
        ("0 0 */29 2 MON#5", "never ticks"),
        ("@reboot", "'@reboot' is none of @yearly, @annually, @monthly, @weekly, @daily, @midnight, @hourly"),
        ("1," * LINE_CHARS, f"has {2 * LINE_CHARS} characters; at most {LINE_CHARS} are taken"),
    ],
)
def test_a_line_that_means_nothing_is_refused_with_what_is_wrong(line: str, message: str):
    with pytest.raises(InvalidRequest) as error:
        read_cron(line, "UTC")
    assert message in str(error.value)


@pytest.mark.parametrize("line", NAMED_LINES)
def test_named_lines_are_lines(line: str):
    assert read_cron(line, "UTC") == read_cron(NAMED_LINES[line], "UTC")


@pytest.mark.parametrize(
    ("zone", "hint"),
    [
        ("europe/berlin", "did you mean Europe/Berlin?"),
        ("Europe/Berln", "did you mean Europe/Berlin?"),
        ("Berlin", "did you mean Europe/Berlin?"),
        ("new york", "did you mean America/New_York?"),
        ("utc", "did you mean UTC?"),
        ("+02:00", "a name such as Europe/Berlin, or UTC, is meant"),
        ("", "a name such as Europe/Berlin, or UTC, is meant"),
        ("../../etc/passwd", "there is no time zone"),
        ("localtime", "there is no time zone"),
        ("Mars/" + "x" * 10_000, "there is no time zone"),
    ],
)
def test_a_time_zone_that_does_not_exist_is_refused_with_one_that_may_be_meant(zone: str, hint: str):
    with pytest.raises(InvalidRequest) as error:
        check_zone(zone)
    assert hint in str(error.value)
    assert len(str(error.value)) < 300


def test_an_interval_is_counted_from_its_beginning():
    timing = read_interval(90, 1000)
    assert [timing.next_after(at) for at in (0, 1000, 90_999, 91_000, 91_001, 10**9)] == [
        91_000, 91_000, 91_000, 181_000, 181_000, 1000 + 90_000 * 11_112,
    ]  # fmt: skip


@given(every=st.integers(1000, 10**9), anchor=st.integers(0, 10**13), at=st.integers(0, 10**13))
def test_an_interval_never_drifts(every: int, anchor: int, at: int):
    found = IntervalTiming(every, anchor).next_after(at)
    assume(at >= anchor)
    assert found > at
    assert found - at <= every
    assert (found - anchor) % every == 0


@pytest.mark.parametrize("every_s", [0, 0.5, 0.999, -1])
def test_an_interval_below_a_second_is_refused(every_s: float):
    with pytest.raises(InvalidRequest, match="a schedule ticks every second at most"):
        read_interval(every_s, 0)
