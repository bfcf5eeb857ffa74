"""Directories that a guest was granted, and what is done with paths in there; ``resolving`` finds their ends."""

import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from piecework.worker_agent.runtimes.base import Bounds
from piecework.worker_agent.runtimes.services.access import Folder
from piecework.worker_agent.runtimes.wasi.errno import Errno, WasiError, translated
from piecework.worker_agent.runtimes.wasi.fs.files import (
    DirectoryEntry,
    FileType,
    GuestFile,
    OpenMode,
    Rights,
    Stat,
    TimesNs,
    kind_of,
)
from piecework.worker_agent.runtimes.wasi.fs.quota import Share, key_of
from piecework.worker_agent.runtimes.wasi.fs.regular_file import RegularFile, find_sync_flags
from piecework.worker_agent.runtimes.wasi.fs.resolving import (
    PATH_BYTES,
    LeadsOutError,
    PathEnd,
    leads_out,
    resolve,
)

ENTRIES_MAX = 100_000
"""A directory with more entries cannot be listed."""
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# It is known to be a file; should it have become a pipe, the guest must not wait there.
_FILE = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


class GuestDirectory(GuestFile, ABC):
    """What has files in it. Whatever one kind cannot do raises WasiError: nothing there can be changed."""

    kind = FileType.DIRECTORY
    rights = inheriting = Rights.GRANTED
    can_write = False
    """What is in there may be changed."""

    @abstractmethod
    def open(self, path: bytes, how: OpenMode) -> GuestFile:
        """Open what a path leads to."""

    @abstractmethod
    def stat_path(self, path: bytes, *, follow: bool) -> Stat:
        """Return what is known about what a path leads to."""

    @abstractmethod
    def list_entries(self, *, anew: bool) -> list[DirectoryEntry]:
        """Return the entries, in the order of their names; as they were at the first call, unless ``anew``."""

    def make_directory(self, _path: bytes) -> None:
        raise WasiError(Errno.ROFS)

    def remove_directory(self, _path: bytes) -> None:
        raise WasiError(Errno.ROFS)

    def remove_file(self, _path: bytes) -> None:
        raise WasiError(Errno.ROFS)

    def rename(self, _path: bytes, _target: "GuestDirectory", _to: bytes) -> None:
        raise WasiError(Errno.ROFS)

    def link(self, _path: bytes, _target: "GuestDirectory", _to: bytes) -> None:
        """Give a file another name."""
        raise WasiError(Errno.ROFS)

    def make_link(self, _path: bytes, _target: bytes) -> None:
        """Make a symbolic link at a path."""
        raise WasiError(Errno.ROFS)

    def read_link(self, path: bytes) -> bytes:
        """Return where a symbolic link leads."""
        self.stat_path(path, follow=False)
        raise WasiError(Errno.INVAL)

    def set_path_times(self, _path: bytes, _times: TimesNs, *, follow: bool) -> None:  # noqa: ARG002
        raise WasiError(Errno.ROFS)

    def require(self, _rights: int) -> None:
        """Whatever its rights say: nobody reads or writes it as a file."""
        raise WasiError(Errno.BADF)

    def seek(self, _offset: int, _whence: int) -> int:
        raise WasiError(Errno.BADF)

    def resize(self, _size: int) -> None:
        raise WasiError(Errno.BADF)

    def check_positions(self) -> None:
        raise WasiError(Errno.BADF)

    def set_flags(self, _flags: int) -> None:
        raise WasiError(Errno.BADF)

    def sync(self, *, data_only: bool) -> None:  # noqa: ARG002
        raise WasiError(Errno.BADF)


