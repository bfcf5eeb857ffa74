"""Ports for replicas: one after the other, without those that somebody else uses."""

import socket
import threading

PORT_MAX = 65_535


class NoPortError(Exception):
    """All ports are in use."""


class Ports:
    """Counts up from the first port, and starts anew behind the last one."""

    def __init__(self, first: int) -> None:
        self._first = first
        self._next = first
        self._taken: set[int] = set()
        self._lock = threading.Lock()

    def take(self, host: str, wish: int | None = None) -> int:
        """Return a port of an address that nobody uses, ``wish`` if possible; it is kept until ``give_back``.

        Raises NoPortError.
        """
        with self._lock:
            if wish is not None and self._is_free(host, wish):
                self._taken.add(wish)
                return wish
            for _ in range(self._first, PORT_MAX + 1):
                port, self._next = self._next, self._next + 1 if self._next < PORT_MAX else self._first
                if self._is_free(host, port):
                    self._taken.add(port)
                    return port
        raise NoPortError(f"no port from {self._first} to {PORT_MAX} of {host} is free")

    def give_back(self, port: int) -> None:
        """Let others have a port. Safe to repeat."""
        with self._lock:
            self._taken.discard(port)

    def _is_free(self, host: str, port: int) -> bool:
        if port in self._taken:
            return False
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            # A port whose last connections are only just closed is free; one where somebody listens is not.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                return False
        return True
