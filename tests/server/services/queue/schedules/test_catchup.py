"""Which ticks get a job after an absence of all servers."""

from typing import Any

import pytest
from hypothesis import given, strategies as st

from piecework.server.services.queue.schedules.catchup import CAUGHT_UP, LATE_MS, Due, find_due, find_last
from piecework.server.services.queue.schedules.timings import IntervalTiming, read_cron
from piecework.server.store.queue.schedules.schedule_records import Schedule

MINUTE_MS = 60_000
EACH_MINUTE = IntervalTiming(MINUTE_MS, 0)


def schedule(next_at: int, **fields: Any) -> Schedule:
    plain = {
        "id": 1, "name": "n", "cron": None, "every_ms": MINUTE_MS, "timezone": "UTC", "anchor_at": 0,
        "catch_up": "one", "overlap": "allow", "jitter_ms": 0, "expires_ms": None, "spec_json": "{}",
        "input_id": 0, "submitter": None, "created_at": 0, "changed_at": 0, "version": 0, "paused_at": None,
    }  # fmt: skip
    return Schedule(**plain | {"next_at": next_at} | fields)


def due(now: int, **fields: Any) -> Due:
    """Return what a schedule has to do that ticks each minute, and should have ticked at minute 5."""
    return find_due(schedule(5 * MINUTE_MS, **fields), EACH_MINUTE, now)


def minutes(*numbers: int) -> tuple[int, ...]:
    return tuple(each * MINUTE_MS for each in numbers)


@pytest.mark.parametrize("catch_up", ["skip", "one", "all"])
@pytest.mark.parametrize("late_ms", [0, 1, 59_999])
def test_a_tick_in_time_gets_its_job_whatever_the_policy(catch_up: str, late_ms: int):
    found = due(5 * MINUTE_MS + late_ms, catch_up=catch_up)
    assert found == Due(minutes(5), None, 6 * MINUTE_MS)


def test_one_is_for_the_last_that_was_missed():
    assert due(9 * MINUTE_MS + 1) == Due(minutes(9), minutes(5, 8), 10 * MINUTE_MS)


def test_all_are_made_up_for_a_step_at_a_time():
    assert due(9 * MINUTE_MS + 1, catch_up="all") == Due(minutes(5, 6, 7, 8, 9), None, 10 * MINUTE_MS)
    found = due(500 * MINUTE_MS, catch_up="all")
    assert found == Due(minutes(*range(5, 5 + CAUGHT_UP)), None, (5 + CAUGHT_UP) * MINUTE_MS)


@pytest.mark.parametrize("overlap", ["skip", "replace"])
def test_all_is_the_last_where_only_one_job_may_be_there(overlap: str):
    found = due(9 * MINUTE_MS, catch_up="all", overlap=overlap)
    assert found == Due(minutes(9), minutes(5, 8), 10 * MINUTE_MS)


def test_skip_takes_only_what_is_hardly_late():
    timing = IntervalTiming(10 * MINUTE_MS, 0)
    at = 20 * MINUTE_MS
    waiting = schedule(10 * MINUTE_MS, catch_up="skip")
    hardly = find_due(waiting, timing, at + LATE_MS)
    assert hardly == Due((at,), minutes(10, 10), 30 * MINUTE_MS)
    assert find_due(waiting, timing, at + LATE_MS + 1) == Due((), minutes(10, 20), 30 * MINUTE_MS)


def test_a_tick_whose_job_would_have_expired_gets_none():
    assert due(9 * MINUTE_MS, expires_ms=MINUTE_MS, catch_up="all") == Due(minutes(9), minutes(5, 8), 600_000)
    found = due(9 * MINUTE_MS + 1, expires_ms=MINUTE_MS + 1, catch_up="all")
    assert found == Due(minutes(9), minutes(5, 8), 600_000)
    assert due(5 * MINUTE_MS + 1000, expires_ms=1000) == Due((), minutes(5, 5), 6 * MINUTE_MS)


def test_a_line_that_is_through_has_no_next_tick():
    timing = read_cron("0 0 29 2 *", "UTC")
    last = find_last(timing, timing.next_after(0) or 0, 4_000_000_000_000)
    assert find_due(schedule(last), timing, last).next_at is not None


@given(
    line=st.sampled_from(["* * * * *", "*/7 3 * * *", "0 0 1 * *", "30 2 * * *", "0 12 * * 1"]),
    start=st.integers(1_700_000_000_000, 1_900_000_000_000),
    hours=st.integers(0, 24 * 40),
)
def test_the_last_tick_is_found_in_no_more_steps_than_halving_takes(line: str, start: int, hours: int):
    class Counted:
        asked = 0

        def next_after(self, at: int) -> int | None:
            self.asked += 1
            return plain.next_after(at)

    plain = read_cron(line, "Europe/Berlin")
    first = plain.next_after(start)
    assert first is not None
    until = first + hours * 3_600_000
    counted = Counted()
    found = find_last(counted, first, until)  # type: ignore[arg-type]  # it is one in what it does
    assert first <= found <= until
    following = plain.next_after(found)
    assert following is not None
    assert following > until
    assert counted.asked < 40
