"""Calls on directories: those that were granted, and what lies below them. Without a grant there are none."""

import struct

from piecework.worker_agent.runtimes.wasi.calls.file_calls import pack_stat, read_times
from piecework.worker_agent.runtimes.wasi.errno import Errno, WasiError
from piecework.worker_agent.runtimes.wasi.fs.directories import GuestDirectory
from piecework.worker_agent.runtimes.wasi.fs.files import OpenMode, Rights
from piecework.worker_agent.runtimes.wasi.fs.resolving import PATH_BYTES
from piecework.worker_agent.runtimes.wasi.guest import Calls, Guest

_CREATE, _DIRECTORY, _EXCLUSIVE, _TRUNCATE = 1, 2, 4, 8
"""``oflags`` in the witx files."""
_FOLLOW = 1
_ENTRY = struct.Struct("<QQIBxxx")
"""A ``dirent``: the next cookie, inode, length of the name, kind."""
_PRESTAT = struct.Struct("<B3xI")


def _directory(guest: Guest, fd: int) -> GuestDirectory:
    """Return an open directory. Raises WasiError (BADF, NOTDIR)."""
    found = guest.file(fd)
    if not isinstance(found, GuestDirectory):
        raise WasiError(Errno.NOTDIR)
    return found


def _path(guest: Guest, place: int, size: int) -> bytes:
    if not 0 <= size <= PATH_BYTES:
        raise WasiError(Errno.NAMETOOLONG)
    return guest.memory.read(place, size)


def _granted(guest: Guest, fd: int) -> bytes:
    """Return the name of a granted directory. Raises WasiError (BADF): a libc asks for 3, 4, … until then."""
    found = guest.find(fd)
    if not isinstance(found, GuestDirectory) or found.granted_as is None:
        raise WasiError(Errno.BADF)
    return found.granted_as


def fd_prestat_get(guest: Guest, fd: int, stat: int) -> Errno:
    guest.memory.write(stat, _PRESTAT.pack(0, len(_granted(guest, fd))))
    return Errno.SUCCESS


def fd_prestat_dir_name(guest: Guest, fd: int, place: int, size: int) -> Errno:
    name = _granted(guest, fd)
    if size & 0xFFFF_FFFF < len(name):
        raise WasiError(Errno.NAMETOOLONG)
    guest.memory.write(place, name)
    return Errno.SUCCESS


def fd_readdir(guest: Guest, fd: int, buffer: int, size: int, cookie: int, used: int) -> Errno:
    """Write entries until the buffer is full; the last may be cut off, as a sign that there are more."""
    entries = _directory(guest, fd).list_entries(anew=cookie == 0)
    room, data = size & 0xFFFF_FFFF, bytearray()
    for number, entry in enumerate(entries[max(0, cookie) :], max(0, cookie) + 1):
        data += _ENTRY.pack(number, entry.inode, len(entry.name), entry.kind) + entry.name
        if len(data) >= room:
            break
    guest.memory.write(buffer, bytes(data[:room]))
    guest.memory.write_u32(used, min(room, len(data)))
    return Errno.SUCCESS


def path_open(
    guest: Guest, fd: int, lookup: int, path: int, size: int, how: int, base: int, _inheriting: int, flags: int,
    opened: int,
) -> Errno:  # fmt: skip
    directory = _directory(guest, fd)
    mode = OpenMode(
        read=bool(base & Rights.FD_READ),
        write=bool(base & Rights.FD_WRITE),
        create=bool(how & _CREATE),
        exclusive=bool(how & _EXCLUSIVE),
        truncate=bool(how & _TRUNCATE),
        directory=bool(how & _DIRECTORY),
        follow=bool(lookup & _FOLLOW),
        flags=flags,
    )
    name, number = _path(guest, path, size), guest.free_number()
    guest.memory.write_u32(opened, number)
    guest.files[number] = directory.open(name, mode)
    return Errno.SUCCESS


def path_filestat_get(guest: Guest, fd: int, lookup: int, path: int, size: int, stat: int) -> Errno:
    found = _directory(guest, fd).stat_path(_path(guest, path, size), follow=bool(lookup & _FOLLOW))
    guest.memory.write(stat, pack_stat(found))
    return Errno.SUCCESS


def path_create_directory(guest: Guest, fd: int, path: int, size: int) -> Errno:
    _directory(guest, fd).make_directory(_path(guest, path, size))
    return Errno.SUCCESS


def path_remove_directory(guest: Guest, fd: int, path: int, size: int) -> Errno:
    _directory(guest, fd).remove_directory(_path(guest, path, size))
    return Errno.SUCCESS


def path_unlink_file(guest: Guest, fd: int, path: int, size: int) -> Errno:
    _directory(guest, fd).remove_file(_path(guest, path, size))
    return Errno.SUCCESS


def path_rename(guest: Guest, fd: int, path: int, size: int, new_fd: int, new: int, new_size: int) -> Errno:
    source, target = _directory(guest, fd), _directory(guest, new_fd)
    source.rename(_path(guest, path, size), target, _path(guest, new, new_size))
    return Errno.SUCCESS


def path_link(
    guest: Guest, fd: int, lookup: int, path: int, size: int, new_fd: int, new: int, new_size: int
) -> Errno:
    """Give a file a second name. As on Linux, the link itself gets it, should it be one."""
    source, target = _directory(guest, fd), _directory(guest, new_fd)
    if lookup & _FOLLOW:
        raise WasiError(Errno.INVAL)
    source.link(_path(guest, path, size), target, _path(guest, new, new_size))
    return Errno.SUCCESS


def path_symlink(guest: Guest, target: int, target_size: int, fd: int, path: int, size: int) -> Errno:
    _directory(guest, fd).make_link(_path(guest, path, size), _path(guest, target, target_size))
    return Errno.SUCCESS


def path_readlink(guest: Guest, fd: int, path: int, size: int, buffer: int, room: int, used: int) -> Errno:
    """Write as much of a link's target as there is room for."""
    target = _directory(guest, fd).read_link(_path(guest, path, size))[: room & 0xFFFF_FFFF]
    guest.memory.write(buffer, target)
    guest.memory.write_u32(used, len(target))
    return Errno.SUCCESS


def path_filestat_set_times(
    guest: Guest, fd: int, lookup: int, path: int, size: int, access: int, modification: int, flags: int
) -> Errno:
    directory, times = _directory(guest, fd), read_times(guest.clock, access, modification, flags)
    directory.set_path_times(_path(guest, path, size), times, follow=bool(lookup & _FOLLOW))
    return Errno.SUCCESS


CALLS: Calls = {
    "fd_prestat_dir_name": ("iii", fd_prestat_dir_name),
    "fd_prestat_get": ("ii", fd_prestat_get),
    "fd_readdir": ("iiiIi", fd_readdir),
    "path_create_directory": ("iii", path_create_directory),
    "path_filestat_get": ("iiiii", path_filestat_get),
    "path_filestat_set_times": ("iiiiIIi", path_filestat_set_times),
    "path_link": ("iiiiiii", path_link),
    "path_open": ("iiiiiIIii", path_open),
    "path_readlink": ("iiiiii", path_readlink),
    "path_remove_directory": ("iii", path_remove_directory),
    "path_rename": ("iiiiii", path_rename),
    "path_symlink": ("iiiii", path_symlink),
    "path_unlink_file": ("iii", path_unlink_file),
}
