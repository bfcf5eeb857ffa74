"""Tenants: ``/tenant``."""

from msgspec import UNSET

from piecework.protocol.messages import TenantInfo, TenantList, TenantPut
from server.errors import InvalidParameter
from server.services import Services
from server.services.queue.tenants import TenantView
from server.web.endpoint import Query, endpoint
from server.web.paging import DEFAULT_LIMIT


class TenantListQuery(Query, kw_only=True):
    """Which page of the tenants."""

    limit: int = DEFAULT_LIMIT
    """Rows at most."""
    cursor: str = ""
    """``next`` of the page before; the first page needs none."""


@endpoint("GET", "/tenant", scope="view", query=TenantListQuery, reply=TenantList)
def list_all(services: Services, query: TenantListQuery) -> TenantList:
    """List tenants by name, with their weights and how many jobs each has."""
    most = services.settings.page_max
    if not 1 <= query.limit <= most:
        raise InvalidParameter(f"limit is {query.limit}, but must lie between 1 and {most}")
    found = services.tenants.list_page(after=query.cursor, limit=query.limit + 1)
    page = found[: query.limit]
    more = len(found) > query.limit
    return TenantList(tenants=list(map(_info, page)), next=page[-1].name if more else UNSET)


@endpoint("PUT", "/tenant/<text:tenant>", scope="operate", body=TenantPut, reply=TenantInfo)
def set_weight(services: Services, name: str, body: TenantPut) -> TenantInfo:
    """Say how many jobs of a tenant go in one of its turns."""
    return _info(services.tenants.set_weight(name, body.weight))


def _info(view: TenantView) -> TenantInfo:
    return TenantInfo(name=view.name, weight=view.weight, enqueued=view.enqueued, running=view.running)
