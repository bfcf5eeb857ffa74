"""Tenants: on whose behalf jobs run, and how many jobs of each go in one of its turns."""

from collections import Counter
from functools import partial
from typing import NamedTuple

from piecework.protocol.states import JobState
from server.errors import InvalidRequest
from server.services.core import Core
from server.services.stock.keys import check_tenant
from server.store.engine.database import Connection
from server.store.queue import jobs, lanes, tenants
from server.store.queue.tenants import Tenant
from server.store.records import Job

WEIGHT_MAX = 1000


class TenantView(NamedTuple):
    """A tenant and its jobs."""

    name: str
    weight: int
    enqueued: int
    running: int


class Tenants:
    """The tenants of this server."""

    def __init__(self, core: Core) -> None:
        self._database = core.database

    def find_of(self, job: Job) -> str:
        """Return the tenant of a job; empty: nobody."""
        with self._database.read() as connection:
            found = lanes.find_lanes(connection, [job.lane_id])
        return found[0].tenant if found else ""

    def list_page(self, *, after: str, limit: int) -> list[TenantView]:
        """Return tenants whose names come after one, by name."""
        with self._database.read() as connection:
            found = tenants.list_tenants(connection, after, limit)
            return _view(connection, found)

    def set_weight(self, name: str, weight: int) -> TenantView:
        """Say how many jobs of a tenant go in one of its turns; it need not have any. Raises InvalidRequest."""
        check_tenant(name)
        if not 1 <= weight <= WEIGHT_MAX:
            raise InvalidRequest(f"the weight is {weight}, but must lie between 1 and {WEIGHT_MAX}")
        self._database.write(partial(tenants.set_weight, name=name, weight=weight))
        with self._database.read() as connection:
            [view] = _view(connection, [Tenant(name, weight)])
        return view


def _view(connection: Connection, found: list[Tenant]) -> list[TenantView]:
    """Add how many jobs each tenant has."""
    counts = jobs.count_by_lane(connection)
    enqueued, running = Counter[str](), Counter[str]()
    for lane in lanes.find_lanes(connection, counts):
        enqueued[lane.tenant] += counts[lane.id].get(JobState.ENQUEUED, 0)
        running[lane.tenant] += counts[lane.id].get(JobState.RUNNING, 0)
    return [TenantView(*each, enqueued[each.name], running[each.name]) for each in found]
