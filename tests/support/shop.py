"""Jobs of tenants, and claims for them, without a server around."""

from places import Place
from rows import LAMBDA, lambda_, new_job

from piecework.server.services.queue.leasing.claims import Claimant, Claims
from piecework.server.services.queue.leasing.shares import Cost
from piecework.server.store.engine.database import Connection
from piecework.server.store.queue.jobs import jobs
from piecework.server.store.queue.leasing import lanes, tenants
from piecework.server.store.records import LeaseGrant
from piecework.server.store.stock import lambdas

GRANT = LeaseGrant("L", "fenced", 10**15, 5, "start")
Rows = tuple[str, int, int]
"""A tenant, a priority, how many jobs."""


class Shop:
    """Jobs of tenants, and claims for them."""

    def __init__(self, place: Place, cost: Cost | None = None) -> None:
        self.database = place.open()
        self.claims = Claims(cost)
        self.lambdas: set[int] = set()
        self.owners: dict[int, str] = {}

    def add(
        self, tenant: str, count: int, *, priority: int = 0, tags: tuple[str, ...] = (), of: int = LAMBDA
    ) -> list[int]:
        """Store jobs of a tenant and a lambda, and return their ids."""
        ids = [100_000 + len(self.owners) + each for each in range(count)]

        def store(connection: Connection) -> None:
            lane = lanes.ensure_lane(connection, "wasi", tags, lambda: 10**15 + len(self.owners), tenant)
            if of not in self.lambdas:
                lambdas.add_lambda(connection, lambda_(of))
            new = [new_job(id_, priority=priority, tags=tags, lambda_id=of) for id_ in ids]
            jobs.add_jobs(connection, new, [lane] * count, 1)

        self.database.write(store)
        self.lambdas.add(of)
        self.owners |= dict.fromkeys(ids, tenant)
        return ids

    def claim(self, room: int, *tags: str, times: int = 1) -> list[int]:
        """Lease jobs, and return their ids."""
        claimant = Claimant(("wasi",), frozenset(tags), room, 4, slept=False)
        taken: list[int] = []
        for _ in range(times):
            claimed = self.database.write(lambda c: self.claims.claim(c, claimant, GRANT, 2))
            taken += [job.id for job in claimed.jobs]
        return taken

    def served(self, room: int, *tags: str, times: int = 1) -> str:
        """Lease jobs, and return whose they are, in order."""
        return "".join(self.owners[id_] for id_ in self.claim(room, *tags, times=times))

    def weigh(self, tenant: str, weight: int) -> None:
        self.database.write(lambda c: tenants.set_weight(c, tenant, weight))
