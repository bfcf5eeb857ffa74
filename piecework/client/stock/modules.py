"""The client's calls about modules: what the registry has."""

from collections.abc import AsyncIterator
from pathlib import Path

from piecework.client.downloads import Download, OnBytes
from piecework.client.errors import ChecksumMismatch
from piecework.client.modes import call, iteration
from piecework.client.replies import HttpReply, read_message
from piecework.client.stock.blobs import BlobCalls
from piecework.client.transport import PreparedRequest
from piecework.client.uploads import MultipartFile, Source
from piecework.protocol.messages import CapsuleReply, ModuleInfo, ModuleList
from piecework.protocol.names import ModuleName

AnyName = str | ModuleName
"""A module's name as callers may write it: ``org/module/tag``, with or without ``@sha256:…``."""


class ModuleCalls(BlobCalls):
    """Modules: wasm binaries under names and tags. Every method raises ValueError for what is no name of one.

    A name with a digest means these bytes and no others: what has another digest is not found.
    """

    @call
    async def push_module(self, name: AnyName, source: Source, info: str | None = None) -> ModuleInfo:
        """Store a wasm binary under a name and a tag; return what the registry knows of it.

        Streams, and is safe to repeat. ``info`` None keeps what is there. Raises Invalid for what is no wasm,
        Conflict when the tag has other bytes, and ChecksumMismatch when others were stored than were sent.
        """
        name = _read_name(name)
        request = PreparedRequest("POST", f"/registry/upload/{name.path}", repeatable=True)
        with MultipartFile(source, name.file, {} if info is None else {"info": info}) as body:

            async def send() -> HttpReply:
                return await self.carrier.send_stream(request, body, body.content_type)

            read_message(await self.carrier.repeat(send), CapsuleReply)
            found = await self.module(name.path)
            if found.digest != body.checksum:
                raise ChecksumMismatch(f"module {name.path}", expected=body.checksum, found=found.digest)
        return found

    @call
    async def module(self, name: AnyName) -> ModuleInfo:
        """Return what the registry knows of a module. Raises NotFound."""
        return await self.carrier.call(_request("GET", "/registry/modules/{0.path}", name), ModuleInfo)

    @iteration
    def modules(self, limit: int | None = None) -> AsyncIterator[ModuleInfo]:
        """Go through the modules, newest first; at most ``limit`` of them."""
        return self._items("/registry/modules", {}, ModuleList, "modules", limit)

    @call
    async def read_module(self, name: AnyName) -> bytes:
        """Return a module's bytes, checked. Raises NotFound."""
        return await self._module_download(name).read()

    @iteration
    def stream_module(self, name: AnyName) -> AsyncIterator[bytes]:
        """Go through a module's bytes piece by piece, checked at the end. Raises NotFound and ChecksumMismatch."""
        return self._module_download(name).stream()

    @call
    async def pull_module(self, name: AnyName, path: Path, *, on_bytes: OnBytes = lambda _: None) -> int:
        """Write a module to a file, which appears when it is complete and checked; return its size in bytes.

        Raises NotFound or ChecksumMismatch.
        """
        return await self._module_download(name).save(path, _read_name(name).digest or None, on_bytes)

    @call
    async def delete_module(self, name: AnyName) -> str:
        """Remove a module and return what the server says.

        Raises NotFound, and Conflict while a revision of a function is made of it.
        """
        return (await self.carrier.call(_request("DELETE", "/registry/{0.path}", name), CapsuleReply)).message

    def _module_download(self, name: AnyName) -> Download:
        request = _request("GET", "/registry/{0.path}/{0.file}", name)
        return Download(self.carrier, request, f"module {name}")


def _read_name(name: AnyName) -> ModuleName:
    return ModuleName.parse(str(name))


def _request(method: str, path: str, name: AnyName) -> PreparedRequest:
    """Return a request about a module; ``path`` has places for its parts."""
    read = _read_name(name)
    query = {"digest": read.digest} if read.digest else {}
    return PreparedRequest(method, path.format(read), query, repeatable=True)
