"""How many jobs to hold: enough that no slot waits for the network, few enough that others get some."""

import math
import threading
from collections import Counter, OrderedDict
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from piecework.protocol.ids import Id
from piecework.protocol.messages import LeasedJob, LeaseRef
from piecework.worker_agent.jobs.leases.lease_table import Demand
from piecework.worker_agent.jobs.leases.outbox import ref_of
from piecework.worker_agent.link.link import Clock

WORK_AHEAD_S = 0.12
"""Each slot may have this much work waiting. An exchange costs milliseconds of CPU time, whatever it brings."""
BYTES_AHEAD = 8 * 1024 * 1024
"""Inputs that wait for one slot should not take more than this, but for the next one."""
REFILL_SHARE, SOON_SHARE = 2 / 3, 1 / 3
"""More is asked for when this share of what may be held ahead is gone: the second when that is less work than
WORK_AHEAD_S, lest no slot has any before the answer comes."""
FIRST_AHEAD = 3
"""Jobs held ahead, per slot, of the first after a pause: they may be others than those before it."""
LONG_S = 2 * WORK_AHEAD_S
"""A job that took longer counts as this long: those that wait behind it are handed back before."""
NEWEST_SHARE = 1 / 8
"""Weight of the newest job of a lambda in the mean of its jobs, once there were some."""
LAMBDAS_MAX = 1000
"""Lambdas that are remembered, those that ran last."""
QUICK_S = 0.01
"""The outcomes of jobs that take no longer are worth waiting for: they ride on the next contract."""
HOP_S = 0.005
"""What the way to a guest process and back may take."""
LINGER_S = 0.08
"""How long an outcome may wait for a contract to ride on while there is no room for jobs."""
GATHER_S = 0.02
"""How long an outcome may wait for others while all slots are busy, and the server has no jobs anyway."""
OVERHEAD_JOBS = 64
"""The overhead is that of about so many jobs, the newest."""
STUCK_S = 0.1
"""Jobs that wait are stuck when none has ended for so long, or for twice as long as one takes if that is more."""


class SlotOverhead:
    """By how much longer a job occupies its slot than it runs: reports travel, and other slots may be taken."""

    def __init__(self, slots: int, clock: Clock) -> None:
        self._slots = slots
        self._clock = clock
        self._ended_at: float | None = None
        """When the last job ended, if there was one for its slot."""
        self._jobs = 0
        self._mean_s = 0.0

    @property
    def each_s(self) -> float:
        """That time, for one job; 0 while nothing is known."""
        return max(0.0, self._mean_s)

    def learn(self, wall_s: float, *, is_busy: bool) -> None:
        """Take in a job that has just ended. ``is_busy``: there is another for its slot."""
        now = self._clock()
        if self._ended_at is not None and wall_s <= WORK_AHEAD_S:
            self._jobs += 1
            newest_s = min((now - self._ended_at) * self._slots - wall_s, WORK_AHEAD_S)
            # Reports come by the batch: only the mean of many tells something.
            self._mean_s += (newest_s - self._mean_s) * max(1 / OVERHEAD_JOBS, 1 / self._jobs)
        self._ended_at = now if is_busy else None


@dataclass(slots=True)
class Usual:
    """How long the jobs of a lambda usually take."""

    mean_s: float = 0.0
    jobs: int = 0

    def learn(self, wall_s: float) -> None:
        """Take in one more job."""
        self.jobs += 1
        self.mean_s += (min(wall_s, LONG_S) - self.mean_s) * max(NEWEST_SHARE, 1 / self.jobs)


