"""The overview: whether all is well, in plain words, and the figures beside."""

from typing import Any, cast, get_args

import msgspec
from flask import Response, request

from piecework.protocol.messages import StatsPeriod, StatsReply
from piecework.server.api import system
from piecework.server.api.queue import stats as api
from piecework.server.api.stock import workers
from piecework.server.errors import InvalidParameter
from piecework.server.pages.page import ask, is_live, page, render
from piecework.server.services import Services

PLACES = {
    "queue": "/jobs?state=enqueued",
    "failures": "/jobs/failures?since=1h",
    "paused": "/limits",
    "schedules": "/schedules",
    "webhooks": "/webhooks",
    "functions": "/functions",
    "disk": "/storage",
    **dict.fromkeys(("workers", "clocks", "versions", "leases"), "/workers"),
}
"""The pages that have more of what a check found."""
PLOTTED = ("finished", "failed", "started", "submitted")
KEPT = ("finished", "failed", "cancelled", "uploads", "workers", "events", "deliveries", "audit", "memos")


@page("GET", "")
def show(_services: Services) -> Response:
    """Say whether all is well, and show how much there is of what."""
    period = request.args.get("period", "hour")
    if period not in get_args(StatsPeriod):
        raise InvalidParameter(
            f"there are no figures of {period[:40]!r}: choose {', '.join(get_args(StatsPeriod))}"
        )
    figures: StatsReply = ask(api.stats, query=api.StatsQuery(period=cast("StatsPeriod", period)))
    values: dict[str, Any] = {
        "stands": ask(system.status),
        "places": PLACES,
        "figures": figures,
        "periods": get_args(StatsPeriod),
        "plot_text": msgspec.json.encode(_plot(figures)).decode(),
        "workers": ask(workers.list_all, query=workers.WorkerListQuery(limit=20)),
        "server": request.host_url.rstrip("/"),
    }
    return render("overview_live.html" if is_live() else "overview.html", **values)


@page("GET", "/storage")
def storage(services: Services) -> Response:
    """Show how full the disk is; with ``count``, what takes it: that goes through the indexes of all jobs."""
    kept = {name: getattr(services.settings, f"retain_{name}") for name in KEPT}
    counted = ask(system.storage) if request.args.get("count") else None
    return render("storage.html", stands=ask(system.status), storage=counted, kept=kept)


def _plot(figures: StatsReply) -> dict[str, Any]:
    """Return columns as the script draws them, the first with times."""
    columns = [[float(getattr(point, name)) for point in figures.points] for name in ("at", *PLOTTED)]
    return {"columns": columns, "names": PLOTTED}
