"""The console as a part of the app: its addresses, its headers, its errors."""

from collections.abc import Callable

from flask import Blueprint, Flask, Response, request
from werkzeug.exceptions import NotFound

from piecework.server.errors import ServerError
from piecework.server.pages import sign_in
from piecework.server.pages.assets import serve_asset
from piecework.server.pages.gate import PLACE, let_in, show_session, viewer
from piecework.server.pages.page import Page, is_live, render
from piecework.server.pages.table import PAGES
from piecework.server.web.endpoint import current_services
from piecework.server.web.errors import read_failure
from piecework.server.web.refusals import note_refused_request

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # with no-referrer, browsers would not tell where a form comes from
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
FIELDS_MAX_BYTES = 2 * 1024 * 1024
"""What a form may have beside its files."""


def register_pages(app: Flask) -> None:
    """Give the app the pages."""
    site = Blueprint("console", __name__, url_prefix=PLACE)
    site.add_url_rule("/static/<path:name>", "static", serve_asset)
    site.add_url_rule("/sign-in", "sign_in", sign_in.show, methods=["GET"])
    site.add_url_rule("/sign-in", "sign_in_post", sign_in.enter, methods=["POST"])
    for each in PAGES:
        site.add_url_rule(
            each.path, f"{each.method} {each.path}".replace(".", "_"), _answer(each), methods=[each.method]
        )
    site.add_url_rule("/<path:rest>", "nothing", _answer(Page("GET", "", _find_nothing)))
    site.before_request(_prepare)
    site.after_request(_seal)
    site.register_error_handler(Exception, _explain)
    app.register_blueprint(site)
    app.extensions["piecework-console"] = True


def _answer(each: Page) -> Callable[..., Response]:
    def answer(**parts: str) -> Response:
        let_in(acts=each.method == "POST" and each.view is not sign_in.leave)
        found: Response = each.view(current_services(), **parts)
        return found

    return answer


def _prepare() -> None:
    request.max_content_length = current_services().settings.body_max_bytes
    request.max_form_memory_size = FIELDS_MAX_BYTES
    show_session()


def _seal(response: Response) -> Response:
    for name, text in HEADERS.items():
        response.headers.setdefault(name, text)
    response.headers.setdefault("Cache-Control", "no-store")
    return response


def _find_nothing(_services: object, rest: str) -> Response:
    raise NotFound(rest)


def _explain(error: Exception) -> Response:
    """Answer with a page that says what went wrong; without a valid session with the way to sign in."""
    if isinstance(error, ServerError) and (who := viewer()):
        error.who = error.who or who.name
    note_refused_request(current_services(), error, request)
    failure = read_failure(error)
    if failure.status == 401:
        return sign_in.send(failure.message)
    return render("part_error.html" if is_live() else "error.html", failure.status, failure=failure)
