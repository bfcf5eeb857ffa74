"""How long a client waits, and how often it tries what is safe to repeat."""

import logging
import math
import random
import time
from dataclasses import dataclass

from piecework.backoff import pause_after
from piecework.client.errors import ApiError, ServerUnreachable
from piecework.http.deadlines import Deadline

REPEATED_STATUSES = frozenset({429, 502, 503, 504})
"""Answers after which another try makes sense: the server cannot do it now, or a proxy did not reach it."""
STORED_BYTES_PER_S = 10 * 1024 * 1024
"""A server flushes what it was sent at this speed at least."""
LONGEST_PAUSE_S = 30.0
"""The client pauses no longer than this, whatever ``Retry-After`` says."""
LOGGER = logging.getLogger("piecework.client")
"""Is told of repeated requests. What a program prints, and where it logs, is its own matter."""


@dataclass(frozen=True)
class RetryPolicy:
    """How long the client waits, and how often it tries."""

    attempts: int = 8
    """How often a request that is safe to repeat is tried; 1 switches repeating off."""
    connect_s: float = 5.0
    """For a connection to be made."""
    read_s: float = 30.0
    """For the next bytes of an answer."""
    poll_margin_s: float = 5.0
    """Added to a long poll's own timeout."""
    total_s: float = 90.0
    """No further try starts later than this after the first."""
    first_pause_s: float = 0.1
    """Before the second try; doubled for each further one."""
    longest_pause_s: float = 5.0
    jitter_s: float = 0.5
    """Up to this much is added to each pause at random, so that clients do not return in step."""

    def read_timeout_s(self, poll_s: float, stored_bytes: int = 0) -> float:
        """Return how long to wait for the next bytes of an answer that the server may hold for ``poll_s``.

        ``stored_bytes``: so much has to be on its disk before.
        """
        return (poll_s + self.poll_margin_s if poll_s else self.read_s) + stored_bytes / STORED_BYTES_PER_S

    def pause_s(self, failures: int, asked_s: float | None, chance: float) -> float:
        """Return how long to wait after so many failures; ``chance`` is 0 to 1.

        ``asked_s`` is what the server asked for; None when it did not.
        """
        if asked_s:
            return min(asked_s, LONGEST_PAUSE_S)
        grown_s = pause_after(failures, self.first_pause_s, self.longest_pause_s)
        return min(grown_s + chance * self.jitter_s, self.longest_pause_s)


class Tries:
    """The tries of one action that is safe to repeat."""

    def __init__(self, retries: RetryPolicy, deadline: Deadline) -> None:
        self._retries = retries
        self._deadline = deadline
        self._began = time.monotonic()
        self._failures = 0

    def note(self, error: ApiError | ServerUnreachable) -> float | None:
        """Take note of a failure; return how many seconds later to try again, None for not at all."""
        retries = self._retries
        self._failures += 1
        is_last = self._failures >= retries.attempts or time.monotonic() - self._began >= retries.total_s
        if is_last or not _may_pass(error):
            return None
        asked_s = error.retry_after_s if isinstance(error, ApiError) else None
        pause_s = retries.pause_s(self._failures, asked_s, random.random())  # noqa: S311  # keeps no secret
        if pause_s >= self._deadline.shorten(math.inf):
            return None
        LOGGER.info("%s; trying again in %.1f s", error, pause_s)
        return pause_s


def _may_pass(error: Exception) -> bool:
    """Tell whether another try makes sense."""
    return isinstance(error, ServerUnreachable) or (
        isinstance(error, ApiError) and error.http_status in REPEATED_STATUSES
    )
