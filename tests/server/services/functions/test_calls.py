"""Figures of calls."""

import pytest
from hand_clock import HandClock
from hypothesis import given, strategies as st

from piecework.server.services.functions.calls import WINDOW_S, CallStatistics, Histogram


@given(st.lists(st.floats(1e-5, 1000), min_size=1, max_size=200), st.sampled_from([0.5, 0.9, 0.99, 1.0]))
def test_a_quantile_is_off_by_two_percent_at_most(seconds: list[float], share: float):
    histogram = Histogram()
    for each in seconds:
        histogram.add(each)
    exact = sorted(seconds)[max(0, -int(-share * len(seconds) // 1) - 1)]
    assert histogram.quantile(share) == pytest.approx(exact, rel=0.021)


def test_nothing_has_no_quantile():
    assert Histogram().quantile(0.5) is None


def test_calls_errors_and_jobs_are_counted_by_revision():
    calls = CallStatistics(HandClock(1000.0, per_s=1))
    assert calls.read("hola", "blue") is None
    calls.note("hola", "blue", 200, 0.010)
    calls.note("hola", "blue", 404, 0.010)
    calls.note("hola", "blue", 502, 0.010, as_job=True)
    found = calls.read("hola", "blue")
    assert found is not None
    assert (found.calls, found.errors, found.jobs) == (3, 1, 1)
    assert found.p50_ms == pytest.approx(10, rel=0.021)
    [figures] = calls.figures()
    assert (figures.function, figures.revision, figures.calls) == ("hola", "blue", 3)
    assert figures.seconds == pytest.approx(0.03)
    assert figures.quantiles.keys() == {0.5, 0.99}


def test_quantiles_are_of_the_latest_calls_and_counts_of_all():
    clock = HandClock(1000.0, per_s=1)
    calls = CallStatistics(clock)
    calls.note("hola", "blue", 200, 9.0)
    clock.now += WINDOW_S
    calls.note("hola", "blue", 200, 1.0)
    both = calls.read("hola", "blue")
    clock.now += WINDOW_S
    calls.note("hola", "blue", 200, 1.0)
    later = calls.read("hola", "blue")
    clock.now += 3 * WINDOW_S
    quiet = calls.read("hola", "blue")
    assert both is not None and later is not None and quiet is not None  # noqa: PT018
    assert both.p99_ms == pytest.approx(9000, rel=0.021)
    assert later.p99_ms == pytest.approx(1000, rel=0.021)
    assert (quiet.calls, quiet.p99_ms) == (3, None)


def test_what_is_gone_is_forgotten():
    calls = CallStatistics(HandClock(1000.0, per_s=1))
    calls.note("hola", "blue", 200, 1.0)
    calls.note("hola", "green", 200, 1.0)
    calls.keep({("hola", "green")})
    assert [each.revision for each in calls.figures()] == ["green"]
