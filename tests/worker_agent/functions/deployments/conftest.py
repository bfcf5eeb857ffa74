"""Replicas for tests; see ``replica_world``."""

import pytest
from replica_world import HandClock, World


@pytest.fixture
def clock():
    return HandClock()


@pytest.fixture
def world():
    return World()
