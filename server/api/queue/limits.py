"""Limits by key: ``/limit``."""

from msgspec import UNSET

from piecework.protocol.messages import LimitCheck, LimitInfo, LimitList, LimitPut, MessageReply, given
from piecework.server.errors import InvalidParameter
from piecework.server.services import Services
from piecework.server.services.queue.limits.limits import LimitView, Rule
from piecework.server.services.stock.keys import read_period_ms
from piecework.server.store.queue.leasing.limits import KINDS, LimitName
from piecework.server.web.endpoint import Query, endpoint
from piecework.server.web.paging import DEFAULT_LIMIT


class LimitListQuery(Query, kw_only=True):
    """Which page of the limits."""

    limit: int = DEFAULT_LIMIT
    """Rows at most."""
    cursor: str = ""
    """``next`` of the page before; the first page needs none."""


@endpoint("GET", "/limit", scope="view", query=LimitListQuery, reply=LimitList)
def list_all(services: Services, query: LimitListQuery) -> LimitList:
    """List limits by key, with how much of each is used and what waits."""
    most = services.settings.page_max
    if not 1 <= query.limit <= most:
        raise InvalidParameter(f"limit is {query.limit}, but must lie between 1 and {most}")
    found = services.limits.list_page(_read_cursor(query.cursor), query.limit + 1)
    page = found[: query.limit]
    more = len(found) > query.limit
    cursor = f"{page[-1].limit.kind} {page[-1].limit.key}" if more else UNSET
    return LimitList(limits=list(map(_info, page)), next=cursor)


@endpoint("GET", "/limit/<text:key>", scope="view", reply=LimitList)
def show(services: Services, key: str) -> LimitList:
    """Show the limits of a key: how many of its jobs run at once, how many start in a time."""
    return LimitList(limits=list(map(_info, services.limits.show(key))))


@endpoint("PUT", "/limit/<text:key>", scope="operate", body=LimitPut, reply=LimitList)
def rule(services: Services, key: str, body: LimitPut) -> LimitList:
    """Set the limits of a key, whatever its jobs say."""
    rate, period_s = given(body.rate), given(body.period_s)
    period_ms = None if rate is None else read_period_ms(1.0 if period_s is None else period_s, "period_s")
    found = services.limits.rule(key, Rule(given(body.concurrency), rate, period_ms))
    return LimitList(limits=list(map(_info, found)))


@endpoint("DELETE", "/limit/<text:key>", scope="operate", reply=MessageReply)
def clear(services: Services, key: str) -> MessageReply:
    """Take back what an operator set for a key: what its jobs say counts again."""
    services.limits.clear(key)
    return MessageReply(message=f"what jobs say counts again for the key {key}")


@endpoint("POST", "/limit", scope="operate", reply=LimitCheck)
def check(services: Services) -> LimitCheck:
    """Count the running jobs of all keys anew, and correct what is kept."""
    checked, repaired = services.limits.check_all()
    return LimitCheck(checked=checked, repaired=repaired)


def _read_cursor(cursor: str) -> LimitName:
    if not cursor:
        return LimitName(KINDS[0], "")
    kind, _, key = cursor.partition(" ")
    for each in KINDS:
        if kind == each:
            return LimitName(each, key)
    raise InvalidParameter("the cursor is not `next` of a page")


def _info(view: LimitView) -> LimitInfo:
    limit = view.limit
    is_ruled = limit.ruled is not None
    return LimitInfo(
        key=limit.key,
        kind=limit.kind,
        limit=limit.most,
        period_s=limit.period_ms / 1000 if limit.kind == "rate" else UNSET,
        set_by="operator" if is_ruled else "job",
        said=limit.said if is_ruled and limit.said is not None else UNSET,
        used=view.used,
        waiting=view.waiting,
    )
