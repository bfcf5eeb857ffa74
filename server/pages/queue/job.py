"""One job: what it was run with, how it fared, what it gave, and the same again."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from flask import Response, request
from msgspec import UNSET, ValidationError, convert

from piecework.protocol.ids import Id
from piecework.protocol.messages import (
    Content,
    JobBulk,
    JobEdit,
    JobInfo,
    JobSubmit,
    JobUpdate,
    Limits,
    TraceEvent,
    given,
)
from piecework.protocol.messages.lambdas import OkCodes
from piecework.protocol.secrets import MASK, mask_secrets
from piecework.protocol.states import JobState
from piecework.server.api.queue.jobs import bulk, jobs as api, updates
from piecework.server.api.queue.jobs.jobinfo import complete, job_info
from piecework.server.errors import BadTransition, InvalidParameter
from piecework.server.pages.lines import submit_lines
from piecework.server.pages.page import ask, go, is_live, page, read_id, render, value
from piecework.server.pages.previews import preview
from piecework.server.pages.queue.receipts import find_receipt
from piecework.server.pages.stock.blobs import as_file
from piecework.server.pages.uploads import take_input
from piecework.server.services import Services
from piecework.server.services.queue.changing.reruns import RERUN
from piecework.server.store.records import Job, Log

LOG_BYTES = 64 * 1024
"""So much of a log is shown: its end."""
STEPS_MAX = 200
ACTS = {"cancel": "cancelled", "pause": "paused", "resume": "enqueued"}


@page("GET", "/jobs/<job>")
def show(services: Services, job: str) -> Response:
    """Show one job. To look at it is not to read its result: it stays as long as before."""
    found = services.jobs.get(read_id(job, "job"))
    info = _describe(services, found)
    output_id = found.output_id
    events = services.jobs.trace(found.id)
    values: dict[str, Any] = {
        "job": info,
        "steps": events[-STEPS_MAX:],
        "cut": len(events) > STEPS_MAX,
        "attempts": _list_attempts(ask(api.trace, Id(found.id)).events),
        "output": preview(services, output_id, request.args.get("output_as", "")),
        "log": _choose_log(services, found),
        "receipt": find_receipt(services, found),
        "family": services.jobs.find_family(found, list(map(int, given(info.after) or ()))),
        "states": {"rerun": found.state in RERUN, "final": found.state.is_final},
    }
    if is_live():
        return render("job_live.html", **values)
    values["input"] = preview(services, found.input_id, request.args.get("input_as", ""))
    values["lines"] = submit_lines(info, request.host_url.rstrip("/"))
    values["args"] = args if _can_be_typed(args := given(info.args) or []) else None
    values["env"] = {name: text for name, text in mask_secrets(found.options.env).items() if _can_be_typed([text])}
    return render("job.html", **values)


@page("GET", "/jobs/<job>/log")
def save_log(services: Services, job: str) -> Response:
    """Give all that is kept of an attempt's log, to be saved."""
    id_, attempt = read_id(job, "job"), request.args.get("attempt", "")
    if not attempt.isdecimal() or len(attempt) > 9:
        raise InvalidParameter("say whose log is wanted: attempt=N")
    _, log = services.jobs.log_of(id_, int(attempt))
    return as_file(Response(log.content, content_type="application/octet-stream"), f"job-{id_}-{attempt}.log")


@page("POST", "/jobs/<job>/act")
def act(_services: Services, job: str) -> Response:
    """Cancel, pause or resume a job, or run it again as it is."""
    id_, what = read_id(job, "job"), value("action")
    here = f"/console/jobs/{id_}"
    if what == "cancel":
        return go(here, ask(api.cancel, id_).message)
    if what in ACTS:
        return go(here, ask(updates.update, id_, body=JobUpdate(status=ACTS[what])).message)
    if what == "retry":
        _work(JobBulk(action="retry", ids=[id_]))
        return go(here, "the job runs again")
    raise InvalidParameter(f"{what[:40]!r} cannot be done to a job")


@page("POST", "/jobs/<job>/again")
def run_again(services: Services, job: str) -> Response:
    """Make a new job that is like this one but for what the form says."""
    found = services.jobs.get(read_id(job, "job"))
    services.access.check("submit", request.headers)
    info = _describe(services, found)
    edit = _read_edit(services, found, info)
    if found.state in RERUN:
        [made] = given(_work(JobBulk(action="retry", ids=[Id(found.id)], edit=edit)).made) or []
        id_ = made.made
    else:
        id_ = ask(api.submit, body=_like(found, info, edit)).id
    return go(f"/console/jobs/{id_}", f"made of job {found.id}")


def _describe(services: Services, found: Job) -> JobInfo:
    """Return all that is told of a job."""
    [view] = services.jobs.show([found])
    return complete(services, job_info(services, view, inline=False), view)


def _work(body: JobBulk) -> Any:
    """Do something to one job. Raises BadTransition that says why it cannot be done."""
    reply = ask(bulk.bulk, body=body)
    if reply.refused:
        raise BadTransition(reply.refused[0].message)
    return reply


