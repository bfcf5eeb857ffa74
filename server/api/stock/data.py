"""Blobs: ``/data``."""

from pathlib import Path

from flask import Response, request, send_file
from msgspec import UNSET
from werkzeug.exceptions import RequestedRangeNotSatisfiable

from piecework.protocol.bodies import BINARY
from piecework.protocol.ids import Id
from piecework.protocol.messages import DataReply, MessageReply
from server.services import Services
from server.store.records import Blob
from server.web.endpoint import Query, WholeResponse, endpoint
from server.web.ranges import answer_parts, find_parts
from server.web.uploads import Upload


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
    return _reply(services.data.receive(Upload(services.settings.blob_max_bytes).chunks()))


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
    return blob_response(services, services.data.get_for_worker(id_))


def blob_response(services: Services, blob: Blob, media_type: str = BINARY) -> Response:
    """Answer with a blob's bytes, or with the parts of them or the news of them that were asked for."""
    source = services.data.open(blob)
    if isinstance(source, Path):
        response = send_file(source, mimetype=media_type, conditional=False, etag=False)
    else:
        response = WholeResponse(source, content_type=media_type)
    response.set_etag(blob.sha256.hex())
    environ, parts = dict(request.environ), find_parts(request.headers.get("Range"), blob.size)
    if parts is None or len(parts) > 1:
        environ.pop("HTTP_RANGE", None)
    elif parts:
        [(begin, end)] = parts
        environ["HTTP_RANGE"] = f"bytes={begin}-{end - 1}"
    try:
        response.make_conditional(environ, accept_ranges=True, complete_length=blob.size)
    except RequestedRangeNotSatisfiable:
        response.close()
        raise
    wants_parts = parts is not None and len(parts) > 1 and request.method == "GET" and response.status_code == 200
    if not parts or not wants_parts or request.headers.get("If-Range", etag := response.headers["ETag"]) != etag:
        return response
    response.close()
    return answer_parts(response, source, parts, blob.size)


@endpoint("DELETE", "/data/<data>", scope="submit", reply=MessageReply)
def delete(services: Services, id_: Id) -> MessageReply:
    """Remove a blob that no lambda, no module and no unfinished job uses."""
    services.data.delete(id_)
    return MessageReply(message=f"blob {id_} is deleted")


def _reply(blob: Blob) -> DataReply:
    return DataReply(id=Id(blob.id), checksum=blob.sha256.hex(), size=UNSET)
