"""What must hold before a server starts: its port is free, and its data directory is its own."""

import errno
import fcntl
import os
import socket
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

LOCK_FILE = "server.lock"
RETRY_S = 0.05


class CannotStart(Exception):
    """The server cannot start here; the message says why in one line."""


def choose_port(host: str, port: int, wait_s: float = 1.0) -> int:
    """Return the port to listen on: ``port``, or a free one for 0.

    Waits ``wait_s`` for a server that is just ending, then raises CannotStart.
    """
    until, pause = time.monotonic() + wait_s, threading.Event()
    while True:
        try:
            return _try_port(host, port)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() >= until:
                raise CannotStart(f"cannot listen on {host} port {port}: {error.strerror or error}") from error
        pause.wait(RETRY_S)


def _try_port(host: str, port: int) -> int:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)
        probe.listen(1)
        return int(probe.getsockname()[1])


class DirectoryLock:
    """Holds a data directory until closed, or until this process and its children end, however they end.

    Two servers on one SQLite file would give the same ids and not wake each other's contracts.
    """

    def __init__(self, directory: Path, wait_s: float = 2.0) -> None:
        """Take the directory. Waits ``wait_s`` for a server that is just ending, then raises CannotStart."""
        self._file = os.open(directory / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        until, pause = time.monotonic() + wait_s, threading.Event()
        while True:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                if time.monotonic() >= until:
                    os.close(self._file)
                    raise CannotStart(f"another server or command works on {directory}") from error
                pause.wait(RETRY_S)
            else:
                return

    def close(self) -> None:
        """Give the directory up. A child process that was forked while it was held still holds it."""
        os.close(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
