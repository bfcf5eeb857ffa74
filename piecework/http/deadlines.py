"""The end of a time to wait, which may be spent on many steps."""

import time
from collections.abc import Callable

LATE_S = 0.5
"""An answer that a server was asked to give at the deadline may come so much later."""
ANSWER_S = 2.0
"""A server has this long for any answer."""


class Deadline:
    """The end of a time to wait, which may never come."""

    def __init__(self, timeout_s: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        """``timeout_s``: seconds from now; None: it never comes."""
        self._clock = clock
        self._end = None if timeout_s is None else clock() + timeout_s

    def shorten(self, wait_s: float) -> float:
        """Return ``wait_s``, or less when the deadline comes first; never below 0."""
        return wait_s if self._end is None else max(0.0, min(wait_s, self._end - self._clock()))

    def allow(self) -> float | None:
        """Return how long an answer may take that a server is asked to give by the deadline; None: ever."""
        return None if self._end is None else max(self._end - self._clock() + LATE_S, ANSWER_S)

    def is_over(self) -> bool:
        return self._end is not None and self._clock() >= self._end


NEVER = Deadline(None)
