"""The routes of functions as configuration for another proxy: ``/routes``."""

import re
from typing import Literal

from flask import Response, request

from piecework.server.errors import InvalidParameter
from piecework.server.services import Services
from piecework.server.services.functions.caddy import list_routes, write_caddyfile, write_json
from piecework.server.web.endpoint import Query, endpoint, message_response

_ADDRESS = re.compile(r"[A-Za-z0-9.:\[\]-]{1,200}")


class CaddyQuery(Query):
    """How to write the configuration."""

    format: Literal["json", "caddyfile"] = "json"
    """``json``, which Caddy's own API takes, or ``caddyfile``."""
    listen: str = ":8080"
    """The address that Caddy is to listen on."""
    home: str = ""
    """This server's address as Caddy reaches it, ``host:port``; by default the one that this request went to."""


@endpoint("GET", "/routes/caddy", scope="operate", query=CaddyQuery)
def caddy(services: Services, query: CaddyQuery) -> Response:
    """Give the routes as configuration for Caddy. It has the tokens of replicas: keep it as you keep those."""
    home = query.home or request.host
    for name, address in (("listen", query.listen), ("home", home)):
        if not _ADDRESS.fullmatch(address):
            raise InvalidParameter(
                f"{name} is {address[:200]!r}, which is no address; one looks like 127.0.0.1:8080"
            )
    routes = list_routes(services.routing.table())
    if query.format == "caddyfile":
        return Response(write_caddyfile(routes, query.listen, home), content_type="text/plain; charset=utf-8")
    return message_response(write_json(routes, query.listen, home))
