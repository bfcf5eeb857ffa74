"""The file in the body of a request, as its bytes arrive."""

from collections.abc import Iterable, Iterator

from flask import Request
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge
from werkzeug.http import parse_options_header
from werkzeug.sansio.multipart import Data, Epilogue, Field, File, MultipartDecoder, NeedData

from piecework.protocol.bodies import BINARY
from piecework.protocol.text import find_fault
from piecework.server.errors import BodyTooLarge, InvalidRequest, UploadBroken, UploadWithoutFile
from piecework.server.web.bodies import current_request, find_length, open_body

CHUNK_BYTES = 256 * 1024
ENVELOPE_BYTES = 64 * 1024
"""What a multipart body may have beside the file itself, and between two of its parts."""
TEXT_MAX_BYTES = 16 * 1024
"""A text beside the file is no longer."""


class Upload:
    """One file of at most ``limit_bytes``: the multipart part named ``file``, or a body of type BINARY.

    Raises BodyTooLarge at once for a body that says that it is larger.
    """

    def __init__(self, limit_bytes: int, texts: Iterable[str] = ()) -> None:
        """``texts``: names of other parts that are wanted."""
        self._asked = current_request()
        length = find_length(self._asked) or 0
        if length > limit_bytes + ENVELOPE_BYTES:
            raise BodyTooLarge(f"the body has {length} bytes; a file has at most {limit_bytes}")
        self._limit_bytes = limit_bytes
        self._texts: dict[str, bytearray] = {name: bytearray() for name in texts}
        self._found: set[str] = set()
        self.filename = ""
        """What the sender called the file; known when its first bytes are."""

    def chunks(self) -> Iterator[bytes]:
        """Yield the file's bytes as they arrive. Raises BodyTooLarge, UploadWithoutFile or UploadBroken."""
        received = 0
        for chunk in self._open():
            received += len(chunk)
            if received > self._limit_bytes:
                raise BodyTooLarge(f"the file has more than {self._limit_bytes} bytes, which is the limit here")
            yield chunk

    def find_text(self, name: str) -> str | None:
        """Return another part, once all chunks were taken; None when there was none. Raises InvalidRequest."""
        if name not in self._found:
            return None
        try:
            text = self._texts[name].decode()
        except UnicodeDecodeError as error:
            raise InvalidRequest(f"the part named `{name}` is not UTF-8") from error
        if fault := find_fault({name: text}):
            raise InvalidRequest(fault)
        return text

    def _open(self) -> Iterator[bytes]:
        kind, parameters = parse_options_header(self._asked.environ.get("CONTENT_TYPE"))
        kind = kind.lower()  # the names of types have no case (RFC 9110, section 8.3.1)
        if kind == "multipart/form-data" and "boundary" in parameters:
            return self._multipart_chunks(parameters["boundary"])
        if kind == BINARY:
            return _raw_chunks(self._asked)
        raise UploadWithoutFile("send the file as multipart/form-data, in a part named `file`")

    def _multipart_chunks(self, boundary: str) -> Iterator[bytes]:
        """Yield the bytes of the part named `file`, which may or may not have a file name; keep the texts."""
        decoder = MultipartDecoder(
            boundary.encode("latin-1"), max_form_memory_size=CHUNK_BYTES + ENVELOPE_BYTES, max_parts=100
        )
        body, part = _body_chunks(self._asked), ""
        try:
            while not isinstance(event := decoder.next_event(), Epilogue):
                if isinstance(event, Field | File):
                    part = self._begin(event)
                elif isinstance(event, Data) and part == "file":
                    yield event.data
                elif isinstance(event, Data) and part:
                    self._keep(part, event.data)
                elif isinstance(event, NeedData):
                    decoder.receive_data(next(body, None))
        except ValueError as error:
            raise UploadBroken("the upload ended before its body was complete; nothing was stored") from error
        except RequestEntityTooLarge as error:
            raise BodyTooLarge("the body has too much around its parts, or too many of them") from error
        if "file" not in self._found:
            raise UploadWithoutFile("the upload has no part named `file`")

    def _begin(self, event: Field | File) -> str:
        """Return the name of a part that begins, "" for one that nobody wants: each name counts once."""
        name = event.name
        if name in self._found or not (name == "file" or name in self._texts):
            return ""
        self._found.add(name)
        if name == "file" and isinstance(event, File):
            self.filename = event.filename or ""
        return name

    def _keep(self, name: str, data: bytes) -> None:
        text = self._texts[name]
        if len(text) + len(data) > TEXT_MAX_BYTES:
            raise BodyTooLarge(f"the part named `{name}` has more than {TEXT_MAX_BYTES} bytes")
        text += data


def _raw_chunks(asked: Request) -> Iterator[bytes]:
    received = 0
    for chunk in _body_chunks(asked):
        received += len(chunk)
        yield chunk
    length = find_length(asked)
    if length is not None and received < length:
        raise UploadBroken(f"the upload ended after {received} of {length} bytes; nothing was stored")


def _body_chunks(asked: Request) -> Iterator[bytes]:
    body = open_body(asked)
    try:
        while chunk := body.read(CHUNK_BYTES):
            yield chunk
    except (OSError, ClientDisconnected) as error:
        raise UploadBroken("the connection broke during the upload; nothing was stored") from error