class Directory(GuestDirectory):
    """A granted directory, or one below it."""

    def __init__(self, descriptor: int, share: Share, *, granted_as: str | None = None, depth: int = 0) -> None:
        """``depth``: how far it lies below the granted one."""
        self._descriptor = descriptor
        self.share = share
        self._depth = depth
        self.can_write = share.can_write
        if granted_as is None:
            self.rights = self.inheriting = Rights.ALL & ~(
                Rights.FD_SEEK | Rights.FD_WRITE | Rights.FILESTAT_SET_SIZE | Rights.PATH_FILESTAT_SET_SIZE
            )
        else:
            self.granted_as = granted_as.encode()
            self.inheriting = Rights.BELOW
        self._entries: list[DirectoryEntry] = []

    @property
    def descriptor(self) -> int:
        """The system's, open."""
        return self._descriptor

    def open(self, path: bytes, how: OpenMode) -> GuestFile:
        if how.directory and (how.create or how.exclusive or how.truncate):
            raise WasiError(Errno.INVAL)
        if how.changes:
            self.share.require_write()
        with self._reach(path, follow=how.follow or path.endswith(b"/")) as place:
            found = _find(place)
            if found is None:
                if not how.create or how.directory or place.directory:
                    raise WasiError(Errno.ISDIR if how.create and place.directory else Errno.NOENT)
                return self._create(place, how)
            if how.create and how.exclusive:
                raise WasiError(Errno.EXIST)
            if stat.S_ISLNK(found.st_mode):
                raise WasiError(Errno.LOOP)
            if stat.S_ISDIR(found.st_mode):
                return self._open_directory(place, how)
            if how.directory or place.directory:
                raise WasiError(Errno.NOTDIR)
            if not stat.S_ISREG(found.st_mode):
                raise WasiError(Errno.ACCES)
            return self._open_file(place, how, 0)

    def stat(self) -> Stat:
        return self.share.describe(os.fstat(self.descriptor))

    def set_times(self, times: TimesNs) -> None:
        self.share.require_write()
        with translated():
            os.utime(self.descriptor, ns=times.over(os.fstat(self.descriptor)))

    def stat_path(self, path: bytes, *, follow: bool) -> Stat:
        with self._reach(path, follow=follow or path.endswith(b"/")) as place:
            return self.share.describe(_look(place))

    def set_path_times(self, path: bytes, times: TimesNs, *, follow: bool) -> None:
        self.share.require_write()
        with self._reach(path, follow=follow or path.endswith(b"/")) as place:
            ns = times.over(_look(place))
            os.utime(place.name, ns=ns, dir_fd=place.descriptor, follow_symlinks=False)

    def make_directory(self, path: bytes) -> None:
        self.share.require_write()
        with self._reach(path) as place, self._counting():
            os.mkdir(place.name, 0o755, dir_fd=place.descriptor)

    def remove_directory(self, path: bytes) -> None:
        self.share.require_write()
        with self._reach(path) as place:
            os.rmdir(place.name, dir_fd=place.descriptor)
            self.share.drop_entry()

    def remove_file(self, path: bytes) -> None:
        self.share.require_write()
        with self._reach(path) as place:
            found = _look(place, unless=stat.S_ISDIR)
            os.unlink(place.name, dir_fd=place.descriptor)
            self.share.note_removed(found)

    def rename(self, path: bytes, target: GuestDirectory, to: bytes) -> None:
        other = self._require_same_share(target)
        with self._reach(path) as place, other._reach(to) as goal:  # noqa: SLF001
            found, replaced = _look(place), _find(goal)
            if goal.directory and not stat.S_ISDIR(found.st_mode):
                raise WasiError(Errno.NOTDIR)
            os.rename(place.name, goal.name, src_dir_fd=place.descriptor, dst_dir_fd=goal.descriptor)
            # Two names of one file: both stay.
            if replaced is not None and key_of(replaced) != key_of(found):
                if stat.S_ISDIR(replaced.st_mode):
                    self.share.drop_entry()
                else:
                    self.share.note_removed(replaced)

    def link(self, path: bytes, target: GuestDirectory, to: bytes) -> None:
        other = self._require_same_share(target)
        with self._reach(path) as place, other._reach(to) as goal:  # noqa: SLF001
            if stat.S_ISDIR(_look(place).st_mode):
                raise WasiError(Errno.PERM)
            if goal.directory and _find(goal) is None:
                raise WasiError(Errno.NOENT)
            with self._counting():
                os.link(
                    place.name, goal.name,
                    src_dir_fd=place.descriptor, dst_dir_fd=goal.descriptor, follow_symlinks=False,
                )  # fmt: skip

    def make_link(self, path: bytes, target: bytes) -> None:
        self.share.require_write()
        if not target or b"\0" in target:
            raise WasiError(Errno.NOENT if not target else Errno.INVAL)
        with self._reach(path) as place:
            if place.directory:
                raise WasiError(Errno.NOENT if _find(place) is None else Errno.EXIST)
            if leads_out(target, self._depth + place.depth):
                self._tell_escape(path, target)
                raise WasiError(Errno.PERM)
            with self._counting():
                os.symlink(target, place.name, dir_fd=place.descriptor)

    def read_link(self, path: bytes) -> bytes:
        with self._reach(path, follow=path.endswith(b"/")) as place:
            _look(place)
            target = os.readlink(place.name, dir_fd=place.descriptor)
        if target.startswith(b"/"):
            # Where things are on this node is nothing for guests.
            raise WasiError(Errno.PERM)
        return target

    def list_entries(self, *, anew: bool) -> list[DirectoryEntry]:
        if anew or not self._entries:
            with translated(), os.scandir(self.descriptor) as found:
                entries = [
                    DirectoryEntry(os.fsencode(each.name), each.inode(), _kind_of_entry(each))
                    for each, _ in zip(found, range(ENTRIES_MAX + 1), strict=False)
                ]
            if len(entries) > ENTRIES_MAX:
                self.share.say(f"a directory with more than {ENTRIES_MAX} entries cannot be listed")
                raise WasiError(Errno.NOTSUP)
            device, inode = key_of(os.fstat(self.descriptor))
            dots = [DirectoryEntry(name, inode, FileType.DIRECTORY) for name in (b".", b"..")]
            self._entries = [
                each._replace(inode=self.share.number((device, each.inode))) for each in (*dots, *sorted(entries))
            ]
        return self._entries

    def make_alias(self, granted_as: bytes) -> "Directory":
        """Return the same directory, under another name and with a descriptor of its own."""
        return Directory(os.dup(self.descriptor), self.share, granted_as=granted_as.decode())

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    @contextmanager
    def _reach(self, path: bytes, *, follow: bool = False) -> Iterator[PathEnd]:
        """Yield where a path ends. What goes wrong there is raised as WasiError; an escape is logged."""
        try:
            with translated(), resolve(self.descriptor, path, follow=follow) as place:
                yield place
        except LeadsOutError as error:
            if error.link is not None:
                self._tell_escape(error.link, None)
            raise

    def _tell_escape(self, link: bytes, target: bytes | None) -> None:
        where = "" if target is None else f" to {_show(target)}"
        self.share.say(f"the link {_show(link)}{where} leads out of {self.share.guest_path}: denied")

    @contextmanager
    def _counting(self) -> Iterator[None]:
        """Count an entry that is made in the block."""
        self.share.add_entry()
        try:
            yield
        except BaseException:
            self.share.drop_entry()
            raise

    def _require_same_share(self, target: GuestDirectory) -> "Directory":
        self.share.require_write()
        if not isinstance(target, Directory):
            raise WasiError(Errno.XDEV)
        target.share.require_write()
        if target.share is not self.share:
            raise WasiError(Errno.XDEV)
        return target

    def _create(self, place: PathEnd, how: OpenMode) -> GuestFile:
        with self._counting():
            return self._open_file(place, how, os.O_CREAT | os.O_EXCL)

    def _open_directory(self, place: PathEnd, how: OpenMode) -> GuestFile:
        if how.write or how.truncate:
            raise WasiError(Errno.ISDIR)
        depth = self._depth + place.depth + (place.name != b".")
        return Directory(os.open(place.name, FOLDER, dir_fd=place.descriptor), self.share, depth=depth)

    def _open_file(self, place: PathEnd, how: OpenMode, way: int) -> GuestFile:
        read, write = how.read or not how.write, how.write or how.truncate
        way |= _FILE | find_sync_flags(how.flags) | (os.O_RDWR if read and write else os.O_WRONLY if write else 0)
        descriptor = os.open(place.name, way, 0o644, dir_fd=place.descriptor)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise WasiError(Errno.ACCES)
            file = RegularFile(descriptor, self.share, how.flags & 0x1F, read=read, write=write)
        except BaseException:
            os.close(descriptor)
            raise
        try:
            # Not on opening: what takes its place before must be known to be a file.
            if how.truncate:
                file.resize(0)
        except BaseException:
            file.close()
            raise
        if not how.write:
            file.rights &= ~Rights.FD_WRITE
        return file


