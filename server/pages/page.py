"""What a page is: an address, what it asks for, and how its answer is written."""

from collections.abc import Callable, Generator
from typing import Any, NamedTuple, TypeVar

import msgspec
from flask import Response, request
from jinja2 import Environment, PackageLoader, StrictUndefined
from msgspec import UNSET, UnsetType

from piecework import __version__
from piecework.protocol.ids import Id
from piecework.server.errors import InvalidParameter
from piecework.server.pages.assets import asset_url
from piecework.server.pages.gate import PLACE, viewer
from piecework.server.pages.texts import FILTERS, address, jobs_address, show
from piecework.server.services.queue.waiting.pauses import wait_out
from piecework.server.web.endpoint import View, WholeResponse, acting, current_services, endpoints_of, tell_caller

ViewT = TypeVar("ViewT", bound=Callable[..., Any])
T = TypeVar("T")
NOTE = "piecework-note"
"""The cookie with what came of a form, for the page that is shown next."""
NOTE_MAX = 500
ROOMS = (
    ("/console", "Overview"),
    ("/console/jobs", "Jobs"),
    ("/console/jobs/failures", "Failures"),
    ("/console/groups", "Groups"),
    ("/console/schedules", "Schedules"),
    ("/console/lambdas", "Lambdas"),
    ("/console/functions", "Functions"),
    ("/console/workers", "Workers"),
    ("/console/limits", "Limits"),
    ("/console/modules", "Modules"),
    ("/console/namespaces", "Namespaces"),
    ("/console/webhooks", "Webhooks"),
    ("/console/tokens", "Tokens"),
    ("/console/audit", "Audit"),
    ("/console/storage", "Storage"),
)
"""The pages that all others lead to."""


class Page(NamedTuple):
    """One address of the console."""

    method: str
    path: str
    """Behind ``/console``."""
    view: Callable[..., Any]


def page(method: str, path: str) -> Callable[[ViewT], ViewT]:
    """Note on a function that it answers a method and path of the console."""

    def add(view: ViewT) -> ViewT:
        view.pages = (*pages_of(view), Page(method, path, view))  # type: ignore[attr-defined]
        return view

    return add


def pages_of(view: Callable[..., Any]) -> tuple[Page, ...]:
    """Return what a function answers."""
    return getattr(view, "pages", ())


def ask(view: View, *parts: Any, query: Any = None, body: Any = None) -> Any:
    """Ask a view of the API as the viewer, and return its message. Raises what the view does, and Forbidden."""
    services, [each, *_] = current_services(), endpoints_of(view)
    token = services.access.check(each.scope, request.headers)
    read = [reader(name, str(part)) for (name, reader), part in zip(each.parts.items(), parts, strict=True)]
    given = tell_caller(services, each, token, dict(zip(each.parts, read, strict=True)))
    if each.query is not None:
        given["query"] = query or each.query()
    if each.body is not None:
        given["body"] = body if body is not None else each.body()
    with acting(services, each, token, dict(zip(each.parts, read, strict=True)), given.get("body")):
        result = each.view(services, *read, **given)
        return wait_out(result) if isinstance(result, Generator) else result


def render(template: str, status: int = 200, **values: Any) -> Response:
    """Answer with a page."""
    response = WholeResponse(write(template, **values), status, content_type="text/html; charset=utf-8")
    if request.cookies.get(NOTE):
        response.delete_cookie(NOTE, path=PLACE)
    return response


def write(template: str, **values: Any) -> str:
    """Return a page, or a part of one, as HTML."""
    common = {
        "now": current_services().clock() / 1000,
        "note": request.cookies.get(NOTE, "")[:NOTE_MAX],
        "here": request.full_path.rstrip("?"),
    }
    return _templates.get_template(template).render(**common, **values, viewer=viewer())


def go(path: str, note: str = "") -> Response:
    """Lead to another page; ``note``: say there what came of a form."""
    response = Response(status=303, headers={"Location": path})
    if note:
        response.set_cookie(NOTE, note[:NOTE_MAX], max_age=20, path=PLACE, httponly=True, samesite="Strict")
    return response


def is_live() -> bool:
    """Tell whether a page that is open asks for a part of it anew."""
    return request.headers.get("HX-Request") == "true"


def read_query(type_: type[T]) -> T:
    """Read the query of an address; what is empty is left out. Raises InvalidParameter."""
    try:
        given = {name: value.strip() for name, value in request.args.items() if value.strip()}
        return msgspec.convert(given, type_, strict=False, dec_hook=_read_special)
    except msgspec.ValidationError as error:
        raise InvalidParameter(f"this cannot be read: {error}") from error


def read_id(text: str, what: str) -> Id:
    """Read an id from an address. Raises InvalidParameter."""
    try:
        return Id.parse(text)
    except ValueError as error:
        raise InvalidParameter(f"{text[:40]!r} is no id of a {what}") from error


def _read_special(type_: type, value: object) -> object:
    if type_ is Id:
        return Id.parse(value)
    raise TypeError(f"no field of a form is a {type_.__name__}")


def value(field: str) -> str:
    """Return a field of the form that was sent, without spaces around it; empty when it has none."""
    return request.form.get(field, "").strip()


def next_of(message: Any) -> str | None:
    """Return the cursor of the next page of a list; None when there is none."""
    found = message.next
    return None if isinstance(found, UnsetType) else str(found)


def _open_templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("piecework.server.pages"),
        autoescape=True,
        finalize=show,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= FILTERS
    environment.globals |= {
        "asset": asset_url,
        "address": address,
        "jobs_address": jobs_address,
        "version": __version__,
        "UNSET": UNSET,
        "rooms": ROOMS,
    }
    environment.tests["set"] = lambda value: value is not UNSET and value is not None
    return environment


_templates = _open_templates()
