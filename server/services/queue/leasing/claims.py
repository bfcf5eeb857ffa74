"""Choosing jobs for a worker, inside the caller's transaction."""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

from piecework.protocol.ids import ID_MAX
from piecework.protocol.matching import OWNER_TAG, WORKER_TAG, TagSet, offers_runtime
from piecework.protocol.states import JobState
from piecework.server.services.queue.leasing.shares import Cost, Shares
from piecework.server.services.queue.leasing.turns import Offer, Round, Turns
from piecework.server.services.queue.lifecycle.counting import note_started
from piecework.server.services.queue.lifecycle.parking import HoldGate
from piecework.server.services.queue.limits.limiter import Limiter, names_of
from piecework.server.services.queue.waiting.waiting import Changes
from piecework.server.store.engine.database import Connection
from piecework.server.store.queue.figures import feed
from piecework.server.store.queue.leasing import lanes, leases
from piecework.server.store.queue.leasing.lanes import TOP, Group
from piecework.server.store.queue.leasing.leases import Wanted
from piecework.server.store.queue.leasing.limits import LimitName
from piecework.server.store.records import Job, Lane, LeaseGrant
from piecework.server.store.stock import holding

GROUPS = 16
"""Lanes beyond the jobs that are wanted, of which a claim looks at the first jobs at once."""
GROUPS_MAX = 4096
PARKED_MAX = 200
"""Jobs that one claim has wait for room under a limit, at most about."""


@lru_cache(maxsize=10_000)
def admits(lane: Lane, runtimes: tuple[str, ...], tags: frozenset[str]) -> bool:
    """Tell whether a worker with these runtimes and tags may run the jobs of a lane."""
    fits = TagSet(frozenset(), lane.necessary, lane.rejected).admits(tags)
    return fits and offers_runtime(runtimes, lane.runtime)


@lru_cache(maxsize=10_000)
def _leave_out_own(tags: frozenset[str]) -> frozenset[str]:
    return frozenset(tag for tag in tags if not tag.startswith((OWNER_TAG, WORKER_TAG)))


class Claimed(NamedTuple):
    """What a worker was given."""

    jobs: list[Job]
    left_returned: bool
    """There were jobs that only a caller who is there for certain may have."""
    is_unfinished: bool
    """It may find more in another transaction."""
    changes: Changes
    """What became of other jobs."""


NOTHING = Claimed([], left_returned=False, is_unfinished=False, changes=Changes())


class Claimant(NamedTuple):
    """Who wants jobs."""

    runtimes: tuple[str, ...]
    tags: frozenset[str]
    room: int
    """How many at most."""
    slots: int
    """How many it runs at once."""
    slept: bool
    """It waited: it gets none that came back from another that waited and had gone."""
    is_first: bool = True
    """Its transaction did nothing else about limits before."""

    @property
    def offer(self) -> Offer:
        return self.runtimes, _leave_out_own(self.tags)

    def may_run(self, lane: Lane) -> bool:
        return admits(lane, self.runtimes, self.tags)

    def fit(self, job: Job) -> int:
        """Return how many of a job's suggested tags it has."""
        return sum(tag in self.tags for tag in job.tags) if job.tags_json else 0


class Claims:
    """Gives enqueued jobs to workers."""

    def __init__(self, cost: Cost | None = None) -> None:
        """``cost``: what tenants share, rather than the number of jobs."""
        self._turns = Turns()
        self._shares = Shares(cost) if cost else None

    def claim(self, connection: Connection, claimant: Claimant, grant: LeaseGrant, now: int) -> Claimed:
        """Lease jobs: by priority, then in turn among tenants.

        Of one tenant's first those of whose suggested tags the worker has more, then the older ones. Jobs of what
        is paused are left out.
        """
        chosen: list[Job] = []
        changes = Changes()
        holds = HoldGate(connection, changes, now)
        gate = Gate(connection, now, waits=claimant.is_first)
        fit = claimant.fit if _leave_out_own(claimant.tags) else None
        choice = _Choice(claimant, lambda: holding.count_suspects(connection, grant.worker_id))
        at_once = GROUPS_MAX if self._shares else claimant.room + GROUPS
        for groups in _walk(connection, claimant, holds, self._turns, at_once):
            priority = groups[0].priority
            fetch = partial(_fetch, connection, now)
            shared = self._shares and self._shares.open_round(claimant.offer, priority, groups, fit, fetch)
            round_ = shared or Round(groups, self._turns.find(claimant.offer, priority), fit, fetch)
            while drawn := round_.draw(claimant.room - len(chosen), choice.may_take):
                free, parked = holds.part(drawn)
                gate.leave(parked)
                passed = gate.let_through(free)
                chosen += passed
                # Then the room is full, or there are no more.
                if len(passed) == len(drawn) or gate.is_tired or holds.is_tired:
                    break
            if isinstance(round_, Round):
                self._turns.keep(claimant.offer, priority, round_.turn)
            if len(chosen) == claimant.room or gate.is_tired or holds.is_tired:
                break
        leases.grant_leases(connection, [job.id for job in chosen], grant, now, holds.holds.mark)
        feed.note_changes(connection, now, JobState.RUNNING, chosen)
        note_started(connection, chosen, now)
        if gate.is_needed:
            changes.add(gate.close())
        given = [grant.write_on(job, now) for job in chosen]
        return Claimed(given, choice.left_returned, gate.left_some, changes)


