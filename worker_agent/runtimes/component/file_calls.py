"""``wasi:filesystem``: the directories that were granted, by the same rules as for WASI preview 1."""

import hashlib
from typing import Any

from piecework.worker_agent.runtimes.component.cli_calls import DATETIME
from piecework.worker_agent.runtimes.component.descriptors import (
    Descriptor,
    EntryStream,
    FileSink,
    FileSource,
    answering,
    name_type,
    read_at,
    require_write,
)
from piecework.worker_agent.runtimes.component.guest import ComponentGuest, FailureError, HostFunction, Interface
from piecework.worker_agent.runtimes.component.io_calls import ERROR, INPUT_STREAM, OUTPUT_STREAM, IoError
from piecework.worker_agent.runtimes.component.values import (
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
from piecework.worker_agent.runtimes.wasi.clocks import NS_PER_S, find_now_ns
from piecework.worker_agent.runtimes.wasi.errno import Errno, WasiError
from piecework.worker_agent.runtimes.wasi.fs.directories import GuestDirectory
from piecework.worker_agent.runtimes.wasi.fs.files import OFFSET_MAX, OpenMode, Rights, Stat, TimesNs

DESCRIPTOR, ENTRIES = 18, 19
FILES_MAX = 128
"""So many files a guest may have open."""
_Time = tuple[str, tuple[int, int] | None]
"""What becomes of a time of a file: ``no-change``, ``now``, or ``timestamp`` with seconds and nanoseconds."""


def get_directories(guest: ComponentGuest) -> list[tuple[Descriptor, str]]:
    return [(Descriptor(each).share(), (each.granted_as or b"").decode()) for each in guest.open_directories()]


def read(guest: ComponentGuest, descriptor: Descriptor, size: int, offset: int) -> tuple[bytes, bool]:
    guest.stop.check()
    with answering():
        data = read_at(descriptor, size, offset)
        return data, offset + len(data) >= descriptor.find_stat()[3]


def write(guest: ComponentGuest, descriptor: Descriptor, data: bytes, offset: int) -> int:
    guest.stop.check()
    with answering():
        return descriptor.file.write(data, offset)


def stream_in(_guest: ComponentGuest, descriptor: Descriptor, offset: int) -> FileSource:
    if isinstance(descriptor.file, GuestDirectory):
        raise FailureError("is-directory")
    return FileSource(descriptor, offset)


def stream_out(_guest: ComponentGuest, descriptor: Descriptor, offset: int) -> FileSink:
    require_write(descriptor)
    return FileSink(descriptor, offset)


def stream_to_end(_guest: ComponentGuest, descriptor: Descriptor) -> FileSink:
    require_write(descriptor)
    return FileSink(descriptor, None)


def get_flags(_guest: ComponentGuest, descriptor: Descriptor) -> frozenset[str]:
    writes = bool(descriptor.file.rights & Rights.FD_WRITE)
    if isinstance(descriptor.file, GuestDirectory):
        return frozenset({"read", "mutate-directory"} if descriptor.file.can_write else {"read"})
    return frozenset({"read", "write"} if writes else {"read"})


def set_size(_guest: ComponentGuest, descriptor: Descriptor, size: int) -> None:
    with answering():
        descriptor.file.resize(size)


def get_stat(_guest: ComponentGuest, descriptor: Descriptor) -> tuple[Any, ...]:
    with answering():
        return lay_out(descriptor.find_stat())


def get_stat_at(_guest: ComponentGuest, descriptor: Descriptor, how: frozenset[str], path: str) -> tuple[Any, ...]:
    with answering():
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
    with answering():
        return Descriptor(descriptor.directory.open(path.encode(), mode)).share()


def make_directory(_guest: ComponentGuest, descriptor: Descriptor, path: str) -> None:
    with answering():
        descriptor.directory.make_directory(path.encode())


def remove_directory(_guest: ComponentGuest, descriptor: Descriptor, path: str) -> None:
    with answering():
        descriptor.directory.remove_directory(path.encode())


def remove_file(_guest: ComponentGuest, descriptor: Descriptor, path: str) -> None:
    with answering():
        descriptor.directory.remove_file(path.encode())


def rename(_guest: ComponentGuest, descriptor: Descriptor, path: str, target: Descriptor, to: str) -> None:
    with answering():
        descriptor.directory.rename(path.encode(), target.directory, to.encode())


def is_same(_guest: ComponentGuest, one: Descriptor, other: Descriptor) -> bool:
    return one.find_stat()[:2] == other.find_stat()[:2]


def hash_metadata(_guest: ComponentGuest, descriptor: Descriptor) -> tuple[int, int]:
    with answering():
        return _hash(descriptor.find_stat())


def hash_metadata_at(
    _guest: ComponentGuest, descriptor: Descriptor, how: frozenset[str], path: str
) -> tuple[int, int]:
    with answering():
        return _hash(descriptor.directory.stat_path(path.encode(), follow="symlink-follow" in how))


def link(
    _guest: ComponentGuest, descriptor: Descriptor, how: frozenset[str], path: str, target: Descriptor, to: str
) -> None:
    if "symlink-follow" in how:
        raise FailureError("invalid")
    with answering():
        descriptor.directory.link(path.encode(), target.directory, to.encode())


def make_link(_guest: ComponentGuest, descriptor: Descriptor, target: str, path: str) -> None:
    with answering():
        descriptor.directory.make_link(path.encode(), target.encode())


def read_link(_guest: ComponentGuest, descriptor: Descriptor, path: str) -> str:
    with answering():
        target = descriptor.directory.read_link(path.encode())
    try:
        return target.decode()
    except UnicodeDecodeError:
        raise FailureError("illegal-byte-sequence") from None


def set_times(guest: ComponentGuest, descriptor: Descriptor, access: _Time, modification: _Time) -> None:
    with answering():
        descriptor.file.set_times(_read_times(guest, access, modification))


def set_times_at(
    guest: ComponentGuest, descriptor: Descriptor, how: frozenset[str], path: str, access: _Time,
    modification: _Time,
) -> None:  # fmt: skip
    with answering():
        times = _read_times(guest, access, modification)
        descriptor.directory.set_path_times(path.encode(), times, follow="symlink-follow" in how)


def _read_times(guest: ComponentGuest, access: _Time, modification: _Time) -> TimesNs:
    """Return the times that a guest wants a file to have. Raises WasiError (INVAL)."""
    now_ns = find_now_ns(guest.clock) if "now" in {access[0], modification[0]} else 0
    return TimesNs(_read_time(access, now_ns), _read_time(modification, now_ns))


def _read_time(wanted: _Time, now_ns: int) -> int | None:
    name, given = wanted
    if given is None:
        return now_ns if name == "now" else None
    seconds, ns = given
    if ns >= NS_PER_S or seconds * NS_PER_S + ns > OFFSET_MAX:
        raise WasiError(Errno.INVAL)
    return seconds * NS_PER_S + ns


def find_error_code(_guest: ComponentGuest, error: IoError) -> str | None:
    return error.code if isinstance(error.code, str) else None


def _hash(found: Stat) -> tuple[int, int]:
    digest = hashlib.sha256(repr(found[:2]).encode()).digest()
    return int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:16], "little")


