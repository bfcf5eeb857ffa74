"""Whose requests wait, and whether they are still there, as far as the server's connections tell.

A thread that answers a request cannot see its connection. But each request that waits needs one of its own: when
more requests of an address wait than it has connections, some of their callers have gone.
"""

import threading
import time
from collections.abc import Callable, Mapping

LOOK_S = 0.25
"""Between two looks."""
SHARE_MAX = 0.02
"""Looking takes no more of the time than this."""

_this_thread = threading.local()


def note_caller(address: str | None) -> None:
    """Note from which address the request came that this thread answers from now on.

    None: nobody knows, or it cannot be answered before what it waits for has come.
    """
    _this_thread.caller = address


def current_caller() -> str | None:
    """Return from which address the request came that this thread answers."""
    return getattr(_this_thread, "caller", None)


def watch_callers(
    count_connections: Callable[[], Mapping[str, int]],
    tell: Callable[[Mapping[str, int], float], object],
    stop: threading.Event,
) -> None:
    """Tell now and then how many connections each address has, and since when, until ``stop`` is set."""
    pause_s = LOOK_S
    while not stop.wait(pause_s):
        began = time.monotonic()
        tell(count_connections(), began)
        pause_s = max(LOOK_S, (time.monotonic() - began) / SHARE_MAX)
