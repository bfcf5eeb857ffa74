"""Ends an agent that has had nothing to do for a while, where its node was started for the jobs that there are."""

from collections.abc import Callable

from piecework.worker_agent.jobs.job_logger import JobLogger
from piecework.worker_agent.jobs.leases.lease_table import LeaseTable
from piecework.worker_agent.jobs.loops.stall_watch import TICK_MAX_S
from piecework.worker_agent.link.link import Clock


class IdleWatch:
    """Calls something once when no job was held, and none ended, for so many seconds."""

    def __init__(
        self,
        lease_table: LeaseTable,
        job_logger: JobLogger,
        limit_s: float,
        clock: Clock,
        leave: Callable[[], None],
    ) -> None:
        """``limit_s`` 0: never."""
        self._lease_table, self._job_logger = lease_table, job_logger
        self._limit_s = limit_s
        self._clock = clock
        self._leave = leave
        self._ended = 0
        self._looked_at = clock()
        self._idle_s = 0.0

    def tick(self) -> None:
        """Look once; called about every second."""
        now, ended = self._clock(), sum(self._job_logger.count_ends().values())
        self._idle_s += min(now - self._looked_at, TICK_MAX_S)
        self._looked_at = now
        if ended != self._ended or self._lease_table.refs():
            self._ended, self._idle_s = ended, 0.0
        elif 0 < self._limit_s <= self._idle_s:
            self._leave()
