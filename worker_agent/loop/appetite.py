"""How many jobs to hold: enough that no slot waits for the network, few enough that nobody hoards."""

import math

from worker_agent.loop.ledger import Wish

WORK_AHEAD_S = 0.05
"""Each slot should have this much work waiting: several round trips to the server."""
BYTES_AHEAD = 8 * 1024 * 1024
"""Inputs that wait for one slot should not take more than this, but for the next one."""
LONG_S = 2.0
"""Jobs that take longer are not held ahead: another agent may be idle."""
NEWEST_SHARE = 0.3
"""Weight of the newest job in the running mean."""
QUICK_S = 0.01
"""The outcomes of jobs that take no longer are worth waiting for: they ride on the next contract."""
HOP_S = 0.005
"""What the way to a guest process and back may take."""
LINGER_S = 0.02
"""How long an outcome may wait for a contract to ride on while there is no room for jobs."""


class Appetite:
    """Learns from the jobs how many of them to hold.

    Until the first job has ended none is held ahead. ``prefetch`` is the most jobs ahead, per slot.
    """

    def __init__(self, slots: int, prefetch: int) -> None:
        self._slots = slots
        self._prefetch = prefetch
        self._mean_s: float | None = None
        self._mean_bytes = 0.0
        self._sick = False

    def observe(self, wall_s: float) -> None:
        """Note how long a job took."""
        self._sick = False
        mean_s = wall_s if self._mean_s is None else self._mean_s
        self._mean_s = mean_s + NEWEST_SHARE * (wall_s - mean_s)

    def observe_input(self, size_bytes: int) -> None:
        """Note how large a job's input is."""
        self._mean_bytes += NEWEST_SHARE * (size_bytes - self._mean_bytes)

    def sicken(self) -> None:
        """Hold one job at a time until one has run: this node could not run the last one."""
        self._sick = True

    def lose(self) -> None:
        """Hold none ahead until the jobs have been short for a while: some got stuck behind long ones."""
        self._mean_s = max(self._mean_s or 0.0, 2 * LONG_S)

    def wait_s(self, waiting: int) -> float:
        """Return how long the last of ``waiting`` jobs will have to wait, if they are like those before."""
        return waiting * (self._mean_s or 0.0) / self._slots

    def wish(self) -> Wish:
        """Return how many jobs to hold now, and at which room to ask for more."""
        if self._sick:
            return Wish(capacity=1)
        ahead = self._slots * self._ahead_per_slot()
        return Wish(
            self._slots + ahead, refill=max(1, ahead // 2), linger_s=LINGER_S, patience_s=self._patience_s()
        )

    def _patience_s(self) -> float:
        """Return how long to wait for an outcome of a job that runs, before the server is polled for another."""
        if self._mean_s is None or self._mean_s > QUICK_S:
            return 0.0
        return HOP_S + 2 * self._mean_s

    def _ahead_per_slot(self) -> int:
        if self._mean_s is None or self._mean_s > LONG_S:
            return 0
        needed = math.ceil(WORK_AHEAD_S / max(self._mean_s, 1e-6))
        fitting = max(1, int(BYTES_AHEAD / max(self._mean_bytes, 1.0)))
        return min(self._prefetch, needed, fitting)
