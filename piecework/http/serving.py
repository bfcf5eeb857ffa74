"""One server process under granian: what must hold before it starts, and how it stops.

Granian runs an app in a child process. Here it runs in the process that it was made in: another one, which would
only wait, takes as much memory again.
"""

import asyncio
import os
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from granian import _granian, _signals
from granian.constants import HTTPModes, Interfaces, Loops, RuntimeModes, SSLProtocols
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server import Server

from piecework.http.threads import make_spawn

IDLE_S = 5
"""A thread that had no request for so long ends: a crowd that came at once leaves its stacks else."""
BACKLOG = 2048
FILES_MAX = 65_536
ANNOUNCE_TIMEOUT_S = 30.0
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_native: Any = _granian
_granian_signals: Any = _signals
"""These have no types."""


@dataclass(frozen=True, kw_only=True)
class ListenOptions:
    """Where a server listens, and how much it takes at a time."""

    host: str
    port: int
    threads: int = 1
    """Requests that are worked on at a time, those that wait included. An app of coroutines has one."""
    connections: int
    """Connections at a time."""
    stop_timeout_s: int
    """Requests that are under way get this long to end when the server stops."""
    certificate: Path | None = None
    key: Path | None = None
    """Both, as PEM: the server speaks TLS."""
    head_bytes: int | None = None
    """Longest head of a request; None: about 400 KiB."""
    is_async: bool = False
    """The app is one of coroutines (RSGI), not of threads (WSGI)."""
    is_asgi: bool = False
    """It is one of coroutines that must see a request as it was sent, and may break an answer off (ASGI)."""
    underscores: bool = False
    """A WSGI app gets headers with underscores in their names, too."""

    @property
    def url(self) -> str:
        """Where it is, for people."""
        shown = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.certificate else 'http'}://{shown}:{self.port}"


def leave_on_signals() -> None:
    """Have a stop end the process at once: until requests are answered, nothing is lost by leaving."""
    for number in _STOP_SIGNALS:
        signal.signal(number, lambda *_: os._exit(0))


def serve_app(
    listen: ListenOptions,
    app: object,
    on_stop: Callable[[], object] = lambda: None,
    on_end: Callable[[], object] = lambda: None,
) -> NoReturn:
    """Serve an app until SIGTERM or SIGINT, and end the process with 0.

    ``on_stop`` is called, in a thread, when the signal comes, and ``on_end`` when all requests have ended; when
    they take too long, the process ends without it.
    """
    _allow_many_connections()
    server = _Server(
        "server",
        address=listen.host,
        port=listen.port,
        interface=_interface(listen),
        # The quickest that is installed. But uvloop takes the signals for itself that others watch.
        loop=Loops.auto if listen.is_async else Loops.asyncio,
        # Of the second version's connections those that say nothing stay, and heads may have 16 MB.
        http=HTTPModes.http1,
        websockets=False,
        # One thread holds all connections either way; the other mode hands over between threads more often.
        runtime_mode=RuntimeModes.st,
        blocking_threads=listen.threads,
        blocking_threads_idle_timeout=IDLE_S,
        backlog=BACKLOG,
        backpressure=listen.connections,
        workers_kill_timeout=listen.stop_timeout_s,
        http1_settings=HTTP1Settings(max_buffer_size=listen.head_bytes) if listen.head_bytes else None,
        ssl_cert=listen.certificate,
        ssl_key=listen.key,
        ssl_protocol_min=SSLProtocols.tls12,
        log_level=LogLevels.error,
        log_dictconfig={"loggers": {"_granian": {"propagate": True}, "granian.access": {"propagate": False}}},
    )
    server.on_stop = on_stop
    spawn = None if listen.is_async or listen.is_asgi else make_spawn(underscores=listen.underscores)
    server.serve(spawn, lambda: app, wrap_loader=False)
    on_end()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # threads of granian's crash when they come back to an interpreter that is being taken down


def _interface(listen: ListenOptions) -> Interfaces:
    if listen.is_asgi:
        return Interfaces.ASGINL
    return Interfaces.RSGI if listen.is_async else Interfaces.WSGI


class _Server(Server):  # type: ignore[misc, valid-type]  # which of its kinds is chosen when granian is imported
    """Granian, with its worker process in this one."""

    on_stop: Callable[[], object]

    def _serve(self, spawn_target: Any, target_loader: Any) -> None:
        _granian_signals.set_sync_signals = self._watch_signals
        _granian_signals.set_loop_signals = self._handle_signals
        self._init_shared_socket()
        self._spawn_worker(0, spawn_target, target_loader).inner.run()

    def _watch_signals(self) -> Any:
        """Return what granian waits for in the main thread, and have it set by a signal that stops the process.

        A signal just before the main thread begins to wait does not wake it: its handler would never run.
        """
        stop = _native.WorkerSignal()
        reader, writer = socket.socketpair()
        writer.setblocking(False)
        signal.set_wakeup_fd(writer.detach(), warn_on_full_buffer=False)
        for number in _STOP_SIGNALS:
            signal.signal(number, lambda *_: None)
        start_thread("signals", partial(self._await_signal, reader, stop))
        return stop

    def _handle_signals(self, loop: asyncio.AbstractEventLoop) -> Any:
        """Do the same in an event loop, which each signal wakes."""
        stop = _native.WorkerSignal()
        for number in _STOP_SIGNALS:
            loop.add_signal_handler(number, lambda *_: start_thread("stop", partial(self._stop, stop)))
        return stop

    def _await_signal(self, reader: socket.socket, stop: Any) -> None:
        while reader.recv(1)[0] not in _STOP_SIGNALS:
            pass
        self._stop(stop)

    def _stop(self, stop: Any) -> None:
        self.on_stop()
        stop.set()
        threading.Event().wait(self.workers_kill_timeout)
        os._exit(0)


def _allow_many_connections() -> None:
    """Raise the limit of open files, which many systems set too low for a server."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES_MAX if hard == resource.RLIM_INFINITY else min(FILES_MAX, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def start_thread(name: str, target: Callable[[], Any]) -> None:
    """Run a function beside the requests until the process ends."""
    threading.Thread(target=target, name=name, daemon=True).start()


def wait_until_listening(listen: ListenOptions) -> bool:
    """Wait until connections are taken; False when that takes too long."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(listen.host, listen.host)  # noqa: S104  # compares only
    until, pause = time.monotonic() + ANNOUNCE_TIMEOUT_S, threading.Event()
    while time.monotonic() < until:
        try:
            socket.create_connection((host, listen.port), timeout=1).close()
        except OSError:
            pause.wait(0.02)
        else:
            return True
    return False
