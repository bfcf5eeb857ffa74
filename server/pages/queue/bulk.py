"""Something is done to many jobs: first they are counted, then it is done to exactly those, step by step.

Each step is one request of the API for bulk work. Nothing of it is held here: a page that is left open goes on,
one that is closed ends the work after the step that runs.
"""

import secrets
from typing import Any, cast, get_args

import msgspec
from flask import Response, request
from msgspec import UNSET

from piecework.protocol.ids import Id
from piecework.protocol.messages import (
    BulkAction,
    BulkRefusal,
    Content,
    JobBulk,
    JobBulkReply,
    JobEdit,
    JobSelection,
    given,
)
from piecework.server.api.queue.jobs import bulk as api
from piecework.server.errors import InvalidParameter
from piecework.server.pages.page import ask, page, render, value
from piecework.server.pages.queue.jobs import read_choice
from piecework.server.services import Services

DONE_WORDS = {
    "cancel": "cancelled", "pause": "paused", "resume": "resumed", "retry": "run again", "delete": "deleted"
}  # fmt: skip
UNDONE_BY: dict[BulkAction, BulkAction] = {
    "cancel": "retry", "pause": "resume", "resume": "pause", "retry": "cancel"
}  # fmt: skip
"""What takes back what was done to jobs, as far as it can be."""


@page("POST", "/jobs/act")
def choose(_services: Services) -> Response:
    """Say what would be done, and to how many jobs."""
    return render("act.html", **_count())


@page("POST", "/jobs/act/count")
def count(_services: Services) -> Response:
    """Count further: there are many."""
    return render("act_count.html", **_count())


@page("POST", "/jobs/act/do")
def work(_services: Services) -> Response:
    """Do it, or do it to the next ones."""
    action, ids, where, fields = _read_order()
    key = value("work") or secrets.token_urlsafe(16)
    body = JobBulk(action=action, edit=_read_edit() if action == "retry" else UNSET, key=key)
    if ids:
        body.ids = ids
    else:
        body.where, body.cursor = where, value("cursor") or UNSET
    reply = ask(api.bulk, body=body)
    values = _add(reply, action, ids, fields)
    values["made"] = given(reply.made) or []
    values["edit"] = {name: value(name) for name in ("new_lambda", "input") if value(name)}
    values["work"], values["can_undo"] = key, action in UNDONE_BY
    return render("act_progress.html" if value("step") else "act_done.html", **values)


@page("POST", "/jobs/undo")
def undo(_services: Services) -> Response:
    """Say what would be taken back, of what was done under a key."""
    return render("undo.html", **_take_back(dry_run=True))


@page("POST", "/jobs/undo/do")
def work_back(_services: Services) -> Response:
    """Take it back, or take back the next ones."""
    return render("undo.html", **_take_back(dry_run=False))


def _take_back(*, dry_run: bool) -> dict[str, Any]:
    """Take back what was done under a key, and return what this request and those before it came to."""
    cursor = value("cursor") or UNSET
    reply = ask(api.bulk, body=JobBulk(action="undo", key=value("work"), cursor=cursor, dry_run=dry_run))
    undone = given(reply.undoes)
    values = _add(reply, UNDONE_BY[undone] if undone else "cancel", [], {})
    return values | {"work": value("work"), "undone": undone and DONE_WORDS[undone], "is_tried": dry_run}


def _count() -> dict[str, Any]:
    action, ids, where, fields = _read_order()
    body = JobBulk(action=action, dry_run=True)
    if ids:
        body.ids = ids
    else:
        body.where, body.cursor = where, value("cursor") or UNSET
    reply = ask(api.bulk, body=body)
    values = _add(reply, action, ids, fields)
    values["begin"] = value("begin") or given(reply.begin) or ""
    values["work"] = secrets.token_urlsafe(16)
    return values


def _add(reply: JobBulkReply, action: BulkAction, ids: list[Id], fields: dict[str, str]) -> dict[str, Any]:
    """Return what this request and those before it came to."""
    return {
        "action": action,
        "done_word": DONE_WORDS[action],
        "ids": ids,
        "fields": fields,
        "matched": _read_number("matched") + reply.matched,
        "changed": _read_number("changed") + reply.changed,
        "refused": (refused := _merge(reply.refused)),
        "refused_text": msgspec.json.encode(refused).decode(),
        "next": given(reply.next),
    }


def _merge(refused: list[BulkRefusal]) -> dict[str, int]:
    """Return for how many jobs it was refused why, those of the requests before too."""
    try:
        found = msgspec.json.decode(value("refused") or "{}", type=dict[str, int])
    except msgspec.DecodeError as error:
        raise InvalidParameter("the form was changed on its way") from error
    for each in refused:
        found[each.message] = found.get(each.message, 0) + each.count
    return found


def _read_number(name: str) -> int:
    text = value(name) or "0"
    if not text.isdecimal() or len(text) > 12:
        raise InvalidParameter("the form was changed on its way")
    return int(text)


def _read_order() -> tuple[BulkAction, list[Id], JobSelection, dict[str, str]]:
    """Return what is to be done to which jobs. Raises InvalidParameter."""
    action = value("action")
    if action not in get_args(BulkAction):
        raise InvalidParameter(f"{action[:40]!r} cannot be done to jobs")
    choice = read_choice(dict(request.form.items()))
    if value("whom") == "all":
        return cast("BulkAction", action), [], choice.selection, choice.fields
    try:
        ids = [Id.parse(text) for text in request.form.getlist("id")]
    except ValueError as error:
        raise InvalidParameter("the form names a job that cannot be") from error
    if not ids:
        raise InvalidParameter("no job is selected: mark some, or choose all that match")
    return cast("BulkAction", action), ids, choice.selection, {}


def _read_edit() -> Any:
    """Return what is to be other in the jobs that are run again; unset: nothing."""
    edit = JobEdit(lambda_=value("new_lambda") or None)
    if "input" in request.form and value("new_input"):
        edit.input = Content(text=request.form["input"].replace("\r\n", "\n"))
    return UNSET if edit == JobEdit() else edit
