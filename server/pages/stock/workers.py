"""Workers: how they stand, what they run, drain and retire."""

from flask import Response

from piecework.server.api.stock import workers as api
from piecework.server.api.stock.data import ViewQuery
from piecework.server.errors import InvalidParameter
from piecework.server.pages.lists import RowsQuery, older
from piecework.server.pages.page import ask, go, is_live, page, read_id, read_query, render, value
from piecework.server.pages.texts import address
from piecework.server.services import Services


class WorkerRowsQuery(RowsQuery, kw_only=True):
    """Which workers the console lists."""

    all: bool = False


@page("GET", "/workers")
def list_all(_services: Services) -> Response:
    """List workers, newest first."""
    asked = read_query(WorkerRowsQuery)
    found = ask(api.list_all, query=api.WorkerListQuery(limit=asked.limit, cursor=asked.cursor, all=asked.all))
    values = {"workers": found.workers, "next": older(found), "all": asked.all, "cursor": asked.cursor}
    return render("workers_rows.html" if is_live() else "workers.html", **values)


@page("GET", "/workers/<worker>")
def show(_services: Services, worker: str) -> Response:
    """Show one worker, with the jobs that it holds."""
    info = ask(api.show, read_id(worker, "worker"), query=ViewQuery(view="full"))
    return render("worker_live.html" if is_live() else "worker.html", worker=info)


@page("POST", "/workers/<worker>/act")
def act(_services: Services, worker: str) -> Response:
    """Have a worker take no more jobs, or remove it from service."""
    id_ = read_id(worker, "worker")
    views = {"drain": api.drain, "retire": api.retire}
    if value("action") not in views:
        raise InvalidParameter("a worker can be drained or retired")
    return go(address(f"/workers/{id_}"), ask(views[value("action")], id_).message)
