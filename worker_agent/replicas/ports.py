"""Ports for replicas: one after the other, without those that somebody else uses."""

import contextlib
import socket
import sys
import threading
import weakref

PORT_MAX = 65_535


class NoPortError(Exception):
    """All ports are in use."""


class Ports:
    """Counts up from the first port, and starts anew behind the last one.

    What it gives is claimed before a replica listens there: two agents of a machine that looked at the same moment
    would else both find a port free, and their replicas share it, for several may listen on one port.
    """

    def __init__(self, first: int) -> None:
        self._first = first
        self._next = first
        self._claims: dict[int, contextlib.ExitStack] = {}
        self._lock = threading.Lock()
        weakref.finalize(self, _close_all, self._claims)

    def take(self, host: str, preferred: int | None = None) -> int:
        """Return a port of an address that nobody uses, ``preferred`` if possible; it is kept until ``give_back``.

        Raises NoPortError.
        """
        with self._lock:
            if preferred is not None and self._claim(host, preferred):
                return preferred
            for _ in range(self._first, PORT_MAX + 1):
                port, self._next = self._next, self._next + 1 if self._next < PORT_MAX else self._first
                if self._claim(host, port):
                    return port
        raise NoPortError(f"no port from {self._first} to {PORT_MAX} of {host} is free")

    def give_back(self, port: int) -> None:
        """Let others have a port. Safe to repeat."""
        with self._lock:
            if port in self._claims:
                self._claims.pop(port).close()

    def _claim(self, host: str, port: int) -> bool:
        """Keep a port from other agents, if nobody has it."""
        if port in self._claims:
            return False
        with contextlib.ExitStack() as held:
            try:
                if sys.platform == "linux":
                    # A name that the system gives to one, and takes back at the end of whoever has it.
                    claim = held.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
                    claim.bind(f"\0piecework-port-{port}")
                _try_port(host, port)
            except OSError:
                return False
            self._claims[port] = held.pop_all()
        return True


def _close_all(claims: dict[int, contextlib.ExitStack]) -> None:
    for claim in claims.values():
        claim.close()


def _try_port(host: str, port: int) -> None:
    """Raise OSError when somebody listens there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # A port whose last connections are only just closed is free; one where somebody listens is not.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