class Prefetching:
    """Learns from the jobs how many of them to hold. Its methods may be called from any thread.

    Of which lambdas the next jobs are is not known before they are here: probably of those of the last contract.
    A lambda that never ran is expected to be like the others were when they were new, and at the very first to be
    long. ``prefetch`` is the most jobs ahead, per slot, and ``bytes_ahead`` the most of their inputs.
    """

    def __init__(self, slots: int, prefetch: int, clock: Clock, bytes_ahead: int = BYTES_AHEAD) -> None:
        self._slots = slots
        self._bytes_ahead = bytes_ahead
        self._overhead = SlotOverhead(slots, clock)
        self._prefetch = prefetch
        self._lock = threading.Lock()
        self._usual: OrderedDict[Id, Usual] = OrderedDict()
        self._newcomer = Usual(LONG_S, 1)
        self._held: dict[LeaseRef, Id] = {}
        """The lambda of each job that is held."""
        self._last: Counter[Id] = Counter()
        """How many jobs of which lambda came last."""
        self._mean_bytes = 0.0
        self._sick = False

    def take_up(self, jobs: Collection[LeasedJob]) -> None:
        """Note which jobs came with one contract."""
        with self._lock:
            self._last = Counter([job.lambda_ for job in jobs])
            for job in jobs:
                self._held[ref_of(job)] = job.lambda_
                self._mean_bytes += 0.3 * (_measure(job) - self._mean_bytes)

    def observe(self, ref: LeaseRef, wall_s: float) -> None:
        """Note how long a job took that was held, and is done."""
        with self._lock:
            self._sick = False
            lambda_ = self._held.pop(ref, None)
            if lambda_ is None:
                return
            self._overhead.learn(wall_s, is_busy=len(self._held) >= self._slots)
            usual = self._usual.get(lambda_)
            if usual is None:
                self._newcomer.learn(wall_s)
                usual = self._usual[lambda_] = Usual()
            usual.learn(wall_s)
            self._usual.move_to_end(lambda_)
            if len(self._usual) > LAMBDAS_MAX:
                self._usual.popitem(last=False)

    def let_go(self, refs: Iterable[LeaseRef]) -> None:
        """Note that jobs are not held any more. Safe to repeat."""
        with self._lock:
            for ref in refs:
                self._held.pop(ref, None)

    def sicken(self) -> None:
        """Hold one job at a time until one has run: this node could not run the last one."""
        self._sick = True

    def find_surplus(self) -> int:
        """Return how many of the jobs that are held would have to wait for much longer than was meant.

        Only what is known counts: jobs of a lambda that never ran may be short.
        """
        with self._lock:
            drag_s = self._overhead.each_s
            known = [usual.mean_s + drag_s for id_ in self._held.values() if (usual := self._usual.get(id_))]
        ahead = self._slots * WORK_AHEAD_S * len(known) / max(sum(known), 1e-6)
        return len(known) - self._slots - int(ahead) if len(known) > self._slots + 2 * ahead else 0

    def patience_s(self) -> float:
        """Return for how long no job may end before those that wait are stuck."""
        with self._lock:
            mean_s = self._mean_s()
        return max(STUCK_S, 2 * mean_s) if mean_s <= WORK_AHEAD_S else STUCK_S

    def demand(self) -> Demand:
        """Return how many jobs to hold now, and at which room to ask for more."""
        if self._sick:
            return Demand(capacity=1)
        with self._lock:
            mean_s = self._mean_s()
        wanted = int(WORK_AHEAD_S / max(mean_s, 1e-6))
        each = min(wanted, self._find_most())
        ahead = self._slots * each
        return Demand(
            self._slots + ahead,
            slots=self._slots,
            refill=max(1, math.ceil(ahead * (REFILL_SHARE if each == wanted else SOON_SHARE))),
            first=1 + min(FIRST_AHEAD, each),
            linger_s=LINGER_S,
            gather_s=GATHER_S,
            patience_s=HOP_S + 2 * mean_s if mean_s <= QUICK_S else 0.0,
        )

    def _mean_s(self) -> float:
        """Return how long the next job probably occupies a slot."""
        jobs = self._last.total()
        if not jobs:
            return LONG_S
        runs_s = sum(n * self._usual.get(id_, self._newcomer).mean_s for id_, n in self._last.items()) / jobs
        return runs_s + self._overhead.each_s

    def _find_most(self) -> int:
        """Return how many jobs may be held ahead, per slot, however short they are."""
        return min(self._prefetch, max(1, int(self._bytes_ahead / max(self._mean_bytes, 1.0))))


def _measure(job: LeasedJob) -> int:
    """Return how many bytes are fetched for a job."""
    return job.input_size + sum([each.size for each in job.all_files])
