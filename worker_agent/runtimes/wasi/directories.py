"""Directories that a guest was granted, and the files in there. No path leads out.

Each step is opened without following links, below a descriptor that is open already, so that no race can change
what was checked.
"""

import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from worker_agent.runtimes.services.access import Folder, Permissions
from worker_agent.runtimes.services.files import FOLDER_BYTES, FOLDER_FILES
from worker_agent.runtimes.streams import Bytes
from worker_agent.runtimes.wasi.errno import Errno, WasiError, translate
from worker_agent.runtimes.wasi.files import FileType, GuestFile, Rights, Stat

PATH_BYTES = 4096
ENTRIES_MAX = 100_000
"""A directory with more entries cannot be listed."""
OFFSET_MAX = 2**63 - 1
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# A pipe that somebody put there must not keep the guest waiting.
_FILE = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_APPEND = 1
"""Of ``fdflags`` in the witx files."""
_WRITING = Rights.FD_WRITE


class Share:
    """What one call may do below one granted directory."""

    def __init__(self, folder: Folder, log: Callable[[bytes], object]) -> None:
        self.guest_path = folder.guest_path
        self._write = folder.write
        self._log = log
        self._advice = folder.advice
        size, count = _measure(folder.path) if folder.private else (0, 0)
        self._bytes_left = FOLDER_BYTES - size
        self._files_left = FOLDER_FILES - count

    @property
    def rights(self) -> Rights:
        return Rights.ALL if self._write else Rights.ALL & ~_WRITING

    def require_write(self) -> None:
        """Raise WasiError (ROFS), and log why, when the directory can only be read."""
        if not self._write:
            self._say(f"writing to {self.guest_path} denied: {self._advice}")
            raise WasiError(Errno.ROFS)

    def spend(self, size: int, files: int = 0) -> None:
        """Count what is written. Raises WasiError (DQUOT) when that is too much."""
        if size > self._bytes_left or files > self._files_left:
            self._say(f"{self.guest_path} is full: at most {FOLDER_BYTES} bytes in {FOLDER_FILES} files")
            raise WasiError(Errno.DQUOT)
        self._bytes_left -= size
        self._files_left -= files

    def _say(self, line: str) -> None:
        self._log(f"{line}\n".encode())


class OpenMode(NamedTuple):
    """How a path is to be opened."""

    write: bool
    create: bool
    exclusive: bool
    truncate: bool
    directory: bool
    flags: int


class DirectoryEntry(NamedTuple):
    """Of a directory."""

    name: bytes
    inode: int
    kind: int


class RegularFile(GuestFile):
    """A file below a granted directory."""

    kind = FileType.REGULAR

    def __init__(self, descriptor: int, share: Share, flags: int, *, write: bool) -> None:
        self._descriptor = descriptor
        self.share = share
        self.flags = flags
        self.rights = share.rights if write else share.rights & ~_WRITING

    def read_into(self, buffer: memoryview, offset: int | None = None) -> int:
        with _translated():
            if offset is None:
                return os.readv(self._descriptor, [buffer])
            return os.preadv(self._descriptor, [buffer], _check_offset(offset))

    def write(self, data: Bytes, offset: int | None = None) -> None:
        self._require_write()
        with _translated():
            size = os.fstat(self._descriptor).st_size
            appends = offset is None and self.flags & _APPEND
            start = size if appends else self._tell() if offset is None else _check_offset(offset)
            # A gap counts as if it were written.
            self.share.spend(max(len(data), start + len(data) - size))
            left = memoryview(data)
            while left:
                done = os.pwrite(self._descriptor, left, start)
                left, start = left[done:], start + done
            if offset is None:
                os.lseek(self._descriptor, start, os.SEEK_SET)

    def seek(self, offset: int, whence: int) -> int:
        if not 0 <= whence <= os.SEEK_END:
            raise WasiError(Errno.INVAL)
        with _translated():
            return os.lseek(self._descriptor, offset, whence)

    def resize(self, size: int) -> None:
        self._require_write()
        with _translated():
            self.share.spend(max(0, _check_offset(size) - os.fstat(self._descriptor).st_size))
            os.ftruncate(self._descriptor, size)

    def grow(self, size: int) -> None:
        if _check_offset(size) > os.fstat(self._descriptor).st_size:
            self.resize(size)

    def check_positions(self) -> None:
        """It has positions."""

    def stat(self) -> Stat:
        return _read_stat(os.fstat(self._descriptor))

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _require_write(self) -> None:
        if not self.rights & _WRITING:
            raise WasiError(Errno.BADF)

    def _tell(self) -> int:
        return os.lseek(self._descriptor, 0, os.SEEK_CUR)


