"""What must hold before a server starts: its port is free, and its data directory is its own."""

import errno
import fcntl
import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

T = TypeVar("T")

LOCK_FILE = "server.lock"
WAIT_S = 2.0
"""A server that is just ending gets this long to leave its port and its directory."""
RETRY_S = 0.05


class CannotStart(Exception):
    """The server cannot start here; the message says why in one line."""


def choose_port(host: str, port: int) -> int:
    """Return the port to listen on: ``port``, or a free one for 0. Raises CannotStart when it is in use."""
    try:
        return _patiently(lambda: _try_port(host, port))
    except OSError as error:
        raise CannotStart(f"cannot listen on {host} port {port}: {error.strerror or error}") from error


def _try_port(host: str, port: int) -> int:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)
        probe.listen(1)
        return int(probe.getsockname()[1])


def _patiently(attempt: Callable[[], T]) -> T:
    """Return what ``attempt`` returns, trying again for a while as long as something is in use."""
    until, pause = time.monotonic() + WAIT_S, threading.Event()
    while True:
        try:
            return attempt()
        except OSError as error:
            if error.errno not in {errno.EADDRINUSE, errno.EWOULDBLOCK} or time.monotonic() >= until:
                raise
        pause.wait(RETRY_S)


class DirectoryLock:
    """Holds a data directory until closed, or until this process and its children end, however they end.

    Two servers on one SQLite file would give the same ids and not wake each other's contracts.
    """

    def __init__(self, directory: Path) -> None:
        """Take the directory. Raises CannotStart when another process has it."""
        self._file = os.open(directory / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            _patiently(lambda: fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB))
        except OSError as error:
            os.close(self._file)
            raise CannotStart(f"another server or command works on {directory}") from error

    def close(self) -> None:
        """Give the directory up. A child process that was forked while it was held still holds it."""
        os.close(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
