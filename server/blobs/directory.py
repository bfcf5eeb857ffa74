"""Large blobs as files in a directory, each under the SHA-256 of its content."""

import os
import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import BinaryIO

from piecework.server.blobs.disk_space import DiskSpace
from piecework.server.blobs.store import TRIED_BYTES, BlobReader, BlobStore, BlobWriter
from piecework.server.errors import BlobNotFound, StorageFull

NAME = re.compile("[0-9a-f]{64}")


class DirectoryStore(BlobStore):
    """A directory with one file per blob: ``ab/abcdef…``. A file appears whole or not at all."""

    def __init__(self, root: Path, limit_bytes: int, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._root = root
        self._incoming = root / "incoming"
        self._incoming.mkdir(parents=True, exist_ok=True)
        self.limit_bytes = limit_bytes
        self.space = DiskSpace(root, "large blobs", monotonic)

    def __str__(self) -> str:
        return f"the directory {self._root.absolute()}"

    def receive(self, keep_in_memory_bytes: int) -> BlobWriter:
        return _FileWriter(self, keep_in_memory_bytes)

    def open(self, sha256: bytes, begin: int = 0, end: int | None = None) -> BlobReader:
        return _FileReader(self._open(sha256), begin, end)

    @contextmanager
    def view(self, sha256: bytes) -> Iterator[bytes | mmap]:
        with self._open(sha256) as file:
            if not os.fstat(file.fileno()).st_size:
                yield b""  # of nothing there is no map
                return
            with mmap(file.fileno(), 0, access=ACCESS_READ) as view:
                yield view

    def find_size(self, sha256: bytes) -> int | None:
        try:
            return self.find_place(sha256).stat().st_size
        except FileNotFoundError:
            return None

    def walk(self) -> Iterator[bytes]:
        for path in self._root.glob("*/*"):
            if path.parent != self._incoming and NAME.fullmatch(path.name):
                yield bytes.fromhex(path.name)

    def remove(self, sha256: bytes, age_s: float, is_needed: Callable[[bytes], bool]) -> bool:
        path, limit = self.find_place(sha256), time.time() - age_s
        return _is_older(path, limit) and not is_needed(sha256) and self._remove(path, limit)

    def sweep(self, age_s: float, is_needed: Callable[[bytes], bool]) -> int:
        limit = time.time() - age_s
        removed = 0
        for path in self._root.glob("*/*"):
            is_upload = path.parent == self._incoming
            if not (is_upload or NAME.fullmatch(path.name)):
                continue  # not ours
            if _is_older(path, limit) and (is_upload or not is_needed(bytes.fromhex(path.name))):
                removed += self._remove(path, limit)
        return removed

    def check_space(self) -> None:
        self.space.check()

    def try_out(self) -> None:
        path = self.new_path()
        try:
            with self.space.full_reported(0):
                try:
                    with path.open("wb") as file:
                        file.write(bytes(TRIED_BYTES))
                        file.flush()
                        os.fsync(file.fileno())
                finally:
                    path.unlink(missing_ok=True)
        except OSError as error:
            raise StorageFull(f"the directory of large blobs cannot be written to: {error.strerror}") from error

    def find_place(self, sha256: bytes) -> Path:
        """Return where the bytes with this digest belong."""
        name = sha256.hex()
        return self._root / name[:2] / name

    def new_path(self) -> Path:
        """Return where a new file can be made that is no blob yet."""
        return self._incoming / secrets.token_hex(16)

    def _open(self, sha256: bytes) -> BinaryIO:
        try:
            return self.find_place(sha256).open("rb", buffering=0)
        except FileNotFoundError as error:
            raise BlobNotFound from error

    def _remove(self, path: Path, limit: float) -> bool:
        """Remove a file, unless a younger one took its place since it was looked at. Returns whether it did."""
        aside = self.new_path()
        try:
            path.rename(aside)
        except FileNotFoundError:
            return False  # somebody else was quicker
        if is_old := _is_older(aside, limit):
            aside.unlink(missing_ok=True)
        else:
            aside.replace(path)
        return is_old


class _FileReader(BlobReader):
    def __init__(self, file: BinaryIO, begin: int, end: int | None) -> None:
        self._file = file
        self.size = os.fstat(file.fileno()).st_size
        self._left = (self.size if end is None else min(end, self.size)) - begin
        file.seek(begin)

    def read(self, size: int = -1, /) -> bytes:
        left = max(0, self._left)
        data = self._file.read(left if size < 0 else min(size, left))
        self._left -= len(data)
        return data

    def close(self) -> None:
        self._file.close()


class _FileWriter(BlobWriter):
    def __init__(self, store: DirectoryStore, keep_in_memory_bytes: int) -> None:
        super().__init__(store.limit_bytes, keep_in_memory_bytes)
        self._store = store
        self._path = store.new_path()
        self._file: BinaryIO | None = None

    def _add(self, data: bytes) -> None:
        with self._store.space.full_reported(self._size):
            if self._file is None:
                self._file = self._path.open("wb")
            self._file.write(data)

    def _place(self, sha256: bytes) -> None:
        assert self._file is not None
        with self._store.space.full_reported(self._size):
            with self._file:
                self._file.flush()
                os.fsync(self._file.fileno())
            place = self._store.find_place(sha256)
            place.parent.mkdir(exist_ok=True)
            self._path.replace(place)
            _sync_directory(place.parent)
            _sync_directory(place.parent.parent)  # the directory itself may be new
        self._store.space.note_stored()

    def _discard(self) -> None:
        if self._file is not None:
            with suppress(OSError):  # what it could not write before it cannot write now
                self._file.close()
        self._path.unlink(missing_ok=True)


def _is_older(path: Path, limit: float) -> bool:
    try:
        return path.stat().st_mtime <= limit
    except FileNotFoundError:
        return False


def _sync_directory(path: Path) -> None:
    """Make what was just put into the directory survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
