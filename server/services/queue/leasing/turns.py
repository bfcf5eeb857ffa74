"""Turns: within a priority, tenants are served one after the other, each by its weight.

Whose turn it is, is kept in memory, for workers that offer the same apart from others: so a claim need not look at
all tenants, and a restart costs nobody more than a turn. Servers that share a database each go round on their own.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from piecework.server.store.engine.ids import age
from piecework.server.store.queue.leasing.lanes import Group, block_of
from piecework.server.store.queue.leasing.leases import Wanted
from piecework.server.store.records import Job

LOOK_AHEAD = 16
"""Candidates beyond those needed, among which suggested tags choose."""
REFILL = 16
"""How many more are fetched at least when what was fetched is used up."""
KEPT_MAX = 10_000
"""Turns that are kept in memory; then all begin anew."""

Offer = tuple[tuple[str, ...], frozenset[str]]
"""The runtimes and tags of a worker."""
Fetch = Callable[[Sequence[Wanted]], list[Job]]
"""Finds enqueued jobs."""
Fit = Callable[[Job], int]
"""How many of a job's suggested tags a worker has."""


class TenantTurn(NamedTuple):
    """Where the round of one priority stands: whose turn it is, or was last."""

    first_lane: int = 0
    """The lanes of the tenant whose turn it is, or was, have ids from here on."""
    last_lane: int = -1
    """And up to here."""
    left: int = 0
    """How many more of its jobs go in this turn."""

    @property
    def after(self) -> int:
        """The round goes on with the lanes that have larger ids."""
        return self.first_lane - 1 if self.left else self.last_lane


class Turns:
    """Whose turn it is, by what workers offer and by priority."""

    def __init__(self) -> None:
        self._turns: dict[tuple[Offer, int], TenantTurn] = {}

    def find(self, offer: Offer, priority: int) -> TenantTurn:
        return self._turns.get((offer, priority), TenantTurn())

    def keep(self, offer: Offer, priority: int, turn: TenantTurn) -> None:
        """Note where a round stands. When the transaction is undone later, somebody lost a turn."""
        if len(self._turns) >= KEPT_MAX:
            self._turns = {}
        self._turns[offer, priority] = turn


