"""Waiting in a test for what another thread does."""

import threading
import time
from collections.abc import Callable

PATIENCE_S = 15.0
"""For what is woken: less than the polls of tests last that nobody ends."""
LONG_S = 60.0
"""For all else, on a machine that is busy with other things."""


def until(condition: Callable[[], bool], patience_s: float = LONG_S, look_s: float = 0.001) -> None:
    """Wait until something that another thread does has happened; looks each ``look_s``."""
    pause = threading.Event()
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        pause.wait(look_s)
