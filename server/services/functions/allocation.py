"""Which host runs which replica: a pure function of what is wanted and what there is."""

from collections import Counter
from collections.abc import Collection, Sequence
from typing import NamedTuple

from piecework.protocol.matching import offers_runtime
from piecework.protocol.messages import ReplicaState
from piecework.server.store.engine.ids import age
from piecework.server.store.functions.replicas import Name, ReplicaRow, WantedRevision


class HostState(NamedTuple):
    """A worker that runs replicas and keeps those it has."""

    worker_id: int
    slots: int
    runtimes: tuple[str, ...]
    tags: frozenset[str]
    is_open: bool = True
    """Whether it may get more."""

    def fits(self, wanted: WantedRevision) -> bool:
        """Tell whether it may run a revision, as a worker may run a job."""
        return wanted.tags.admits(self.tags) and offers_runtime(self.runtimes, wanted.runtime)

    def fit(self, wanted: WantedRevision) -> int:
        """Return how many of the suggested tags it has."""
        return len(wanted.tags.suggested & self.tags)


class AllocationPlan(NamedTuple):
    """What to change."""

    drop: frozenset[int]
    """Replicas, by id."""
    add: Sequence[tuple[WantedRevision, int]]
    """New replicas, each with the id of its host."""


def allocate(
    wanted: Sequence[WantedRevision],
    hosts: Sequence[HostState],
    replicas: Sequence[ReplicaRow],
    failing: Collection[int] = (),
) -> AllocationPlan:
    """Return how to come from what there is to what is wanted, with as few changes as possible.

    Replicas stay where they are, but for those whose host is not among ``hosts`` or must not run them, those that
    are too many (first those that do not run, then those in ``failing``, then the newest), those in ``failing``
    for which another host has room, and those that only start where another host has fewer of the revision:
    without that, all would be on the host that reports first.

    What is missing goes, one for each revision in turn, to the open host with a free slot that has most of the
    suggested tags, then the fewest replicas of the revision, then the fewest of all.

    One that runs well and has to go, because its host has fewer slots now, or none when it leaves, is kept while
    another only starts in its place.
    """
    slots = _FreeSlots(wanted, hosts)
    for replica in sorted(replicas, key=lambda each: (not each.runs, each.id in failing, age(each.id))):
        slots.keep(replica)
    for replica in replicas:
        if replica.id in failing:
            slots.move(replica)
    starting = [each for each in reversed(replicas) if each.state is ReplicaState.STARTING]
    while any(slots.spread(each) for each in starting):
        pass  # where one was, there may be room for another now
    slots.fill()
    slots.lend(replicas, failing)
    return AllocationPlan(frozenset(each.id for each in replicas) - slots.kept, slots.added)


class _FreeSlots:
    """The slots of all hosts while they are given out."""

    def __init__(self, wanted: Sequence[WantedRevision], hosts: Sequence[HostState]) -> None:
        self._wanted = {each.name: each for each in wanted}
        self._hosts = {host.worker_id: host for host in hosts}
        self._used: Counter[int] = Counter()
        self._on: Counter[tuple[Name, int]] = Counter()
        self._have: Counter[Name] = Counter()
        self.kept: set[int] = set()
        self.added: list[tuple[WantedRevision, int]] = []

    def keep(self, replica: ReplicaRow) -> None:
        """Leave a replica where it is, if it is wanted and may be there."""
        if not self._allows(replica):
            return
        wanted, host = self._wanted[replica.name], self._hosts[replica.worker_id]
        if self._have[wanted.name] < wanted.replicas and self._used[host.worker_id] < host.slots:
            self.kept.add(replica.id)
            self._count(wanted, host.worker_id, 1)

    def move(self, replica: ReplicaRow) -> None:
        """Give a replica to another host, if one has room."""
        host = self._find_other(replica)
        if host is not None:
            self._give(replica, host)

    def spread(self, replica: ReplicaRow) -> bool:
        """Give a replica to a host that fits as well and would have fewer of its revision; tell whether it did."""
        host = self._find_other(replica)
        if host is None:
            return False
        wanted = self._wanted[replica.name]
        present = self._hosts[replica.worker_id]
        gain = self._on[wanted.name, present.worker_id] - self._on[wanted.name, host.worker_id]
        if gain <= 1 or host.fit(wanted) < present.fit(wanted):
            return False
        self._give(replica, host)
        return True

    def _find_other(self, replica: ReplicaRow) -> HostState | None:
        """Return the best other host for a replica that stays; None when there is none."""
        if replica.id not in self.kept:
            return None
        return self._choose(self._wanted[replica.name], but=replica.worker_id)

    def _give(self, replica: ReplicaRow, host: HostState) -> None:
        wanted = self._wanted[replica.name]
        self.kept.remove(replica.id)
        self._count(wanted, replica.worker_id, -1)
        self._add(wanted, host)

    def fill(self) -> None:
        """Give hosts to what is missing, until nothing is or no host is left for it."""
        missing = [each for each in self._wanted.values() if self._have[each.name] < each.replicas]
        while missing:
            next_ = min(missing, key=lambda each: self._have[each.name])
            host = self._choose(next_)
            if host is not None:
                self._add(next_, host)
            if host is None or self._have[next_.name] == next_.replicas:
                missing.remove(next_)

    def lend(self, replicas: Sequence[ReplicaRow], failing: Collection[int]) -> None:
        """Keep as many replicas that run and have to go as others of their revision have yet to run."""
        pending = Counter(wanted.name for wanted, _ in self.added)
        pending.update(each.name for each in replicas if each.id in self.kept and not each.runs)
        for replica in replicas:
            goes = replica.id not in self.kept and self._allows(replica)
            if goes and replica.runs and replica.id not in failing and pending[replica.name] > 0:
                self.kept.add(replica.id)
                pending[replica.name] -= 1

    def _allows(self, replica: ReplicaRow) -> bool:
        wanted, host = self._wanted.get(replica.name), self._hosts.get(replica.worker_id)
        return wanted is not None and host is not None and host.fits(wanted)

    def _choose(self, wanted: WantedRevision, but: int | None = None) -> HostState | None:
        free = [
            host
            for host in self._hosts.values()
            if host.is_open and host.worker_id != but and self._used[host.worker_id] < host.slots
        ]
        fitting = [host for host in free if host.fits(wanted)]
        return min(fitting, key=lambda host: self._rank(wanted, host), default=None)

    def _rank(self, wanted: WantedRevision, host: HostState) -> tuple[int, int, int, int]:
        return -host.fit(wanted), self._on[wanted.name, host.worker_id], self._used[host.worker_id], host.worker_id

    def _add(self, wanted: WantedRevision, host: HostState) -> None:
        self.added.append((wanted, host.worker_id))
        self._count(wanted, host.worker_id, 1)

    def _count(self, wanted: WantedRevision, worker_id: int, change: int) -> None:
        self._used[worker_id] += change
        self._on[wanted.name, worker_id] += change
        self._have[wanted.name] += change
