"""What one call may do below one granted directory, and how much its files may take there."""

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from piecework.worker_agent.runtimes.base import Bounds
from piecework.worker_agent.runtimes.services.access import Folder
from piecework.worker_agent.runtimes.trees import measure_tree
from piecework.worker_agent.runtimes.wasi.errno import Errno, WasiError
from piecework.worker_agent.runtimes.wasi.fs.files import FileType, Stat, read_stat

FileKey = tuple[int, int]
"""Device and inode."""


def key_of(found: os.stat_result) -> FileKey:
    """Return what tells a file from all others."""
    return found.st_dev, found.st_ino


class Share:
    """One granted directory, as one call may use it.

    What is there counts, not what was ever written: what is removed or cut off is given back. In a private folder
    all that is there counts; in one that others use, too, only what this call made. A file that was removed while
    it is open counts until it is closed, for so long it takes its place.
    """

    def __init__(self, folder: Folder, bounds: Bounds, log: Callable[[bytes], object]) -> None:
        self.guest_path = folder.guest_path
        self.can_write = folder.write
        self._folder = folder
        self._bounds = bounds
        self._log = log
        self._size, self._count = 0, 0
        self._measured = not folder.private
        self._grown: Counter[FileKey] | None = None if folder.private else Counter()
        """By how much this call made files larger; None: it does not matter who did."""
        self._open: Counter[FileKey] = Counter()
        self._numbers: dict[FileKey, int] = {}
        """Inodes as they are told, where they are the same on every node."""
        self._orphans: set[FileKey] = set()
        """Files that this call removed, and that are open yet."""

    def describe(self, found: os.stat_result) -> Stat:
        """Return what a guest is told of a file."""
        told = read_stat(found)
        if not self._folder.steady:
            return told
        links = told[2] if told[1] is FileType.REGULAR and self.can_write else 1  # the cache has others
        size = 0 if told[1] is FileType.DIRECTORY else told[3]
        return self.number(key_of(found)), told[1], links, size, 0, 0, 0

    def number(self, key: FileKey) -> int:
        """Return the inode that a guest is told: no two directories of a job have one in common."""
        if not self._folder.steady:
            return key[1]
        first = self._folder.inodes_from + 1 + self.can_write
        return self._numbers.setdefault(key, first + 2 * len(self._numbers))

    def require_write(self) -> None:
        """Raise WasiError (PERM), and log why, when the directory can only be read."""
        if not self.can_write:
            self.say(f"writing to {self.guest_path} denied: {self._folder.advice}")
            raise WasiError(Errno.PERM)

    def say(self, line: str) -> None:
        """Tell the author of the guest."""
        self._log(f"{line}\n".encode(errors="replace"))

    def add_entry(self) -> None:
        """Count a file, directory or link that is about to be made. Raises WasiError (DQUOT)."""
        self._measure()
        if self._count >= self._bounds.files_count:
            raise self._refuse()
        self._count += 1

    def drop_entry(self) -> None:
        """Count one that is gone, or was not made."""
        self._measure()
        self._count = max(0, self._count - 1)

    def resize(self, key: FileKey, old: int, new: int) -> None:
        """Count a file whose size is about to change. Raises WasiError (DQUOT) when it becomes too large."""
        self._measure()
        change = new - old
        if change > self._bounds.files_bytes - self._size and change > 0:
            raise self._refuse()
        if self._grown is not None:
            # Whoever makes room where others wrote has no more of it.
            change = max(change, -self._grown[key])
            self._grown[key] += change
        self._size = max(0, self._size + change)

    def note_open(self, key: FileKey) -> None:
        self._open[key] += 1

    def note_closed(self, key: FileKey, size: int) -> None:
        """Give back what a file took that was removed before it was closed."""
        self._open[key] -= 1
        if self._open[key] <= 0:
            del self._open[key]
            if key in self._orphans:
                self._orphans.discard(key)
                self._forget(key, size)

    def note_removed(self, found: os.stat_result) -> None:
        """Count one name less of what was found there."""
        self.drop_entry()
        if found.st_nlink > 1:
            return
        key = key_of(found)
        if key in self._open:
            self._orphans.add(key)
        else:
            self._forget(key, found.st_size)

    def _forget(self, key: FileKey, size: int) -> None:
        self.resize(key, size, 0)
        if self._grown is not None:
            del self._grown[key]

    def _measure(self) -> None:
        """Count what is in a private folder, when the first change comes."""
        if not self._measured:
            self._measured = True
            self._size, self._count = measure_tree(Path(self._folder.path))

    def _refuse(self) -> WasiError:
        bounds = self._bounds
        self.say(
            f"{self.guest_path} is full: at most {bounds.files_bytes} bytes in {bounds.files_count} files "
            "(--max-files-size, --max-files)"
        )
        return WasiError(Errno.DQUOT)
