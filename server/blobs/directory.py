"""Large blobs as files in a directory, each under the SHA-256 of its content."""

import errno
import hashlib
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from server.blobs.room import Room
from server.errors import BlobNotFound, BodyTooLarge, StorageFull
from server.journal import Condition

TRIED_BYTES = 4096
"""Of what is stored to find out whether anything can be."""


@dataclass(frozen=True, slots=True)
class Received:
    """A blob that was received whole; when it is large, it is on disk already."""

    sha256: bytes
    size: int
    content: bytes | None
    """The bytes when the blob is small; None when the store keeps them."""


class DirectoryStore:
    """A directory with one file per blob: ``ab/abcdef…``. A file appears whole or not at all."""

    def __init__(self, root: Path, limit_bytes: int) -> None:
        self._root = root.absolute()  # Flask takes a relative path to be one below its own package
        self._incoming = self._root / "incoming"
        self._incoming.mkdir(parents=True, exist_ok=True)
        self.limit_bytes = limit_bytes
        self.room = Room(self._root, "large blobs", time.monotonic)
        self._full = Condition("the disk of large blobs is full", "large blobs can be stored again")

    def receive(self, keep_in_memory_bytes: int) -> "Incoming":
        """Return a sink for the bytes of one blob. Up to ``keep_in_memory_bytes`` no file is made."""
        return Incoming(self, keep_in_memory_bytes)

    def path(self, sha256: bytes) -> Path:
        """Return where a blob's bytes are. Raises BlobNotFound when the file is not there."""
        path = self.place(sha256)
        if not path.exists():
            raise BlobNotFound
        return path

    def place(self, sha256: bytes) -> Path:
        """Return where the bytes with this digest belong."""
        name = sha256.hex()
        return self._root / name[:2] / name

    def new_file(self) -> Path:
        return self._incoming / secrets.token_hex(16)

    def try_out(self) -> None:
        """Store something small and forget it. Raises StorageFull when that is not possible."""
        path = self.new_file()
        try:
            with self.full_disk_reported(0):
                try:
                    with path.open("wb") as file:
                        file.write(bytes(TRIED_BYTES))
                        file.flush()
                        os.fsync(file.fileno())
                finally:
                    path.unlink(missing_ok=True)
        except OSError as error:
            raise StorageFull(f"the directory of large blobs cannot be written to: {error.strerror}") from error

    @contextmanager
    def full_disk_reported(self, size_bytes: int) -> Iterator[None]:
        """Raise StorageFull for a full disk, and remember that it had no room for so much."""
        try:
            yield
        except OSError as error:
            if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
                raise
            full = StorageFull("the disk is full; nothing of this request was stored")
            self.room.note_lack(size_bytes)
            self._full.begin(full)
            raise full from error

    def note_stored(self) -> None:
        """A blob found room."""
        self._full.end()

    def files_older_than(self, age_s: float) -> Iterator[tuple[bytes, Path]]:
        """Yield (digest, file) for blobs, and (empty, file) for unfinished uploads, that are at least this old."""
        limit = time.time() - age_s
        for path in self._root.glob("*/*"):
            if path.stat().st_mtime <= limit:
                yield (b"" if path.parent == self._incoming else bytes.fromhex(path.name)), path


class Incoming:
    """The bytes of a blob on their way in. Use as a context manager: what is not finished leaves nothing."""

    def __init__(self, store: DirectoryStore, keep_in_memory_bytes: int) -> None:
        self._store = store
        self._keep_bytes = keep_in_memory_bytes
        self._digest = hashlib.sha256()
        self._size = 0
        self._start = bytearray()
        self._file: BinaryIO | None = None
        self._path: Path | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        if self._file is not None:
            with suppress(OSError):  # what it could not write before it cannot write now
                self._file.close()
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def write(self, data: bytes) -> None:
        """Add bytes. Raises BodyTooLarge above the store's limit and StorageFull when the disk is full."""
        self._size += len(data)
        if self._size > self._store.limit_bytes:
            raise BodyTooLarge(
                f"the blob has more than {self._store.limit_bytes} bytes, which is the server's limit"
            )
        self._digest.update(data)
        with self._store.full_disk_reported(self._size):
            if self._file is not None:
                self._file.write(data)
            elif self._size <= self._keep_bytes:
                self._start += data
            else:
                self._path = self._store.new_file()
                self._file = self._path.open("wb")
                self._file.write(self._start + data)

    def finish(self) -> Received:
        """Put the bytes in their place, on disk. Safe to repeat."""
        sha256 = self._digest.digest()
        if self._file is None:
            return Received(sha256, self._size, bytes(self._start))
        if self._path is not None:
            with self._store.full_disk_reported(self._size):
                self._file.flush()
                os.fsync(self._file.fileno())
                place = self._store.place(sha256)
                place.parent.mkdir(exist_ok=True)
                self._path.replace(place)
                _sync_directory(place.parent)
                _sync_directory(place.parent.parent)  # the directory itself may be new
            self._path = None
            self._store.note_stored()
        return Received(sha256, self._size, None)


def _sync_directory(path: Path) -> None:
    """Make what was just put into the directory survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
