"""Bounding the memory of this very process, for a while."""

import os
import resource
import threading

import pytest

from piecework.worker_agent.runtimes.compiling.headroom import NICENESS, bounding_growth, work_behind

MIB = 1024 * 1024


@pytest.mark.slow
def test_more_memory_than_that_is_not_given_and_afterwards_it_is():
    before = resource.getrlimit(resource.RLIMIT_DATA)
    with bounding_growth(64 * MIB):
        assert len(bytearray(16 * MIB)) == 16 * MIB
        with pytest.raises(MemoryError):
            bytearray(128 * MIB)
    assert resource.getrlimit(resource.RLIMIT_DATA) == before
    assert len(bytearray(128 * MIB)) == 128 * MIB


def test_bound_ends_with_a_failure_too():
    before = resource.getrlimit(resource.RLIMIT_DATA)
    with pytest.raises(ValueError, match="broken"), bounding_growth(64 * MIB):
        raise ValueError("broken")
    assert resource.getrlimit(resource.RLIMIT_DATA) == before


def test_bound_that_holds_already_is_not_raised():
    before = resource.getrlimit(resource.RLIMIT_DATA)
    with bounding_growth(64 * MIB), bounding_growth(1024 * MIB), pytest.raises(MemoryError):
        bytearray(512 * MIB)
    assert resource.getrlimit(resource.RLIMIT_DATA) == before


def find_niceness():
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


def test_work_lets_others_go_first_and_who_wants_it_does_not():
    before = find_niceness()
    assert work_behind(find_niceness) == before + NICENESS
    assert find_niceness() == before


def test_failure_of_work_is_raised():
    with pytest.raises(ZeroDivisionError):
        work_behind(lambda: 1 // 0)
