"""Who looks at a page, and what lets a form act: a session in a cookie, and marks that other pages cannot make."""

import hmac
from dataclasses import dataclass

from flask import Response, g, request

from piecework.protocol.text import find_fault
from piecework.server.errors import Forbidden, InvalidRequest
from piecework.server.services import Services
from piecework.server.store.records import Scope
from piecework.server.web.endpoint import current_services

COOKIE = "piecework-console"
PLACE = "/console"
MARK_HEADER = "Piecework-Mark"
"""What scripts of our pages send along, as forms do."""
CONTENTS = frozenset({"input", "body"})
"""Fields of forms that are bytes, spelled as a text: no rule for texts is about them."""
READ_ONLY: frozenset[Scope] = frozenset({"view"})


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who looks."""

    name: str | None
    """The name of a token; None where none is needed."""
    scopes: frozenset[Scope]
    """All that the pages let them do."""
    mark: str
    """What a form has that comes from a page of this session."""

    def may(self, *scopes: Scope) -> bool:
        """Tell whether they may do what asks for one of these."""
        return not self.scopes.isdisjoint(scopes)


def viewer() -> Viewer | None:
    """Return who sent the request; None when nobody was let in."""
    found: Viewer | None = g.get("viewer")
    return found


def show_session() -> None:
    """Have the session of a cookie count as the request's token."""
    if (session := request.cookies.get(COOKIE)) and not request.headers.get("Authorization"):
        request.environ["HTTP_AUTHORIZATION"] = f"Session {session}"


def let_in(*, acts: bool) -> None:
    """Find out who looks. Raises Unauthorized, and Forbidden for a form that another page may have sent.

    ``acts``: the request changes something, beside the session itself.
    """
    services = current_services()
    if fault := find_fault(request.args):
        raise InvalidRequest(fault)
    name, scopes = services.access.find_rights(request.headers)
    if name is None and not services.settings.console_acts:
        scopes = READ_ONLY
    g.viewer = Viewer(name, scopes, form_mark(services))
    if request.method != "GET":
        _check_form(g.viewer)
    else:
        _check_reader(g.viewer)
    if acts:
        _check_acts(g.viewer)


def form_mark(services: Services) -> str:
    """Return what forms of this session have."""
    return services.access.seal(request.cookies.get(COOKIE, ""))


def check_origin() -> None:
    """Raise Forbidden unless a page of this server sent the form: browsers say so."""
    origin = request.headers.get("Origin", "")
    host = request.headers.get("Host", "").lower()
    if origin.lower() not in {f"http://{host}", f"https://{host}"}:
        raise Forbidden(
            f"this form came from {origin[:100] or 'nowhere'!r}: only pages of this server may send it"
        )


def _check_reader(who: Viewer) -> None:
    """Raise Forbidden when a script asks that is none of ours: functions answer with pages from the same server.

    Such a page could read a mark, and then act. Browsers say how they ask where the server is on this machine or
    behind TLS; a page that is opened is out of a script's reach, and so is an image.
    """
    mode, asked = request.headers.get("Sec-Fetch-Mode"), request.headers.get("Sec-Fetch-Dest")
    if mode in {None, "navigate"} or asked == "image":
        return
    if not _is_mark(request.headers.get(MARK_HEADER, ""), who):
        raise Forbidden("pages of the console are opened, not asked for by scripts of other pages")


def _is_mark(text: str, who: Viewer) -> bool:
    return hmac.compare_digest(text.encode(errors="replace"), who.mark.encode())


def _check_form(who: Viewer) -> None:
    check_origin()
    if fault := find_fault([text for name, text in request.form.items(multi=True) if name not in CONTENTS]):
        raise InvalidRequest(fault)
    if not _is_mark(request.form.get("mark", ""), who):
        raise Forbidden("this form is of another session: load the page again, then send it")


def _check_acts(who: Viewer) -> None:
    if who.scopes == READ_ONLY:
        raise Forbidden(
            "the pages only show things here: start the server with --console-acts, or make a token and sign in"
            if who.name is None
            else f"the token {who.name} may only look"
        )


def set_cookie(response: Response, session: str) -> None:
    """Keep a session in the browser: no script sees it, and no other site makes use of it."""
    is_secure = request.headers.get("Origin", "").lower().startswith("https://")
    response.set_cookie(COOKIE, session, path=PLACE, httponly=True, samesite="Strict", secure=is_secure)


def forget_cookie(response: Response) -> None:
    """Have the browser forget the session."""
    response.delete_cookie(COOKIE, path=PLACE, httponly=True, samesite="Strict")
