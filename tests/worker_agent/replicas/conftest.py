"""Replicas made of nothing."""

import pytest
from replica_world import HandClock, World


@pytest.fixture
def clock():
    return HandClock()


@pytest.fixture
def world():
    return World()
