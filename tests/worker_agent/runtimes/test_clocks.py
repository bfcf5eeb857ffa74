"""Clock and random numbers that come from a seed."""

import pytest

from piecework.worker_agent.runtimes.stopping import StoppedError, StopReason, StopSignal
from piecework.worker_agent.runtimes.wasi.clocks import ClockId, SeededClock, seeded_random

YEAR_2020_NS = 1_577_836_800 * 10**9
TWO_YEARS_NS = 2 * 366 * 86_400 * 10**9


def test_seeded_clock_is_the_same_for_the_same_seed():
    def read(seed):
        clock = SeededClock(seed, StopSignal())
        return [clock.read_ns(which) for which in (ClockId.REALTIME, ClockId.MONOTONIC, ClockId.REALTIME)]

    assert read(b"a") == read(b"a") != read(b"b")


def test_seeded_clock_rises_and_shows_a_plausible_time():
    clock = SeededClock(b"", StopSignal())
    first, second = clock.read_ns(ClockId.REALTIME), clock.read_ns(ClockId.REALTIME)
    assert YEAR_2020_NS < first < second < YEAR_2020_NS + TWO_YEARS_NS
    assert clock.read_ns(ClockId.MONOTONIC) < 10**6


def test_seeded_sleep_moves_the_clock_and_hears_a_stop():
    stop = StopSignal()
    clock = SeededClock(b"", stop)
    before = clock.read_ns(ClockId.MONOTONIC)
    clock.sleep(5 * 10**9)
    assert clock.read_ns(ClockId.MONOTONIC) - before == 5 * 10**9 + clock.resolution_ns
    stop.stop(StopReason.TIMEOUT)
    with pytest.raises(StoppedError):
        clock.sleep(1)


def test_seeded_random_does_not_depend_on_how_it_is_asked_for():
    whole, parts = seeded_random(b"a"), seeded_random(b"a")
    expected = whole(300)
    assert b"".join(parts(size) for size in (1, 0, 63, 64, 100, 72)) == expected
    assert seeded_random(b"b")(300) != expected
