"""Blobs on disk, by the SHA-256 of their bytes: as many as fit, those used longest ago give way."""

import contextlib
import hashlib
import os
import re
import secrets
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path

from worker_agent.errors import BrokenBlobError, CacheError

_CHECKSUM = re.compile(r"[0-9a-f]{64}")
BLOBS_MAX = 2000
"""Blobs that are kept, however small they are: what is known of each takes memory, a quarter of a kB."""


class BlobCache:
    """A folder of blobs. Its methods may be called from any thread; one process at a time uses the folder.

    ``acquire`` and ``release`` come in pairs: in between, the blob is not evicted.
    """

    def __init__(self, folder: Path, *, capacity_bytes: int) -> None:
        """Open the cache as it was left. Raises CacheError when the folder cannot be used."""
        self._folder = folder
        self._incoming = folder / "incoming"
        self._capacity_bytes = capacity_bytes
        self._changed = threading.Condition()
        """Held around everything below."""
        self._sizes: OrderedDict[str, int] = OrderedDict()
        """The blobs that are here, those used longest ago first."""
        self._used_bytes = 0
        self._pins: Counter[str] = Counter()
        self._fetching: set[str] = set()
        try:
            self._open()
        except OSError as error:
            raise CacheError(f"the cache {folder} cannot be used: {error.strerror}") from error

    @property
    def used_bytes(self) -> int:
        """Size of all blobs that are here, bytes."""
        with self._changed:
            return self._used_bytes

    def acquire(self, checksum: str, fetch: Callable[[Path], object]) -> Path:
        """Return the file with the blob; it stays until ``release``.

        When the blob is not here, ``fetch`` is called with a path where it must write it; others who want the
        same blob wait meanwhile. Raises BrokenBlobError when it wrote other bytes, CacheError when the disk
        fails, and what ``fetch`` raises.
        """
        if not _CHECKSUM.fullmatch(checksum):
            raise BrokenBlobError(f"{checksum[:80]!r} is not a SHA-256")
        path = self._folder / checksum
        if self._pin(checksum, path):
            return path
        size = None
        try:
            size = self._fetch(checksum, path, fetch)
        finally:
            with self._changed:
                self._fetching.discard(checksum)
                if size is None:
                    self._unpin(checksum)
                else:
                    self._sizes[checksum] = size
                    self._used_bytes += size
                self._evict()
                self._changed.notify_all()
        return path

    def release(self, checksum: str) -> None:
        """Let go of a blob that was acquired. It stays as long as there is room."""
        with self._changed:
            self._unpin(checksum)
            self._evict()

    def _open(self) -> None:
        self._incoming.mkdir(mode=0o700, parents=True, exist_ok=True)
        for leftover in self._incoming.iterdir():
            leftover.unlink()
        blobs = [path for path in self._folder.iterdir() if _CHECKSUM.fullmatch(path.name)]
        for path in sorted(blobs, key=lambda path: path.stat().st_mtime_ns):
            self._sizes[path.name] = path.stat().st_size
        self._used_bytes = sum(self._sizes.values())
        self._evict()

    def _pin(self, checksum: str, path: Path) -> bool:
        """Pin a blob. Returns whether it is here; if not, the caller has to fetch it."""
        with self._changed:
            self._pins[checksum] += 1
            self._changed.wait_for(lambda: checksum not in self._fetching)
            if checksum in self._sizes:
                with contextlib.suppress(OSError):
                    os.utime(path)
                    self._sizes.move_to_end(checksum)
                    return True
                # Someone else removed the file.
                self._used_bytes -= self._sizes.pop(checksum)
            self._fetching.add(checksum)
            return False

    def _unpin(self, checksum: str) -> None:
        self._pins[checksum] -= 1
        if self._pins[checksum] <= 0:
            del self._pins[checksum]

    def _fetch(self, checksum: str, path: Path, fetch: Callable[[Path], object]) -> int:
        part = self._incoming / secrets.token_hex(8)
        try:
            fetch(part)
            with _disk_errors(checksum), part.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
                size = file.tell()
            if found != checksum:
                raise BrokenBlobError(f"blob {checksum[:12]} came with other bytes: their SHA-256 is {found[:12]}")
            with _disk_errors(checksum):
                part.replace(path)
            return size
        finally:
            part.unlink(missing_ok=True)

    def _is_full(self) -> bool:
        return self._used_bytes > self._capacity_bytes or len(self._sizes) > BLOBS_MAX

    def _evict(self) -> None:
        if not self._is_full():
            return
        for checksum in [name for name in self._sizes if name not in self._pins]:
            if not self._is_full():
                return
            with contextlib.suppress(OSError):
                (self._folder / checksum).unlink(missing_ok=True)
                self._used_bytes -= self._sizes.pop(checksum)


def trim_folder(folder: Path, capacity_bytes: int) -> None:
    """Remove files below a folder, those used longest ago first, until the rest fits.

    The time of use is the time of modification. Files that others remove or replace meanwhile do no harm.
    """
    files = []
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            if path.is_file():
                status = path.stat()
                files.append((status.st_mtime_ns, status.st_size, path))
    used_bytes = sum(size for _, size, _ in files)
    for _, size, path in sorted(files):
        if used_bytes <= capacity_bytes:
            return
        with contextlib.suppress(OSError):
            path.unlink()
        used_bytes -= size


@contextlib.contextmanager
def _disk_errors(checksum: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CacheError(f"blob {checksum[:12]} cannot be stored: {error.strerror}") from error
