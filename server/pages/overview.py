"""The overview: whether all is well, in plain words, and the figures beside."""

import shutil
from collections.abc import Iterator
from typing import Any, NamedTuple, cast, get_args

import msgspec
from flask import Response, request

from piecework.durations import format_duration
from piecework.protocol.messages import StatsPeriod, StatsReply, WorkerState
from piecework.protocol.states import JobState
from server.api.queue import holds, stats as api
from server.api.stock import workers
from server.errors import InvalidParameter, ServerError
from server.pages.page import ask, is_live, page, render
from server.pages.texts import address
from server.services import Services
from server.store.queue.filters import JobFilter

SILENT = frozenset({WorkerState.GONE, WorkerState.UNABLE})
LATE_S = 300
"""A job that waits for a worker so long is worth a word."""
DISK_SHARE = 0.05
"""Less of the disk than this should not be free."""
PLOTTED = (("finished", "finished"), ("failed", "failed"), ("started", "started"), ("submitted", "submitted"))


class Trouble(NamedTuple):
    """Something that is not well."""

    words: str
    link: str
    is_bad: bool = False


@page("GET", "")
def show(services: Services) -> Response:
    """Say whether all is well, and show how much there is of what."""
    period = request.args.get("period", "hour")
    if period not in get_args(StatsPeriod):
        raise InvalidParameter(
            f"there are no figures of {period[:40]!r}: choose {', '.join(get_args(StatsPeriod))}"
        )
    figures: StatsReply = ask(api.stats, query=api.StatsQuery(period=cast("StatsPeriod", period)))
    hour = figures if period == "hour" else ask(api.stats, query=api.StatsQuery(period="hour", lambdas=0))
    values: dict[str, Any] = {
        "counts": services.jobs.count_states(JobFilter()),
        "oldest_s": _find_oldest(services),
        "figures": figures,
        "hour": hour.total,
        "periods": get_args(StatsPeriod),
        "plot_text": msgspec.json.encode(_plot(figures)).decode(),
        "server": request.host_url.rstrip("/"),
        "stuck": services.jobs.find_stuck(),
        "workers": ask(workers.list_all, query=workers.WorkerListQuery(limit=20)),
        "holds": ask(holds.list_all).holds,
        "disk": shutil.disk_usage(services.settings.data),
        "database_bytes": services.measure_database(),
    }
    values["troubles"] = list(_find_troubles(services, values))
    return render("overview_live.html" if is_live() else "overview.html", **values)


@page("GET", "/storage")
def storage(services: Services) -> Response:
    """Show what takes the disk."""
    settings = services.settings
    kept = {
        name: getattr(settings, f"retain_{name}")
        for name in ("finished", "failed", "cancelled", "uploads", "workers", "events", "deliveries", "audit")
    }
    return render("storage.html", storage=services.describe_storage(), kept=kept)


def _find_oldest(services: Services) -> float | None:
    """Return how long the job waits that waits longest for a worker, seconds."""
    at = services.jobs.find_oldest()
    return None if at is None else max(0.0, (services.clock() - at) / 1000)


def _plot(figures: StatsReply) -> dict[str, Any]:
    columns = [[point.at for point in figures.points]]
    columns += [[float(getattr(point, name)) for point in figures.points] for name, _ in PLOTTED]
    return {"columns": columns, "names": [label for _, label in PLOTTED]}


def _find_troubles(services: Services, values: dict[str, Any]) -> Iterator[Trouble]:
    """Yield what is not well, the worst first."""
    try:
        services.readiness.check()
    except ServerError as error:
        yield Trouble(f"The server cannot work: {error}", address("/storage"), is_bad=True)
    if values["disk"].free < values["disk"].total * DISK_SHARE:
        yield Trouble("The disk of the data directory is nearly full.", address("/storage"), is_bad=True)
    for wait in values["stuck"]:
        yield Trouble(f"Jobs cannot run: {wait.text}.", address(f"/jobs/{wait.job_id}"), is_bad=True)
    bad = [each for each in values["workers"].workers if each.state in SILENT]
    for each in bad[:3]:
        why = f": {each.trouble}" if each.trouble else ""
        yield Trouble(f"Worker {each.name} is {each.state}{why}.", address(f"/workers/{each.id}"))
    if len(bad) > 3:
        yield Trouble(f"{len(bad) - 3} further workers are gone or unable.", address("/workers"))
    failed = values["hour"].failed
    if failed:
        jobs = "1 job" if failed == 1 else f"{failed:,} jobs"
        yield Trouble(f"{jobs} failed in the last hour.", address("/jobs/failures", since="1h"))
    oldest_s = values["oldest_s"]
    if oldest_s is not None and oldest_s > LATE_S and not values["stuck"]:
        yield Trouble(
            f"A job has waited for a worker for {format_duration(oldest_s)}.",
            address("/jobs", state=JobState.ENQUEUED),
        )
    for hold in values["holds"][:3]:
        yield Trouble(f"The {hold.kind} {hold.name or hold.target} is paused.", address("/limits"))
