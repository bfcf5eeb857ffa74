"""Where a guest's path leads below a directory. No path leads out: not by ``..``, not by a link, not by a race.

Each step is opened without following links, below a descriptor that is open already. A link is read and its target
walked in the same way; ``..`` goes back to the descriptor from which the walk came.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from piecework.worker_agent.runtimes.wasi.errno import Errno, WasiError

PATH_BYTES = 4096
LINKS_MAX = 40
"""So many links are followed on one way, as on Linux."""
# O_PATH: to go through a directory, one need not be allowed to list it.
_STEP = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class PathEnd(NamedTuple):
    """The end of a path: a name in an open directory. It may have become a link since it was looked at."""

    descriptor: int
    name: bytes
    """``.`` for the directory itself."""
    depth: int
    """How far the directory lies below the one where the path began."""
    directory: bool
    """A slash ends the path, so that it must be a directory."""


class LeadsOutError(WasiError):
    """The path leads out of its directory."""

    def __init__(self, link: bytes | None = None) -> None:
        """``link``: the name of the link that does."""
        super().__init__(Errno.PERM)
        self.link = link


@contextmanager
def resolve(start: int, path: bytes, *, follow: bool) -> Iterator[PathEnd]:
    """Yield where a path ends, below the directory with this descriptor; ``follow``: also if that is a link.

    Raises LeadsOutError, WasiError, OSError.
    """
    names = split(path)
    directory = path.endswith(b"/")
    if len(names) == 1 and names[0] != b".." and not follow:
        yield PathEnd(start, names[0], 0, directory)
        return
    walk = _Walk(start, names)
    try:
        yield walk.go(follow=follow, directory=directory)
    finally:
        walk.close()


class _Walk:
    """A way through directories, which are open until it is closed."""

    def __init__(self, start: int, names: list[bytes]) -> None:
        self._way = [start]
        self._names = names[::-1]
        """Those that are left, the next one last."""
        self._links = 0
        self._link: bytes | None = None
        """The last that was followed."""

    def go(self, *, follow: bool, directory: bool) -> PathEnd:
        while True:
            name = self._names.pop()
            if name == b"..":
                self._step_back()
                name = b"." if not self._names else b""
            if not name:
                continue
            if self._names:
                self._step(name)
            elif follow and (target := self._find_target(name)) is not None:
                directory |= target.endswith(b"/")
                self._follow(name, target)
            else:
                return PathEnd(self._way[-1], name, len(self._way) - 1, directory)

    def close(self) -> None:
        while len(self._way) > 1:
            os.close(self._way.pop())

    def _step(self, name: bytes) -> None:
        try:
            self._way.append(os.open(name, _STEP, dir_fd=self._way[-1]))
        except OSError:
            target = self._find_target(name)
            if target is None:
                raise
            self._follow(name, target)

    def _step_back(self) -> None:
        if len(self._way) == 1:
            raise LeadsOutError(self._link)
        os.close(self._way.pop())

    def _follow(self, name: bytes, target: bytes) -> None:
        self._links += 1
        self._link = name
        if self._links > LINKS_MAX:
            raise WasiError(Errno.LOOP)
        if target.startswith(b"/"):
            raise LeadsOutError(name)
        names = split(target)
        if self._names and names[-1] == b".":
            names.pop()
        self._names += names[::-1]

    def _find_target(self, name: bytes) -> bytes | None:
        """Return where a link leads; None: it is none, or not there."""
        try:
            return os.readlink(name, dir_fd=self._way[-1])
        except OSError:
            return None


def split(path: bytes) -> list[bytes]:
    """Return the names in a path, at least one, of which only the last may be ``.``. Raises WasiError."""
    if len(path) > PATH_BYTES:
        raise WasiError(Errno.NAMETOOLONG)
    if not path:
        raise WasiError(Errno.NOENT)
    if b"\0" in path:
        raise WasiError(Errno.INVAL)
    if path.startswith(b"/"):
        raise LeadsOutError
    parts = [name for name in path.split(b"/") if name]
    names = [name for name in parts if name != b"."]
    return names if names and parts[-1] != b"." else [*names, b"."]


def leads_out(target: bytes, depth: int) -> bool:
    """Tell whether a link that lies so deep would lead out, as far as its words tell."""
    for name in target.split(b"/"):
        depth += -1 if name == b".." else int(name not in {b"", b"."})
        if depth < 0:
            return True
    return target.startswith(b"/")
