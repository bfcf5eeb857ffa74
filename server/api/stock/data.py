"""Blobs: ``/data``."""

import re
from collections.abc import Iterator

import structlog
from flask import Response, request
from msgspec import UNSET
from werkzeug.http import quote_etag

from piecework.protocol.bodies import BINARY
from piecework.protocol.ids import Id
from piecework.protocol.messages import DataList, DataReply, DirectReply, DirectUpload, MessageReply
from piecework.server.blobs import BlobReader
from piecework.server.errors import InvalidRequest, ServerError
from piecework.server.services import Services
from piecework.server.store.records import Blob
from piecework.server.web.bodies import current_request
from piecework.server.web.endpoint import Query, WholeResponse, endpoint
from piecework.server.web.paging import PageQuery, next_cursor
from piecework.server.web.ranges import Part, answer_parts, find_parts
from piecework.server.web.uploads import Upload

log = structlog.get_logger("server")
CONDITIONS = frozenset(
    [
        "HTTP_RANGE",
        *(f"HTTP_IF_{name}" for name in ("RANGE", "MATCH", "NONE_MATCH", "MODIFIED_SINCE", "UNMODIFIED_SINCE")),
    ]
)
"""What a request has that is not for all of a blob, or not for whatever it is."""


class ViewQuery(Query):
    """How much to tell."""

    view: str = ""
    """``full`` adds the fields that strict older clients do not know."""

    @property
    def is_full(self) -> bool:
        return self.view == "full"


@endpoint("POST", "/data", scope=("submit", "worker"), reply=DataReply)
def upload(services: Services) -> DataReply:
    """Store a blob: the multipart part named `file`, or a body of type application/octet-stream."""
    upload = Upload(services.settings.blob_max_bytes)
    return _reply(services.data.receive(upload.chunks(), lambda: upload.filename))


@endpoint("GET", "/data", scope="view", query=PageQuery, reply=DataList)
def list_all(services: Services, query: PageQuery) -> DataList:
    """List blobs, newest first."""
    page, more = query.read(services.data.list_page, services.settings.page_max)
    return DataList(data=list(map(_full_reply, page)), next=next_cursor([each.id for each in page], more))


@endpoint("GET", "/data/<data>", scope=("view", "worker"), query=ViewQuery, reply=DataReply)
def show(services: Services, id_: Id, query: ViewQuery) -> DataReply:
    """Tell a blob's checksum; with `view=full` also its size, and what its file was called."""
    blob = services.data.get(id_)
    return _full_reply(blob) if query.is_full else _reply(blob)


@endpoint("GET", "/data/<data>/blob", scope=("view", "worker"))
def download(services: Services, id_: Id) -> Response:
    """Give a blob's bytes; for a lambda's id, those of its code."""
    return blob_response(services, services.unfenced.get_blob(id_))


@endpoint("GET", "/data/<data>/direct", scope="worker", reply=DirectReply)
def find_direct(services: Services, id_: Id) -> DirectReply:
    """Tell an agent where in S3 it gets a blob's bytes by itself, when the operator allows that."""
    url = services.data.find_direct(services.unfenced.get_blob(id_))
    return DirectReply(allowed=services.data.allows_direct, url=url or UNSET)


@endpoint("POST", "/data/direct", scope="worker", body=DirectUpload, reply=DirectReply)
def upload_direct(services: Services, body: DirectUpload) -> DirectReply:
    """Tell an agent where in S3 to put a blob by itself; asked again when it is there, make it a blob."""
    if not re.fullmatch(r"[0-9a-f]{64}", body.checksum):
        raise InvalidRequest("checksum is no SHA-256 as 64 hex digits in lower case")
    found = services.data.take_direct(bytes.fromhex(body.checksum), body.size)
    reply = DirectReply(allowed=services.data.allows_direct)
    if isinstance(found, Blob):
        reply.id = Id(found.id)
    elif found is not None:
        reply.url, reply.headers = found.url, found.headers
    return reply


def blob_response(services: Services, blob: Blob, media_type: str = BINARY) -> Response:
    """Answer with a blob's bytes, or with the parts of them or the news of them that were asked for."""
    if blob.content is not None and CONDITIONS.isdisjoint(current_request().environ):
        headers = {"ETag": quote_etag(blob.sha256.hex()), "Accept-Ranges": "bytes"}
        return WholeResponse(blob.content, headers=headers, content_type=media_type)
    parts = find_parts(request.headers.get("Range"), blob.size)
    response = _answer_without_bytes(blob, parts, media_type)
    if response.status_code not in {200, 206}:
        return response
    begin, end = parts[0] if parts and response.status_code == 206 else (0, blob.size)
    source = services.data.open(blob, begin, end)
    if isinstance(source, bytes):
        response.set_data(source)
    else:
        response.response, response.direct_passthrough = _Sending(source), True
    wants_parts = parts is not None and len(parts) > 1 and request.method == "GET" and response.status_code == 200
    if not parts or not wants_parts or request.headers.get("If-Range", etag := response.headers["ETag"]) != etag:
        return response
    response.close()
    return answer_parts(response, lambda *part: _read(services.data.open(blob, *part)), parts, blob.size)


def _answer_without_bytes(blob: Blob, parts: list[Part] | None, media_type: str) -> Response:
    """Return an answer whose status and headers say what of the blob is wanted. Raises what becomes status 416."""
    response = WholeResponse(content_type=media_type)
    response.content_length = blob.size
    response.set_etag(blob.sha256.hex())
    environ = dict(request.environ)
    if parts is None or len(parts) > 1:
        environ.pop("HTTP_RANGE", None)
    elif parts:
        [(begin, end)] = parts
        environ["HTTP_RANGE"] = f"bytes={begin}-{end - 1}"
    response.make_conditional(environ, accept_ranges=True, complete_length=blob.size)
    if response.status_code == 412:
        response.content_length = 0
    return response


def _read(source: bytes | BlobReader) -> Iterator[bytes]:
    if isinstance(source, bytes):
        yield source
        return
    with source:
        yield from _Sending(source)


class _Sending:
    """A blob's bytes as an answer. When they break off it ends early, which who counts them notices."""

    def __init__(self, reader: BlobReader) -> None:
        self._reader = reader

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._reader
        except ServerError as error:
            if not error.is_logged:
                log.error("an answer broke off", error=str(error))  # noqa: TRY400  # says it all

    def close(self) -> None:
        self._reader.close()


@endpoint("DELETE", "/data/<data>", scope="submit", reply=MessageReply)
def delete(services: Services, id_: Id) -> MessageReply:
    """Remove a blob that no lambda, no module and no unfinished job uses."""
    services.data.delete(id_)
    return MessageReply(message=f"blob {id_} is deleted")


def _reply(blob: Blob) -> DataReply:
    return DataReply(id=Id(blob.id), checksum=blob.sha256.hex(), size=UNSET)


def _full_reply(blob: Blob) -> DataReply:
    reply = _reply(blob)
    reply.size, reply.name = blob.size, blob.name or UNSET
    reply.created_at = blob.created_at / 1000 or UNSET
    return reply
