"""Who did what, when."""

from flask import Response, request

from piecework.server.api.stock import audit as api
from piecework.server.pages.lists import RowsQuery, older
from piecework.server.pages.page import ask, page, read_query, render
from piecework.server.services import Services


class AuditRowsQuery(RowsQuery, kw_only=True):
    """Which acts the console lists."""

    who: str | None = None
    act: str | None = None
    target: str | None = None
    since: str | None = None
    before: str | None = None


FIELDS = (
    ("who", "token", "its name"),
    ("act", "act", "cancel, retry, deploy, …"),
    ("target", "target", "as it stands here"),
    ("since", "since", "1h30m, or a time"),
    ("before", "before", "1h30m, or a time"),
)


@page("GET", "/audit")
def list_all(_services: Services) -> Response:
    """Tell who did what, newest first."""
    asked = read_query(AuditRowsQuery)
    given = {name: text for name, *_ in FIELDS if (text := getattr(asked, name))}
    found = ask(api.list_all, query=api.AuditQuery(limit=asked.limit, cursor=asked.cursor, **given))
    shown = {name: request.args.get(name, "") for name in given}
    return render("audit.html", entries=found.entries, next=older(found), fields=shown, filters=FIELDS)
