"""A connection over which a guest waits for somebody: it ends at once when the guest must stop."""

import errno
import io
import os
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from socket import getaddrinfo
from typing import Any, Self, TypeVar

from piecework.worker_agent.runtimes.services.errors import ServiceError
from piecework.worker_agent.runtimes.stopping import LOOK_S, StopSignal

_T = TypeVar("_T")


class RequestDeadline:
    """Holds a request to its time and to the stop signal of its call."""

    def __init__(self, stop: StopSignal, patience_s: float) -> None:
        self._stop = stop
        self._patience_s = patience_s
        self._until = time.monotonic() + patience_s

    def look(self) -> float:
        """Return how long to wait before the next look, seconds. Raises StoppedError and ServiceError."""
        self._stop.check()
        left_s = self._until - time.monotonic()
        if left_s <= 0:
            raise ServiceError(f"no answer within {self._patience_s:g} s")
        return min(left_s, LOOK_S)


def find_addresses(host: str, port: int, deadline: RequestDeadline) -> list[tuple[int, Any]]:
    """Return family and address of a host, each as a socket wants it. Raises ServiceError, StoppedError."""
    found: list[list[tuple[int, Any]] | OSError] = []
    done = threading.Event()

    def ask() -> None:
        try:
            answers = getaddrinfo(host, port, type=socket.SOCK_STREAM)
            found.append([(family, address) for family, _, _, _, address in answers])
        except (OSError, UnicodeError) as error:
            found.append(OSError(str(error)))
        done.set()

    # Nothing can interrupt a resolver: a guest that must stop leaves it behind.
    threading.Thread(target=ask, name="resolver", daemon=True).start()
    while not done.wait(deadline.look()):
        pass
    if isinstance(found[0], OSError):
        raise ServiceError(f"{host} was not found: {found[0]}")
    return found[0]


class Line(io.RawIOBase):
    """A TCP connection. Must be closed. Every method raises ServiceError and StoppedError."""

    def __init__(self, plain: socket.socket, deadline: RequestDeadline) -> None:
        self._socket = plain
        self.deadline = deadline

    @classmethod
    def connect(cls, addresses: Sequence[tuple[int, Any]], deadline: RequestDeadline) -> Self:
        """Connect to the first of these addresses that answers."""
        reason = "there is no address"
        for family, address in addresses:
            line = cls(socket.socket(family, socket.SOCK_STREAM), deadline)
            try:
                line._connect(address)
            except OSError as error:
                reason = error.strerror or str(error)
                line.close()
            except BaseException:
                line.close()
                raise
            else:
                return line
        raise ServiceError(f"no connection: {reason}")

    def secure(self, context: ssl.SSLContext, host: str) -> None:
        """Speak TLS from now on, with somebody who can prove to be this host."""
        wrapped = context.wrap_socket(self._socket, server_hostname=host, do_handshake_on_connect=False)
        self._socket = wrapped
        self._repeat(wrapped.do_handshake, select.POLLIN)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._repeat(partial(self._socket.recv_into, buffer), select.POLLIN)

    def sendall(self, data: bytes) -> None:
        """Send all of it."""
        rest = memoryview(data)
        while rest:
            rest = rest[self._repeat(partial(self._socket.send, rest), select.POLLOUT) :]

    def close(self) -> None:
        """End the connection. Safe to repeat."""
        self._socket.close()
        super().close()

    def _connect(self, address: Any) -> None:
        self._socket.setblocking(False)
        code = self._socket.connect_ex(address)
        if code == errno.EINPROGRESS:
            self._wait(select.POLLOUT)
            code = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code))

    def _repeat(self, act: Callable[[], _T], events: int) -> _T:
        """Do something with the socket as soon as it can be done: when there are such events."""
        while True:
            try:
                return act()
            except BlockingIOError:
                self._wait(events)
            except ssl.SSLWantReadError:
                self._wait(select.POLLIN)
            except ssl.SSLWantWriteError:
                self._wait(select.POLLOUT)
            except OSError as error:
                raise ServiceError(f"the connection broke: {error.strerror or error}") from error

    def _wait(self, events: int) -> None:
        poll = select.poll()
        poll.register(self._socket, events)
        while not poll.poll(self.deadline.look() * 1000):
            pass
