"""The control server: it keeps workers, lambdas, jobs and blobs, and gives jobs to the workers that ask."""

from flask import Flask, Request
from werkzeug.routing import MapAdapter

from server.api.endpoint import register_endpoints
from server.api.errors import register_error_answers
from server.api.metrics import register_metrics
from server.api.parts import WHOLE, Part
from server.api.paths import PlainPaths
from server.forwarding.gateway import FunctionGate
from server.services import Clock, Services, open_services, system_clock
from server.settings import Settings


class ControlServer(Flask):
    """Flask, for paths that depend on no host name and on no session."""

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
    from server.api import (  # noqa: PLC0415  # they register
        contracts,  # noqa: F401
        data,  # noqa: F401
        deployments,  # noqa: F401
        docs,  # noqa: F401
        jobs,  # noqa: F401
        lambdas,  # noqa: F401
        memory,  # noqa: F401
        modules,  # noqa: F401
        routes,  # noqa: F401
        system,  # noqa: F401
        workers,  # noqa: F401
    )

    app = ControlServer(__name__, static_folder=None)
    app.extensions["piecework"] = services
    app.extensions["piecework-part"] = part
    register_endpoints(app, part)
    register_metrics(app)
    register_error_answers(app)
    app.wsgi_app = FunctionGate(PlainPaths(app.wsgi_app), app.extensions)  # type: ignore[method-assign]
    return app
