"""The registry: ``/registry``, or / when it runs alone. Paths and answers are those of Capsule's registry."""

import re
from typing import Final, Literal

from flask import Response

from piecework.protocol.bodies import JSON, encode
from piecework.protocol.ids import Id
from piecework.protocol.messages import CapsuleReply, ModuleInfo, ModuleList
from piecework.protocol.names import ModuleName
from piecework.protocol.text import read_file_name
from piecework.server.api.stock.data import blob_response
from piecework.server.errors import InvalidParameter, ModuleNotFound
from piecework.server.services import Services
from piecework.server.services.stock.modules import check_new_name
from piecework.server.store.records import Module
from piecework.server.web.endpoint import Query, endpoint
from piecework.server.web.paging import PageQuery, next_cursor
from piecework.server.web.uploads import Upload

WASM = "application/wasm"
READERS: Final = ("view", "worker")


class PinQuery(Query):
    """Which bytes are meant."""

    digest: str = ""
    """SHA-256 that the module must have, hex: it is not found when it has another."""


class ListQuery(PageQuery):
    """What to list, and how."""

    format: Literal["paths"] | None = None
    """``paths``: only where the modules can be downloaded, all of them in one array, as Capsule listed them."""


@endpoint("POST", "/registry/upload/<string:org>/<string:module>/<string:tag>", scope="submit", reply=CapsuleReply)
def push(services: Services, org: str, module: str, tag: str) -> CapsuleReply:
    """Store a wasm binary under a name and a tag: the multipart part `file`; `info` is a text about it."""
    name = ModuleName(org, module, tag)
    check_new_name(name)
    upload = Upload(services.settings.module_max_bytes, texts=["info"])
    blob = services.modules.receive(upload.chunks())
    services.modules.publish(name, blob, upload.find_text("info"))
    return CapsuleReply(code="OK", message=f"🙂 {read_file_name(upload.filename) or name.file} uploaded!")


@endpoint(
    "GET",
    "/registry/<string:org>/<string:module>/<string:tag>/<string:file>",
    scope=READERS,
    query=PinQuery,
)
def download(services: Services, org: str, module: str, tag: str, file: str, query: PinQuery) -> Response:
    """Give a module's bytes; its digest is the ETag. The file is called as the module, with `.wasm`."""
    name = ModuleName(org, module, tag, query.digest.lower())
    if file != name.file:
        raise ModuleNotFound(f"the file of {name} is called {name.file}")
    return _bytes_of(services, services.modules.get(name))


@endpoint("GET", "/registry/sha256/<string:digest>", scope=READERS)
def download_digest(services: Services, digest: str) -> Response:
    """Give the bytes of the module with this digest, SHA-256 as 64 hex digits, whatever its tag is."""
    if not re.fullmatch(r"[0-9a-fA-F]{64}", digest):
        raise InvalidParameter("a digest has 64 hex digits")
    return _bytes_of(services, services.modules.get_by_digest(digest))


@endpoint("GET", "/registry/info/<string:org>/<string:module>/<string:tag>", scope=READERS)
def tell_info(services: Services, org: str, module: str, tag: str) -> Response:
    """Give the text that was pushed with a module."""
    found = services.modules.get(ModuleName(org, module, tag))
    return Response(f"{found.info}\n", content_type="text/plain; charset=utf-8")


@endpoint("GET", "/registry/modules", scope=READERS, query=ListQuery, reply=ModuleList)
def list_all(services: Services, query: ListQuery) -> ModuleList | Response:
    """List modules, newest first."""
    if query.format == "paths":
        paths = [f"{name}/{name.file}" for name in services.modules.list_names()]
        return Response(encode(paths), content_type=JSON)
    page, more = query.read(services.modules.list_page, services.settings.page_max)
    return ModuleList(
        modules=[_info(each) for each in page], next=next_cursor([each.blob_id for each in page], more)
    )


@endpoint(
    "GET",
    "/registry/modules/<string:org>/<string:module>/<string:tag>",
    scope=READERS,
    query=PinQuery,
    reply=ModuleInfo,
)
def show(services: Services, org: str, module: str, tag: str, query: PinQuery) -> ModuleInfo:
    """Tell all that is known about a module."""
    return _info(services.modules.get(ModuleName(org, module, tag, query.digest.lower())))


@endpoint(
    "DELETE",
    "/registry/<string:org>/<string:module>/<string:tag>",
    scope="submit",
    query=PinQuery,
    reply=CapsuleReply,
)
def delete(services: Services, org: str, module: str, tag: str, query: PinQuery) -> CapsuleReply:
    """Remove a module of which no revision of a function was made."""
    found = services.modules.delete(ModuleName(org, module, tag, query.digest.lower()))
    return CapsuleReply(code="OK", message=f"{found.name.path} is deleted")


def _bytes_of(services: Services, module: Module) -> Response:
    return blob_response(services, services.data.get(module.blob_id), WASM)


def _info(module: Module) -> ModuleInfo:
    return ModuleInfo(
        org=module.org,
        module=module.module,
        tag=module.tag,
        digest=module.sha256.hex(),
        size=module.size,
        abi=module.abi,
        info=module.info,
        created_at=module.created_at / 1000,
        data=Id(module.blob_id),
    )
