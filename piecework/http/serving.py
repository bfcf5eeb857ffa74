"""One server process under granian: what must hold before it starts, and how it stops.

Granian runs the app in a child process. What the app needs reaches it as an argument of a function, never on a
command line. The child dies with its parent, so that killing a server with -9 leaves nothing behind on its port.
"""

import multiprocessing
import os
import resource
import signal
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

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
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


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
    takes_hangup: bool = False
    """SIGHUP goes to the process with the app; else it replaces that process."""

    @property
    def url(self) -> str:
        """Where it is, for people."""
        shown = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.certificate else 'http'}://{shown}:{self.port}"


def serve_app(listen: ListenOptions, load: Callable[[], object]) -> None:
    """Serve the app that ``load`` makes, in the process that answers, until SIGTERM or SIGINT.

    Exits the process with 1 when that process dies.
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
    server.takes_hangup = listen.takes_hangup
    spawn = None if listen.is_async or listen.is_asgi else make_spawn(underscores=listen.underscores)
    server.serve(spawn, partial(_load, load, takes_hangup=listen.takes_hangup), wrap_loader=False)


def _interface(listen: ListenOptions) -> Interfaces:
    if listen.is_asgi:
        return Interfaces.ASGINL
    return Interfaces.RSGI if listen.is_async else Interfaces.WSGI


class _Server(Server):  # type: ignore[misc, valid-type]  # which of its kinds is chosen when granian is imported
    """Granian, with a worker process that misses no signal."""

    takes_hangup = False

    def _spawn_workers(self, *args: Any, **kwargs: Any) -> None:
        # The worker is forked with the handlers of this process, which would swallow a stop: it has to wait until
        # the worker has its own (see _load).
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        try:
            super()._spawn_workers(*args, **kwargs)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)

    def signal_handler_reload(self, *args: Any, **kwargs: Any) -> None:
        if not self.takes_hangup:
            super().signal_handler_reload(*args, **kwargs)
        for worker in self.wrks if self.takes_hangup else ():
            os.kill(worker.inner.pid, signal.SIGHUP)


def _allow_many_connections() -> None:
    """Raise the limit of open files, which many systems set too low for a server."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES_MAX if hard == resource.RLIM_INFINITY else min(FILES_MAX, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _load(load: Callable[[], object], *, takes_hangup: bool) -> object:
    """Make the app in the process that answers requests."""
    if takes_hangup:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until the app takes it over
    for number in STOP_SIGNALS:
        signal.signal(number, lambda *_: os._exit(0))  # until granian takes them over, nothing is lost by leaving
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    start_thread("parent", _die_with_parent)
    return load()


def start_thread(name: str, target: Callable[[], Any]) -> None:
    """Run a function beside the requests until the process ends."""
    threading.Thread(target=target, name=name, daemon=True).start()


def _die_with_parent() -> None:
    """Kill this process when its parent is gone, as after kill -9: nobody could stop it any more."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGKILL)


def watch_signals(heard: Callable[[int], object]) -> None:
    """Have each signal that arrives told, by its number, in a thread; whoever handles it."""
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    signal.set_wakeup_fd(writer.detach(), warn_on_full_buffer=False)

    def listen() -> None:
        while number := reader.recv(1):
            heard(number[0])

    start_thread("signals", listen)


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
