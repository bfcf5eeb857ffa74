"""Jobs that would have to wait here are handed back, for another agent may be idle."""

from piecework.worker_agent.jobs.executing import GuestExecutor
from piecework.worker_agent.jobs.job_logger import JobLogger
from piecework.worker_agent.jobs.leases.prefetching import Prefetching
from piecework.worker_agent.jobs.shared import JobsShared
from piecework.worker_agent.jobs.work.stopping import JobStopper

LOOK_S = 0.025
"""While jobs wait, they are looked at this often."""


class HandBackWatch:
    """Hands back jobs that are stuck behind long ones, or that were leased when jobs were shorter.

    Nothing is held ahead then until a job has ended, so that the agent does not get the same ones again.
    """

    def __init__(
        self,
        shared: JobsShared,
        executor: GuestExecutor,
        stopper: JobStopper,
        prefetching: Prefetching,
        job_logger: JobLogger,
        slots: int,
    ) -> None:
        self._lease_table = shared.lease_table
        self._clock = shared.clock
        self._idle_s = shared.pace.idle_s
        self._executor = executor
        self._stopper = stopper
        self._prefetching = prefetching
        self._job_logger = job_logger
        self._slots = slots
        self._ends = 0
        self._moved_at = shared.clock()

    def step(self) -> None:
        """Look once, as soon as a job has to wait."""
        if self._lease_table.wait_for_more_than(self._slots, self._idle_s):
            self.tick()

    def tick(self) -> None:
        """Look once."""
        now, ends, waiting = self._clock(), self._lease_table.ends, self._executor.waiting
        if ends != self._ends or not waiting or not self._executor.busy:
            # Without a running job the others wait for a guest process to start, not for each other.
            self._ends, self._moved_at = ends, now
        if now - self._moved_at >= self._prefetching.patience_s():
            self._hand_back(waiting)
        elif self._executor.busy and waiting:
            self._hand_back(self._prefetching.find_surplus())

    def _hand_back(self, jobs: int) -> None:
        if jobs:
            self._lease_table.hold_off()
            self._job_logger.note_hand_back(
                self._stopper.hand_back_waiting(keep=max(0, self._executor.waiting - jobs))
            )
