"""Tenants: ``/tenant``."""

from msgspec import UNSET

from piecework.protocol.messages import TenantInfo, TenantList, TenantPut
from piecework.server.errors import InvalidParameter
from piecework.server.services import Services
from piecework.server.services.queue.figures.tenants import TenantView
from piecework.server.web.endpoint import Query, endpoint
from piecework.server.web.paging import DEFAULT_LIMIT


class TenantListQuery(Query, kw_only=True):
    """Which page of the tenants."""

    limit: int = DEFAULT_LIMIT
    """Rows at most."""
    cursor: str = ""
    """``next`` of the page before; the first page needs none."""


@endpoint("GET", "/tenant", scope="view", query=TenantListQuery, reply=TenantList)
def list_all(services: Services, query: TenantListQuery) -> TenantList:
    """List tenants by name, with their weights, how many jobs each has, and how it fared in the last hour."""
    most = services.settings.page_max
    if not 1 <= query.limit <= most:
        raise InvalidParameter(f"limit is {query.limit}, but must lie between 1 and {most}")
    found = services.tenants.list_page(after=query.cursor, limit=query.limit + 1)
    page = found.tenants[: query.limit]
    reply = TenantList(tenants=list(map(_info, page)))
    if len(found.tenants) > query.limit:
        reply.next = page[-1].name
    if found.counted_at is not None:
        reply.counted_at = found.counted_at / 1000
    return reply


@endpoint("PUT", "/tenant/<text:tenant>", scope="operate", body=TenantPut, reply=TenantInfo)
def set_weight(services: Services, name: str, body: TenantPut) -> TenantInfo:
    """Say how many jobs of a tenant go in one of its turns."""
    return _info(services.tenants.set_weight(name, body.weight))


def _info(view: TenantView) -> TenantInfo:
    return TenantInfo(
        name=view.name,
        weight=view.weight,
        enqueued=view.enqueued,
        running=view.running,
        finished=view.finished,
        failed=view.failed,
        oldest_at=UNSET if view.oldest_at is None else view.oldest_at / 1000,
    )
