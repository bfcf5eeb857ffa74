"""Sockets to servers: opened straight or through a proxy, with TLS, and told to notice a peer that is no more."""

import errno
import math
import queue
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from piecework.http.answers import HEAD_MAX_BYTES, Broken
from piecework.http.deadlines import NEVER, Deadline
from piecework.http.routes import Proxy, ServerRoute
from piecework.http.tcp import keep_alive

READ_BYTES = 64 * 1024
"""So much is read at once, at most."""
LEAST_WAIT_S = 0.001
"""A socket takes a time-out of 0 for none."""
UNANSWERED_MAX_S = 10
"""A peer whose machine acknowledges nothing for so long is gone."""


class ProxyFailed(Broken):
    """The proxy on the way to the server did not do its part."""


class NotTrusted(Broken):
    """The server's certificate was not accepted."""


Admit = Callable[[str], object]
"""Is asked for each address to which a name leads, before any of them is connected to: raises to refuse it."""


def admit_all(_address: str) -> None:
    """Let connections go anywhere."""


def open_socket(
    route: ServerRoute, timeout_s: float, deadline: Deadline = NEVER, admit: Admit = admit_all
) -> socket.socket:
    """Connect to a server, through its proxy when there is one; ``timeout_s`` for each of the steps.

    ``admit`` is asked about the addresses of a server without a proxy: to these, and no others, it connects then.
    Raises OSError, Broken, NotHttp, or what ``admit`` raises.
    """
    if route.proxy is None:
        opened = _connect(route.host, route.port, deadline.shorten(timeout_s), admit)
    else:
        opened = _connect_to_proxy(route.proxy, deadline.shorten(timeout_s))
    try:
        if route.tls is None:
            opened.settimeout(timeout_s)
            return opened
        if route.proxy is not None:
            _open_tunnel(opened, route, route.proxy, Deadline(deadline.shorten(timeout_s)))
        opened.settimeout(max(deadline.shorten(timeout_s), LEAST_WAIT_S))  # of the whole handshake
        return route.tls.wrap_socket(opened, server_hostname=route.host)
    except ssl.SSLCertVerificationError as error:
        opened.close()
        raise NotTrusted(f"{find_reason(error)}; trusted are {route.trusted}") from error
    except BaseException:
        opened.close()
        raise


def prepare_socket(opened: socket.socket) -> None:
    """Have a socket that is to be connected send at once, and notice when its peer is no more."""
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    keep_alive(opened)
    bear_silence(opened, UNANSWERED_MAX_S)


def bear_silence(opened: socket.socket, seconds: float) -> None:
    """Give up a connection on which nothing that was sent is acknowledged, or taken, for so long."""
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(seconds * 1000))


def find_reason(error: OSError) -> str:
    """Say in a few words why a connection failed."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate was not accepted: {error.verify_message}"
    if isinstance(error, ssl.SSLError) and error.reason:
        return f"TLS failed: {error.reason.replace('_', ' ').lower()}"
    if error.strerror:
        return error.strerror[0].lower() + error.strerror[1:]
    return "it took too long" if isinstance(error, TimeoutError) else "the connection broke off"


def _connect(host: str, port: int, timeout_s: float, admit: Admit = admit_all) -> socket.socket:
    """Connect to the first address of a host that answers. All of them share the time. Raises OSError."""
    deadline = Deadline(timeout_s)
    found = look_up(host, port, timeout_s)
    for each in found:
        admit(each[4][0])
    failure = OSError(errno.EADDRNOTAVAIL, "it has no address")
    for place, (family, kind, protocol, _, address) in enumerate(found):
        opened = socket.socket(family, kind, protocol)
        try:
            opened.settimeout(max(deadline.shorten(math.inf) / (len(found) - place), LEAST_WAIT_S))
            prepare_socket(opened)
            opened.connect(address)
        except OSError as error:
            opened.close()
            failure = error
        else:
            return opened
    raise failure


def look_up(host: str, port: int, timeout_s: float) -> list[Any]:
    """Return the addresses of a host, as ``getaddrinfo`` does. Raises OSError, also when that takes too long."""
    with suppress(socket.gaierror):
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    answers: queue.SimpleQueue[list[Any] | OSError] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))
        except OSError as error:
            answers.put(error)

    # The system's resolver takes no time-out.
    threading.Thread(target=ask, name="look-up", daemon=True).start()
    try:
        found = answers.get(timeout=timeout_s)
    except queue.Empty:
        raise TimeoutError(errno.ETIMEDOUT, "looking up its name took too long") from None
    if isinstance(found, OSError):
        raise found
    return found


def _connect_to_proxy(proxy: Proxy, timeout_s: float) -> socket.socket:
    try:
        return _connect(proxy.host, proxy.port, timeout_s)
    except OSError as error:
        raise ProxyFailed(f"{proxy} does not answer: {find_reason(error)}") from error


class Tunnel:
    """The way through a proxy to a server (RFC 9110, 9.3.6): what to send, and what to make of the answer."""

    def __init__(self, route: ServerRoute, proxy: Proxy) -> None:
        target = f"{route.host}:{route.port}" if ":" not in route.host else f"[{route.host}]:{route.port}"
        self.request = f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{proxy.header}\r\n".encode()
        self._proxy = proxy
        self._head = b""

    def feed(self, data: bytes) -> bool:
        """Take what the proxy answered, b"" for its end; tell whether the tunnel is open. Raises ProxyFailed."""
        if not data or len(self._head) > HEAD_MAX_BYTES:
            raise ProxyFailed(f"{self._proxy} did not answer in HTTP")
        self._head += data
        if b"\r\n\r\n" not in self._head:
            return False
        status_line = self._head.partition(b"\r\n")[0].decode("latin-1")
        if status_line.split(" ")[1:2] != ["200"]:
            raise ProxyFailed(f"{self._proxy} opened no tunnel: {status_line}")
        return True


def _open_tunnel(opened: socket.socket, route: ServerRoute, proxy: Proxy, deadline: Deadline) -> None:
    """Ask the proxy for a tunnel to the server."""
    tunnel, is_open = Tunnel(route, proxy), False
    try:
        opened.sendall(tunnel.request)
        while not is_open:
            opened.settimeout(max(deadline.shorten(math.inf), LEAST_WAIT_S))
            is_open = tunnel.feed(opened.recv(READ_BYTES))
    except OSError as error:
        raise ProxyFailed(f"{proxy} opened no tunnel: {find_reason(error)}") from error
