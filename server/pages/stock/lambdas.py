"""Lambdas: what they are, their history by name, and running one now."""

from typing import Any

from flask import Response, request

from piecework.modules.binary import ModuleError
from piecework.modules.inspection import Inspection, inspect_code
from piecework.protocol.ids import Id
from piecework.protocol.messages import Content, JobSubmit, LambdaCreate
from piecework.protocol.states import JobState
from piecework.server.api.queue import holds, stats
from piecework.server.api.queue.jobs import jobs as job_api
from piecework.server.api.stock import lambdas as api
from piecework.server.api.stock.data import ViewQuery
from piecework.server.errors import BlobNotFound, InvalidParameter
from piecework.server.pages.lists import RowsQuery, older
from piecework.server.pages.page import ask, go, page, read_query, render, value
from piecework.server.pages.texts import address
from piecework.server.pages.uploads import store_file, take_input
from piecework.server.services import Services
from piecework.server.store.queue.jobs.filters import JobFilter

FULL = ViewQuery(view="full")
HISTORY = 20
INSPECTED_MAX_BYTES = 32 * 1024 * 1024


class LambdaRowsQuery(RowsQuery, kw_only=True):
    """Which lambdas the console lists."""

    name: str | None = None


@page("GET", "/lambdas")
def list_all(_services: Services) -> Response:
    """List lambdas, newest first."""
    asked = read_query(LambdaRowsQuery)
    query = api.LambdaListQuery(limit=asked.limit, cursor=asked.cursor, name=asked.name)
    found = ask(api.list_all, query=query)
    return render("lambdas.html", lambdas=found.lambdas, next=older(found), name=asked.name or "")


@page("POST", "/lambdas")
def create(services: Services) -> Response:
    """Make a lambda of a file with code."""
    services.access.check("submit", request.headers)
    file = request.files.get("file")
    if file is None or not file.filename:
        raise InvalidParameter("choose the file with the code")
    body = LambdaCreate(runtime=value("runtime") or "wasi", codex=store_file(services, file))
    if value("name"):
        body.name = value("name")
    return go(address(f"/lambdas/{ask(api.create, body=body).id}"), "the lambda is there")


@page("GET", "/lambdas/<lambda_>")
def show(services: Services, lambda_: str) -> Response:
    """Show one lambda: its defaults and grants, how its jobs fare, others of its name."""
    info = ask(api.show, lambda_, query=FULL)
    values: dict[str, Any] = {"info": info, "history": [], "found": None}
    if info.name:
        values["history"] = ask(api.list_all, query=api.LambdaListQuery(limit=HISTORY, name=info.name)).lambdas
    values["counts"] = services.jobs.count_states(JobFilter(lambda_=int(info.id)))
    values["day"] = ask(stats.stats, query=stats.StatsQuery(period="day", lambda_=str(info.id), lambdas=0)).total
    if request.args.get("inspect"):
        values["found"] = _inspect(services, int(info.codex))
    held = [each for each in ask(holds.list_all).holds if each.kind == "lambda" and each.target == str(info.id)]
    return render("lambda.html", hold=held[0] if held else None, failed_state=JobState.FAILED, **values)


def _inspect(services: Services, codex: int) -> Inspection | str:
    """Return what code is and needs, without running it; or why that cannot be told."""
    try:
        blob = services.data.get(codex)
        code = services.data.read(blob, INSPECTED_MAX_BYTES)
        if code is None:
            return "the code is too large to be looked into here: piecework lambda inspect does"
        return inspect_code(code)
    except (BlobNotFound, ModuleError) as error:
        return str(error) or "there is no code"


@page("POST", "/lambdas/<lambda_>/run")
def run(services: Services, lambda_: str) -> Response:
    """Submit one job of a lambda, now."""
    services.access.check("submit", request.headers)
    body = JobSubmit(lambda_=lambda_)
    if input_id := take_input(services):
        body.input = Content(id=Id(input_id))
    if args := [line for line in request.form.get("args", "").replace("\r\n", "\n").split("\n") if line]:
        body.args = args
    return go(address(f"/jobs/{ask(job_api.submit, body=body).id}"), "submitted")


@page("POST", "/lambdas/<lambda_>/delete")
def delete(_services: Services, lambda_: str) -> Response:
    """Delete a lambda of which no job is open."""
    return go(address("/lambdas"), ask(api.delete, lambda_).message)
