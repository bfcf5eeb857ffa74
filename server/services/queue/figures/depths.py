"""How deep the queue is: a short one is counted whenever somebody asks, a long one only now and then."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from threading import Lock
from typing import Generic, NamedTuple, TypeVar

from piecework.server.services.core import Core
from piecework.server.store.engine.database import Connection
from piecework.server.store.queue.jobs import jobs
from piecework.server.store.queue.jobs.jobs import EnqueuedJobs

QUICK = 50_000
"""So many jobs are counted in a few milliseconds."""
KEPT_MS = 1000
"""A count is kept for so long for each QUICK jobs in it: counting takes half a percent of the time."""
KEPT_MAX_MS = 60_000
KEPT_TIMES = 30
"""But no count is made anew before so many times as long as it took."""


class Depth(NamedTuple):
    """How many jobs were ready or waited when they were counted."""

    enqueued: Mapping[int, int]
    """By lane id."""
    waiting: int
    """For their time, for others, or for room under a limit."""
    counted_at: int | None
    """When they were counted, milliseconds since 1970; None: right now."""


class LambdaDepth(NamedTuple):
    """How many jobs of each lambda were ready when they were counted."""

    enqueued: Mapping[tuple[int, int], EnqueuedJobs]
    """By the ids of lambda and lane."""
    counted_at: int | None
    """As that of ``Depth``."""


T = TypeVar("T", Depth, LambdaDepth)


class KeptCount(ABC, Generic[T]):
    """A count that is kept when it took long."""

    def __init__(self, core: Core) -> None:
        self._database, self._clock = core.database, core.clock
        self._counting = Lock()
        self._kept: T | None = None
        self._now_s = core.sleeper.now_s
        self._counted_at = self._took_ms = 0
        self._is_asked = False

    def read(self) -> T:
        """Return how deep the queue is. Only the first reading of a long queue counts it; see ``refresh``."""
        self._is_asked = True
        kept, age_ms = self._kept, self._clock() - self._counted_at
        if kept and age_ms < 3 * self._find_lifetime(kept):
            return kept
        with self._counting:
            return self._kept if self._kept is not kept and self._kept else self._count_anew()

    def refresh(self) -> None:
        """Count a long queue anew when its count is old and somebody asked for it since."""
        kept = self._kept
        if self._is_asked and kept and self._clock() - self._counted_at >= self._find_lifetime(kept):
            with self._counting:
                self._is_asked = False
                self._count_anew()

    def _count_anew(self) -> T:
        now, began_s = self._clock(), self._now_s()
        with self._database.read() as connection:
            found = self._count(connection)
        self._took_ms = round(1000 * (self._now_s() - began_s))
        is_long = self._find_lifetime(found) > 0
        self._counted_at, self._kept = now, found._replace(counted_at=now) if is_long else None
        return found

    def _find_lifetime(self, counted: T) -> int:
        """Return for how many milliseconds a count is kept; 0 for that of a short queue."""
        total, quick = self._measure(counted)
        return 0 if total < quick else max(min(total * KEPT_MS // quick, KEPT_MAX_MS), KEPT_TIMES * self._took_ms)

    @abstractmethod
    def _count(self, connection: Connection) -> T:
        """Count now."""

    @abstractmethod
    def _measure(self, counted: T) -> tuple[int, int]:
        """Return how many jobs were counted, and how many are counted in a few milliseconds."""


class Depths(KeptCount[Depth]):
    """Counts what is enqueued, by lane, and what waits."""

    def _count(self, connection: Connection) -> Depth:
        return Depth(jobs.count_enqueued_by_lane(connection), jobs.count_waiting(connection), None)

    def _measure(self, counted: Depth) -> tuple[int, int]:
        return counted.waiting + sum(counted.enqueued.values()), QUICK


class LambdaDepths(KeptCount[LambdaDepth]):
    """Counts what is enqueued by lambda and lane."""

    def _count(self, connection: Connection) -> LambdaDepth:
        return LambdaDepth(jobs.count_enqueued_by_lambda(connection), None)

    def _measure(self, counted: LambdaDepth) -> tuple[int, int]:
        return sum(each.total for each in counted.enqueued.values()), QUICK
