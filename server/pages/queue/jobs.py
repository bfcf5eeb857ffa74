"""The list of jobs: which, by what they have in common, and how many there are beside."""

from dataclasses import replace
from typing import Any, NamedTuple

import msgspec
from flask import Response, request

from piecework.protocol.messages import JobInfo, JobSelection
from piecework.protocol.states import JobState
from piecework.server.api.queue.jobs.jobinfo import explain_waits, foresee_ends, job_infos
from piecework.server.api.queue.jobs.selection import read_filter
from piecework.server.errors import GroupNotFound, InvalidParameter, LambdaNotFound, ScheduleNotFound
from piecework.server.pages.page import go, is_live, page, render
from piecework.server.pages.texts import address
from piecework.server.services import Services, system
from piecework.server.store.queue.jobs.filters import JobFilter
from piecework.server.store.queue.jobs.searches import Spot, StateCount

ROWS = 50
REASONS = 100
ID_DIGITS = 6
"""So many digits are taken for the end of a job's id."""
TABS: tuple[tuple[str, str], ...] = (
    ("", "all"),
    (JobState.WAITING, "waiting"),
    (JobState.PAUSED, "paused"),
    (JobState.ENQUEUED, "enqueued"),
    (JobState.RUNNING, "running"),
    (JobState.FINISHED, "finished"),
    (JobState.FAILED, "failed"),
    (JobState.CANCELLED, "cancelled"),
)
FIELDS: tuple[tuple[str, str, str], ...] = (
    ("lambda", "lambda", "name, id or name@id"),
    ("group", "group", "name or id"),
    ("tag", "tag", "as submitted"),
    ("submitter", "submitter", "name of a token"),
    ("tenant", "tenant", "name"),
    ("worker", "worker", "id"),
    ("schedule", "schedule", "name or id"),
    ("kind", "kind of failure", "trap,timeout"),
    ("key", "key", "exactly"),
    ("text", "text", "in arguments, key or error"),
    ("since", "since", "1h30m, or a time"),
    ("before", "before", "1h30m, or a time"),
)
"""The filters: name, what it is called, what to write there."""


class Choice(NamedTuple):
    """Which jobs a page is about."""

    selection: JobSelection
    fields: dict[str, str]
    """The same as an address has it."""


def read_choice(given: dict[str, str]) -> Choice:
    """Read which jobs are meant from an address or a form. Raises InvalidParameter."""
    fields = {name: given[name].strip() for name, *_ in (("state",), *FIELDS) if given.get(name, "").strip()}
    try:
        selection = msgspec.convert(fields, JobSelection, strict=False, dec_hook=_read_id)
    except msgspec.ValidationError as error:
        raise InvalidParameter(f"the filter is wrong: {error}") from error
    return Choice(selection, fields)


def _read_id(type_: Any, text: object) -> object:
    return type_.parse(text)


@page("GET", "/jobs")
def list_all(services: Services) -> Response:
    """List jobs, newest first, with what can be done to them."""
    if found := _find_job(services, request.args.get("q", "").strip()):
        return found
    choice = read_choice(_read_words())
    which, fault = _read_which(services, choice)
    cursor = _read_cursor(request.args.get("cursor", ""))
    looked_at = request.args.get("looked", default=0, type=int)
    nothing: dict[str, Any] = {"jobs": [], "counts": {}, "next": None, "looked_at": 0}
    values = _look(services, which, cursor, looked_at) if which else nothing
    if request.args.get("ended") and not values["jobs"]:
        values["next"] = None  # the page that asks has looked at all older ones
    values |= {"choice": choice, "fault": fault, "tabs": TABS, "filters": FIELDS, "cursor": cursor}
    return render("jobs_rows.html" if is_live() else "jobs.html", **values)


@page("GET", "/jobs/failures")
def failures(services: Services) -> Response:
    """Show failed jobs that were not run again, by lambda and reason."""
    choice = read_choice({name: text for name, text in request.args.items() if name != "state"})
    which, fault = _read_which(services, choice)
    found, is_all = services.failures.count_newest(which, REASONS) if which else ([], True)
    return render("failures.html", reasons=found, is_all=is_all, choice=choice, fault=fault, filters=FIELDS)


def _find_job(services: Services, words: str) -> Response | None:
    """Lead to the job whose id was typed, or its end; None when something else was."""
    if not words.isdecimal() or not ID_DIGITS <= len(words) <= len("9007199254740993") + 3:
        return None
    ids = system.find_ids(services.database, "job", words)
    if len(ids) != 1:
        return None
    return go(address(f"/jobs/{ids[0]}"))


def _read_words() -> dict[str, str]:
    """Return the filters of the address; what was typed into the search counts as a text, or ``name:value``."""
    given = dict(request.args.items())
    names = {"state", *(name for name, *_ in FIELDS)}
    rest = []
    for each in given.pop("q", "").split():
        name, colon, text = each.partition(":")
        if colon and name in names:
            given[name] = text
        else:
            rest.append(each)
    if rest:
        given["text"] = " ".join(rest)
    return given


def _read_which(services: Services, choice: Choice) -> tuple[JobFilter | None, str]:
    """Return the filter, or what is wrong with it."""
    try:
        return read_filter(services, choice.selection), ""
    except (ValueError, GroupNotFound, LambdaNotFound, ScheduleNotFound) as error:
        return None, str(error) or "there is nothing of that name"


def _look(services: Services, which: JobFilter, cursor: Spot | None, looked_at: int) -> dict[str, Any]:
    found = services.jobs.search(which, cursor, ROWS)
    infos = _describe(services, found.jobs)
    spot = found.next
    return {
        "jobs": infos,
        "next": f"{spot.at}.{spot.id}" if spot else None,
        "looked_at": looked_at + found.looked_at,
        "counts": _add_up(services.jobs.count_states(replace(which, states=()))),
    }


def _describe(services: Services, found: list[Any]) -> list[JobInfo]:
    infos = job_infos(services, services.jobs.show(found), inline=False, named=True)
    explain_waits(services, infos[:ROWS_EXPLAINED], found[:ROWS_EXPLAINED])
    foresee_ends(services, infos, found)
    for info, job in zip(infos, found, strict=True):
        info.submitter = job.submitter or msgspec.UNSET
    return infos


ROWS_EXPLAINED = 10


def _add_up(counts: dict[JobState, StateCount]) -> dict[str, StateCount]:
    """Return how many jobs there are beside each tab."""
    found = {str(state): number for state, number in counts.items()}
    if JobState.PAUSED in counts:  # else nobody counted the paused ones
        total = sum(each.number for each in counts.values())
        found[""] = StateCount(total, all(each.is_all for each in counts.values()))
    return found


def _read_cursor(text: str) -> Spot | None:
    if not text:
        return None
    try:
        at, id_ = map(int, text.split("."))
    except ValueError as error:
        raise InvalidParameter(f"the cursor is {text[:40]!r}, which no page had") from error
    return Spot(at, id_)
