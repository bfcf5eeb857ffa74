"""Shares: within a priority, the tenant goes next whose jobs have cost least, by its weight.

Another order than ``turns``, for operators who choose it: a job counts what jobs of its lambda usually cost, not
as one. What each tenant has had is kept in memory, as whose turn it is: for workers that offer the same apart from
others, and on each server by itself. Whoever had no jobs for a while has no more coming for that.
"""

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from piecework.server.services.queue.leasing.turns import (
    KEPT_MAX,
    LOOK_AHEAD,
    REFILL,
    Fetch,
    Fit,
    Offer,
    TenantQueue,
    fill,
    list_queues,
)
from piecework.server.store.queue.leasing.lanes import Group
from piecework.server.store.records import Job

Cost = Callable[[int], float]
"""What a job of a lambda usually costs."""


@dataclass
class Account:
    """What the jobs of each tenant have cost, by its weight; of one priority."""

    floor: float = 0.0
    """Nobody who has jobs has had less: who comes anew begins here."""
    had: dict[int, float] = field(default_factory=dict)
    """By the first of the tenant's lanes; only what is above the floor."""

    def find(self, queue: TenantQueue) -> float:
        return max(self.floor, self.had.get(queue.first_lane, 0.0))

    def charge(self, queue: TenantQueue, cost: float) -> float:
        """Count a job of the tenant who has had least. Returns what that has had now."""
        self.floor = self.find(queue)
        self.had[queue.first_lane] = self.floor + cost / queue.weight
        if len(self.had) > KEPT_MAX:
            self.had = {lane: had for lane, had in self.had.items() if had > self.floor}
        return self.had[queue.first_lane]


class Shares:
    """Who has had how much, by what workers offer and by priority."""

    def __init__(self, cost: Cost) -> None:
        self._cost = cost
        self._accounts: dict[tuple[Offer, int], Account] = {}

    def open_round(
        self, offer: Offer, priority: int, groups: Iterable[Group], fit: Fit | None, fetch: Fetch
    ) -> "SharedRound":
        """Return a round in which everybody has the share that is left."""
        if (offer, priority) not in self._accounts and len(self._accounts) >= KEPT_MAX:
            self._accounts = {}
        account = self._accounts.setdefault((offer, priority), Account())
        return SharedRound(list_queues(groups, fit), account, self._cost, fetch, LOOK_AHEAD if fit else 0)


class SharedRound:
    """The tenants that have enqueued jobs of one priority, that first which has had least."""

    def __init__(
        self, queues: Iterable[TenantQueue], account: Account, cost: Cost, fetch: Fetch, ahead: int
    ) -> None:
        """``ahead``: so many more of one tenant are looked at, for one that fits better."""
        self._account, self._cost, self._fetch, self._ahead = account, cost, fetch, ahead
        self._queues = [(account.find(queue), number, queue) for number, queue in enumerate(queues)]
        heapq.heapify(self._queues)

    def draw(self, room: int, may: Callable[[Job], bool]) -> list[Job]:
        """Take up to ``room`` jobs. Those that lost a worker or came back only where ``may`` says so."""
        first = [queue for _, _, queue in heapq.nsmallest(room, self._queues) if queue.is_dry]
        each = -(-room // max(1, len(first))) + self._ahead // max(1, len(first))
        fill(first, [each] * len(first), self._fetch)
        drawn: list[Job] = []
        while self._queues and len(drawn) < room:
            _, number, queue = self._queues[0]
            if queue.is_dry:
                fill([queue], [max(REFILL, room - len(drawn))], self._fetch)
            taken = queue.take(1)
            if not taken:
                heapq.heappop(self._queues)
                continue
            [job] = taken
            if not (job.vanished or job.lease_kind) or may(job):
                drawn.append(job)
                had = self._account.charge(queue, self._cost(job.lambda_id))
                heapq.heapreplace(self._queues, (had, number, queue))
        return drawn
