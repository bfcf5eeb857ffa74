"""Requests that wait: contracts for a job, and readers for a job's state.

Each waiting request has a lock of its own, so that an event wakes exactly the requests it is for.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from piecework.protocol.states import JobState
from piecework.server.errors import Stopping
from piecework.server.services.core import Sleeper
from piecework.server.services.queue.waiting.pauses import Places, Waiter, Work
from piecework.server.store.engine.database import Connection, Database
from piecework.server.store.queue.leasing import lanes
from piecework.server.store.records import Lane

Admits = Callable[[Lane], bool]
Taken = tuple[Any, "Changes"]
"""The answer to a contract, and what that changed."""
TakeTurn = Callable[[Connection], Taken]
"""Leases jobs to a waiting contract inside the caller's transaction, if there are any for it."""
Concerns = Callable[[int, JobState], bool]
"""Whether it is what a reader waits for that a job is now in a state."""
WOKEN_MAX = 64
"""Contracts that look anew at one lane at once; if that is too few, the next look wakes more."""


class Register:
    """What all kinds of waiting have in common: a count, and an end."""

    def __init__(self, places: Places) -> None:
        self.places = places
        self._lock = threading.Lock()
        self._closed = False
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def _enter(self) -> None:
        if self._closed:
            raise Stopping("the server is stopping; try again in a moment")
        self._count += 1


class ContractWaiter(Waiter):
    """One contract that waits for a job."""

    __slots__ = ("admits", "answer", "take_turn", "worker_id")

    def __init__(self, worker_id: int, admits: Admits, sleeper: Sleeper) -> None:
        super().__init__(sleeper)
        self.worker_id = worker_id
        self.admits = admits
        self.take_turn: TakeTurn | None = None
        """Set while it sleeps: whoever takes its turn for it may give it jobs."""
        self.answer: Any = None
        """What somebody else's transaction leased for it."""


class Waiters(Register):
    """Contracts that wait for a job, in the order in which they came."""

    def __init__(self, places: Places) -> None:
        super().__init__(places)
        self._parked: dict[ContractWaiter, None] = {}

    @contextmanager
    def park(self, worker_id: int, admits: Admits) -> Iterator[ContractWaiter]:
        """Register a worker's waiter for jobs in lanes that ``admits`` approves. Raises CapacityReached, Stopping.

        Look for a job after parking and before sleeping: a job that comes in between wakes the waiter.
        """
        waiter = ContractWaiter(worker_id, admits, self.places.sleeper)
        with self.places.take(waiter, self._dismiss_one):
            with self._lock:
                self._enter()
                self._parked[waiter] = None
            try:
                yield waiter
            finally:
                with self._lock:
                    self._count -= 1
                    self._parked.pop(waiter, None)

    def wait(self, waiter: ContractWaiter, take_turn: TakeTurn, timeout_s: float) -> Work[bool]:
        """Wait until woken, maybe with an answer. Returns False when ``timeout_s`` passed first.

        Only after this waiter looked for a job and found none: until then its turn is its own.
        """
        waiter.take_turn = take_turn
        if (yield from waiter.wait(timeout_s)):
            return True
        with self._lock:
            if waiter in self._parked:
                del self._parked[waiter]
                return False
        return (yield from waiter.wait(threading.TIMEOUT_MAX))  # somebody takes its turn now, or has just woken it

    @contextmanager
    def engage(self, lane: Lane) -> Iterator[ContractWaiter | None]:
        """Give the sleeper that waits longest for jobs of a lane, to take its turn; None when there is none.

        It is woken in the end, with the answer that it has by then. So it looks itself when there is none.
        """
        with self._lock:
            sleepers = (each for each in self._parked if each.take_turn and each.admits(lane))
            chosen = next(sleepers, None)
            if chosen is not None:
                del self._parked[chosen]
        try:
            yield chosen
        finally:
            if chosen is not None:
                with self._lock:
                    chosen.wake()
                _let_others_go_first()

    def wake(self, lane: Lane, jobs: int) -> int:
        """Wake a waiter for each of ``jobs`` new jobs of a lane, longest waiting first. Returns how many."""
        with self._lock:
            chosen: list[ContractWaiter] = []
            for waiter in self._parked:
                if len(chosen) == jobs:
                    break
                if waiter.admits(lane):
                    chosen.append(waiter)
            for waiter in chosen:
                del self._parked[waiter]
                waiter.wake()
            return len(chosen)

    def dismiss(self, worker_id: int) -> None:
        """End the waits of a worker without a job."""
        with self._lock:
            for waiter in [each for each in self._parked if each.worker_id == worker_id]:
                del self._parked[waiter]
                waiter.dismiss()

    def _dismiss_one(self, waiter: Waiter) -> None:
        """End one wait without a job, unless somebody has just chosen it for one."""
        with self._lock:
            if waiter in self._parked:
                del self._parked[waiter]
                waiter.dismiss()

    def close(self) -> None:
        """Wake everyone, and take nobody any more."""
        with self._lock:
            self._closed = True
            for waiter in self._parked:
                waiter.wake()
            self._parked.clear()


