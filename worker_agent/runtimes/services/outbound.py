"""HTTP requests that guests send: only where they may, with limits on time and size, and no tricks with names."""

import http.client
import io
import re
import ssl
from functools import cache
from typing import NamedTuple
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from piecework.http.exchange import Headers, Request, Response
from piecework.worker_agent.runtimes.services.access import USUAL_PORTS, Permissions
from piecework.worker_agent.runtimes.services.errors import ServiceError
from piecework.worker_agent.runtimes.services.line import Line, RequestDeadline, find_addresses
from piecework.worker_agent.runtimes.stopping import StopSignal

REDIRECTS_MAX = 5
_REDIRECTS = {301, 302, 303, 307, 308}
_PORTS = dict(zip(("http", "https"), USUAL_PORTS, strict=True))
_METHOD = re.compile(r"[A-Z]{1,20}")
_SAFE = "/%:=&~+!$,;'@()*[]"
_OURS = {"host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer", "expect"}
"""Headers that say where a request goes and how it is framed: a guest's are dropped."""
_SECRET = {"authorization", "cookie", "proxy-authorization"}
"""Headers that only the host gets that they were meant for."""


class RequestLimits(NamedTuple):
    """How long to wait, and for how much."""

    stop: StopSignal
    patience_s: float
    answer_bytes: int


class _Lent:
    """A line as ``http.client`` has it: it closes its socket before it reads the response to its end."""

    def __init__(self, line: Line) -> None:
        self.sendall = line.sendall
        self._line = line

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(self._line)

    def close(self) -> None:
        """Leave closing to whoever lent the line."""


class _Target(NamedTuple):
    """Where a request goes."""

    secure: bool
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS["https" if self.secure else "http"] else f"{host}:{self.port}"


def fetch(request: Request, access: Permissions, limits: RequestLimits) -> Response:
    """Send a request, and follow redirects: each is checked like the first one.

    Raises ServiceError, and StoppedError as soon as the call must end.
    """
    deadline = RequestDeadline(limits.stop, limits.patience_s)
    for _ in range(REDIRECTS_MAX + 1):
        target = _parse(request.uri)
        access.check_http(target.host, target.port)
        addresses = find_addresses(target.host, target.port, deadline)
        for _, address in addresses:
            access.check_address(target.host, address[0])
        # The connection goes to an address that was just checked: the name is not looked up again.
        response = _exchange(request, target, Line.connect(addresses, deadline), limits.answer_bytes)
        where = response.find_header("location")
        if response.status not in _REDIRECTS or not where:
            return response
        request = _follow(request, target, response.status, where)
    raise ServiceError(f"more than {REDIRECTS_MAX} redirects")


def send_to(request: Request, host: str, port: int, limits: RequestLimits, *, secure: bool) -> Response:
    """Send a request to a host that the operator named: it may be anywhere. Redirects are not followed."""
    deadline = RequestDeadline(limits.stop, limits.patience_s)
    line = Line.connect(find_addresses(host, port, deadline), deadline)
    return _exchange(request, _Target(secure, host, port, request.uri), line, limits.answer_bytes)


def _parse(uri: str) -> _Target:
    try:
        parts = urlsplit(uri.strip())
        host = (parts.hostname or "").rstrip(".")
        port = parts.port or _PORTS.get(parts.scheme, 0)
        host = host.encode("idna").decode() if not host.isascii() else host
    except ValueError as error:
        raise ServiceError(f"{uri!r} is no URL: {error}") from None
    if parts.scheme not in _PORTS or not host or "%" in host or parts.username is not None:
        raise ServiceError(f"{uri!r} must be a URL that starts with http:// or https:// and a host")
    return _Target(parts.scheme == "https", host, port, _make_path(parts))


def _make_path(parts: SplitResult) -> str:
    path = quote(parts.path or "/", safe=_SAFE)
    return f"{path}?{quote(parts.query, safe=f'{_SAFE}?')}" if parts.query else path


def _follow(request: Request, target: _Target, status: int, where: str) -> Request:
    """Return the request that a redirect asks for (RFC 9110, 15.4)."""
    uri = urljoin(request.uri, where)
    method, body, headers = request.method, request.body, request.headers
    if status == http.HTTPStatus.SEE_OTHER or (status in {301, 302} and method == "POST"):
        method, body = "GET", b""
        headers = _without(headers, {"content-type"})
    then = _parse(uri)
    if (then.secure, then.host, then.port) != (target.secure, target.host, target.port):
        headers = _without(headers, _SECRET)
    return Request(method, uri, headers, body)


def _without(headers: Headers, names: set[str]) -> Headers:
    return tuple((name, value) for name, value in headers if name.lower() not in names)


def _exchange(request: Request, target: _Target, line: Line, answer_bytes: int) -> Response:
    """Send one request over a line, and close it."""
    if not _METHOD.fullmatch(request.method):
        raise ServiceError(f"{request.method!r} is no HTTP method")
    connection = http.client.HTTPConnection(target.host, target.port)
    try:
        if target.secure:
            line.secure(_make_context(), target.host)
        connection.sock = _Lent(line)
        _send(connection, request, target)
        return _receive(connection, answer_bytes)
    except (http.client.HTTPException, ValueError, UnicodeError) as error:
        raise ServiceError(
            f"the exchange with {target.authority} failed: {error or type(error).__name__}"
        ) from None
    finally:
        connection.close()
        line.close()


def _send(connection: http.client.HTTPConnection, request: Request, target: _Target) -> None:
    connection.putrequest(request.method, target.path, skip_host=True, skip_accept_encoding=True)
    connection.putheader("Host", target.authority)
    connection.putheader("Connection", "close")
    for name, value in _without(request.headers, _OURS):
        connection.putheader(name, value.encode())
    if request.body or request.method in {"POST", "PUT", "PATCH"}:
        connection.putheader("Content-Length", str(len(request.body)))
    connection.endheaders(request.body or None)


def _receive(connection: http.client.HTTPConnection, answer_bytes: int) -> Response:
    response = connection.getresponse()
    body = response.read(answer_bytes + 1)
    if len(body) > answer_bytes:
        raise ServiceError(f"the answer has more than {answer_bytes} bytes")
    return Response(response.status, tuple(response.getheaders()), body)


@cache
def _make_context() -> ssl.SSLContext:
    return ssl.create_default_context()
