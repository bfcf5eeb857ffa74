"""A server in memory, under a clock of the test's own."""

import pytest
import structlog
from fake_control_server import FakeControlServer
from hand_clock import HandClock


@pytest.fixture
def clock():
    return HandClock(1000.0, per_s=1)


@pytest.fixture
def server(clock):
    return FakeControlServer(clock)


@pytest.fixture(autouse=True)
def log():
    with structlog.testing.capture_logs() as entries:
        yield entries
