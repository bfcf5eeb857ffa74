"""Which ticks of a schedule get a job when a server finds it due: one when all is well, more after an absence."""

from typing import NamedTuple

from piecework.server.services.queue.schedules.timings import Timing
from piecework.server.store.queue.schedules.schedule_records import Schedule

LATE_MS = 60_000
"""A tick that is not later than this was not missed, as when a server was just being restarted."""
CAUGHT_UP = 5
"""Ticks of one schedule that one step makes up for."""


class Due(NamedTuple):
    """What a schedule that is due has to do."""

    ticks: tuple[int, ...]
    """Those that get a job, oldest first."""
    missed: tuple[int, int] | None
    """The first and the last of those before that get none."""
    next_at: int | None
    """When it ticks next, which is due as well when there is more to make up for; None: never."""


def find_due(schedule: Schedule, timing: Timing, now: int) -> Due:
    """Tell which ticks of a schedule get a job now; its next one has come."""
    assert schedule.next_at is not None, "it is not paused"
    assert schedule.next_at <= now, "its time has come"
    ticks = _choose_ticks(schedule, timing, now)
    end = ticks[0] if ticks else now + 1
    missed = None if end == schedule.next_at else (schedule.next_at, find_last(timing, schedule.next_at, end - 1))
    return Due(ticks, missed, timing.next_after(ticks[-1] if ticks else now))


def _choose_ticks(schedule: Schedule, timing: Timing, now: int) -> tuple[int, ...]:
    first = _find_first(schedule, timing, now)
    if first is None or first > now:
        return ()
    if schedule.catch_up != "all" or schedule.overlap != "allow":
        return (find_last(timing, first, now),)
    ticks = [first]
    while len(ticks) < CAUGHT_UP and (tick := timing.next_after(ticks[-1])) is not None and tick <= now:
        ticks.append(tick)
    return tuple(ticks)


def _find_first(schedule: Schedule, timing: Timing, now: int) -> int | None:
    """Return the first tick that may still get a job."""
    first = schedule.next_at or 0
    oldest = max(
        first,
        now - LATE_MS if schedule.catch_up == "skip" else 0,
        0 if schedule.expires_ms is None else now - schedule.expires_ms + 1,
    )
    return first if oldest == first else timing.next_after(oldest - 1)


def find_last(timing: Timing, tick: int, until: int) -> int:
    """Return the last tick that is not after ``until``, of those from a given one on.

    Halves the time in question, for there may be millions in between.
    """
    following = timing.next_after(tick)
    if following is None or following > until:
        return tick
    low, high = following, until  # a tick, and a time after which there is none
    while low < high:
        middle = (low + high) // 2
        following = timing.next_after(middle)
        if following is None or following > until:
            high = middle
        else:
            low = following
    return low
