"""Stopping a guest from another thread."""

import threading

import pytest

from piecework.worker_agent.runtimes.stopping import StoppedError, StopReason, StopSignal


def test_stop_interrupts_guest_code_once():
    calls = []
    signal = StopSignal()

    def guest():
        signal.stop(StopReason.TIMEOUT)
        signal.stop(StopReason.CANCELLED)

    signal.run(guest, lambda: calls.append("now"))
    assert (calls, signal.reason) == (["now"], StopReason.TIMEOUT)


def test_stop_after_the_guest_interrupts_nobody():
    calls = []
    signal = StopSignal()
    signal.run(lambda: None, lambda: calls.append("now"))
    signal.stop(StopReason.TIMEOUT)
    assert calls == []


def test_stop_before_the_guest_keeps_it_from_starting():
    signal = StopSignal()
    signal.stop(StopReason.CANCELLED)
    with pytest.raises(StoppedError):
        signal.run(lambda: pytest.fail("the guest started"), lambda: None)


def test_stop_ends_a_wait():
    signal = StopSignal()
    signal.wait(0.001)
    timer = threading.Timer(0.02, signal.stop, [StopReason.TIMEOUT])
    timer.start()
    with pytest.raises(StoppedError):
        signal.wait(30)
    timer.join()
