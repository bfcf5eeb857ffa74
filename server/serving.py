"""One server process under granian: what must hold before it starts, and how it stops.

Granian runs the app in a child process. The settings reach it as an argument of a function, never on a command
line. The child dies with its parent, so that killing the server with -9 leaves nothing behind on its port.
"""

import multiprocessing
import os
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import wait
from multiprocessing.util import Finalize
from typing import TYPE_CHECKING, Any

import structlog
from granian.constants import Interfaces
from granian.log import LogLevels
from granian.server import Server

from server import create_app
from server.api.parts import WHOLE, Part
from server.errors import ServerError
from server.journal import open_journal
from server.services import Services
from server.settings import Settings

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

log = structlog.get_logger("server")

BACKLOG = 2048
CONNECTIONS_PER_WAITER = 4
"""An agent polls, beats and finishes over connections of their own, and keeps them open."""
FILES_MAX = 65_536
STOP_TIMEOUT_S = 10
"""Requests that are under way get this long to end when the server stops."""
ANNOUNCE_TIMEOUT_S = 30.0
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def serve(settings: Settings, log_format: str, part: Part = WHOLE) -> None:
    """Serve a part until SIGTERM or SIGINT, on a port and a database that are known to be usable.

    Exits the process with 1 when the app cannot be made or dies.
    """
    _allow_many_connections()
    server = _Server(
        "server",
        address=settings.host,
        port=settings.port,
        interface=Interfaces.WSGI,
        websockets=False,
        blocking_threads=settings.waiters_max + settings.request_threads,
        backlog=BACKLOG,
        backpressure=settings.waiters_max * CONNECTIONS_PER_WAITER + settings.request_threads,
        workers_kill_timeout=STOP_TIMEOUT_S,
        log_level=LogLevels.error,
        log_dictconfig={"loggers": {"_granian": {"propagate": True}, "granian.access": {"propagate": False}}},
    )
    server.serve(target_loader=partial(_load_app, settings, log_format, part), wrap_loader=False)


class _Server(Server):  # type: ignore[misc, valid-type]  # which of its kinds is chosen when granian is imported
    """Granian, with a worker process that misses no signal."""

    def _spawn_workers(self, *args: Any, **kwargs: Any) -> None:
        # The worker is forked with the handlers of this process, which would swallow a stop: it has to wait until
        # the worker has its own (see _load_app).
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        try:
            super()._spawn_workers(*args, **kwargs)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)


def _allow_many_connections() -> None:
    """Raise the limit of open files, which many systems set too low for a server."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES_MAX if hard == resource.RLIM_INFINITY else min(FILES_MAX, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _load_app(settings: Settings, log_format: str, part: Part) -> "WSGIApplication":
    """Make the app in the process that answers requests."""
    for number in STOP_SIGNALS:
        signal.signal(number, lambda *_: os._exit(0))  # until granian takes them over, nothing is lost by leaving
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    _start_thread("parent", _die_with_parent)
    open_journal(log_format)
    try:
        app = create_app(settings, part=part)
    except ServerError as error:
        log.error("cannot start", error=str(error))  # noqa: TRY400  # the message is all there is to say
        sys.exit(1)
    services: Services = app.extensions["piecework"]
    services.start()
    Finalize(None, services.close, exitpriority=10)
    reader = _signal_numbers()
    _start_thread("signals", partial(_release_on_signal, reader, services))
    _start_thread("announce", partial(_announce, settings))
    return app


def _start_thread(name: str, target: Callable[[], Any]) -> None:
    threading.Thread(target=target, name=name, daemon=True).start()


def _die_with_parent() -> None:
    """Kill this process when its parent is gone, as after kill -9: nobody could stop it any more."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGKILL)


def _signal_numbers() -> socket.socket:
    """Return a socket that gives the number of each signal that arrives, whoever handles it."""
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    signal.set_wakeup_fd(writer.detach(), warn_on_full_buffer=False)
    return reader


def _release_on_signal(reader: socket.socket, services: Services) -> None:
    """Answer all who wait as soon as the server is told to stop: granian waits for every request to end."""
    while number := reader.recv(1):
        if number[0] in STOP_SIGNALS:
            services.release_waiters()
            log.info("stopping")


def _announce(settings: Settings) -> None:
    """Log where the server listens, once it does."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104  # compares only
    until, pause = time.monotonic() + ANNOUNCE_TIMEOUT_S, threading.Event()
    while time.monotonic() < until:
        try:
            socket.create_connection((host, settings.port), timeout=1).close()
        except OSError:
            pause.wait(0.02)
        else:
            shown = f"[{settings.host}]" if ":" in settings.host else settings.host
            database = settings.url.partition(":")[0]
            log.info("listening on http://%s:%d", shown, settings.port, database=database, pid=os.getppid())
            return
