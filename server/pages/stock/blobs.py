"""Blobs: to save, and images to look at. None is opened by the browser as a page."""

from urllib.parse import quote

from flask import Response

from piecework.server.api.stock import data as api
from piecework.server.errors import InvalidParameter
from piecework.server.pages.page import ask, page, read_id
from piecework.server.pages.previews import IMAGE_MAX_BYTES, find_image, read_begin
from piecework.server.services import Services
from piecework.server.web.endpoint import WholeResponse

ALONE = "default-src 'none'; sandbox"
"""What a blob may do in a browser that opens it all the same: nothing."""


@page("GET", "/blobs/<blob>/download")
def download(services: Services, blob: str) -> Response:
    """Give a blob's bytes, to be saved."""
    id_ = read_id(blob, "blob")
    response: Response = ask(api.download, id_)
    return as_file(response, services.data.get(id_).name or f"blob-{id_}")


@page("GET", "/blobs/<blob>/image")
def show_image(services: Services, blob: str) -> Response:
    """Give an image, as its first bytes say that it is one."""
    found = services.data.get(read_id(blob, "blob"))
    type_ = find_image(read_begin(services, found, 16))
    content = services.data.read(found, IMAGE_MAX_BYTES) if type_ else None
    if type_ is None or content is None:
        raise InvalidParameter("this is no image that is shown here; it can be saved")
    response = WholeResponse(content, content_type=type_)
    response.headers["Content-Security-Policy"] = ALONE
    response.headers["Content-Disposition"] = "inline"
    return response


def as_file(response: Response, name: str) -> Response:
    """Have a browser save an answer under a name, and never show it."""
    plain = "".join(each if each.isascii() and (each.isalnum() or each in "._-") else "_" for each in name)[:150]
    response.headers["Content-Disposition"] = (
        f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name[:150], safe='')}"
    )
    response.headers["Content-Security-Policy"] = ALONE
    return response
