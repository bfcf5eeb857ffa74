"""Answers a request with its method and path, or with what the URL in ?url= gives."""

from urllib.parse import parse_qs, urlsplit

from componentize_py_types import Err, Ok
from wit_world import exports
from wit_world.imports import outgoing_handler
from wit_world.imports.streams import InputStream, StreamError_Closed
from wit_world.imports.types import (
    Fields,
    IncomingRequest,
    Method_Other,
    OutgoingBody,
    OutgoingRequest,
    OutgoingResponse,
    ResponseOutparam,
    Scheme_Http,
    Scheme_Https,
)

PIECE_BYTES = 4096
"""The most that one call writes."""


class IncomingHandler(exports.IncomingHandler):
    """The HTTP handler."""

    def handle(self, request: IncomingRequest, response_out: ResponseOutparam) -> None:
        """Answer one request."""
        uri = request.path_with_query() or "/"
        wanted = parse_qs(urlsplit(uri).query).get("url")
        if wanted:
            answer(response_out, *fetch(wanted[0]))
            return
        method = request.method()
        name = method.value if isinstance(method, Method_Other) else type(method).__name__.removeprefix("Method_")
        answer(response_out, 200, f"{name.upper()} {uri}\n".encode())


def fetch(url: str) -> tuple[int, bytes]:
    """Return the status and the body that a URL gives; 502 and the reason when there is no answer."""
    parts = urlsplit(url)
    request = OutgoingRequest(Fields())
    request.set_scheme(Scheme_Https() if parts.scheme == "https" else Scheme_Http())
    request.set_authority(parts.netloc)
    request.set_path_with_query(f"{parts.path or '/'}?{parts.query}".rstrip("?"))
    try:
        future = outgoing_handler.handle(request, None)
    except Err as failure:
        return 502, f"{failure.value}\n".encode()
    with future.subscribe() as ready:
        ready.block()
    result = future.get().value
    if isinstance(result, Err):
        return 502, f"{result.value}\n".encode()
    response, found = result.value, b""
    with response.consume() as body, body.stream() as stream:
        while piece := read(stream):
            found += piece
    return response.status(), found


def read(stream: InputStream) -> bytes:
    """Return some bytes of a stream; none at its end."""
    try:
        return stream.blocking_read(65536)
    except Err as failure:
        if isinstance(failure.value, StreamError_Closed):
            return b""
        raise


def answer(response_out: ResponseOutparam, status: int, text: bytes) -> None:
    """Send a response."""
    response = OutgoingResponse(Fields.from_list([("content-type", b"text/plain")]))
    response.set_status_code(status)
    body = response.body()
    ResponseOutparam.set(response_out, Ok(response))
    with body.write() as stream:
        for start in range(0, len(text), PIECE_BYTES):
            stream.blocking_write_and_flush(text[start : start + PIECE_BYTES])
    OutgoingBody.finish(body, None)
