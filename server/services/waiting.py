"""Requests that wait: contracts for a job, and readers for a job's state.

Each waiting request has a lock of its own, so that an event wakes exactly the requests it is for.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from piecework.protocol.states import JobState
from server.errors import Busy, Stopping
from server.store import lanes
from server.store.database import Database
from server.store.records import Lane

Admits = Callable[[Lane], bool]
Concerns = Callable[[int, JobState], bool]
"""Whether it is what a reader waits for that a job is now in a state."""


class Waiter:
    """One waiting request. It sleeps at most once; waking it before it sleeps is not lost."""

    __slots__ = ("_lock", "_woken", "dismissed")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()
        self._woken = False
        self.dismissed = False
        """Woken because nobody wants its answer any more."""

    def wait(self, timeout_s: float) -> bool:
        """Sleep until woken. Returns False when ``timeout_s`` passed first."""
        return self._lock.acquire(timeout=max(0.0, timeout_s))

    def wake(self) -> None:
        """End the sleep. The caller holds the lock of the register that the waiter is in."""
        if not self._woken:
            self._woken = True
            self._lock.release()


class _Register:
    """What both kinds of waiting have in common: a cap, and an end."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._closed = False
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def _enter(self) -> None:
        if self._closed:
            raise Stopping("the server is stopping; try again in a moment")
        if self._count >= self._limit:
            raise Busy(f"{self._limit} requests wait already, which is the server's limit; try again later")
        self._count += 1


class Waiters(_Register):
    """Contracts that wait for a job, in the order in which they came."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self._parked: dict[Waiter, tuple[int, Admits]] = {}

    @contextmanager
    def park(self, worker_id: int, admits: Admits) -> Iterator[Waiter]:
        """Register a worker's waiter for jobs in lanes that ``admits`` approves. Raises Busy or Stopping.

        Look for a job after parking and before sleeping: a job that comes in between wakes the waiter.
        """
        waiter = Waiter()
        with self._lock:
            self._enter()
            self._parked[waiter] = worker_id, admits
        try:
            yield waiter
        finally:
            with self._lock:
                self._count -= 1
                self._parked.pop(waiter, None)

    def wake(self, lane: Lane, jobs: int) -> int:
        """Wake a waiter for each of ``jobs`` new jobs of a lane, longest waiting first. Returns how many."""
        with self._lock:
            chosen: list[Waiter] = []
            for waiter, (_, admits) in self._parked.items():
                if len(chosen) == jobs:
                    break
                if admits(lane):
                    chosen.append(waiter)
            for waiter in chosen:
                del self._parked[waiter]
                waiter.wake()
            return len(chosen)

    def dismiss(self, worker_id: int) -> None:
        """End the waits of a worker without a job."""
        with self._lock:
            for waiter in [each for each, (owner, _) in self._parked.items() if owner == worker_id]:
                waiter.dismissed = True
                del self._parked[waiter]
                waiter.wake()

    def close(self) -> None:
        """Wake everyone, and take nobody any more."""
        with self._lock:
            self._closed = True
            for waiter in self._parked:
                waiter.wake()
            self._parked.clear()


class JobWatch(_Register):
    """Readers that wait for something to happen to some jobs."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self._watched: dict[int, dict[Waiter, Concerns]] = {}

    @contextmanager
    def park(self, job_ids: Iterable[int], concerns: Concerns) -> Iterator[Waiter]:
        """Register a waiter for what ``concerns`` approves of. Raises Busy or Stopping.

        Read the jobs after parking and before sleeping: a change in between wakes the waiter.
        """
        waiter, ids = Waiter(), set(job_ids)
        with self._lock:
            self._enter()
            for id_ in ids:
                self._watched.setdefault(id_, {})[waiter] = concerns
        try:
            yield waiter
        finally:
            with self._lock:
                self._count -= 1
                for id_ in ids:
                    self._forget(id_, waiter)

    def _forget(self, id_: int, waiter: Waiter) -> None:
        waiting = self._watched[id_]
        del waiting[waiter]
        if not waiting:
            del self._watched[id_]

    def wake(self, states: Mapping[int, JobState]) -> int:
        """Wake those whom it concerns that these jobs are in these states now. Returns how many."""
        woken = 0
        with self._lock:
            for id_ in self._watched.keys() & states.keys():
                for waiter, concerns in self._watched[id_].items():
                    if concerns(id_, states[id_]):
                        waiter.wake()
                        woken += 1
        return woken

    def watched(self) -> list[int]:
        """Return the jobs that somebody waits for."""
        with self._lock:
            return list(self._watched)

    def close(self) -> None:
        """Wake everyone, and take nobody any more."""
        with self._lock:
            self._closed = True
            for waiting in self._watched.values():
                for waiter in waiting:
                    waiter.wake()


@dataclass
class Changes:
    """What a transaction changed, for those who wait for it."""

    enqueued: Counter[int] = field(default_factory=Counter)
    """Jobs that can now be contracted, by lane id."""
    jobs: dict[int, JobState] = field(default_factory=dict)
    """The new states of jobs that changed."""

    def note(self, job_id: int, lane_id: int, state: JobState) -> None:
        """Add a job that went to another state."""
        self.jobs[job_id] = state
        if state is JobState.ENQUEUED:
            self.enqueued[lane_id] += 1

    def add(self, later: "Changes") -> None:
        """Add what happened after this."""
        self.enqueued += later.enqueued
        self.jobs |= later.jobs


class Bell:
    """Wakes whom a committed change concerns."""

    def __init__(self, database: Database, waiters: Waiters, watch: JobWatch) -> None:
        self._database = database
        self.waiters = waiters
        self.watch = watch

    def ring(self, changes: Changes) -> None:
        """Wake contracts for jobs that can now be leased, and readers of jobs that changed."""
        if self._database.is_shared and (changes.enqueued or changes.jobs):
            self._database.announce()
        self.wake(changes)

    def wake(self, changes: Changes) -> None:
        """Do what ``ring`` does, for this server alone."""
        woken = self.watch.wake(changes.jobs)
        if changes.enqueued and len(self.waiters):
            with self._database.read() as connection:
                known = lanes.find_lanes(connection, changes.enqueued)
            for lane in known:
                woken += self.waiters.wake(lane, changes.enqueued[lane.id])
        if woken:
            time.sleep(0)  # somebody waits for what they do next, and only one thread at a time runs
