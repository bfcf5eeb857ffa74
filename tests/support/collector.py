"""A collector of traces: it takes what OTLP's exporters send over HTTP, and knows each span."""

import gzip
import http.server
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import pytest
from patience import LONG_S, until

SERVICE = "opentelemetry.proto.collector.trace.v1.trace_service_pb2"
ExportTraceServiceRequest = pytest.importorskip(
    SERVICE, reason="the extra otel is not installed: make setup"
).ExportTraceServiceRequest


@dataclass(frozen=True)
class Seen:
    """A span, as it came."""

    service: str
    about: dict[str, str]
    """What its program says of itself."""
    name: str
    trace: str
    id: str
    parent: str
    attributes: dict[str, Any]
    failed: bool
    began_ns: int
    ended_ns: int


class Collector:
    """Listens on a free port of this machine."""

    def __init__(self) -> None:
        self.spans: list[Seen] = []
        collector = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                assert self.path == "/v1/traces"
                collector.take(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    def take(self, request: Any) -> None:
        for resource in request.resource_spans:
            about = {each.key: each.value.string_value for each in resource.resource.attributes}
            for scope in resource.scope_spans:
                self.spans += [
                    Seen(
                        about["service.name"],
                        about,
                        each.name,
                        each.trace_id.hex(),
                        each.span_id.hex(),
                        each.parent_span_id.hex(),
                        {pair.key: pair.value.string_value or pair.value.int_value for pair in each.attributes},
                        each.status.code == 2,
                        each.start_time_unix_nano,
                        each.end_time_unix_nano,
                    )
                    for each in scope.spans
                ]

    def wait_for(self, *names: str, where: Callable[[Seen], bool] = lambda _: True) -> dict[str, Seen]:
        """Wait until there is a span of each name that fits, and return them by name."""

        def find() -> dict[str, Seen]:
            return {each.name: each for each in list(self.spans) if where(each)}

        until(lambda: find().keys() >= set(names), LONG_S, look_s=0.02)
        return find()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