_D, _TYPE, _CODE = Borrow(DESCRIPTOR), Enum(), Enum()
_STAT = Record(
    type=_TYPE, link_count=U64, size=U64, data_access_timestamp=OptionOf(DATETIME),
    data_modification_timestamp=OptionOf(DATETIME), status_change_timestamp=OptionOf(DATETIME),
)  # fmt: skip
_HASH = Record(lower=U64, upper=U64)
_NEW_TIME = Variant({"no-change": None, "now": None, "timestamp": DATETIME})


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
    "set-times": _may_fail(set_times, _NEW_TIME, _NEW_TIME),
    "read": _may_fail(read, U64, U64, gives=TupleOf(BYTES, BOOL)),
    "write": _may_fail(write, BYTES, U64, gives=U64),
    "read-directory": _may_fail(lambda _guest, descriptor: EntryStream(descriptor.directory), gives=Own(ENTRIES)),
    "create-directory-at": _may_fail(make_directory, STRING),
    "stat": _may_fail(get_stat, gives=_STAT),
    "stat-at": _may_fail(get_stat_at, Flags(), STRING, gives=_STAT),
    "set-times-at": _may_fail(set_times_at, Flags(), STRING, _NEW_TIME, _NEW_TIME),
    "link-at": _may_fail(link, Flags(), STRING, _D, STRING),
    "open-at": _may_fail(open_at, Flags(), STRING, Flags(), Flags(), gives=Own(DESCRIPTOR)),
    "readlink-at": _may_fail(read_link, STRING, gives=STRING),
    "remove-directory-at": _may_fail(remove_directory, STRING),
    "rename-at": _may_fail(rename, STRING, _D, STRING),
    "symlink-at": _may_fail(make_link, STRING, STRING),
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
