"""The thread that no guest and no request can hold up: heartbeats, and watching over the other loops."""

from collections.abc import Callable

import structlog

from worker_agent.loop.appetite import Appetite
from worker_agent.loop.brakes import Brakes
from worker_agent.loop.contracting import Contracting
from worker_agent.loop.control import GuestExecutor
from worker_agent.loop.ledger import Ledger
from worker_agent.loop.link import Clock

log = structlog.get_logger()

TICK_MAX_S = 2.0
"""A tick counts for no longer than this: the whole process may have been stopped for a while."""
PATIENCE_S = 2.0
"""Jobs that wait while none has ended for this long, or that would have to wait longer, are handed back."""


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


class HoardWatch:
    """Hands back jobs that would have to wait long: another agent may be idle.

    They were leased when jobs were shorter, or they are stuck behind long ones.
    """

    def __init__(
        self, ledger: Ledger, executor: GuestExecutor, brakes: Brakes, appetite: Appetite, clock: Clock
    ) -> None:
        self._ledger = ledger
        self._executor = executor
        self._brakes = brakes
        self._appetite = appetite
        self._clock = clock
        self._ends = 0
        self._moved_at = clock()

    def tick(self) -> None:
        """Look once; called about every second."""
        now, ends, waiting = self._clock(), self._ledger.ends, self._executor.waiting
        if ends != self._ends or not waiting or not self._executor.busy:
            # Without a running job the others wait for a guest process to start, not for each other.
            self._ends, self._moved_at = ends, now
        if now - self._moved_at >= PATIENCE_S:
            self._appetite.lose()
            self._hand_back(now)
        elif self._executor.busy and self._appetite.wait_s(waiting) > PATIENCE_S:
            self._hand_back(now)

    def _hand_back(self, now: float) -> None:
        self._moved_at = now
        log.info("handed back jobs that had to wait", jobs=self._brakes.hand_back_waiting())
