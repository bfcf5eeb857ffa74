"""Directories of the node in a recorded run: each answer about them passes through the journal.

A replay has no such directory. What a job has for itself is not written down: it has the same files again.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from piecework.worker_agent.runtimes.base import Call
from piecework.worker_agent.runtimes.journal import Journal
from piecework.worker_agent.runtimes.streams import Bytes
from piecework.worker_agent.runtimes.verdict import GuestFailedError
from piecework.worker_agent.runtimes.wasi.errno import Errno, WasiError, translate
from piecework.worker_agent.runtimes.wasi.fs.directories import Directory, GuestDirectory, open_granted
from piecework.worker_agent.runtimes.wasi.fs.files import (
    DirectoryEntry,
    FileType,
    GuestFile,
    OpenMode,
    Stat,
    TimesNs,
)

_encode, _decode = msgspec.msgpack.encode, msgspec.msgpack.decode


class _Opened(msgspec.Struct, array_like=True, frozen=True):
    """What a guest is told of something that it opened, or that was granted."""

    number: int
    kind: int
    rights: int
    inheriting: int
    flags: int = 0
    granted_as: bytes | None = None
    can_write: bool = False


class _Told(msgspec.Struct, array_like=True, frozen=True):
    """What came of one operation."""

    errno: int
    value: Any
    said: bytes
    """What was logged about it."""


class _NodeFiles:
    """All that a guest has open below the node's directories: by number, so that a replay needs nothing else."""

    def __init__(self, call: Call, journal: Journal) -> None:
        self._call = call
        self._journal = journal
        self._real: list[GuestFile] = []
        """What is open; in a replay, nothing."""
        self._said = bytearray()
        """What is logged while something is done."""

    def grant(self) -> list["JournaledDirectory"]:
        """Open the directories that were granted."""
        access = self._call.access

        def open_all() -> list[_Opened]:
            own = access.find_job_folders()
            folders = [each for each in access.find_folders() if each not in own]
            return [self._keep(each) for each in open_granted(folders, self._call.bounds, self._said.extend)]

        try:
            found = self._pass("folders", [], open_all, list[_Opened])
        except WasiError as error:
            raise GuestFailedError(f"the journal is damaged where it tells of folders: {error}") from None
        return [JournaledDirectory(self, each) for each in found]

    def ask(self, number: int, what: str, arguments: list[Any], do: Callable[[Any], Any], kind: Any = None) -> Any:
        """Do something with an open file, and return what comes of it. Raises WasiError."""
        return self._pass("file", [number, what, *arguments], lambda: do(self._real[number]), kind)

    def open(self, number: int, path: bytes, how: OpenMode) -> GuestFile:
        """Open what a path leads to."""
        opened = self.ask(number, "open", [path, *how], lambda it: self._keep(it.open(path, how)), _Opened)
        return (
            JournaledDirectory(self, opened) if opened.kind == FileType.DIRECTORY else JournaledFile(self, opened)
        )

    def alias(self, number: int, granted_as: bytes) -> "JournaledDirectory":
        """Open a directory that was granted under another name, too."""
        asked = [granted_as]
        opened = self.ask(number, "alias", asked, lambda it: self._keep(it.make_alias(granted_as)), _Opened)
        return JournaledDirectory(self, opened)

    def close(self, number: int) -> None:
        """Close what is open. The world does not hear of it, so it is not written down."""
        if number < len(self._real):
            self._real[number].close()

    def find(self, number: int) -> GuestFile:
        """Return what is open, in a recorded run."""
        return self._real[number]

    def _keep(self, file: GuestFile) -> _Opened:
        self._real.append(file)
        can_write = isinstance(file, GuestDirectory) and file.can_write
        number, granted_as = len(self._real) - 1, file.granted_as
        return _Opened(number, file.kind, file.rights, file.inheriting, file.flags, granted_as, can_write)

    def _pass(self, kind: str, asked: list[Any], do: Callable[[], Any], wanted: Any) -> Any:
        told = self._journal.through(kind, _encode(asked), lambda: _encode(self._do(do)))
        try:
            answer = _decode(told, type=_Told)
            value = msgspec.convert(answer.value, wanted) if wanted is not None and not answer.errno else None
            errno = Errno(answer.errno)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise GuestFailedError(f"the journal is damaged where it tells of files: {error}") from None
        if answer.said:
            self._call.log.write(answer.said)
        if errno:
            raise WasiError(errno)
        return value

    def _do(self, do: Callable[[], Any]) -> _Told:
        """Do something, and return what comes of it, with what is logged meanwhile."""
        self._said.clear()
        errno, value = Errno.SUCCESS, None
        try:
            value = do()
        except WasiError as error:
            errno = error.errno
        except OSError as error:
            errno = translate(error).errno
        return _Told(errno, value, bytes(self._said))


