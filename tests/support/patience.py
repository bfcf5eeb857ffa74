"""Waiting in a test for what another thread does."""

import threading
import time
from collections.abc import Callable

PATIENCE_S = 10.0


def until(condition: Callable[[], bool], patience_s: float = PATIENCE_S, look_s: float = 0.001) -> None:
    """Wait until something that another thread does has happened; looks each ``look_s``."""
    pause = threading.Event()
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        pause.wait(look_s)
