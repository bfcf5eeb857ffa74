"""A guest that does what a test says with its files, by calls of preview 1."""

import struct

from piecework.worker_agent.runtimes.wasi.errno import Errno
from piecework.worker_agent.runtimes.wasi.fs.files import Rights

READ, WRITE = int(Rights.FD_READ), int(Rights.FD_READ | Rights.FD_WRITE)
CREATE, DIRECTORY, EXCLUSIVE, TRUNCATE = 1, 2, 4, 8
PLACE, TO, ANSWER, BUFFER = 0, 8192, 16_384, 20_000


class Hand:
    """Calls preview 1 with Python's values. The granted directory is descriptor 3."""

    def __init__(self, probe):
        self.probe = probe

    def open(self, path, rights=READ, how=0, *, flags=0, fd=3):
        """Return the new descriptor; an Errno when there is none."""
        self.probe.put(PLACE, path)
        answer = self.probe.call("path_open", fd, 1, PLACE, len(path), how, rights, 0, flags, ANSWER)
        return Errno(answer) if answer else self.probe.get_u32(ANSWER)

    def on(self, name, path, *rest, fd=3):
        """Call a function of a directory and a path."""
        self.probe.put(PLACE, path)
        return Errno(self.probe.call(name, fd, PLACE, len(path), *rest))

    def stat(self, path, lookup=0, fd=3):
        self.probe.put(PLACE, path)
        answer = self.probe.call("path_filestat_get", fd, lookup, PLACE, len(path), BUFFER)
        return Errno(answer) if answer else struct.unpack("<QQBxxxxxxxQQQQQ", self.probe.get(BUFFER, 64))

    def rename(self, path, to, *, fd=3, to_fd=3):
        self.probe.put(PLACE, path)
        self.probe.put(TO, to)
        return Errno(self.probe.call("path_rename", fd, PLACE, len(path), to_fd, TO, len(to)))

    def read(self, fd, size=100, *, at=None):
        self.probe.put_vectors(PLACE, (BUFFER, size))
        name, where = ("fd_read", ()) if at is None else ("fd_pread", (at,))
        answer = self.probe.call(name, fd, PLACE, 1, *where, ANSWER)
        return Errno(answer) if answer else self.probe.get(BUFFER, self.probe.get_u32(ANSWER))

    def write(self, fd, data, *, at=None):
        self.probe.put(BUFFER, data)
        self.probe.put_vectors(PLACE, (BUFFER, len(data)))
        name, where = ("fd_write", ()) if at is None else ("fd_pwrite", (at,))
        return Errno(self.probe.call(name, fd, PLACE, 1, *where, ANSWER))

    def names(self):
        """Return the names of the directories that a libc finds."""
        found, fd = [], 3
        while self.probe.call("fd_prestat_get", fd, BUFFER) == 0:
            size = self.probe.get_u32(BUFFER + 4)
            assert self.probe.call("fd_prestat_dir_name", fd, BUFFER, size) == 0
            found.append(self.probe.get(BUFFER, size))
            fd += 1
        return found

    def seek(self, fd, offset, whence):
        answer = self.probe.call("fd_seek", fd, offset, whence, ANSWER)
        return Errno(answer) if answer else self.probe.get_u64(ANSWER)

    def list(self, fd=3, size=4096, cookie=0):
        """Return the names, and whether there may be more."""
        assert self.probe.call("fd_readdir", fd, BUFFER, size, cookie, ANSWER) == 0
        used, names, at = self.probe.get_u32(ANSWER), [], 0
        data = self.probe.get(BUFFER, used)
        while at + 24 <= used:
            _next, _inode, length, _kind = struct.unpack_from("<QQIB", data, at)
            if at + 24 + length <= used:
                names.append(data[at + 24 : at + 24 + length])
            at += 24 + length
        return names, used == size

    def link(self, path, to, *, fd=3, to_fd=3, lookup=0):
        self.probe.put(PLACE, path)
        self.probe.put(TO, to)
        return Errno(self.probe.call("path_link", fd, lookup, PLACE, len(path), to_fd, TO, len(to)))

    def symlink(self, target, path, *, fd=3):
        self.probe.put(PLACE, target)
        self.probe.put(TO, path)
        return Errno(self.probe.call("path_symlink", PLACE, len(target), fd, TO, len(path)))

    def readlink(self, path, *, fd=3, room=4096):
        self.probe.put(PLACE, path)
        answer = self.probe.call("path_readlink", fd, PLACE, len(path), BUFFER, room, ANSWER)
        return Errno(answer) if answer else self.probe.get(BUFFER, self.probe.get_u32(ANSWER))

    def close(self, fd):
        return Errno(self.probe.call("fd_close", fd))

    def set_times(self, path, access, modification, flags, *, fd=3, lookup=0):
        self.probe.put(PLACE, path)
        name = "path_filestat_set_times"
        return Errno(self.probe.call(name, fd, lookup, PLACE, len(path), access, modification, flags))

    @property
    def log(self):
        return self.probe.log.read()[1]
