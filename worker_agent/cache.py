"""Blobs on disk, by the SHA-256 of their bytes: as many as fit; inputs give way first, those used longest ago."""

import contextlib
import errno
import hashlib
import os
import re
import secrets
import shutil
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path

from piecework.worker_agent.errors import BrokenBlobError, CacheError
from piecework.worker_agent.threads import SYSTEM_THREADS, Threads

_CHECKSUM = re.compile(r"[0-9a-f]{64}")
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
"""Errors that say that the disk, or what this user may have of it, is used up."""
ROOM_BYTES, ROOM_SHARE = 256 * 1024 * 1024, 1 / 8
"""So much of the disk is left for outputs, compiled code and others: this much, or this share of a small one."""
STEP_BYTES = 1024 * 1024
"""When the disk is full all the same, at least so much gives way before the next try."""
PROBE_BYTES = 64 * 1024
BLOBS_MAX = 2000
"""Blobs that are kept, however small they are: what is known of each takes memory, a quarter of a kB."""


_Seal = tuple[int, int, int]
"""Inode, size and time of the last change of a file."""
_NOTHING: _Seal = (-1, -1, -1)

FindFree = Callable[[Path], tuple[int, int, int]]
"""Returns how large the disk of a folder is, how much of it is used, and how much free, bytes."""


