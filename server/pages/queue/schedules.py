"""Schedules: when they tick, what came of it, run now, pause."""

from flask import Response

from piecework.protocol.messages import JobSpec, ScheduleCreate
from piecework.server.api.queue import schedules as api
from piecework.server.errors import InvalidParameter
from piecework.server.pages.lists import RowsQuery, older
from piecework.server.pages.page import ask, go, page, read_query, render, value
from piecework.server.pages.texts import address
from piecework.server.services import Services

ACTS = {"pause": (api.pause, "it is paused"), "resume": (api.resume, "it ticks again"), "remove": (api.remove, "")}


@page("GET", "/schedules")
def list_all(_services: Services) -> Response:
    """List schedules, newest first."""
    found = ask(api.list_all, query=read_query(RowsQuery))
    return render("schedules.html", schedules=found.schedules, next=older(found))


@page("POST", "/schedules")
def create(_services: Services) -> Response:
    """Create a schedule that submits a job without input."""
    body = ScheduleCreate(name=value("name"), job=JobSpec(lambda_=value("lambda")), paused=bool(value("paused")))
    if value("cron"):
        body.cron = value("cron")
    if value("every"):
        try:
            body.every_s = float(value("every"))
        except ValueError as error:
            raise InvalidParameter("an interval is a number of seconds") from error
    if value("timezone"):
        body.timezone = value("timezone")
    made = ask(api.create, body=body)
    return go(address(f"/schedules/{made.id}"), f"the schedule {made.name} is there")


@page("GET", "/schedules/<schedule>")
def show(_services: Services, schedule: str) -> Response:
    """Show one schedule, when it ticks next, and what came of its ticks."""
    info = ask(api.show, schedule)
    ticks = ask(api.list_ticks, schedule, query=read_query(RowsQuery))
    return render("schedule.html", schedule=info, ticks=ticks.ticks, next=older(ticks))


@page("POST", "/schedules/<schedule>/act")
def act(_services: Services, schedule: str) -> Response:
    """Run a schedule now, pause it, let it tick again, or remove it."""
    what = value("action")
    if what == "run":
        return go(address(f"/jobs/{ask(api.run, schedule).id}"), "submitted beside the ticks of the schedule")
    if what not in ACTS:
        raise InvalidParameter(f"{what[:40]!r} cannot be done to a schedule")
    view, note = ACTS[what]
    reply = ask(view, schedule)
    return (
        go(address("/schedules"), reply.message)
        if what == "remove"
        else go(address(f"/schedules/{schedule}"), note)
    )
