"""Signing in with a token, and out."""

from urllib.parse import urlencode

from flask import Response, request

from piecework.server.errors import ServerError, Unauthorized
from piecework.server.pages.gate import COOKIE, PLACE, check_origin, forget_cookie, set_cookie
from piecework.server.pages.page import go, is_live, page, render, value
from piecework.server.services import Services
from piecework.server.web.endpoint import current_services
from piecework.server.web.refusals import note_refused_request


def show() -> Response:
    """Ask for a token."""
    return render("sign_in.html", to=_place(request.args.get("to", "")), fault="")


def enter() -> Response:
    """Begin a session, when the token is valid."""
    to = _place(value("to"))
    try:
        check_origin()
        session = current_services().access.open_session(value("token"))
    except ServerError as error:
        note_refused_request(current_services(), error, request)
        status = 401 if isinstance(error, Unauthorized) else 403
        return render("sign_in.html", status, to=to, fault=str(error))
    response = go(to)
    set_cookie(response, session)
    return response


@page("POST", "/sign-out")
def leave(_services: Services) -> Response:
    """End the session in this browser."""
    response = go(f"{PLACE}/sign-in")
    forget_cookie(response)
    return response


def send(why: str) -> Response:
    """Lead to the form, and then back to where the request was for."""
    to = request.full_path.rstrip("?") if request.method == "GET" and not is_live() else PLACE
    place = f"{PLACE}/sign-in?{urlencode({'to': to})}"
    if is_live():
        return Response(why, 401, {"HX-Redirect": place}, content_type="text/plain; charset=utf-8")
    response = go(place)
    if COOKIE in request.cookies:
        forget_cookie(response)
    return response


def _place(to: str) -> str:
    """Return a page of the console that is asked for; no other place."""
    is_ours = to == PLACE or to.startswith((f"{PLACE}/", f"{PLACE}?"))
    return to if is_ours and to.isprintable() and "\\" not in to and "//" not in to else PLACE
