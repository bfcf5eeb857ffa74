"""Tenants: on whose behalf jobs run, how many jobs of each go in one of its turns, and how each fares."""

from collections import Counter
from functools import partial
from typing import NamedTuple

from piecework.server.errors import InvalidRequest
from piecework.server.services.core import Core
from piecework.server.services.queue.figures.depths import Depths
from piecework.server.services.queue.figures.statistics import Statistics
from piecework.server.services.stock.keys import check_tenant
from piecework.server.store.engine.database import Connection
from piecework.server.store.queue.jobs import jobs
from piecework.server.store.queue.leasing import lanes, tenants
from piecework.server.store.queue.leasing.lanes import TOP
from piecework.server.store.queue.leasing.tenants import Tenant
from piecework.server.store.records import Job

WEIGHT_MAX = 1000
GROUPS_MAX = 5000
"""Groups of enqueued jobs that are looked at for the oldest of each tenant."""


class TenantView(NamedTuple):
    """A tenant and its jobs."""

    name: str
    weight: int
    enqueued: int
    running: int
    finished: int
    """In the last hour."""
    failed: int
    """In the last hour."""
    oldest_at: int | None
    """When the oldest of the enqueued was submitted."""


class TenantPage(NamedTuple):
    """Some tenants."""

    tenants: list[TenantView]
    counted_at: int | None
    """When those enqueued were counted; None: right now."""


class Tenants:
    """The tenants of this server."""

    def __init__(self, core: Core, statistics: Statistics, depths: Depths) -> None:
        self._database = core.database
        self._statistics, self._depths = statistics, depths

    def find_of(self, job: Job) -> str:
        """Return the tenant of a job; empty: nobody."""
        with self._database.read() as connection:
            found = lanes.find_lanes(connection, [job.lane_id])
        return found[0].tenant if found else ""

    def list_page(self, *, after: str, limit: int) -> TenantPage:
        """Return tenants whose names come after one, by name."""
        with self._database.read() as connection:
            found = tenants.list_tenants(connection, after, limit)
        return self._view(found)

    def set_weight(self, name: str, weight: int) -> TenantView:
        """Say how many jobs of a tenant go in one of its turns; it need not have any. Raises InvalidRequest."""
        check_tenant(name)
        if not 1 <= weight <= WEIGHT_MAX:
            raise InvalidRequest(f"the weight is {weight}, but must lie between 1 and {WEIGHT_MAX}")
        tenant = self._database.write(partial(tenants.set_weight, name=name, weight=weight))
        return self._view([tenant]).tenants[0]

    def _view(self, found: list[Tenant]) -> TenantPage:
        """Add how many jobs each tenant has, and had."""
        depth, ended = self._depths.read(), self._statistics.read_by_tenant()
        with self._database.read() as connection:
            under_lease = jobs.count_running_by_lane(connection)
            enqueued, running = Counter[str](), Counter[str]()
            for lane in lanes.find_lanes(connection, depth.enqueued.keys() | under_lease.keys()):
                enqueued[lane.tenant] += depth.enqueued.get(lane.id, 0)
                running[lane.tenant] += under_lease.get(lane.id, 0)
            oldest = _find_oldest(connection)
        views = []
        for number, name, weight in found:
            counts = ended.get(number, {})
            hour = counts.get("finished", 0), counts.get("failed", 0)
            views.append(TenantView(name, weight, enqueued[name], running[name], *hour, oldest.get(name)))
        return TenantPage(views, depth.counted_at)


def _find_oldest(connection: Connection) -> dict[str, int]:
    """Return when the oldest enqueued job of each tenant was submitted."""
    groups = lanes.find_groups(connection, TOP, 0, GROUPS_MAX)
    heads = jobs.find_jobs(connection, [group.head for group in groups])
    oldest: dict[str, int] = {}
    for group in groups:
        at = heads[group.head].created_at
        oldest[group.lane.tenant] = min(at, oldest.get(group.lane.tenant, at))
    return oldest
