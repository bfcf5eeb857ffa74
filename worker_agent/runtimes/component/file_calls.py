"""``wasi:filesystem``: the directories that were granted, by the same rules as for WASI preview 1."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from worker_agent.runtimes.component.cli_calls import DATETIME
from worker_agent.runtimes.component.guest import ComponentGuest, FailureError, HostFunction, Interface
from worker_agent.runtimes.component.io_calls import (
    CHUNK_BYTES,
    ERROR,
    INPUT_STREAM,
    OUTPUT_STREAM,
    IoError,
    StreamError,
)
from worker_agent.runtimes.component.values import (
    BOOL,
    BYTES,
    STRING,
    U64,
    Borrow,
    Enum,
    Flags,
    ListOf,
    OptionOf,
    Own,
    Record,
    ResultOf,
    TupleOf,
    Type,
    Variant,
)
from worker_agent.runtimes.wasi.clocks import NS_PER_S
from worker_agent.runtimes.wasi.directories import Directory, OpenMode
from worker_agent.runtimes.wasi.errno import Errno, WasiError
from worker_agent.runtimes.wasi.files import FileType, GuestFile, Rights, Stat

DESCRIPTOR, ENTRIES = 18, 19
FILES_MAX = 128
"""So many files a guest may have open."""
_CODES = {
    Errno.ACCES: "access",
    Errno.BADF: "bad-descriptor",
    Errno.DQUOT: "quota",
    Errno.EXIST: "exist",
    Errno.INVAL: "invalid",
    Errno.ISDIR: "is-directory",
    Errno.LOOP: "loop",
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
    def directory(self) -> Directory:
        """Raises FailureError when it is none."""
        if not isinstance(self.file, Directory):
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
        with _streaming():
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
        with _streaming():
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

    def __init__(self, directory: Directory) -> None:
        with _answering():
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


def get_directories(guest: ComponentGuest) -> list[tuple[Descriptor, str]]:
    return [(Descriptor(each).share(), (each.granted_as or b"").decode()) for each in guest.open_directories()]


def read(guest: ComponentGuest, descriptor: Descriptor, size: int, offset: int) -> tuple[bytes, bool]:
    guest.stop.check()
    with _answering():
        data = read_at(descriptor, size, offset)
        return data, offset + len(data) >= descriptor.find_stat()[3]


def write(guest: ComponentGuest, descriptor: Descriptor, data: bytes, offset: int) -> int:
    guest.stop.check()
    with _answering():
        return descriptor.file.write(data, offset)


def stream_in(_guest: ComponentGuest, descriptor: Descriptor, offset: int) -> FileSource:
    if isinstance(descriptor.file, Directory):
        raise FailureError("is-directory")
    return FileSource(descriptor, offset)


def stream_out(_guest: ComponentGuest, descriptor: Descriptor, offset: int) -> FileSink:
    require_write(descriptor)
    return FileSink(descriptor, offset)


def stream_to_end(_guest: ComponentGuest, descriptor: Descriptor) -> FileSink:
    require_write(descriptor)
    return FileSink(descriptor, None)


def require_write(descriptor: Descriptor) -> None:
    if isinstance(descriptor.file, Directory):
        raise FailureError("is-directory")
    if not descriptor.file.rights & Rights.FD_WRITE:
        raise FailureError("bad-descriptor")


def get_flags(_guest: ComponentGuest, descriptor: Descriptor) -> frozenset[str]:
    writes = bool(descriptor.file.rights & Rights.FD_WRITE)
    if isinstance(descriptor.file, Directory):
        return frozenset({"read", "mutate-directory"} if descriptor.file.share.can_write else {"read"})
    return frozenset({"read", "write"} if writes else {"read"})


def set_size(_guest: ComponentGuest, descriptor: Descriptor, size: int) -> None:
    with _answering():
        descriptor.file.resize(size)


def get_stat(_guest: ComponentGuest, descriptor: Descriptor) -> tuple[Any, ...]:
    with _answering():
        return lay_out(descriptor.find_stat())


def get_stat_at(_guest: ComponentGuest, descriptor: Descriptor, how: frozenset[str], path: str) -> tuple[Any, ...]:
    with _answering():
        return lay_out(descriptor.directory.stat_path(path.encode(), follow="symlink-follow" in how))


def lay_out(found: Stat) -> tuple[Any, ...]:
    """Return what is known about a file as WASI 0.2 has it."""
    _, kind, links, size, *times_ns = found
    return name_type(kind), links, size, *(divmod(each, NS_PER_S) if each >= 0 else None for each in times_ns)


def open_at(
    guest: ComponentGuest, descriptor: Descriptor, how: frozenset[str], path: str, opening: frozenset[str],
    flags: frozenset[str],
) -> Descriptor:  # fmt: skip
    mode = OpenMode(
        read="read" in flags,
        write="write" in flags,
        create="create" in opening,
        exclusive="exclusive" in opening,
        truncate="truncate" in opening,
        directory="directory" in opening,
        follow="symlink-follow" in how,
        flags=0,
    )
    if guest.count(Descriptor) >= FILES_MAX:
        raise FailureError("quota")
    with _answering():
        return Descriptor(descriptor.directory.open(path.encode(), mode)).share()


def make_directory(_guest: ComponentGuest, descriptor: Descriptor, path: str) -> None:
    with _answering():
        descriptor.directory.make_directory(path.encode())


def remove_directory(_guest: ComponentGuest, descriptor: Descriptor, path: str) -> None:
    with _answering():
        descriptor.directory.remove_directory(path.encode())


def remove_file(_guest: ComponentGuest, descriptor: Descriptor, path: str) -> None:
    with _answering():
        descriptor.directory.remove_file(path.encode())


def rename(_guest: ComponentGuest, descriptor: Descriptor, path: str, target: Descriptor, to: str) -> None:
    with _answering():
        descriptor.directory.rename(path.encode(), target.directory, to.encode())


def is_same(_guest: ComponentGuest, one: Descriptor, other: Descriptor) -> bool:
    return one.find_stat()[:2] == other.find_stat()[:2]


def hash_metadata(_guest: ComponentGuest, descriptor: Descriptor) -> tuple[int, int]:
    with _answering():
        return _hash(descriptor.find_stat())


def hash_metadata_at(
    _guest: ComponentGuest, descriptor: Descriptor, how: frozenset[str], path: str
) -> tuple[int, int]:
    with _answering():
        return _hash(descriptor.directory.stat_path(path.encode(), follow="symlink-follow" in how))


def no_links(*_arguments: object) -> None:
    """Answer that links can neither be made nor read, and times not be set."""
    raise FailureError("unsupported")


def find_error_code(_guest: ComponentGuest, error: IoError) -> str | None:
    return error.code if isinstance(error.code, str) else None


def _hash(found: Stat) -> tuple[int, int]:
    digest = hashlib.sha256(repr(found[:2]).encode()).digest()
    return int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:16], "little")


def name_error(error: WasiError) -> str:
    """Return what WASI 0.2 calls an error."""
    return _CODES.get(error.errno, "io")


@contextmanager
def _answering() -> Iterator[None]:
    try:
        yield
    except WasiError as error:
        raise FailureError(name_error(error)) from None


@contextmanager
def _streaming() -> Iterator[None]:
    try:
        yield
    except WasiError as error:
        code = name_error(error)
        raise StreamError(IoError(code, code)) from None


_D, _TYPE, _CODE = Borrow(DESCRIPTOR), Enum(), Enum()
_STAT = Record(
    type=_TYPE, link_count=U64, size=U64, data_access_timestamp=OptionOf(DATETIME),
    data_modification_timestamp=OptionOf(DATETIME), status_change_timestamp=OptionOf(DATETIME),
)  # fmt: skip
_HASH = Record(lower=U64, upper=U64)
_TIME = Variant({"no-change": None, "now": None, "timestamp": DATETIME})


def _may_fail(act: Any, *parameters: Type, gives: Type | None = None) -> HostFunction:
    return HostFunction([_D, *parameters], ResultOf(gives, _CODE), act)


_sync = _may_fail(lambda *_: None)
_METHODS = {
    "read-via-stream": _may_fail(stream_in, U64, gives=Own(INPUT_STREAM)),
    "write-via-stream": _may_fail(stream_out, U64, gives=Own(OUTPUT_STREAM)),
    "append-via-stream": _may_fail(stream_to_end, gives=Own(OUTPUT_STREAM)),
    "advise": _may_fail(lambda *_: None, U64, U64, Enum()),
    "sync-data": _sync,
    "sync": _sync,
    "get-flags": _may_fail(get_flags, gives=Flags()),
    "get-type": _may_fail(lambda _guest, descriptor: name_type(descriptor.file.kind), gives=_TYPE),
    "set-size": _may_fail(set_size, U64),
    "set-times": _may_fail(no_links, _TIME, _TIME),
    "read": _may_fail(read, U64, U64, gives=TupleOf(BYTES, BOOL)),
    "write": _may_fail(write, BYTES, U64, gives=U64),
    "read-directory": _may_fail(lambda _guest, descriptor: EntryStream(descriptor.directory), gives=Own(ENTRIES)),
    "create-directory-at": _may_fail(make_directory, STRING),
    "stat": _may_fail(get_stat, gives=_STAT),
    "stat-at": _may_fail(get_stat_at, Flags(), STRING, gives=_STAT),
    "set-times-at": _may_fail(no_links, Flags(), STRING, _TIME, _TIME),
    "link-at": _may_fail(no_links, Flags(), STRING, _D, STRING),
    "open-at": _may_fail(open_at, Flags(), STRING, Flags(), Flags(), gives=Own(DESCRIPTOR)),
    "readlink-at": _may_fail(no_links, STRING, gives=STRING),
    "remove-directory-at": _may_fail(remove_directory, STRING),
    "rename-at": _may_fail(rename, STRING, _D, STRING),
    "symlink-at": _may_fail(no_links, STRING, STRING),
    "unlink-file-at": _may_fail(remove_file, STRING),
    "is-same-object": HostFunction([_D, _D], BOOL, is_same),
    "metadata-hash": _may_fail(hash_metadata, gives=_HASH),
    "metadata-hash-at": _may_fail(hash_metadata_at, Flags(), STRING, gives=_HASH),
}

INTERFACES = {
    "wasi:filesystem/types": Interface(
        {f"[method]descriptor.{name}": function for name, function in _METHODS.items()}
        | {
            "[method]directory-entry-stream.read-directory-entry": HostFunction(
                [Borrow(ENTRIES)],
                ResultOf(OptionOf(Record(type=_TYPE, name=STRING)), _CODE),
                lambda _guest, entries: entries.take(),
            ),
            "filesystem-error-code": HostFunction([Borrow(ERROR)], OptionOf(_CODE), find_error_code),
        },
        {"descriptor": DESCRIPTOR, "directory-entry-stream": ENTRIES},
    ),
    "wasi:filesystem/preopens": Interface(
        {"get-directories": HostFunction([], ListOf(TupleOf(Own(DESCRIPTOR), STRING)), get_directories)}
    ),
}
