"""Blobs: taking bytes in, giving them out."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from mmap import mmap

import structlog

from piecework.protocol.ids import NO_ID
from piecework.protocol.messages import DIRECT_LEAST_BYTES
from piecework.protocol.text import read_file_name
from piecework.server.blobs import BlobReader, BlobStore, DirectPut
from piecework.server.errors import BlobInUse, BlobNotFound, BlobsAway, BodyTooLarge
from piecework.server.services.core import Core
from piecework.server.store.engine.database import Connection
from piecework.server.store.records import Blob
from piecework.server.store.stock import blobs, lambdas

log = structlog.get_logger("server")

NOTHING = Blob(NO_ID, hashlib.sha256().digest(), 0, b"", 0)
"""What the id that stands for no blob gives: to older clients it is an empty one."""

ORPHAN_AGE_S = 3600.0
"""A stored blob that no row names is removed when it is this old: younger ones may be about to be named."""


class Data:
    """The blobs of this server: small ones in the database, large ones in the store."""

    def __init__(self, core: Core, store: BlobStore) -> None:
        self._database, self._ids, self._clock, self._settings = core.database, core.ids, core.clock, core.settings
        self.store = store

    def receive(self, chunks: Iterable[bytes], find_name: Callable[[], str] = str) -> Blob:
        """Store a stream of bytes as a new blob. When the stream breaks, nothing is stored.

        ``find_name`` tells what its sender calls it, once the stream is over; "" for nothing.
        """
        blob = self.prepare(chunks)
        blob = blob._replace(name=read_file_name(find_name()))
        self._database.write(lambda connection: blobs.add_blobs(connection, [blob]))
        return blob

    def prepare(self, chunks: Iterable[bytes]) -> Blob:
        """Put bytes in safety and return their blob, whose row the caller's transaction stores."""
        with self.store.receive(self._settings.inline_max_bytes) as incoming:
            for chunk in chunks:
                incoming.write(chunk)
            received = incoming.finish()
        return Blob(self._ids.next(), received.sha256, received.size, received.content, self._clock())

    def prepare_slowly(self, chunks: Iterable[bytes]) -> Iterator[Blob | None]:
        """Do what ``prepare`` does, one chunk at each step: gives None, and the blob at last."""
        with self.store.receive(self._settings.inline_max_bytes) as incoming:
            for chunk in chunks:
                incoming.write(chunk)
                yield None
            received = incoming.finish()
        yield Blob(self._ids.next(), received.sha256, received.size, received.content, self._clock())

    def find_direct(self, blob: Blob) -> str | None:
        """Return a URL under which an agent gets a blob by itself; None when it must come through the server."""
        if not self.allows_direct or blob.content is not None or blob.size < DIRECT_LEAST_BYTES:
            return None
        return self.store.sign_get(blob.sha256)

    def take_direct(self, sha256: bytes, size: int) -> Blob | DirectPut | None:
        """Return a blob that an agent stored by itself, as a new one; else how it may store it.

        None when it must come through the server. Raises BodyTooLarge.
        """
        if not self.allows_direct or size < DIRECT_LEAST_BYTES:
            return None
        if size > self.store.limit_bytes:
            raise BodyTooLarge(
                f"the blob has more than {self.store.limit_bytes} bytes, which is the server's limit"
            )
        if not self.store.has_young(sha256, size):
            return self.store.sign_put(sha256, size)
        blob = Blob(self._ids.next(), sha256, size, None, self._clock())
        self._database.write(lambda connection: blobs.add_blobs(connection, [blob]))
        return blob

    @property
    def allows_direct(self) -> bool:
        """Whether agents may get and store large blobs by themselves."""
        return self._settings.blobs_direct

    def new_ids(self, count: int) -> list[int]:
        """Return ids for new blobs."""
        return self._ids.take(count)

    def prepare_bytes(self, content: bytes, id_: int, now: int) -> Blob:
        """Do what ``prepare`` does, for bytes that are here already and a new id."""
        if len(content) > self._settings.inline_max_bytes:
            return self.prepare([content])._replace(id=id_)
        return Blob(id_, hashlib.sha256(content).digest(), len(content), content, now)

    def get(self, id_: int) -> Blob:
        """Return a blob; for a lambda's id, that lambda's code. Raises BlobNotFound."""
        with self._database.read() as connection:
            return require_blob(connection, id_)

    def open(self, blob: Blob, begin: int = 0, end: int | None = None) -> bytes | BlobReader:
        """Return a blob's bytes from ``begin`` to before ``end``; of a large blob, a reader of them.

        Raises BlobNotFound when the bytes of a large blob are gone.
        """
        return blob.content[begin:end] if blob.content is not None else self.store.open(blob.sha256, begin, end)

    def read(self, blob: Blob, limit_bytes: int) -> bytes | None:
        """Return a blob's bytes, or None when it is larger than ``limit_bytes``."""
        if blob.size > limit_bytes:
            return None
        source = self.open(blob)
        if isinstance(source, bytes):
            return source
        with source:
            return source.read()

    @contextmanager
    def viewing(self, blob: Blob) -> Iterator[bytes | mmap]:
        """Let the block look at a blob's bytes without having them all in memory. Raises BlobNotFound."""
        if blob.content is not None:
            yield blob.content
            return
        with self.store.view(blob.sha256) as view:
            yield view

    def find_digests(self, ids: Iterable[int]) -> dict[int, tuple[bytes, int]]:
        """Return (SHA-256, size) of those of the blobs that exist, by id."""
        with self._database.read() as connection:
            return blobs.find_digests(connection, ids)

    def list_page(self, *, before: int, limit: int) -> list[Blob]:
        """Return blobs that are older than ``before``, newest first, without their contents."""
        with self._database.read() as connection:
            return blobs.list_blobs(connection, before=before, limit=limit)

    def delete(self, id_: int) -> None:
        """Remove a blob, with its file or object unless that is young: the sweep removes those.

        Raises BlobNotFound, or BlobInUse while a lambda, a module, an unfinished job or a schedule needs it.
        """

        def remove(connection: Connection) -> Blob:
            if blobs.is_used(connection, id_):
                raise BlobInUse(f"blob {id_} is used by a lambda, a module, an unfinished job or a schedule")
            found = blobs.find_blob(connection, id_)
            if found is None or not blobs.delete_blob(connection, id_):
                raise BlobNotFound
            return found

        removed = self._database.write(remove)
        if removed.content is None:
            with suppress(BlobsAway):  # the sweep removes it later
                self.drop([removed.sha256])

    def sweep(self) -> int:
        """Remove stored bytes that no row names: deleted blobs and uploads that broke off. Returns how many."""
        removed = self.store.sweep(ORPHAN_AGE_S, self._is_needed)
        if removed:
            log.info("removed files that nothing needs", files=removed)
        return removed

    def drop(self, digests: Iterable[bytes]) -> None:
        """Remove stored bytes whose rows were removed, unless other rows name them. ``sweep`` does young ones."""
        for sha256 in digests:
            self.store.remove(sha256, ORPHAN_AGE_S, self._is_needed)

    def _is_needed(self, sha256: bytes) -> bool:
        with self._database.read() as connection:
            return blobs.is_stored(connection, sha256)


def require_blob(connection: Connection, id_: int) -> Blob:
    """Return a blob; for a lambda's id, that lambda's code. Raises BlobNotFound."""
    if id_ == NO_ID:
        return NOTHING
    blob = blobs.find_blob(connection, id_)
    if blob is None:
        lambda_ = lambdas.find_lambdas(connection, {id_}).get(id_)
        blob = blobs.find_blob(connection, lambda_.codex) if lambda_ else None
    if blob is None:
        raise BlobNotFound
    return blob
