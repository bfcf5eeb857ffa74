"""The control server: it keeps workers, lambdas, jobs and blobs, and gives jobs to the workers that ask."""

from collections.abc import Callable
from typing import Any, TypeVar

from flask import Flask, Request
from werkzeug.routing import MapAdapter

from server.api.metrics import register_metrics
from server.api.table import ENDPOINTS
from server.dialects import capsule, v05
from server.dialects.paths import PlainPaths
from server.forwarding.gateway import FunctionGate
from server.pages.site import register_pages
from server.services import Services, open_services, system_clock
from server.services.core import Clock
from server.settings import Settings
from server.web.endpoint import register_endpoints
from server.web.errors import register_error_answers
from server.web.parts import WHOLE, Part

F = TypeVar("F", bound=Callable[..., Any])


class ServerApp(Flask):
    """Flask, for plain functions, and paths that depend on no host name and on no session."""

    def ensure_sync(self, func: F) -> F:
        """Return the function, which is none of coroutines: to look takes its time with each request."""
        return func

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        """Match a request by method and path alone: to look at its host takes longer than that."""
        if request is None:
            return None
        return MapAdapter(self.url_map, "", "/", None, "http", request.path, request.method)


def create_app(settings: Settings, clock: Clock = system_clock, part: Part = WHOLE) -> Flask:
    """Open the database and wire the server together; ``app.extensions["piecework"]`` has its services.

    The caller starts the services (``services.start()``) in the process that answers, and closes them.
    Raises SchemaMismatch or DatabaseAway.
    """
    return wire_app(open_services(settings, clock), part)


def wire_app(services: Services, part: Part = WHOLE) -> Flask:
    """Return an app that answers the requests of a part with these services."""
    app = ServerApp(__name__, static_folder=None)
    app.extensions["piecework"] = services
    register_endpoints(app, ENDPOINTS, part, v05)
    register_metrics(app)
    if part == WHOLE:
        register_pages(app)
    register_error_answers(app, capsule.answer_failure, "console" if part == WHOLE else "docs")
    gate = app.extensions["piecework-gate"] = FunctionGate(PlainPaths(app.wsgi_app), app.extensions)
    app.wsgi_app = gate  # type: ignore[method-assign]
    return app
