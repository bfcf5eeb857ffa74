"""Real HTTP servers for tests of what passes calls on to them."""

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from house import House
from patience import LONG_S


class Upstream:
    """A server that tells what it got, as JSON; some paths do something else.

    ``/status/CODE`` answers with that status, ``/big/BYTES`` with so much, ``/events`` with three events that it
    sends when ``next_event`` is set, ``/wait`` when ``go_on`` is set; ``/dup`` sends a header twice.
    """

    def __init__(self, name: str = "up", port: int = 0) -> None:
        self.name = name
        self.calls = 0
        self.next_event, self.go_on = threading.Semaphore(0), threading.Event()
        upstream = self

        class Handler(_Handler):
            server_of = upstream

        self._server = _QuietServer(("127.0.0.1", port), Handler)
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self) -> None:
        self.go_on.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        self.close()


class _QuietServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """A proxy that hangs up is nothing to report."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 64 * 1024
    disable_nagle_algorithm = True
    server_of: Upstream

    def answer(self) -> None:
        self.server_of.calls += 1
        size = self.read_body()
        word, _, rest = self.path.partition("?")[0][1:].partition("/")
        act = getattr(self, f"do_{word}", None) if word in {"status", "big", "events", "wait", "dup"} else None
        if act is not None:
            act(rest)
        else:
            self.tell(size)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_OPTIONS = do_PATCH = answer  # noqa: N815  # http.server's

    def read_body(self) -> int:
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            total = 0
            while size := int(self.rfile.readline(), 16):
                total += len(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return total
        total, left = 0, int(self.headers.get("Content-Length", 0))
        while left and (data := self.rfile.read(min(left, 65536))):
            left, total = left - len(data), total + len(data)
        return total

    def tell(self, size: int) -> None:
        told = {"name": self.server_of.name, "method": self.command, "path": self.path, "size": size}
        told["headers"] = [[name.lower(), value] for name, value in self.headers.items()]
        self.send(200, json.dumps(told).encode(), ("Content-Type", "application/json"))

    def send(self, status: int, body: bytes, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        if status not in {204, 304}:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()

    def do_status(self, code: str) -> None:
        self.send(int(code), b"" if code in {"204", "304"} else b"status", ("ETag", "x"))

    def do_big(self, size: str) -> None:
        self.send_response(200)
        self.send_header("Content-Length", size)
        self.end_headers()
        for _ in range(int(size) // 65536):
            self.wfile.write(bytes(65536))
        self.wfile.write(bytes(int(size) % 65536))
        self.wfile.flush()

    def do_events(self, _: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.flush()
        for number in range(3):
            self.server_of.next_event.acquire(timeout=LONG_S)
            event = b"data: %d\n\n" % number
            self.wfile.write(b"%x\r\n%b\r\n" % (len(event), event))
            self.wfile.flush()
        self.wfile.write(b"0\r\nX-Trailer: 1\r\n\r\n")
        self.wfile.flush()

    def do_wait(self, _: str) -> None:
        self.server_of.go_on.wait(LONG_S)
        self.send(200, b"waited")

    def do_dup(self, _: str) -> None:
        both = [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("X-Text", "h\u00e9".encode().decode("latin-1"))]
        hop = [("Connection", "keep-alive, X-Hop"), ("X-Hop", "1"), ("Keep-Alive", "timeout=9"), ("Server", "own")]
        self.send(200, b"dup", *both, *hop)

    def log_message(self, *_: Any) -> None:
        pass


def route(house: House, function: str, *urls: str, revision: str = "default") -> None:
    """Register URLs for a function, to be tried in this order."""
    known = house.services.functions
    first, *more = urls
    if function in house.services.routing.table():
        known.add_revision(function, revision, first)
    else:
        known.register(function, revision, first)
    for url in more:
        house.clock.forward(0.001)
        known.add_url(function, revision, url)


if __name__ == "__main__":  # a process of its own, that tests can kill
    running = Upstream(sys.argv[1], int(sys.argv[2]))
    print(f"listening on {running.port}")  # noqa: T201
    threading.Event().wait()
