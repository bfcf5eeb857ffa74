"""Blobs: ``/data``."""

from collections.abc import Iterator
from pathlib import Path

from flask import Response, request, send_file
from msgspec import UNSET
from werkzeug.exceptions import ClientDisconnected
from werkzeug.http import parse_options_header
from werkzeug.sansio.multipart import Data, Epilogue, Field, File, MultipartDecoder, NeedData

from piecework.protocol.bodies import BINARY
from piecework.protocol.ids import Id
from piecework.protocol.messages import DataReply, MessageReply
from server.api.endpoint import Query, WholeResponse, endpoint
from server.errors import BodyTooLarge, UploadBroken, UploadWithoutFile
from server.services import Services
from server.store.records import Blob

CHUNK_BYTES = 256 * 1024
ENVELOPE_BYTES = 64 * 1024
"""What a multipart body may have beside the file itself."""


class ViewQuery(Query):
    """How much to tell."""

    view: str = ""
    """``full`` adds the fields that v0.5 does not know."""

    @property
    def is_full(self) -> bool:
        return self.view == "full"


@endpoint("POST", "/data", scope=("submit", "worker"), reply=DataReply)
def upload(services: Services) -> DataReply:
    """Store a blob: the multipart part named `file`, or a body of type application/octet-stream."""
    limit_bytes = services.settings.blob_max_bytes
    if (request.content_length or 0) > limit_bytes + ENVELOPE_BYTES:
        raise BodyTooLarge(f"the body has {request.content_length} bytes; a blob has at most {limit_bytes}")
    return _reply(services.data.receive(_uploaded_chunks()))


@endpoint("GET", "/data/<data>", scope=("view", "worker"), query=ViewQuery, reply=DataReply)
def show(services: Services, id_: Id, query: ViewQuery) -> DataReply:
    """Tell a blob's checksum."""
    reply = _reply(services.data.get(id_))
    if query.is_full:
        reply.size = services.data.get(id_).size
    return reply


@endpoint("GET", "/data/<data>/blob", scope=("view", "worker"))
def download(services: Services, id_: Id) -> Response:
    """Give a blob's bytes; for a lambda's id, those of its code."""
    blob = services.data.get_for_worker(id_)
    source = services.data.open(blob)
    if isinstance(source, Path):
        response = send_file(source, mimetype=BINARY, conditional=True, etag=False)
    else:
        response = WholeResponse(source, content_type=BINARY)
    response.set_etag(blob.sha256.hex())
    response.make_conditional(request)
    return response


@endpoint("DELETE", "/data/<data>", scope="submit", reply=MessageReply)
def delete(services: Services, id_: Id) -> MessageReply:
    """Remove a blob that no lambda, no module and no unfinished job uses."""
    services.data.delete(id_)
    return MessageReply(message=f"blob {id_} is deleted")


def _reply(blob: Blob) -> DataReply:
    return DataReply(id=Id(blob.id), checksum=blob.sha256.hex(), size=UNSET)


def _uploaded_chunks() -> Iterator[bytes]:
    """Yield the uploaded file's bytes as they arrive. Raises UploadWithoutFile or UploadBroken."""
    kind, parameters = parse_options_header(request.content_type)
    if kind == "multipart/form-data" and "boundary" in parameters:
        return _multipart_chunks(parameters["boundary"])
    if kind == BINARY:
        return _raw_chunks()
    raise UploadWithoutFile("send the blob as multipart/form-data, in a part named `file`")


def _raw_chunks() -> Iterator[bytes]:
    received = 0
    for chunk in _body_chunks():
        received += len(chunk)
        yield chunk
    if request.content_length is not None and received < request.content_length:
        raise UploadBroken(
            f"the upload ended after {received} of {request.content_length} bytes; nothing was stored"
        )


def _multipart_chunks(boundary: str) -> Iterator[bytes]:
    """Yield the bytes of the part named `file`, which may or may not have a file name."""
    decoder = MultipartDecoder(boundary.encode("latin-1"), max_form_memory_size=None, max_parts=100)
    body = _body_chunks()
    found = inside = False
    try:
        while not isinstance(event := decoder.next_event(), Epilogue):
            if isinstance(event, Field | File):
                inside = event.name == "file" and not found
                found = found or inside
            elif isinstance(event, Data) and inside:
                yield event.data
            elif isinstance(event, NeedData):
                decoder.receive_data(next(body, None))
    except ValueError as error:
        raise UploadBroken("the upload ended before its body was complete; nothing was stored") from error
    if not found:
        raise UploadWithoutFile("the upload has no part named `file`")


def _body_chunks() -> Iterator[bytes]:
    try:
        while chunk := request.stream.read(CHUNK_BYTES):
            yield chunk
    except (OSError, ClientDisconnected) as error:
        raise UploadBroken("the connection broke during the upload; nothing was stored") from error
