"""Groups of jobs, with how far they are."""

from flask import Response

from piecework.protocol.messages import HoldPut
from piecework.protocol.states import JobState
from piecework.server.api.queue import groups as api, holds
from piecework.server.pages.lists import RowsQuery, local, older
from piecework.server.pages.page import ask, go, is_live, page, read_query, render, value
from piecework.server.pages.texts import address
from piecework.server.services import Services


@page("GET", "/groups")
def list_all(services: Services) -> Response:
    """List groups, newest first, with how their jobs stand."""
    found = ask(api.list_all, query=read_query(RowsQuery))
    views = [services.groups.show(services.groups.find(str(each.id))) for each in found.groups]
    counts = {
        view.group.id: (sum(view.counts.values()), view.left, view.counts.get(JobState.FAILED, 0))
        for view in views
    }
    return render("groups.html", groups=found.groups, counts=counts, next=older(found))


@page("GET", "/groups/<group>")
def show(_services: Services, group: str) -> Response:
    """Show one group: how its jobs stand, which failed, and what waits for it."""
    info = ask(api.show, group)
    held = next(
        (each for each in ask(holds.list_all).holds if each.kind == "group" and each.target == str(info.group.id)),
        None,
    )
    return render("group_live.html" if is_live() else "group.html", info=info, hold=held)


@page("POST", "/groups/<group>/seal")
def seal(_services: Services, group: str) -> Response:
    """Close a group to further jobs."""
    ask(api.seal, group)
    return go(address(f"/groups/{group}"), "the group is sealed: no further job joins it")


@page("POST", "/holds")
def hold(_services: Services) -> Response:
    """Pause a lambda, a runtime, a group or a tenant, or let it go on."""
    kind, target, back = value("kind"), value("target"), value("back")
    if value("action") == "resume":
        ask(holds.resume, kind, target)
        note = f"the {kind} {target} goes on"
    else:
        ask(holds.pause, kind, target, body=HoldPut(note=value("note")[:500]))
        note = f"the {kind} {target} is paused: jobs come in, and none is given to a worker"
    return go(address(local(back, "/limits")), note)
