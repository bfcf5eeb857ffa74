"""Calls on file descriptors: streams, and the files of granted directories. There are no sockets."""

import struct

from piecework.worker_agent.runtimes.wasi.clocks import Clock, find_now_ns
from piecework.worker_agent.runtimes.wasi.errno import Errno, WasiError
from piecework.worker_agent.runtimes.wasi.fs.files import OFFSET_MAX, FileType, Rights, Stat, TimesNs
from piecework.worker_agent.runtimes.wasi.guest import Calls, Guest, HostCall

MAX_TRANSFER_BYTES = 0x7FFF_FFFF
"""One read or write moves at most this much, as on Linux: buffers may overlap and add up to more than there is."""
_ACCESS, _ACCESS_NOW, _MODIFICATION, _MODIFICATION_NOW = 1, 2, 4, 8
"""``fstflags`` in the witx files."""
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
    file.require(Rights.FD_READ)
    for piece in memory.read_vectors(vectors, count):
        guest.stop.check()
        if total + len(piece) > MAX_TRANSFER_BYTES or (total and not file.has_more()):
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
    file.require(Rights.FD_WRITE)
    for piece in memory.read_vectors(vectors, count):
        guest.stop.check()
        if total + len(piece) > MAX_TRANSFER_BYTES:
            break
        size = file.write(piece, None if offset is None else offset + total)
        total += size
        if size < len(piece):
            break
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
    guest.file(fd).set_flags(flags & 0x1F)
    return Errno.SUCCESS


def fd_filestat_get(guest: Guest, fd: int, stat: int) -> Errno:
    found = guest.file(fd).stat()
    guest.memory.write(stat, pack_stat((fd, 0, 1, 0, 0, 0, 0), device=0) if found is None else pack_stat(found))
    return Errno.SUCCESS


def fd_filestat_set_times(guest: Guest, fd: int, access: int, modification: int, flags: int) -> Errno:
    file, times = guest.file(fd), read_times(guest.clock, access, modification, flags)
    file.set_times(times)
    return Errno.SUCCESS


def read_times(clock: Clock, access: int, modification: int, flags: int) -> TimesNs:
    """Return the times that a guest wants a file to have. Raises WasiError (INVAL)."""
    if flags & ~0xF:
        raise WasiError(Errno.INVAL)
    now = find_now_ns(clock) if flags & (_ACCESS_NOW | _MODIFICATION_NOW) else 0
    return TimesNs(
        _choose_time(access, flags & _ACCESS, flags & _ACCESS_NOW, now),
        _choose_time(modification, flags & _MODIFICATION, flags & _MODIFICATION_NOW, now),
    )


def _choose_time(given: int, wanted: int, wants_now: int, now: int) -> int | None:
    if wanted and wants_now:
        raise WasiError(Errno.INVAL)
    if wants_now:
        return now
    given &= 0xFFFF_FFFF_FFFF_FFFF
    if wanted and given > OFFSET_MAX:
        raise WasiError(Errno.INVAL)
    return given if wanted else None


def fd_sync(guest: Guest, fd: int) -> Errno:
    guest.file(fd).sync(data_only=False)
    return Errno.SUCCESS


def fd_datasync(guest: Guest, fd: int) -> Errno:
    guest.file(fd).sync(data_only=True)
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


not_supported = _answer(Errno.NOTSUP)


def not_a_socket(guest: Guest, fd: int, *_rest: int) -> Errno:
    """Answer that it is none; of a directory, that it is not even open: one more that programs may not expect."""
    return Errno.BADF if guest.file(fd).kind is FileType.DIRECTORY else Errno.NOTSOCK


CALLS: Calls = {
    "fd_advise": ("iIIi", fd_advise),
    "fd_allocate": ("iII", fd_allocate),
    "fd_close": ("i", fd_close),
    "fd_datasync": ("i", fd_datasync),
    "fd_fdstat_get": ("ii", fd_fdstat_get),
    "fd_fdstat_set_flags": ("ii", fd_fdstat_set_flags),
    "fd_fdstat_set_rights": ("iII", not_supported),
    "fd_filestat_get": ("ii", fd_filestat_get),
    "fd_filestat_set_size": ("iI", fd_filestat_set_size),
    "fd_filestat_set_times": ("iIIi", fd_filestat_set_times),
    "fd_pread": ("iiiIi", fd_pread),
    "fd_pwrite": ("iiiIi", fd_pwrite),
    "fd_read": ("iiii", fd_read),
    "fd_renumber": ("ii", fd_renumber),
    "fd_seek": ("iIii", fd_seek),
    "fd_sync": ("i", fd_sync),
    "fd_tell": ("ii", fd_tell),
    "fd_write": ("iiii", fd_write),
    "sock_accept": ("iii", not_a_socket),
    "sock_recv": ("iiiiii", not_a_socket),
    "sock_send": ("iiiii", not_a_socket),
    "sock_shutdown": ("ii", not_a_socket),
}
