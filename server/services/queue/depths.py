"""How deep the queue is: a short one is counted whenever somebody asks, a long one only now and then."""

from collections.abc import Mapping
from threading import Lock
from typing import NamedTuple

from piecework.server.services.core import Core
from piecework.server.store.queue import jobs

QUICK = 50_000
"""So many jobs are counted in a few milliseconds."""
KEPT_MS = 1000
"""A count is kept for so long for each QUICK jobs in it: counting takes half a percent of the time at most."""
KEPT_MAX_MS = 60_000


class Depth(NamedTuple):
    """How many jobs were ready or waited when they were counted."""

    enqueued: Mapping[int, int]
    """By lane id."""
    waiting: int
    """For their time, for others, or for room under a limit."""
    counted_at: int | None
    """When they were counted, milliseconds since 1970; None: right now."""


class Depths:
    """Counts what is enqueued and what waits, and keeps a count that took long."""

    def __init__(self, core: Core) -> None:
        self._database, self._clock = core.database, core.clock
        self._counting = Lock()
        self._kept: Depth | None = None
        self._counted_at = 0
        self._is_asked = False

    def read(self) -> Depth:
        """Return how deep the queue is. Only the first reading of a long queue counts it; see ``refresh``."""
        self._is_asked = True
        kept, age_ms = self._kept, self._clock() - self._counted_at
        if kept and age_ms < 3 * _find_lifetime(kept):
            return kept
        with self._counting:
            return self._kept if self._kept is not kept and self._kept else self._count()

    def refresh(self) -> None:
        """Count a long queue anew when its count is old and somebody asked for it since."""
        kept = self._kept
        if self._is_asked and kept and self._clock() - self._counted_at >= _find_lifetime(kept):
            with self._counting:
                self._is_asked = False
                self._count()

    def _count(self) -> Depth:
        now = self._clock()
        with self._database.read() as connection:
            found = Depth(jobs.count_enqueued_by_lane(connection), jobs.count_waiting(connection), None)
        is_long = _find_lifetime(found) > 0
        self._counted_at, self._kept = now, found._replace(counted_at=now) if is_long else None
        return found


def _find_lifetime(depth: Depth) -> int:
    """Return for how many milliseconds a count is kept; 0 for that of a short queue."""
    total = depth.waiting + sum(depth.enqueued.values())
    return 0 if total < QUICK else min(total * KEPT_MS // QUICK, KEPT_MAX_MS)