class BlobCache:
    """A folder of blobs. Its methods may be called from any thread; one process at a time uses the folder.

    ``acquire`` and ``release`` come in pairs: in between, the blob is not evicted.
    """

    def __init__(
        self,
        folder: Path,
        *,
        capacity_bytes: int,
        find_free: FindFree = shutil.disk_usage,
        threads: Threads = SYSTEM_THREADS,
    ) -> None:
        """Open the cache as it was left. Raises CacheError when the folder cannot be used."""
        self.folder = folder
        self._incoming = folder / "incoming"
        self._capacity_bytes = capacity_bytes
        self._find_free = find_free
        self._lasting: set[str] = set()
        """Blobs that will be needed again, as code is. The others give way before them."""
        self._changed = threads.new_condition(None)
        """Held around everything below."""
        self._sizes: OrderedDict[str, int] = OrderedDict()
        """The blobs that are here, those used longest ago first."""
        self._seals: dict[str, _Seal] = {}
        """How the files looked when their bytes were those of their blobs."""
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

    def find_room_bytes(self) -> int:
        """Return how much blobs may take altogether."""
        with self._changed:
            return max(0, self._used_bytes + min(self._capacity_bytes - self._used_bytes, self._find_spare()))

    def acquire(
        self, checksum: str, fetch: Callable[[Path], object], *, size_bytes: int = 0, lasting: bool = True
    ) -> Path:
        """Return the file with the blob; it stays until ``release``.

        When the blob is not here, or its file was changed, ``fetch`` is called with a path where it must write it,
        again when the disk was full and others could give way; who else wants the same blob waits meanwhile.
        ``size_bytes`` is how large it will be, if known. ``lasting``: it will be needed again, as code is. Raises
        BrokenBlobError when other bytes were written, CacheError when the disk fails, and what ``fetch`` raises.
        """
        if not _CHECKSUM.fullmatch(checksum):
            raise BrokenBlobError(f"{checksum[:80]!r} is not a SHA-256")
        path = self.folder / checksum
        if lasting:
            self._lasting.add(checksum)
        if self._pin(checksum, path):
            return path
        size = None
        try:
            size = _find_size(path, checksum)
            if size is None:
                size = self._fetch_into_room(checksum, path, fetch, size_bytes)
        finally:
            with self._changed:
                self._fetching.discard(checksum)
                if size is None:
                    self._unpin(checksum)
                    self._lasting.discard(checksum)
                else:
                    self._sizes[checksum] = size
                    self._used_bytes += size
                    self._seal(checksum, path)
                self._evict()
                self._changed.notify_all()
        return path

    def is_intact(self, checksum: str) -> bool:
        """Tell whether a blob is here, and nobody touched its file since its bytes were checked."""
        return self._seals.get(checksum, _NOTHING) == _look_at(self.folder / checksum)

    def release(self, checksum: str) -> None:
        """Let go of a blob that was acquired. It stays as long as there is room."""
        with self._changed:
            self._unpin(checksum)
            self._evict()

    def probe(self) -> None:
        """See whether the disk takes something again. Raises OSError when it does not."""
        with self._changed:
            self._evict()
        part = self._incoming / secrets.token_hex(8)
        try:
            with part.open("xb") as file:
                file.write(bytes(PROBE_BYTES))
                file.flush()
                os.fsync(file.fileno())
        finally:
            part.unlink(missing_ok=True)

    def _open(self) -> None:
        self._incoming.mkdir(mode=0o700, parents=True, exist_ok=True)
        for leftover in self._incoming.iterdir():
            leftover.unlink()
        blobs = [path for path in self.folder.iterdir() if _CHECKSUM.fullmatch(path.name)]
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
                if self.is_intact(checksum):
                    self._seal(checksum, path)
                    self._sizes.move_to_end(checksum)
                    return True
                # It is of an earlier process, or somebody removed or changed the file.
                self._used_bytes -= self._sizes.pop(checksum)
                self._seals.pop(checksum, None)
            self._fetching.add(checksum)
            return False

    def _seal(self, checksum: str, path: Path) -> None:
        """Note that a blob is used now, and how its file looks."""
        with contextlib.suppress(OSError):
            os.utime(path)
        self._seals[checksum] = _look_at(path)

    def _unpin(self, checksum: str) -> None:
        self._pins[checksum] -= 1
        if self._pins[checksum] <= 0:
            del self._pins[checksum]

    def _fetch_into_room(self, checksum: str, path: Path, fetch: Callable[[Path], object], size_bytes: int) -> int:
        """Fetch a blob; while the disk is full, have others give way and try again. Returns its size."""
        with self._changed:
            self._evict(room_bytes=size_bytes)
        while True:
            try:
                return self._fetch(checksum, path, fetch)
            except OSError as error:
                if error.errno not in FULL:
                    raise
                with self._changed:
                    if not self._evict(at_least_bytes=max(size_bytes, STEP_BYTES)):
                        raise CacheError(f"blob {checksum[:12]} cannot be stored: {error.strerror}") from error

    def _fetch(self, checksum: str, path: Path, fetch: Callable[[Path], object]) -> int:
        part = self._incoming / secrets.token_hex(8)
        try:
            with _disk_errors(checksum):
                self._incoming.mkdir(mode=0o700, parents=True, exist_ok=True)  # somebody may have cleaned up
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

    def _evict(self, *, room_bytes: int = 0, at_least_bytes: int = 0) -> bool:
        """Remove blobs that nobody uses until the others fit; tell whether there was one to remove.

        ``room_bytes``: so much more is to come. ``at_least_bytes``: so much has to go, if there is as much.
        """
        goal_bytes = self._used_bytes - max(self._find_excess(room_bytes), at_least_bytes)
        removed = False
        if self._used_bytes <= goal_bytes and len(self._sizes) <= BLOBS_MAX:
            return removed
        for checksum in sorted((name for name in self._sizes if name not in self._pins), key=self._is_lasting):
            if self._used_bytes <= goal_bytes and len(self._sizes) <= BLOBS_MAX:
                break
            with contextlib.suppress(OSError):
                (self.folder / checksum).unlink(missing_ok=True)
                self._used_bytes -= self._sizes.pop(checksum)
                self._seals.pop(checksum, None)
                self._lasting.discard(checksum)
                removed = True
        return removed

    def _is_lasting(self, checksum: str) -> bool:
        return checksum in self._lasting

    def _find_excess(self, room_bytes: int) -> int:
        """Return how many bytes are too many: more than the cache may take, or than the disk has room for."""
        return max(0, room_bytes + max(self._used_bytes - self._capacity_bytes, -self._find_spare()))

    def _find_spare(self) -> int:
        """Return how much of the disk is free, less what is left for others; below 0 when that is less."""
        try:
            total, _, free = self._find_free(self.folder)
        except OSError:  # then writing tells
            return self._capacity_bytes
        return free - min(ROOM_BYTES, round(total * ROOM_SHARE))


def _look_at(path: Path) -> _Seal:
    """Return how a file looks; of one that is not there, nothing that any other looks like."""
    try:
        status = path.stat()
    except OSError:
        return (0, 0, 0)
    return status.st_ino, status.st_size, status.st_mtime_ns


def _find_size(path: Path, checksum: str) -> int | None:
    """Return the size of a file with these bytes; None when it is not there, or has others."""
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
            return file.tell() if found == checksum else None
    except OSError:
        return None


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