class Directory(GuestFile):
    """A granted directory, or one below it."""

    kind = FileType.DIRECTORY
    link_answer = Errno.NOTSUP
    """What reading a link answers: there are none to read."""

    def __init__(self, descriptor: int, share: Share, *, granted: bool = False) -> None:
        self._descriptor = descriptor
        self.share = share
        self.rights = self.inheriting = share.rights
        self.granted_as = share.guest_path.encode() if granted else None
        """The path under which the guest finds it; None: it opened it itself."""
        self._entries: list[DirectoryEntry] = []

    def open(self, path: bytes, how: OpenMode) -> GuestFile:
        """Open what a path leads to."""
        if how.write or how.create or how.truncate:
            self.share.require_write()
        with _translated(), self.enter_parent(path) as (place, name):
            if how.directory:
                return Directory(os.open(name, _FOLDER, dir_fd=place), self.share)
            return self._open_any(place, name, how)

    def _open_any(self, place: int, name: bytes, how: OpenMode) -> GuestFile:
        way = _FILE | (os.O_RDWR if how.write else os.O_RDONLY)
        if how.create and not _exists(place, name):
            self.share.spend(0, files=1)
            way |= os.O_CREAT
        if how.create and how.exclusive:
            way |= os.O_CREAT | os.O_EXCL
        descriptor = os.open(name, way, 0o644, dir_fd=place)
        try:
            mode = os.fstat(descriptor).st_mode
            if stat.S_ISDIR(mode):
                return Directory(descriptor, self.share)
            if not stat.S_ISREG(mode):
                raise WasiError(Errno.ACCES)
            fcntl.fcntl(descriptor, fcntl.F_SETFL, 0)
            # Not on opening: it must be known to be a file.
            if how.truncate:
                os.ftruncate(descriptor, 0)
        except BaseException:
            os.close(descriptor)
            raise
        return RegularFile(descriptor, self.share, how.flags & 0x1F, write=how.write)

    def stat(self) -> Stat:
        return _read_stat(os.fstat(self._descriptor))

    def stat_path(self, path: bytes, *, follow: bool) -> Stat:
        """Return what is known about what a path leads to. Links are not followed, but told."""
        with _translated(), self.enter_parent(path) as (place, name):
            found = _read_stat(os.stat(name, dir_fd=place, follow_symlinks=False))
        if follow and found[1] == FileType.LINK:
            raise WasiError(Errno.LOOP)
        return found

    def make_directory(self, path: bytes) -> None:
        self.share.require_write()
        with _translated(), self.enter_parent(path) as (place, name):
            self.share.spend(0, files=1)
            os.mkdir(name, 0o755, dir_fd=place)

    def remove_directory(self, path: bytes) -> None:
        self.share.require_write()
        with _translated(), self.enter_parent(path) as (place, name):
            os.rmdir(name, dir_fd=place)

    def remove_file(self, path: bytes) -> None:
        self.share.require_write()
        with _translated(), self.enter_parent(path) as (place, name):
            os.unlink(name, dir_fd=place)

    def rename(self, path: bytes, target: "Directory", to: bytes) -> None:
        self.share.require_write()
        if target.share is not self.share:
            raise WasiError(Errno.XDEV)
        with _translated(), self.enter_parent(path) as source, target.enter_parent(to) as goal:
            os.rename(source[1], goal[1], src_dir_fd=source[0], dst_dir_fd=goal[0])

    def list_entries(self, *, anew: bool) -> list[DirectoryEntry]:
        """Return the entries, in the order of their names; as they were at the first call, unless ``anew``."""
        if anew or not self._entries:
            with _translated(), os.scandir(self._descriptor) as found:
                entries = [
                    DirectoryEntry(
                        os.fsencode(each.name), each.inode(), _kind_of(each.stat(follow_symlinks=False).st_mode)
                    )
                    for each, _ in zip(found, range(ENTRIES_MAX + 1), strict=False)
                ]
            if len(entries) > ENTRIES_MAX:
                raise WasiError(Errno.NOTSUP)
            inode = os.fstat(self._descriptor).st_ino
            dots = [DirectoryEntry(name, inode, FileType.DIRECTORY) for name in (b".", b"..")]
            self._entries = [*dots, *sorted(entries)]
        return self._entries

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    @contextmanager
    def enter_parent(self, path: bytes) -> Iterator[tuple[int, bytes]]:
        """Open the directory in which a path ends, and yield it with the last name."""
        *folders, name = split(path) or [b"."]
        place = os.dup(self._descriptor)
        try:
            for folder in folders:
                outer, place = place, os.open(folder, _FOLDER, dir_fd=place)
                os.close(outer)
            yield place, name
        finally:
            os.close(place)


