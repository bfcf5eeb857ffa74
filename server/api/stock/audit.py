"""Who did what, when: ``/audit``."""

from msgspec import UNSET

from piecework.protocol.messages import AuditEntry, AuditList
from piecework.server.errors import InvalidParameter
from piecework.server.services import Services
from piecework.server.store.stock.audit import AuditFilter, AuditRow
from piecework.server.web.endpoint import endpoint
from piecework.server.web.paging import PageQuery, next_cursor
from piecework.text.selection import read_time


class AuditQuery(PageQuery, kw_only=True, forbid_unknown_fields=True):
    """Which acts. Unknown parameters are refused: a filter must not be lost by its spelling."""

    who: str | None = None
    """Only of this token, by its name."""
    act: str | None = None
    """Only acts that begin so, such as ``cancel``; the words stand in the answer."""
    target: str | None = None
    """Only what was done to this, as the answer tells it."""
    since: str | None = None
    """Only what was done then or later: a time in RFC 3339, or how long ago it is, such as ``1h30m``."""
    before: str | None = None
    """Only what was done before then."""


@endpoint("GET", "/audit", scope="operate", query=AuditQuery, reply=AuditList)
def list_all(services: Services, query: AuditQuery) -> AuditList:
    """Tell who did what, newest first."""
    which = _read_filter(query, services.clock())

    def list_page(*, before: int, limit: int) -> list[AuditRow]:
        return services.audit.list_page(which, before=before, limit=limit)

    found, more = query.read(list_page, services.settings.page_max)
    return AuditList(entries=list(map(_tell, found)), next=next_cursor([each.id for each in found], more))


def _read_filter(query: AuditQuery, now: int) -> AuditFilter:
    try:
        since, before = (None if at is None else read_time(at, now) for at in (query.since, query.before))
    except ValueError as error:
        raise InvalidParameter(str(error)) from error
    return AuditFilter(query.who, query.act, query.target, since, before)


def _tell(row: AuditRow) -> AuditEntry:
    return AuditEntry(
        at=row.at / 1000,
        by=row.by,
        who=row.who or UNSET,
        act=row.act,
        target=row.target or UNSET,
        detail=row.detail or UNSET,
        count=row.times,
    )
