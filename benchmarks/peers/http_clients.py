"""Three HTTP clients that send the same requests over a connection that they keep."""

import http.client
from typing import Protocol

import urllib3

from piecework.http.connections import ConnectionPool
from piecework.http.routes import find_route

TIMEOUT_S = 30.0


class Refused(Exception):
    """The answer was not the one that was meant to be measured."""


class HttpClient(Protocol):
    """One way to send requests to a server."""

    def ask(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> bytes:
        """Send a request and return the whole body of its answer. Raises Refused unless the status is 200."""

    def close(self) -> None:
        """Hang up."""


class Ours:
    """``piecework.http``, as the client and the agent use it."""

    def __init__(self, url: str) -> None:
        route = find_route(url)
        self._pool = ConnectionPool(route)
        self._host = route.authority

    def ask(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> bytes:
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        length = f"Content-Length: {len(body)}\r\n" if body else ""
        head = f"{method} {path} HTTP/1.1\r\nHost: {self._host}\r\n{lines}{length}\r\n".encode()
        connection = self._pool.take() or self._pool.open(TIMEOUT_S)
        answer = connection.exchange(head, body or None, TIMEOUT_S)
        try:
            pieces = [answer.take()]
            while not answer.complete:
                connection.receive(answer)
                pieces.append(answer.take())
        finally:
            self._pool.give_back(connection, answer)
        return _check(answer.status, b"".join(pieces))

    def close(self) -> None:
        self._pool.close()


class StandardLibrary:
    """``http.client``."""

    def __init__(self, url: str) -> None:
        self._connection = http.client.HTTPConnection(url.partition("//")[2], timeout=TIMEOUT_S)

    def ask(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> bytes:
        self._connection.request(method, path, body or None, headers)
        answer = self._connection.getresponse()
        return _check(answer.status, answer.read())

    def close(self) -> None:
        self._connection.close()


class Urllib3:
    """``urllib3``."""

    def __init__(self, url: str) -> None:
        self._pool = urllib3.connection_from_url(url, timeout=TIMEOUT_S, retries=False)

    def ask(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> bytes:
        answer = self._pool.urlopen(method, path, body or None, headers)
        return _check(answer.status, answer.data)

    def close(self) -> None:
        self._pool.close()


def _check(status: int, body: bytes) -> bytes:
    if status != 200:
        raise Refused(f"{status}: {body[:200]!r}")
    return body
