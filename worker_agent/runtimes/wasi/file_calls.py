"""Calls on file descriptors: streams, and the files of granted directories. There are no sockets."""

import struct

from worker_agent.runtimes.wasi.errno import Errno, WasiError
from worker_agent.runtimes.wasi.files import Stat
from worker_agent.runtimes.wasi.guest import Calls, Guest, HostCall

MAX_TRANSFER_BYTES = 0x7FFF_FFFF
"""One read or write moves at most this much, as on Linux: buffers may overlap and add up to more than there is."""
_DEVICE = 1
"""The number of all devices that guests see; streams are on none."""


def fd_read(guest: Guest, fd: int, vectors: int, count: int, done: int) -> Errno:
    """Fill the guest's buffers as far as the input goes."""
    return _read(guest, fd, vectors, count, done, None)


def fd_pread(guest: Guest, fd: int, vectors: int, count: int, offset: int, done: int) -> Errno:
    return _read(guest, fd, vectors, count, done, offset)


def _read(guest: Guest, fd: int, vectors: int, count: int, done: int, offset: int | None) -> Errno:
    file, memory, total = guest.file(fd), guest.memory, 0
    if offset is not None:
        file.check_positions()
    for piece in memory.read_vectors(vectors, count):
        guest.stop.check()
        if total + len(piece) > MAX_TRANSFER_BYTES:
            break
        size = file.read_into(piece, None if offset is None else offset + total)
        total += size
        if size < len(piece):
            break
    memory.write_u32(done, total)
    return Errno.SUCCESS


def fd_write(guest: Guest, fd: int, vectors: int, count: int, done: int) -> Errno:
    """Take all that the guest's buffers hold; what is too much ends the guest."""
    return _write(guest, fd, vectors, count, done, None)


def fd_pwrite(guest: Guest, fd: int, vectors: int, count: int, offset: int, done: int) -> Errno:
    return _write(guest, fd, vectors, count, done, offset)


def _write(guest: Guest, fd: int, vectors: int, count: int, done: int, offset: int | None) -> Errno:
    file, memory, total = guest.file(fd), guest.memory, 0
    if offset is not None:
        file.check_positions()
    for piece in memory.read_vectors(vectors, count):
        guest.stop.check()
        if total + len(piece) > MAX_TRANSFER_BYTES:
            break
        file.write(piece, None if offset is None else offset + total)
        total += len(piece)
    memory.write_u32(done, total)
    return Errno.SUCCESS


def fd_close(guest: Guest, fd: int) -> Errno:
    guest.file(fd).close()
    del guest.files[fd]
    return Errno.SUCCESS


def fd_renumber(guest: Guest, fd: int, to: int) -> Errno:
    file, replaced = guest.file(fd), guest.file(to)
    if file is not replaced:
        replaced.close()
        del guest.files[fd]
        guest.files[to] = file
    return Errno.SUCCESS


def fd_seek(guest: Guest, fd: int, offset: int, whence: int, now: int) -> Errno:
    place = guest.file(fd).seek(offset, whence)
    guest.memory.write_u64(now, place)
    return Errno.SUCCESS


def fd_tell(guest: Guest, fd: int, now: int) -> Errno:
    return fd_seek(guest, fd, 0, 1, now)


def fd_advise(guest: Guest, fd: int, *_rest: int) -> Errno:
    guest.file(fd).check_positions()
    return Errno.SUCCESS


def fd_allocate(guest: Guest, fd: int, offset: int, size: int) -> Errno:
    file = guest.file(fd)
    file.check_positions()
    if offset < 0 or size <= 0:
        raise WasiError(Errno.INVAL)
    file.grow(offset + size)
    return Errno.SUCCESS


def fd_filestat_set_size(guest: Guest, fd: int, size: int) -> Errno:
    guest.file(fd).resize(size)
    return Errno.SUCCESS


def fd_fdstat_get(guest: Guest, fd: int, stat: int) -> Errno:
    file = guest.file(fd)
    guest.memory.write(stat, struct.pack("<BxHxxxxQQ", file.kind, file.flags, file.rights, file.inheriting))
    return Errno.SUCCESS


def fd_fdstat_set_flags(guest: Guest, fd: int, flags: int) -> Errno:
    """Note the flags. Only appending to a file makes a difference: nothing here blocks."""
    guest.file(fd).flags = flags & 0x1F
    return Errno.SUCCESS


def fd_filestat_get(guest: Guest, fd: int, stat: int) -> Errno:
    found = guest.file(fd).stat()
    guest.memory.write(stat, pack_stat((fd, 0, 1, 0, 0, 0, 0), device=0) if found is None else pack_stat(found))
    return Errno.SUCCESS


def pack_stat(found: Stat, device: int = _DEVICE) -> bytes:
    """Lay out what is known about a file as preview 1 has it (``filestat``)."""
    inode, kind, *rest = found
    return struct.pack("<QQBxxxxxxxQQQQQ", device, inode, kind, *rest)


def _answer(errno: Errno) -> HostCall:
    """Make a call that answers the same on every open descriptor, and BADF on all others."""

    def answer(guest: Guest, fd: int, *_rest: int) -> Errno:
        guest.file(fd)
        return errno

    return answer


sync = _answer(Errno.SUCCESS)
not_supported = _answer(Errno.NOTSUP)
not_a_socket = _answer(Errno.NOTSOCK)


CALLS: Calls = {
    "fd_advise": ("iIIi", fd_advise),
    "fd_allocate": ("iII", fd_allocate),
    "fd_close": ("i", fd_close),
    "fd_datasync": ("i", sync),
    "fd_fdstat_get": ("ii", fd_fdstat_get),
    "fd_fdstat_set_flags": ("ii", fd_fdstat_set_flags),
    "fd_fdstat_set_rights": ("iII", not_supported),
    "fd_filestat_get": ("ii", fd_filestat_get),
    "fd_filestat_set_size": ("iI", fd_filestat_set_size),
    "fd_filestat_set_times": ("iIIi", not_supported),
    "fd_pread": ("iiiIi", fd_pread),
    "fd_pwrite": ("iiiIi", fd_pwrite),
    "fd_read": ("iiii", fd_read),
    "fd_renumber": ("ii", fd_renumber),
    "fd_seek": ("iIii", fd_seek),
    "fd_sync": ("i", sync),
    "fd_tell": ("ii", fd_tell),
    "fd_write": ("iiii", fd_write),
    "sock_accept": ("iii", not_a_socket),
    "sock_recv": ("iiiiii", not_a_socket),
    "sock_send": ("iiiii", not_a_socket),
    "sock_shutdown": ("ii", not_a_socket),
}
