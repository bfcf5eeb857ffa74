"""What the start of a guest process costs: there are many of them, and a call may wait for one."""

import pytest
from loading import loaded_by

pytestmark = pytest.mark.integration


def test_guest_process_loads_nothing_of_the_agent():
    loaded = loaded_by("piecework.worker_agent.guests.child")
    assert "wasmtime" in loaded
    assert (
        loaded
        & {
            "structlog",
            "rich",
            "asyncio",
            "click",
            "flask",
            "piecework.worker_agent.guests.slot",
            "http.client",
            "ssl",
        }
        == set()
    )
