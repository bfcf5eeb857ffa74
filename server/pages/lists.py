"""What lists have in common: how long a page is, and where the next one is."""

from flask import request

from piecework.server.pages.page import next_of
from piecework.server.pages.texts import address
from piecework.server.web.paging import PageQuery

ROWS = 50


class RowsQuery(PageQuery, kw_only=True):
    """Which page of a list the console shows."""

    limit: int = ROWS


def older(message: object) -> str | None:
    """Return the address of the page after this one; None when there is none."""
    cursor = next_of(message)
    kept = {name: text for name, text in request.args.items() if name != "cursor"}
    return address(request.path.removeprefix("/console"), **kept, cursor=cursor) if cursor else None


def local(path: str, otherwise: str) -> str:
    """Return a path of the console that a form names; what is none is not followed."""
    is_ours = path.startswith("/") and "//" not in path and "\\" not in path and path.isprintable()
    return path if is_ours else otherwise
