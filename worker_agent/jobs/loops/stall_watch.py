"""The thread that no guest and no request can hold up: heartbeats, and watching over the other loops."""

from collections.abc import Callable

import structlog

from piecework.worker_agent.jobs.loops.contracting import Contracting
from piecework.worker_agent.link.link import Clock

log = structlog.get_logger()

TICK_MAX_S = 2.0
"""A tick counts for no longer than this: the whole process may have been stopped for a while."""


class StallWatch:
    """Leaves when the contract loop makes no progress, neither an answer nor a failure, for too long."""

    def __init__(self, contracting: Contracting, limit_s: float, clock: Clock, leave: Callable[[], None]) -> None:
        self._contracting = contracting
        self._limit_s = limit_s
        self._clock = clock
        self._leave = leave
        self._seen = -1
        self._looked_at = clock()
        self._stalled_s = 0.0

    def tick(self) -> None:
        """Look once; called about every second."""
        now, progress = self._clock(), self._contracting.progress
        self._stalled_s += min(now - self._looked_at, TICK_MAX_S)
        self._looked_at = now
        if progress != self._seen:
            self._seen, self._stalled_s = progress, 0.0
        elif self._stalled_s >= self._limit_s:
            log.critical("contract loop is dead, leaving", stalled_s=round(self._stalled_s))
            self._leave()
