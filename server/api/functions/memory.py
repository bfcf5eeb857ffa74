"""The API of Capsule's reverse proxy: ``/memory/functions``. What it is told is stored, whatever its name says."""

from typing import Final

from flask import Response

from piecework.protocol.messages import (
    RevisionAdd,
    RevisionRemove,
    RevisionUrl,
    RouteRegister,
    RouteRemove,
    RouteReply,
)
from piecework.server.services import Services
from piecework.server.web.endpoint import endpoint, message_response

READERS: Final = ("view", "worker")
CHANGERS: Final = ("operate", "worker")
"""Workers, too: they register what they serve."""


@endpoint("GET", "/memory/functions/list", scope=READERS)
def list_all(services: Services) -> Response:
    """Give the URLs of every revision of every function, replicas too: `{"function": {"revision": ["URL"]}}`."""
    return message_response({name: each.urls() for name, each in services.routing.table().items()})


@endpoint("POST", "/memory/functions/registration", scope=CHANGERS, body=RouteRegister, reply=RouteReply)
def register(services: Services, body: RouteRegister) -> Response:
    """Register a function with a revision at a URL."""
    services.functions.register(body.function, body.revision, body.url)
    return _accepted("Function created", function=body.function, revision=body.revision, url=body.url)


@endpoint("DELETE", "/memory/functions/registration", scope=CHANGERS, body=RouteRemove, reply=RouteReply)
def remove(services: Services, body: RouteRemove) -> Response:
    """Remove a function and all that serves it."""
    services.functions.remove(body.function)
    return _accepted("Function removed", function=body.function)


@endpoint(
    "POST",
    "/memory/functions/<string:function>/revision",
    scope=CHANGERS,
    body=RevisionAdd,
    reply=RouteReply,
)
def add_revision(services: Services, function: str, body: RevisionAdd) -> Response:
    """Add a revision at a URL to a function."""
    services.functions.add_revision(function, body.revision, body.url)
    return _accepted("Revision added to the function", function=function, revision=body.revision, url=body.url)


@endpoint(
    "DELETE",
    "/memory/functions/<string:function>/revision",
    scope=CHANGERS,
    body=RevisionRemove,
    reply=RouteReply,
)
def remove_revision(services: Services, function: str, body: RevisionRemove) -> Response:
    """Remove a revision and all that serves it; `default`, where it stands for another: only that."""
    services.functions.remove_revision(function, body.revision)
    return _accepted("Revision removed from the function", function=function, revision=body.revision)


@endpoint(
    "POST",
    "/memory/functions/<string:function>/<string:revision>/url",
    scope=CHANGERS,
    body=RevisionUrl,
    reply=RouteReply,
)
def add_url(services: Services, function: str, revision: str, body: RevisionUrl) -> Response:
    """Add a URL to a revision. Safe to repeat."""
    services.functions.add_url(function, revision, body.url)
    return _accepted("URL added to the revision", function=function, revision=revision, url=body.url)


@endpoint(
    "DELETE",
    "/memory/functions/<string:function>/<string:revision>/url",
    scope=CHANGERS,
    body=RevisionUrl,
    reply=RouteReply,
)
def remove_url(services: Services, function: str, revision: str, body: RevisionUrl) -> Response:
    """Remove a URL from a revision."""
    services.functions.remove_url(function, revision, body.url)
    return _accepted("URL removed from the revision", function=function, revision=revision, url=body.url)


@endpoint("GET", "/memory/functions/<string:function>/<string:revision>/urls", scope=READERS)
def list_urls(services: Services, function: str, revision: str) -> Response:
    """Give the URLs of a revision."""
    return message_response(services.functions.urls(function, revision))


def _accepted(message: str, **route: str) -> Response:
    return message_response(RouteReply(code="OK", message=message, **route), 202)
