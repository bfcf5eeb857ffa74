"""How guests of WASI preview 1 wait: for time to pass, and for streams."""

import struct
import threading
import time

import pytest
from patience import PATIENCE_S

from piecework.worker_agent.runtimes.stopping import StoppedError, StopReason
from piecework.worker_agent.runtimes.wasi.errno import Errno


def clock_subscription(userdata, timeout_ns, *, clock=1, absolute=False):
    return struct.pack("<QB7xI4xQQH6x", userdata, 0, clock, timeout_ns, 0, absolute)


def stream_subscription(userdata, kind, fd):
    return struct.pack("<QB7xI28x", userdata, kind, fd)


def read_events(probe, place, count):
    return [struct.unpack("<QHB5xQH6x", probe.get(place + 32 * index, 32)) for index in range(count)]


def poll(probe, *subscriptions):
    probe.put(0, b"".join(subscriptions))
    answer = probe.call("poll_oneoff", 0, 1024, len(subscriptions), 4096)
    assert answer == Errno.SUCCESS
    return read_events(probe, 1024, probe.get_u32(4096))


def test_sleep_takes_as_long_as_asked(probe):
    started = time.monotonic()
    assert poll(probe, clock_subscription(5, 30_000_000)) == [(5, 0, 0, 0, 0)]
    assert 0.03 <= time.monotonic() - started < PATIENCE_S


def test_sleep_until_a_point_in_time(probe):
    started = time.monotonic()
    until = time.time_ns() + 30_000_000
    assert poll(probe, clock_subscription(5, until, clock=0, absolute=True)) == [(5, 0, 0, 0, 0)]
    assert poll(probe, clock_subscription(6, 1, clock=0, absolute=True)) == [(6, 0, 0, 0, 0)]
    assert 0.025 <= time.monotonic() - started < PATIENCE_S


def test_first_of_two_clocks_wakes(probe):
    events = poll(probe, clock_subscription(1, 3600 * 10**9), clock_subscription(2, 1000))
    assert events == [(2, 0, 0, 0, 0)]


def test_streams_are_ready_at_once(probe):
    events = poll(
        probe,
        clock_subscription(1, 3600 * 10**9),
        stream_subscription(2, 1, 0),
        stream_subscription(3, 2, 1),
        stream_subscription(4, 1, 9),
    )
    assert events == [(2, 0, 1, 10, 0), (3, 0, 2, 65536, 0), (4, Errno.BADF, 1, 0, 0)]


def test_input_at_its_end_hangs_up(make_probe):
    assert poll(make_probe(b""), stream_subscription(2, 1, 0)) == [(2, 0, 1, 0, 1)]


@pytest.mark.parametrize("count", [0, -1, 65_537])
def test_wrong_number_of_subscriptions_is_invalid(probe, count):
    assert probe.call("poll_oneoff", 0, 1024, count, 4096) == Errno.INVAL


def test_unknown_kind_of_subscription_is_invalid(probe):
    probe.put(0, stream_subscription(1, 7, 0))
    assert probe.call("poll_oneoff", 0, 1024, 1, 4096) == Errno.INVAL


def test_stop_wakes_a_sleeping_guest(probe):
    timer = threading.Timer(0.05, probe.stop.stop, [StopReason.TIMEOUT])
    timer.start()
    started = time.monotonic()
    with pytest.raises(StoppedError):
        poll(probe, clock_subscription(1, 3600 * 10**9))
    assert time.monotonic() - started < PATIENCE_S
    timer.join()


def test_deterministic_sleep_takes_no_time_but_moves_the_clock(make_probe):
    probe = make_probe(seed=b"s")
    assert probe.call("clock_time_get", 1, 1, 5000) == Errno.SUCCESS
    started = time.monotonic()
    poll(probe, clock_subscription(1, 3600 * 10**9))
    assert time.monotonic() - started < PATIENCE_S
    assert probe.call("clock_time_get", 1, 1, 5008) == Errno.SUCCESS
    assert probe.get_u64(5008) - probe.get_u64(5000) > 3600 * 10**9
