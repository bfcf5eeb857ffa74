"""What must hold before a server starts: its port is free, and its data directory is its own."""

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from piecework.http.addresses import resolve_host
from piecework.http.ports import find_port, try_patiently

LOCK_FILE = "server.lock"


class CannotStart(Exception):
    """The server cannot start here; the message says why in one line."""


def choose_host(host: str) -> str:
    """Return the address to listen on for a name or an address. Raises CannotStart when there is none."""
    try:
        return resolve_host(host)
    except OSError as error:
        raise CannotStart(str(error)) from error


def choose_port(host: str, port: int) -> int:
    """Return the port to listen on: ``port``, or a free one for 0. Raises CannotStart when it is in use."""
    try:
        return find_port(host, port)
    except OSError as error:
        raise CannotStart(str(error)) from error


class DirectoryLock:
    """Holds a data directory until closed, or until this process and its children end, however they end.

    Two servers on one SQLite file would give the same ids and not wake each other's contracts.
    """

    def __init__(self, directory: Path) -> None:
        """Take the directory. Raises CannotStart when another process has it."""
        self._file = os.open(directory / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try_patiently(lambda: fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB))
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