def open_granted(access: Permissions, log: Callable[[bytes], object]) -> list[Directory]:
    """Open the directories that a call may use. One that is gone is left out, and the log says so."""
    return [Directory(each, Share(folder, log), granted=True) for folder, each in open_folders(access, log)]


def open_folders(access: Permissions, log: Callable[[bytes], object]) -> list[tuple[Folder, int]]:
    """Do so, and return their descriptors, which the caller must close."""
    opened = []
    for folder in access.find_folders():
        try:
            if folder.private:
                Path(folder.path).mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(folder.path, _FOLDER)
        except OSError as error:
            log(f"directory {folder.guest_path} denied: this node cannot open it: {error.strerror}\n".encode())
            continue
        opened.append((folder, descriptor))
    return opened


def split(path: bytes) -> list[bytes]:
    """Return the names in a path; none for the directory itself. Raises WasiError when it leads out."""
    if len(path) > PATH_BYTES:
        raise WasiError(Errno.NAMETOOLONG)
    if not path:
        raise WasiError(Errno.NOENT)
    if b"\0" in path:
        raise WasiError(Errno.INVAL)
    if path.startswith(b"/"):
        raise WasiError(Errno.NOTCAPABLE)
    names: list[bytes] = []
    # Links are not followed, so that a name and the .. after it cancel each other.
    for name in path.split(b"/"):
        if name == b"..":
            if not names:
                raise WasiError(Errno.NOTCAPABLE)
            names.pop()
        elif name not in {b"", b"."}:
            names.append(name)
    return names


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise translate(error) from None


def _check_offset(offset: int) -> int:
    if not 0 <= offset <= OFFSET_MAX:
        raise WasiError(Errno.INVAL)
    return offset


def _exists(place: int, name: bytes) -> bool:
    try:
        os.stat(name, dir_fd=place, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _kind_of(mode: int) -> FileType:
    kinds = {stat.S_IFDIR: FileType.DIRECTORY, stat.S_IFREG: FileType.REGULAR, stat.S_IFLNK: FileType.LINK}
    return kinds.get(stat.S_IFMT(mode), FileType.UNKNOWN)


def _read_stat(found: os.stat_result) -> Stat:
    times = (found.st_atime_ns, found.st_mtime_ns, found.st_ctime_ns)
    return (found.st_ino, _kind_of(found.st_mode), found.st_nlink, found.st_size, *times)


def _measure(folder: str) -> tuple[int, int]:
    """Return how many bytes and entries a folder holds."""
    size = count = 0
    for where, folders, names in os.walk(folder):
        count += len(folders) + len(names)
        for name in names:
            try:
                size += os.lstat(Path(where, name)).st_size
            except OSError:
                continue
    return size, count