def _read_edit(services: Services, found: Job, info: JobInfo) -> JobEdit:
    """Return the changes that the form has. Raises InvalidParameter."""
    edit = JobEdit()
    if value("lambda").rpartition("@")[2] not in {"", str(found.lambda_id)}:
        edit.lambda_ = value("lambda")
    input_id = take_input(services)
    if input_id is not None:
        edit.input = Content(id=Id(input_id))
    args = [line for line in request.form.get("args", "").replace("\r\n", "\n").split("\n") if line]
    own = given(info.args) or []
    if args != own and (args or _can_be_typed(own)):
        edit.args = args
    edit.env = _read_env(request.form.get("env", "")) or None
    if value("timeout"):
        edit.timeout_s = _read_number("timeout")
    if value("memory"):
        edit.limits = Limits(memory_bytes=round(_read_number("memory") * 1024 * 1024))
    if value("ok_codes"):
        edit.ok_codes = _read_codes(value("ok_codes"))
    return edit


def _like(found: Job, info: JobInfo, edit: JobEdit) -> JobSubmit:
    """Return a submission like a job that cannot be run again, as it finished, or has not ended."""
    known = mask_secrets(found.options.env)
    untyped = {name: text for name, text in known.items() if not _can_be_typed([text])}
    limits, args = edit.limits, found.options.args if edit.args is None else edit.args
    if edit.timeout_s is not None:
        limits = Limits(timeout_s=edit.timeout_s).over(limits)
    codes = found.options.ok_codes if edit.ok_codes is None else edit.ok_codes
    return JobSubmit(
        lambda_=edit.lambda_ or str(found.lambda_id),
        input=edit.input if edit.input is not UNSET else Content(id=Id(found.input_id)),
        args=args if args is None else list(args),
        env=untyped | (edit.env or {}),
        tags=list(found.tags) or None,
        files={each.name: Content(id=each.blob) for each in given(info.files) or ()} or UNSET,
        outputs=given(info.outputs) or UNSET,
        limits=limits.over(found.options.limits),
        ok_codes=codes if codes is None else list(codes),
        priority=found.priority,
    )


def _read_env(text: str) -> dict[str, str]:
    """Read variables, one a line; those that are masked stay out: nobody here knows them."""
    found = {}
    for line in text.replace("\r\n", "\n").split("\n"):
        name, equals, given_value = line.partition("=")
        if line.strip() and not equals:
            raise InvalidParameter(f"{line[:40]!r} is no variable: write NAME=VALUE")
        if equals and given_value != MASK:
            found[name.strip()] = given_value
    return found


def _read_codes(text: str) -> list[int]:
    """Read exit codes, with commas or spaces between them."""
    try:
        return convert(text.replace(",", " ").split(), OkCodes, strict=False)
    except ValidationError as error:
        raise InvalidParameter(f"{text[:40]!r} are no exit codes: {error}") from error


def _can_be_typed(texts: Sequence[str]) -> bool:
    """Tell whether a field can show texts, one a line, and send them back as they are."""
    return all(text and text.isprintable() for text in texts)


def _read_number(name: str) -> float:
    try:
        return float(value(name))
    except ValueError as error:
        raise InvalidParameter(f"{name} is {value(name)[:40]!r}, and must be a number") from error


def _list_attempts(trace: list[TraceEvent]) -> list[dict[str, Any]]:
    """Return the attempts of a job, oldest first: who ran each, from when to when, and how it ended."""
    attempts: list[dict[str, Any]] = []
    for event in trace:
        if event.state is JobState.RUNNING and not event.detail.startswith("refused"):
            attempts.append(
                {"number": event.attempt, "worker": event.worker, "began": event.at, "lease": event.lease}
            )
        elif attempts and event.lease is not UNSET and event.lease == attempts[-1]["lease"]:
            attempts[-1] |= {"ended": event.at, "state": event.state, "detail": event.detail}
    longest = max((each.get("ended", each["began"]) - each["began"] for each in attempts), default=0) or 1
    for each in attempts:
        each["share"] = round(100 * (each.get("ended", each["began"]) - each["began"]) / longest)
    return attempts


def _choose_log(services: Services, found: Job) -> dict[str, Any]:
    """Return the end of the log that the address asks for, or of the newest one."""
    _, logs = services.jobs.logs(found.id)
    wanted = request.args.get("attempt", "")
    log = next(
        (each for each in logs if str(each.attempt) == wanted), logs[-1] if logs else Log(0, b"", found.attempt)
    )
    shown = log.content[-LOG_BYTES:]
    return {
        "text": shown.decode(errors="replace"),
        "attempt": log.attempt,
        "attempts": [each.attempt for each in logs],
        "before": log.start + len(log.content) - len(shown),
        "size": log.end,
        "save": f"/console/jobs/{found.id}/log?attempt={quote(str(log.attempt))}",
    }
