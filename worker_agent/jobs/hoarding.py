"""No hoards: jobs that would have to wait here are handed back, for another agent may be idle."""

from worker_agent.jobs.appetite import Appetite
from worker_agent.jobs.brakes import Brakes
from worker_agent.jobs.executing import GuestExecutor
from worker_agent.jobs.shared import JobsShared
from worker_agent.jobs.tally import Tally

LOOK_S = 0.025
"""While jobs wait, they are looked at this often."""


class HoardWatch:
    """Hands back jobs that are stuck behind long ones, or that were leased when jobs were shorter.

    Nothing is held ahead then until a job has ended, so that the agent does not get the same ones again.
    """

    def __init__(
        self,
        shared: JobsShared,
        executor: GuestExecutor,
        brakes: Brakes,
        appetite: Appetite,
        tally: Tally,
        slots: int,
    ) -> None:
        self._ledger = shared.ledger
        self._clock = shared.clock
        self._idle_s = shared.pace.idle_s
        self._executor = executor
        self._brakes = brakes
        self._appetite = appetite
        self._tally = tally
        self._slots = slots
        self._ends = 0
        self._moved_at = shared.clock()

    def step(self) -> None:
        """Look once, as soon as a job has to wait."""
        if self._ledger.wait_for_more_than(self._slots, self._idle_s):
            self.tick()

    def tick(self) -> None:
        """Look once."""
        now, ends, waiting = self._clock(), self._ledger.ends, self._executor.waiting
        if ends != self._ends or not waiting or not self._executor.busy:
            # Without a running job the others wait for a guest process to start, not for each other.
            self._ends, self._moved_at = ends, now
        if now - self._moved_at >= self._appetite.patience_s():
            self._hand_back(waiting)
        elif self._executor.busy and waiting:
            self._hand_back(self._appetite.find_surplus())

    def _hand_back(self, jobs: int) -> None:
        if jobs:
            self._ledger.hold_off()
            self._tally.note_hand_back(self._brakes.hand_back_waiting(keep=max(0, self._executor.waiting - jobs)))