class Gate:
    """Lets jobs start whose keys have room; the others wait for that."""

    def __init__(self, connection: Connection, now: int, *, waits: bool) -> None:
        """``waits``: once, for limits that others have locked.

        Later it leaves them out: two, each with what the other one waits for, would wait for ever.
        """
        self._connection, self._now, self._waits = connection, now, waits
        self._limiter: Limiter | None = None
        self._parked = 0
        self._others: set[LimitName] = set()
        self.left_some = False
        """Some jobs were left as they are, which may start."""

    @property
    def is_needed(self) -> bool:
        """Some of the jobs that it looked at have keys."""
        return self._limiter is not None

    @property
    def is_tired(self) -> bool:
        """Enough was done in one transaction."""
        return self._parked >= PARKED_MAX

    def let_through(self, drawn: list[Job]) -> list[Job]:
        """Return those of enqueued jobs that may start, counted as started."""
        if not any(job.concurrency_key or job.rate_key for job in drawn):
            return drawn
        self._limiter = self._limiter or Limiter(self._connection, self._now)
        names = {name for job in drawn for name in names_of(job)}
        self._limiter.lock(names, waits=self._waits)
        missing = {name for name in names if not self._limiter.has(name)} if not self._waits else set()
        self._waits = False
        return [job for job in drawn if self._may_start(self._limiter, job, missing)]

    def leave(self, parked: Sequence[Job]) -> None:
        """Let others have the places of jobs that are not enqueued any more."""
        if names := {name for job in parked for name in names_of(job)}:
            self._limiter = self._limiter or Limiter(self._connection, self._now)
            self._limiter.lock(names, waits=self._waits)
            self._waits = False
            self._others.update(filter(self._limiter.has, names))

    def _may_start(self, limiter: Limiter, job: Job, missing: set[LimitName]) -> bool:
        names = names_of(job)
        if not missing.isdisjoint(names):
            self.left_some = True
            return False
        full = limiter.find_full(job)
        if full is None:
            limiter.start(job)
            return True
        limiter.park(job, full)
        self._parked += 1
        self._others.update(name for name in names if name != full)
        self.left_some |= self.is_tired
        return False

    def close(self) -> Changes:
        """Store what changed, and tell it."""
        if self._limiter is None:
            return Changes()
        for name in sorted(self._others):  # a job that waits now for one key leaves its place under the other
            if self._limiter.room(name) > 0:
                self._limiter.admit(name)
        self._limiter.close()
        return self._limiter.changes


class _Choice:
    """Leaves out jobs that a worker may not be given now.

    Which of the jobs that a vanished worker held took it down is not known. So each is held by a worker that could
    run it at once, and one that lost two workers or more only where no other of them is: what takes every worker
    down then does so without the others.
    """

    def __init__(self, claimant: Claimant, count_suspects: Callable[[], int]) -> None:
        self._claimant = claimant
        self._count_suspects = count_suspects
        self._suspects: int | None = None
        """How many jobs that lost workers it holds; None: nobody had to know."""
        self.left_returned = False

    def may_take(self, job: Job) -> bool:
        if self._claimant.slept and job.is_returned:
            self.left_returned = True
            return False
        if job.vanished:
            if self._suspects is None:
                self._suspects = self._count_suspects()
            if self._suspects >= (self._claimant.slots if job.vanished == 1 else 1):
                return False
            self._suspects += 1
        return True


def _fetch(connection: Connection, now: int, wanted: Sequence[Wanted]) -> list[Job]:
    return leases.find_candidates(connection, wanted, now)


def _walk(
    connection: Connection, claimant: Claimant, holds: HoldGate, turns: Turns, most: int
) -> Iterator[list[Group]]:
    """Yield what is enqueued that a claimant may run, one priority after the other.

    When one has many lanes, at most ``most``, or some more, at a time, beginning with the tenant whose turn it is.
    """
    below = TOP
    while True:
        groups = holds.look(lanes.find_groups(connection, below, ID_MAX, most))
        levels = [(priority, list(some)) for priority, some in groupby(groups, attrgetter("priority"))]
        # What was found of the last one may not be all of it.
        last = levels.pop() if len(groups) == most else None
        for below, some in levels:  # noqa: B007  # where to go on
            if fitting := [group for group in some if claimant.may_run(group.lane) and holds.admits(group.lane)]:
                yield fitting
        if last is None:
            return
        if not levels:
            below = last[0]
            yield from _go_round(connection, claimant, holds, turns, below, most)


def _go_round(
    connection: Connection, claimant: Claimant, holds: HoldGate, turns: Turns, priority: int, most: int
) -> Iterator[list[Group]]:
    """Yield the lanes of one priority that a claimant may run, once round, some at a time."""
    start = after = turns.find(claimant.offer, priority).after
    wrapped = False
    while True:
        groups = holds.look(lanes.find_groups(connection, priority, after, most))
        beside = [each for each in groups if each.priority == priority and not (wrapped and each.lane.id > start)]
        if fitting := [group for group in beside if claimant.may_run(group.lane) and holds.admits(group.lane)]:
            yield fitting
        if len(beside) == most:
            after, most = beside[-1].lane.id, min(4 * most, GROUPS_MAX)
        elif wrapped:
            return
        else:
            wrapped, after = True, -1