class TenantQueue:
    """The enqueued jobs of one tenant and priority, fetched as they are taken."""

    def __init__(self, groups: Sequence[Group], fit: Fit | None) -> None:
        """``fit``: None when all jobs fit alike."""
        self.weight = groups[0].weight
        self.first_lane, self.last_lane = block_of(groups[0].lane)
        self._priority = groups[0].priority
        self._fit = fit
        # The last is the lane whose first job is oldest.
        self._closed = [group.lane.id for group in sorted(groups, key=lambda each: age(each.head), reverse=True)]
        self._open: dict[int, int] = {}
        """Up to which job lanes were fetched that may have more."""
        self._fetched: list[Job] = []
        """The best comes last."""
        self._counts: Counter[int] = Counter()
        """How many of ``_fetched`` are of which lane."""

    def stock(self, count: int) -> list[Wanted]:
        """Return what to fetch for the next ``count`` jobs; nothing when there are no more.

        The oldest so many jobs are in the lanes whose first jobs are oldest.
        """
        if self._open:
            lanes = [(lane_id, after) for lane_id, after in self._open.items() if not self._counts[lane_id]]
        else:
            lanes = [(self._closed.pop(), 0) for _ in range(min(count, len(self._closed)))]
        most = min(count, -(-2 * count // max(1, len(lanes))))
        return [Wanted(lane_id, self._priority, after, most) for lane_id, after in lanes]

    def add(self, wanted: Wanted, found: list[Job]) -> None:
        """Add what was found of what was wanted."""
        lane_id = wanted.lane_id
        if len(found) == wanted.most:
            self._open[lane_id] = found[-1].id
        else:
            self._open.pop(lane_id, None)
        self._counts[lane_id] += len(found)
        has_others = bool(self._fetched)
        self._fetched += found
        if self._fit:
            fit = self._fit
            self._fetched.sort(key=lambda job: (-fit(job), age(job.id)), reverse=True)
        elif has_others:
            self._fetched.sort(key=lambda job: age(job.id), reverse=True)
        else:
            self._fetched.reverse()

    @property
    def is_dry(self) -> bool:
        """Whether more must be fetched before the next job is taken, if there are any."""
        if not self._open:
            return not self._fetched and bool(self._closed)
        return not all(map(self._counts.get, self._open))

    def take(self, count: int) -> list[Job]:
        """Take up to ``count`` of the next jobs: those that fit best, then the oldest. None: there are no more."""
        taken: list[Job] = []
        while self._fetched and len(taken) < count:
            # What one lane has left is taken at once, one of several only until a lane is dry.
            some = (
                min(self._counts[self._fetched[-1].lane_id], count - len(taken)) if len(self._counts) == 1 else 1
            )
            taken += reversed(self._fetched[-some:])
            del self._fetched[-some:]
            lane_id = taken[-1].lane_id
            self._counts[lane_id] -= some
            if not self._counts[lane_id] and lane_id in self._open:
                break
        return taken


class Round:
    """The tenants that have enqueued jobs of one priority, in the order of their turns."""

    def __init__(self, groups: Iterable[Group], turn: TenantTurn, fit: Fit | None, fetch: Fetch) -> None:
        """``fit``: None when all jobs fit alike."""
        queues = list_queues(groups, fit)
        behind = [queue for queue in queues if queue.last_lane > turn.after]
        self._queues = deque([*behind, *queues[: len(queues) - len(behind)]])
        goes_on = bool(turn.left and behind and behind[0].last_lane == turn.last_lane)
        self.turn = turn if goes_on else turn._replace(left=0)
        self._fetch = fetch
        self._ahead = LOOK_AHEAD if fit else 0

    def draw(self, room: int, may: Callable[[Job], bool]) -> list[Job]:
        """Take up to ``room`` jobs. Those that lost a worker or came back only where ``may`` says so."""
        self._stock(room)
        drawn: list[Job] = []
        while self._queues and len(drawn) < room:
            queue = self._queues[0]
            left = self.turn.left or queue.weight
            if len(self._queues) == 1:
                left = room
            while left and len(drawn) < room:
                if queue.is_dry:
                    fill([queue], [max(REFILL, room - len(drawn))], self._fetch)
                taken = queue.take(min(left, room - len(drawn)))
                if not taken:
                    self._queues.popleft()
                    left = 0
                allowed = [job for job in taken if not (job.vanished or job.lease_kind) or may(job)]
                drawn += allowed
                left -= len(allowed)
            if not left and self._queues and self._queues[0] is queue:
                self._queues.rotate(-1)
            self.turn = TenantTurn(queue.first_lane, queue.last_lane, min(left, queue.weight - 1))
        return drawn

    def _stock(self, room: int) -> None:
        """Fetch what the next ``room`` jobs are likely to be, at once."""
        first: list[TenantQueue] = []
        weights = 0
        for queue in self._queues:
            if weights >= room:
                break
            first.append(queue)
            weights += queue.weight
        rounds, ahead = -(-room // max(1, weights)), self._ahead // max(1, len(first))
        dry = [queue for queue in first if queue.is_dry]
        fill(dry, [min(room, rounds * queue.weight) + ahead for queue in dry], self._fetch)


def fill(queues: Sequence[TenantQueue], counts: Sequence[int], fetch: Fetch) -> None:
    """Fetch so many jobs for each of some tenants, at once."""
    wanted = [(queue, each) for queue, n in zip(queues, counts, strict=True) for each in queue.stock(n)]
    if not wanted:
        return
    found = fetch([each for _, each in wanted])
    if len(wanted) == 1:
        wanted[0][0].add(wanted[0][1], found)
        return
    by_lane: dict[int, list[Job]] = {}
    for job in found:
        by_lane.setdefault(job.lane_id, []).append(job)
    for queue, each in wanted:
        queue.add(each, by_lane.get(each.lane_id, []))


def list_queues(groups: Iterable[Group], fit: Fit | None) -> list[TenantQueue]:
    """Return the queues of the tenants that have enqueued jobs, in the order of their lanes."""
    by_tenant: dict[str, list[Group]] = {}
    for group in groups:
        by_tenant.setdefault(group.lane.tenant, []).append(group)
    return sorted((TenantQueue(mine, fit) for mine in by_tenant.values()), key=lambda each: each.first_lane)