class JobWatch(Register):
    """Readers that wait for something to happen to some jobs."""

    def __init__(self, places: Places) -> None:
        super().__init__(places)
        self._watched: dict[int, dict[Waiter, Concerns]] = {}

    @contextmanager
    def park(self, job_ids: Iterable[int], concerns: Concerns) -> Iterator[Waiter]:
        """Register a waiter for what ``concerns`` approves of. Raises CapacityReached or Stopping.

        Read the jobs after parking and before sleeping: a change in between wakes the waiter.
        """
        waiter, ids = Waiter(self.places.sleeper), set(job_ids)
        with self.places.take(waiter, self._dismiss_one):
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

    def _dismiss_one(self, waiter: Waiter) -> None:
        with self._lock:
            waiter.dismiss()

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
    lapsed: set[int] = field(default_factory=set)
    """Workers that let a lease run out: whatever waits for them has nobody to answer."""
    groups: set[int] = field(default_factory=set)
    """Groups of which jobs ended."""
    has_rest: bool = False
    """There is more to do, in steps, by the timekeeper."""
    has_deliveries: bool = False
    """There is something to be sent to webhooks."""

    def note(self, job_id: int, lane_id: int, state: JobState) -> None:
        """Add a job that went to another state."""
        self.jobs[job_id] = state
        if state is JobState.ENQUEUED:
            self.enqueued[lane_id] += 1

    def note_lanes(self, waiting: Iterable[Lane]) -> None:
        """Have contracts look anew at lanes: whom jobs there were not given may get them now."""
        self.enqueued.update({lane.id: WOKEN_MAX for lane in waiting})

    def add(self, later: "Changes") -> None:
        """Add what happened after this."""
        if later.enqueued:
            self.enqueued.update(later.enqueued)
        self.jobs |= later.jobs
        self.lapsed |= later.lapsed
        self.groups |= later.groups
        self.has_rest |= later.has_rest
        self.has_deliveries |= later.has_deliveries


class Notifier:
    """Wakes whom a committed change concerns."""

    def __init__(self, database: Database, waiters: Waiters, watch: JobWatch) -> None:
        self._database = database
        self.waiters = waiters
        self.watch = watch
        self.poke: Callable[[], object] = lambda: None
        """Wakes the timekeeper for work that is left."""
        self.note_groups: Callable[[set[int]], object] = lambda _: None
        """Hears of which groups jobs ended."""
        self.poke_sender: Callable[[], object] = lambda: None
        """Wakes who sends to webhooks."""
        self.tell_listeners: Callable[[], object] = lambda: None
        """Wakes those who wait for what the feed has next."""

    def notify(self, changes: Changes) -> None:
        """Wake contracts for jobs that can now be leased, and readers of jobs that changed.

        Other servers hear of the jobs for which no contract waits here. Should one that was woken here not take
        its job, the others find it at their next look.
        """
        left = self.wake(changes)
        if self._database.is_shared and (left or changes.jobs):
            self._database.announce(left)
        if changes.has_rest:
            self.poke()
        if changes.has_deliveries:
            self.poke_sender()
        if changes.groups:
            self.note_groups(changes.groups)

    def wake(self, changes: Changes) -> dict[int, int]:
        """Do what ``notify`` does, for this server alone. Returns the jobs for which nobody was woken, by lane."""
        left = dict(changes.enqueued)
        for worker_id in changes.lapsed:
            self.waiters.dismiss(worker_id)
        if changes.enqueued or changes.jobs:
            self.tell_listeners()
        woken = self.watch.wake(changes.jobs)
        if changes.enqueued and len(self.waiters):
            with self._database.read() as connection:
                known = lanes.find_lanes(connection, changes.enqueued)
            for lane in known:
                taking = self.waiters.wake(lane, changes.enqueued[lane.id])
                left[lane.id] -= taking
                woken += taking
        if woken:
            _let_others_go_first()
        return {lane_id: count for lane_id, count in left.items() if count > 0} if left else left


def _let_others_go_first() -> None:
    """Let those run who were woken: somebody waits for what they do next, and only one thread at a time runs."""
    time.sleep(0)
