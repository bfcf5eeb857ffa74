"""The app: Flask, with the endpoints, the pages and the way of functions around it."""

import time
from collections.abc import Callable
from functools import cached_property
from typing import Any, TypeVar, cast

from flask import Flask, Request, Response
from flask.sessions import NullSession, SessionInterface
from werkzeug.routing import MapAdapter

from piecework.server.api.metrics import STARTED, register_metrics
from piecework.server.api.table import ENDPOINTS
from piecework.server.dialects import capsule, v05
from piecework.server.dialects.paths import PlainPaths
from piecework.server.forwarding.gateway import FunctionGate
from piecework.server.pages.site import register_pages
from piecework.server.services import Services, open_services, system_clock
from piecework.server.services.core import Clock
from piecework.server.settings import Settings
from piecework.server.web.bodies import current_request
from piecework.server.web.endpoint import register_endpoints
from piecework.server.web.errors import register_error_answers
from piecework.server.web.parts import WHOLE, Part
from piecework.server.web.routing import QuickAdapter, QuickRules

F = TypeVar("F", bound=Callable[..., Any])


class NoSessions(SessionInterface):
    """Stands for the sessions that Flask would keep: nobody asks for one."""

    def __init__(self) -> None:
        self._none = NullSession()

    def open_session(self, app: Flask, request: Request) -> NullSession:
        del app, request
        return self._none


class ServerApp(Flask):
    """Flask, for plain functions, and paths that depend on no host name and on no session.

    Of Flask's hooks there are those of blueprints, and those after a request: to look for others, and for who
    hears its signals, takes as long as a short view.
    """

    session_interface = NoSessions()

    def ensure_sync(self, func: F) -> F:
        """Return the function, which is none of coroutines: to look takes its time with each request."""
        return func

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        """Return what matches a request by method and path alone."""
        if request is None:
            return None
        return QuickAdapter(self.url_map, self._quick_rules, request.method, request.path)

    @cached_property
    def _quick_rules(self) -> QuickRules:
        return QuickRules(self.url_map)

    def full_dispatch_request(self) -> Response:
        """Answer the request at hand."""
        asked = current_request()
        asked.environ[STARTED] = time.perf_counter()
        try:
            answer = self.preprocess_request() if asked.blueprint else None
            if answer is None:
                answer = self.dispatch_request()
        except Exception as error:  # noqa: BLE001  # Flask's own net: handlers of errors answer
            answer = self.handle_user_exception(error)
        return self.process_response(self.make_response(answer))

    def process_response(self, response: Response) -> Response:
        """Let all see the answer who want to."""
        if current_request().blueprint:
            return super().process_response(response)
        for see in self.after_request_funcs.get(None, ()):
            response = cast("Response", see(response))
        return response

    def do_teardown_request(self, exc: object = None) -> None:
        """Nobody waits for the end of a request."""

    def do_teardown_appcontext(self, exc: object = None) -> None:
        """Nor for that of its context."""


def create_app(settings: Settings, clock: Clock = system_clock, part: Part = WHOLE) -> Flask:
    """Open the database and wire the server together; ``app.extensions["piecework"]`` has its services.

    The caller starts the services (``services.start()``) in the process that answers, and closes them.
    Raises SchemaMismatch or DatabaseAway.
    """
    return wire_app(open_services(settings, clock), part)


def wire_app(services: Services, part: Part = WHOLE) -> Flask:
    """Return an app that answers the requests of a part with these services."""
    app = ServerApp("piecework.server", static_folder=None)
    app.extensions["piecework"] = services
    register_endpoints(app, ENDPOINTS, part, v05)
    register_metrics(app)
    if part == WHOLE:
        register_pages(app)
    register_error_answers(app, capsule.answer_failure, "console" if part == WHOLE else "docs")
    gate = app.extensions["piecework-gate"] = FunctionGate(PlainPaths(app.wsgi_app), app.extensions)
    app.wsgi_app = gate  # type: ignore[method-assign]
    return app
