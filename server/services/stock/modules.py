"""The registry: wasm binaries under names and tags."""

from collections.abc import Iterable, Iterator

from piecework.modules import HEADER_BYTES, MAGIC, ModuleError, find_kind, name_interface
from piecework.protocol.names import ModuleName
from piecework.server.errors import InvalidParameter, ModuleExists, ModuleInUse, ModuleNotFound, NotWasm
from piecework.server.services.core import Core
from piecework.server.services.stock.data import Data
from piecework.server.store.engine.database import Connection
from piecework.server.store.records import Blob, Module
from piecework.server.store.stock import blobs, modules

RESERVED = frozenset({"info", "modules", "registry", "sha256", "upload"})
"""No organisation has these names: they are the first words of other paths."""


class Modules:
    """The modules of this server's registry."""

    def __init__(self, core: Core, data: Data) -> None:
        self._database, self._clock, self._settings = core.database, core.clock, core.settings
        self._data = data

    def receive(self, chunks: Iterable[bytes]) -> Blob:
        """Put an upload in safety, to be published next; what is never published goes by itself.

        Raises NotWasm: at the first bytes for what is something else.
        """
        return self._data.prepare(_check_start(iter(chunks)))

    def publish(self, name: ModuleName, blob: Blob, info: str | None) -> Module:
        """Give received bytes a name and a tag. Safe to repeat; None leaves the info that is there.

        Raises NotWasm for damaged bytes, and ModuleExists when the tag has others and tags do not change here.
        """
        abi = self._name_interface(blob)
        new = Module(*name[:3], blob.id, blob.sha256, blob.size, abi, info or "", self._clock())
        return self._database.write(lambda connection: self._store(connection, new, blob, info))

    def _store(self, connection: Connection, new: Module, blob: Blob, info: str | None) -> Module:
        if modules.add_module(connection, new):
            blobs.add_blobs(connection, [blob])
            return new
        name = new.name._replace(digest="")
        old = _check(name, modules.lock_module(connection, *name[:3]))
        if old.sha256 == new.sha256:
            same = old if info is None else old._replace(info=info)
            modules.replace_module(connection, same)
            return same
        if not self._settings.mutable_tags:
            raise ModuleExists(
                f"{new.name.path} is there with other bytes ({old.sha256.hex()[:12]}…), and tags do not change:"
                " push another tag, or delete this one first"
            )
        blobs.add_blobs(connection, [blob])
        modules.replace_module(connection, new)
        _drop_blob(connection, old)
        return new

    def get(self, name: ModuleName) -> Module:
        """Return a module. Raises ModuleNotFound, also when its digest is not the one that the name has."""
        with self._database.read() as connection:
            return _check(name, modules.find_module(connection, *name[:3]))

    def get_by_digest(self, digest: str) -> Module:
        """Return a module with these bytes, SHA-256 as hex. Raises ModuleNotFound."""
        with self._database.read() as connection:
            found = modules.find_by_digest(connection, bytes.fromhex(digest))
        if found is None:
            raise ModuleNotFound(f"no module has the digest {digest}")
        return found

    def list_page(self, *, before: int, limit: int) -> list[Module]:
        """Return modules whose blobs are older than ``before``, newest first."""
        with self._database.read() as connection:
            return modules.list_modules(connection, before=before, limit=limit)

    def list_names(self) -> list[ModuleName]:
        """Return the names of all modules, in order."""
        with self._database.read() as connection:
            return [ModuleName(*each) for each in modules.list_names(connection)]

    def delete(self, name: ModuleName) -> Module:
        """Remove a module. Raises ModuleNotFound, or ModuleInUse while a revision is made of it."""

        def remove(connection: Connection) -> Module:
            found = _check(name, modules.lock_module(connection, *name[:3]))
            if modules.is_deployed(connection, str(found.name)):
                raise ModuleInUse(f"a revision of a function was made of {name.path}: undeploy it first")
            modules.delete_module(connection, *name[:3])
            _drop_blob(connection, found)
            return found

        return self._database.write(remove)

    def _name_interface(self, blob: Blob) -> str:
        """Look into received bytes. Raises NotWasm."""
        try:
            with self._data.viewing(blob) as code:
                return name_interface(code)
        except ModuleError as error:
            raise NotWasm(f"{error}; nothing was stored") from error


def check_new_name(name: ModuleName) -> None:
    """Raise InvalidParameter for a name under which nothing could be found again."""
    if name.org in RESERVED:
        raise InvalidParameter(f"no organisation can be called {name.org!r}: other paths begin with this word")


def _check_start(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Pass the bytes of a wasm binary on. Raises NotWasm as soon as they are something else."""
    start = b""
    for chunk in chunks:
        start += chunk
        if len(start) >= HEADER_BYTES:
            break
    if not start.startswith(MAGIC):
        kind = find_kind(start)
        advice = f": {kind.advice}" if kind.advice else ""
        raise NotWasm(f"this is {kind.words}, not a wasm binary; nothing was stored{advice}")
    yield start
    yield from chunks


def _check(name: ModuleName, found: Module | None) -> Module:
    """Return what was found under a name. Raises ModuleNotFound when it is nothing, or has another digest."""
    if found is None:
        raise ModuleNotFound(f"there is no module {name.path}")
    digest = found.sha256.hex()
    if name.digest and name.digest != digest:
        raise ModuleNotFound(f"{name.path} has the digest {digest}, not {name.digest}")
    return found


def _drop_blob(connection: Connection, module: Module) -> None:
    """Remove the bytes of what is no module any more, unless something else uses them."""
    if not blobs.is_used(connection, module.blob_id):
        blobs.delete_blob(connection, module.blob_id)
