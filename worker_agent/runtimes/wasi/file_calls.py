"""Calls on file descriptors. The three that exist are streams: no positions, no directories, no sockets."""

import struct

from worker_agent.runtimes.wasi.errno import Errno
from worker_agent.runtimes.wasi.guest import Calls, Guest, HostCall

FILE_TYPE_UNKNOWN = 0
"""Neither a file nor a terminal: a libc then writes whole buffers, not lines."""


MAX_TRANSFER_BYTES = 0x7FFF_FFFF
"""One read or write moves at most this much, as on Linux: buffers may overlap and add up to more than there is."""


def fd_read(guest: Guest, fd: int, vectors: int, count: int, done: int) -> Errno:
    """Fill the guest's buffers as far as the input goes."""
    file, memory, total = guest.file(fd), guest.memory, 0
    for piece in memory.read_vectors(vectors, count):
        guest.stop.check()
        if total + len(piece) > MAX_TRANSFER_BYTES:
            break
        size = file.read_into(piece)
        total += size
        if size < len(piece):
            break
    memory.write_u32(done, total)
    return Errno.SUCCESS


def fd_write(guest: Guest, fd: int, vectors: int, count: int, done: int) -> Errno:
    """Take all that the guest's buffers hold; what is too much ends the guest."""
    file, memory, total = guest.file(fd), guest.memory, 0
    for piece in memory.read_vectors(vectors, count):
        guest.stop.check()
        if total + len(piece) > MAX_TRANSFER_BYTES:
            break
        file.write(piece)
        total += len(piece)
    memory.write_u32(done, total)
    return Errno.SUCCESS


def fd_close(guest: Guest, fd: int) -> Errno:
    guest.file(fd)
    del guest.files[fd]
    return Errno.SUCCESS


def fd_renumber(guest: Guest, fd: int, to: int) -> Errno:
    file = guest.file(fd)
    guest.file(to)
    del guest.files[fd]
    guest.files[to] = file
    return Errno.SUCCESS


def fd_fdstat_get(guest: Guest, fd: int, stat: int) -> Errno:
    file = guest.file(fd)
    guest.memory.write(stat, struct.pack("<BxHxxxxQQ", FILE_TYPE_UNKNOWN, file.flags, file.rights, 0))
    return Errno.SUCCESS


def fd_fdstat_set_flags(guest: Guest, fd: int, flags: int) -> Errno:
    """Note the flags. They change nothing: these streams always append and never block."""
    guest.file(fd).flags = flags & 0x1F
    return Errno.SUCCESS


def fd_filestat_get(guest: Guest, fd: int, stat: int) -> Errno:
    guest.file(fd)
    guest.memory.write(stat, struct.pack("<QQBxxxxxxxQQQQQ", 0, fd, FILE_TYPE_UNKNOWN, 1, 0, 0, 0, 0))
    return Errno.SUCCESS


def fd_prestat(_guest: Guest, _fd: int, *_place: int) -> Errno:
    """Answer that no directory was granted: a libc asks for 3, 4, … until it hears this."""
    return Errno.BADF


def _answer(errno: Errno) -> HostCall:
    """Make a call that answers the same on every open descriptor, and BADF on all others."""

    def answer(guest: Guest, fd: int, *_rest: int) -> Errno:
        guest.file(fd)
        return errno

    return answer


sync = _answer(Errno.SUCCESS)
not_seekable = _answer(Errno.SPIPE)
not_a_regular_file = _answer(Errno.INVAL)
not_supported = _answer(Errno.NOTSUP)
not_a_directory = _answer(Errno.NOTDIR)
not_a_socket = _answer(Errno.NOTSOCK)


def path_symlink(guest: Guest, _path: int, _size: int, fd: int, *rest: int) -> Errno | None:
    return not_a_directory(guest, fd, *rest)


CALLS: Calls = {
    "fd_advise": ("iIIi", not_seekable),
    "fd_allocate": ("iII", not_seekable),
    "fd_close": ("i", fd_close),
    "fd_datasync": ("i", sync),
    "fd_fdstat_get": ("ii", fd_fdstat_get),
    "fd_fdstat_set_flags": ("ii", fd_fdstat_set_flags),
    "fd_fdstat_set_rights": ("iII", not_supported),
    "fd_filestat_get": ("ii", fd_filestat_get),
    "fd_filestat_set_size": ("iI", not_a_regular_file),
    "fd_filestat_set_times": ("iIIi", not_supported),
    "fd_pread": ("iiiIi", not_seekable),
    "fd_prestat_dir_name": ("iii", fd_prestat),
    "fd_prestat_get": ("ii", fd_prestat),
    "fd_pwrite": ("iiiIi", not_seekable),
    "fd_read": ("iiii", fd_read),
    "fd_readdir": ("iiiIi", not_a_directory),
    "fd_renumber": ("ii", fd_renumber),
    "fd_seek": ("iIii", not_seekable),
    "fd_sync": ("i", sync),
    "fd_tell": ("ii", not_seekable),
    "fd_write": ("iiii", fd_write),
    "path_create_directory": ("iii", not_a_directory),
    "path_filestat_get": ("iiiii", not_a_directory),
    "path_filestat_set_times": ("iiiiIIi", not_a_directory),
    "path_link": ("iiiiiii", not_a_directory),
    "path_open": ("iiiiiIIii", not_a_directory),
    "path_readlink": ("iiiiii", not_a_directory),
    "path_remove_directory": ("iii", not_a_directory),
    "path_rename": ("iiiiii", not_a_directory),
    "path_symlink": ("iiiii", path_symlink),
    "path_unlink_file": ("iii", not_a_directory),
    "sock_accept": ("iii", not_a_socket),
    "sock_recv": ("iiiiii", not_a_socket),
    "sock_send": ("iiiii", not_a_socket),
    "sock_shutdown": ("ii", not_a_socket),
}
