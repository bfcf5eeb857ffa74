"""What a component has open of ``wasi:filesystem``: files and directories, streams in and out of them, entries."""

from collections.abc import Iterator
from contextlib import contextmanager

from piecework.worker_agent.runtimes.component.guest import FailureError
from piecework.worker_agent.runtimes.component.io_calls import CHUNK_BYTES, IoError, StreamError
from piecework.worker_agent.runtimes.wasi.errno import Errno, WasiError
from piecework.worker_agent.runtimes.wasi.fs.directories import GuestDirectory
from piecework.worker_agent.runtimes.wasi.fs.files import FileType, GuestFile, Rights, Stat

_CODES = {
    Errno.ACCES: "access",
    Errno.BADF: "bad-descriptor",
    Errno.DQUOT: "quota",
    Errno.EXIST: "exist",
    Errno.INVAL: "invalid",
    Errno.ISDIR: "is-directory",
    Errno.LOOP: "loop",
    Errno.MLINK: "too-many-links",
    Errno.ILSEQ: "illegal-byte-sequence",
    Errno.MFILE: "quota",
    Errno.NAMETOOLONG: "name-too-long",
    Errno.NOENT: "no-entry",
    Errno.NOSPC: "insufficient-space",
    Errno.NOTDIR: "not-directory",
    Errno.NOTEMPTY: "not-empty",
    Errno.NOTSUP: "unsupported",
    Errno.PERM: "not-permitted",
    Errno.ROFS: "read-only",
    Errno.SPIPE: "invalid-seek",
    Errno.XDEV: "cross-device",
}
"""What WASI 0.2 calls the errors of preview 1; all others are ``io``."""
_TYPES = {
    FileType.DIRECTORY: "directory",
    FileType.REGULAR: "regular-file",
    FileType.LINK: "symbolic-link",
}


class Descriptor:
    """A file or directory that is open as long as anything uses it: it may have streams."""

    def __init__(self, file: GuestFile) -> None:
        self.file = file
        self._users = 0

    def share(self) -> "Descriptor":
        """Return it for one more user, who must close it."""
        self._users += 1
        return self

    def close(self) -> None:
        """Let go of it; the last one closes the file."""
        self._users -= 1
        if self._users <= 0:
            self.file.close()

    @property
    def directory(self) -> GuestDirectory:
        """Raises FailureError when it is none."""
        if not isinstance(self.file, GuestDirectory):
            raise FailureError("not-directory")
        return self.file

    def find_stat(self) -> Stat:
        found = self.file.stat()
        assert found is not None
        return found


class FileSource:
    """A stream out of a file."""

    def __init__(self, descriptor: Descriptor, offset: int) -> None:
        self._descriptor = descriptor.share()
        self._offset = offset

    def read(self, size: int) -> bytes:
        """See ``InputBytes``."""
        with streaming():
            data = read_at(self._descriptor, size, self._offset)
        if not data:
            raise StreamError
        self._offset += len(data)
        return data

    def close(self) -> None:
        self._descriptor.close()


class FileSink:
    """A stream into a file."""

    def __init__(self, descriptor: Descriptor, offset: int | None) -> None:
        """``offset`` None: always at its end."""
        self._descriptor = descriptor.share()
        self._offset = offset

    def write(self, data: bytes) -> None:
        """See ``OutputBytes``."""
        with streaming():
            left = memoryview(data)
            while left:
                offset = self._descriptor.find_stat()[3] if self._offset is None else self._offset
                done = self._descriptor.file.write(left, offset)
                left = left[done:]
                if self._offset is not None:
                    self._offset += done

    def close(self) -> None:
        self._descriptor.close()


class EntryStream:
    """What is in a directory, one after the other."""

    def __init__(self, directory: GuestDirectory) -> None:
        with answering():
            found = [each for each in directory.list_entries(anew=True) if each.name not in {b".", b".."}]
        self._entries = iter(found)

    def take(self) -> tuple[str, str] | None:
        """Return the next one's type and name; None: there is none. Raises FailureError."""
        entry = next(self._entries, None)
        if entry is None:
            return None
        try:
            return name_type(entry.kind), entry.name.decode()
        except UnicodeDecodeError:
            raise FailureError("illegal-byte-sequence") from None


def name_type(kind: int) -> str:
    return _TYPES.get(FileType(kind), "unknown")


def read_at(descriptor: Descriptor, size: int, offset: int) -> bytes:
    """Return what a file has at an offset. Raises WasiError."""
    buffer = bytearray(min(size, CHUNK_BYTES))
    return bytes(buffer[: descriptor.file.read_into(memoryview(buffer), offset)])


def require_write(descriptor: Descriptor) -> None:
    """Raise FailureError unless it is a file that may be written."""
    if isinstance(descriptor.file, GuestDirectory):
        raise FailureError("is-directory")
    if not descriptor.file.rights & Rights.FD_WRITE:
        raise FailureError("bad-descriptor")


def name_error(error: WasiError) -> str:
    """Return what WASI 0.2 calls an error."""
    return _CODES.get(error.errno, "io")


@contextmanager
def answering() -> Iterator[None]:
    """Raise FailureError for what a file answers in the block."""
    try:
        yield
    except WasiError as error:
        raise FailureError(name_error(error)) from None


@contextmanager
def streaming() -> Iterator[None]:
    """Raise StreamError, likewise."""
    try:
        yield
    except WasiError as error:
        code = name_error(error)
        raise StreamError(IoError(code, code)) from None
