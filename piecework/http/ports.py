"""Ports to listen on: whether one is free, asked before a server starts."""

import errno
import random
import socket
import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
WAIT_S = 2.0
"""A program that is just ending gets this long to leave its port."""
RETRY_S = 0.05
CHOICE = range(20_000, 32_000)
"""Where free ports are chosen. Systems give others to outgoing connections, maybe before the server listens."""
TRIES = 100


def find_port(host: str, port: int) -> int:
    """Return the port to listen on: ``port``, or a free one for 0. Raises OSError when it is in use."""
    try:
        return _choose_port(host) if port == 0 else try_patiently(lambda: _try_port(host, port))
    except OSError as error:
        raise OSError(f"cannot listen on {host} port {port}: {error.strerror or error}") from error


def _choose_port(host: str) -> int:
    for choice in random.sample(CHOICE, TRIES):
        try:
            return _try_port(host, choice)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
    return _try_port(host, 0)


def _try_port(host: str, port: int) -> int:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)
        probe.listen(1)
        return int(probe.getsockname()[1])


def try_patiently(attempt: Callable[[], T]) -> T:
    """Return what ``attempt`` returns, trying again for a while as long as something is in use. Raises OSError."""
    until, pause = time.monotonic() + WAIT_S, threading.Event()
    while True:
        try:
            return attempt()
        except OSError as error:
            if error.errno not in {errno.EADDRINUSE, errno.EWOULDBLOCK} or time.monotonic() >= until:
                raise
        pause.wait(RETRY_S)