class JournaledFile(GuestFile):
    """A file of the node."""

    kind = FileType.REGULAR

    def __init__(self, files: _NodeFiles, opened: _Opened) -> None:
        self._files, self._number = files, opened.number
        self.rights, self.inheriting, self.flags = opened.rights, opened.inheriting, opened.flags
        self._open = True

    def read_into(self, buffer: memoryview, offset: int | None = None) -> int:
        size = len(buffer)

        def read(file: GuestFile) -> bytes:
            data = bytearray(size)
            return bytes(data[: file.read_into(memoryview(data), offset)])

        found: bytes = self._ask("read", [size, offset], read, bytes)[:size]
        buffer[: len(found)] = found
        return len(found)

    def write(self, data: Bytes, offset: int | None = None) -> int:
        copied = bytes(data)
        done: int = self._ask("write", [copied, offset], lambda file: file.write(copied, offset), int)
        return done

    def seek(self, offset: int, whence: int) -> int:
        place: int = self._ask("seek", [offset, whence], lambda file: file.seek(offset, whence), int)
        return place

    def resize(self, size: int) -> None:
        self._ask("resize", [size], lambda file: file.resize(size))

    def grow(self, size: int) -> None:
        self._ask("grow", [size], lambda file: file.grow(size))

    def check_positions(self) -> None:
        """It has positions."""

    def set_flags(self, flags: int) -> None:
        self._ask("flags", [flags], lambda file: file.set_flags(flags))
        self.flags = flags

    def set_times(self, times: TimesNs) -> None:
        self._ask("times", [*times], lambda file: file.set_times(times))

    def sync(self, *, data_only: bool) -> None:
        self._ask("sync", [data_only], lambda file: file.sync(data_only=data_only))

    def stat(self) -> Stat:
        found: Stat = self._ask("stat", [], lambda file: file.stat(), Stat)
        return found

    def close(self) -> None:
        if self._open:
            self._open = False
            self._files.close(self._number)

    def _ask(self, what: str, arguments: list[Any], do: Callable[[Any], Any], wanted: Any = None) -> Any:
        return self._files.ask(self._number, what, arguments, do, wanted)


class JournaledDirectory(GuestDirectory):
    """A directory of the node."""

    def __init__(self, files: _NodeFiles, opened: _Opened) -> None:
        self._files, self.number = files, opened.number
        self.rights, self.inheriting = opened.rights, opened.inheriting
        self.granted_as, self.can_write = opened.granted_as, opened.can_write
        self._entries: list[DirectoryEntry] | None = None
        self._open = True

    def open(self, path: bytes, how: OpenMode) -> GuestFile:
        return self._files.open(self.number, path, how)

    def make_alias(self, granted_as: bytes) -> "JournaledDirectory":
        """Return the same directory under another name."""
        return self._files.alias(self.number, granted_as)

    def stat(self) -> Stat:
        found: Stat = self._ask("stat", [], lambda it: it.stat(), Stat)
        return found

    def set_times(self, times: TimesNs) -> None:
        self._ask("times", [*times], lambda it: it.set_times(times))

    def stat_path(self, path: bytes, *, follow: bool) -> Stat:
        found: Stat = self._ask("stat", [path, follow], lambda it: it.stat_path(path, follow=follow), Stat)
        return found

    def set_path_times(self, path: bytes, times: TimesNs, *, follow: bool) -> None:
        asked = [path, *times, follow]
        self._ask("times", asked, lambda it: it.set_path_times(path, times, follow=follow))

    def list_entries(self, *, anew: bool) -> list[DirectoryEntry]:
        if anew or self._entries is None:
            self._entries = self._ask("list", [], lambda it: it.list_entries(anew=True), list[DirectoryEntry])
        assert self._entries is not None
        return self._entries

    def make_directory(self, path: bytes) -> None:
        self._ask("make directory", [path], lambda it: it.make_directory(path))

    def remove_directory(self, path: bytes) -> None:
        self._ask("remove directory", [path], lambda it: it.remove_directory(path))

    def remove_file(self, path: bytes) -> None:
        self._ask("remove file", [path], lambda it: it.remove_file(path))

    def rename(self, path: bytes, target: GuestDirectory, to: bytes) -> None:
        number = _find_number(target)
        self._ask("rename", [path, number, to], lambda it: it.rename(path, self._files.find(number), to))

    def link(self, path: bytes, target: GuestDirectory, to: bytes) -> None:
        number = _find_number(target)
        self._ask("link", [path, number, to], lambda it: it.link(path, self._files.find(number), to))

    def make_link(self, path: bytes, target: bytes) -> None:
        self._ask("make link", [path, target], lambda it: it.make_link(path, target))

    def read_link(self, path: bytes) -> bytes:
        target: bytes = self._ask("read link", [path], lambda it: it.read_link(path), bytes)
        return target

    def close(self) -> None:
        if self._open:
            self._open = False
            self._files.close(self.number)

    def _ask(self, what: str, arguments: list[Any], do: Callable[[Any], Any], wanted: Any = None) -> Any:
        return self._files.ask(self.number, what, arguments, do, wanted)


Granted = Directory | JournaledDirectory


def open_directories(call: Call) -> list[Granted]:
    """Open the directories that a call may use; whoever takes them closes them."""
    access, bounds, log = call.access, call.bounds, call.log.write
    if call.journal is None:
        return [*open_granted(access.find_folders(), bounds, log)]
    own = open_granted(access.find_job_folders(), bounds, log)
    return [*own, *_NodeFiles(call, call.journal).grant()]


def _find_number(target: GuestDirectory) -> int:
    """Return the number of a directory of the node. Raises WasiError (XDEV) for another one."""
    if not isinstance(target, JournaledDirectory):
        raise WasiError(Errno.XDEV)
    return target.number