def open_granted(folders: Iterable[Folder], bounds: Bounds, log: Callable[[bytes], object]) -> list[Directory]:
    """Open directories that a call may use. One that is gone is left out, and the log says so."""
    return [
        Directory(each, Share(folder, bounds, log), granted_as=folder.guest_path)
        for folder, each in open_folders(folders, log)
    ]


def open_folders(folders: Iterable[Folder], log: Callable[[bytes], object]) -> list[tuple[Folder, int]]:
    """Do so, and return their descriptors, which the caller must close."""
    opened = []
    for folder in folders:
        try:
            if folder.private:
                Path(folder.path).mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(folder.path, FOLDER)
        except OSError as error:
            log(f"directory {folder.guest_path} denied: this node cannot open it: {error.strerror}\n".encode())
            continue
        opened.append((folder, descriptor))
    return opened


def _find(place: PathEnd) -> os.stat_result | None:
    """Return what is at a place, not following a link; None: nothing."""
    try:
        return os.stat(place.name, dir_fd=place.descriptor, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _look(place: PathEnd, unless: Callable[[int], bool] | None = None) -> os.stat_result:
    """Return what is there. Raises OSError, and WasiError: NOTDIR against a slash, ISDIR ``unless``."""
    found = os.stat(place.name, dir_fd=place.descriptor, follow_symlinks=False)
    if unless is not None and unless(found.st_mode):
        raise WasiError(Errno.ISDIR)
    if place.directory and not stat.S_ISDIR(found.st_mode):
        raise WasiError(Errno.NOTDIR)
    return found


def _kind_of_entry(entry: os.DirEntry[str]) -> FileType:
    """Return the kind of an entry, without a look at the file where that can be."""
    if entry.is_symlink():
        return FileType.LINK
    if entry.is_dir(follow_symlinks=False):
        return FileType.DIRECTORY
    if entry.is_file(follow_symlinks=False):
        return FileType.REGULAR
    try:
        return kind_of(entry.stat(follow_symlinks=False).st_mode)
    except OSError:
        return FileType.UNKNOWN


def _show(path: bytes) -> str:
    return repr(path[:PATH_BYTES].decode(errors="replace"))
