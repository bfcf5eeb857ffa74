"""The server's own process: the app and its services, and how they start and end."""

import os
import sys
from functools import partial
from typing import NoReturn

import structlog
from flask import Flask

from piecework.http.serving import (
    ListenOptions,
    serve_app,
    start_thread,
    wait_until_listening,
)
from piecework.http.tcp import probe_connections
from piecework.memory import settle, share_heaps
from piecework.protocol.bodies import prepare_structs
from piecework.server.app import create_app
from piecework.server.errors import ServerError
from piecework.server.services import Services, system_clock
from piecework.server.services.core import Clock
from piecework.server.settings import Settings
from piecework.server.web.holding import BRIEFLY_MAX
from piecework.server.web.parts import PROXY, WHOLE, Part

log = structlog.get_logger("server")

CONNECTIONS_PER_WAITER = 4
"""An agent polls, beats and finishes over connections of their own, and keeps them open."""
STOP_TIMEOUT_S = 10
"""Requests that are under way get this long to end when the server stops."""


def serve(settings: Settings, part: Part = WHOLE, clock: Clock = system_clock) -> NoReturn:
    """Serve a part until SIGTERM or SIGINT, on a port and a database that are known to be usable.

    Exits the process: with 1 when the app cannot be made.
    """
    share_heaps()
    is_proxy = part == PROXY
    listen = ListenOptions(
        host=settings.host,
        port=settings.port,
        threads=1 if is_proxy else _count_threads(settings),
        connections=settings.waiters_max * CONNECTIONS_PER_WAITER + settings.calls_max + settings.request_threads,
        stop_timeout_s=STOP_TIMEOUT_S,
        is_asgi=is_proxy,
        underscores=settings.underscore_headers,
    )
    app = _make_app(settings, part, clock)
    services: Services = app.extensions["piecework"]
    services.start()
    settle()
    start_thread("announce", partial(_announce, settings, listen))
    front = open_front(services, app) if is_proxy else app
    serve_app(listen, front, partial(_release_waiters, services), services.close)


def _count_threads(settings: Settings) -> int:
    """Return how many threads requests may take. Of those that wait long, only readers of the feed need one."""
    return settings.calls_max + settings.request_threads + settings.listeners_max + BRIEFLY_MAX


def _make_app(settings: Settings, part: Part, clock: Clock) -> Flask:
    try:
        app = create_app(settings, clock, part)
    except ServerError as error:
        log.error("cannot start", error=str(error))  # noqa: TRY400  # the message is all there is to say
        sys.exit(1)
    prepare_structs()
    return app


def open_front(services: Services, app: Flask) -> object:
    """Return the app of a proxy that runs alone: it passes on what WSGI would not tell."""
    from piecework.server.forwarding.asgi import ProxyApp  # noqa: PLC0415
    from piecework.server.forwarding.calls import CallForwarding  # noqa: PLC0415  # takes a tenth of a second, and servers start often

    settings = services.settings
    return ProxyApp(CallForwarding(services), app, settings.calls_max + settings.request_threads)


def _release_waiters(services: Services) -> None:
    """Answer all who wait as soon as the server is told to stop: granian waits for every request to end."""
    services.release_waiters()
    log.info("stopping")


def _announce(settings: Settings, listen: ListenOptions) -> None:
    """Log where the server listens, once it does, and have machines found out that are switched off."""
    if wait_until_listening(listen):
        probe_connections(listen.port)
        database = settings.url.partition(":")[0]
        log.info(
            "listening on %s", listen.url, data=str(settings.data.absolute()), database=database, pid=os.getpid()
        )
