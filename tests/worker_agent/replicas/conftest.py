"""Replicas made of nothing."""

import pytest
from hand_clock import HandClock
from replica_world import World


@pytest.fixture
def clock():
    return HandClock(1000.0, per_s=1)


@pytest.fixture
def world():
    return World()
