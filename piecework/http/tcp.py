"""Connections that notice when their peer is no more. Those of a server are granian's: only its port is known."""

import os
import socket
from contextlib import suppress

DESCRIPTORS = "/dev/fd"
PROBES = {
    "TCP_KEEPIDLE": 5,  # on a connection that is silent for so many seconds its peer is asked whether it is there,
    "TCP_KEEPALIVE": 5,  # (as other systems call it)
    "TCP_KEEPINTVL": 2,  # again after so many,
    "TCP_KEEPCNT": 3,  # and so often in vain.
}
"""Options of TCP. Not every system has all of them."""


def probe_connections(port: int) -> None:
    """Have the connections that a port takes from now on probed when they are silent.

    Those of a machine that is switched off, or behind a cut, end within seconds, instead of hours.
    """
    for name in os.listdir(DESCRIPTORS):  # noqa: PTH208  # four times as quick, and a server has thousands
        with suppress(OSError):  # no socket, or closed at any moment by the thread that uses it
            _probe_connections_of(int(name), port)


def keep_alive(sock: socket.socket) -> None:
    """Have a connection probed when it is silent; of one that listens, those that it takes from now on."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in PROBES.items():
        option = getattr(socket, name, None)
        if option is not None:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)


def _probe_connections_of(descriptor: int, port: int) -> None:
    """Have a socket's connections probed if it listens on this port."""
    sock = socket.socket(fileno=descriptor)
    try:
        if sock.family not in {socket.AF_INET, socket.AF_INET6} or sock.getsockname()[1] != port:
            return
        if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            keep_alive(sock)
    finally:
        sock.detach()
